"""What a run predicts: which columns of the corpus are targets or classes, and how each task is learned.

A run without tasks is one classification by the column `label`, as ever. With `target_columns` it is one regression,
with `tasks` any number of regressions and classifications from one backbone. How tasks act in the model is
`nvv.configuration_nvv`'s; scores are the neighbour `scores`'. Own work.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
from numpy.typing import NDArray

from ..configuration_nvv import CONTRASTIVE_LOSS
from .arguments import ArgumentsError, DataArguments, ModelArguments

__all__ = ["TARGETS_TASK", "TaskSpec", "config_tasks", "label_matrix", "make_tasks"]

TARGETS_TASK = "targets"
"""Name of the one task that `target_columns` makes."""

_REGRESSION_LOSSES = ("ccc", "mse")
_CLASSIFICATION_LOSSES = ("cross_entropy", "focal")
_NAME = re.compile(r"\w[\w.-]*")
_TASK_KEYS = ("targets", "label", "loss", "weight")


@dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """One thing to predict, and from which columns it is learned.

    Args:
        name: the task's name.
        kind: `regression` or `classification`.
        outputs: the targets, or the classes in label order.
        columns: the corpus's columns: one a target, or the one with the classes.
        loss: `ccc` or `mse`; `cross_entropy` or `focal`.
        weight: factor of the task's loss, > 0.
    """

    name: str
    kind: str
    outputs: tuple[str, ...]
    columns: tuple[str, ...]
    loss: str
    weight: float = 1.0


def make_tasks(
    data: DataArguments, model: ModelArguments, splits: Mapping[str, datasets.Dataset]
) -> tuple[TaskSpec, ...] | None:
    """Make a run's tasks from its arguments and its corpus.

    Args:
        data: gives `target_columns` or `tasks`.
        model: gives `loss`, `head` and `task_weighting`.
        splits: `train`, `validation` and `test`, with their columns.

    Returns:
        The tasks; None for a plain classification by the column `label`.

    Raises:
        ArgumentsError: for a column that is not there or holds something else than numbers or classes, a loss that does
            not go with the task, a task without a value to learn from or to be chosen by, or options without effect.
    """
    described = _described(data, model)
    num_tasks = 1 if described is None else len(described)
    if model.task_weighting != "fixed" and num_tasks < 2:
        raise ArgumentsError(
            f"task_weighting: {model.task_weighting} weighs several tasks, and there is one; leave it out."
        )
    if described is None:
        _check_loss("loss", model.loss, allowed=(*_CLASSIFICATION_LOSSES, CONTRASTIVE_LOSS))
        return None
    if model.head == "embedding":
        raise ArgumentsError(
            "head: embedding learns from the classes of one column; leave target_columns and tasks out."
        )
    specs = tuple(_make_task(name, task, splits) for name, task in described.items())
    for spec in specs:
        _check_values(spec, splits)
    return specs


def _described(data: DataArguments, model: ModelArguments) -> dict[str, dict[str, Any]] | None:
    """Return the tasks as the arguments describe them."""
    if data.target_columns is not None:
        loss = {} if model.loss is None else {"loss": model.loss}
        return {TARGETS_TASK: {"targets": data.target_columns, **loss}}
    if data.tasks is not None and model.loss is not None:
        raise ArgumentsError(f"loss: with tasks each names its own loss; found {model.loss!r}. Write it into tasks.")
    return data.tasks


def _make_task(name: str, task: Any, splits: Mapping[str, datasets.Dataset]) -> TaskSpec:
    """Make one task, checking what was said of it."""
    where = f"tasks: {name}"
    if not _NAME.fullmatch(name):
        raise ArgumentsError(f"{where}: a task's name stands in file names: letters, digits, and . _ - within it.")
    if not isinstance(task, dict) or ("targets" in task) == ("label" in task):
        raise ArgumentsError(
            f"{where}: expected {{targets: [column, …]}} or {{label: column}}, with loss and weight if wanted; found "
            f"{task!r}."
        )
    unknown = sorted(set(task) - set(_TASK_KEYS))
    if unknown:
        raise ArgumentsError(f"{where}: no setting is called {unknown[0]!r}; there are {', '.join(_TASK_KEYS)}.")
    weight = task.get("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not weight > 0:
        raise ArgumentsError(f"{where}: expected a weight of more than 0, found {weight!r}.")
    is_regression = "targets" in task
    allowed = _REGRESSION_LOSSES if is_regression else _CLASSIFICATION_LOSSES
    loss = task.get("loss", allowed[0])
    _check_loss(where if name != TARGETS_TASK else "loss", loss, allowed=allowed)
    if is_regression:
        columns = outputs = _target_columns(where, task["targets"], splits)
    else:
        columns, outputs = (task["label"],), _classes(where, task["label"], splits)
    kind = "regression" if is_regression else "classification"
    return TaskSpec(name=name, kind=kind, outputs=outputs, columns=columns, loss=loss, weight=float(weight))


def _check_loss(where: str, loss: str | None, *, allowed: Sequence[str]) -> None:
    if loss is not None and loss not in allowed:
        raise ArgumentsError(
            f"{where}: expected the loss {', '.join(allowed[:-1])} or {allowed[-1]}, found {loss!r}. Numbers are "
            "learned by ccc or mse (target_columns, tasks), classes by cross_entropy, focal or, without tasks, "
            f"{CONTRASTIVE_LOSS}."
        )


def _feature(where: str, column: str, splits: Mapping[str, datasets.Dataset]) -> Any:
    """Return what a column holds."""
    features = splits["train"].features
    if column not in features:
        others = ", ".join(name for name in features if name != "audio")
        raise ArgumentsError(f"{where}: the corpus has no column {column!r}; it has {others}.")
    return features[column]


def _target_columns(where: str, columns: Any, splits: Mapping[str, datasets.Dataset]) -> tuple[str, ...]:
    if not isinstance(columns, list) or not columns or not all(isinstance(column, str) for column in columns):
        raise ArgumentsError(f"{where}: expected a list of columns as targets, found {columns!r}.")
    if len(set(columns)) < len(columns):
        raise ArgumentsError(f"{where}: {columns!r} names a column twice.")
    for column in columns:
        feature = _feature(where, column, splits)
        dtype = getattr(feature, "dtype", "")
        if isinstance(feature, datasets.ClassLabel) or not dtype.startswith(("float", "int", "uint")):
            raise ArgumentsError(f"{where}: expected numbers in the column {column!r}, found {feature}.")
    return tuple(columns)


def _classes(where: str, column: Any, splits: Mapping[str, datasets.Dataset]) -> tuple[str, ...]:
    """Return the classes of a column: of a ClassLabel in its order, of words sorted."""
    feature = _feature(where, column, splits)
    if isinstance(feature, datasets.ClassLabel):
        names = tuple(feature.names)
    elif getattr(feature, "dtype", "") in ("string", "large_string"):
        names = tuple(sorted({value for split in splits.values() for value in split[column][:] if value is not None}))
    else:
        raise ArgumentsError(f"{where}: expected classes or words in the column {column!r}, found {feature}.")
    if len(names) < 2:
        raise ArgumentsError(
            f"{where}: expected at least two classes in {column!r}, found {', '.join(names) or 'none'}."
        )
    return names


def _check_values(spec: TaskSpec, splits: Mapping[str, datasets.Dataset]) -> None:
    """Raise for a task that nothing can be learned of, or that no checkpoint can be chosen by."""
    for split in ("train", "validation"):
        known = ~np.isnan(label_matrix(splits[split], [spec]))
        for number, column in enumerate(spec.columns):
            if not known[:, number].any():
                raise ArgumentsError(
                    f"tasks: {spec.name}: the column {column!r} has no value in the {split} split. Leave it out."
                )


def label_matrix(split: datasets.Dataset, tasks: Sequence[TaskSpec]) -> NDArray[np.float32]:
    """Return what the model learns from, as `NvvForAudioClassification` takes it.

    Args:
        split: has the tasks' columns.
        tasks: the tasks, in order.

    Returns:
        `(clips, columns)`: of each regression its targets, of each classification the class's index; NaN where missing.

    Raises:
        ArgumentsError: for a target that is infinite, naming column and clip.
    """
    columns = []
    for task in tasks:
        for column in task.columns:
            values = list(split[column][:])
            if task.kind == "classification":
                values = _class_indices(values, task, split.features[column])
            numbers = np.array([np.nan if value is None else value for value in values], dtype=np.float32)
            if np.isinf(numbers).any():
                clip = split["file"][int(np.isinf(numbers).argmax())]
                raise ArgumentsError(f"{column}: expected finite numbers, found an infinite one for the clip {clip}.")
            columns.append(numbers)
    return np.stack(columns, axis=1)


def _class_indices(values: Sequence[Any], task: TaskSpec, feature: Any) -> list[int | None]:
    """Turn class names, or indices of which -1 means unknown, into indices."""
    if isinstance(feature, datasets.ClassLabel):
        return [None if value is None or value < 0 else value for value in values]
    index = {name: number for number, name in enumerate(task.outputs)}
    return [None if value is None else index[value] for value in values]


def config_tasks(
    specs: Sequence[TaskSpec], *, class_weights: Mapping[str, Sequence[float]] | None = None
) -> list[dict[str, Any]]:
    """Return tasks as `NvvConfig.tasks` has them.

    Args:
        specs: the tasks.
        class_weights: for some classifications one factor a class, by the task's name.
    """
    weights = class_weights or {}
    return [
        {
            "name": spec.name,
            "kind": spec.kind,
            "outputs": list(spec.outputs),
            "loss": spec.loss,
            "weight": spec.weight,
            "class_weights": list(weights[spec.name]) if spec.name in weights else None,
        }
        for spec in specs
    ]
