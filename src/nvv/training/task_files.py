"""The files that hold a model's answers by task, and the pictures of them.

A model with one task has `predictions.csv` and one picture, one with several a file and a picture for each. What
answers are is defined in `answers`; scores are the neighbour `task_results`'. Own work.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..configuration_nvv import NvvConfig
from ..files import task_file
from .answers import RegressionPredictions, ResultsError, TaskAnswers, split_name
from .plots import CONFUSION_MATRIX_FILE, write_confusion_matrix
from .predictions import PREDICTIONS_FILE, read_predictions, write_predictions
from .regression_plots import REGRESSION_FILE, write_regression_plot

__all__ = ["read_task_predictions", "write_task_plots", "write_task_predictions"]


def write_task_predictions(
    output_dir: str | os.PathLike[str], answers: Sequence[TaskAnswers], *, config: NvvConfig
) -> list[Path]:
    """Write the answers: `predictions.csv` for one task, `predictions_<task>.csv` for each of several.

    Args:
        output_dir: the run's folder.
        answers: what `task_answers` returned, for each split.
        config: the model's, with its tasks.

    Returns:
        The files' paths, in the tasks' order.

    Raises:
        ResultsError: as `write_predictions`.
    """
    tasks = config.task_list
    return [
        write_predictions(
            Path(output_dir) / task_file(PREDICTIONS_FILE, task.name, num_tasks=len(tasks)),
            [of_split[task.name] for of_split in answers],
            label_names=task.outputs if task.kind == "classification" else None,
        )
        for task in tasks
    ]


def read_task_predictions(output_dir: str | os.PathLike[str], metrics: Mapping[str, Any]) -> list[TaskAnswers]:
    """Read what `write_task_predictions` wrote.

    Args:
        output_dir: the run's folder.
        metrics: the content of its `metrics.json`, which names the tasks; without tasks the only one is `label`.

    Returns:
        The answers of every task, for each split.

    Raises:
        ResultsError: if a task's file is missing or cannot be read, or holds other outputs or splits.
    """
    tasks = metrics.get("tasks") or [{"name": "label", "outputs": metrics["labels"]}]
    answers: list[TaskAnswers] = []
    for number, task in enumerate(tasks):
        path = Path(output_dir) / task_file(PREDICTIONS_FILE, task["name"], num_tasks=len(tasks))
        if not path.is_file():
            raise ResultsError(f"{path}: no such file. Name the folder of a finished run, which holds it.")
        splits, names = read_predictions(path)
        if names != list(task["outputs"]):
            raise ResultsError(
                f"{path}: expected the outputs {', '.join(task['outputs'])}, found {', '.join(names)}. "
                "It is of another run than metrics.json."
            )
        if number == 0:
            answers = [{} for _ in splits]
        expected = [split_name(of_split) for of_split in answers if of_split] or [item.split for item in splits]
        if [item.split for item in splits] != expected:
            raise ResultsError(
                f"{path}: expected the splits {', '.join(expected)}, found {', '.join(item.split for item in splits)}."
            )
        for of_split, item in zip(answers, splits, strict=True):
            of_split[task["name"]] = item
    return answers


def write_task_plots(
    output_dir: str | os.PathLike[str], metrics: Mapping[str, Any], answers: Sequence[TaskAnswers]
) -> list[Path]:
    """Draw each task: `confusion_matrix.png` of a classification, `regression.png` of a regression.

    Of several tasks each has its own, with its name before the ending. The test split is drawn, or the last split that
    has references of the task; a task without any has no picture.

    Args:
        output_dir: the run's folder.
        metrics: the content of `metrics.json`.
        answers: what it was made of.

    Returns:
        The files' paths.
    """
    folder = Path(output_dir)
    names = list(answers[0]) if answers else []
    paths = []
    for name in names:
        of_task = {split_name(of_split): of_split[name] for of_split in answers}
        scored = [split for split, item in of_task.items() if item.has_reference.any()]
        if not scored:
            continue
        split = "test" if "test" in scored else scored[-1]
        task = name if "tasks" in metrics else None
        if isinstance(of_task[split], RegressionPredictions):
            path = folder / task_file(REGRESSION_FILE, name, num_tasks=len(names))
            paths.append(write_regression_plot(path, metrics, of_task[split], task=name))
        else:
            path = folder / task_file(CONFUSION_MATRIX_FILE, name, num_tasks=len(names))
            paths.append(write_confusion_matrix(path, metrics, split=split, task=task))
    return paths
