"""Embeddings of any number of recordings, as a Parquet file: of chosen layers, or what the model itself calls one.

A layer's embedding is its hidden states pooled over the frames of the clip, never over padding. Rows are written as
they are computed, so that memory does not grow with their number. Reading and batching are the neighbours' business,
what the model's own embedding is is said in `NvvForAudioClassification.embed`. Own work.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import torch
from tqdm.auto import tqdm
from transformers import PreTrainedModel

from ..audio import AudioError
from ..configuration_nvv import NvvConfig
from ..heads_nvv import pool_frames
from ..inference.load import Classifier, ModelError
from ..inference.model_inputs import Inputs
from ..inference.streams import compute_stream, heard_seconds
from ..training.arguments import ArgumentsError
from ..version import __version__
from .answers import error_column
from .outputs import stored_schema, with_columns, write_tables
from .rows import NAME_COLUMN, Answer, HeardTable, heard_tables
from .sources import Corpus

__all__ = ["MODEL_EMBEDDING", "POOLINGS", "Embedded", "Layers", "embed_corpus", "embed_files"]

MODEL_EMBEDDING = "model"
"""What stands for the model's own embedding among the layers."""

ALL_LAYERS = "all"

POOLINGS = ("mean", "max", "first", "last")

_FILES_PER_TABLE = 16
_ERROR, _SPLIT = "error", "split"
_VECTOR = pa.list_(pa.float32())


@dataclass(frozen=True, kw_only=True)
class Layers:
    """Which embeddings of a model are wanted.

    Attributes:
        numbers: Hidden states, 0 being what enters the first layer.
        with_model: Whether the model's own embedding is wanted, too.
        pooling: How frames become one vector: mean, max, first or last.
    """

    numbers: tuple[int, ...]
    with_model: bool
    pooling: str = "mean"

    @classmethod
    def parse(cls, text: str, *, pooling: str | None, classifier: Classifier) -> Layers:
        """Read what a user wrote.

        Args:
            text: Numbers, `all`, or `model`, separated by commas.
            pooling: One of `POOLINGS`; None for the mean.
            classifier: The model that has the layers.

        Raises:
            ModelError: For a model that is not of this package.
            ArgumentsError: For a layer that it does not have, a pooling that is none, or one without layers to pool.
        """
        config = classifier.model.config
        if not isinstance(config, NvvConfig):
            raise ModelError(
                f"model: {classifier.facts.id} is a {type(classifier.model).__name__}, which hears padding: its "
                "hidden states cannot be pooled without it. Expected a model of this package (recipes/train.py)."
            )
        if pooling is not None and pooling not in POOLINGS:
            raise ArgumentsError(f"pooling: expected one of {', '.join(POOLINGS)}, found {pooling!r}.")
        last = config.num_hidden_states - 1
        numbers: list[int] = []
        with_model = False
        for item in (part.strip() for part in text.split(",")):
            if item == MODEL_EMBEDDING:
                with_model = True
            elif item == ALL_LAYERS:
                numbers.extend(range(last + 1))
            elif item.isdecimal() and int(item) <= last:
                numbers.append(int(item))
            else:
                raise ArgumentsError(
                    f"layers: {classifier.facts.id} has 0 (what enters the first layer) to {last}; expected such "
                    f"numbers, {ALL_LAYERS} or {MODEL_EMBEDDING}, separated by commas, found {item!r}."
                )
        if pooling is not None and not numbers:
            raise ArgumentsError(f"pooling: {pooling} has no effect on the model's own embedding; name layers, too.")
        return cls(numbers=tuple(sorted(set(numbers))), with_model=with_model, pooling=pooling or "mean")

    def columns(self) -> list[str]:
        """Return the names of the columns, in the order of `compute`'s numbers."""
        return [*(["embedding"] if self.with_model else []), *(f"layer_{number}" for number in self.numbers)]

    def compute(self, model: PreTrainedModel, inputs: Inputs) -> torch.Tensor:
        """Compute the embeddings of a batch, one after the other: (batch, numbers), in float32."""
        summed = model.config.summed_layers if self.with_model else []
        wanted = sorted({*self.numbers, *summed})
        states, frame_mask = model.encode(**inputs, layers=wanted)
        parts = []
        if self.with_model:
            of_head = [states[wanted.index(layer)] for layer in summed]
            parts.append(model.head(of_head, frame_mask, with_embeddings=True)[1].float())
        for number in self.numbers:
            parts.append(pool_frames(states[wanted.index(number)].float(), frame_mask, self.pooling))
        return torch.cat(parts, dim=1)

    def sizes(self, config: NvvConfig, total: int) -> list[int]:
        """Return the size of each embedding, given how many numbers they have together."""
        of_layers = [config.hidden_size] * len(self.numbers)
        return [*([total - sum(of_layers)] if self.with_model else []), *of_layers]


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """What was written.

    Attributes:
        path: The Parquet file.
        num_rows: Rows in it.
        unreadable: Why some have no embedding, one text each, naming the recording.
    """

    path: Path
    num_rows: int
    unreadable: list[str]


