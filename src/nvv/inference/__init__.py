"""Finished classifiers at work: loading one, classifying many clips, evaluating it on any corpus."""

from __future__ import annotations

from .arguments import EvaluateArguments
from .classify import classify_clips
from .evaluation import EvaluationResult, evaluate
from .label_map import LabelMap, LabelMapError, make_label_map, read_label_map
from .load import Classifier, ModelError, load_classifier

__all__ = [
    "Classifier",
    "EvaluateArguments",
    "EvaluationResult",
    "LabelMap",
    "LabelMapError",
    "ModelError",
    "classify_clips",
    "evaluate",
    "load_classifier",
    "make_label_map",
    "read_label_map",
]
