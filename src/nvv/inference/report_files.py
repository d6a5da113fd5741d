"""Writing a report of an evaluation: a table for programs, one for people, and everything as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ..files import replaced_when_complete, write_text
from ..training.results import to_plain

__all__ = ["write_tables"]


def write_tables(folder: Path, name: str, *, frame: pd.DataFrame, text: str, content: Mapping[str, Any]) -> list[Path]:
    """Write `NAME.csv`, `NAME.md` and `NAME.json`, each whole or not at all.

    Args:
        folder: where, made if missing.
        name: what the files are called.
        frame: the rows of the CSV, with numbers as they are.
        text: the Markdown.
        content: what the JSON file holds; numbers of NumPy and dataclasses are made plain.

    Returns:
        The files.

    Raises:
        ResultsError: for NaN and infinity, which JSON does not have.
    """
    files = [folder / f"{name}.{ending}" for ending in ("csv", "md", "json")]
    with replaced_when_complete(files[0]) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n")
    write_text(files[1], text)
    plain = to_plain(content, name=files[2].name)
    write_text(files[2], json.dumps(plain, indent=2, ensure_ascii=False) + "\n")
    return files
