"""What other columns of one's own data hold: numbers to predict, and metadata that is kept as it is.

The columns of classes, speakers and file names are the neighbour ``own_data``'s.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import datasets

from .own_sources import RawData
from .rawfiles import CorpusError

__all__ = ["OWN_NAMES", "further_columns"]

OWN_NAMES = ("audio", "label", "file", "speaker_id")
"""What our columns are called; no further one can have the name of one that is there."""


def further_columns(
    raw: RawData, *, targets: Sequence[str], metadata: Sequence[str], taken: Sequence[str]
) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Return the columns of targets and metadata.

    A target that is missing (an empty cell, or NaN) stays missing: its clip still trains what else is known of it.

    Args:
        raw: The rows.
        targets: Columns of numbers.
        metadata: Columns kept as they are: texts, whole numbers, numbers, or classes.
        taken: Our columns that are there.

    Returns:
        Feature and values (rows,) of each, by name; None where a value is missing.

    Raises:
        CorpusError: For a cell that is no number, naming row and column; for a column without any; for a name that is
            taken.
    """
    features: dict[str, Any] = {}
    columns: dict[str, list[Any]] = {}
    for column in dict.fromkeys([*targets, *metadata]):
        if column in taken:
            raise CorpusError(
                f"{raw.name}: the column {column!r} cannot be kept beside ours of the same name. Rename it in the "
                "source, or name it as that column (label_column, speaker_column, file_column)."
            )
        if column in targets:
            features[column], columns[column] = datasets.Value("float64"), _numbers(raw, column=column)
        else:
            features[column], columns[column] = _kept(raw, column=column)
    return features, columns


def _numbers(raw: RawData, *, column: str) -> list[float | None]:
    """Return a column of numbers, None where one is missing."""
    if column in raw.class_names:
        raise CorpusError(
            f"{raw.name}: the column {column!r} holds classes ({', '.join(raw.class_names[column][:5])}), expected "
            "numbers to predict. Name another with target_columns (--target_columns), or take it as the label_column."
        )
    values = raw.columns[column]
    numbers = [_number(value) for value in values]
    wrong = [row for row, number in enumerate(numbers) if number is not None and not math.isfinite(number)]
    if wrong:
        more = f" (and {len(wrong) - 1} more rows have none)" if len(wrong) > 1 else ""
        raise CorpusError(
            f"{raw.where(wrong[0])}: expected a number in column {column!r}, found {values[wrong[0]]!r}{more}. "
            "Write it with a decimal point, such as 0.25; leave the cell empty where the value is missing."
        )
    if all(number is None for number in numbers):
        raise CorpusError(f"{raw.name}: no number in column {column!r}. Name another with target_columns.")
    return numbers


def _number(value: Any) -> float | None:
    """Return a cell's number, None if it is missing, infinity if it is something else or not finite."""
    if value is None or value == "" or value != value:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return math.inf
    if isinstance(value, str) and "_" in value:  # Python's own grouping of digits; no table means it
        return math.inf
    try:
        number = float(value)
    except ValueError:
        return math.inf
    return None if math.isnan(number) else number


def _kept(raw: RawData, *, column: str) -> tuple[Any, list[Any]]:
    """Return a column as it is: the narrowest feature that holds its values, and the values."""
    values = [None if value is None or value == "" or value != value else value for value in raw.columns[column]]
    if column in raw.class_names:
        return datasets.ClassLabel(names=raw.class_names[column]), [None if value == -1 else value for value in values]
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int}:
        return datasets.Value("int64"), values
    if kinds and kinds <= {int, float}:
        return datasets.Value("float64"), [None if value is None else float(value) for value in values]
    return datasets.Value("string"), [None if value is None else str(value) for value in values]
