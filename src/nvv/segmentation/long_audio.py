"""Recordings of any length, block by block: mono at 16 kHz, sample for sample what decoding the whole file gives.

Only one block, and as many samples around it as the resampling filter reaches, are in memory. Opening, decoding and
the checks for damage are ``nvv.audio``'s; windows are cut in the neighbour `windows`. Own work.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from ..audio import SAMPLING_RATE, filter_geometry, mono_blocks, resample
from ..data.batches import prefetched

__all__ = ["BlockResampler", "decode_blocks", "decode_blocks_ahead"]

BLOCK_SECONDS = 10.0


def decode_blocks(
    path: str | os.PathLike[str],
    *,
    block_seconds: float = BLOCK_SECONDS,
    sampling_rate: int = SAMPLING_RATE,
    name: str | None = None,
) -> Iterator[NDArray[np.float32]]:
    """Decode a recording of any length in constant memory.

    Args:
        path: any file that libsndfile reads.
        block_seconds: seconds decoded at a time, > 0; no bearing on the samples.
        sampling_rate: rate of the blocks in Hz, > 0.
        name: what to call the recording in errors; by default its path.

    Yields:
        Blocks (samples,), none of them empty, whose samples put together are those of `nvv.audio.decode_audio`, up to
        the rounding of float32. (Of more than 2**24 samples, 17 minutes, torchaudio computes the number of samples in
        float32, so that the whole recording may be a few samples shorter or longer at its end than these blocks.)

    Raises:
        nvv.audio.AudioError: as `nvv.audio.decode_audio`, as soon as the damage is seen: a FLAC or MP3 file shows only
            at its end that it was cut off.
        ValueError: if `block_seconds` is not positive.

    Example:
        >>> seconds = sum(map(len, decode_blocks("interview.flac"))) / 16_000  # doctest: +SKIP
    """
    name = name or os.fspath(path)
    resampler: BlockResampler | None = None
    for samples, source_rate in mono_blocks(path, block_seconds=block_seconds, name=name):
        resampler = resampler or BlockResampler(source_rate, sampling_rate, name=name)
        block = resampler.push(samples)
        if len(block):
            yield block
    if resampler is not None and len(block := resampler.finish()):
        yield block


def decode_blocks_ahead(
    path: str | os.PathLike[str], *, block_seconds: float = BLOCK_SECONDS, name: str | None = None
) -> Iterator[NDArray[np.float32]]:
    """Decode as `decode_blocks`, in a thread that is at most two blocks ahead.

    Args:
        path: as in `decode_blocks`.
        block_seconds: as in `decode_blocks`.
        name: as in `decode_blocks`.

    Yields:
        As `decode_blocks`.

    Raises:
        nvv.audio.AudioError: as `decode_blocks`.
    """
    with (
        closing(decode_blocks(path, block_seconds=block_seconds, name=name)) as blocks,
        # One thread, so that blocks are asked for one after another; after the last one comes None.
        closing(prefetched(itertools.count(), lambda _: next(blocks, None), num_workers=1)) as ahead,
    ):
        yield from itertools.takewhile(lambda block: block is not None, ahead)


class BlockResampler:
    """Resampling of a waveform that comes in blocks, equal to resampling all of it.

    Each block is resampled together with what the filter reaches of its neighbours, starting at a whole step of the
    filter so that its phases stay where they are; what the edges spoil is cut off.

    Args:
        source_sampling_rate: Hz, > 0.
        sampling_rate: of the result in Hz, > 0.
        name: what to call the recording in errors.

    Raises:
        nvv.audio.AudioError: for a rate that is not positive, or two that share so small a factor that the filter would
            not fit.

    Example:
        >>> resampler = BlockResampler(48_000, 16_000)
        >>> blocks = [resampler.push(np.zeros(5_000, np.float32)), resampler.finish()]
        >>> sum(map(len, blocks))  # 5000 / 3, rounded up
        1667
    """

    def __init__(self, source_sampling_rate: int, sampling_rate: int = SAMPLING_RATE, *, name: str = "<array>") -> None:
        resample(np.zeros(1, np.float32), source_sampling_rate, sampling_rate=sampling_rate, name=name)  # checks
        self._rates = {"source_sampling_rate": source_sampling_rate, "sampling_rate": sampling_rate}
        self._phases, self._step, width = filter_geometry(source_sampling_rate, sampling_rate)
        self._reach = -(-width // self._step)  # in steps
        self._kept = np.zeros(0, np.float32)
        self._steps_before = 0  # of what is kept, those that were resampled already and are a neighbour only

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Resample as far as the samples allow.

        Args:
            samples: the next samples (samples,), any number.

        Returns:
            The next samples of the result (samples,), possibly none.
        """
        if self._phases == self._step:
            return samples
        self._kept = np.concatenate([self._kept, samples]) if len(self._kept) else samples
        steps_ready = len(self._kept) // self._step - self._reach
        if steps_ready <= self._steps_before:
            return np.zeros(0, np.float32)
        resampled = resample(self._kept, **self._rates)[self._steps_before * self._phases : steps_ready * self._phases]
        first_kept = max(0, steps_ready - self._reach)
        self._kept = self._kept[first_kept * self._step :]
        self._steps_before = steps_ready - first_kept
        return resampled

    def finish(self) -> NDArray[np.float32]:
        """Resample what is left, as if silence followed.

        Returns:
            The last samples of the result (samples,), possibly none.
        """
        if not len(self._kept):
            return self._kept
        rest = resample(self._kept, **self._rates)[self._steps_before * self._phases :]
        self._kept = self._kept[:0]
        return rest
