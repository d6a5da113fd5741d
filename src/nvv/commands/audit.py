"""`nvv audit`: look for leaks and for bad clips in a dataset. Own work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .failures import explained

__all__ = ["EXAMPLE", "audit"]

EXAMPLE = "nvv audit nvv/vivae --config all"


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
    from ..data.audit import Columns, summarize, write_report
    from ..data.audit import audit as audit_source

    columns = Columns(
        audio=audio_column, label=label_column, speaker=speaker_column, file=file_column, split=split_column
    )
    path = Path(source).expanduser().resolve()
    folder = output_dir or Path("audit") / (path.stem if path.is_file() else path.name)
    with explained("audit", status=2):
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
    typer.echo(summarize(report))
    typer.echo(f"Report: {folder / 'report.md'}")
    if report.leaks:
        raise typer.Exit(1)
