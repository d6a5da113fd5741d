"""A model's answers to many recordings as lines of a table, JSON lines or CSV, each written when it is known.

What numbers mean is the neighbour `readings`'; where the text goes, the commands'. Own work.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .readings import OutputGroup

__all__ = ["FORMATS", "AnswerFormat", "Detection", "FileAnswer", "GroupAnswer", "answer_format", "read_answer"]

FORMATS = ("table", "jsonl", "csv")

_EVEN_ODDS = 0.5
_MAX_PADDED_FILE, _MAX_PADDED_LABEL = 60, 24  # columns of a terminal; longer names push the rest aside


@dataclass(frozen=True, kw_only=True)
class GroupAnswer:
    """What one task of a model answers.

    Args:
        name: the task; None for a model without tasks.
        kind: as in `OutputGroup`.
        values: pairs of a label and its score, by falling score, or of a name and its number, in the model's order.
    """

    name: str | None
    kind: str
    values: tuple[tuple[str, float], ...]


@dataclass(frozen=True, kw_only=True)
class Detection:
    """Whether a recording is of a label.

    Args:
        label: the label.
        score: its calibrated probability.
        threshold: that of its operating point.
        detected: whether the score reaches it.
    """

    label: str
    score: float
    threshold: float
    detected: bool


@dataclass(frozen=True, kw_only=True)
class FileAnswer:
    """What a model answers to one recording, or why it does not.

    Args:
        file: the recording.
        groups: the answers of its tasks; empty where there is an error.
        detection: at an operating point, where that was asked for.
        error: the reason, where there is no answer.
    """

    file: str
    groups: tuple[GroupAnswer, ...] = ()
    detection: Detection | None = None
    error: str | None = None


@dataclass(frozen=True)
class AnswerFormat:
    """A form of answers as text.

    Args:
        header: what stands above all answers, with its line end.
        text: gives an answer as lines.
    """

    header: str
    text: Callable[[FileAnswer], str]


def read_answer(
    groups: Sequence[OutputGroup], scores: NDArray[np.float64], *, top_k: int | None = None
) -> tuple[GroupAnswer, ...]:
    """Take from a recording's scores what is to be shown.

    Args:
        groups: how the scores are read.
        scores: (outputs,), from `scores_of`.
        top_k: so many labels of each task, those with the highest scores; 0 for all. None: three of classes, and where
            a model says yes or no to each label, those with yes. Numbers are all shown.

    Returns:
        An answer for each group.
    """
    return tuple(
        GroupAnswer(name=group.name, kind=group.kind, values=_values(group, scores[group.columns], top_k=top_k))
        for group in groups
    )


def _values(group: OutputGroup, scores: NDArray[np.float64], *, top_k: int | None) -> tuple[tuple[str, float], ...]:
    values = [(label, _rounded(score)) for label, score in zip(group.labels, scores, strict=True)]
    if group.kind == "numbers":
        return tuple(values)
    ordered = [values[at] for at in np.argsort(-scores, kind="stable")]
    if top_k is None and group.kind == "yes_no":
        return tuple(value for value in ordered if value[1] >= _EVEN_ODDS)
    return tuple(ordered[: (3 if top_k is None else top_k) or None])


def _rounded(value: float) -> float:
    """Keep six digits: what a model computes in float32 has no more."""
    return float(f"{value:.6g}")


def answer_format(
    name: str, groups: Sequence[OutputGroup], *, detects: bool = False, files: Sequence[str] = ()
) -> AnswerFormat:
    """Return a form of answers.

    `jsonl` gives one object a recording: `file`; `labels`, a list of objects with `label` and `score`, or `numbers`, an
    object; of several tasks `tasks`, an object of such objects. `csv` gives a row for each label or number: `file`,
    `task` (of models with tasks only), `rank` (1 is the highest score; empty for numbers), `label`, `score`, `error`.
    A recording without an answer has `error` and nothing else. At an operating point, `detected` says yes or no; in
    JSON `detection` has the label, its score and its threshold.

    Args:
        name: one of `FORMATS`.
        groups: how the model's outputs are read.
        detects: whether the answers have a detection.
        files: the recordings, where all are known; a table is as wide as they need.

    Returns:
        The form.
    """
    if name == "jsonl":
        return AnswerFormat("", lambda answer: json.dumps(_as_json(answer), ensure_ascii=False, allow_nan=False) + "\n")
    if name == "csv":
        has_tasks = any(group.name is not None for group in groups)
        columns = ["file", *(["task"] if has_tasks else []), "rank", "label", "score"]
        columns += [*(["detected"] if detects else []), "error"]
        return AnswerFormat(_csv([columns]), lambda answer: _csv(_as_rows(answer, columns)))
    file_width = min(max(map(len, files), default=0), _MAX_PADDED_FILE)
    labels = [label for group in groups for label in group.labels]
    label_width = min(max(map(len, labels)), _MAX_PADDED_LABEL)
    return AnswerFormat("", lambda answer: _as_line(answer, file_width=file_width, label_width=label_width))


def _as_json(answer: FileAnswer) -> dict[str, Any]:
    if answer.error is not None:
        return {"file": answer.file, "error": answer.error}
    parts: dict[str, Any] = {group.name or "": _group_as_json(group) for group in answer.groups}
    content = next(iter(parts.values())) if len(parts) == 1 else {"tasks": parts}
    if answer.detection is None:
        return {"file": answer.file, **content}
    found = answer.detection
    detection = {"label": found.label, "score": _rounded(found.score), "threshold": found.threshold}
    return {"file": answer.file, **content, "detected": found.detected, "detection": detection}


def _group_as_json(group: GroupAnswer) -> dict[str, Any]:
    if group.kind == "numbers":
        return {"numbers": dict(group.values)}
    return {"labels": [{"label": label, "score": score} for label, score in group.values]}


def _as_rows(answer: FileAnswer, columns: Sequence[str]) -> list[list[Any]]:
    """Give the rows of a recording: at least one, so that every recording is found in the file."""
    rows: list[dict[str, Any]] = [
        {"task": group.name, "rank": None if group.kind == "numbers" else rank, "label": label, "score": score}
        for group in answer.groups
        for rank, (label, score) in enumerate(group.values, start=1)
    ]
    same = {"file": answer.file, "error": answer.error}
    if answer.detection is not None:
        same["detected"] = "true" if answer.detection.detected else "false"
    return [[{**same, **row}.get(column) for column in columns] for row in rows or [{}]]


def _csv(rows: Sequence[Sequence[Any]]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue()


def _as_line(answer: FileAnswer, *, file_width: int, label_width: int) -> str:
    file = answer.file.translate(_CONTROL)
    if answer.error is not None:
        return f"{file:<{file_width}}  error\n"
    parts = []
    for group in answer.groups:
        title = "" if group.name is None or len(answer.groups) == 1 else f"{group.name}: "
        shown = [
            f"{label} {score:.4g}" if group.kind == "numbers" else f"{label:<{label_width}} {score:.3f}"
            for label, score in group.values
        ]
        parts.append(title + ("  ".join(shown) or "none"))
    if answer.detection is not None:
        found = answer.detection
        parts.append(f"{found.label}: {'yes' if found.detected else 'no'} ({found.score:.3f} at {found.threshold:.3f})")
    return f"{file:<{file_width}}  {' | '.join(parts)}\n"


_CONTROL = dict.fromkeys((*range(32), 127), "?")
"""Characters that a file's name may have and that would spoil a terminal."""
