"""Paired bootstrap for the mean score of several tasks: is one system better than another on the same clips?

Both systems and all of their tasks are scored on the same resamples, as the neighbour `joint` does for one system.

Source: B. Efron, R. Tibshirani, An Introduction to the Bootstrap, 1993, chapters 13 and 16; own code.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from .joint import JointTask, joint_summands
from .paired import PairedDifference, paired_difference
from .regression import mean_over_targets
from .resampling import check_resampling, resampled_sums

__all__ = ["paired_joint_bootstrap"]


def paired_joint_bootstrap(
    tasks_a: Sequence[JointTask],
    tasks_b: Sequence[JointTask],
    *,
    groups: Sequence[str] | ArrayLike | None = None,
    num_resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> PairedDifference:
    """Compare two systems by the mean of their tasks' scores (CCC or UAR, as in `joint_mean_interval`).

    Args:
        tasks_a: the first system's answers, each task with at least one reference.
        tasks_b: the second one's, on the same clips in the same order.
        groups: each clip's speaker (clips,): whole speakers are drawn. None: clips are drawn.
        num_resamples: how many resamples, ≥ 1; no p-value is below 2 / (num_resamples + 1).
        confidence: share of resamples inside the interval, in (0, 1).
        seed: of the resamples.

    Returns:
        Both means, their difference (first minus second), its percentile interval and its two-sided p-value.

    Raises:
        ValueError: as `joint_mean_interval`, and for systems with other numbers of clips.

    Example:
        >>> tasks = [JointTask(references=[0, 1], predictions=[0, 0], num_labels=2)]
        >>> paired_joint_bootstrap(tasks, tasks, num_resamples=10)["p_value"]
        1.0
    """
    check_resampling(num_resamples=num_resamples, confidence=confidence)
    (first, score_first), (second, score_second) = joint_summands(tasks_a), joint_summands(tasks_b)
    if len(first) != len(second):
        raise ValueError(f"tasks_b: expected answers on the {len(first)} clips of tasks_a, found {len(second)} clips.")
    a, b = (
        float(np.mean(score(part.sum(axis=0, keepdims=True))))
        for part, score in ((first, score_first), (second, score_second))
    )
    sums = resampled_sums(
        np.concatenate([first, second], axis=1), groups=groups, num_resamples=num_resamples, seed=seed
    )
    differences = mean_over_targets(score_first(sums[:, : first.shape[1]])) - mean_over_targets(
        score_second(sums[:, first.shape[1] :])
    )
    return paired_difference(a, b, differences, confidence=confidence)
