"""`nvv embed`: write embeddings of recordings as a Parquet file. Own work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .dataset_options import (
    AudioColumnOption,
    ConfigOption,
    DataDirOption,
    DatasetRevisionOption,
    SplitOption,
    StreamingOption,
)
from .failures import explained
from .model_options import (
    BatchSecondsOption,
    DeviceOption,
    DtypeOption,
    ModelArgument,
    NumWorkersOption,
    RevisionOption,
    SourcesArgument,
)
from .output import progress_only_on_terminals

__all__ = ["EXAMPLE", "embed"]

EXAMPLE = (
    "nvv embed runs/lora recordings --layers 0,3,6 --output layers.parquet\n"
    "  nvv embed OWNER/MODEL --dataset OWNER/DATASET --output embeddings.parquet"
)


def embed(
    model: ModelArgument,
    output: Annotated[Path, typer.Option(help="Parquet file to write or replace.")],
    sources: SourcesArgument = None,
    dataset: Annotated[
        str | None,
        typer.Option(help="Embed a dataset instead of files: Hub id, prepared folder, Parquet file or table of paths."),
    ] = None,
    layers: Annotated[
        str,
        typer.Option(
            help="Numbers of hidden states (0: what enters the first layer), all, or model for the model's own "
            "embedding; separated by commas."
        ),
    ] = "model",
    pooling: Annotated[
        str | None, typer.Option(help="How a layer's frames become one vector: mean (default), max, first or last.")
    ] = None,
    config: ConfigOption = None,
    split: SplitOption = None,
    audio_column: AudioColumnOption = None,
    streaming: StreamingOption = False,
    dataset_revision: DatasetRevisionOption = None,
    data_dir: DataDirOption = None,
    revision: RevisionOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = "float32",
    batch_seconds: BatchSecondsOption = None,
    num_workers: NumWorkersOption = None,
) -> None:
    """Write embeddings of recordings as a Parquet file: of chosen layers, or the model's own.

    A row for each recording: its file, or the dataset's columns without the audio; one list of numbers for each
    embedding; and why there is none, where a recording cannot be read. The exit status is then 1.
    """
    from huggingface_hub.errors import HfHubHTTPError  # here, so that --help and --version stay quick

    from ..inference.audio_sources import audio_files
    from ..inference.device import compute_device
    from ..inference.load import load_classifier
    from ..inference.streams import ready_classifier
    from ..tagging.embed import Layers, embed_corpus, embed_files
    from ..tagging.sources import open_corpus
    from ..training.arguments import ArgumentsError

    progress_only_on_terminals()
    with explained("embed", *HfHubHTTPError.__bases__, status=2):
        if (dataset is None) == (not sources):
            raise ArgumentsError("sources: expected audio files, folders or patterns, or --dataset; and not both.")
        _refuse_without(
            dataset,
            config=config,
            split=split,
            audio_column=audio_column,
            streaming=streaming or None,
            dataset_revision=dataset_revision,
            data_dir=data_dir,
        )
        files = audio_files(sources) if sources else []
        classifier = load_classifier(model, revision=revision, allows_tasks=True)
        wanted = Layers.parse(layers, pooling=pooling, classifier=classifier)
        classifier = ready_classifier(classifier, dtype=dtype, device=compute_device(device))
        settings = {"max_batch_seconds": batch_seconds, "num_workers": num_workers}
        if dataset is None:
            embedded = embed_files(classifier, files, output, layers=wanted, **settings)
        else:
            corpus = open_corpus(
                dataset,
                config=config,
                splits=split,
                streaming=streaming,
                audio_column=audio_column,
                revision=dataset_revision,
                data_dir=data_dir,
            )
            embedded = embed_corpus(classifier, corpus, output, layers=wanted, **settings)
    for reason in embedded.unreadable:
        typer.echo(f"nvv embed: {reason}", err=True)
    typer.echo(f"{embedded.path}: {embedded.num_rows} rows, {', '.join(wanted.columns())}")
    if embedded.unreadable:
        raise typer.Exit(1)


def _refuse_without(dataset: str | None, **options: object) -> None:
    """Raise for an option of datasets where there is none."""
    from ..training.arguments import ArgumentsError

    for name, value in options.items():
        if dataset is None and value:
            raise ArgumentsError(f"{name}: has no effect without --dataset; leave it out.")
