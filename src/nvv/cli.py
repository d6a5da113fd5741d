"""The `nvv` command: its subcommands are the modules of `nvv.commands`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Annotated, Any

import typer

from . import register_auto_classes
from .commands import audit, classify, compare, demo, embed, prepare, push, push_dataset, segment, tag
from .version import __version__

__all__ = ["app", "main"]

# Without rich's markup the help is printed as it is written, examples too.
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


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


def _registering(function: Callable[..., None]) -> Callable[..., None]:
    """Let a subcommand find the model registered; its help does without, and is quick."""

    @functools.wraps(function)
    def run(*arguments: Any, **options: Any) -> None:
        register_auto_classes()
        function(*arguments, **options)

    return run


# In the order of a project: a corpus, a model, its use. Each module has a function of its own name, an example, and a
# docstring that says in a few words what the command is for.
for _module in (prepare, push_dataset, audit, compare, push, classify, segment, embed, tag, demo):
    _function = getattr(_module, _module.__name__.rpartition(".")[2])
    _purpose = (_module.__doc__ or "").partition("`: ")[2].partition(". ")[0]
    app.command(short_help=_purpose[:1].upper() + _purpose[1:], epilog=f"\b\nExample:\n  {_module.EXAMPLE}")(
        _registering(_function)
    )


def main() -> None:
    """Entry point of the `nvv` command."""
    app()
