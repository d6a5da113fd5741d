"""Recordings of one's own, read from wherever they are into rows with the columns that were named.

A source is a table of paths (``nvv.data.own_tables``), a folder of audio files (``nvv.data.own_folders``), or anything
that `datasets` reads: a Parquet file, a folder saved to disk or written as a repository, a Hub id, a dataset in memory.
What the columns mean and how the rows are split is decided in ``nvv.data.own_data``. Own work.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
from datasets.exceptions import DatasetGenerationError

from .own_folders import AudioFolder, is_split_name, list_audio, read_audio_folder
from .own_tables import TABLE_SUFFIXES, read_table
from .rawfiles import CorpusError

__all__ = ["ColumnNames", "RawData", "Source", "UndecodedAudio", "config_names", "read_source"]

Source = str | os.PathLike[str] | datasets.Dataset | datasets.DatasetDict

_ROWS_PER_BATCH = 256
_COMMIT = re.compile(r"@([0-9a-f]{40})/")


@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnNames:
    """What the columns of a source are called.

    Attributes:
        audio: The recordings: an Audio column, bytes of files, or paths.
        label: The classes; None if they are not wanted.
        speaker: Who made the sound; None: ``speaker_id``, if there is such a column and it has no gaps.
        file: A name for each clip; None: ``file``, if there is such a column of relative paths, else the audio's path.
        split: The part that each clip is in; None: the parts that the source itself has.
        targets: Numbers to predict.
        metadata: What else is kept of each clip.
    """

    audio: str = "audio"
    label: str | None = "label"
    speaker: str | None = None
    file: str | None = None
    split: str | None = None
    targets: tuple[str, ...] = ()
    metadata: tuple[str, ...] = ()

    def required(self) -> dict[str, str]:
        """Return role to column name, for the columns that must be there; targets and metadata are not among them."""
        roles = {role: getattr(self, role) for role in ("audio", "label", "speaker", "file", "split")}
        return {role: name for role, name in roles.items() if name is not None}

    def to_read(self, found: Sequence[str]) -> list[str]:
        """Return the columns besides the audio to read: those that are named, and ours where they are there."""
        named = [name for role, name in self.required().items() if role != "audio"]
        ours = (name for name in ("speaker_id", "file") if name in found)
        return list(dict.fromkeys([*named, *self.targets, *self.metadata, *ours]))


@dataclass(kw_only=True)
class RawData:
    """The rows of a source, in its order.

    Attributes:
        name: A short name of the source.
        found: The names of all its columns.
        columns: The columns that were read, without the audio: name to values, one a row.
        part_of: The part of the source that each row is in, such as ``"train"`` or ``"dev"``.
        class_names: Names of the classes of those columns that are a ClassLabel.
        paths: The audio file of each row as the source writes it; None if the source holds the audio itself.
        cells: The audio of each row, one column ``audio`` of ``{"bytes", "path"}``; None if it is in files.
        row_names: How to call each row in errors; None: by part and number.
        root: Folder that relative paths start from; None where the source is no folder or file of this machine.
        card: Folder or Hub id whose dataset card, if there is one, states the licence; None: there is none.
        info: What `datasets` knows about it.
        revision: Commit of a dataset on the Hub.
    """

    name: str
    found: list[str]
    columns: dict[str, list[Any]]
    part_of: list[str]
    class_names: dict[str, list[str]] = field(default_factory=dict)
    paths: list[str | None] | None = None
    cells: datasets.Dataset | None = None
    row_names: list[str] | None = None
    root: Path | None = None
    card: str | None = None
    info: datasets.DatasetInfo = field(default_factory=datasets.DatasetInfo)
    revision: str | None = None

    def where(self, row: int) -> str:
        """Name a row."""
        if self.row_names is not None:
            return self.row_names[row]
        part = self.part_of[row]
        return f"{self.name}, split {part}, row {row - self.part_of.index(part)}"


def read_source(
    source: Source,
    *,
    names: ColumnNames,
    config: str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    revision: str | None = None,
) -> RawData:
    """Read a source.

    Args:
        source: A file, a folder, a Hub id, or a dataset in memory.
        names: What its columns are called.
        config: Config of a dataset repository.
        data_dir: Folder that relative paths start from; None: the folder of the file, or the folder itself.
        cache_dir: Where `datasets` keeps what it builds.
        revision: Branch, tag or commit of a dataset on the Hub.

    Returns:
        Its rows.

    Raises:
        CorpusError: If the source is missing, cannot be read, or lacks a column; the message says which it has.
        TypeError: If the source is of another type.
    """
    root = None if data_dir is None else Path(data_dir).expanduser().resolve()
    if root is not None and not root.is_dir():
        raise CorpusError(f"data_dir: {root} is no folder.")
    if isinstance(source, datasets.Dataset | datasets.DatasetDict):
        _refuse_options("a dataset in memory", config=config, revision=revision)
        parts = source if isinstance(source, datasets.DatasetDict) else {"train": source}
        info = next(iter(parts.values())).info
        return _of_parts(parts, names=names, name=info.dataset_name or info.builder_name or "dataset", root=root)
    if not isinstance(source, str | os.PathLike):
        raise TypeError(
            f"source: expected a file, a folder, a Hub id, a Dataset or a DatasetDict, found {type(source).__name__}."
        )
    path = Path(source).expanduser()
    if path.is_dir():
        path = path.resolve()
        _refuse_options(path, revision=revision)
        return _read_folder(path, names=names, config=config, root=root, cache_dir=cache_dir)
    if path.is_file():
        path = path.resolve()
        _refuse_options(path, config=config, revision=revision)
        return _read_file(path, names=names, root=root or path.parent, cache_dir=cache_dir)
    if _is_path(source):
        raise CorpusError(f"{source}: no such file or folder.")
    return _read_hub(os.fspath(source), names=names, config=config, root=root, cache_dir=cache_dir, revision=revision)


def config_names(source: str, *, revision: str | None = None) -> list[str]:
    """Return the configs of a dataset repository.

    Args:
        source: A file, a folder or a Hub id.
        revision: Branch, tag or commit on the Hub.

    Returns:
        Their names; none for a file, and for a folder whose card names none.

    Raises:
        OSError: If the Hub cannot be reached or has no such dataset.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return [config["config_name"] for config in (_card_metadata(path) or {}).get("configs") or ()]
    return [] if path.exists() or _is_path(source) else datasets.get_dataset_config_names(source, revision=revision)


