"""`nvv push-dataset`: upload a prepared corpus. Own work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .failures import explained

__all__ = ["EXAMPLE", "push_dataset"]

EXAMPLE = "nvv push-dataset nvv/vivae YOU/vivae"


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
    from ..hub.push_dataset import DatasetPushError, check_dataset
    from ..hub.push_dataset import push_dataset as push

    with explained("push-dataset", DatasetPushError):
        dataset = check_dataset(folder, public=public)
        for notice in dataset.notices:
            typer.echo(notice)
        pushed = push(dataset, repo_id, token=token, revision=revision)
    typer.echo(
        f"{pushed.num_files} files ({pushed.num_bytes / 1e6:.1f} MB) at {pushed.url}, commit {pushed.commit[:12]} "
        f"({'public' if public else 'private'})"
    )
