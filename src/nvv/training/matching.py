"""Reads the answers of two runs and finds the same clips in both.

What cannot be compared is refused, and the message says what differs. The comparison itself is the neighbour
`comparison`'s. Own work.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..files import task_file
from .answers import RegressionPredictions, ResultsError, SplitPredictions
from .predictions import PREDICTIONS_FILE, read_predictions

__all__ = ["check_outputs", "matching_order", "read_run_split", "share_speakers"]

_Answers = SplitPredictions | RegressionPredictions


def read_run_split(run: Path, *, split: str, task: str | None = None) -> tuple[_Answers, list[str]]:
    """Read a run's answers on one split.

    Args:
        run: the run's folder.
        split: the split.
        task: which task, where the run has several.

    Returns:
        The answers, and the names of labels or targets.

    Raises:
        ResultsError: if there are none, not of that split, of several tasks and none named, or of a clip twice.
    """
    path = _predictions_file(run, task=task)
    splits, names = read_predictions(path)
    by_name = {item.split: item for item in splits}
    if split not in by_name:
        raise ResultsError(f"{path}: expected the split {split!r}, found {', '.join(by_name) or 'none'}.")
    files = by_name[split].files
    if len(set(files)) < len(files):
        seen: set[str] = set()
        twice = next(file for file in files if file in seen or seen.add(file))
        raise ResultsError(f"{path}, {split}: expected each clip once, found {twice!r} again.")
    return by_name[split], names


def _predictions_file(run: Path, *, task: str | None) -> Path:
    """Return the file with a run's answers: of the task, or of the only one."""
    if task is not None:
        path = run / task_file(PREDICTIONS_FILE, task, num_tasks=2)
        if path.is_file():
            return path
    path = run / PREDICTIONS_FILE
    if path.is_file():
        return path
    stem, ending = Path(PREDICTIONS_FILE).stem, Path(PREDICTIONS_FILE).suffix
    tasks = sorted(found.stem.removeprefix(f"{stem}_") for found in run.glob(f"{stem}_*{ending}"))
    if tasks:
        asked = "Name one of them as the task to compare by" if task is None else f"None is called {task!r}"
        raise ResultsError(f"{run}: the run has several tasks: {', '.join(tasks)}. {asked}.")
    raise ResultsError(f"{path}: no such file. Name the folder of a finished run, which holds {PREDICTIONS_FILE}.")


def check_outputs(
    first: _Answers, second: _Answers, *, names_a: Sequence[str], names_b: Sequence[str], run_a: Path, run_b: Path
) -> None:
    """Refuse answers of different kinds, classes or targets.

    Args:
        first: one run's answers.
        second: the other's.
        names_a: the first one's labels or targets.
        names_b: the second one's.
        run_a: the first run's folder.
        run_b: the second one's.

    Raises:
        ResultsError: saying what differs.
    """
    kinds = ["numbers" if isinstance(answers, RegressionPredictions) else "classes" for answers in (first, second)]
    if kinds[0] != kinds[1]:
        raise ResultsError(
            f"{run_a} and {run_b}: the first answered with {kinds[0]}, the second with {kinds[1]}. "
            "Compare runs of one kind of task."
        )
    if list(names_a) == list(names_b):
        return
    noun = "targets" if kinds[0] == "numbers" else "labels"
    if sorted(names_a) == sorted(names_b):
        raise ResultsError(
            f"{run_a} and {run_b}: the same {noun} in another order ({', '.join(names_a)} and {', '.join(names_b)}). "
            "Compare runs on one version of the corpus."
        )
    raise ResultsError(
        f"{run_a} and {run_b}: expected the same {noun}, found {', '.join(names_a)} and {', '.join(names_b)}. "
        f"Compare runs on one {'task' if noun == 'targets' else 'corpus'}."
    )


def matching_order(first: _Answers, second: _Answers, *, run_a: Path, run_b: Path) -> NDArray[np.int64]:
    """Find each clip of the first run in the second.

    Args:
        first: one run's answers.
        second: the other's.
        run_a: the first run's folder.
        run_b: the second one's.

    Returns:
        Where the second run has each clip of the first (clips,).

    Raises:
        ResultsError: for other clips, or other references.
    """
    positions = {file: index for index, file in enumerate(second.files)}
    only_a = sorted(set(first.files) - set(second.files))
    only_b = sorted(set(second.files) - set(first.files))
    if only_a or only_b:
        example, where = (only_a[0], run_a) if only_a else (only_b[0], run_b)
        raise ResultsError(
            f"{first.split}: expected the same clips, found {len(only_a)} only in {run_a} and {len(only_b)} only in "
            f"{run_b}, such as {example!r} in {where}. Compare runs with one corpus and split protocol."
        )
    order = np.array([positions[file] for file in first.files])
    true, other = np.asarray(first.references), np.asarray(second.references)[order]
    differs = true != other
    noun = "labels"
    if isinstance(first, RegressionPredictions):
        differs, noun = (differs & ~(np.isnan(true) & np.isnan(other))).any(axis=1), "values"
    others = np.flatnonzero(differs)
    if others.size:
        raise ResultsError(
            f"{first.split}: expected the same true {noun}, found others for {others.size} clips, such as "
            f"{first.files[others[0]]!r} in {run_b}. Compare runs on one version of the corpus."
        )
    return order


def share_speakers(first: _Answers, second: _Answers, *, order: NDArray[np.int64], run_b: Path) -> bool:
    """Say whether every clip's speaker is known in both runs.

    Args:
        first: one run's answers.
        second: the other's.
        order: what `matching_order` returned.
        run_b: the second run's folder.

    Returns:
        Whether every clip's speaker is known.

    Raises:
        ResultsError: if the runs say different things.
    """
    if first.speaker_ids is None or second.speaker_ids is None:
        return False
    for file, speaker, index in zip(first.files, first.speaker_ids, order, strict=True):
        if second.speaker_ids[index] != speaker:
            raise ResultsError(
                f"{first.split}: expected the same speakers, found {second.speaker_ids[index]!r} instead of "
                f"{speaker!r} for {file!r} in {run_b}. Compare runs on one version of the corpus."
            )
    return all(first.speaker_ids)
