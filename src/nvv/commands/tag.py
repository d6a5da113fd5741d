"""`nvv tag`: copy a dataset with what a model makes of each recording. Own work."""

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
    TrustOption,
)
from .output import progress_only_on_terminals

__all__ = ["EXAMPLE", "tag"]

EXAMPLE = (
    "nvv tag runs/lora OWNER/DATASET --streaming --output-dir tagged\n"
    "  accelerate launch --multi_gpu --num_processes 4 -m nvv tag runs/lora nvv/vivae --output-dir tagged"
)


def tag(
    model: ModelArgument,
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="DATASET",
            help="Hub id; folder that nvv prepare or save_to_disk wrote, or of class folders; Parquet file; or CSV, "
            "TSV or JSON lines file of paths.",
        ),
    ],
    output_dir: Annotated[Path, typer.Option(help="Dataset repository to write, or to go on with.")],
    config: ConfigOption = None,
    split: SplitOption = None,
    streaming: StreamingOption = False,
    num_shards: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Files of each split; by default one for each thousand rows, or with --streaming one for each file "
            "of the dataset.",
        ),
    ] = None,
    column: Annotated[
        str, typer.Option(help="What the new columns begin with: COLUMN_label, COLUMN_score, COLUMN_scores …")
    ] = "nvv",
    audio_column: AudioColumnOption = None,
    dataset_revision: DatasetRevisionOption = None,
    data_dir: DataDirOption = None,
    revision: RevisionOption = None,
    trust_remote_code: TrustOption = False,
    device: DeviceOption = None,
    dtype: DtypeOption = "float32",
    batch_seconds: BatchSecondsOption = None,
    num_workers: NumWorkersOption = None,
    max_wait_hours: Annotated[
        float, typer.Option(help="Of several processes: how long one waits for the others at most.")
    ] = 12.0,
) -> None:
    """Tag a whole dataset: copy it, with what a model makes of each recording as further columns.

    Run an interrupted command again to go on where it stopped. Started by accelerate launch or torchrun, on one machine
    or several, its processes share the work. The exit status is 1 where recordings could not be read, which their rows
    say, or where some files could not be written, and 2 where nothing could be done.
    """
    from huggingface_hub.errors import HfHubHTTPError  # here, so that --help and --version stay quick

    from ..tagging.run import TaggingError, TaggingSettings, tag_dataset

    progress_only_on_terminals()
    settings = TaggingSettings(
        config=config,
        splits=split,
        streaming=streaming,
        audio_column=audio_column,
        data_dir=data_dir,
        dataset_revision=dataset_revision,
        column=column,
        num_shards=num_shards,
        model_revision=revision,
        trust_remote_code=trust_remote_code,
        device=device,
        dtype=dtype,
        max_batch_seconds=batch_seconds,
        num_workers=num_workers,
        max_wait_hours=max_wait_hours,
    )
    failure: TaggingError | None = None
    tagged = None
    with explained("tag", *HfHubHTTPError.__bases__, status=2, after_interrupt="run the same command again to go on"):
        try:
            tagged = tag_dataset(model, dataset, output_dir, settings=settings)
        except TaggingError as error:
            failure = error
    if failure is not None:
        typer.echo(f"nvv tag: {failure}", err=True)
        raise typer.Exit(1)
    if tagged is not None:  # the main one of several processes says it
        typer.echo(tagged.describe())
        if tagged.num_unreadable:
            raise typer.Exit(1)
