"""`nvv prepare`: write a corpus as a dataset repository. Own work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .failures import explained

__all__ = ["EXAMPLE", "prepare"]

EXAMPLE = "nvv prepare vivae --data-dir PATH_TO/vivae --output-dir nvv/vivae"


def prepare(
    name: Annotated[str, typer.Argument(help="Corpus to prepare, such as nonverbal_vocalization or synthetic.")],
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder or archive with the raw recordings; leave it out where they are computed or downloaded."
        ),
    ] = None,
    output_dir: Annotated[
        Path | None, typer.Option(help="Where to write the dataset repository; by default nvv/NAME.")
    ] = None,
    skip_bad_audio: Annotated[
        bool,
        typer.Option("--skip-bad-audio", help="Leave out clips that cannot be decoded and list them in skipped.csv."),
    ] = False,
    num_workers: Annotated[
        int | None, typer.Option(min=1, help="Threads; by default the number of processors, at most eight.")
    ] = None,
    max_shard_bytes: Annotated[
        int, typer.Option(min=1, help="Begin a new Parquet file after this many bytes of audio.")
    ] = 500 * 2**20,
) -> None:
    """Write a corpus as a dataset repository: Parquet files, a config for each split protocol, and a card.

    Run an interrupted command again to go on where it stopped.
    """
    from ..hub.dataset_repository import prepare_corpus  # here, so that --help and --version stay quick

    with explained("prepare", after_interrupt="run the same command again to go on"):
        prepared = prepare_corpus(
            name,
            data_dir=data_dir,
            output_dir=output_dir or Path("nvv") / name,
            skip_bad_audio=skip_bad_audio,
            num_workers=num_workers,
            max_shard_bytes=max_shard_bytes,
        )
    typer.echo(prepared.describe())
