"""Serving the page from this machine or a Space, until it is stopped; nothing that was uploaded stays behind.

What the page shows is the neighbour `page`'s business. Own work.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from .models import DemoError, Models
from .sounds import write_examples

__all__ = ["serve_page"]

_MAX_FILE_SIZE = "500mb"  # of an upload; an hour of CD audio
_ENVIRONMENT = "GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED"


def serve_page(
    models: Sequence[str],
    *,
    host: str | None = None,
    port: int | None = None,
    share: bool = False,
    allow_any: bool = False,
    device: str | None = None,
    dtype: str = "float32",
    max_loaded: int = 3,
    when_started: Callable[[str], None] | None = None,
) -> None:
    """Serve the page until the process is interrupted or terminated.

    Args:
        models: the models to choose among, as `nvv.demo.models.model_names` reads them.
        host: the address to listen on; None: `GRADIO_SERVER_NAME`, or else this machine only.
        port: the port; None: `GRADIO_SERVER_PORT`, or else the first that is free from 7860 on.
        share: also make it reachable by a public address, through gradio's servers.
        allow_any: let visitors type in other Hub ids.
        device: as in `Models`.
        dtype: as in `Models`.
        max_loaded: as in `Models`.
        when_started: called with the page's address.

    Raises:
        nvv.demo.models.DemoError: as `Models`, and for a port that is taken.
        nvv.inference.load.ModelError: for a model that cannot be loaded.
        ValueError: from gradio, for an address that cannot be reached from here.
    """
    if port is not None:
        _check_port(host or "127.0.0.1", port)  # before minutes of loading
    chosen = Models(models, allow_any=allow_any, device=device, dtype=dtype, max_loaded=max_loaded)
    with tempfile.TemporaryDirectory(prefix="nvv-demo-") as name, _gradio_in(Path(name) / "served") as folder:
        from .page import CSS, build_page, page_theme  # gradio looks where to keep files when it is imported

        page = build_page(chosen, folder=folder, examples=write_examples(Path(name) / "examples"))
        try:
            with _ended_by_sigterm():
                _, local_url, public_url = page.launch(
                    server_name=host,
                    server_port=port,
                    share=share,
                    prevent_thread_lock=True,
                    quiet=True,
                    max_file_size=_MAX_FILE_SIZE,
                    enable_monitoring=False,
                    ssr_mode=False,
                    pwa=False,
                    mcp_server=False,
                    run_history=False,
                    footer_links=["api"],
                    theme=page_theme(),
                    css=CSS,
                )
                if when_started is not None:
                    when_started(public_url or local_url)
                threading.Event().wait()
        finally:
            page.close(verbose=False)


def _check_port(host: str, port: int) -> None:
    """Refuse an address and port that cannot be listened on."""
    try:
        with socket.create_server((host, port)):
            pass
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DemoError(f"--port: {port} cannot be used on {host} ({reason}); choose another.") from error


@contextmanager
def _gradio_in(folder: Path) -> Iterator[Path]:
    """Let gradio keep its files in a folder, and tell nobody that it is used."""
    folder.mkdir()
    before = {name: os.environ.get(name) for name in _ENVIRONMENT}
    os.environ.update(zip(_ENVIRONMENT, (str(folder), "False"), strict=True))
    try:
        yield folder
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the block as an exception, so that what it holds is cleaned up; in the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _: FrameType | None) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
