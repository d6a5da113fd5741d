"""Whether two clips are one recording: fingerprints compared frame by frame, then waveforms.

Candidates come from the neighbour ``index``. Two measures must agree before a pair counts as near-duplicate:

1. the bit error rate of the two fingerprints over the sounding frames that they share at the best lag, at least half of
   those of the clip that has fewer;
2. the normalised cross-correlation of the two waveforms there, at 8 kHz, from 300 to 3,400 Hz, after the level has been
   evened out (each sample divided by the root mean square of the 30 ms around it and a floor 50 dB below the loudest).
   Evened out, a click that sounds like another click is outweighed by the quiet around it, which no two recordings
   share.

Both limits are far from what different recordings reach; ``benchmarks/audit.md`` has the measured distributions.

Source: bit error rate over the best alignment (Haitsma and Kalker, ISMIR 2002); the check by waveform is own work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import fft, ndimage
from tqdm.auto import tqdm

from .fingerprint import FINGERPRINT_RATE, HOP_SECONDS, NUM_BITS, Fingerprint
from .index import find_candidates, popcount

__all__ = [
    "MAX_BIT_ERROR_RATE",
    "MIN_CORRELATION",
    "NearDuplicate",
    "bit_error_rate",
    "correlation",
    "find_near_duplicates",
]

MAX_BIT_ERROR_RATE = 0.32
"""Largest share of differing bits of two fingerprints of one recording; 0.5 is chance."""

MIN_CORRELATION = 0.7
"""Smallest correlation of two copies of one recording."""

_MIN_SHARED = 0.5  # of the sounding frames of the clip that has fewer
_LAG_TOLERANCE = 1  # frames around a candidate's lag
_HOP = round(HOP_SECONDS * FINGERPRINT_RATE)  # samples
_LOWEST_HZ, _HIGHEST_HZ, _EDGE_HZ = 300.0, 3_400.0, 50.0
_LEVEL_SAMPLES = 240  # 30 ms
_LEVEL_FLOOR = 10**-2.5  # 50 dB below the loudest
_OVERSAMPLING = 4  # copies are seldom a whole number of samples apart
_KEPT_WAVEFORMS = 64


@dataclass(frozen=True, slots=True)
class NearDuplicate:
    """Two clips that hold the same recording.

    Attributes:
        first, second: Numbers of the clips, ``first < second``.
        lag_s: Seconds by which the sound comes later in the second clip.
        bit_error_rate: Share of differing bits, 0 to `MAX_BIT_ERROR_RATE`.
        correlation: Of the waveforms, `MIN_CORRELATION` to 1.
        shared: Sounding frames in common, as a share of those of the clip that has fewer.
    """

    first: int
    second: int
    lag_s: float
    bit_error_rate: float
    correlation: float
    shared: float


def bit_error_rate(first: Fingerprint, second: Fingerprint, *, lag: int) -> tuple[float, float]:
    """Compare two fingerprints at one lag.

    Args:
        first: Of one clip.
        second: Of another.
        lag: Frames by which the sound comes later in the second clip.

    Returns:
        Share of differing bits in the frames in which both sound (1 where there are none), and the number of those
        frames as a share of the sounding frames of the clip that has fewer.
    """
    shift = lag + first.start - second.start  # index in second.words minus index in first.words
    begin, end = max(0, -shift), min(len(first.words), len(second.words) - shift)
    if end <= begin:
        return 1.0, 0.0
    here, there = slice(begin, end), slice(begin + shift, end + shift)
    both = first.active[here] & second.active[there]
    num_shared = int(np.count_nonzero(both))
    if not num_shared:
        return 1.0, 0.0
    errors = int(popcount((first.words[here] ^ second.words[there])[both]).sum(dtype=np.int64))
    return errors / (NUM_BITS * num_shared), num_shared / min(first.num_active, second.num_active)


def correlation(first: np.ndarray, second: np.ndarray, *, lag: int) -> float:
    """Correlate two waveforms near a lag.

    Args:
        first: Waveform of one clip (samples,), as `even_out` returns it.
        second: That of another.
        lag: Frames by which the sound comes later in the second clip.

    Returns:
        The largest absolute normalised cross-correlation within two frames of the lag, over the samples that the clips
        share at the lag, 0 to 1.
    """
    shift = lag * _HOP
    begin, end = max(0, -shift), min(len(first), len(second) - shift)
    if end - begin < _HOP:
        return 0.0
    here, there = first[begin:end], second[begin + shift : end + shift]
    energy = float(np.sqrt(np.dot(here, here) * np.dot(there, there)))
    if energy == 0:
        return 0.0
    reach = (_LAG_TOLERANCE + 1) * _HOP
    size = fft.next_fast_len(len(here) + 2 * reach, real=True)
    product = fft.rfft(there, size) * np.conj(fft.rfft(here, size))
    fine = np.zeros(_OVERSAMPLING * size // 2 + 1, dtype=product.dtype)
    fine[: len(product)] = product
    correlated = np.abs(fft.irfft(fine, _OVERSAMPLING * size)) * _OVERSAMPLING
    reach *= _OVERSAMPLING
    return min(1.0, float(max(correlated[: reach + 1].max(), correlated[-reach:].max())) / energy)


def even_out(waveform: np.ndarray) -> np.ndarray:
    """Prepare a waveform for `correlation`: keep 300 to 3,400 Hz and even out the level.

    Args:
        waveform: Float array of shape ``(samples,)`` at 8 kHz.

    Returns:
        Float32 array of shape ``(samples,)``; zeros where the clip has no sound in that band.
    """
    size = fft.next_fast_len(len(waveform) + 2 * _LEVEL_SAMPLES, real=True)
    spectrum = fft.rfft(waveform, size)
    frequency_hz = np.linspace(0, FINGERPRINT_RATE / 2, len(spectrum))
    rise = np.clip((frequency_hz - _LOWEST_HZ) / _EDGE_HZ, 0, 1)
    fall = np.clip((_HIGHEST_HZ - frequency_hz) / _EDGE_HZ, 0, 1)
    # High frequencies are weak in voices but tell recordings apart: +3 dB an octave.
    emphasis = np.sqrt(np.maximum(frequency_hz, _LOWEST_HZ))
    band = fft.irfft(spectrum * rise * fall * emphasis, size)[: len(waveform)]
    level = np.sqrt(np.maximum(ndimage.uniform_filter1d(band**2, _LEVEL_SAMPLES, mode="constant"), 0))
    floor = _LEVEL_FLOOR * level.max()
    return (band / (level + floor)).astype(np.float32) if floor > 0 else np.zeros(len(waveform), dtype=np.float32)


def find_near_duplicates(
    fingerprints: Sequence[Fingerprint | None],
    read_waveform: Callable[[int], np.ndarray],
    *,
    show_progress: bool = False,
) -> list[NearDuplicate]:
    """Find all pairs of clips that hold the same recording.

    Args:
        fingerprints: Of each clip, None for a clip without sound.
        read_waveform: Decodes the clip of a number at 8 kHz (samples,); called for candidates only.
        show_progress: Draw progress bars.

    Returns:
        One entry a pair, sorted by the clips' numbers.
    """
    candidates = find_candidates(fingerprints, show_progress=show_progress)
    aligned = _best_alignments(candidates, fingerprints)

    @lru_cache(maxsize=_KEPT_WAVEFORMS)
    def prepared(number: int) -> np.ndarray:
        return even_out(read_waveform(number))

    found = []
    for (first, second), (errors, shared, lag) in tqdm(
        aligned.items(), desc="Checking pairs", unit="pair", disable=not show_progress
    ):
        agreement = correlation(prepared(first), prepared(second), lag=lag)
        if agreement >= MIN_CORRELATION:
            found.append(
                NearDuplicate(
                    first=first,
                    second=second,
                    lag_s=lag * HOP_SECONDS,
                    bit_error_rate=errors,
                    correlation=agreement,
                    shared=shared,
                )
            )
    return found


def _best_alignments(
    candidates: np.ndarray, fingerprints: Sequence[Fingerprint | None]
) -> dict[tuple[int, int], tuple[float, float, int]]:
    """Give each pair that passes the first measure its smallest bit error rate, the shared frames, and the lag."""
    best = {}
    for row in candidates:
        first, second, found_lag = map(int, row)
        lags = range(found_lag - _LAG_TOLERANCE, found_lag + _LAG_TOLERANCE + 1)
        scores = [(*bit_error_rate(fingerprints[first], fingerprints[second], lag=lag), lag) for lag in lags]
        scores = [score for score in scores if score[0] <= MAX_BIT_ERROR_RATE and score[1] >= _MIN_SHARED]
        if scores:
            best[first, second] = min(scores)
    return best
