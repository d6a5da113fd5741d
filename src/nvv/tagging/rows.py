"""From rows of a dataset to what a model makes of their recordings, table by table in the source's order.

A table waits until all its rows have been heard and then comes with their answers; as the engine looks ahead a bounded
number of seconds, so few tables wait that memory does not grow with the dataset. The rows are the neighbour
`sources`'s, batches and devices ``nvv.inference.streams``'s. Own work.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..audio import AudioError, decode_audio
from ..hub.client_errors import CLIENT_FAILURES
from ..inference.streams import Sound

__all__ = ["NAME_COLUMN", "Answer", "HeardTable", "Listen", "Recording", "heard_tables"]

NAME_COLUMN = "file"
"""Where a dataset may hold a name for each clip, as those of this package do."""

Answer = NDArray[np.float32] | AudioError
"""What a model made of a recording, or why it made nothing."""

Listen = Callable[[Iterable[Sound]], Iterator[tuple[Any, Answer]]]
"""One answer for each sound, in the order of the sounds."""


@dataclass(kw_only=True)
class Recording:
    """The recording of one row.

    Attributes:
        name: What errors call it.
        content: The bytes of its file, where they were in the dataset, or once they have been read.
        path: Where the file is that holds it; None where the dataset holds it.
        is_kept: Whether `content` is wanted of a file, too, and not only what it sounds like.
        max_seconds: How much of it is heard; None for all.
    """

    name: str
    content: bytes | None = None
    path: str | None = None
    is_kept: bool = False
    max_seconds: float | None = None

    def load(self) -> NDArray[np.float32]:
        """Return the recording, mono at 16 kHz (samples,), reading its file first where there is one.

        Raises:
            AudioError: If there is none, its file cannot be read, or it cannot be decoded.
        """
        if self.content is None:
            if self.path is None:
                raise AudioError(f"{self.name}: no recording in this row.")
            if not self.is_kept and "://" not in self.path:
                return decode_audio(self.path, max_seconds=self.max_seconds, name=self.name)
            content = _read(self.path, name=self.name)
            if self.is_kept:
                self.content = content
            return decode_audio(content, max_seconds=self.max_seconds, name=self.name)
        return decode_audio(self.content, max_seconds=self.max_seconds, name=self.name)


@dataclass(frozen=True, kw_only=True)
class HeardTable:
    """Some rows with what the model made of them.

    Attributes:
        table: All columns as the source has them.
        recordings: That of each row.
        answers: One a row.
    """

    table: pa.Table
    recordings: list[Recording]
    answers: list[Answer]


def heard_tables(
    tables: Iterable[pa.Table],
    listen: Listen,
    *,
    audio_column: str,
    root: Path | None,
    where: str,
    keeps_files: bool = False,
    max_seconds: float | None = None,
) -> Iterator[HeardTable]:
    """Let a model hear the recordings of many rows.

    Args:
        tables: The rows, a few at a time.
        listen: The model, given all sounds one after the other.
        audio_column: Which column holds the recordings.
        root: Folder that relative paths start from; None: the working directory.
        where: What to call the source of the rows in errors, which add the row's number.
        keeps_files: Whether the bytes of files that rows only name are wanted in the recordings.
        max_seconds: How much of each recording the model hears, so that no more of it is decoded; None for all.

    Yields:
        Each table with its answers, in the order of `tables`.
    """
    options = {"is_kept": keeps_files, "max_seconds": max_seconds}
    waiting: deque[tuple[pa.Table, list[Recording]]] = deque()
    row_numbers = itertools.count()

    def sounds() -> Iterator[Sound]:
        for table in tables:
            if not table.num_rows:
                continue
            recordings = [
                _recording(cell.as_py(), root=root, name=name, fallback=f"{where}, row {row}", **options)
                for cell, name, row in zip(table[audio_column], _names(table), row_numbers, strict=False)
            ]
            waiting.append((table, recordings))
            for recording in recordings:
                yield Sound(key=recording.name, load=recording.load)

    with closing(listen(sounds())) as heard:
        answers: list[Answer] = []
        for _, answer in heard:
            answers.append(answer)
            if len(answers) == len(waiting[0][1]):
                table, recordings = waiting.popleft()
                yield HeardTable(table=table, recordings=recordings, answers=answers)
                answers = []


def _names(table: pa.Table) -> list[str | None]:
    if NAME_COLUMN not in table.column_names or not pa.types.is_string(table.schema.field(NAME_COLUMN).type):
        return [None] * table.num_rows
    return table[NAME_COLUMN].to_pylist()


def _recording(value: Any, *, root: Path | None, name: str | None, fallback: str, **options: Any) -> Recording:
    """Say where the recording of an undecoded cell is: bytes, a path, or both in the form of `datasets`' Audio."""
    if isinstance(value, bytes):
        return Recording(name=name or fallback, content=value, **options)
    path = value.get("path") if isinstance(value, dict) else value
    content = value.get("bytes") if isinstance(value, dict) else None
    if content is not None or path is None:
        return Recording(name=name or fallback, content=content, **options)
    # An absolute path is named by its last part: where it lay on this machine is nobody's business.
    name = name or (PurePath(path).name if "://" in path or PurePath(path).is_absolute() else path)
    return Recording(name=name, path=path if root is None or "://" in path else str(root / path), **options)


def _read(path: str, *, name: str) -> bytes:
    """Read a file of this machine, or of wherever `datasets` streams from."""
    try:
        if "://" not in path:
            return Path(path).read_bytes()
        with fsspec.open(path, "rb") as stream:
            return stream.read()
    except CLIENT_FAILURES as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise AudioError(f"{name}: cannot be read ({reason}).") from error
