"""Overlapping windows over a waveform that comes in blocks.

A recording is divided into cells of one hop each, and each cell's window is centred on it: what a window is found to
be, the cell is. So the cells tile the recording, and the border between two is the midpoint between their windows'
centres. A window is as long as it was asked for except at the recording's ends, where it ends with the recording: no
padding is heard, and half a window at least. The last cell takes what is left, from half a hop to one and a half. A
recording that is no longer than one window is one window and one cell. Own work.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Window", "WindowCutter", "cell_borders", "num_cells", "window_starts"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Window:
    """What is heard for one cell.

    Attributes:
        index: the cell's number, from 0.
        start: the first sample heard, in samples from the recording's start.
        waveform: (samples,) float32.
    """

    index: int
    start: int
    waveform: NDArray[np.float32]


class WindowCutter:
    """Cuts a waveform that comes in blocks into windows, in constant memory.

    Args:
        window_samples: samples in a window, > 0.
        hop_samples: samples from one window to the next, > 0 and at most a window.

    Raises:
        ValueError: for numbers out of range.

    Example:
        >>> cutter = WindowCutter(window_samples=4, hop_samples=2)
        >>> windows = list(cutter.cut([np.arange(5.0), np.arange(5.0, 8.0)]))
        >>> [window.waveform.tolist() for window in windows]
        [[0.0, 1.0, 2.0], [1.0, 2.0, 3.0, 4.0], [3.0, 4.0, 5.0, 6.0], [5.0, 6.0, 7.0]]
        >>> cutter.num_samples
        8
    """

    def __init__(self, *, window_samples: int, hop_samples: int) -> None:
        if not 0 < hop_samples <= window_samples:
            raise ValueError(f"hop_samples: expected from 1 to window_samples ({window_samples}), found {hop_samples}.")
        self._window, self._hop = window_samples, hop_samples
        self._kept = np.zeros(0, np.float32)
        self._kept_start = 0
        self._next = 0
        self.num_samples = 0
        """Samples that have come so far; once all windows have been taken, the recording's."""

    def cut(self, blocks: Iterable[NDArray[np.float32]]) -> Iterator[Window]:
        """Cut all of a recording; once only.

        Args:
            blocks: its waveform, in blocks (samples,).

        Yields:
            The windows in their order, as soon as their last sample has come. Their waveforms are views.

        Raises:
            ValueError: if there is no sample.
        """
        for block in blocks:
            self.num_samples += len(block)
            self._kept = np.concatenate([self._kept, block]) if len(self._kept) else block
            # Not before it is sure that the recording is longer than one window.
            if self.num_samples > self._window:
                yield from self._complete()
        if not self.num_samples:
            raise ValueError("blocks: expected at least one sample, found none.")
        if self.num_samples <= self._window:
            yield Window(index=0, start=0, waveform=self._kept)
            return
        for index in range(self._next, num_cells(self.num_samples, self._window, self._hop)):
            yield self._window_of(index, end=self.num_samples)

    def _complete(self) -> Iterator[Window]:
        """Give the windows whose last sample has come, and forget what no later one holds."""
        while (end := self._start_of(self._next) + self._window) <= self.num_samples:
            yield self._window_of(self._next, end=end)
            self._next += 1
        unused = max(0, self._start_of(self._next)) - self._kept_start
        # A copy: the windows that were given are views of a block that may be forgotten when they are.
        self._kept = self._kept[unused:].copy()
        self._kept_start += unused

    def _start_of(self, index: int) -> int:
        return _first_start(self._window, self._hop) + index * self._hop

    def _window_of(self, index: int, *, end: int) -> Window:
        start = max(0, self._start_of(index))
        end = min(end, self._start_of(index) + self._window)
        return Window(index=index, start=start, waveform=self._kept[start - self._kept_start : end - self._kept_start])


def num_cells(num_samples: int, window_samples: int, hop_samples: int) -> int:
    """Count the cells, and windows, of a recording.

    Args:
        num_samples: its samples, > 0.
        window_samples: samples in a window.
        hop_samples: samples in a hop.

    Returns:
        One for a recording no longer than a window, else its hops, rounded, half up.
    """
    if num_samples <= window_samples:
        return 1
    return (2 * num_samples + hop_samples) // (2 * hop_samples)


def window_starts(num_samples: int, window_samples: int, hop_samples: int) -> NDArray[np.int64]:
    """Say where windows would start if they were not cut at the recording's ends.

    Args:
        num_samples: as in `num_cells`.
        window_samples: as in `num_cells`.
        hop_samples: as in `num_cells`.

    Returns:
        Samples from the recording's start (windows,), the first ones negative; half a window later is the centre. For
        a recording of one window, half a sample may be rounded away.
    """
    if num_samples <= window_samples:
        return np.array([(num_samples - window_samples) // 2])
    cells = np.arange(num_cells(num_samples, window_samples, hop_samples))
    return _first_start(window_samples, hop_samples) + cells * hop_samples


def cell_borders(num_samples: int, window_samples: int, hop_samples: int) -> NDArray[np.int64]:
    """Say where the cells begin, and where the last one ends.

    Args:
        num_samples: as in `num_cells`.
        window_samples: as in `num_cells`.
        hop_samples: as in `num_cells`.

    Returns:
        Samples from the recording's start (cells + 1,), from 0 to `num_samples`.

    Example:
        >>> cell_borders(25, 8, 4).tolist()
        [0, 4, 8, 12, 16, 20, 25]
    """
    borders = np.arange(num_cells(num_samples, window_samples, hop_samples) + 1) * hop_samples
    borders[-1] = num_samples
    return borders


def _first_start(window_samples: int, hop_samples: int) -> int:
    return -math.ceil((window_samples - hop_samples) / 2)
