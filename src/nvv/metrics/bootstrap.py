"""Bootstrap intervals for classification scores, over clips or over speakers.

A resample of clips changes only the confusion matrix, so whole resamples are drawn as confusion matrices: for clips,
the counts of the cells are one multinomial draw; for speakers, a multinomial draw says how often each speaker's own
matrix is added. No clip is touched twice, and a thousand resamples of a test set cost milliseconds.

Source: B. Efron, R. Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13 (percentile intervals); own code.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .classification import check_label_pairs, classification_scores, scores_from_confusion
from .resampling import check_resampling, merge_kinds, resampled_kinds


def resampled_confusions(
    references: ArrayLike,
    predictions: ArrayLike,
    *,
    num_labels: int,
    groups: Sequence[str] | ArrayLike | None = None,
    num_resamples: int = 1_000,
    seed: int = 0,
) -> NDArray[np.int64]:
    """Draw the confusion matrices of bootstrap resamples.

    Args:
        references: true labels (clips,).
        predictions: predicted labels (clips,).
        num_labels: number of classes.
        groups: each clip's speaker (clips,): whole speakers are drawn, as many as there are. None: clips are drawn.
        num_resamples: how many resamples, ≥ 1.
        seed: the same seed gives the same resamples.

    Returns:
        Counts (num_resamples, num_labels, num_labels).

    Raises:
        ValueError: for labels as in `check_label_pairs`, for `groups` of another length, for fewer than one resample.
    """
    true, predicted = check_label_pairs(references, predictions, num_labels=num_labels)
    codes, kind_of_clip = np.unique(true * num_labels + predicted, return_inverse=True)
    draws = resampled_kinds(kind_of_clip, groups=groups, num_resamples=num_resamples, seed=seed)
    return np.concatenate([merge_kinds(counts, codes, num_labels=num_labels) for counts in draws])


def bootstrap_intervals(
    references: ArrayLike,
    predictions: ArrayLike,
    *,
    num_labels: int,
    groups: Sequence[str] | ArrayLike | None = None,
    num_resamples: int = 1_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Compute percentile bootstrap intervals of every score at once.

    Args:
        references: true labels (clips,).
        predictions: predicted labels (clips,).
        num_labels: number of classes.
        groups: each clip's speaker (clips,), for intervals over speakers, which are the honest ones where a speaker
            has many clips; None for intervals over clips.
        num_resamples: how many resamples, ≥ 1; a thousand or more for a 95 % interval.
        confidence: share of resamples inside the interval, in (0, 1).
        seed: of the resamples.

    Returns:
        For each score name the interval (low, high). Each resample is scored over the classes it happens to hold. With
        a single clip, or a single speaker, every resample is the same and the interval has no width: it then says
        nothing.

    Raises:
        ValueError: as `resampled_confusions`, and for a confidence outside (0, 1).

    Example:
        >>> low, high = bootstrap_intervals([0, 0, 1, 1], [0, 0, 1, 0], num_labels=2)["accuracy"]
        >>> low <= 0.75 <= high
        True
    """
    check_resampling(num_resamples=num_resamples, confidence=confidence)
    confusions = resampled_confusions(
        references, predictions, num_labels=num_labels, groups=groups, num_resamples=num_resamples, seed=seed
    )
    tail = (1 - confidence) / 2
    intervals = {}
    for name, values in scores_from_confusion(confusions).items():
        low, high = np.quantile(values, [tail, 1 - tail])
        intervals[name] = (float(low), float(high))
    return intervals


def scores_with_intervals(
    references: ArrayLike,
    predictions: ArrayLike,
    *,
    num_labels: int,
    groups: Sequence[str] | ArrayLike | None = None,
    num_resamples: int = 1_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """Score predictions and give each score its bootstrap interval.

    Args:
        references: true labels (clips,).
        predictions: predicted labels (clips,).
        num_labels: number of classes.
        groups: as in `bootstrap_intervals`.
        num_resamples: as in `bootstrap_intervals`.
        confidence: as in `bootstrap_intervals`.
        seed: as in `bootstrap_intervals`.

    Returns:
        For each score name `{"value": …, "low": …, "high": …}`.

    Raises:
        ValueError: as `bootstrap_intervals`.
    """
    values = classification_scores(references, predictions, num_labels=num_labels)
    intervals = bootstrap_intervals(
        references,
        predictions,
        num_labels=num_labels,
        groups=groups,
        num_resamples=num_resamples,
        confidence=confidence,
        seed=seed,
    )
    return {
        name: {"value": value, "low": intervals[name][0], "high": intervals[name][1]} for name, value in values.items()
    }
