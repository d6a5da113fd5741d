"""The clips of a dataset, whatever its configs: read, hashed, measured once each.

Rows are read one after the other and let go; what stays in memory is their names, their measures and their
fingerprints. A clip is known by the SHA-256 of its bytes, so configs that share clips share the work. What is measured
stands in the neighbour ``measures``. Own work.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from tqdm.auto import tqdm

from ...audio import decode_audio
from ...processors import default_num_workers
from ..rawfiles import CorpusError
from .findings import ClipReference
from .fingerprint import to_8khz
from .measures import ClipMeasures, measure_clip

__all__ = ["Clips", "Columns", "Row", "read_rows"]

_DEFAULT_COLUMNS = {"label": "label", "speaker": "speaker_id", "file": "file"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """What the columns of a dataset are called; None: as in a corpus of this package, and it may be missing.

    Attributes:
        audio: Recordings; an Audio column or paths.
        label: Classes: a ClassLabel, texts or numbers; None: ``label``.
        speaker: Who made the sound; None: ``speaker_id``.
        file: Names of the clips; None: ``file``.
        split: The part that each clip is in; None: the parts that the dataset itself has.
    """

    audio: str = "audio"
    label: str | None = None
    speaker: str | None = None
    file: str | None = None
    split: str | None = None

    def find(self, role: str, split: datasets.Dataset) -> str | None:
        """Return the column of a role; None if it is not there and was not asked for by name.

        Args:
            role: ``"audio"``, ``"label"``, ``"speaker"`` or ``"file"``.
            split: Rows.

        Raises:
            CorpusError: If a column that was named, or the audio, is missing.
        """
        named = getattr(self, role)
        column = named or _DEFAULT_COLUMNS[role]
        if column in split.column_names:
            return column
        if named is None:
            return None
        raise CorpusError(
            f"no column {column!r} with the {role}; there are {', '.join(split.column_names)}. "
            f"Name the right one with --{role}-column."
        )


@dataclass(frozen=True, slots=True)
class Row:
    """A clip where it stands in a config.

    Attributes:
        clip: How reports name it.
        digest: SHA-256 of its bytes, by which `Clips` knows it.
    """

    clip: ClipReference
    digest: str


@dataclass(frozen=True, slots=True)
class _Read:
    """A row as read: ``content`` is None where ``error`` says why."""

    row: Row
    content: bytes | None
    error: str
    place: tuple[datasets.Dataset, int]


@dataclass
class Clips:
    """Measures of all clips seen so far.

    Attributes:
        columns: What the columns are called.
        num_workers: Threads that decode; None: the number of processors, at most eight.
        show_progress: Draw progress bars.
        measures: Digest to what was measured, in the order in which the clips came.
    """

    columns: Columns = field(default_factory=Columns)
    num_workers: int | None = None
    show_progress: bool = False
    measures: dict[str, ClipMeasures] = field(default_factory=dict)
    _places: dict[str, tuple[datasets.Dataset, int]] = field(default_factory=dict)

    def add(self, dataset: Mapping[str, datasets.Dataset], *, config: str) -> list[Row]:
        """Read a config and measure the clips that are new.

        Args:
            dataset: Split to rows.
            config: Its name, for the progress bar and for errors.

        Returns:
            All rows, split by split, in their order.

        Raises:
            CorpusError: If a column is missing, or there are no clips.
        """
        rows: list[Row] = []
        num_clips = sum(len(split) for split in dataset.values())
        if not num_clips:
            raise CorpusError(f"config {config}: holds no clips.")
        num_workers = self.num_workers or default_num_workers()
        progress = tqdm(total=num_clips, desc=f"Listening ({config})", unit="clip", disable=not self.show_progress)
        waiting: deque[tuple[str, Future[ClipMeasures]]] = deque()
        with progress, ThreadPoolExecutor(num_workers) as pool:
            for read in self._read(dataset):
                rows.append(read.row)
                progress.update()
                digest = read.row.digest
                if digest in self.measures:
                    continue
                self._places[digest] = read.place
                self.measures[digest] = ClipMeasures(error=read.error)
                if read.content is not None:
                    waiting.append((digest, pool.submit(measure_clip, read.content, name=read.row.clip.file)))
                # A few clips in flight keep the threads busy; more would only fill the memory.
                if len(waiting) > 4 * num_workers:
                    self._settle(*waiting.popleft())
            for digest, measured in waiting:
                self._settle(digest, measured)
        return rows

    def waveform(self, digest: str) -> np.ndarray:
        """Decode a clip again, to compare it with another.

        Args:
            digest: A key of ``measures``, of a clip that can be decoded.

        Returns:
            Float32 array of shape ``(samples,)`` at 8 kHz.
        """
        audio, index = self._places[digest]
        rate = self.measures[digest].sampling_rate
        content = _content(audio[index][self.columns.audio])
        return to_8khz(decode_audio(content, sampling_rate=rate, name=digest), rate)

    def _settle(self, digest: str, measured: Future[ClipMeasures]) -> None:
        self.measures[digest] = measured.result()

    def _read(self, dataset: Mapping[str, datasets.Dataset]) -> Iterator[_Read]:
        for name, split in dataset.items():
            column = self.columns.find("audio", split)
            audio = split.select_columns([column]).cast_column(column, datasets.Audio(decode=False))
            for index, clip in enumerate(clip_references(split, name=name, columns=self.columns)):
                cell = audio[index][column]
                try:
                    content, error = _content(cell), ""
                except OSError as cause:
                    content, error = None, f"cannot be read ({cause.strerror or cause})"
                digest = hashlib.sha256(f"{name}[{index}]".encode() if content is None else content).hexdigest()
                yield _Read(Row(clip, digest), content, error, (audio, index))


def read_rows(
    dataset: Mapping[str, datasets.Dataset], *, columns: Columns, digests: Mapping[str, str]
) -> list[Row] | None:
    """Read a config whose clips are known by name, without their audio.

    Args:
        dataset: Split to rows with at least the file column.
        columns: What the columns are called.
        digests: File to digest.

    Returns:
        All rows; None if a clip is not known.
    """
    rows = []
    for name, split in dataset.items():
        for clip in clip_references(split, name=name, columns=columns):
            if clip.file not in digests:
                return None
            rows.append(Row(clip, digests[clip.file]))
    return rows


def clip_references(split: datasets.Dataset, *, name: str, columns: Columns) -> Iterator[ClipReference]:
    """Yield the names of a split's clips, in their order.

    Args:
        split: Its rows.
        name: Its name.
        columns: What the columns are called.

    Raises:
        CorpusError: If a column that was named is missing.
    """
    labels = _labels(split, columns.find("label", split))
    speakers = _texts(split, columns.find("speaker", split))
    files = _texts(split, columns.find("file", split))
    for index in range(len(split)):
        yield ClipReference(files[index] or f"{name}[{index}]", name, labels[index], speakers[index])


def _labels(split: datasets.Dataset, column: str | None) -> list[str | None]:
    feature = split.features.get(column)
    if not isinstance(feature, datasets.ClassLabel):
        return _texts(split, column)
    return [None if number is None or number < 0 else feature.names[number] for number in split[column][:]]


def _texts(split: datasets.Dataset, column: str | None) -> list[str | None]:
    if column is None:
        return [None] * len(split)
    return [None if value is None or value == "" else str(value) for value in split[column][:]]


def _content(cell: Mapping[str, Any] | None) -> bytes:
    """Return the bytes of an undecoded audio cell; OSError where there are none."""
    if cell is None or (cell.get("bytes") is None and not cell.get("path")):
        raise OSError("the cell is empty")
    return cell["bytes"] if cell.get("bytes") is not None else Path(cell["path"]).read_bytes()
