"""Arguments that commands with a model share, so that they read and act alike. Own work."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated

import typer

__all__ = [
    "DTYPE_NAMES",
    "BatchSecondsOption",
    "DeviceOption",
    "DtypeOption",
    "ModelArgument",
    "NumWorkersOption",
    "RevisionOption",
    "SourcesArgument",
    "TrustOption",
    "one_of",
]

DTYPE_NAMES = ("float32", "bfloat16", "float16")
"""Those of `nvv.inference.streams.DTYPES`, which commands import only when they run."""


def one_of(*choices: str) -> Callable[[str | None], str | None]:
    """Return a callback for an option that refuses all values but these, and None where there is no default."""

    def check(value: str | None) -> str | None:
        if value is not None and value not in choices:
            raise typer.BadParameter(f"expected one of {', '.join(choices)}, found {value!r}.")
        return value

    return check


def _positive(value: float | None) -> float | None:
    if value is not None and not 0 < value < math.inf:
        raise typer.BadParameter(f"expected more than 0, found {value}.")
    return value


ModelArgument = Annotated[str, typer.Argument(help="Hub id (OWNER/NAME), or folder of a model, a run or a checkpoint.")]
SourcesArgument = Annotated[
    list[str] | None,
    typer.Argument(help="Audio files, folders (searched throughout) or quoted patterns."),
]
RevisionOption = Annotated[
    str | None, typer.Option(help="Branch, tag or commit of a model on the Hub; by default its main branch.")
]
TrustOption = Annotated[
    bool,
    typer.Option(
        "--trust-remote-code",
        help="Run the code that comes with a model of another project; models of nvv need no such permission.",
    ),
]
DeviceOption = Annotated[
    str | None, typer.Option(help="cpu, cuda, cuda:1, mps …; by default the accelerator, where there is one.")
]
DtypeOption = Annotated[
    str,
    typer.Option(
        callback=one_of(*DTYPE_NAMES),
        help="Precision: float32, or bfloat16 or float16, which are less exact, and faster where the device can.",
    ),
]
BatchSecondsOption = Annotated[
    float | None,
    typer.Option(
        callback=_positive,
        help="Seconds of audio in a batch at most; by default 30 on a CPU, 240 elsewhere.",
    ),
]
NumWorkersOption = Annotated[
    int | None,
    typer.Option(min=0, help="Threads that read files ahead; by default the number of processors, at most eight."),
]
