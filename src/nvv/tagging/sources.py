"""Whole datasets as they are: every split in parts that can be read alone, every column, audio undecoded.

Unlike ``nvv.data.own_data``, which brings recordings into the columns and splits of a corpus, this changes nothing:
rows come as Arrow tables in the source's order. A split is read by row numbers, or streamed file by file, so that
nothing is downloaded whole. What is done with the rows is the neighbours' business. Own work.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import pyarrow as pa
import yaml
from datasets.exceptions import DatasetGenerationError

from ..data import CorpusError, list_corpora
from ..data.own_sources import UndecodedAudio
from ..data.own_tables import TABLE_SUFFIXES, read_table
from ..data.prepared import CARD
from ..data.rawfiles import fingerprint
from ..hub.client_errors import CLIENT_FAILURES

__all__ = ["ROWS_PER_SHARD", "CardOfSource", "Corpus", "Split", "open_corpus"]

ROWS_PER_SHARD = 1000
"""Rows of a shard where a split is read by row numbers and nobody said how many shards there are to be."""

_ROWS_PER_READ = 16
_COMMIT = re.compile(r"@([0-9a-f]{40})/")
_SAVED_FILES = ("dataset_dict.json", "state.json")  # of `save_to_disk`


@dataclass(frozen=True, kw_only=True)
class CardOfSource:
    """A dataset's own card.

    Attributes:
        header: Its YAML header; empty where there is no card.
        text: What stands below the header.
    """

    header: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class Split:
    """One split of a dataset.

    Attributes:
        name: Its name.
        rows: The rows, in memory-mapped files or as a stream.
        features: All its columns as the source has them.
    """

    name: str
    rows: datasets.Dataset | datasets.IterableDataset
    features: datasets.Features

    @property
    def num_rows(self) -> int | None:
        """Number of rows; None in a stream."""
        return len(self.rows) if isinstance(self.rows, datasets.Dataset) else None

    def num_shards(self, wanted: int | None) -> int:
        """Return into how many shards the split is cut.

        Args:
            wanted: How many are asked for, > 0; None: one for each thousand rows, or in a stream one for each file.

        Returns:
            As many as asked, at most one a row; in a stream at most one a file, or one a row group of Parquet files
            where `datasets` can cut them (5.2 can, 3.6 cannot).
        """
        if self.num_rows is None:
            return len(self._stream(wanted)[1])
        wanted = -(-self.num_rows // ROWS_PER_SHARD) if wanted is None else wanted
        return max(1, min(wanted, self.num_rows))

    def tables(self, num_shards: int, index: int) -> Iterator[pa.Table]:
        """Yield the rows of one shard in their order, a few at a time.

        Args:
            num_shards: What `num_shards` gave.
            index: Which of them, from 0.
        """
        if isinstance(self.rows, datasets.Dataset):
            if not len(self.rows):
                return
            part = self.rows.shard(num_shards, index, contiguous=True)
        else:
            part = self._stream(num_shards)[0].shard(num_shards, index, contiguous=True)
        schema = self.features.arrow_schema
        with self._explaining():
            for table in part.with_format("arrow").iter(batch_size=_ROWS_PER_READ):
                # What was inferred from the first rows of a stream must hold for all of it.
                yield table if table.schema.types == schema.types else datasets.table.table_cast(table, schema)

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, datasets.table.CastError) as error:
            raise CorpusError(
                f"split {self.name}: some rows have other columns or types than the first: {error}"
            ) from error

    def _stream(self, wanted: int | None) -> tuple[datasets.IterableDataset, range]:
        """Return the stream cut finely enough, and the shards that it is to be read in."""
        stream = self.rows
        if wanted is not None and wanted > stream.num_shards and hasattr(stream, "reshard"):
            stream = stream.reshard()
        return stream, range(stream.num_shards if wanted is None else min(wanted, stream.num_shards))


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """A dataset that is open for reading.

    Attributes:
        name: The Hub id, or the last part of the path of a file or folder.
        identity: What identifies its content: a commit on the Hub, or a fingerprint of files.
        config: The config that was opened; None where there is but one.
        revision: Commit on the Hub, where known.
        is_local: Whether it lies on this machine.
        splits: Its splits by name.
        card: Its own card.
        audio_column: The column with the recordings.
        root: Folder that relative paths start from; None where the recordings lie in the dataset itself.
    """

    name: str
    identity: str
    config: str | None
    revision: str | None
    is_local: bool
    splits: Mapping[str, Split]
    card: CardOfSource
    audio_column: str
    root: Path | None


@dataclass(kw_only=True)
class _Opened:
    """What one kind of source gives."""

    name: str
    identity: str
    parts: Mapping[str, datasets.Dataset | datasets.IterableDataset]
    card: CardOfSource = field(default_factory=CardOfSource)
    root: Path | None = None
    config: str | None = None
    revision: str | None = None
    is_local: bool = True


def open_corpus(
    source: str | os.PathLike[str],
    *,
    config: str | None = None,
    splits: Sequence[str] | None = None,
    streaming: bool = False,
    audio_column: str | None = None,
    revision: str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
) -> Corpus:
    """Open a dataset.

    Args:
        source: A Hub id; a folder that ``nvv prepare`` or `save_to_disk` wrote, another dataset repository or a folder
            of class folders; a Parquet file; or a CSV, TSV or JSON lines file of paths.
        config: Config of a dataset that has several.
        splits: Splits to open; None for all.
        streaming: Read file by file, from the Hub without downloading the dataset first. For dataset repositories.
        audio_column: The recordings: an Audio column, bytes of audio files, or paths. None: the only Audio column, or
            ``audio``.
        revision: Branch, tag or commit of a dataset on the Hub.
        data_dir: Folder that the paths of a table start from; None: the table's own.

    Returns:
        The dataset; no audio has been read.

    Raises:
        CorpusError: If it is missing or cannot be read, has no such config, split or column, or if an option has no
            effect on such a source; the message says what there is.
        OSError: If the Hub cannot be reached, or has no such dataset.
    """
    path = Path(source).expanduser()
    if path.exists():
        _refuse(source, revision=revision)
        opened = _open_local(path.resolve(), config=config, streaming=streaming, data_dir=data_dir)
    elif _is_path(source):
        raise CorpusError(f"{source}: no such file or folder.")
    elif os.fspath(source) in list_corpora():
        raise CorpusError(f"{source}: a corpus of this package is prepared first: nvv prepare {source}.")
    else:
        _refuse(source, data_dir=data_dir)
        opened = _open_hub(os.fspath(source), config=config, streaming=streaming, revision=revision)
    parts = {str(name): part for name, part in opened.parts.items()}
    unknown = [name for name in splits or () if name not in parts]
    if unknown:
        raise CorpusError(f"split: {opened.name} has {', '.join(parts)}; found {unknown[0]!r}.")
    read = {
        name: Split(name=name, rows=part, features=_features_of(part, name=opened.name))
        for name, part in parts.items()
        if splits is None or name in splits
    }
    column = _audio_column(read, audio_column, name=opened.name)
    return Corpus(
        name=opened.name,
        identity=opened.identity,
        config=opened.config,
        revision=opened.revision,
        is_local=opened.is_local,
        splits=read,
        card=opened.card,
        audio_column=column,
        root=opened.root,
    )


def _refuse(source: Any, **options: Any) -> None:
    """Raise for an option that has no effect on this source."""
    for name, value in options.items():
        if value not in (None, False):
            shown = "" if value is True else f" {value}"
            raise CorpusError(f"--{name.replace('_', '-')}{shown} has no effect on {source}; leave it out.")


def _is_path(source: str | os.PathLike[str]) -> bool:
    text = os.fspath(source)
    return (
        isinstance(source, Path)
        or text.startswith((".", "~", "/"))
        or text.count("/") > 1
        or Path(text).suffix.lower() in (*TABLE_SUFFIXES, ".parquet")
    )


def _open_local(path: Path, *, config: str | None, streaming: bool, data_dir: str | os.PathLike[str] | None) -> _Opened:
    if path.is_dir():
        _refuse(path, data_dir=data_dir)
        opened = {"name": path.name, "identity": fingerprint(path), "card": _card_of(path)}
        if any((path / name).is_file() for name in _SAVED_FILES):
            _refuse(f"{path}, whose rows are read where they lie", config=config, streaming=streaming)
            saved = datasets.load_from_disk(str(path))
            return _Opened(parts=saved if isinstance(saved, datasets.DatasetDict) else {"train": saved}, **opened)
        builder = _builder(str(path), config)
        used = builder.config.name if len(builder.builder_configs) > 1 else None
        return _Opened(parts=_parts(builder, streaming=streaming), config=used, **opened)
    _refuse(path, config=config)
    suffix = path.suffix.lower()
    opened = {"name": path.name, "identity": fingerprint(path), "card": _card_of(path.parent)}
    if suffix == ".parquet":
        _refuse(path, data_dir=data_dir)
        return _Opened(parts=_parts(_builder("parquet", data_files=str(path)), streaming=streaming), **opened)
    if suffix not in TABLE_SUFFIXES:
        raise CorpusError(
            f"{path}: expected a file that ends in {', '.join(TABLE_SUFFIXES)} or .parquet, a folder, or a Hub id; "
            f"found {suffix or 'no ending'}."
        )
    _refuse(f"{path}, which is read as a whole", streaming=streaming)
    root = path.parent if data_dir is None else Path(data_dir).expanduser().resolve()
    if not root.is_dir():
        raise CorpusError(f"data_dir: {root} is no folder.")
    try:
        table = pa.table(read_table(path).columns)
    except pa.ArrowException as error:
        raise CorpusError(f"{path}: a column mixes kinds of values ({error}).") from error
    return _Opened(parts={"train": datasets.Dataset(table)}, root=root, **opened)


def _open_hub(repository: str, *, config: str | None, streaming: bool, revision: str | None) -> _Opened:
    builder = _builder(repository, config, revision=revision)
    files = (str(file) for found in (builder.config.data_files or {}).values() for file in found)
    commits = {match[1] for file in files if (match := _COMMIT.search(file))}
    commit = commits.pop() if len(commits) == 1 else revision
    return _Opened(
        name=repository,
        # Offline, `datasets` knows only what it keeps; its hash is the commit, too, where it was built online.
        identity=commit or str(builder.hash),
        parts=_parts(builder, streaming=streaming),
        card=_card_on_hub(repository, commit),
        config=builder.config.name if len(builder.builder_configs) > 1 else None,
        revision=commit,
        is_local=False,
    )


def _builder(path: str, config: str | None = None, **options: Any) -> datasets.DatasetBuilder:
    """Find out what a dataset consists of, and say in one line why that cannot be."""
    try:
        builder = datasets.load_dataset_builder(path, config, **options)
    except ValueError as error:
        if "Config name is missing" in str(error):
            names = ", ".join(datasets.get_dataset_config_names(path, revision=options.get("revision")))
            raise CorpusError(f"{path}: has several configs; choose one with --config: {names}.") from error
        raise CorpusError(f"{path}: {' '.join(str(error).split())}") from error
    if getattr(builder, "BASE_FEATURE", None) is datasets.Audio:  # the audiofolder's
        builder.BASE_FEATURE = UndecodedAudio
    return builder


def _parts(
    builder: datasets.DatasetBuilder, *, streaming: bool
) -> Mapping[str, datasets.Dataset | datasets.IterableDataset]:
    try:
        if streaming:
            return builder.as_streaming_dataset()
        builder.download_and_prepare()
        return builder.as_dataset()
    except DatasetGenerationError as error:
        raise CorpusError(f"{builder.dataset_name}: {error.__cause__ or error}") from error
    except ValueError as error:
        raise CorpusError(f"{builder.dataset_name}: {' '.join(str(error).split())}") from error


def _features_of(part: datasets.Dataset | datasets.IterableDataset, *, name: str) -> datasets.Features:
    """Return a split's columns, for a stream of text files as its first rows have them."""
    if part.features is not None:
        return part.features
    first = next(iter(part.with_format("arrow").iter(batch_size=_ROWS_PER_READ)), None)
    if first is None:
        raise CorpusError(f"{name}: no rows, so that nothing says which columns there are.")
    return datasets.Features.from_arrow_schema(first.schema)


