"""Options that commands on whole datasets share, so that they read and act alike. Own work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "AudioColumnOption",
    "ConfigOption",
    "DataDirOption",
    "DatasetRevisionOption",
    "SplitOption",
    "StreamingOption",
]

ConfigOption = Annotated[str | None, typer.Option(help="Config of a dataset that has several.")]
SplitOption = Annotated[list[str] | None, typer.Option(help="Split of the dataset; may be repeated; by default all.")]
AudioColumnOption = Annotated[
    str | None, typer.Option(help="Column of the recordings; by default the only audio column, or audio.")
]
StreamingOption = Annotated[
    bool, typer.Option("--streaming", help="Read the dataset file by file instead of downloading it first.")
]
DatasetRevisionOption = Annotated[str | None, typer.Option(help="Branch, tag or commit of the dataset.")]
DataDirOption = Annotated[
    Path | None, typer.Option(help="Folder that the paths of a table start from; by default the table's.")
]
