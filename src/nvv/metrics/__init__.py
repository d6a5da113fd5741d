"""Scores, their intervals, comparisons of groups and of two classifiers, and what guessing would score."""

from .bootstrap import bootstrap_intervals, resampled_confusions, scores_with_intervals
from .calibration import expected_calibration_error, fit_temperature, reliability_bins
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
from .group_scores import GROUP_REGRESSION_SCORE_NAMES, scores_by_group
from .joint import JointTask, joint_mean_interval
from .paired import PairedDifference, paired_bootstrap
from .paired_joint import paired_joint_bootstrap
from .paired_regression import PairedRegressionDifference, paired_regression_bootstrap
from .regression import REGRESSION_SCORE_NAMES, regression_scores
from .regression_bootstrap import regression_scores_with_intervals
from .thresholds import (
    ThresholdRule,
    choose_threshold,
    exact_curve,
    ranking_scores,
    ranking_scores_with_intervals,
    threshold_table,
)

__all__ = [
    "GROUP_REGRESSION_SCORE_NAMES",
    "METRIC_NAMES",
    "REGRESSION_SCORE_NAMES",
    "SCORE_NAMES",
    "JointTask",
    "PairedDifference",
    "PairedRegressionDifference",
    "ThresholdRule",
    "bootstrap_intervals",
    "chance_levels",
    "choose_threshold",
    "classification_scores",
    "confusion_matrix",
    "exact_curve",
    "expected_calibration_error",
    "fit_temperature",
    "joint_mean_interval",
    "label_scores",
    "load_metric",
    "paired_bootstrap",
    "paired_joint_bootstrap",
    "paired_regression_bootstrap",
    "per_class_scores",
    "ranking_scores",
    "ranking_scores_with_intervals",
    "regression_scores",
    "regression_scores_with_intervals",
    "reliability_bins",
    "resampled_confusions",
    "scores_by_group",
    "scores_from_confusion",
    "scores_with_intervals",
    "threshold_table",
]
