"""The mean score of a model's several tasks, with a bootstrap interval from joint resamples.

What a resample says on one task and on another belongs together: both come from the same clips. So each resample is
drawn once, as counts of clips or speakers, and every task is scored on it before the mean is taken. A task's own score
is CCC, as the mean over its targets, or unweighted average recall.

Source: B. Efron, R. Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13 (percentile intervals); own code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .classification import scores_from_confusion
from .regression import clip_sums, mean_over_targets, scores_from_sums
from .regression_bootstrap import ScoreInterval
from .resampling import check_resampling, resampled_sums

__all__ = ["TASK_SCORES", "JointTask", "joint_mean_interval", "joint_summands"]

TASK_SCORES = {"regression": "ccc", "classification": "uar"}
"""The score of each kind of task that is averaged over tasks."""


@dataclass(frozen=True, kw_only=True)
class JointTask:
    """What one task adds to the mean.

    Args:
        references: true labels (clips,), negative where missing; or true values (clips, targets), NaN where missing.
        predictions: predicted labels (clips,), or values (clips, targets).
        num_labels: number of classes; None for a regression.
    """

    references: ArrayLike
    predictions: ArrayLike
    num_labels: int | None = None


def joint_mean_interval(
    tasks: Sequence[JointTask],
    *,
    groups: Sequence[str] | ArrayLike | None = None,
    num_resamples: int = 1_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> ScoreInterval:
    """Average the tasks' scores (`TASK_SCORES`) and give the mean its percentile interval.

    Args:
        tasks: answers on the same clips in the same order, each task with at least one reference.
        groups: each clip's speaker (clips,): whole speakers are drawn, as many as there are. None: clips are drawn.
        num_resamples: how many resamples, ≥ 1.
        confidence: share of resamples inside the interval, in (0, 1).
        seed: of the resamples.

    Returns:
        The mean over tasks, and its interval. In a resample that happens to hold no reference of a task the mean is
        over the others.

    Raises:
        ValueError: for no task, tasks with other numbers of clips, references as in `nvv.metrics.regression_scores` or
            labels out of range, a task without a reference, `groups` of another length, fewer than one resample, and a
            confidence outside (0, 1).

    Example:
        >>> tasks = [JointTask(references=[0, 1], predictions=[0, 0], num_labels=2)]
        >>> joint_mean_interval(tasks, num_resamples=10)["value"]
        0.5
    """
    check_resampling(num_resamples=num_resamples, confidence=confidence)
    summands, score = joint_summands(tasks)
    values = score(summands.sum(axis=0, keepdims=True))[0]
    sums = resampled_sums(summands, groups=groups, num_resamples=num_resamples, seed=seed)
    means = mean_over_targets(score(sums))  # (num_resamples,)
    tail = (1 - confidence) / 2
    value = float(np.mean(values))
    known = means[~np.isnan(means)]
    # A handful of references may be in no resample at all; the mean itself is then all there is.
    low, high = np.quantile(known, [tail, 1 - tail]) if known.size else (value, value)
    return {"value": value, "low": float(low), "high": float(high)}


def joint_summands(
    tasks: Sequence[JointTask],
) -> tuple[NDArray[np.float64], Callable[[NDArray[np.float64]], NDArray[np.float64]]]:
    """Return what each clip adds to the sums that the tasks' scores follow from.

    Args:
        tasks: as in `joint_mean_interval`.

    Returns:
        Summands (clips, sums), and the function that makes scores (sets, tasks) from sums over any sets of clips
        (sets, sums), NaN where a set holds no reference of a task.

    Raises:
        ValueError: as `joint_mean_interval`.
    """
    if not tasks:
        raise ValueError("tasks: expected at least one, found none.")
    parts = [_regression_part(task) if task.num_labels is None else _classification_part(task) for task in tasks]
    lengths = {len(summands) for summands, _ in parts}
    if len(lengths) > 1:
        raise ValueError(f"tasks: expected answers on the same clips, found {sorted(lengths)} clips.")
    ends = np.cumsum([summands.shape[1] for summands, _ in parts])[:-1]

    def score(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        columns = np.split(sums, ends, axis=1)
        return np.stack([of_task(own) for (_, of_task), own in zip(parts, columns, strict=True)], axis=-1)

    return np.concatenate([summands for summands, _ in parts], axis=1), score


_Part = tuple[NDArray[np.float64], Callable[[NDArray[np.float64]], NDArray[np.float64]]]
"""What each clip adds to a task's sums (clips, sums), and how scores (resamples,) follow from such sums."""


def _regression_part(task: JointTask) -> _Part:
    summands, offsets = clip_sums(task.references, task.predictions)

    def score(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        by_target = sums.reshape(len(sums), *summands.shape[1:]).copy()
        by_target[..., 0] = np.rint(by_target[..., 0])  # a number of clips
        return mean_over_targets(scores_from_sums(by_target, offsets)["ccc"])

    return summands.reshape(len(summands), -1), score


def _classification_part(task: JointTask) -> _Part:
    true, predicted, num_labels = np.asarray(task.references), np.asarray(task.predictions), task.num_labels
    if true.shape != predicted.shape or true.ndim != 1:
        raise ValueError(f"predictions: expected one for each reference, found {predicted.shape} and {true.shape}.")
    is_there = true >= 0
    if not is_there.any():
        raise ValueError("references: expected at least one that is not missing, found none.")
    highest = max(true.max(), predicted.max())
    if highest >= num_labels or predicted.min() < 0:
        raise ValueError(f"labels: expected 0 to {num_labels - 1}, found {min(predicted.min(), 0)} to {highest}.")
    cells, column_of_clip = np.unique(true[is_there] * num_labels + predicted[is_there], return_inverse=True)
    summands = np.zeros((true.size, cells.size))
    summands[is_there.nonzero()[0], column_of_clip] = 1

    def score(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        confusions = np.zeros((len(sums), num_labels**2))
        confusions[:, cells] = np.rint(sums)
        confusions = confusions.reshape(-1, num_labels, num_labels)
        scores = np.full(len(sums), np.nan)
        has_clips = confusions.sum(axis=(1, 2)) > 0
        if has_clips.any():
            scores[has_clips] = scores_from_confusion(confusions[has_clips])["uar"]
        return scores

    return summands, score
