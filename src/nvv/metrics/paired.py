"""Paired bootstrap: is one classifier better than another on the same clips?

Both classifiers are scored on the same resamples, so what makes a clip hard for both cancels out. A resample matters
only by how often it holds each triple of true class, first answer and second answer; whole resamples are drawn as such
counts, and two confusion matrices follow from each.

Source: B. Efron, R. Tibshirani, An Introduction to the Bootstrap, 1993, chapters 13 and 16; T. Berg-Kirkpatrick,
D. Burkett, D. Klein, An empirical investigation of statistical significance in NLP, EMNLP 2012 (for paired bootstrap of
scores that are no means); own code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .classification import SCORE_NAMES, check_label_pairs, classification_scores, scores_from_confusion
from .resampling import check_resampling, merge_kinds, resampled_kinds


class PairedDifference(TypedDict):
    """How far apart two classifiers are by one score.

    Attributes:
        a: The first one's score.
        b: The second one's score.
        difference: a minus b.
        low: Lower end of the difference's interval.
        high: Upper end of it.
        p_value: Two-sided; in (0, 1].
    """

    a: float
    b: float
    difference: float
    low: float
    high: float
    p_value: float


def paired_bootstrap(
    references: ArrayLike,
    predictions_a: ArrayLike,
    predictions_b: ArrayLike,
    *,
    num_labels: int,
    groups: Sequence[str] | ArrayLike | None = None,
    num_resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, PairedDifference]:
    """Compare two classifiers' answers on the same clips.

    Args:
        references: true labels (clips,).
        predictions_a: the first one's labels (clips,).
        predictions_b: the second one's labels (clips,).
        num_labels: number of classes.
        groups: each clip's speaker (clips,): whole speakers are drawn, which is the honest way where a speaker has many
            clips. None: clips are drawn.
        num_resamples: how many resamples, ≥ 1; no p-value is below 2 / (num_resamples + 1).
        confidence: share of resamples inside the interval, in (0, 1).
        seed: of the resamples.

    Returns:
        For each score of `SCORE_NAMES` both scores, a minus b, the percentile interval of that difference, and the
        p-value: twice the smaller share of resamples that are not above 0, or not below 0, the observed answers counted
        as one more resample in both. Equal answers give p = 1. One test for each score: correct for their number
        where you pick among them.

    Raises:
        ValueError: for labels as in `check_label_pairs`, for `groups` of another length, for fewer than one resample,
            and for a confidence outside (0, 1).

    Example:
        >>> paired_bootstrap([0, 1, 1], [0, 1, 1], [0, 1, 1], num_labels=2)["uar"]["p_value"]
        1.0
    """
    check_resampling(num_resamples=num_resamples, confidence=confidence)
    true, first = check_label_pairs(references, predictions_a, num_labels=num_labels)
    _, second = check_label_pairs(references, predictions_b, num_labels=num_labels)
    values_a = classification_scores(true, first, num_labels=num_labels)
    values_b = classification_scores(true, second, num_labels=num_labels)

    kinds, kind_of_clip = np.unique(np.stack([true, first, second]), axis=1, return_inverse=True)
    cells_a, cells_b = kinds[0] * num_labels + kinds[1], kinds[0] * num_labels + kinds[2]
    differences: dict[str, list[np.ndarray]] = {name: [] for name in SCORE_NAMES}
    draws = resampled_kinds(
        kind_of_clip.ravel(),
        groups=groups,
        num_resamples=num_resamples,
        seed=seed,
        numbers_per_resample=num_labels**2,
    )
    for counts in draws:
        scores_a = scores_from_confusion(merge_kinds(counts, cells_a, num_labels=num_labels))
        scores_b = scores_from_confusion(merge_kinds(counts, cells_b, num_labels=num_labels))
        for name in SCORE_NAMES:
            differences[name].append(scores_a[name] - scores_b[name])

    results: dict[str, PairedDifference] = {}
    for name in SCORE_NAMES:
        resampled = np.concatenate(differences[name])
        results[name] = paired_difference(values_a[name], values_b[name], resampled, confidence=confidence)
    return results


_ROUNDING = 1e-12
"""Scores that are equal as fractions differ by less than this after rounding."""


def two_sided_p_value(differences: NDArray[np.float64]) -> float:
    """Return the p-value of resampled differences (resamples,); `paired_bootstrap` says how it is made."""
    not_above = np.count_nonzero(differences <= _ROUNDING)
    not_below = np.count_nonzero(differences >= -_ROUNDING)
    return min(1.0, 2 * (min(not_above, not_below) + 1) / (differences.size + 1))


def paired_difference(a: float, b: float, resampled: NDArray[np.float64], *, confidence: float) -> PairedDifference:
    """Sum up the resampled differences between two scores.

    Args:
        a: the first score on all clips.
        b: the second.
        resampled: first minus second in each resample (resamples,), NaN where a resample held no reference.
        confidence: share of resamples inside the interval, in (0, 1).
    """
    known = resampled[~np.isnan(resampled)]
    if not known.size:
        # A handful of references may be in no resample at all; then nothing is known but the scores themselves.
        known = np.array([a - b])
    tail = (1 - confidence) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return {
        "a": a,
        "b": b,
        "difference": a - b,
        "low": float(low),
        "high": float(high),
        "p_value": two_sided_p_value(known),
    }
