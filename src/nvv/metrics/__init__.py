"""Scores, their intervals, comparisons of two classifiers, and what guessing would score."""

from .bootstrap import bootstrap_intervals, resampled_confusions, scores_with_intervals
from .classification import (
    SCORE_NAMES,
    chance_levels,
    classification_scores,
    confusion_matrix,
    label_scores,
    per_class_scores,
    scores_from_confusion,
)
from .evaluate_modules import METRIC_NAMES, load_metric
from .paired import PairedDifference, paired_bootstrap
from .regression import REGRESSION_SCORE_NAMES, regression_scores
from .regression_bootstrap import regression_scores_with_intervals

__all__ = [
    "METRIC_NAMES",
    "REGRESSION_SCORE_NAMES",
    "SCORE_NAMES",
    "PairedDifference",
    "bootstrap_intervals",
    "chance_levels",
    "classification_scores",
    "confusion_matrix",
    "label_scores",
    "load_metric",
    "paired_bootstrap",
    "per_class_scores",
    "regression_scores",
    "regression_scores_with_intervals",
    "resampled_confusions",
    "scores_from_confusion",
    "scores_with_intervals",
]
