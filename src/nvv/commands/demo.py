"""`nvv demo`: serve a page to try classifiers on. Own work."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from .failures import explained
from .model_options import DeviceOption, DtypeOption
from .output import progress_only_on_terminals

__all__ = ["EXAMPLE", "demo"]

EXAMPLE = """nvv demo runs/lora nvv/whisper-tiny-lora-vivae@v1
  nvv demo nvv/whisper-tiny-lora-vivae --space-folder space"""

_HOST, _PORT = "127.0.0.1", 7860


def demo(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL", help="Models to choose among: folders or Hub ids, OWNER/NAME@REVISION too."),
    ],
    host: Annotated[
        str | None, typer.Option(help=f"Address to listen on, {_HOST} if not given; 0.0.0.0 for every network.")
    ] = None,
    port: Annotated[int | None, typer.Option(help=f"Port, {_PORT} if not given.")] = None,
    share: Annotated[
        bool, typer.Option("--share/--no-share", help="Also open a public address, through gradio's servers.")
    ] = False,
    allow_any: Annotated[
        bool,
        typer.Option("--allow-any", help="Let visitors type in other Hub ids; for pages that only you can reach."),
    ] = False,
    device: DeviceOption = None,
    dtype: DtypeOption = "float32",
    max_loaded: Annotated[
        int, typer.Option(min=1, help="How many encoders are kept in memory; models on one of them share it.")
    ] = 3,
    space_folder: Annotated[
        Path | None, typer.Option(help="Write a folder that is ready to be a Space instead, and end.")
    ] = None,
) -> None:
    """Serve a page to try models on: microphone or file in, label bars and a timeline of events out."""
    progress_only_on_terminals()
    with explained("demo", status=2):
        if importlib.util.find_spec("gradio") is None:
            raise ValueError("needs gradio: pip install -e '.[demo]'")
        shared = {"allow_any": allow_any, "dtype": dtype, "max_loaded": max_loaded}
        if space_folder is not None:
            _write_space(
                models,
                space_folder,
                unused={"--host": host, "--port": port, "--share": share, "--device": device},
                **shared,
            )
            return
        from ..demo.serve import serve_page

        serve_page(
            models,
            host=_HOST if host is None else host,
            port=_PORT if port is None else port,
            share=share,
            device=device,
            when_started=lambda url: typer.echo(f"The page is at {url} (Ctrl-C ends it)"),
            **shared,
        )


def _write_space(models: list[str], folder: Path, *, unused: dict[str, object], **shared: object) -> None:
    """Write a Space's folder and say how to push it."""
    from ..demo.space import write_space

    for option, value in unused.items():
        if value:
            raise ValueError(f"{option} has no effect on a Space; leave it out.")
    write_space(models, folder, **shared)
    typer.echo(f"{folder}: try it with `python {folder / 'app.py'}`")
    typer.echo(f"push it with `hf upload OWNER/NAME {folder} . --repo-type space`")
