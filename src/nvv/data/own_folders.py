"""Folders of audio files in the layouts of `datasets`' audiofolder: class folders, or a metadata file.

Read here and not through `datasets`, whose builder needs torchcodec to store even a path. As there, the class of a clip
is the folder it lies in, a metadata file's ``file_name`` is relative to that file, and where it exists there are no
classes from folders. Own work; conventions: the Hugging Face documentation, "Create an audio dataset".
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow.parquet as pq

from .own_tables import Table, read_table
from .rawfiles import CorpusError, list_files

__all__ = ["AUDIO_SUFFIXES", "AudioFolder", "canonical_split", "is_split_name", "list_audio", "read_audio_folder"]

logger = logging.getLogger(__name__)

# What libsndfile decodes, by the endings these files go under. RAW has no header and is left out.
_DECODED_SUFFIXES = {".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".caf"}
_OTHER_AUDIO_SUFFIXES = {".m4a", ".aac", ".mp4", ".wma", ".webm", ".amr", ".3gp"}
AUDIO_SUFFIXES = frozenset(_DECODED_SUFFIXES | _OTHER_AUDIO_SUFFIXES)
"""What files with recordings end in, readable or not: lower case, with the dot."""
_METADATA_NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")

_SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev", "devel", "development", "eval", "evaluation"),
    "test": ("test", "testing"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class AudioFolder:
    """The clips of a folder.

    Attributes:
        files: Paths relative to the folder, with forward slashes.
        columns: ``label``, or the columns of the metadata file; empty if the folder says nothing but the files.
        part_of: The part each clip is in: the name of the topmost folder where those are split names, else ``train``.
        row_names: How to call each clip in errors.
    """

    files: list[str]
    columns: dict[str, list[Any]]
    part_of: list[str]
    row_names: list[str]


def canonical_split(name: str) -> str | None:
    """Return the split that a part is by its name, such as ``validation`` for ``dev``; None for any other name."""
    lowered = name.strip().lower()
    return next((split for split, known in _SPLIT_NAMES.items() if lowered in known), None)


def is_split_name(name: str) -> bool:
    """Say whether a part that is called so is one of the three splits."""
    return canonical_split(name) is not None


def list_audio(folder: Path) -> list[str]:
    """List the audio files below a folder, sorted.

    Raises:
        CorpusError: If there are audio files in formats that are not read, which would be left out without a word.
    """
    others = list_files(folder, suffixes=_OTHER_AUDIO_SUFFIXES)
    if others:
        raise CorpusError(
            f"{folder}: {len(others)} files such as {others[0]} are in a format that is not read "
            f"({', '.join(sorted(_DECODED_SUFFIXES))} are). Convert them, for instance to FLAC, or move them elsewhere."
        )
    return list_files(folder, suffixes=_DECODED_SUFFIXES)


def read_audio_folder(folder: Path, audio: list[str]) -> AudioFolder:
    """Read a folder of class folders, or one with metadata files.

    Args:
        folder: The folder.
        audio: What `list_audio` found in it.

    Returns:
        Its clips.

    Raises:
        CorpusError: If there is no audio, or a metadata file has no column ``file_name``.
    """
    if not audio:
        raise CorpusError(f"{folder}: no audio files ({', '.join(sorted(_DECODED_SUFFIXES))}) in it.")
    metadata = [file for file in list_files(folder) if PurePosixPath(file).name in _METADATA_NAMES]
    if metadata:
        return _of_metadata(folder, audio, metadata)
    parts = _parts(audio)
    depths = {file.count("/") for file in audio}
    labels = [PurePosixPath(file).parent.name for file in audio]
    # Beside the split folders there must be class folders: train/a.wav is in no class.
    has_classes = len(depths) == 1 and len(set(labels)) > 1 and min(depths) > (0 if parts is None else 1)
    return AudioFolder(
        files=audio,
        columns={"label": labels} if has_classes else {},
        part_of=parts or ["train"] * len(audio),
        row_names=list(audio),
    )


def _of_metadata(folder: Path, audio: list[str], metadata: list[str]) -> AudioFolder:
    tables = [(file, _read_metadata(folder / file)) for file in metadata]
    names = list(dict.fromkeys(name for _, table in tables for name in table.columns))
    files: list[str] = []
    row_names: list[str] = []
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for file, table in tables:
        if "file_name" not in table.columns:
            raise CorpusError(
                f"{folder / file}: no column 'file_name'; found {', '.join(table.columns)}. It names each clip's file, "
                "relative to this one."
            )
        parent = PurePosixPath(file).parent
        for line, name in zip(table.lines, table.columns["file_name"], strict=True):
            if name is None:
                raise CorpusError(f"{folder / file}, line {line}: no file_name.")
            files.append((parent / str(name).replace("\\", "/")).as_posix())
            row_names.append(f"{file}, line {line}")
        for name in names:
            columns[name].extend(table.columns.get(name, [None] * len(table.lines)))
    unnamed = sorted(set(audio) - set(files))
    if unnamed:
        logger.warning(
            "%s: %d audio files are in no metadata file and left out, the first is %s.",
            folder,
            len(unnamed),
            unnamed[0],
        )
    parts = _parts(files) or ["train"] * len(files)
    return AudioFolder(files=files, columns=columns, part_of=parts, row_names=row_names)


def _read_metadata(path: Path) -> Table:
    if path.suffix != ".parquet":
        return read_table(path)
    table = pq.read_table(path)
    return Table(table.to_pydict(), list(range(1, table.num_rows + 1)))


def _parts(files: list[str]) -> list[str] | None:
    """Return the topmost folder of each file, where all of those are split names and one of them trains; else None."""
    tops = [PurePosixPath(file).parts[0] if "/" in file else "" for file in files]
    splits = {canonical_split(top) for top in tops}
    return tops if "train" in splits and None not in splits else None
