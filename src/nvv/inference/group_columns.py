"""Which group each clip is in: the values of a metadata column, or the bands of one with numbers.

Any column of the corpus can be named, `speaker` stands for `speaker_id`, and of a column of numbers such as `age` the
name with `_band` gives bands: of ages fixed ones, of all else quarters of the clips. Scores of groups are the neighbour
`group_report`'s. Own work.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np

from ..training.arguments import ArgumentsError

__all__ = ["AGE_BANDS", "GroupColumn", "group_columns", "metadata_columns"]

AGE_BANDS = (0, 18, 30, 45, 60)
"""Years at which bands of ages begin; the last one is open."""

_BAND = "_band"
_SPEAKER = "speaker"
_NUM_BANDS = 4
_MAX_NUMBERS = 20
"""A column of integers with more values than this is one of numbers, and no column of groups."""
_NO_GROUPS = ("audio", "file")


@dataclass(frozen=True, kw_only=True)
class GroupColumn:
    """Groups of the clips of some splits.

    Args:
        name: as it was asked for.
        groups: each clip's group by split, None where it is not known.
        order: all groups, in the order in which they are shown.
    """

    name: str
    groups: Mapping[str, Sequence[str | None]]
    order: Sequence[str]


def group_columns(
    names: Sequence[str], splits: Mapping[str, datasets.Dataset], *, answered: Sequence[str] = ("label",)
) -> list[GroupColumn]:
    """Read the groups of clips.

    Args:
        names: columns, or columns with `_band`; `speaker` for the speakers.
        splits: the clips by split.
        answered: columns with what the model is asked for, which make no groups.

    Returns:
        The groups by each name.

    Raises:
        ArgumentsError: for a name that the corpus does not have, a column that makes no groups, and one by which all
            clips are in one group.

    Example:
        >>> clips = datasets.Dataset.from_dict({"age": [4, 25, 71], "sex": ["f", "m", "f"]})
        >>> [column.groups["test"] for column in group_columns(["sex", "age_band"], {"test": clips})]
        [['f', 'm', 'f'], ['0–17', '18–29', '60+']]
    """
    return [_group_column(name, splits, answered=answered) for name in names]


def metadata_columns(names: Sequence[str]) -> list[str]:
    """Return the columns that data of one's own is read with, for groups by these names: `age` for `age_band`."""
    return list(dict.fromkeys(name.removesuffix(_BAND) for name in names if name not in (_SPEAKER, "speaker_id")))


def _group_column(name: str, splits: Mapping[str, datasets.Dataset], *, answered: Sequence[str]) -> GroupColumn:
    features = next(iter(splits.values())).features
    column = "speaker_id" if name == _SPEAKER and _SPEAKER not in features else name
    is_band = column not in features and column.endswith(_BAND) and column.removesuffix(_BAND) in features
    column = column.removesuffix(_BAND) if is_band else column
    if column in answered or column in _NO_GROUPS:
        raise ArgumentsError(f"by: {name!r} makes no groups to compare: it is what is asked for, or each clip's own.")
    if column not in features:
        raise ArgumentsError(_unknown(name, features, answered=answered))
    feature = features[column]
    values = {split: list(clips[column][:]) for split, clips in splits.items()}
    numbers = None if isinstance(feature, datasets.ClassLabel) else _as_numbers(values)
    if is_band:
        if numbers is None:
            raise ArgumentsError(f"by: {name!r} needs numbers in the column {column!r}, found others. Name {column!r}.")
        groups, order = _bands(name, column, numbers)
    elif numbers is not None and len({value for of_split in numbers.values() for value in of_split}) > _MAX_NUMBERS:
        raise ArgumentsError(f"by: {name!r} holds more than {_MAX_NUMBERS} numbers; name {name + _BAND!r} for bands.")
    else:
        groups, order = _named(name, values, feature)
    found = {group for of_split in groups.values() for group in of_split if group is not None}
    if len(found) < 2:
        what = f"all are {next(iter(found))!r}" if found else "it is not known for any"
        raise ArgumentsError(f"by: {name!r} has no effect: expected clips of two groups or more, found that {what}.")
    return GroupColumn(name=name, groups=groups, order=[group for group in order if group in found])


def _unknown(name: str, features: datasets.Features, *, answered: Sequence[str]) -> str:
    usable = [column for column in features if column not in (*answered, *_NO_GROUPS)]
    usable += [f"{column}{_BAND}" for column in usable if _is_number(features[column])]
    nearest = difflib.get_close_matches(name, usable, n=1, cutoff=0.5)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    return f"by: the corpus has no column {name!r}; there are {', '.join(usable) or 'none'}.{hint}"


def _is_number(feature: Any) -> bool:
    dtype = getattr(feature, "dtype", "")
    return not isinstance(feature, datasets.ClassLabel) and dtype.startswith(("int", "uint", "float"))


def _as_numbers(values: Mapping[str, Sequence[Any]]) -> dict[str, list[float | None]] | None:
    """Return a column's values as numbers, which tables of one's own hold as words; None where one is no number."""
    numbers: dict[str, list[float | None]] = {}
    for split, of_split in values.items():
        try:
            numbers[split] = [None if _is_missing(value) else float(value) for value in of_split]
        except (TypeError, ValueError):
            return None
    return numbers


def _is_missing(value: Any) -> bool:
    return value is None or value == "" or value != value  # NaN is unlike itself


def _named(
    name: str, values: Mapping[str, Sequence[Any]], feature: Any
) -> tuple[dict[str, list[str | None]], list[str]]:
    """Take the values of a column as groups."""
    if isinstance(feature, datasets.ClassLabel):
        groups = {
            split: [None if value is None or value < 0 else feature.names[value] for value in column]
            for split, column in values.items()
        }
        return groups, list(feature.names)
    distinct = {value for column in values.values() for value in column if not _is_missing(value)}
    if not all(isinstance(value, (str, int, float)) for value in distinct):
        raise ArgumentsError(f"by: expected words or numbers in {name!r}, found {feature}.")
    groups = {
        split: [None if _is_missing(value) else _text(value) for value in column] for split, column in values.items()
    }
    return groups, [_text(value) for value in sorted(distinct)]


def _text(value: str | float) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _bands(
    name: str, column: str, values: Mapping[str, Sequence[float | None]]
) -> tuple[dict[str, list[str | None]], list[str]]:
    """Put numbers into bands: the same ones in all splits."""
    known = np.array([value for of_split in values.values() for value in of_split if value is not None])
    if not known.size:
        return {split: [None] * len(of_split) for split, of_split in values.items()}, []
    if column == "age":
        starts = np.array(AGE_BANDS, dtype=float)
        ends = [f"–{end - 1}" for end in AGE_BANDS[1:]]
        names = [f"{start}{end}" for start, end in zip(AGE_BANDS, [*ends, "+"], strict=True)]
        if known.min() < 0:
            raise ArgumentsError(f"by: {name!r} needs ages in years in the column {column!r}, found {known.min():g}.")
    else:
        # Each quarter of the clips begins a band; equal numbers are never put apart.
        starts = np.unique(np.sort(known)[np.arange(_NUM_BANDS) * known.size // _NUM_BANDS])
        band = np.searchsorted(starts, known, side="right") - 1
        ends_of = [(known[band == one].min(), known[band == one].max()) for one in range(starts.size)]
        names = [f"{low:g}" if low == high else f"{low:g} to {high:g}" for low, high in ends_of]

    def band_of(value: float | None) -> str | None:
        return None if value is None else names[int(np.searchsorted(starts, value, side="right")) - 1]

    return {split: [band_of(value) for value in of_split] for split, of_split in values.items()}, names
