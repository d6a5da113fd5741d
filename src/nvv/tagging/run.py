"""Tagging a whole dataset: plan, work that processes share, and a dataset repository in the end.

The main process opens the model and the dataset first, so that they are downloaded once, and writes the plan; every
process then works on shards of its own, each of which appears when it is complete. A shard's content depends on the
plan alone, not on which process wrote it, so that a run that was killed ends like one that was not. Own work.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import datasets
import pyarrow as pa
import torch
from tqdm.auto import tqdm
from transformers import PreTrainedModel

from ..audio import AudioError
from ..data import CorpusError
from ..data.prepared import CARD
from ..files import write_text
from ..hub.client_errors import CLIENT_FAILURES, describe_failure
from ..inference.load import Classifier, load_classifier
from ..inference.readings import why_no_result
from ..inference.streams import compute_stream, heard_seconds, ready_classifier
from ..version import __version__
from .answers import AnswerColumns
from .card import TaggedFacts, render_card
from .outputs import stored_schema, with_columns, write_tables
from .plan import Plan, Shard, TaggingFolder
from .processes import Processes, joined_processes
from .rows import heard_tables
from .sources import Corpus, open_corpus

__all__ = ["Tagged", "TaggingError", "TaggingSettings", "tag_dataset"]

# What may go wrong with one shard and not with the next, or with the next attempt: a connection, a disk, memory.
_SHARD_FAILURES = (ValueError, pa.ArrowException, *CLIENT_FAILURES)


class TaggingError(RuntimeError):
    """Some shards could not be written; the message says which, why, and how to go on."""


@dataclass(frozen=True, kw_only=True)
class TaggingSettings:
    """How to tag a dataset.

    Attributes:
        config: Config of a dataset that has several.
        splits: Splits to tag; None for all.
        streaming: Read the dataset file by file instead of downloading it first.
        audio_column: Its recordings; None: the only Audio column, or ``audio``.
        data_dir: Folder that the paths of a table start from; None: the table's own.
        dataset_revision: Branch, tag or commit of a dataset on the Hub.
        column: What the names of the new columns begin with.
        num_shards: Files of each split; None: one for each thousand rows, in a stream one for each of its files.
        model_revision: Branch, tag or commit of a model on the Hub.
        trust_remote_code: Run the code that comes with a model of another project.
        device: Where to compute; None: an accelerator where there is one.
        dtype: Precision to compute in: float32, bfloat16 or float16.
        max_batch_seconds: Seconds of audio in a batch at most; None: what suits the device.
        num_workers: Threads of each process that load ahead; None: one a processor, at most eight.
        max_wait_hours: How long a process waits for the others at most.
    """

    config: str | None = None
    splits: Sequence[str] | None = None
    streaming: bool = False
    audio_column: str | None = None
    data_dir: str | os.PathLike[str] | None = None
    dataset_revision: str | None = None
    column: str = "nvv"
    num_shards: int | None = None
    model_revision: str | None = None
    trust_remote_code: bool = False
    device: str | None = None
    dtype: str = "float32"
    max_batch_seconds: float | None = None
    num_workers: int | None = None
    max_wait_hours: float = 12.0


@dataclass(frozen=True, kw_only=True)
class Tagged:
    """What a run left.

    Attributes:
        path: The dataset repository's folder.
        num_rows: Rows in it.
        num_unreadable: Those without an answer.
        num_shards: Files in it.
        num_found: Files that an earlier run had written.
    """

    path: Path
    num_rows: int
    num_unreadable: int
    num_shards: int
    num_found: int

    def describe(self) -> str:
        """Say it in a line or two."""
        found = f", {self.num_found} of them from an earlier run" if self.num_found else ""
        unreadable = (
            f"\n{self.num_unreadable} recordings could not be read; their rows say why." if self.num_unreadable else ""
        )
        return f"{self.path}: {self.num_rows} rows in {self.num_shards} files{found}.{unreadable}"


def tag_dataset(
    model: str, dataset: str | os.PathLike[str], output_dir: str | os.PathLike[str], *, settings: TaggingSettings
) -> Tagged | None:
    """Write a copy of a dataset with what a model makes of each recording as further columns.

    Called in every process of a run (`accelerate launch`, torchrun), or in one alone. What an earlier call with the
    same arguments finished is kept.

    Args:
        model: As in `load_classifier`.
        dataset: As in `nvv.tagging.sources.open_corpus`.
        output_dir: Folder to write, new or of an earlier call.
        settings: How.

    Returns:
        What is there now; None in processes other than the main one.

    Raises:
        ModelError: If the model cannot be loaded.
        CorpusError: If the dataset cannot be read, or the folder holds something else.
        BlockingIOError: If another run writes the folder.
        TaggingError: If some shards could not be written; the others are complete.
    """
    if settings.num_shards is not None and settings.num_shards < 1:
        raise CorpusError(f"num_shards: expected 1 or more, found {settings.num_shards}.")
    folder = TaggingFolder(Path(output_dir).expanduser().resolve())
    _check_place(folder.path, dataset)
    with ExitStack() as stack:
        processes = stack.enter_context(joined_processes(settings.device, max_wait_hours=settings.max_wait_hours))
        of_main: list[_Opened] = []

        def prepare() -> tuple[dict[str, str | None], list[Shard]]:
            folder.check()
            opened = _open(model, dataset, settings)
            stack.enter_context(folder.held())
            folder.agree(opened.plan)
            shards = opened.plan.all_shards()
            folder.clear_remains(shards)
            of_main.append(opened)
            return opened.revisions, [shard for shard in shards if folder.note(shard) is None]

        # Sent, not listed by each: a quick process may finish a shard before a slow one looks. And the Hub may change.
        revisions, missing = processes.from_main(prepare)
        opened = of_main[0] if of_main else _open(model, dataset, replace(settings, **revisions))
        failures = processes.gathered(_write_shards(opened, folder, missing, settings=settings, processes=processes))
        if failures:
            raise TaggingError(_failure_message(failures, num_shards=len(opened.plan.all_shards())))
        return _finish(opened, folder, num_missing=len(missing)) if processes.is_main else None


def _check_place(path: Path, dataset: str | os.PathLike[str]) -> None:
    source = Path(dataset).expanduser()
    if source.exists() and (source.resolve() == path or source.resolve() in path.parents):
        raise CorpusError(f"{path}: lies in the dataset that is to be tagged; name another folder.")


@dataclass(frozen=True, kw_only=True)
class _Opened:
    """What a process works with."""

    classifier: Classifier
    corpus: Corpus
    columns: AnswerColumns
    plan: Plan

    @property
    def revisions(self) -> dict[str, str | None]:
        """Which commits these are, for processes that open the same a moment later."""
        return {"model_revision": self.classifier.facts.revision, "dataset_revision": self.corpus.revision}


def _open(model: str, dataset: str | os.PathLike[str], settings: TaggingSettings) -> _Opened:
    """Load the model and open the dataset, and say what is to be done with them."""
    classifier = load_classifier(
        model,
        revision=settings.model_revision,
        trust_remote_code=settings.trust_remote_code,
        allows_tasks=True,
    )
    columns = AnswerColumns.of(classifier, settings.column)
    corpus = open_corpus(
        dataset,
        config=settings.config,
        splits=settings.splits,
        streaming=settings.streaming,
        audio_column=settings.audio_column,
        revision=settings.dataset_revision,
        data_dir=settings.data_dir,
    )
    for split in corpus.splits.values():
        columns.appended_to(split.features, name=f"{corpus.name}, split {split.name}")  # raises where it cannot be
    plan = Plan(
        model={
            "id": classifier.facts.id,
            "revision": classifier.facts.revision,
            "weights_digest": classifier.facts.weights_digest,
            "config_digest": _config_digest(classifier),
        },
        dataset={
            "id": corpus.name,
            "revision": corpus.revision,
            "identity": corpus.identity,
            "config": corpus.config,
            "streaming": settings.streaming,
            "audio_column": corpus.audio_column,
        },
        shards={name: split.num_shards(settings.num_shards) for name, split in corpus.splits.items()},
        columns=list(columns.features()),
        settings={"dtype": settings.dtype},
        version=__version__,
    )
    return _Opened(classifier=classifier, corpus=corpus, columns=columns, plan=plan)


def _config_digest(classifier: Classifier) -> str:
    """Return a digest of what the model's config says, wherever it was read from and by whichever version."""
    fields = classifier.model.config.to_dict()
    said = {name: value for name, value in fields.items() if name not in ("_name_or_path", "transformers_version")}
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()


