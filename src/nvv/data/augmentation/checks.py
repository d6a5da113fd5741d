"""What every transform asks of its input, and the error it raises otherwise. Own work."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

__all__ = ["AugmentationError", "checked_number", "checked_waveform", "mean_power"]


class AugmentationError(ValueError):
    """A transform's setting or input cannot be used; the message names it, what was expected and what was found."""


def checked_waveform(waveform: np.ndarray, *, name: str = "waveform") -> np.ndarray:
    """Return a waveform as a float32 array.

    Args:
        waveform: floating point samples (samples,), at least one, all finite.
        name: what to call it in errors.

    Raises:
        AugmentationError: for anything else.
    """
    array = np.asarray(waveform)
    if array.ndim != 1 or array.size == 0 or not np.issubdtype(array.dtype, np.floating):
        raise AugmentationError(
            f"{name}: expected floating point samples of shape (samples,), at least one; found {array.dtype} of shape "
            f"{array.shape}. nvv.audio.decode_audio gives such an array."
        )
    if not np.isfinite(array).all():
        raise AugmentationError(f"{name}: expected finite samples, found NaN or infinity.")
    return array.astype(np.float32, copy=False)


def checked_number(
    name: str, value: Any, *, low: float = -math.inf, high: float = math.inf, exclusive: bool = False
) -> float:
    """Return a number as a float.

    Args:
        name: of the parameter, for errors.
        value: the number.
        low: its least value.
        high: its greatest value.
        exclusive: whether the bounds themselves are refused.

    Raises:
        AugmentationError: for no number, or one out of range.
    """
    is_number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    inside = is_number and math.isfinite(value) and (low < value < high if exclusive else low <= value <= high)
    if not inside:
        found = f"{value!r}, which YAML reads as text: write 0.001, not 1e-3" if _looks_numeric(value) else repr(value)
        raise AugmentationError(f"{name}: expected a number{_range_in_words(low, high, exclusive)}, found {found}.")
    return float(value)


def mean_power(waveform: np.ndarray) -> float:
    """Return the mean of a waveform's squared samples, summed in float64; 0 for silence."""
    wide = np.asarray(waveform, dtype=np.float64)
    return float(np.dot(wide, wide) / wide.size)


def _looks_numeric(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        float(value)
    except ValueError:
        return False
    return True


def _range_in_words(low: float, high: float, exclusive: bool) -> str:
    if math.isfinite(low) and math.isfinite(high):
        return f" between {low:g} and {high:g}{' (neither of them)' if exclusive else ''}"
    if math.isfinite(low):
        return f" {'above' if exclusive else 'of at least'} {low:g}"
    return ""
