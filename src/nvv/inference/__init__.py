"""Finished models at work: loading one, clips, streams of sounds, evaluation on any corpus, reports, and detectors."""

from __future__ import annotations

from .arguments import EvaluateArguments
from .audio_sources import audio_files, file_sounds
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
from .readings import OutputGroup, output_groups, scores_of, thresholds_of
from .report_facts import ReportFacts
from .robustness import RobustnessReport, robustness_report
from .robustness_tables import write_robustness
from .streams import Sound, compute_stream, heard_seconds, ready_classifier

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
    "OutputGroup",
    "ReportFacts",
    "RobustnessReport",
    "Sound",
    "audio_files",
    "choose_operating_point",
    "classify_clips",
    "compute_stream",
    "embed_clips",
    "evaluate",
    "file_sounds",
    "group_columns",
    "group_report",
    "heard_seconds",
    "load_classifier",
    "make_label_map",
    "output_groups",
    "read_label_map",
    "ready_classifier",
    "robustness_report",
    "score_model_embeddings",
    "scores_of",
    "thresholds_of",
    "write_groups",
    "write_robustness",
]
