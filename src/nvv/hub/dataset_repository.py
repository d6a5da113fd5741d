"""Writing a corpus as a dataset repository that the Hub and ``load_dataset`` understand: Parquet files and a card.

Every clip is stored once, whatever the number of split protocols: clips that all protocols treat alike share a file,
named after their splits (``data/speaker_train-stratified_test-00000.parquet``), and a config's split is the glob
pattern of its files (``data/*stratified_test-*.parquet``). What a corpus holds is ``nvv.data.corpus``'s business, the
card's text ``nvv.hub.dataset_card``'s.
"""

from __future__ import annotations

import csv
import hashlib
import os
import shutil
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from huggingface_hub import metadata_load
from tqdm import tqdm

from ..data import SPLITS, Clip, CorpusBuilder, CorpusError, corpus_builder, manifest_digest
from .dataset_card import ClipRecord, DatasetCardFacts, PreparedConfig, render_dataset_card

__all__ = ["PreparedCorpus", "prepare_corpus"]

_OWN_ENTRIES = {"README.md", "data", "skipped.csv"}
_ROWS_PER_GROUP = 100  # the Hub's viewer reads whole row groups
_BYTES_PER_GROUP = 32 * 2**20


@dataclass(frozen=True, kw_only=True)
class PreparedCorpus:
    """What `prepare_corpus` wrote.

    Attributes:
        output_dir: The repository.
        num_clips: Clips in it.
        configs: Its split protocols, the default first.
        skipped: Clips left out, as pairs of file and reason.
    """

    output_dir: Path
    num_clips: int
    configs: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]


def prepare_corpus(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    output_dir: str | os.PathLike[str],
    skip_bad_audio: bool = False,
    max_shard_bytes: int = 500 * 2**20,
) -> PreparedCorpus:
    """Write a corpus as a dataset repository.

    The repository is built in a hidden folder beside ``output_dir`` and renamed at the end: it appears whole or not at
    all.

    Args:
        name: One of ``nvv.data.list_corpora``.
        data_dir: Folder with the raw recordings; none for a computed corpus.
        output_dir: Where to write. It may be new, empty, or a repository that this function wrote, which is replaced.
        skip_bad_audio: Leave out clips that cannot be decoded and list them in the card and in ``skipped.csv``, instead
            of stopping at the first. The other clips stay in the splits where they would be.
        max_shard_bytes: Start a new Parquet file after this many bytes of audio, > 0.

    Returns:
        What was written.

    Raises:
        AudioError: If a clip cannot be decoded; the message names it.
        CorpusError: If the corpus is unknown, the raw folder not as expected, or no clip could be decoded.
        FileExistsError: If ``output_dir`` holds anything that this function did not write.
        ValueError: If ``max_shard_bytes`` is not positive.
    """
    if max_shard_bytes <= 0:
        raise ValueError(f"max_shard_bytes must be positive, got {max_shard_bytes}.")
    builder_class = corpus_builder(name)
    target = Path(output_dir).expanduser().resolve()
    _refuse_foreign(target)
    # `datasets` keeps lock files for every builder; nothing of this one belongs in the user's cache.
    with tempfile.TemporaryDirectory() as cache_dir:
        builder = builder_class(cache_dir=cache_dir, data_dir=None if data_dir is None else os.fspath(data_dir))
        clips = builder.collect_clips()
        protocols = {protocol: builder.split_clips(clips, protocol) for protocol in _default_first(builder)}
        with _replacing(target) as folder:
            records = _write(builder, clips, protocols, folder, skip_bad_audio, max_shard_bytes)
    return PreparedCorpus(
        output_dir=target, num_clips=len(records), configs=tuple(protocols), skipped=tuple(builder.skipped)
    )


@dataclass
class _ShardWriter:
    """Parquet files of the clips that all protocols treat alike, written as clips come.

    Attributes:
        builder: Makes the tables.
        stem: Path of the files without number and ending.
        max_shard_bytes: When to start a new file.
        num_bytes: Bytes of the Arrow tables so far.
    """

    builder: CorpusBuilder
    stem: Path
    max_shard_bytes: int
    num_bytes: int = 0
    _rows: list[tuple[Clip, bytes]] = field(default_factory=list)
    _pending_bytes: int = 0
    _shard_bytes: int = 0
    _num_shards: int = 0
    _file: pq.ParquetWriter | None = None

    def add(self, clip: Clip, content: bytes) -> None:
        if self._shard_bytes and self._shard_bytes + len(content) > self.max_shard_bytes:
            self.close()
        self._rows.append((clip, content))
        self._pending_bytes += len(content)
        self._shard_bytes += len(content)
        if len(self._rows) >= _ROWS_PER_GROUP or self._pending_bytes >= _BYTES_PER_GROUP:
            self._flush()

    def close(self) -> None:
        self._flush()
        if self._file is not None:
            self._file.close()
            self._file = None
        self._shard_bytes = 0

    def _flush(self) -> None:
        if not self._rows:
            return
        table: pa.Table = self.builder.make_table(self._rows)
        if self._file is None:
            path = self.stem.with_name(f"{self.stem.name}-{self._num_shards:05d}.parquet")
            self._file = pq.ParquetWriter(path, table.schema)
            self._num_shards += 1
        self._file.write_table(table)
        self.num_bytes += table.nbytes
        self._rows, self._pending_bytes = [], 0


