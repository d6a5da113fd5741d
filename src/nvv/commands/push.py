"""`nvv push`: upload a finished run, or a report. Own work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .failures import explained

__all__ = ["EXAMPLE", "push"]

EXAMPLE = """nvv push runs/whisper_tiny_lora_012 YOU/whisper-tiny-lora-vivae
  nvv push runs/evaluate_whisper_tiny_lora_012_vivae YOU/results --results"""


def push(
    folder: Annotated[
        Path, typer.Argument(help="A finished run's folder, as recipes/train.py or probe.py left it; or a report's.")
    ],
    repo_id: Annotated[
        str,
        typer.Argument(
            help="Repository on the Hub: OWNER/NAME, or NAME for your own namespace. A run's is made if missing; a "
            "report goes below evaluations/ in its model's."
        ),
    ],
    results: Annotated[
        bool,
        typer.Option(
            "--results",
            help="REPO_ID is a dataset repository for reports, made if missing; needed for baselines and sweeps.",
        ),
    ] = False,
    public: Annotated[
        bool | None,
        typer.Option(
            "--public/--private",
            help="Who may read it; by default private, and a repository that is there already has to be so.",
            show_default=False,
        ),
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, made if missing; by default main.")] = None,
    message: Annotated[str | None, typer.Option(help="Of the commit; by default it says what was uploaded.")] = None,
    dataset_id: Annotated[
        str | None,
        typer.Option(
            help="A run's corpus by its id on the Hub, for the card; by default the one that the run loaded it by."
        ),
    ] = None,
    token: Annotated[
        str | None, typer.Option(help="Access token; by default HF_TOKEN or the one that hf auth login saved.")
    ] = None,
) -> None:
    """Upload a finished run to the Hub: model, remote code, card, results and plots, in one commit.

    Checkpoints and unfinished files stay behind. What an earlier push left there and the folder no longer has is
    removed in the same commit; a repository that holds something else is left alone. The folder of an evaluation, of
    embeddings, an operating point, baselines or a sweep is uploaded as the recipe's --push_to_hub would do it. The exit
    status is 2 where nothing was uploaded.
    """
    from ..hub.push import PushError, push_repository
    from ..hub.push_report import push_report
    from ..hub.results import is_report

    options = {"revision": revision, "token": token, "message": message}
    with explained("push", PushError, status=2, after_interrupt="run the same command again to go on"):
        if results or is_report(folder):
            _refuse("--dataset-id", dataset_id is not None, "a report, which has no model card")
            _refuse(
                "--public, --private", public is not None and not results, "a model's repository, which is as it is"
            )
            pushed = push_report(
                folder, repo_id, to_results=results, private=not public if results else None, **options
            )
        else:
            pushed = push_repository(folder, repo_id, private=not public, dataset_id=dataset_id, **options)
    for notice in pushed.notices:
        typer.echo(notice, err=True)
    typer.echo(
        f"{len(pushed.files)} files at {pushed.url}, commit {pushed.commit[:12]} "
        f"({'private' if pushed.private else 'public'})"
    )


def _refuse(option: str, is_given: bool, where: str) -> None:
    if is_given:
        raise ValueError(f"{option}: has no effect on {where}; leave it out.")
