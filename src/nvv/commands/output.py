"""Where a command's results go: a file that appears when it is complete, or standard output as they come. Own work."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

__all__ = ["BROKEN_PIPE", "progress_only_on_terminals", "results_to"]

BROKEN_PIPE = 141
"""Exit status where nobody reads on, as with `| head`: what shells show of a program that SIGPIPE ended."""


def progress_only_on_terminals() -> None:
    """Have transformers and huggingface_hub draw no progress bars where standard error is no terminal.

    As tqdm does where it is asked for `disable=None`. A log then holds notes and errors only.
    """
    if sys.stderr.isatty():
        return
    from huggingface_hub.utils import disable_progress_bars
    from transformers.utils import logging

    disable_progress_bars()
    logging.disable_progress_bar()


@contextmanager
def results_to(file: Path | None) -> Iterator[Callable[[str], None]]:
    """Give a function that writes results.

    Text is UTF-8 with Unix line ends on every system; names of files keep their bytes.

    Args:
        file: written under a temporary name and renamed at the end; None for standard output, where each result is
            seen at once.

    Yields:
        The function; it takes text with its line ends.

    Raises:
        typer.Exit: Where the reader of standard output is gone.
    """
    if file is not None:
        from ..files import replaced_when_complete

        with (
            replaced_when_complete(file) as temporary,
            temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="\n") as stream,
        ):
            yield stream.write
        return
    output = sys.stdout.buffer

    def write(text: str) -> None:
        try:
            output.write(text.encode("utf-8", errors="surrogateescape"))
            output.flush()
        except BrokenPipeError:
            # Python writes what is left when it ends, and would complain again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(BROKEN_PIPE) from None

    yield write
