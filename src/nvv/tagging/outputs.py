"""Parquet files of a dataset's rows and what a model made of them: written a row group at a time, there whole or not.

The files keep the source's columns as they are, with two exceptions that make them complete by themselves: an Audio
cell that only names a file gets its bytes, and its path becomes the file's name, as `datasets` itself does when it
writes Parquet. Which rows stand in which file is the neighbours' business. Own work.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path, PurePath
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..files import replaced_when_complete
from .rows import Answer, HeardTable, Recording

__all__ = ["stored_schema", "with_columns", "write_tables"]

_ROWS_PER_GROUP = 100  # the Hub's viewer reads whole row groups
_BYTES_PER_GROUP = 32 * 2**20


def stored_schema(features: datasets.Features) -> pa.Schema:
    """Return the schema of files that `datasets` reads back with these columns, in its version 3.6 too.

    Version 4 introduced the kind ``List``, which earlier ones do not know; it is written as they wrote it.

    Args:
        features: The columns.
    """
    described = {"info": {"features": _older(features.to_dict())}}
    return features.arrow_schema.with_metadata({"huggingface": json.dumps(described)})


def _older(described: Any) -> Any:
    """Write a kind of column in the form that `datasets` 3 reads as well."""
    if isinstance(described, list):
        return [_older(item) for item in described]
    if not isinstance(described, dict):
        return described
    if described.get("_type") == "List":
        items = _older(described["feature"])
        length = described.get("length", -1)
        if "_type" not in items and length == -1:  # a Sequence of named columns would be named columns of sequences
            return [items]
        return {"feature": items, "length": length, "_type": "Sequence"}
    return {key: _older(value) for key, value in described.items()}


def with_columns(
    heard: HeardTable,
    *,
    added: Callable[[Sequence[Answer], Sequence[str]], Sequence[pa.Array]],
    schema: pa.Schema,
    audio_columns: Mapping[str, Any],
    dropped: Sequence[str] = (),
) -> pa.Table:
    """Return a table's own columns and, after them, what the model's answers add.

    Args:
        heard: The rows.
        added: The new columns from the answers and the recordings' names, in the order of the schema.
        schema: All columns of the result.
        audio_columns: Those that are Audio; the one that was heard maps to True.
        dropped: The source's columns to leave out.
    """
    columns: list[pa.Array | pa.ChunkedArray] = []
    for name in heard.table.column_names:
        if name in dropped:
            continue
        column = heard.table[name]
        if name in audio_columns:
            column = _embedded(column, heard.recordings if audio_columns[name] else None)
        columns.append(column)
    names = [recording.name for recording in heard.recordings]
    arrays = [*columns, *added(heard.answers, names)]
    return pa.table(
        [
            array if array.type == field.type else array.cast(field.type)
            for array, field in zip(arrays, schema, strict=True)
        ],
        schema=schema,
    )


def _embedded(column: pa.ChunkedArray, recordings: Sequence[Recording] | None) -> pa.Array | pa.ChunkedArray:
    """Give each Audio cell that only names a file the bytes of that file; others stay untouched."""
    if pc.struct_field(column, "bytes").null_count == column.null_count:
        return column
    cells = column.to_pylist()
    for row, cell in enumerate(cells):
        if cell is None or cell["bytes"] is not None or cell["path"] is None:
            continue
        if recordings is not None:
            cell["bytes"] = recordings[row].content  # None where the file could not be read
        elif "://" not in cell["path"] and Path(cell["path"]).is_file():
            cell["bytes"] = Path(cell["path"]).read_bytes()
        cell["path"] = PurePath(cell["path"]).name
    return pa.array(cells, column.type)


def write_tables(
    tables: Iterable[pa.Table], path: Path, *, schema: pa.Schema, no_dictionary: Sequence[str] = ()
) -> int:
    """Write a Parquet file that appears when it is complete.

    Args:
        tables: Its rows; row groups hold 100 of them, or fewer where these are large, wherever the tables end.
        path: The file.
        schema: Of all tables.
        no_dictionary: Columns of bytes or numbers, for which a dictionary would be of no use.

    Returns:
        The number of rows.
    """
    dictionaries = [field.name for field in schema if field.name not in no_dictionary]
    num_rows = 0
    with ExitStack() as stack:
        temporary = stack.enter_context(replaced_when_complete(path))
        writer = stack.enter_context(pq.ParquetWriter(str(temporary), schema, use_dictionary=dictionaries))
        for group in _row_groups(tables):
            writer.write_table(group, row_group_size=_ROWS_PER_GROUP)
            num_rows += group.num_rows
    return num_rows


def _row_groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Join tables until they make a row group; cut where there are too many rows."""
    waiting: list[pa.Table] = []
    num_rows = num_bytes = 0
    for table in tables:
        waiting.append(table)
        num_rows, num_bytes = num_rows + table.num_rows, num_bytes + table.nbytes
        if num_rows >= _ROWS_PER_GROUP or num_bytes >= _BYTES_PER_GROUP:
            joined = pa.concat_tables(waiting)
            full = num_rows if num_bytes >= _BYTES_PER_GROUP else _ROWS_PER_GROUP
            yield joined.slice(0, full)
            rest = joined.slice(full)
            waiting = [rest] if rest.num_rows else []
            num_rows, num_bytes = rest.num_rows, rest.nbytes
    if waiting:
        yield pa.concat_tables(waiting)
