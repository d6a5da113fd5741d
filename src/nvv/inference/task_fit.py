"""From the tasks of a model to the columns of a corpus, by their names.

A target of a regression is the column of its name, written alike but for upper and lower case; the classes of a
classification are those of the column `label`, of one called as the task, or of the only one with these classes. What
the corpus does not have stays without references. Labels of plain classifiers are `label_map`'s. Own work.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
from numpy.typing import NDArray

from ..configuration_nvv import NvvConfig, Task
from ..training.arguments import ArgumentsError
from ..training.tasks import TaskSpec

__all__ = ["TaskFit", "fit_tasks"]


@dataclass(frozen=True, kw_only=True)
class TaskFit:
    """Which column of a corpus each label column of a model is.

    Args:
        config: the model's.
        columns: for each task its columns in the model's order, None where the corpus has no such one.
    """

    config: NvvConfig
    columns: Mapping[str, tuple[str | None, ...]]

    @property
    def specs(self) -> list[TaskSpec]:
        """What is there of the tasks, as `ClipDataset` takes it."""
        specs = []
        for task in self.config.task_list:
            there = [at for at, column in enumerate(self.columns[task.name]) if column is not None]
            if there:
                is_regression = task.kind == "regression"
                specs.append(
                    TaskSpec(
                        name=task.name,
                        kind=task.kind,
                        outputs=tuple(task.outputs[at] for at in there) if is_regression else task.outputs,
                        columns=tuple(self.columns[task.name][at] for at in there),
                        loss=task.loss,
                    )
                )
        return specs

    @property
    def missing(self) -> dict[str, list[str]]:
        """For each task what the corpus does not have of it: targets, or the task's own name."""
        return {task.name: names for task in self.config.task_list if (names := list(self._missing(task)))}

    def _missing(self, task: Task) -> Iterator[str]:
        names = task.outputs if task.kind == "regression" else (task.name,)
        for name, column in zip(names, self.columns[task.name], strict=True):
            if column is None:
                yield name

    def labels(self, clips: datasets.Dataset) -> NDArray[np.float32]:
        """Return what the model should answer.

        Args:
            clips: some of the corpus's.

        Returns:
            (clips, label columns): targets, and indices of the model's classes; NaN where missing.

        Raises:
            ArgumentsError: for a number that is infinite, naming column and clip.
        """
        columns = []
        for task in self.config.task_list:
            for column in self.columns[task.name]:
                if column is None:
                    columns.append(np.full(len(clips), np.nan, dtype=np.float32))
                    continue
                values = list(clips[column][:])
                if task.kind == "classification":
                    values = _class_indices(values, clips.features[column], task=task)
                numbers = np.array([np.nan if value is None else value for value in values], dtype=np.float32)
                if np.isinf(numbers).any():
                    clip = clips["file"][int(np.isinf(numbers).argmax())]
                    raise ArgumentsError(
                        f"{column}: expected finite numbers, found an infinite one for the clip {clip}."
                    )
                columns.append(numbers)
        return np.stack(columns, axis=1)

    def describe(self) -> dict[str, Any]:
        """Return what results record of the fit: for each task the columns by output, None where there is none."""
        described: dict[str, Any] = {}
        for task in self.config.task_list:
            columns = self.columns[task.name]
            if task.kind == "regression":
                described[task.name] = dict(zip(task.outputs, columns, strict=True))
            else:
                described[task.name] = columns[0]
        return described


def fit_tasks(config: NvvConfig, features: datasets.Features, *, only_present: bool = False) -> TaskFit:
    """Find the columns of a model's tasks.

    Args:
        config: the model's, with tasks.
        features: the corpus's columns.
        only_present: let the corpus lack some of them, but not all.

    Returns:
        The columns.

    Raises:
        ArgumentsError: naming the columns that are missing, or that none is there.
    """
    columns = {
        task.name: _targets(task, features) if task.kind == "regression" else (_classes(task, features),)
        for task in config.task_list
    }
    fit = TaskFit(config=config, columns=columns)
    found = [column for of_task in columns.values() for column in of_task if column is not None]
    if fit.missing and (not only_present or not found):
        raise ArgumentsError(_missing_columns(fit, features, has_some=bool(found)))
    if only_present and not fit.missing:
        raise ArgumentsError("only_present_targets: has no effect: the corpus has all of them. Leave it out.")
    return fit


def _is_number(feature: Any) -> bool:
    dtype = getattr(feature, "dtype", "")
    return not isinstance(feature, datasets.ClassLabel) and dtype.startswith(("int", "uint", "float"))


def _targets(task: Task, features: datasets.Features) -> tuple[str | None, ...]:
    numbers = [name for name, feature in features.items() if _is_number(feature)]
    found = []
    for output in task.outputs:
        alike = [name for name in numbers if name.casefold() == output.casefold()]
        exact = [name for name in alike if name == output]
        found.append((exact or alike)[0] if exact or len(alike) == 1 else None)
    return tuple(found)


def _classes(task: Task, features: datasets.Features) -> str | None:
    fitting = [
        name
        for name, feature in features.items()
        if isinstance(feature, datasets.ClassLabel) and set(feature.names) == set(task.outputs)
    ]
    # Words, which have no list of classes: only by the task's own name.
    words = [name for name in (task.name,) if getattr(features.get(name), "dtype", None) in ("string", "large_string")]
    for name in ("label", task.name):
        if name in fitting:
            return name
    candidates = fitting or words
    return candidates[0] if len(candidates) == 1 else None


def _class_indices(values: Sequence[Any], feature: Any, *, task: Task) -> list[int | None]:
    """Number classes as the model does; None where a clip has none, or one that the model does not know."""
    position = {name: index for index, name in enumerate(task.outputs)}
    if isinstance(feature, datasets.ClassLabel):
        return [None if value is None or value < 0 else position[feature.names[value]] for value in values]
    unknown = sorted({str(value) for value in values if value is not None and value not in position})
    if unknown:
        raise ArgumentsError(f"{task.name}: the model has no class {unknown[0]!r}; it has {', '.join(position)}.")
    return [None if value is None else position[value] for value in values]


def _missing_columns(fit: TaskFit, features: datasets.Features, *, has_some: bool) -> str:
    parts = []
    for task in fit.config.task_list:
        names = fit.missing.get(task.name)
        if names and task.kind == "regression":
            parts.append(f"{task.name}: numbers {', '.join(names)}")
        elif names:
            parts.append(f"{task.name}: classes {', '.join(task.outputs)}")
    text = (
        f"model: the corpus lacks columns for what the model predicts. Missing are {'; '.join(parts)}; it has "
        f"{', '.join(name for name in features if name != 'audio')}."
    )
    if has_some:
        text += " --only_present_targets true evaluates what is there."
    return text
