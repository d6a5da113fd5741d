"""Scores of neighbouring windows smoothed, label by label.

At the ends of a recording, and beside windows in which nothing was heard, fewer windows are smoothed over; none is
invented. Own work.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from .settings import SMOOTHINGS

__all__ = ["smooth_scores"]

_ROWS_AT_ONCE = 8192  # windows, so that a day's scores need no more memory while they are smoothed than an hour's


def smooth_scores(scores: NDArray[np.floating], *, how: str, num_windows: int) -> NDArray[np.float32]:
    """Smooth scores over time.

    Args:
        scores: (windows, labels), NaN where nothing was heard.
        how: `median`, `mean` or `none`.
        num_windows: over how many windows, an odd number > 0, the window itself in the middle.

    Returns:
        Scores (windows, labels): of each window and its neighbours, those that are NaN left out. A NaN stays one.

    Raises:
        ValueError: for an unknown `how`, or an even number.

    Example:
        >>> smooth_scores(np.array([[0.1], [0.9], [0.2]]), how="median", num_windows=3).round(2).tolist()
        [[0.5], [0.20000000298023224], [0.550000011920929]]
    """
    if how not in SMOOTHINGS:
        raise ValueError(f"how: expected one of {', '.join(SMOOTHINGS)}; found {how!r}.")
    if num_windows < 1 or num_windows % 2 == 0:
        raise ValueError(f"num_windows: expected an odd number, found {num_windows}.")
    exact = np.asarray(scores, dtype=np.float64)
    if how == "none" or num_windows == 1 or not len(exact):
        return exact.astype(np.float32)
    beside = num_windows // 2
    padded = np.pad(exact, ((beside, beside), (0, 0)), constant_values=np.nan)
    smoothed = np.empty(exact.shape, np.float32)
    for first in range(0, len(exact), _ROWS_AT_ONCE):
        rows = slice(first, first + _ROWS_AT_ONCE)
        neighbours = sliding_window_view(padded[first : first + _ROWS_AT_ONCE + 2 * beside], num_windows, axis=0)
        smoothed[rows] = (_median if how == "median" else _mean)(neighbours)  # (windows, labels, neighbours) → …
    smoothed[np.isnan(exact)] = np.nan
    return smoothed


def _median(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the median over the last axis of what is no number there left out."""
    ordered = np.sort(values, axis=-1)  # NaN last
    count = np.maximum(np.count_nonzero(~np.isnan(ordered), axis=-1, keepdims=True), 1)
    low, high = (np.take_along_axis(ordered, at, axis=-1) for at in ((count - 1) // 2, count // 2))
    return ((low + high) / 2)[..., 0]


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean over the last axis of what is a number there."""
    count = np.maximum(np.count_nonzero(~np.isnan(values), axis=-1), 1)
    return np.nansum(values, axis=-1) / count