def _is_path(source: str | os.PathLike[str]) -> bool:
    """Say whether a source that does not exist was meant as a path, and not as a Hub id."""
    text = os.fspath(source)
    has_suffix = Path(text).suffix.lower() in (*TABLE_SUFFIXES, ".parquet")
    return isinstance(source, Path) or has_suffix or text.startswith((".", "~", "/")) or text.count("/") > 1


def _refuse_options(source: Any, **options: Any) -> None:
    """Raise if an option is set that has no effect on this source."""
    for name, value in options.items():
        if value is not None:
            raise CorpusError(f"{name}: {value!r} has no effect on {source}; leave it out.")


def _read_file(path: Path, *, names: ColumnNames, root: Path, cache_dir: str | os.PathLike[str] | None) -> RawData:
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        parts, _ = _load_dataset("parquet", data_files=str(path), cache_dir=cache_dir)
        return _of_parts(parts, names=names, name=path.stem, root=root, card=str(path.parent))
    if suffix not in TABLE_SUFFIXES:
        raise CorpusError(
            f"{path}: expected a file that ends in {', '.join(TABLE_SUFFIXES)} or .parquet, or a folder; "
            f"found {suffix or 'no ending'}."
        )
    return _of_tables({"train": path}, names=names, name=path.stem, root=root, card=str(path.parent))


def _of_tables(files: Mapping[str, Path], *, names: ColumnNames, name: str, root: Path, card: str) -> RawData:
    """Read one table, or one for each part."""
    columns: dict[str, list[Any]] = {}
    paths: list[str | None] = []
    part_of: list[str] = []
    row_names: list[str] = []
    found: list[str] = []
    for part, file in files.items():
        table = read_table(file)
        check_columns(list(table.columns), names=names, name=file.name)
        found = list(table.columns)
        for column in names.to_read(found):
            columns.setdefault(column, [None] * len(part_of)).extend(table.columns[column])
        for values in columns.values():  # a column of ours that this part does not have
            values.extend([None] * (len(part_of) + len(table.lines) - len(values)))
        paths.extend(None if value is None else str(value) for value in table.columns[names.audio])
        part_of.extend([part] * len(table.lines))
        row_names.extend(f"{file.name}, line {line}" for line in table.lines)
    return RawData(
        name=name, found=found, columns=columns, part_of=part_of, paths=paths, row_names=row_names, root=root, card=card
    )


