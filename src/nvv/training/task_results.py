"""Results of a model by its tasks: what it answered, and how well.

A model has one task or several (`NvvConfig.task_list`), each a classification or a regression. Its outputs are taken
apart here into answers for each task; these are scored by the neighbour `split_scores`, and kept and drawn by
`task_files`, whose functions are named here, too. A classification alone is scored exactly as `results.build_metrics`
does. Own work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..configuration_nvv import NvvConfig
from ..files import task_file
from ..metrics import JointTask, joint_mean_interval
from ..tasks_nvv import Task
from .answers import (
    MISSING_CLASS,
    RegressionPredictions,
    ResultsError,
    SplitPredictions,
    TaskAnswers,
    can_draw_speakers,
    split_name,
)
from .results import RunFacts, assemble_metrics, build_metrics
from .scores import MEAN_SCORE
from .split_scores import describe_interval, regression_results, split_results
from .task_files import read_task_predictions, write_task_plots, write_task_predictions

__all__ = [
    "TaskAnswers",
    "build_task_metrics",
    "read_task_predictions",
    "task_answers",
    "task_file",
    "write_task_plots",
    "write_task_predictions",
]


def task_answers(
    config: NvvConfig,
    split: str,
    logits: ArrayLike,
    *,
    files: Sequence[str],
    labels: ArrayLike,
    speaker_ids: Sequence[str] | None = None,
) -> TaskAnswers:
    """Take a model's outputs on one split apart by task.

    Args:
        config: the model's, with its tasks.
        split: the split's name.
        logits: the outputs (clips, outputs); numbers where a task is a regression.
        files: each clip's relative path (clips,).
        labels: classes (clips,), negative where missing; or (clips, label columns), NaN where missing.
        speaker_ids: each clip's speaker (clips,), or None where the corpus does not say.

    Returns:
        The answers of every task, in the tasks' order.

    Raises:
        ResultsError: for other numbers of outputs or label columns than the tasks have, and as the answers' classes.
    """
    outputs, columns = np.asarray(logits), np.asarray(labels)
    columns = columns[:, None] if columns.ndim == 1 else columns
    for name, found, expected in (
        ("logits", outputs, config.num_labels),
        ("labels", columns, config.num_label_columns),
    ):
        if found.ndim != 2 or found.shape[1] != expected:
            raise ResultsError(f"{split}: expected {name} (clips, {expected}), found shape {found.shape}.")
    clips = {"split": split, "files": files, "speaker_ids": speaker_ids}
    answers: TaskAnswers = {}
    for task in config.task_list:
        of_task, references = outputs[:, task.logits], columns[:, task.labels]
        if task.kind == "regression":
            answers[task.name] = RegressionPredictions(
                **clips, references=references, predictions=of_task, target_names=task.outputs
            )
        else:
            classes = _classes(references[:, 0])
            answers[task.name] = SplitPredictions.from_logits(
                split, of_task, files=files, references=classes, speaker_ids=speaker_ids
            )
    return answers


def _classes(column: NDArray[np.generic]) -> NDArray[np.int64]:
    """Return class indices (clips,), missing ones as `MISSING_CLASS`."""
    known = column >= 0  # False for NaN
    return np.where(known, column, MISSING_CLASS).astype(np.int64)


def build_task_metrics(
    answers: Sequence[TaskAnswers],
    facts: RunFacts,
    *,
    config: NvvConfig,
    interval_unit: str = "clip",
    num_resamples: int = 1_000,
    seed: int = 0,
) -> dict[str, Any]:
    """Make the content of `metrics.json` for a model with tasks of any kind.

    Args:
        answers: what `task_answers` returned, usually for `validation` and `test`.
        facts: what the run knows about itself.
        config: the model's, with its tasks.
        interval_unit: what the bootstrap draws for `low` and `high`: `clip`, or `speaker` for whole speakers.
        num_resamples: bootstrap resamples.
        seed: of the bootstrap and the random guesses.

    Returns:
        For a classification over the labels alone (`config.tasks` is None) what `build_metrics` returns. Else the same
        with `tasks` (name, kind, outputs, loss, weight of each), and in each split `tasks`, by name: `kind`,
        `num_references`, `scores`, `chance`, and `per_class` and `confusion_matrix` or `per_target`; without any
        reference `scores` is empty. The `scores` of a split are those of the only task, which then also stands in the
        split itself; of several tasks `<task>_<score>`, and `mean_score`, the mean of the tasks' CCC or UAR with an
        interval from resamples that all tasks share.

    Raises:
        ResultsError: as `build_metrics`, and for a split without the answers of a task.
        TypeError: for facts that JSON cannot hold.
    """
    tasks = config.task_list
    for of_split in answers:
        if set(of_split) != {task.name for task in tasks}:
            raise ResultsError(
                f"answers: expected the tasks {', '.join(task.name for task in tasks)}, found {', '.join(of_split)}."
            )
    if config.tasks is None:
        (task,) = tasks
        return build_metrics(
            [of_split[task.name] for of_split in answers],
            facts,
            label_names=task.outputs,
            interval_unit=interval_unit,
            num_resamples=num_resamples,
            seed=seed,
        )
    resampling = {"interval_unit": interval_unit, "num_resamples": num_resamples, "seed": seed}
    single = tasks[0] if len(tasks) == 1 else None
    return assemble_metrics(
        facts,
        label_names=single.outputs if single is not None and single.kind == "classification" else (),
        splits={split_name(of_split): _results(of_split, tasks, **resampling) for of_split in answers},
        tasks=[
            {
                "name": task.name,
                "kind": task.kind,
                "outputs": task.outputs,
                "loss": task.loss,
                "weight": task.weight,
            }
            for task in tasks
        ],
    )


def _results(
    of_split: TaskAnswers, tasks: Sequence[Task], *, interval_unit: str, num_resamples: int, seed: int
) -> dict[str, Any]:
    """Score one split: each task, and all of them together."""
    resampling = {"interval_unit": interval_unit, "num_resamples": num_resamples, "seed": seed}
    by_task = {task.name: _task_results(of_split[task.name], task, **resampling) for task in tasks}
    shared = {"num_clips", "num_speakers", "interval"}
    details = {
        task.name: {
            "kind": task.kind,
            "num_references": int(of_split[task.name].has_reference.sum()),
            **{name: value for name, value in by_task[task.name].items() if name not in shared},
        }
        for task in tasks
    }
    if len(tasks) == 1:
        return {**by_task[tasks[0].name], "tasks": details}
    first = by_task[tasks[0].name]
    scores = _mean_scores(of_split, tasks, **resampling)
    for task in tasks:
        scores |= {f"{task.name}_{name}": score for name, score in by_task[task.name]["scores"].items()}
    intervals = [result["interval"] for result in by_task.values() if "interval" in result]
    units = max((interval["units"] for interval in intervals), key=len, default=[interval_unit])
    return {
        "num_clips": first["num_clips"],
        "num_speakers": first["num_speakers"],
        "scores": scores,
        "interval": describe_interval(units, num_resamples=num_resamples, seed=seed),
        "tasks": details,
    }


def _task_results(answers: SplitPredictions | RegressionPredictions, task: Task, **resampling: Any) -> dict[str, Any]:
    if isinstance(answers, RegressionPredictions):
        return regression_results(answers, **resampling)
    return split_results(answers, label_names=task.outputs, **resampling)


def _mean_scores(
    of_split: TaskAnswers, tasks: Sequence[Task], *, interval_unit: str, num_resamples: int, seed: int
) -> dict[str, dict[str, float]]:
    """Score all tasks that have references together; empty where none has."""
    joint = [_joint_task(of_split[task.name], task) for task in tasks if of_split[task.name].has_reference.any()]
    if not joint:
        return {}
    speakers = next(iter(of_split.values())).speaker_ids
    resampling = {"num_resamples": num_resamples, "seed": seed}
    score = dict(joint_mean_interval(joint, groups=speakers if interval_unit == "speaker" else None, **resampling))
    if can_draw_speakers(speakers):
        by_speaker = joint_mean_interval(joint, groups=speakers, **resampling)
        score |= {"speaker_low": by_speaker["low"], "speaker_high": by_speaker["high"]}
    return {MEAN_SCORE: score}


def _joint_task(answers: SplitPredictions | RegressionPredictions, task: Task) -> JointTask:
    num_labels = len(task.outputs) if isinstance(answers, SplitPredictions) else None
    return JointTask(references=answers.references, predictions=answers.predictions, num_labels=num_labels)
