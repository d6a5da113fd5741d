"""The answers that a sweep's runs left in their folders, each file read once.

Reading is `nvv.training.task_results`'; comparing systems by them is left to `significance`. Own work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..training.answers import RegressionPredictions, ResultsError, SplitPredictions
from ..training.metrics_file import METRICS_FILE, read_metrics
from ..training.predictions import PREDICTIONS_FILE
from ..training.task_results import read_task_predictions
from .table import RUNS_FOLDER

__all__ = ["AnswerStore", "Answers"]

Answers = SplitPredictions | RegressionPredictions
"""A run's answers to one task on one split."""


class AnswerStore:
    """The predictions of a sweep's runs, each file read once.

    Args:
        output_dir: the sweep's folder.
    """

    def __init__(self, output_dir: str | Path) -> None:
        self._runs = Path(output_dir) / RUNS_FOLDER
        self._read: dict[str, tuple[dict[str, dict[str, Answers]], list[str]]] = {}

    def tasks(self, run_id: str, split: str) -> Mapping[str, Answers]:
        """Return a run's answers on one split, by task.

        Args:
            run_id: the run.
            split: the split.

        Returns:
            The answers to each task, in order of the files' names; of a plain classification the task `label`.

        Raises:
            ResultsError: if the run kept no answers on that split, or they cannot be read.
        """
        splits, _ = self._run(run_id)
        if split not in splits:
            raise ResultsError(f"{run_id}: expected predictions on {split}, found {', '.join(splits)}.")
        return splits[split]

    def split(self, run_id: str, split: str) -> tuple[SplitPredictions, list[str]]:
        """Return the answers of a run that predicts classes, on the clips of one split whose class is known.

        Args:
            run_id: the run.
            split: the split.

        Returns:
            The answers, in order of the files' names, and the labels.

        Raises:
            ResultsError: as `tasks`; for a run that predicts something else, and for a split without any known class.
        """
        answers = list(self.tasks(run_id, split).values())
        if len(answers) > 1 or not isinstance(answers[0], SplitPredictions):
            found = f"{len(answers)} tasks" if len(answers) > 1 else "numbers"
            raise ResultsError(f"{run_id}, {split}: expected answers that are classes, found {found}.")
        scored = answers[0].scored()
        if scored is None:
            raise ResultsError(f"{run_id}, {split}: no clip's class is known.")
        return scored, self._run(run_id)[1]

    def files(self, run_id: str, split: str) -> list[str]:
        """Return the clips of one split that a run answered on, in order of their names.

        Args:
            run_id: the run.
            split: the split.

        Raises:
            ResultsError: as `tasks`.
        """
        return list(next(iter(self.tasks(run_id, split).values())).files)

    def _run(self, run_id: str) -> tuple[dict[str, dict[str, Answers]], list[str]]:
        """Return a run's answers by split and task, and its label names."""
        if run_id not in self._read:
            folder = self._runs / run_id
            if not any(folder.glob(f"{Path(PREDICTIONS_FILE).stem}*.csv")):
                raise ResultsError(
                    f"{folder / PREDICTIONS_FILE}: expected the run's predictions, found no file. Run it again."
                )
            metrics = read_metrics(folder / METRICS_FILE)
            splits = {}
            for of_split in read_task_predictions(folder, metrics):
                name = next(iter(of_split.values())).split
                splits[name] = {task: _by_file(answers) for task, answers in of_split.items()}
            self._read[run_id] = splits, list(metrics["labels"])
        return self._read[run_id]


def _by_file(answers: Answers) -> Answers:
    """Sort a split's answers by file name, so that two runs' line up."""
    order = np.argsort(np.asarray(answers.files), kind="stable")
    rows = ("references", "probabilities" if isinstance(answers, SplitPredictions) else "predictions")
    return replace(
        answers,
        files=[answers.files[at] for at in order],
        speaker_ids=None if answers.speaker_ids is None else [answers.speaker_ids[at] for at in order],
        **{name: np.asarray(getattr(answers, name))[order] for name in rows},
    )