def _read_folder(
    folder: Path,
    *,
    names: ColumnNames,
    config: str | None,
    root: Path | None,
    cache_dir: str | os.PathLike[str] | None,
) -> RawData:
    card = str(folder)
    if any((folder / name).is_file() for name in ("dataset_dict.json", "state.json")):  # of `save_to_disk`
        saved = datasets.load_from_disk(str(folder))
        parts = saved if isinstance(saved, datasets.DatasetDict) else {"train": saved}
        _refuse_options(folder, config=config)
        return _of_parts(parts, names=names, name=folder.name, root=root or folder, card=card)
    tables = {
        file.stem: file
        for file in sorted(folder.iterdir())
        if is_split_name(file.stem) and file.suffix.lower() in TABLE_SUFFIXES
    }
    if "train" in tables:  # train.csv, dev.csv, test.csv, with the audio beside them
        _refuse_options(folder, config=config)
        return _of_tables(tables, names=names, name=folder.name, root=root or folder, card=card)
    has_configs = bool((_card_metadata(folder) or {}).get("configs"))
    if not has_configs and (audio := list_audio(folder)):
        _refuse_options(folder, config=config, data_dir=root)
        return _of_audio_folder(read_audio_folder(folder, audio), names=names, folder=folder)
    parts, _ = _load_dataset(str(folder), config, cache_dir=cache_dir)
    return _of_parts(parts, names=names, name=folder.name, root=root or folder, card=card)


def _of_audio_folder(read: AudioFolder, *, names: ColumnNames, folder: Path) -> RawData:
    found = list(dict.fromkeys(["audio", *read.columns]))
    if names.label is not None and names.label not in found and not read.columns:
        tables = [file.name for file in sorted(folder.iterdir()) if file.suffix.lower() in TABLE_SUFFIXES]
        hint = f" Or name the table itself as the source: {', '.join(tables)}." if tables else ""
        raise CorpusError(
            f"{folder}: no labels. Put the clips of each class into a folder of its own, all on one level, or write a "
            f"metadata.csv with the columns file_name and {names.label}.{hint}"
        )
    check_columns(found, names=names, name=str(folder))
    if names.audio not in ("audio", "file_name"):
        raise CorpusError(
            f"{folder}: the audio of a folder is in 'audio', found audio_column {names.audio!r}. "
            "To take the files from another column of metadata.csv, name that file as the source."
        )
    return RawData(
        name=folder.name,
        found=found,
        columns={column: read.columns[column] for column in names.to_read(found)},
        part_of=read.part_of,
        paths=list(read.files),
        row_names=read.row_names,
        root=folder,
        card=str(folder),
    )


def _read_hub(
    repository: str,
    *,
    names: ColumnNames,
    config: str | None,
    root: Path | None,
    cache_dir: str | os.PathLike[str] | None,
    revision: str | None,
) -> RawData:
    parts, files = _load_dataset(repository, config, cache_dir=cache_dir, revision=revision)
    commits = {match[1] for file in files if (match := _COMMIT.search(file))}
    raw = _of_parts(parts, names=names, name=repository, root=root, card=repository)
    raw.revision = commits.pop() if len(commits) == 1 else revision
    return raw


class UndecodedAudio(datasets.Audio):
    """An Audio feature that stores a path without torchcodec, which the feature itself wants even for that."""

    def encode_example(self, value: Any) -> dict[str, Any]:
        """Return the cell of a path; anything else is the feature's own business."""
        return {"bytes": None, "path": value} if isinstance(value, str) else super().encode_example(value)


def _load_dataset(path: str, config: str | None = None, **options: Any) -> tuple[datasets.DatasetDict, list[str]]:
    """Load a dataset whole, with the addresses of its files, and say in one line why it cannot be."""
    if options.get("cache_dir") is not None:
        options["cache_dir"] = os.fspath(options["cache_dir"])
    try:
        builder = datasets.load_dataset_builder(path, config, **options)
        if getattr(builder, "BASE_FEATURE", None) is datasets.Audio:  # the audiofolder's
            builder.BASE_FEATURE = UndecodedAudio
        builder.download_and_prepare()
        files = [str(file) for found in (builder.config.data_files or {}).values() for file in found]
        return builder.as_dataset(), files
    except DatasetGenerationError as error:
        if isinstance(error.__cause__, ImportError):
            raise CorpusError(f"{path}: {error.__cause__} It is part of pip install 'nvv[codec]'.") from error
        raise CorpusError(f"{path}: {error.__cause__ or error}") from error
    except ValueError as error:
        if "Config name is missing" in str(error):
            configs = datasets.get_dataset_config_names(path, revision=options.get("revision"))
            raise CorpusError(
                f"{path}: has several configs; choose one with config (--corpus_config): {', '.join(configs)}."
            ) from error
        raise CorpusError(f"{path}: {error}") from error


