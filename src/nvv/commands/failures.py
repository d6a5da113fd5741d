"""How a command ends that cannot go on: one line on standard error and an exit status. Own work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

__all__ = ["INTERRUPTED", "explained"]

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""


@contextmanager
def explained(command: str, *errors: type[Exception], status: int = 1, after_interrupt: str = "") -> Iterator[None]:
    """Turn errors whose messages say what to mend into one line, `nvv COMMAND: …`, and the exit status.

    Args:
        command: Name of the command.
        errors: What to explain beside `ValueError` and `OSError`; anything else is a defect and keeps its traceback.
        status: Exit status.
        after_interrupt: What to tell whoever interrupted it with Ctrl-C.

    Raises:
        typer.Exit: Instead of the errors.
    """
    try:
        yield
    except (ValueError, OSError, *errors) as error:
        typer.echo(f"nvv {command}: {error}", err=True)
        raise typer.Exit(status) from error
    except KeyboardInterrupt:
        typer.echo(f"nvv {command}: interrupted{after_interrupt and f'; {after_interrupt}'}.", err=True)
        raise typer.Exit(INTERRUPTED) from None
