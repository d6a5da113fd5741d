"""Tables of paths and labels: CSV, TSV and JSON lines, read as they were written.

Text stays text: ``None``, ``NA`` and ``nan`` are labels like any other, and ``007`` is not 7, where table libraries
would guess. Only an empty field is a missing value. What the columns mean is decided in ``nvv.data.own_data``.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .rawfiles import CorpusError

__all__ = ["TABLE_SUFFIXES", "Table", "read_table"]

_JSON_SUFFIXES = (".jsonl", ".ndjson")
TABLE_SUFFIXES = (".csv", ".tsv", *_JSON_SUFFIXES)
"""Endings of the files that `read_table` reads, lower case with the dot."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table as it stands in its file.

    Attributes:
        columns: Column name to values, one a row; None where a value is missing.
        lines: The line of the file that each row ends on, from 1.
    """

    columns: dict[str, list[Any]]
    lines: list[int]


def read_table(path: Path) -> Table:
    """Read a table.

    A CSV file may be separated by semicolons, as spreadsheets of many countries write it. White space around a field is
    dropped, empty lines are passed over.

    Args:
        path: A ``.csv``, ``.tsv`` or ``.jsonl`` file in UTF-8, its first line (CSV, TSV) naming the columns.

    Returns:
        Its columns; texts in a CSV or TSV file, JSON's values in the other.

    Raises:
        CorpusError: If the file is missing, empty, in another encoding, or if a line does not fit the columns; the
            message names file and line.
    """
    if not path.is_file():
        raise CorpusError(f"{path}: no such file.")
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            read = _json_rows if path.suffix.lower() in _JSON_SUFFIXES else _separated_rows
            for line, row in read(handle, path):
                rows.append(row)
                lines.append(line)
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8.") from error
    if not rows:
        raise CorpusError(f"{path}: no rows; expected one row for each clip.")
    names = dict.fromkeys(name for row in rows for name in row)
    return Table({name: [row.get(name) for row in rows] for name in names}, lines)


def _separated_rows(handle: Any, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield line and row of a CSV or TSV file."""
    first = handle.readline()
    handle.seek(0)
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    if delimiter not in first and ";" in first:
        delimiter = ";"
    reader = csv.reader(handle, delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        twice = sorted({name for name in header if header.count(name) > 1})
        if twice:
            raise CorpusError(f"{path}, line 1: the column {twice[0]!r} is named twice.")
        for fields in reader:
            if not any(field.strip() for field in fields):
                continue
            if len(fields) != len(header):
                raise CorpusError(
                    f"{path}, line {reader.line_num}: {len(fields)} fields, but line 1 names {len(header)} columns "
                    f"({', '.join(header)}). Quote fields that hold a separator."
                )
            yield (
                reader.line_num,
                {name: field.strip() or None for name, field in zip(header, fields, strict=True) if name},
            )
    except csv.Error as error:
        raise CorpusError(f"{path}, line {reader.line_num}: {error}.") from error


def _json_rows(handle: Any, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield line and row of a JSON lines file."""
    for line, text in enumerate(handle, start=1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except json.JSONDecodeError as error:
            raise CorpusError(f"{path}, line {line}: not JSON ({error.msg}).") from error
        if not isinstance(row, dict):
            raise CorpusError(
                f'{path}, line {line}: expected an object such as {{"audio": "a.wav"}}, found {text[:40]!r}.'
            )
        yield line, {name: None if value == "" else value for name, value in row.items()}
