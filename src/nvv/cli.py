"""The ``nvv`` command: argument parsing only; each subcommand calls one library function."""

from __future__ import annotations

import json
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
    from .hub.dataset_repository import prepare_corpus  # here, so that --help and --version stay quick

    try:
        prepared = prepare_corpus(
            name,
            data_dir=data_dir,
            output_dir=output_dir or Path("nvv") / name,
            skip_bad_audio=skip_bad_audio,
            num_workers=num_workers,
            max_shard_bytes=max_shard_bytes,
        )
    except (ValueError, OSError) as error:
        typer.echo(f"nvv prepare: {error}", err=True)
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        typer.echo("nvv prepare: interrupted; run the same command again to go on.", err=True)
        raise typer.Exit(130) from None
    typer.echo(prepared.describe())


@app.command()
def push_dataset(
    folder: Annotated[Path, typer.Argument(help="What nvv prepare wrote.")],
    repo_id: Annotated[str, typer.Argument(help="Repository on the Hub, OWNER/NAME, or NAME for your own namespace.")],
    public: Annotated[
        bool,
        typer.Option("--public/--private", help="Who may read it; public is refused where the licence forbids it."),
    ] = False,
    token: Annotated[
        str | None, typer.Option(help="Access token; by default HF_TOKEN or the one that hf auth login saved.")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, made if missing; by default main.")] = None,
) -> None:
    """Upload a prepared corpus to the Hub, where its licence and agreement allow it; say what that involves."""
    from .hub.push_dataset import DatasetPushError, check_dataset
    from .hub.push_dataset import push_dataset as push

    try:
        dataset = check_dataset(folder, public=public)
        for notice in dataset.notices:
            typer.echo(notice)
        pushed = push(dataset, repo_id, token=token, revision=revision)
    except (ValueError, OSError, DatasetPushError) as error:
        typer.echo(f"nvv push-dataset: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(
        f"{pushed.num_files} files ({pushed.num_bytes / 1e6:.1f} MB) at {pushed.url}, commit {pushed.commit[:12]} "
        f"({'public' if public else 'private'})"
    )


@app.command()
def audit(
    source: Annotated[
        str, typer.Argument(help="Folder that nvv prepare wrote, Hub id, or CSV, TSV or JSON lines file of paths.")
    ],
    config: Annotated[
        list[str] | None,
        typer.Option(help="Config to audit; may be repeated, 'all' for each; by default the default one."),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder that the paths of a table start from; by default the table's.")
    ] = None,
    output_dir: Annotated[
        Path | None, typer.Option(help="Where to write report.md, report.json and report.png; by default audit/NAME.")
    ] = None,
    audio_column: Annotated[str, typer.Option(help="Column with the recordings.")] = "audio",
    label_column: Annotated[str | None, typer.Option(help="Column with the classes; by default label.")] = None,
    speaker_column: Annotated[str | None, typer.Option(help="Column with the speakers; by default speaker_id.")] = None,
    file_column: Annotated[str | None, typer.Option(help="Column with names of the clips; by default file.")] = None,
    split_column: Annotated[
        str | None,
        typer.Option(help="Column that says train, validation or test; by default the dataset's own splits."),
    ] = None,
    split_protocol: Annotated[
        str | None,
        typer.Option(help="Audit your own data as training would split them: speaker, stratified, fold_0 to fold_9."),
    ] = None,
    num_workers: Annotated[
        int | None, typer.Option(min=1, help="Threads; by default the number of processors, at most eight.")
    ] = None,
) -> None:
    """Look for leaks between splits, and for what is wrong with the clips.

    The exit status is 1 where a split leaks, 0 where none does, and 2 where the dataset cannot be read.
    """
    from .data.audit import Columns, summarize, write_report
    from .data.audit import audit as audit_source

    columns = Columns(
        audio=audio_column, label=label_column, speaker=speaker_column, file=file_column, split=split_column
    )
    path = Path(source).expanduser().resolve()
    folder = output_dir or Path("audit") / (path.stem if path.is_file() else path.name)
    try:
        report = audit_source(
            source,
            configs=config or (),
            columns=columns,
            split_protocol=split_protocol,
            data_dir=data_dir,
            num_workers=num_workers,
            show_progress=True,
        )
        write_report(report, folder)
    except (ValueError, OSError) as error:
        typer.echo(f"nvv audit: {error}", err=True)
        raise typer.Exit(2) from error
    typer.echo(summarize(report))
    typer.echo(f"Report: {folder / 'report.md'}")
    if report.leaks:
        raise typer.Exit(1)


@app.command()
def compare(
    run_a: Annotated[Path, typer.Argument(help="A run's folder, which holds predictions.csv.")],
    run_b: Annotated[Path, typer.Argument(help="The folder of a run on the same clips.")],
    split: Annotated[str, typer.Option(help="Split to compare on.")] = "test",
    unit: Annotated[
        str, typer.Option(help="What is resampled: clip, or speaker for whole speakers where all are known.")
    ] = "clip",
    task: Annotated[str | None, typer.Option(help="Task to compare by, where a run has several.")] = None,
    num_resamples: Annotated[int, typer.Option(min=1, help="Bootstrap resamples.")] = 10_000,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the comparison to this file.")] = None,
) -> None:
    """Test whether two runs differ: a paired bootstrap over the clips, or the speakers, that both answered."""
    from .files import write_text
    from .training.comparison import compare_runs, comparison_table

    try:
        comparison = compare_runs(run_a, run_b, split=split, unit=unit, task=task, num_resamples=num_resamples)
        if json_file is not None:
            write_text(json_file, json.dumps(comparison, indent=2, ensure_ascii=False) + "\n")
    except (ValueError, OSError) as error:
        typer.echo(f"nvv compare: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(comparison_table(comparison))


def main() -> None:
    """Entry point of the ``nvv`` command."""
    app()