def _card_metadata(folder: Path) -> dict[str, Any] | None:
    readme = folder / "README.md"
    return huggingface_hub.metadata_load(readme) if readme.is_file() else None


def check_columns(found: Sequence[str], *, names: ColumnNames, name: str) -> None:
    """Raise if a column that must be there is not.

    Raises:
        CorpusError: Naming the column, those found, and the option that names another.
    """
    for role, column in names.required().items():
        if column not in found:
            raise CorpusError(
                f"{name}: no column {column!r}; found {', '.join(found) or 'none'}. "
                f"Say which one holds the {role} with {role}_column (--{role}_column)."
            )
    for role, columns in (("target", names.targets), ("metadata", names.metadata)):
        missing = [column for column in columns if column not in found]
        if missing:
            raise CorpusError(
                f"{name}: no column {missing[0]!r}, one of {role}_columns; found {', '.join(found) or 'none'}."
            )


def _of_parts(
    parts: Mapping[str, datasets.Dataset],
    *,
    names: ColumnNames,
    name: str,
    root: Path | None,
    card: str | None = None,
) -> RawData:
    """Read the rows of a dataset that has named parts."""
    first = next(iter(parts.values()))
    columns: dict[str, list[Any]] = {}
    class_names: dict[str, list[str]] = {}
    part_of: list[str] = []
    audio = []
    for part, dataset in parts.items():
        check_columns(dataset.column_names, names=names, name=f"{name}, split {part}")
        for column in names.to_read(first.column_names):
            feature = dataset.features.get(column)
            classes = list(feature.names) if isinstance(feature, datasets.ClassLabel) else None
            if classes is not None and class_names.setdefault(column, classes) != classes:
                raise CorpusError(
                    f"{name}: the classes of {column!r} are {class_names[column]} in split {next(iter(parts))}, "
                    f"but {classes} in split {part}. Give all splits the same."
                )
            values = [None] * len(dataset) if feature is None else list(dataset[column][:])
            columns.setdefault(column, []).extend(values)
        part_of.extend([part] * len(dataset))
        audio.append(_audio_cells(dataset, column=names.audio, name=f"{name}, split {part}"))
    cells = datasets.concatenate_datasets(audio)
    paths = _paths_of(cells)
    return RawData(
        name=name,
        found=list(first.column_names),
        columns=columns,
        class_names=class_names,
        part_of=part_of,
        paths=paths,
        cells=cells if paths is None else None,
        root=root,
        card=card,
        info=first.info,
    )


def _audio_cells(dataset: datasets.Dataset, *, column: str, name: str) -> datasets.Dataset:
    """Return the audio column alone, as `audio` with undecoded cells."""
    feature = dataset.features[column]
    is_text = isinstance(feature, datasets.Value) and feature.dtype in ("string", "large_string")
    is_binary = isinstance(feature, datasets.Value) and feature.dtype in ("binary", "large_binary")
    is_struct = isinstance(feature, dict) and {"bytes", "path"} & set(feature)
    if not (isinstance(feature, datasets.Audio) or is_text or is_binary or is_struct):
        with_audio = [other for other, kind in dataset.features.items() if isinstance(kind, datasets.Audio)]
        hint = f" Audio is in {', '.join(with_audio)}." if with_audio else ""
        raise CorpusError(
            f"{name}: expected audio, bytes of audio files, or paths in column {column!r}, found {feature}.{hint} "
            "Name another with audio_column (--audio_column)."
        )
    cells = dataset.select_columns([column])
    if is_text or is_binary:  # the large variants are not cast by every version of `datasets`
        cells = cells.cast_column(column, datasets.Value("string" if is_text else "binary"))
    cells = cells.cast_column(column, datasets.Audio(decode=False))
    return cells if column == "audio" else cells.rename_column(column, "audio")


def _paths_of(cells: datasets.Dataset) -> list[str | None] | None:
    """Return the path of each cell if no cell holds the audio itself; None if one does. Loads no audio into memory."""
    paths: list[str | None] = []
    for batch in cells.with_format("arrow").iter(batch_size=_ROWS_PER_BATCH):
        for chunk in batch.column("audio").chunks:
            if chunk.field("bytes").null_count < len(chunk):
                return None
            paths.extend(chunk.field("path").to_pylist())
    return paths
