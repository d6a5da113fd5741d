"""What a tagging run does, written down before it does anything, so that a later run goes on with the same.

The plan and the notes on finished shards stand in the hidden folder ``.tagging`` of the dataset's folder. A shard is
finished when its note is there and its file has the size that the note says. Own work.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import filelock

from ..data import CorpusError
from ..files import write_text

__all__ = ["Plan", "Shard", "ShardNote", "TaggingFolder"]

_FORMAT = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """One file to write.

    Attributes:
        split: Its split.
        index: Which of the split's shards, from 0.
        num_shards: How many the split has.
    """

    split: str
    index: int
    num_shards: int

    @property
    def name(self) -> str:
        """Name of the file, in the form that `datasets` uses."""
        return f"{self.split}-{self.index:05d}-of-{self.num_shards:05d}.parquet"


@dataclass(frozen=True, kw_only=True)
class ShardNote:
    """What was counted while a shard was written; also the sign that it is complete.

    Attributes:
        num_rows: Rows in the file.
        num_unreadable: Rows without an answer.
        file_size: Bytes of the file.
    """

    num_rows: int
    num_unreadable: int
    file_size: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that decides what the files hold.

    Attributes:
        model: Id, commit or digest of the weights, and digest of the config.
        dataset: Id, commit or fingerprint, config, splits, and how they are read.
        shards: Split to its number of shards.
        columns: The columns that are added.
        settings: What else changes the numbers.
        version: Of this package.
    """

    model: Mapping[str, Any]
    dataset: Mapping[str, Any]
    shards: Mapping[str, int]
    columns: list[str]
    settings: Mapping[str, Any]
    version: str

    def all_shards(self) -> list[Shard]:
        """Return every file to write, split by split."""
        return [
            Shard(split=split, index=index, num_shards=number)
            for split, number in self.shards.items()
            for index in range(number)
        ]

    def to_json(self) -> str:
        """Write as JSON."""
        return json.dumps({"format": _FORMAT, **asdict(self)}, indent=2, ensure_ascii=False) + "\n"

    def differences(self, other: Mapping[str, Any]) -> list[str]:
        """Say in which fields a plan that was read differs, as `field: its value, here this value`."""
        mine, theirs = _flat(json.loads(self.to_json())), _flat(other)
        return [
            f"{name}: {json.dumps(theirs.get(name))} there, {json.dumps(mine.get(name))} here"
            for name in dict.fromkeys([*mine, *theirs])
            if mine.get(name) != theirs.get(name)
        ]


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {prefix: value}
    return {
        name: item for key, child in value.items() for name, item in _flat(child, f"{prefix}.{key}".strip(".")).items()
    }


@dataclass(frozen=True)
class TaggingFolder:
    """Where a tagged dataset is written.

    Attributes:
        path: The folder that becomes the dataset repository.
    """

    path: Path

    @property
    def data(self) -> Path:
        """The folder of the Parquet files."""
        return self.path / "data"

    @property
    def notes(self) -> Path:
        """The hidden folder of plan, notes and lock."""
        return self.path / ".tagging"

    @property
    def plan(self) -> Path:
        """The plan's file."""
        return self.notes / "plan.json"

    def check(self) -> None:
        """Refuse a folder that holds something that no tagging run wrote.

        Raises:
            CorpusError: Naming it.
        """
        if self.path.exists() and (not self.path.is_dir() or (any(self.path.iterdir()) and not self.notes.is_dir())):
            raise CorpusError(f"{self.path}: holds something else than a tagged dataset; name a new folder.")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder, so that no other run writes into it; that ends with the process, however that ends.

        Raises:
            BlockingIOError: If another run holds it.
        """
        self.notes.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(self.notes / "lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise BlockingIOError(
                f"{self.path}: another run is writing it; wait for it, name another folder, or start both as one run "
                "of several processes (accelerate launch)."
            ) from None
        try:
            yield
        finally:
            lock.release()

    def agree(self, plan: Plan) -> None:
        """Write the plan, or see that the one that is there says the same.

        Raises:
            CorpusError: If it says something else; the message names each difference.
        """
        if not self.plan.is_file():
            self.data.mkdir(exist_ok=True)
            write_text(self.plan, plan.to_json())
            return
        try:
            found = json.loads(self.plan.read_text(encoding="utf-8"))
        except ValueError as error:
            raise CorpusError(f"{self.plan}: not readable ({error}); remove {self.path} to begin anew.") from error
        differences = plan.differences(found if isinstance(found, dict) else {})
        if differences:
            raise CorpusError(
                f"{self.path}: was begun with something else, and is left as it is. {'; '.join(differences)}. Repeat "
                "the first command to go on, or name another folder."
            )

    def clear_remains(self, shards: list[Shard]) -> None:
        """Remove what a killed run left half-written."""
        names = {shard.name for shard in shards}
        for file in self.data.iterdir():
            if file.name not in names:
                file.unlink()

    def note(self, shard: Shard) -> ShardNote | None:
        """Return what was counted in a shard; None where it is not finished."""
        try:
            found = ShardNote(**json.loads((self.notes / f"{shard.name}.json").read_text(encoding="utf-8")))
            size = (self.data / shard.name).stat().st_size
        except (OSError, ValueError, TypeError):
            return None
        return found if size == found.file_size else None

    def finish(self, shard: Shard, *, num_rows: int, num_unreadable: int) -> None:
        """Note that a shard's file is complete."""
        size = (self.data / shard.name).stat().st_size
        note = ShardNote(num_rows=num_rows, num_unreadable=num_unreadable, file_size=size)
        write_text(self.notes / f"{shard.name}.json", json.dumps(asdict(note)) + "\n")
