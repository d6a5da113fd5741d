"""The ``nvv`` command: argument parsing only; each subcommand calls one library function."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .version import __version__

__all__ = ["app", "main"]

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"nvv {__version__}")
        raise typer.Exit


@app.callback()
def _nvv(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Speech models as classifiers of non-verbal vocalizations."""


@app.command()
def prepare(
    name: Annotated[str, typer.Argument(help="Corpus to prepare, such as nonverbal_vocalization or synthetic.")],
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder with the raw recordings; leave it out for a computed corpus.")
    ] = None,
    output_dir: Annotated[
        Path | None, typer.Option(help="Where to write the dataset repository; by default nvv/NAME.")
    ] = None,
    skip_bad_audio: Annotated[
        bool,
        typer.Option("--skip-bad-audio", help="Leave out clips that cannot be decoded and list them in skipped.csv."),
    ] = False,
) -> None:
    """Write a corpus as a dataset repository: Parquet files, a config for each split protocol, and a card."""
    from .hub.dataset_repository import prepare_corpus  # here, so that --help and --version stay quick

    try:
        prepared = prepare_corpus(
            name, data_dir=data_dir, output_dir=output_dir or Path("nvv") / name, skip_bad_audio=skip_bad_audio
        )
    except (ValueError, OSError) as error:
        typer.echo(f"nvv prepare: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"{prepared.num_clips} clips in {prepared.output_dir} (configs: {', '.join(prepared.configs)})")
    if prepared.skipped:
        typer.echo(f"{len(prepared.skipped)} clips left out, listed in {prepared.output_dir / 'skipped.csv'}")


def main() -> None:
    """Entry point of the ``nvv`` command."""
    app()
