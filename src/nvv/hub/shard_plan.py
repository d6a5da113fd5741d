"""Planning the Parquet shards of a corpus: which clips stand in which file, before any audio is read.

Clips that every split protocol treats alike share files named after their parts, so that each clip is stored once and a
config's split is a list of glob patterns. The plan depends on file names, sizes and what the corpus says of its clips
alone, which makes the result independent of the number of workers. Writing is ``nvv.hub.shards``'s. Own work.
"""

from __future__ import annotations

import hashlib
import inspect
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import datasets
import pyarrow as pa

from ..data import Clip, CorpusBuilder
from ..data.configs import code_digest

__all__ = ["Part", "Shard", "data_glob", "plan_shards"]

_CLIPS_PER_COMPUTED_SHARD = 1000  # a computed clip has no size before it is computed

Part = str | int
"""A split, or the number of a fold's part."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """One Parquet file to write.

    Attributes:
        name: File name.
        parts: Assignment (``"speaker"``, ``"part"`` of a fold, …) to part; None where the assignment leaves the clips
            out.
        clips: What it holds, in order of the files.
        identity: Digest of everything that decides its bytes: names, sizes and times of the raw files, what the corpus
            says of them, options, and the code that reads them.
    """

    name: str
    parts: Mapping[str, Part | None]
    clips: Sequence[Clip]
    identity: str


def data_glob(assignments: Sequence[str], name: str, part: Part) -> str:
    """Return the pattern of the files of one part, relative to the repository.

    A file is named ``<assignment>_<part>`` for each assignment, joined by ``-``; a pattern ends its part with the next
    ``-`` and starts it at the beginning or after one, so that ``part_1`` does not match ``part_10``.

    Args:
        assignments: Names of all, in the order of the file names.
        name: One of them.
        part: Its part.

    Example:
        >>> data_glob(["speaker", "part"], "part", 1)
        'data/*-part_1-*.parquet'
    """
    return f"data/{'' if name == assignments[0] else '*-'}{name}_{part}-*.parquet"


def plan_shards(
    builder: CorpusBuilder,
    clips: Sequence[Clip],
    assignments: Mapping[str, Mapping[str, Part]],
    *,
    skip_bad_audio: bool,
    max_shard_bytes: int,
) -> list[Shard]:
    """Decide which clips stand in which file, without reading any.

    Clips with the same parts in all assignments are taken in order of the files; a new file begins where the raw bytes
    would exceed the limit (a computed corpus: after 1,000 clips).

    Args:
        builder: The corpus.
        clips: All its clips, in order of the files.
        assignments: Name to file to part.
        skip_bad_audio: Part of the shards' identity.
        max_shard_bytes: Limit in raw bytes, > 0; a larger clip stands alone.

    Returns:
        The shards, in order of their names.
    """
    groups: dict[tuple[Part | None, ...], list[Clip]] = defaultdict(list)
    for clip in clips:
        groups[tuple(part_of.get(clip.file) for part_of in assignments.values())].append(clip)
    context = _context(builder, skip_bad_audio=skip_bad_audio)
    shards = []
    for key, group in groups.items():
        parts = dict(zip(assignments, key, strict=True))
        stem = "-".join(f"{name}_{'none' if part is None else part}" for name, part in parts.items())
        for number, (members, digest) in enumerate(_cut(builder, group, max_shard_bytes)):
            name = f"{stem}-{number:05d}.parquet"
            identity = hashlib.sha256(f"{context}\n{name}\n{digest}".encode()).hexdigest()
            shards.append(Shard(name=name, parts=parts, clips=members, identity=identity))
    return sorted(shards, key=lambda shard: shard.name)


def _cut(builder: CorpusBuilder, clips: Sequence[Clip], max_shard_bytes: int) -> Iterator[tuple[Sequence[Clip], str]]:
    """Cut a group of clips into shards; each with the digest of what is known of its clips."""
    start, total, digest = 0, 0, hashlib.sha256()
    for position, clip in enumerate(clips):
        size, time_ns = _raw_status(builder, clip)
        full = total + size > max_shard_bytes if builder.ROOT_MARKERS else position - start == _CLIPS_PER_COMPUTED_SHARD
        if full and position > start:
            yield clips[start:position], digest.hexdigest()
            start, total, digest = position, 0, hashlib.sha256()
        total += size
        said = (clip.label, clip.speaker_id, sorted(clip.targets.items()), sorted(clip.metadata.items()))
        digest.update(f"{clip.file!r} {size} {time_ns} {said!r}\n".encode("utf-8", "surrogateescape"))
    yield clips[start:], digest.hexdigest()


def _raw_status(builder: CorpusBuilder, clip: Clip) -> tuple[int, int]:
    """Return size in bytes and time of change in ns of a clip's file; zeros where there is none."""
    if not builder.ROOT_MARKERS:
        return 0, 0
    try:
        status = builder.clip_path(clip).stat()
    except OSError:  # reading it will say what is wrong
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _context(builder: CorpusBuilder, *, skip_bad_audio: bool) -> str:
    """Digest of what decides the bytes of every shard: code, columns, options, and the library that writes."""
    digest = hashlib.sha256(code_digest().encode())
    here = Path(__file__)
    for path in (here, here.with_name("shards.py"), Path(inspect.getfile(type(builder)))):
        digest.update(path.read_bytes())
    digest.update(builder.table_features().arrow_schema.serialize().to_pybytes())
    digest.update(f"{builder.FACTS.name} {skip_bad_audio} {pa.__version__} {datasets.__version__}".encode())
    return digest.hexdigest()
