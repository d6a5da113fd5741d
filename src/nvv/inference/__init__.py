"""Finished models at work: loading one, classifying many clips, evaluating it on any corpus, reports, and detectors."""

from __future__ import annotations

from .arguments import EvaluateArguments
from .classify import classify_clips
from .corruptions import CORRUPTIONS
from .detect_arguments import DetectArguments
from .embed import embed_clips
from .embedding_arguments import EmbeddingArguments
from .embeddings import EmbeddingResult, score_model_embeddings
from .evaluation import EvaluationResult, evaluate
from .group_columns import group_columns
from .group_report import group_report
from .group_tables import write_groups
from .label_map import LabelMap, LabelMapError, make_label_map, read_label_map
from .load import Classifier, ModelError, load_classifier
from .operating_points import DetectionResult, choose_operating_point
from .report_facts import ReportFacts
from .robustness import RobustnessReport, robustness_report
from .robustness_tables import write_robustness

__all__ = [
    "CORRUPTIONS",
    "Classifier",
    "DetectArguments",
    "DetectionResult",
    "EmbeddingArguments",
    "EmbeddingResult",
    "EvaluateArguments",
    "EvaluationResult",
    "LabelMap",
    "LabelMapError",
    "ModelError",
    "ReportFacts",
    "RobustnessReport",
    "choose_operating_point",
    "classify_clips",
    "embed_clips",
    "evaluate",
    "group_columns",
    "group_report",
    "load_classifier",
    "make_label_map",
    "read_label_map",
    "robustness_report",
    "score_model_embeddings",
    "write_groups",
    "write_robustness",
]
