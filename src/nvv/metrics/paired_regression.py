"""Paired bootstrap for regressors: is one better than another on the same clips?

Both are scored on the same resamples, as the neighbour `paired` does for classifiers; a resample enters only through
sums over its clips.

Source: B. Efron, R. Tibshirani, An Introduction to the Bootstrap, 1993, chapters 13 and 16; own code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike

from .paired import PairedDifference, paired_difference
from .regression import REGRESSION_SCORE_NAMES, clip_sums, mean_over_targets, regression_scores, scores_from_sums
from .resampling import check_resampling, resampled_sums

__all__ = ["PairedRegressionDifference", "paired_regression_bootstrap"]


class PairedRegressionDifference(TypedDict):
    """How far apart two regressors are by one score.

    Attributes:
        mean: By its mean over the targets that have references.
        per_target: By each target's (targets,); None where the target has no reference.
    """

    mean: PairedDifference
    per_target: list[PairedDifference | None]


def paired_regression_bootstrap(
    references: ArrayLike,
    predictions_a: ArrayLike,
    predictions_b: ArrayLike,
    *,
    groups: Sequence[str] | ArrayLike | None = None,
    num_resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, PairedRegressionDifference]:
    """Compare two regressors' answers on the same clips.

    Args:
        references: true values (clips,) or (clips, targets); NaN or None where missing.
        predictions_a: the first one's values, of the same shape.
        predictions_b: the second one's.
        groups: each clip's speaker (clips,): whole speakers are drawn. None: clips are drawn.
        num_resamples: how many resamples, ≥ 1; no p-value is below 2 / (num_resamples + 1).
        confidence: share of resamples inside the interval, in (0, 1).
        seed: of the resamples.

    Returns:
        For each score of `REGRESSION_SCORE_NAMES` what `nvv.metrics.paired_bootstrap` returns of a classification's. Of
        errors (`mae`) the smaller is better: there a difference below 0 is in favour of the first.

    Raises:
        ValueError: as `nvv.metrics.regression_scores`; for `groups` of another length, fewer than one resample, and a
            confidence outside (0, 1).

    Example:
        >>> same = [1.0, 2.0, 2.5]
        >>> paired_regression_bootstrap([1.0, 2.0, 3.0], same, same, num_resamples=10)["ccc"]["mean"]["p_value"]
        1.0
    """
    check_resampling(num_resamples=num_resamples, confidence=confidence)
    values = [regression_scores(references, predictions) for predictions in (predictions_a, predictions_b)]
    parts = [clip_sums(references, predictions) for predictions in (predictions_a, predictions_b)]
    shape = parts[0][0].shape  # (clips, targets, sums)
    joined = np.concatenate([summands.reshape(len(summands), -1) for summands, _ in parts], axis=1)
    sums = resampled_sums(joined, groups=groups, num_resamples=num_resamples, seed=seed)
    scores = []
    for (_, offsets), half in zip(parts, np.split(sums, 2, axis=1), strict=True):
        by_target = half.reshape(num_resamples, *shape[1:]).copy()
        by_target[..., 0] = np.rint(by_target[..., 0])  # a number of clips
        scores.append(scores_from_sums(by_target, offsets))
    compared: dict[str, PairedRegressionDifference] = {}
    for name in REGRESSION_SCORE_NAMES:
        first, second = (made[name] for made in scores)  # each (num_resamples, targets)
        a, b = (value[name] for value in values)
        means = mean_over_targets(first) - mean_over_targets(second)
        compared[name] = {
            "mean": paired_difference(a["mean"], b["mean"], means, confidence=confidence),
            "per_target": [
                None if value is None else paired_difference(value, other, column, confidence=confidence)
                for value, other, column in zip(a["per_target"], b["per_target"], (first - second).T, strict=True)
            ],
        }
    return compared