def _audio_column(splits: Mapping[str, Split], wanted: str | None, *, name: str) -> str:
    """Return the column with the recordings, which every split must have."""
    if not splits:
        raise CorpusError(f"{name}: no splits.")
    first = next(iter(splits.values())).features
    with_audio = [column for column, feature in first.items() if isinstance(feature, datasets.Audio)]
    column = wanted or (with_audio[0] if len(with_audio) == 1 else "audio")
    for split in splits.values():
        feature = split.features.get(column)
        if feature is None:
            raise CorpusError(
                f"{name}, split {split.name}: no column {column!r}; found {', '.join(split.features) or 'none'}. "
                "Say which one holds the recordings with --audio-column."
            )
        if not _can_be_audio(feature):
            hint = f" Audio is in {', '.join(with_audio)}." if with_audio else ""
            raise CorpusError(
                f"{name}, split {split.name}: expected audio, bytes of audio files, or paths in column {column!r}, "
                f"found {feature}.{hint} Name another with --audio-column."
            )
    return column


def _can_be_audio(feature: Any) -> bool:
    if isinstance(feature, datasets.Value):
        return feature.dtype in ("string", "large_string", "binary", "large_binary")
    return isinstance(feature, datasets.Audio) or (isinstance(feature, dict) and bool({"bytes", "path"} & set(feature)))


def _card_of(folder: Path) -> CardOfSource:
    readme = folder / CARD
    return _read_card(readme) if readme.is_file() else CardOfSource()


def _card_on_hub(repository: str, revision: str | None) -> CardOfSource:
    try:
        readme = huggingface_hub.hf_hub_download(repository, CARD, repo_type="dataset", revision=revision)
    except CLIENT_FAILURES:  # no card, or no way to it now: then its licence is not known, which forbids most
        return CardOfSource()
    return _read_card(Path(readme))


def _read_card(readme: Path) -> CardOfSource:
    try:
        card = huggingface_hub.DatasetCard.load(readme)
    except (ValueError, yaml.YAMLError):  # not text, or no header: not a card, so it states nothing
        return CardOfSource()
    return CardOfSource(header=card.data.to_dict(), text=card.text.strip())
