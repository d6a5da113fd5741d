"""What a model's answers are held against: the classes of a corpus, or the columns of its targets.

Either key says which clips are evaluated, how outputs are read, scored and written; so `evaluation` itself is the same
for all models. The fit of labels is the neighbour `label_map`'s, that of tasks `task_fit`'s. Own work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import datasets
import numpy as np
from numpy.typing import NDArray

from ..training.arguments import ArgumentsError
from ..training.dataset import ClipDataset
from ..training.results import RunFacts, SplitPredictions, build_metrics
from ..training.task_results import TaskAnswers, build_task_metrics, task_answers
from ..training.tasks import TaskSpec
from . import evaluation_folder
from .label_map import LabelMap
from .load import Classifier
from .open_answers import without_other
from .read_answers import AnswerReader, class_reader, task_reader
from .task_fit import TaskFit

__all__ = ["AnswerKey", "ClassKey", "TaskKey"]


class AnswerKey(Protocol):
    """What `evaluation` asks of both kinds of key."""

    @property
    def specs(self) -> Sequence[TaskSpec] | None:
        """The tasks as `ClipDataset` takes them; None for the column `label`."""

    @property
    def columns(self) -> list[str]:
        """The corpus's columns with what is asked for."""

    def chosen(self, clips: datasets.Dataset, *, split: str) -> datasets.Dataset:
        """Leave out the clips that are not evaluated."""

    def left_out(self, clips: datasets.Dataset) -> dict[str, int]:
        """Count the clips that are not evaluated, by their class."""

    def describe(self) -> dict[str, Any]:
        """Return what the field `evaluation` of the metrics records."""

    def warnings(self) -> list[str]:
        """Say what the reader of the scores must know."""

    def reader(self, clips: datasets.Dataset) -> AnswerReader:
        """Return the function from logits to the answers that are scored."""

    def answers(self, split: str, chosen: datasets.Dataset, clips: ClipDataset, logits: NDArray[np.float32]) -> Any:
        """Return the answers that `metrics` and `write` take."""

    def metrics(self, answers: Sequence[Any], facts: RunFacts, *, num_resamples: int) -> dict[str, Any]:
        """Score the answers of all splits."""

    def write(self, folder: Path, metrics: dict[str, Any], answers: Sequence[Any]) -> None:
        """Write predictions and pictures."""


@dataclass(frozen=True, kw_only=True)
class ClassKey:
    """The classes of the column `label`.

    Args:
        classifier: the model.
        label_map: which class each of its labels stands for.
    """

    classifier: Classifier
    label_map: LabelMap
    specs: None = None

    @property
    def columns(self) -> list[str]:
        """The column with the classes."""
        return ["label"]

    def chosen(self, clips: datasets.Dataset, *, split: str) -> datasets.Dataset:
        """Leave out the clips of classes that are not evaluated.

        Raises:
            ArgumentsError: if none is left.
        """
        kept = self.label_map.is_evaluated(clips["label"][:]).nonzero()[0]
        if not len(kept):
            raise ArgumentsError(
                f"label_map: no clip of the split {split} is left: no label of the model stands for a class in it."
            )
        return clips if len(kept) == len(clips) else clips.select(kept.tolist())

    def left_out(self, clips: datasets.Dataset) -> dict[str, int]:
        """Count the clips of each class that is not evaluated."""
        names = self.label_map.corpus_labels
        labels = [names[index] for index in clips["label"][:]]
        return {label: labels.count(label) for label in names if label not in self.label_map.classes}

    def describe(self) -> dict[str, Any]:
        """Return the label map."""
        return {"label_map": self.label_map.describe()}

    def warnings(self) -> list[str]:
        """Return nothing: clips that are left out are counted."""
        return []

    def reader(self, clips: datasets.Dataset) -> AnswerReader:
        """Return the function from logits to the answers that are scored."""
        labels = np.asarray(clips["label"][:], dtype=np.int64)
        return class_reader(self.label_map, labels, is_multi_label=self.classifier.is_multi_label)

    def answers(
        self, split: str, chosen: datasets.Dataset, clips: ClipDataset, logits: NDArray[np.float32]
    ) -> SplitPredictions:
        """Turn one split's logits into answers among the evaluated classes."""
        return SplitPredictions(
            split=split,
            files=clips.files,
            references=self.label_map.references(chosen["label"][:]),
            probabilities=self.label_map.probabilities(logits, is_multi_label=self.classifier.is_multi_label),
            speaker_ids=clips.speaker_ids,
        )

    def metrics(self, answers: Sequence[SplitPredictions], facts: RunFacts, *, num_resamples: int) -> dict[str, Any]:
        """Score the answers of all splits."""
        metrics = build_metrics(answers, facts, label_names=self.label_map.answers, num_resamples=num_resamples)
        return without_other(metrics, answers) if self.label_map.has_other else metrics

    def write(self, folder: Path, metrics: dict[str, Any], answers: Sequence[SplitPredictions]) -> None:
        """Write predictions and confusion matrices."""
        evaluation_folder.write_class_answers(folder, metrics=metrics, predictions=answers)


@dataclass(frozen=True, kw_only=True)
class TaskKey:
    """The columns of a model's tasks.

    Args:
        fit: which they are.
    """

    fit: TaskFit

    @property
    def specs(self) -> list[TaskSpec]:
        """What is there of the tasks."""
        return self.fit.specs

    @property
    def columns(self) -> list[str]:
        """The corpus's columns with what is asked for."""
        return [column for spec in self.fit.specs for column in spec.columns]

    def chosen(self, clips: datasets.Dataset, *, split: str) -> datasets.Dataset:
        """Keep every clip: those without references are answered and not scored."""
        del split
        return clips

    def left_out(self, clips: datasets.Dataset) -> dict[str, int]:
        """Return nothing: every clip is answered."""
        del clips
        return {}

    def describe(self) -> dict[str, Any]:
        """Return the columns of every task."""
        return {"label_map": None, "columns": self.fit.describe()}

    def warnings(self) -> list[str]:
        """Name the tasks and targets that the corpus does not have."""
        missing = [
            f"{task} ({', '.join(names)})" if names != [task] else task for task, names in self.fit.missing.items()
        ]
        if not missing:
            return []
        return [f"The corpus has no column for {'; '.join(missing)}, which the model predicts: not scored."]

    def reader(self, clips: datasets.Dataset) -> AnswerReader:
        """Return the function from logits to the answers that are scored."""
        return task_reader(self.fit.config, self.fit.labels(clips))

    def answers(
        self, split: str, chosen: datasets.Dataset, clips: ClipDataset, logits: NDArray[np.float32]
    ) -> TaskAnswers:
        """Take one split's logits apart by task."""
        return task_answers(
            self.fit.config,
            split,
            logits,
            files=clips.files,
            labels=self.fit.labels(chosen),
            speaker_ids=clips.speaker_ids,
        )

    def metrics(self, answers: Sequence[TaskAnswers], facts: RunFacts, *, num_resamples: int) -> dict[str, Any]:
        """Score the answers of all splits."""
        return build_task_metrics(answers, facts, config=self.fit.config, num_resamples=num_resamples)

    def write(self, folder: Path, metrics: dict[str, Any], answers: Sequence[TaskAnswers]) -> None:
        """Write predictions and pictures of every task."""
        evaluation_folder.write_task_results(folder, metrics=metrics, answers=answers, config=self.fit.config)
