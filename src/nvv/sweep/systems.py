"""Which runs make one system: names for rows and columns, folds and seeds apart.

A system is everything that a run is but for its corpus, split protocol and seed. Runs on the folds of one family of
protocols (`fold_0`, `fold_1`, …) belong together. Own work.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from .recipe_groups import field_default
from .settings import ReportError

_FOLD = re.compile(r"(?P<family>.*fold)_(?P<fold>\d+)")
# What does not make another system: what is compared over, where things lie, and what rows and columns name already.
_NOT_TELLING = {
    *("run_id", "status", "error", "seconds", "recipe", "corpus", "split_protocol", "seed"),
    *("backbone", "family", "method", "layers", "hidden_states", "tuned_layers", "summed_layers"),
    *("features", "classifier", "is_synthetic", "predicts", "num_labels", "trainable_parameters"),
    *("data_dir", "data_cache_dir", "features_cache_dir", "output_dir", "overwrite_output_dir"),
}
_SCORE_COLUMN = re.compile(r"(train|validation|test)_.*")
_NUMBER = re.compile(r"true|false|[-+.\de]*\d[-+.\de]*")
_BASELINE = "baseline"
_PREFIXES = {"layers": "layer", "hidden_states": "state"}
_NO_FEATURES = "no features"
_GUESSES = {"majority": "most frequent class", "random": "random guess"}


def with_systems(table: pd.DataFrame, *, rows: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
    """Add to each run the names by which tables group it.

    Args:
        table: what `table.collect_results` returned.
        rows: columns that name a table's row.
        columns: columns that name a table's column. A field of the training recipe may be one even where some run, or
            all, left it at its default.

    Returns:
        The table with `protocol` (the split protocol, of a fold its family such as `fold`), `fold` (its number, else
        -1), `row`, `column` and `system` (both). Where runs of one corpus and protocol would share a row and a column
        though something else differs between them, the row says what.

    Raises:
        ReportError: for a column that the table does not have.
    """
    named = _with_defaults(table, [*rows, *columns])
    for name in (*rows, *columns):
        if name not in named.columns:
            raise ReportError(f"report: expected a column of the results table, found {name!r}; see results.csv.")
    matches = [_FOLD.fullmatch(str(protocol)) for protocol in named["split_protocol"]]
    named["protocol"] = [
        match["family"] if match else _text(protocol)
        for match, protocol in zip(matches, named["split_protocol"], strict=True)
    ]
    named["fold"] = [int(match["fold"]) if match else -1 for match in matches]
    short = _short_names(named["backbone"])
    named["row"] = [_label(run, rows, short=short) for run in named.to_dict("records")]
    named["column"] = [_label(run, columns, short=short) for run in named.to_dict("records")]
    named["row"] = _told_apart(named)
    named["system"] = [
        column if row == _NO_FEATURES else f"{row}, {column}"
        for row, column in zip(named["row"], named["column"], strict=True)
    ]
    return named


def selected(table: pd.DataFrame, fields: Mapping[str, Any], *, where: str) -> pd.DataFrame:
    """Return the runs whose columns have the given values.

    Args:
        table: the results table.
        fields: column to value, or to a list of values; compared as text.
        where: how an error calls them.

    Returns:
        The rows that fit.

    Raises:
        ReportError: for a column that the table does not have.
    """
    fits = pd.Series(True, index=table.index)
    for name, wanted in fields.items():
        if name not in table.columns:
            raise ReportError(f"{where}: expected a column of the results table, found {name!r}; see results.csv.")
        values = {_text(value) for value in (wanted if isinstance(wanted, (list, tuple)) else [wanted])}
        fits &= table[name].map(_text).isin(values)
    return table[fits]


def _text(value: Any) -> str:
    """Write a value as a grid would: whole numbers without a point, nothing as nothing."""
    if isinstance(value, (bool, np.bool_)):
        return str(value).lower()
    if value is None or value is pd.NA or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _with_defaults(table: pd.DataFrame, names: Iterable[str]) -> pd.DataFrame:
    """Return a copy in which fields that name rows or columns have their values also where these are the defaults."""
    filled = table.copy()
    for name in names:
        default = field_default(name)
        if default is None:
            continue
        known = filled[name] if name in filled else pd.Series(pd.NA, index=filled.index, dtype=object)
        is_default = known.isna() & (filled["recipe"] != _BASELINE)
        filled[name] = known.astype(object).mask(is_default, default)
    return filled


def _short_names(backbones: Iterable[Any]) -> dict[str, str]:
    """Return Hub ids without their owners, where that leaves them different."""
    names = {_text(name) for name in backbones}
    last = [name.rsplit("/", 1)[-1] for name in names]
    return {name: name.rsplit("/", 1)[-1] if last.count(name.rsplit("/", 1)[-1]) == 1 else name for name in names}


def _label(run: Mapping[str, Any], fields: Sequence[str], *, short: Mapping[str, str]) -> str:
    parts = []
    for name in fields:
        text = _text(run[name])
        if name == "backbone":
            parts.append(short[text] if text not in ("", "none") else _NO_FEATURES)
        elif name in _PREFIXES:
            if text not in ("", "all"):
                parts.append(f"{_PREFIXES[name]}{'' if text.isdigit() else 's'} {text}")
            elif len(fields) == 1:
                parts.append("all" if text else "none")
        elif name == "method":
            parts.append(_GUESSES.get(text, text.replace("_", " ")))
        else:
            # A word says what it is, a number does not.
            parts.append(f"{name} {text}" if _NUMBER.fullmatch(text) else text)
    return ", ".join(part for part in parts if part) or "all"


def _told_apart(table: pd.DataFrame) -> list[str]:
    """Return row names to which is added what else differs between the runs of a cell."""
    telling = [name for name in table.columns if name not in _NOT_TELLING and not _SCORE_COLUMN.fullmatch(name)]
    telling = [name for name in telling if name not in ("row", "column", "protocol", "fold")]
    differing: list[str] = []
    for _, runs in table.groupby(["corpus", "protocol", "row", "column"], dropna=False, sort=False):
        differing += [name for name in telling if name not in differing and runs[name].map(_text).nunique() > 1]
    labels = []
    for run in table.to_dict("records"):
        extra = [f"{name} {_text(run[name])}" for name in differing if _text(run[name])]
        labels.append(", ".join([run["row"], *extra]))
    return labels
