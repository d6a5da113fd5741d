"""How sure a difference is between two systems that predict numbers, or several tasks at once.

Runs of two systems are paired as in `significance`. Each pair of runs has its own references beside those of the other
pairs, so that a score is the mean over pairs of what each run scored, on whatever clips are drawn: a clip is drawn with
everything that any run said of it. What is drawn are speakers, or clips where speakers are unknown. Own work.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..metrics import JointTask, PairedDifference, paired_joint_bootstrap, paired_regression_bootstrap
from ..training.answers import MISSING_CLASS, RegressionPredictions, ResultsError, SplitPredictions
from .answers import Answers, AnswerStore
from .score_names import MEAN_SCORE

__all__ = ["TaskComparison", "compare_tasks"]


@dataclass(frozen=True, kw_only=True)
class TaskComparison:
    """A difference between two systems, and what it rests on.

    Args:
        difference: both scores, their difference, its interval and p-value.
        unit: what was drawn, `speaker` or `clip`.
        num_clips: different clips compared.
    """

    difference: PairedDifference
    unit: str
    num_clips: int


def compare_tasks(
    store: AnswerStore,
    pairs: Sequence[tuple[str, str]],
    *,
    split: str,
    metric: str,
    num_resamples: int,
    seed: int,
) -> TaskComparison:
    """Compare the runs of two systems, pair by pair on the same clips.

    Args:
        store: the sweep's predictions.
        pairs: ids of the runs compared, at least one pair.
        split: the split.
        metric: one of `score_names.NUMBER_SCORES`, or `mean_score`.
        num_resamples: bootstrap resamples.
        seed: of the bootstrap.

    Returns:
        The comparison; the difference is that of the pairs' first runs minus that of the second ones.

    Raises:
        ResultsError: for runs of a pair that have other clips, tasks or references, a score of numbers where something
            else is predicted, and for a split without any reference.
    """
    answers = [_checked_pair(store, pair, split=split) for pair in pairs]
    clips = _Clips.of([tasks for pair in answers for tasks in pair])
    sides = [
        [task for pair in answers for task in _joint_tasks(pair[side], clips, metric=metric, split=split)]
        for side in (0, 1)
    ]
    if not sides[0]:
        raise ResultsError(f"{split}: no clip has a reference.")
    resampling = {"groups": clips.groups, "num_resamples": num_resamples, "seed": seed}
    if metric == MEAN_SCORE:
        difference = paired_joint_bootstrap(*sides, **resampling)
    else:
        references = np.concatenate([task.references for task in sides[0]], axis=1)
        predictions = [np.concatenate([task.predictions for task in side], axis=1) for side in sides]
        difference = paired_regression_bootstrap(references, *predictions, **resampling)[metric]["mean"]
    return TaskComparison(difference=difference, unit=clips.unit, num_clips=len(clips.position))


def _checked_pair(
    store: AnswerStore, pair: tuple[str, str], *, split: str
) -> tuple[Mapping[str, Answers], Mapping[str, Answers]]:
    """Return the answers of two runs, which must have answered the same questions."""
    first, second = (store.tasks(run_id, split) for run_id in pair)
    alike = list(first) == list(second) and all(_is_alike(first[name], second[name]) for name in first)
    if not alike:
        raise ResultsError(
            f"{pair[1]}, {split}: expected the clips, tasks and references of {pair[0]}, found others. Compare runs of "
            "one corpus and split protocol, without max_evaluation_clips."
        )
    return first, second


def _is_alike(first: Answers, second: Answers) -> bool:
    if type(first) is not type(second) or list(first.files) != list(second.files):
        return False
    if isinstance(first, RegressionPredictions) and first.target_names != second.target_names:
        return False
    is_number = isinstance(first, RegressionPredictions)
    return np.array_equal(first.references, second.references, equal_nan=is_number)


@dataclass(frozen=True, kw_only=True)
class _Clips:
    """All clips that any run answered on.

    Args:
        position: file to row.
        groups: what is drawn together: the speaker, or the clip's file (clips,).
        unit: `speaker` or `clip`.
    """

    position: Mapping[str, int]
    groups: NDArray[np.str_]
    unit: str

    @classmethod
    def of(cls, runs: Sequence[Mapping[str, Answers]]) -> _Clips:
        speaker_of: dict[str, str | None] = {}
        for tasks in runs:
            answers = next(iter(tasks.values()))
            speakers = answers.speaker_ids if answers.speaker_ids is not None else [None] * len(answers.files)
            speaker_of |= dict(zip(answers.files, speakers, strict=True))
        files = sorted(speaker_of)
        by_speaker = all(speaker_of.values())
        return cls(
            position={file: row for row, file in enumerate(files)},
            groups=np.asarray([speaker_of[file] if by_speaker else file for file in files]),
            unit="speaker" if by_speaker else "clip",
        )


def _joint_tasks(tasks: Mapping[str, Answers], clips: _Clips, *, metric: str, split: str) -> Iterator[JointTask]:
    """Lay a run's answers out over all clips, missing where it has none; tasks without any reference are left out."""
    for name, answers in tasks.items():
        if not answers.has_reference.any():
            continue
        rows = [clips.position[file] for file in answers.files]
        if isinstance(answers, SplitPredictions):
            if metric != MEAN_SCORE:
                raise ResultsError(f"{split}, {name}: {metric} is of numbers, but classes are predicted.")
            references = np.full(len(clips.position), MISSING_CLASS)
            predictions = np.zeros(len(clips.position), dtype=np.int64)
            num_labels = answers.probabilities.shape[1]
        else:
            shape = (len(clips.position), len(answers.target_names))
            references, predictions, num_labels = np.full(shape, np.nan), np.zeros(shape), None
        references[rows], predictions[rows] = answers.references, answers.predictions
        yield JointTask(references=references, predictions=predictions, num_labels=num_labels)