def embed_files(
    classifier: Classifier, files: Sequence[Path], output: Path, *, layers: Layers, **settings: Any
) -> Embedded:
    """Embed audio files: the columns `file`, the embeddings, and `error`, which says why a row has none.

    Args:
        classifier: The model, where and in which precision it is to compute.
        files: The recordings.
        output: The Parquet file to write or replace.
        layers: What is wanted.
        settings: `max_batch_seconds` and `num_workers` of `compute_stream`.
    """
    features = datasets.Features({NAME_COLUMN: datasets.Value("string")})
    schema = features.arrow_schema

    def tables() -> Iterator[pa.Table]:
        for start in range(0, len(files), _FILES_PER_TABLE):
            names = [str(file) for file in files[start : start + _FILES_PER_TABLE]]
            yield pa.table({NAME_COLUMN: names}, schema=schema)

    listen = partial(compute_stream, classifier, compute=layers.compute, **settings)
    heard = heard_tables(
        tables(),
        listen,
        audio_column=NAME_COLUMN,
        root=None,
        where="files",
        max_seconds=heard_seconds(classifier),
    )
    return _write(classifier, heard, output, features=features, dropped=(), layers=layers, total=len(files))


def embed_corpus(classifier: Classifier, corpus: Corpus, output: Path, *, layers: Layers, **settings: Any) -> Embedded:
    """Embed a dataset: its own columns without the audio, `split`, the embeddings, and `error`.

    Args:
        classifier: As in `embed_files`.
        corpus: The dataset.
        output: As in `embed_files`.
        layers: As in `embed_files`.
        settings: As in `embed_files`.

    Raises:
        ArgumentsError: If the dataset has a column that is called like a new one, or splits with different columns.
    """
    splits = list(corpus.splits.values())
    features = splits[0].features
    unequal = [split.name for split in splits if split.features != features]
    if unequal:
        raise ArgumentsError(
            f"{corpus.name}: split {unequal[0]} has other columns than {splits[0].name}; name one with --split."
        )
    taken = [column for column in (*layers.columns(), _ERROR) if column in features]
    if taken:
        raise ArgumentsError(f"{corpus.name}: already has a column {taken[0]!r}; rename it before embedding.")
    adds_split = _SPLIT not in features
    kept = datasets.Features({**({_SPLIT: datasets.Value("string")} if adds_split else {}), **features})
    dropped = [name for name, kind in features.items() if isinstance(kind, datasets.Audio) or _holds_bytes(kind)]
    listen = partial(compute_stream, classifier, compute=layers.compute, **settings)

    def heard() -> Iterator[HeardTable]:
        for split in splits:
            parts = heard_tables(
                split.tables(1, 0),
                listen,
                audio_column=corpus.audio_column,
                root=corpus.root,
                where=split.name,
                max_seconds=heard_seconds(classifier),
            )
            with closing(parts):
                for part in parts:
                    table = part.table
                    if adds_split:
                        names = pa.array([split.name] * table.num_rows, pa.string())
                        table = table.add_column(0, _SPLIT, names)
                    yield HeardTable(table=table, recordings=part.recordings, answers=part.answers)

    counts = [split.num_rows for split in splits]
    total = None if None in counts else sum(counts)
    return _write(classifier, heard(), output, features=kept, dropped=dropped, layers=layers, total=total)


def _holds_bytes(kind: Any) -> bool:
    """Say whether a column holds whole files, of which an embedding is to take the place."""
    if isinstance(kind, dict):
        return "bytes" in kind
    return isinstance(kind, datasets.Value) and kind.dtype in ("binary", "large_binary")


def _write(
    classifier: Classifier,
    heard: Iterable[HeardTable],
    output: Path,
    *,
    features: datasets.Features,
    dropped: Sequence[str],
    layers: Layers,
    total: int | None,
) -> Embedded:
    """Write rows with their embeddings as they come."""
    vectors = datasets.Features({name: [datasets.Value("float32")] for name in layers.columns()})
    kept = {name: kind for name, kind in features.items() if name not in dropped}
    schema = stored_schema(datasets.Features({**kept, **vectors, _ERROR: datasets.Value("string")}))
    schema = schema.with_metadata({**schema.metadata, "nvv": json.dumps(_described(classifier, layers))})
    config = classifier.model.config
    unreadable: list[str] = []

    def added(answers: Sequence[Answer], names: Sequence[str]) -> list[pa.Array]:
        return [*_vectors(answers, layers=layers, config=config), error_column(answers, names)]

    def tables() -> Iterator[pa.Table]:
        with tqdm(total=total, desc="Embedding", unit="clip", disable=None) as progress:
            for part in heard:
                unreadable.extend(str(answer) for answer in part.answers if isinstance(answer, AudioError))
                progress.update(part.table.num_rows)
                yield with_columns(part, added=added, schema=schema, audio_columns={}, dropped=dropped)

    with closing(tables()) as written:
        num_rows = write_tables(written, output, schema=schema, no_dictionary=layers.columns())
    return Embedded(path=output, num_rows=num_rows, unreadable=unreadable)


def _vectors(answers: Sequence[Answer], *, layers: Layers, config: NvvConfig) -> list[pa.Array]:
    """Return one column of vectors for each embedding, null where a recording has none."""
    rows = [None if isinstance(answer, AudioError) else answer for answer in answers]
    found = next((row for row in rows if row is not None), None)
    if found is None:
        return [pa.nulls(len(rows), _VECTOR) for _ in layers.columns()]
    stops = np.cumsum(layers.sizes(config, len(found)))
    starts = [0, *stops[:-1]]
    return [
        pa.array([None if row is None else row[start:stop] for row in rows], _VECTOR)
        for start, stop in zip(starts, stops, strict=True)
    ]


def _described(classifier: Classifier, layers: Layers) -> dict[str, Any]:
    """Say what the embeddings are of, for whoever opens the file."""
    facts = classifier.facts
    return {
        "model": facts.id,
        "revision": facts.revision,
        "weights_digest": facts.weights_digest,
        "random_init": facts.random_init,
        "layers": list(layers.numbers),
        "model_embedding": layers.with_model,
        "pooling": layers.pooling if layers.numbers else None,
        "nvv": __version__,
    }
