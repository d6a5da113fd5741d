"""A model's scores by groups of clips: by sex, age band, speaker or any metadata column, with gaps and intervals.

Which group a clip is in is the neighbour `group_columns`', scores and their intervals are
`nvv.metrics.group_scores`', tables and pictures `group_tables`' and `group_plots`'. Own work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..metrics import scores_from_confusion
from ..metrics.group_scores import GroupReport, scores_by_group
from .group_columns import GroupColumn
from .open_answers import scores_without_last_class
from .resampled_scores import CONFIDENCE, AnsweredTask, score_answers

__all__ = ["MIN_CLIPS", "MIN_SPEAKERS", "TaskGroups", "group_report"]

MIN_CLIPS = 30
MIN_SPEAKERS = 5

_CLASSIFICATION = ("macro_f1", "uar", "accuracy")
_REGRESSION = ("ccc", "mean_shift", "pearson", "mae")


@dataclass(frozen=True, kw_only=True)
class TaskGroups:
    """The scores of one task by one column.

    Args:
        by: the column, as it was asked for.
        task: the task's name.
        kind: `classification` or `regression`.
        targets: the names of a regression's targets.
        score_names: the scores that tables show, the main one first.
        order: the groups that have clips with references, in the order in which they are shown.
        overall: the scores of all clips together.
        report: of `nvv.metrics.group_scores`.
        small: for groups with few clips or speakers what is to be said of them.
        gaps_are_small: whether the gaps are between small groups, as there are not two others.
        num_resamples: bootstrap resamples behind each interval.
    """

    by: str
    task: str
    kind: str
    targets: Sequence[str]
    score_names: Sequence[str]
    order: Sequence[str]
    overall: Mapping[str, float]
    report: GroupReport
    small: Mapping[str, str]
    gaps_are_small: bool
    num_resamples: int


def group_report(
    answers: Sequence[AnsweredTask],
    columns: Sequence[GroupColumn],
    *,
    split: str,
    speaker_ids: Sequence[str] | None = None,
    num_resamples: int = 1_000,
    seed: int = 0,
) -> list[TaskGroups]:
    """Score the answers to every task by every column.

    Args:
        answers: of every task; those without a single reference are left out.
        columns: which group each clip is in.
        split: whose clips these are.
        speaker_ids: each clip's speaker (clips,), for intervals over whole speakers; None: clips are drawn.
        num_resamples: bootstrap resamples behind each interval.
        seed: of the bootstrap.

    Returns:
        The scores, for each column those of each task. Gaps are between groups of at least 30 clips where there are
        two such, else between all.

    Raises:
        ValueError: where no clip has both a group and a reference.

    Example:
        >>> answers = AnsweredTask(
        ...     task="label",
        ...     kind="classification",
        ...     outputs=("laugh", "sigh"),
        ...     references=np.array([0, 1, 0, 1]),
        ...     predictions=np.array([0, 0, 0, 1]),
        ... )
        >>> column = GroupColumn(name="sex", groups={"test": ["f", "f", "m", "m"]}, order=["f", "m"])
        >>> report = group_report([answers], [column], split="test", num_resamples=10)[0].report
        >>> report["gaps"]["accuracy"]["between"]
        ('m', 'f')
    """
    return [
        _task_groups(
            one,
            column.groups[split],
            column=column,
            speaker_ids=speaker_ids,
            num_resamples=num_resamples,
            seed=seed,
        )
        for column in columns
        for one in answers
        if one.has_reference.any()
    ]


def _task_groups(
    answers: AnsweredTask,
    groups: Sequence[str | None],
    *,
    column: GroupColumn,
    speaker_ids: Sequence[str] | None,
    num_resamples: int,
    seed: int,
) -> TaskGroups:
    counts = [sum(group == name for group in np.array(groups)[answers.has_reference]) for name in column.order]
    has_two = sum(count >= MIN_CLIPS for count in counts) >= 2
    report = scores_by_group(
        answers.references,
        answers.predictions,
        groups,
        kind=answers.kind,
        num_labels=len(answers.outputs) + answers.has_other if answers.kind == "classification" else None,
        speakers=speaker_ids,
        num_resamples=num_resamples,
        confidence=CONFIDENCE,
        min_clips=MIN_CLIPS if has_two else 1,
        seed=seed,
        score_confusions=_without_other if answers.has_other else scores_from_confusion,
    )
    is_classification = answers.kind == "classification"
    overall = score_answers([answers], num_resamples=1).values
    if not is_classification:
        overall = {**overall, "mean_shift": _mean_shift(answers)}
    return TaskGroups(
        by=column.name,
        task=answers.task,
        kind=answers.kind,
        targets=() if is_classification else answers.outputs,
        score_names=_CLASSIFICATION if is_classification else _REGRESSION,
        order=[name for name in column.order if report["groups"].get(name, {}).get("scores")],
        overall=overall,
        report=report,
        small=_small_groups(report),
        gaps_are_small=not has_two,
        num_resamples=num_resamples,
    )


def _without_other(confusions: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Score confusion matrices whose last class is none."""
    return {**scores_from_confusion(confusions), **scores_without_last_class(confusions)}


def _mean_shift(answers: AnsweredTask) -> float:
    """Return the mean of prediction minus reference, over targets."""
    differences = np.asarray(answers.predictions, np.float64) - answers.references
    known = ~np.isnan(differences).all(axis=0)
    return float(np.nanmean(differences[:, known], axis=0).mean())


def _small_groups(report: GroupReport) -> dict[str, str]:
    """Say of which groups too little is known to say much, and why."""
    groups = report["groups"]
    # Where each group is one speaker, that is no shortcoming of theirs.
    are_speakers = all(group["num_speakers"] == 1 for group in groups.values())
    said = {}
    for name, group in groups.items():
        few = []
        if group["num_clips"] < MIN_CLIPS:
            few.append(f"fewer than {MIN_CLIPS} clips")
        if group["num_speakers"] is not None and group["num_speakers"] < MIN_SPEAKERS and not are_speakers:
            few.append(f"fewer than {MIN_SPEAKERS} speakers")
        if few:
            said[name] = " and ".join(few)
    return said
