"""`Task`: one thing that a model predicts, and which of its outputs and labels belong to it.

A config describes its tasks as plain dicts, which are checked and completed here. Their losses are the sibling
`losses_nvv`'s. Part of the remote-code bundle: imports nothing but the standard library.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TASK_LOSSES = {"regression": ("ccc", "mse"), "classification": ("cross_entropy", "focal")}
"""Losses of each kind of task; the first is the default."""

CLASSIFICATION_TASK = "label"
"""Name of the one task of a model without `tasks`: a classification of its labels."""


@dataclass(frozen=True)
class Task:
    """One thing to predict.

    Args:
        name: Its name.
        kind: `"regression"` or `"classification"`.
        outputs: The targets, or the classes in label order.
        loss: One of `TASK_LOSSES[kind]`; `"supervised_contrastive"` for a model with an embedding head.
        weight: Factor of its loss in the sum over the tasks, > 0.
        class_weights: One factor > 0 for each class, or `None`.
        logits: Its columns among the model's outputs.
        labels: Its columns among the labels: one a target, or one with the class index.
    """

    name: str
    kind: str
    outputs: tuple[str, ...]
    loss: str
    weight: float
    class_weights: tuple[float, ...] | None
    logits: slice
    labels: slice


def complete_tasks(tasks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Checks the description of a model's tasks and fills in the defaults.

    Args:
        tasks: One mapping each, with `name`, `kind` and `outputs`, and if wanted `loss`, `weight` and `class_weights`.

    Returns:
        The same with every field, as it is saved.

    Raises:
        ValueError: A task has an unknown or contradictory field, or two have one name.
    """
    if not isinstance(tasks, (list, tuple)) or not tasks:
        raise ValueError(f"tasks: expected a list of at least one task, found {tasks!r}.")
    completed = [_complete(number, task) for number, task in enumerate(tasks)]
    names = [task["name"] for task in completed]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"tasks: two are named {name!r}; give each its own name.")
    return completed


def output_names(tasks: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of all outputs in their order: a single task's own, else `task/output`."""
    if len(tasks) == 1:
        return list(tasks[0]["outputs"])
    return [f"{task['name']}/{output}" for task in tasks for output in task["outputs"]]


def list_tasks(tasks: Sequence[Mapping[str, Any]]) -> tuple[Task, ...]:
    """Lays out completed tasks one after another over the outputs and the label columns."""
    listed: list[Task] = []
    first_output = first_column = 0
    for task in tasks:
        num_outputs = len(task["outputs"])
        num_columns = num_outputs if task["kind"] == "regression" else 1
        weights = task["class_weights"]
        listed.append(
            Task(
                name=task["name"],
                kind=task["kind"],
                outputs=tuple(task["outputs"]),
                loss=task["loss"],
                weight=task["weight"],
                class_weights=None if weights is None else tuple(weights),
                logits=slice(first_output, first_output + num_outputs),
                labels=slice(first_column, first_column + num_columns),
            )
        )
        first_output += num_outputs
        first_column += num_columns
    return tuple(listed)


def check_class_weights(weights: Sequence[float], *, num_labels: int, where: str = "class_weights") -> None:
    """Raises ValueError unless there is one positive factor for each class."""
    if len(weights) != num_labels:
        raise ValueError(f"{where} has {len(weights)} values for {num_labels} labels.")
    if min(weights) <= 0:
        raise ValueError(f"{where} must be positive, found {min(weights)}.")


def _complete(number: int, task: Any) -> dict[str, Any]:
    """One task with all its fields, checked."""
    if not isinstance(task, Mapping):
        raise ValueError(f"tasks[{number}]: expected a dict with name, kind and outputs, found {task!r}.")
    required, optional = ("name", "kind", "outputs"), ("loss", "weight", "class_weights")
    unknown = sorted(set(task) - {*required, *optional})
    missing = [field for field in required if field not in task]
    if unknown or missing:
        problem = f"unknown field {unknown[0]!r}" if unknown else f"no {missing[0]!r}"
        raise ValueError(f"tasks[{number}] has {problem}; a task has {', '.join((*required, *optional))}.")
    name, kind, where = task["name"], task["kind"], f"tasks[{number}]"
    if not isinstance(name, str) or not name or "/" in name:
        raise ValueError(f"{where}: name={name!r} has to be text without a slash, which joins it with its outputs.")
    where = f"{where} ({name})"
    if kind not in TASK_LOSSES:
        raise ValueError(f"{where}: kind={kind!r} is not one of {', '.join(TASK_LOSSES)}.")
    completed = {
        "name": name,
        "kind": kind,
        "outputs": _checked_outputs(task["outputs"], kind=kind, where=where),
        "loss": task.get("loss") or TASK_LOSSES[kind][0],
        "weight": task.get("weight", 1.0),
        "class_weights": task.get("class_weights"),
    }
    if completed["loss"] not in TASK_LOSSES[kind]:
        raise ValueError(
            f"{where}: loss={completed['loss']!r} does not go with a {kind}; choose {' or '.join(TASK_LOSSES[kind])}."
        )
    weight = completed["weight"]
    if not isinstance(weight, (int, float)) or not math.isfinite(weight) or weight <= 0:
        raise ValueError(f"{where}: weight={weight!r} has to be a number above 0.")
    completed["weight"] = float(weight)
    if completed["class_weights"] is not None:
        if kind == "regression":
            raise ValueError(f"{where}: class_weights go with a classification; leave them out.")
        completed["class_weights"] = [float(factor) for factor in completed["class_weights"]]
        check_class_weights(
            completed["class_weights"], num_labels=len(completed["outputs"]), where=f"{where}: class_weights"
        )
    return completed


def _checked_outputs(outputs: Any, *, kind: str, where: str) -> list[str]:
    """The outputs as a list of different names."""
    is_list = isinstance(outputs, (list, tuple)) and all(isinstance(output, str) and output for output in outputs)
    at_least = 2 if kind == "classification" else 1
    if not is_list or len(outputs) < at_least:
        raise ValueError(f"{where}: outputs has to be a list of at least {at_least} names, found {outputs!r}.")
    if len(set(outputs)) < len(outputs):
        raise ValueError(f"{where}: outputs={list(outputs)!r} holds a name twice.")
    return list(outputs)
