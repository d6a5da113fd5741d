"""From a model's outputs to the answers that are scored, whatever kind of model it is.

A classifier's labels are matched by a `LabelMap`, the tasks of a model with several outputs by their names. Fitting
tasks to the columns of a corpus is the neighbour `task_fit`'s, scoring `resampled_scores`'. Own work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedConfig

from ..training.arguments import ArgumentsError
from ..training.dataset import ClipDataset
from .label_map import LabelMap, make_label_map
from .resampled_scores import AnsweredTask

__all__ = ["AnswerReader", "answers_of", "class_reader", "task_reader"]

AnswerReader = Callable[[NDArray[np.float32]], list[AnsweredTask]]
"""From logits (clips, outputs) to the answers to every task."""


def class_reader(label_map: LabelMap, labels: NDArray[np.int64], *, is_multi_label: bool = False) -> AnswerReader:
    """Read a classifier's answers.

    Args:
        label_map: which class each label of the model stands for.
        labels: the clips' labels, indices of the corpus's labels (clips,), of evaluated classes only.
        is_multi_label: as in `LabelMap.probabilities`.

    Returns:
        The function from logits to answers.
    """
    references = label_map.references(labels)

    def read(logits: NDArray[np.float32]) -> list[AnsweredTask]:
        # In single precision, as predictions.csv keeps them: ties are then broken alike.
        probabilities = label_map.probabilities(logits, is_multi_label=is_multi_label).astype(np.float32)
        return [
            AnsweredTask(
                task="label",
                kind="classification",
                outputs=tuple(label_map.classes),
                references=references,
                predictions=probabilities.argmax(axis=1),
                has_other=label_map.has_other,
            )
        ]

    return read


def task_reader(config: PreTrainedConfig, labels: NDArray[np.float32]) -> AnswerReader:
    """Read the answers of a model of this package to its tasks.

    Args:
        config: the model's `NvvConfig`, with its tasks.
        labels: what the model should have answered (clips, label columns), NaN where missing.

    Returns:
        The function from logits to answers. Tasks without a single reference are there too.
    """

    def read(logits: NDArray[np.float32]) -> list[AnsweredTask]:
        answers = []
        for task in config.task_list:
            outputs, references = logits[:, task.logits], labels[:, task.labels]
            if task.kind == "classification":
                classes = references[:, 0]
                references = np.where(np.isnan(classes), -1, np.nan_to_num(classes)).astype(np.int64)
                outputs = outputs.argmax(axis=1)
            answers.append(
                AnsweredTask(
                    task=task.name,
                    kind=task.kind,
                    outputs=tuple(task.outputs),
                    references=references,
                    predictions=outputs,
                )
            )
        return answers

    return read


def answers_of(config: PreTrainedConfig, clips: ClipDataset) -> AnswerReader:
    """Read a model's answers to clips that have the model's own labels, or its own tasks.

    Args:
        config: the model's.
        clips: the clips with their labels.

    Returns:
        The function from logits to answers.

    Raises:
        ArgumentsError: for clips with other tasks.
        LabelMapError: for clips with other labels.
    """
    if getattr(config, "tasks", None) is None and clips.tasks is None:
        names = [config.id2label[index] for index in range(config.num_labels)]
        is_multi_label = config.problem_type == "multi_label_classification"
        return class_reader(make_label_map(names, clips.label_names), clips.labels, is_multi_label=is_multi_label)
    of_model = _described(() if getattr(config, "tasks", None) is None else config.task_list)
    of_clips = _described(clips.tasks or ())
    if of_model != of_clips:
        raise ArgumentsError(
            f"clips: expected the model's tasks ({of_model or 'none'}), found {of_clips or 'none'}. Make the clips "
            "with ClipDataset(…, tasks=…), in the order of config.tasks."
        )
    return task_reader(config, clips.labels)


def _described(tasks: Sequence[object]) -> str:
    return "; ".join(f"{task.name}: {', '.join(task.outputs)}" for task in tasks)
