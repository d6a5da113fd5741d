"""The file `metrics.json`: how values become JSON, and how the file is written and read.

What stands in it is made in `results` and `task_results`. Own work.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from ..files import write_text
from .answers import ResultsError

__all__ = ["FORMAT_VERSION", "METRICS_FILE", "comparable_metrics", "read_metrics", "to_plain", "write_metrics"]

FORMAT_VERSION = 1
METRICS_FILE = "metrics.json"

_NOT_COMPARABLE = ("provenance", "timing")


def _plain_mapping(value: Mapping[Any, Any], *, name: str) -> dict[str, Any]:
    return {str(key): to_plain(item, name=f"{name}.{key}") for key, item in value.items()}


def to_plain(value: Any, *, name: str) -> Any:
    """Turn a value into what JSON can hold.

    Args:
        value: nested mappings, sequences, dataclasses, enums, paths, numpy numbers and arrays, or plain values.
        name: the field's name, for the error.

    Returns:
        The same in dicts, lists, strings, numbers, booleans and None.

    Raises:
        ResultsError: for NaN and infinity, which JSON does not have.
        TypeError: for anything else.
    """
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, (np.ndarray, np.generic)):
        return to_plain(value.tolist(), name=name)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ResultsError(
                f"{name}: expected a finite number, found {value}. Leave the field out if it is unknown."
            )
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain_mapping({item.name: getattr(value, item.name) for item in dataclasses.fields(value)}, name=name)
    if isinstance(value, Mapping):
        return _plain_mapping(value, name=name)
    if isinstance(value, (Sequence, set, frozenset)):
        items = sorted(value) if isinstance(value, (set, frozenset)) else value
        return [to_plain(item, name=f"{name}[{index}]") for index, item in enumerate(items)]
    raise TypeError(f"{name}: cannot write a {type(value).__name__} to JSON. Turn it into a plain value first.")


def comparable_metrics(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a `metrics.json` that two runs of the same configuration must share.

    Args:
        metrics: the content of a `metrics.json`.

    Returns:
        Everything but `provenance` (paths, versions, device) and `timing`.
    """
    return {name: value for name, value in metrics.items() if name not in _NOT_COMPARABLE}


def write_metrics(path: str | os.PathLike[str], metrics: Mapping[str, Any]) -> Path:
    """Write `metrics.json`, whole or not at all.

    Args:
        path: the file.
        metrics: what `build_metrics` returned.

    Returns:
        The file's path.

    Raises:
        ResultsError: for NaN or infinity, naming the field.
    """
    plain = to_plain(metrics, name=Path(path).name)
    return write_text(path, json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_metrics(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a `metrics.json`.

    Args:
        path: the file.

    Returns:
        Its content.

    Raises:
        ResultsError: if it is not JSON or of a format that this version does not know.
    """
    try:
        metrics = json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ResultsError(f"{path}: not valid JSON ({error}). Write the results again.") from error
    version = metrics.get("format_version") if isinstance(metrics, dict) else None
    if version != FORMAT_VERSION:
        raise ResultsError(
            f"{path}: expected format_version {FORMAT_VERSION}, found {version!r}. "
            "Read it with the nvv version that wrote it, or run the evaluation again."
        )
    return metrics