def _write(
    builder: CorpusBuilder,
    clips: list[Clip],
    protocols: Mapping[str, Mapping[str, str]],
    folder: Path,
    skip_bad_audio: bool,
    max_shard_bytes: int,
) -> list[ClipRecord]:
    """Write Parquet files, ``skipped.csv`` and the card into a folder; return what was measured."""
    (folder / "data").mkdir()
    writers: dict[tuple[str | None, ...], _ShardWriter] = {}
    records = []
    try:
        reading = builder.read_clips(tqdm(clips, desc="Reading clips", unit="clip"), skip_bad_audio=skip_bad_audio)
        for clip, content, properties in reading:
            splits = tuple(split_of.get(clip.file) for split_of in protocols.values())
            if splits not in writers:
                writers[splits] = _ShardWriter(builder, folder / "data" / _stem(protocols, splits), max_shard_bytes)
            writers[splits].add(clip, content)
            records.append(
                ClipRecord(
                    file=clip.file,
                    label=clip.label,
                    speaker_id=clip.speaker_id,
                    duration_s=properties.duration_s,
                    sampling_rate=properties.sampling_rate,
                    num_channels=properties.num_channels,
                    content_digest=hashlib.sha256(content).hexdigest(),
                )
            )
    finally:
        for writer in writers.values():
            writer.close()
    if not records:
        raise CorpusError(
            f"None of the {len(clips)} clips could be decoded, the first: {': '.join(builder.skipped[0])}"
        )
    _write_skipped(folder / "skipped.csv", builder.skipped)
    written = {record.file for record in records}
    configs = []
    for position, (protocol, split_of) in enumerate(protocols.items()):
        num_bytes: Counter[str] = Counter()
        for splits, writer in writers.items():
            num_bytes[splits[position] or ""] += writer.num_bytes
        kept = {file: split for file, split in split_of.items() if file in written}
        present = [split for split in SPLITS if split in kept.values()]
        configs.append(
            PreparedConfig(
                name=protocol,
                split_of=kept,
                data_files={split: f"data/*{protocol}_{split}-*.parquet" for split in present},
                num_bytes={split: num_bytes[split] for split in present},
                manifest_digest=manifest_digest(split_of),
            )
        )
    card = render_dataset_card(
        DatasetCardFacts(
            facts=builder.FACTS,
            features=builder.info.features,
            labels=builder.LABELS,
            records=records,
            configs=configs,
            skipped=builder.skipped,
            download_size=sum(path.stat().st_size for path in (folder / "data").iterdir()),
        )
    )
    card.save(folder / "README.md")
    return records


def _default_first(builder: CorpusBuilder) -> list[str]:
    return sorted(builder.builder_configs, key=lambda name: (name != builder.DEFAULT_CONFIG_NAME, name))


def _stem(protocols: Mapping[str, Mapping[str, str]], splits: tuple[str | None, ...]) -> str:
    return "-".join(f"{protocol}_{split or 'none'}" for protocol, split in zip(protocols, splits, strict=True))


def _write_skipped(path: Path, skipped: list[tuple[str, str]]) -> None:
    if not skipped:
        return
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("file", "reason"))
        writer.writerows(skipped)


def _refuse_foreign(target: Path) -> None:
    """Refuse to replace anything that `prepare_corpus` did not write."""
    if not target.exists():
        return
    if not target.is_dir():
        raise FileExistsError(f"{target}: is a file; name a folder that does not exist yet.")
    entries = sorted(entry.name for entry in target.iterdir())
    foreign = [entry for entry in entries if entry not in _OWN_ENTRIES]
    if foreign or (entries and not _is_own_card(target / "README.md")):
        found = foreign[0] if foreign else entries[0]
        raise FileExistsError(
            f"{target}: holds {found!r}, which nvv prepare did not write; name another folder or empty this one."
        )


def _is_own_card(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        header = metadata_load(path) or {}
    except (ValueError, yaml.YAMLError):  # ValueError: not text, or a header that is no mapping
        return False
    return "nvv" in (header.get("tags") or [])


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """Give a hidden folder beside the target, which becomes the target if the block ends well and is removed if not."""
    target.parent.mkdir(parents=True, exist_ok=True)
    mark = uuid.uuid4().hex[:8]
    folder = target.with_name(f".{target.name}-{mark}.incomplete")
    folder.mkdir()
    try:
        yield folder
        if target.exists():
            old = target.with_name(f".{target.name}-{mark}.old")
            target.rename(old)
            folder.rename(target)
            shutil.rmtree(old)
        else:
            folder.rename(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