def _write_shards(
    opened: _Opened,
    folder: TaggingFolder,
    missing: Sequence[Shard],
    *,
    settings: TaggingSettings,
    processes: Processes,
) -> list[tuple[str, str]]:
    """Write this process's share of the missing shards; return name and reason of those that failed."""
    mine = missing[processes.index :: processes.num]
    if not mine:
        return []
    _align_weights(opened.classifier.model)
    ready = replace(
        opened, classifier=ready_classifier(opened.classifier, dtype=settings.dtype, device=processes.device)
    )
    failures = []
    # Only where a terminal shows it, and only one of several processes.
    with tqdm(desc="Tagging", unit="clip", disable=None if processes.is_main else True) as progress:
        for number, shard in enumerate(mine, start=1):
            progress.set_postfix_str(f"file {number} of {len(mine)}")
            try:
                _write_shard(ready, folder, shard, settings=settings, progress=progress)
            except _SHARD_FAILURES as error:
                failures.append((shard.name, describe_failure(error)))
    return failures


@torch.no_grad()
def _align_weights(model: PreTrainedModel) -> None:
    """Put each weight where torch puts tensors of its own.

    One process maps the file of weights into memory, where they lie as they lie in the file; several have copies. A
    product of a matrix and a vector differs with that in the last digit, and so would the files.
    """
    for tensor in itertools.chain(model.parameters(), model.buffers()):
        tensor.data = tensor.data.clone()


