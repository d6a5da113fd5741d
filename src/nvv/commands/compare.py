"""`nvv compare`: test whether two runs differ. Own work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from .failures import explained

__all__ = ["EXAMPLE", "compare"]

EXAMPLE = "nvv compare runs/lora runs/adapter --unit speaker"


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
    from ..files import write_text
    from ..training.comparison import compare_runs, comparison_table

    with explained("compare"):
        comparison = compare_runs(run_a, run_b, split=split, unit=unit, task=task, num_resamples=num_resamples)
        if json_file is not None:
            write_text(json_file, json.dumps(comparison, indent=2, ensure_ascii=False) + "\n")
    typer.echo(comparison_table(comparison))
