"""A model's answers as columns of a dataset, beside the columns that it has.

Which columns there are follows from what the model predicts; what its logits mean is ``nvv.inference.readings``'s. Own
work.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import datasets
import numpy as np
import pyarrow as pa

from ..audio import AudioError
from ..data import CorpusError
from ..inference.load import Classifier
from ..inference.readings import OutputGroup, output_groups, scores_of
from .rows import Answer

__all__ = ["AnswerColumns", "error_column", "reason_of"]

_COLUMN_NAME = re.compile(r"\w+")


def error_column(answers: Sequence[Answer], names: Sequence[str]) -> pa.Array:
    """Return why there is no answer, one text a row, null where there is one.

    Args:
        answers: One a row.
        names: What errors call the row's recording; taken off the reasons.
    """
    reasons = [reason_of(answer, name) for answer, name in zip(answers, names, strict=True)]
    return pa.array(reasons, pa.string())


def reason_of(answer: Answer, name: str) -> str | None:
    """Return why a recording has no answer, without its name; None where it has one."""
    return str(answer).removeprefix(f"{name}: ") if isinstance(answer, AudioError) else None


@dataclass(frozen=True, kw_only=True)
class AnswerColumns:
    """The columns that a model adds.

    For classes, and for labels that are each said yes or no to, `COLUMN_label` holds the label of the highest score,
    `COLUMN_score` that score and `COLUMN_scores` those of all labels by name; for numbers `COLUMN_numbers` holds them
    by name. A model of several tasks has such columns for each, `COLUMN_TASK_label` and so on. `COLUMN_error` says why
    a row has none of these.

    Attributes:
        column: The name that all begin with.
        groups: What the model predicts.
    """

    column: str
    groups: tuple[OutputGroup, ...]

    @classmethod
    def of(cls, classifier: Classifier, column: str) -> AnswerColumns:
        """Name the columns of a model.

        Raises:
            CorpusError: If they could not be columns.
        """
        if not _COLUMN_NAME.fullmatch(column):
            raise CorpusError(f"column: expected letters, digits and underscores, found {column!r}.")
        columns = cls(column=column, groups=output_groups(classifier))
        for group in columns.groups:
            twice = {label for label in group.labels if group.labels.count(label) > 1}
            if twice:
                raise CorpusError(f"model: two of its labels are called {twice.pop()!r}, so a score has no name.")
        return columns

    def features(self) -> dict[str, datasets.Value | dict[str, datasets.Value]]:
        """Return name and kind of each column."""
        found: dict[str, datasets.Value | dict[str, datasets.Value]] = {}
        for group in self.groups:
            each = {label: datasets.Value("float32") for label in group.labels}
            stem = self._stem(group)
            if group.kind == "numbers":
                found[f"{stem}_numbers"] = each
            else:
                found[f"{stem}_label"] = datasets.Value("string")
                found[f"{stem}_score"] = datasets.Value("float32")
                found[f"{stem}_scores"] = each
        found[self.error] = datasets.Value("string")
        return found

    def notes(self) -> dict[str, str]:
        """Return name and content of each column, in words."""
        said: dict[str, str] = {}
        for group in self.groups:
            stem, of_task = self._stem(group), "" if len(self.groups) == 1 else f" of task {group.name}"
            if group.kind == "numbers":
                said[f"{stem}_numbers"] = f"the numbers{of_task} by name: {_listed(group.labels)}."
                continue
            kind = (
                "scores that add up to 1" if group.kind == "classes" else "a score between 0 and 1 for each by itself"
            )
            said[f"{stem}_label"] = f"the label{of_task} with the highest score."
            said[f"{stem}_score"] = "its score."
            said[f"{stem}_scores"] = f"{kind}; by label: {_listed(group.labels)}."
        said[self.error] = "why a recording has no answers; empty where it has."
        return said

    @property
    def error(self) -> str:
        """Name of the column with the reasons."""
        return f"{self.column}_error"

    def appended_to(self, features: Mapping[str, object], *, name: str) -> datasets.Features:
        """Return the columns of the source and then these.

        Raises:
            CorpusError: If the source has one of that name.
        """
        mine = self.features()
        taken = [column for column in mine if column in features]
        if taken:
            raise CorpusError(f"{name}: already has a column {taken[0]!r}; choose another beginning with --column.")
        return datasets.Features({**features, **mine})

    def arrays(self, answers: Sequence[Answer], names: Sequence[str]) -> list[pa.Array]:
        """Return the columns' values, in the order of `features`.

        Args:
            answers: Logits (outputs,) or an error for each row.
            names: What errors call each row's recording.
        """
        missing = np.array([isinstance(answer, AudioError) for answer in answers], dtype=bool)
        logits = np.zeros((len(answers), max(group.columns.stop for group in self.groups)), dtype=np.float32)
        for row, answer in enumerate(answers):
            if not missing[row]:
                logits[row] = answer
        scores = scores_of(self.groups, logits).astype(np.float32)
        arrays: list[pa.Array] = []
        for group in self.groups:
            values = scores[:, group.columns]
            named = pa.StructArray.from_arrays(
                [pa.array(column) for column in values.T], list(group.labels), mask=pa.array(missing)
            )
            if group.kind != "numbers":
                best = values.argmax(axis=1)
                labels = np.array(group.labels, dtype=object)[best]
                arrays.append(pa.array(labels, pa.string(), mask=missing))
                arrays.append(pa.array(values[np.arange(len(best)), best], mask=missing))
            arrays.append(named)
        return [*arrays, error_column(answers, names)]

    def _stem(self, group: OutputGroup) -> str:
        return self.column if len(self.groups) == 1 else f"{self.column}_{group.name}"


def _listed(labels: Sequence[str]) -> str:
    return ", ".join(f"`{label}`" for label in labels)