def _write_shard(
    opened: _Opened, folder: TaggingFolder, shard: Shard, *, settings: TaggingSettings, progress: tqdm
) -> None:
    corpus, split = opened.corpus, opened.corpus.splits[shard.split]
    schema = stored_schema(opened.columns.appended_to(split.features, name=corpus.name))
    audio_columns = {
        name: name == corpus.audio_column
        for name, feature in split.features.items()
        if isinstance(feature, datasets.Audio)
    }
    listen = partial(
        compute_stream,
        opened.classifier,
        max_batch_seconds=settings.max_batch_seconds,
        num_workers=settings.num_workers,
    )
    heard = heard_tables(
        split.tables(shard.num_shards, shard.index),
        listen,
        audio_column=corpus.audio_column,
        root=corpus.root,
        where=f"{shard.split}, file {shard.index}",
        keeps_files=corpus.audio_column in audio_columns,
        max_seconds=heard_seconds(opened.classifier),
    )
    num_unreadable = 0

    def tables() -> Iterator[pa.Table]:
        nonlocal num_unreadable
        for part in heard:
            num_unreadable += sum(isinstance(answer, AudioError) for answer in part.answers)
            progress.update(part.table.num_rows)
            yield with_columns(part, added=opened.columns.arrays, schema=schema, audio_columns=audio_columns)

    with closing(heard):
        num_rows = write_tables(
            tables(), folder.data / shard.name, schema=schema, no_dictionary=(*audio_columns, corpus.audio_column)
        )
    folder.finish(shard, num_rows=num_rows, num_unreadable=num_unreadable)


def _failure_message(failures: Sequence[tuple[str, str]], *, num_shards: int) -> str:
    name, reason = failures[0]
    return (
        f"{len(failures)} of {num_shards} files could not be written, the first: {name} ({reason}). The others are "
        "complete; run the same command again to go on."
    )


def _finish(opened: _Opened, folder: TaggingFolder, *, num_missing: int) -> Tagged:
    """See that every file is there, and write the card, without which the folder is no dataset."""
    shards = opened.plan.all_shards()
    notes = {shard: folder.note(shard) for shard in shards}
    lost = [shard.name for shard, note in notes.items() if note is None]
    if lost:
        raise TaggingError(
            f"{len(lost)} of {len(shards)} files are not there, the first: {lost[0]}. Do all processes write to one "
            f"file system? {folder.path} must be the same folder for each. Run the same command again to go on."
        )
    splits = {name: [notes[shard] for shard in shards if shard.split == name] for name in opened.plan.shards}
    num_unreadable = sum(note.num_unreadable for note in notes.values())
    num_rows = {name: sum(note.num_rows for note in found) for name, found in splits.items()}
    card = render_card(
        TaggedFacts(
            plan=opened.plan,
            source=opened.corpus.card,
            is_local=opened.corpus.is_local,
            num_rows=num_rows,
            num_bytes={name: sum(note.file_size for note in found) for name, found in splits.items()},
            num_unreadable=num_unreadable,
            column_notes=opened.columns.notes(),
            model_warnings=why_no_result(opened.classifier),
        )
    )
    write_text(folder.path / CARD, str(card))
    return Tagged(
        path=folder.path,
        num_rows=sum(num_rows.values()),
        num_unreadable=num_unreadable,
        num_shards=len(shards),
        num_found=len(shards) - num_missing,
    )
