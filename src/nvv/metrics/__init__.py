"""Scores, their intervals, and what guessing would score."""

from .bootstrap import bootstrap_intervals, resampled_confusions, scores_with_intervals
from .classification import (
    SCORE_NAMES,
    chance_levels,
    classification_scores,
    confusion_matrix,
    per_class_scores,
    scores_from_confusion,
)

__all__ = [
    "SCORE_NAMES",
    "bootstrap_intervals",
    "chance_levels",
    "classification_scores",
    "confusion_matrix",
    "per_class_scores",
    "resampled_confusions",
    "scores_from_confusion",
    "scores_with_intervals",
]
