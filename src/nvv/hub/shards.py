"""Writing the Parquet shards of a corpus in parallel, each a unit of its own that the next run can use again.

What stands in which shard is decided in ``nvv.hub.shard_plan``, the repository around them is the business of
``nvv.hub.dataset_repository``. A thread holds one row group at a time: memory does not grow with the audio. Own work.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from math import fsum
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ..audio import AudioError, AudioProperties, check_audio
from ..data import Clip, CorpusBuilder
from ..files import replaced_when_complete, write_text
from .shard_plan import Shard

__all__ = ["ShardReport", "write_shards"]

_ROWS_PER_GROUP = 100  # the Hub's viewer reads whole row groups
_BYTES_PER_GROUP = 32 * 2**20
_DIGEST_DIGITS = 16  # 64 bits: a chance of one in ten billion that two of 60,000 clips agree by accident


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardReport:
    """What was measured while a shard was written; also the note that it is complete.

    Attributes:
        identity: That of the shard.
        num_clips: Clips in the file. Where all were skipped there is no file.
        num_bytes: Bytes of its Arrow tables.
        file_size: Bytes of the file.
        seconds: Sum, minimum and maximum of the durations; zeros where there are no clips.
        sampling_rates: Rate in Hz, as text, to number of clips.
        channels: Number of channels, as text, to number of clips.
        content_digests: The first 16 digits of the SHA-256 digest of each clip's bytes, one after the other.
        skipped: Clips that could not be decoded, as pairs of file and reason.
    """

    identity: str
    num_clips: int
    num_bytes: int
    file_size: int
    seconds: tuple[float, float, float]
    sampling_rates: Mapping[str, int]
    channels: Mapping[str, int]
    content_digests: str
    skipped: Sequence[tuple[str, str]]

    def to_json(self) -> str:
        """Write as one line of JSON."""
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def from_json(cls, text: str) -> ShardReport:
        """Read what `to_json` wrote.

        Raises:
            ValueError: If the text is anything else.
        """
        try:
            fields = json.loads(text)
            fields["skipped"] = [tuple(pair) for pair in fields["skipped"]]
            return cls(**{**fields, "seconds": tuple(fields["seconds"])})
        except (KeyError, TypeError) as error:
            raise ValueError(f"Not the report of a shard: {error}.") from error


class _StoppedError(Exception):
    """The run ends; raised in the workers only."""


def write_shards(
    builder: CorpusBuilder,
    shards: Sequence[Shard],
    *,
    folder: Path,
    reports: Path,
    skip_bad_audio: bool,
    num_workers: int,
    progress: Callable[[int], object],
) -> tuple[list[ShardReport], int]:
    """Write the shards that are not there yet.

    Args:
        builder: The corpus; its clips were collected.
        shards: What to write.
        folder: Where the files go; anything in it that is no complete shard of the plan is removed first.
        reports: Where the notes on complete shards are kept.
        skip_bad_audio: Leave out clips that cannot be decoded.
        num_workers: Threads, >= 1.
        progress: Called with a number of clips whenever so many are done, by one thread at a time.

    Returns:
        A report for each shard, in their order, and how many shards were there already.

    Raises:
        AudioError: If a clip cannot be decoded and bad audio is not skipped. Of several found at once, that of the
            first shard.
    """
    done = {shard.name: report for shard in shards if (report := _complete(shard, folder, reports)) is not None}
    _remove_all_but(folder, {name for name, report in done.items() if report.num_clips})
    _remove_all_but(reports, {f"{name}.json" for name in done})
    progress(sum(len(shard.clips) for shard in shards if shard.name in done))
    stop, lock = threading.Event(), threading.Lock()

    def read(shard: Shard) -> Iterator[_Reading]:
        for clip in shard.clips:
            if stop.is_set():
                raise _StoppedError
            yield _read(builder, clip, skip_bad_audio=skip_bad_audio)
            with lock:
                progress(1)

    def write(shard: Shard) -> ShardReport:
        try:
            report = _write_shard(builder, shard, read(shard), folder / shard.name)
            write_text(reports / f"{shard.name}.json", report.to_json())
        except BaseException:
            stop.set()  # here, since this thread may begin its next shard before anybody else sees the error
            raise
        return report

    with ThreadPoolExecutor(num_workers, thread_name_prefix="nvv-prepare") as workers:
        futures = {shard.name: workers.submit(write, shard) for shard in shards if shard.name not in done}
        try:
            wait(futures.values(), return_when=FIRST_EXCEPTION)
        finally:  # where Ctrl-C ended the waiting, too, the threads stop at their next clip
            stop.set()
            workers.shutdown(wait=True, cancel_futures=True)
    written = [future for future in futures.values() if not future.cancelled()]
    errors = [error for future in written if (error := future.exception()) is not None]
    for error in errors:
        if not isinstance(error, _StoppedError):
            raise error
    return [done.get(shard.name) or futures[shard.name].result() for shard in shards], len(done)


@dataclass(frozen=True, slots=True)
class _Reading:
    """A clip that was read: its bytes and what decoding found, or why it was skipped."""

    clip: Clip
    content: bytes = b""
    properties: AudioProperties | None = None
    reason: str = ""


def _read(builder: CorpusBuilder, clip: Clip, *, skip_bad_audio: bool) -> _Reading:
    try:
        content = builder.read_clip(clip)
        return _Reading(clip, content, check_audio(content, name=clip.file))
    except AudioError as error:
        if not skip_bad_audio:
            raise
        return _Reading(clip, reason=str(error).removeprefix(f"{clip.file}: "))


def _write_shard(builder: CorpusBuilder, shard: Shard, readings: Iterable[_Reading], path: Path) -> ShardReport:
    """Write one file, a row group at a time; no file where no clip is left."""
    features = builder.table_features()
    seconds: list[float] = []
    rates, channels = Counter(), Counter()
    digests, skipped = [], []
    num_bytes = 0

    def rows() -> Iterator[tuple[Clip, bytes]]:
        for reading in readings:
            if reading.properties is None:
                skipped.append((reading.clip.file, reading.reason))
                continue
            seconds.append(reading.properties.duration_s)
            rates[str(reading.properties.sampling_rate)] += 1
            channels[str(reading.properties.num_channels)] += 1
            digests.append(hashlib.sha256(reading.content).hexdigest()[:_DIGEST_DIGITS])
            yield reading.clip, reading.content

    with ExitStack() as stack:
        writer = None
        for group in _row_groups(rows()):
            table = builder.make_table(group, features=features)
            group.clear()  # the bytes are in the table now; holding them twice would double what a thread needs
            num_bytes += table.nbytes
            if writer is None:
                temporary = stack.enter_context(replaced_when_complete(path))
                writer = stack.enter_context(_parquet_writer(temporary, table.schema))
            writer.write_table(table)
            del table
    return ShardReport(
        identity=shard.identity,
        num_clips=len(seconds),
        num_bytes=num_bytes,
        file_size=path.stat().st_size if seconds else 0,
        seconds=(fsum(seconds), min(seconds), max(seconds)) if seconds else (0.0, 0.0, 0.0),
        sampling_rates=dict(rates),
        channels=dict(channels),
        content_digests="".join(digests),
        skipped=skipped,
    )


def _row_groups(rows: Iterable[tuple[Clip, bytes]]) -> Iterator[list[tuple[Clip, bytes]]]:
    group: list[tuple[Clip, bytes]] = []
    size = 0
    for row in rows:
        group.append(row)
        size += len(row[1])
        if len(group) == _ROWS_PER_GROUP or size >= _BYTES_PER_GROUP:
            yield group
            group, size = [], 0
    if group:
        yield group


def _parquet_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    # A dictionary of the clips' bytes would hold each of them once more, to no use.
    columns = [f"{field.name}" for field in schema if field.name != "audio"]
    return pq.ParquetWriter(str(path), schema, use_dictionary=columns)


def _complete(shard: Shard, folder: Path, reports: Path) -> ShardReport | None:
    """Return the report of a shard that an earlier run completed from the same input."""
    try:
        report = ShardReport.from_json((reports / f"{shard.name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    path = folder / shard.name
    size = path.stat().st_size if path.is_file() else 0
    return report if report.identity == shard.identity and report.file_size == size else None


def _remove_all_but(folder: Path, names: set[str]) -> None:
    for path in folder.iterdir():
        if path.name not in names:
            path.unlink()
