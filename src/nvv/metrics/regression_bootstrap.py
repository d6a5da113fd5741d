"""Bootstrap intervals for regression scores, over clips or over speakers.

A score depends on a resample only through a few sums over its clips, so a thousand resamples are one matrix product of
how often each clip (or speaker) was drawn with what each adds to the sums.

Source: B. Efron, R. Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13 (percentile intervals); own code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .regression import clip_sums, mean_over_targets, regression_scores, scores_from_sums
from .resampling import check_resampling, resampled_sums


class ScoreInterval(TypedDict):
    """A score's value and the ends of its interval."""

    value: float
    low: float
    high: float


class RegressionInterval(TypedDict):
    """One score with its intervals.

    Attributes:
        mean: Of the mean over the targets that have a score.
        per_target: Each target's (targets,); None where the target has no reference.
    """

    mean: ScoreInterval
    per_target: list[ScoreInterval | None]


def resampled_regression_scores(
    references: ArrayLike,
    predictions: ArrayLike,
    *,
    groups: Sequence[str] | ArrayLike | None = None,
    ddof: int = 0,
    num_resamples: int = 1_000,
    seed: int = 0,
) -> dict[str, NDArray[np.float64]]:
    """Score bootstrap resamples.

    Args:
        references: true values (clips,) or (clips, targets); NaN or None where missing.
        predictions: predicted values, of the same shape.
        groups: each clip's speaker (clips,): whole speakers are drawn, as many as there are. None: clips are drawn.
        ddof: as in `nvv.metrics.regression_scores`.
        num_resamples: how many resamples, ≥ 1.
        seed: the same seed gives the same resamples.

    Returns:
        For each score name the resamples' scores (num_resamples, targets), NaN where a resample has no reference.

    Raises:
        ValueError: as `nvv.metrics.regression_scores`; for `groups` of another length, or fewer than one resample.
    """
    summands, offsets = clip_sums(references, predictions)
    sums = resampled_sums(summands.reshape(len(summands), -1), groups=groups, num_resamples=num_resamples, seed=seed)
    sums = sums.reshape(num_resamples, *summands.shape[1:])
    sums[..., 0] = np.rint(sums[..., 0])  # a number of clips
    return scores_from_sums(sums, offsets, ddof=ddof)


def regression_scores_with_intervals(
    references: ArrayLike,
    predictions: ArrayLike,
    *,
    groups: Sequence[str] | ArrayLike | None = None,
    ddof: int = 0,
    num_resamples: int = 1_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, RegressionInterval]:
    """Score predicted numbers and give each score its percentile bootstrap interval.

    Args:
        references: true values (clips,) or (clips, targets); NaN or None where missing.
        predictions: predicted values, of the same shape.
        groups: each clip's speaker (clips,), for intervals over speakers; None for intervals over clips.
        ddof: as in `nvv.metrics.regression_scores`.
        num_resamples: how many resamples, ≥ 1; a thousand or more for a 95 % interval.
        confidence: share of resamples inside the interval, in (0, 1).
        seed: of the resamples.

    Returns:
        For each score name its mean and its targets, with intervals. Resamples in which a target happens to have no
        reference say nothing on it. With a single clip, or a single speaker, an interval has no width.

    Raises:
        ValueError: as `resampled_regression_scores`, and for a confidence outside (0, 1).

    Example:
        >>> scores = regression_scores_with_intervals([1.0, 2.0, 3.0], [1.0, 2.0, 4.0])
        >>> scores["mae"]["mean"]["low"] <= 1 / 3 <= scores["mae"]["mean"]["high"]
        True
    """
    check_resampling(num_resamples=num_resamples, confidence=confidence)
    values = regression_scores(references, predictions, ddof=ddof)
    resampled = resampled_regression_scores(
        references, predictions, groups=groups, ddof=ddof, num_resamples=num_resamples, seed=seed
    )
    joined: dict[str, RegressionInterval] = {}
    for name, score in values.items():
        targets = resampled[name]
        joined[name] = {
            "mean": _interval(score["mean"], mean_over_targets(targets), confidence=confidence),
            "per_target": [
                None if value is None else _interval(value, targets[:, index], confidence=confidence)
                for index, value in enumerate(score["per_target"])
            ],
        }
    return joined


def _interval(value: float, resampled: NDArray[np.float64], *, confidence: float) -> ScoreInterval:
    known = resampled[~np.isnan(resampled)]
    tail = (1 - confidence) / 2
    # A handful of references may be in no resample at all; the score itself is then all there is.
    low, high = np.quantile(known, [tail, 1 - tail]) if known.size else (value, value)
    return {"value": value, "low": float(low), "high": float(high)}
