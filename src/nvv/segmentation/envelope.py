"""The outline of a waveform, minimum and maximum over short stretches, filled block by block.

For pictures of recordings of any length, without having them in memory. Own work.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..audio import SAMPLING_RATE

__all__ = ["WaveformEnvelope"]


class WaveformEnvelope:
    """Collects the outline of a recording whose length need not be known.

    Stretches double in length, two and two becoming one, whenever there are too many; how the recording is divided
    into blocks makes no difference.

    Args:
        max_columns: Stretches at most, an even number of at least 2. A recording that is long enough ends with more
            than half as many.
        sampling_rate: Samples per second of the blocks.

    Raises:
        ValueError: If `max_columns` is odd or less than 2.

    Example:
        >>> envelope = WaveformEnvelope(max_columns=4, sampling_rate=2)
        >>> for block in ([0.0, 0.5, -0.5], [1.0, 0.0, 0.25]):
        ...     envelope.add(np.array(block, dtype=np.float32))
        >>> envelope.maximum.tolist(), envelope.seconds_per_column
        ([0.5, 1.0, 0.25], 1.0)
    """

    def __init__(self, *, max_columns: int = 4096, sampling_rate: int = SAMPLING_RATE) -> None:
        if max_columns < 2 or max_columns % 2:
            raise ValueError(f"max_columns: expected an even number of at least 2, found {max_columns}.")
        self._sampling_rate = sampling_rate
        self._low = np.zeros(max_columns, dtype=np.float32)
        self._high = np.zeros(max_columns, dtype=np.float32)
        self._width = 1  # samples in a column
        self.num_samples = 0

    def add(self, block: NDArray[np.float32]) -> None:
        """Take in the next samples.

        Args:
            block: Waveform (samples,), any number.
        """
        rest = np.asarray(block, dtype=np.float32)
        while rest.size:
            if self.num_samples == len(self._low) * self._width:
                self._join_pairs()
            room = len(self._low) * self._width - self.num_samples
            self._take(rest[:room])
            rest = rest[room:]

    @property
    def minimum(self) -> NDArray[np.float32]:
        """Lowest sample of each column so far (columns,)."""
        return self._low[: self._num_columns].copy()

    @property
    def maximum(self) -> NDArray[np.float32]:
        """Highest sample of each column so far (columns,)."""
        return self._high[: self._num_columns].copy()

    @property
    def seconds_per_column(self) -> float:
        """How much of the recording a column stands for; the last one may be cut short."""
        return self._width / self._sampling_rate

    @property
    def _num_columns(self) -> int:
        return -(-self.num_samples // self._width)

    def _take(self, samples: NDArray[np.float32]) -> None:
        """Take in samples that there is room for."""
        column, filled = divmod(self.num_samples, self._width)
        self.num_samples += samples.size
        if filled:
            head, samples = np.split(samples, [min(self._width - filled, samples.size)])
            self._low[column] = min(self._low[column], head.min())
            self._high[column] = max(self._high[column], head.max())
            column += 1
        whole = samples.size // self._width
        table = samples[: whole * self._width].reshape(whole, self._width)
        self._low[column : column + whole] = table.min(axis=1)
        self._high[column : column + whole] = table.max(axis=1)
        tail = samples[whole * self._width :]
        if tail.size:
            self._low[column + whole], self._high[column + whole] = tail.min(), tail.max()

    def _join_pairs(self) -> None:
        """Let every column stand for twice as much."""
        half = len(self._low) // 2
        self._low[:half] = np.minimum(self._low[0::2], self._low[1::2])
        self._high[:half] = np.maximum(self._high[0::2], self._high[1::2])
        self._width *= 2
