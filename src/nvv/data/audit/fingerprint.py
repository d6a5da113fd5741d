"""Fingerprints of clips: one 32-bit word for every 16 ms, alike for the same recording however it was stored.

A clip is resampled to 8 kHz, and the log energies of sixteen mel bands between 250 and 3,500 Hz become a picture of
time and frequency. Around each frame a patch of 256 ms is described by 32 low-order cosine coefficients, all of which
change over time; a word holds their signs. Gain cancels in the logarithm, steady colouring (a microphone, a codec's
low-pass) has no part in coefficients that change over time, and 8 kHz suffice. Finding words that agree is the job of
the neighbour ``index``, deciding whether two clips are one recording that of ``duplicates``.

Times are in frames of `HOP_SECONDS`; a word is a uint32 whose lowest bits are the coarsest coefficients. Audio is not
kept.

Source: signs of differences of band energies over time and frequency as sub-fingerprints (Haitsma and Kalker, A Highly
Robust Audio Fingerprinting System, ISMIR 2002), the weakest bits tried both ways when looking up (the same, section
4.3); a smooth patch of the picture for each time, so that frames need not coincide (Baluja and Covell, Waveprint,
Pattern Recognition 41, 2008). The cosine patch with a local floor is own work.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage, signal

__all__ = [
    "FINGERPRINT_RATE",
    "HOP_SECONDS",
    "KEY_BITS",
    "NUM_BITS",
    "WEAK_BITS",
    "Fingerprint",
    "fingerprint",
    "to_8khz",
]

FINGERPRINT_RATE = 8_000
"""Rate in Hz at which clips are compared."""

NUM_BITS = 32
"""Bits of a word."""

KEY_BITS = 22
"""Lowest bits of a word, by which it is looked up."""

WEAK_BITS = 4
"""Bits of a key that are closest to turning, by number."""

_WINDOW = 256  # samples, 32 ms
_HOP = 128  # samples, 16 ms
_PATCH = 16  # frames, 256 ms
_NUM_BANDS = 16
_LOWEST_HZ, _HIGHEST_HZ = 250.0, 3_500.0
_TIME_ORDERS, _BAND_ORDERS = range(1, 7), range(6)
_LOCAL_FLOOR = 10**-4.5  # 45 dB below the loudest band of the patch: what lies lower is changed by codecs
_ACTIVE_POWER = 1e-6  # 60 dB below the loudest frame: the room around a click tells two clicks apart

HOP_SECONDS = _HOP / FINGERPRINT_RATE
"""Distance of two words in seconds."""

# Coarse patterns first: they bear noise best, so the lookup uses them.
_ORDERS = sorted(
    ((time, band) for time in _TIME_ORDERS for band in _BAND_ORDERS), key=lambda order: (sum(order), order)
)[:NUM_BITS]


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What is kept of a clip, from its first to its last frame that is not silent.

    Attributes:
        words: uint32 (frames,).
        weak: uint8 (frames, `WEAK_BITS`): the bits of each word's key that are closest to turning, the closest first.
        active: bool (frames,): the frame is at most 60 dB below the clip's loudest.
        start: Frame of the clip at which ``words`` begins.
    """

    words: np.ndarray
    weak: np.ndarray
    active: np.ndarray
    start: int

    @property
    def num_active(self) -> int:
        """Frames that are not silent."""
        return int(np.count_nonzero(self.active))


def to_8khz(waveform: np.ndarray, sampling_rate: int) -> np.ndarray:
    """Resample a waveform to `FINGERPRINT_RATE`.

    Args:
        waveform: Float array of shape ``(samples,)``.
        sampling_rate: Its rate in Hz, > 0.

    Returns:
        Float32 array of shape ``(samples,)``.
    """
    if sampling_rate == FINGERPRINT_RATE:
        return np.asarray(waveform, dtype=np.float32)
    divisor = math.gcd(sampling_rate, FINGERPRINT_RATE)
    resampled = signal.resample_poly(waveform, FINGERPRINT_RATE // divisor, sampling_rate // divisor)
    return resampled.astype(np.float32)


def fingerprint(waveform: np.ndarray) -> Fingerprint | None:
    """Compute a clip's fingerprint.

    Args:
        waveform: Float array of shape ``(samples,)`` at `FINGERPRINT_RATE`, any gain.

    Returns:
        The fingerprint; None for a clip without sound between 250 and 3,500 Hz.

    Example:
        >>> noise = np.random.default_rng(0).standard_normal(8_000)
        >>> bool((fingerprint(noise).words == fingerprint(0.1 * noise).words).all())
        True
    """
    energies = _band_energies(waveform)
    frame_energies = energies.sum(axis=1)
    loudest = frame_energies.max()
    if not loudest > 0:
        return None
    active = frame_energies > _ACTIVE_POWER * loudest
    first, last = np.flatnonzero(active)[[0, -1]]
    kept = slice(first, last + 1)
    coefficients = _coefficients(energies / loudest)[kept]
    words = np.zeros(len(coefficients), dtype=np.uint32)
    for bit in range(NUM_BITS):
        words |= (coefficients[:, bit] > 0).astype(np.uint32) << np.uint32(bit)
    weak = np.argpartition(np.abs(coefficients[:, :KEY_BITS]), WEAK_BITS, axis=1)[:, :WEAK_BITS]
    return Fingerprint(words=words, weak=weak.astype(np.uint8), active=active[kept], start=int(first))


def _band_energies(waveform: np.ndarray) -> np.ndarray:
    """Energies in mel bands, shape (frames, bands)."""
    padded = np.pad(np.asarray(waveform, dtype=np.float32), _WINDOW)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP]  # (frames, samples)
    window, bank = _window_and_bank()
    return np.abs(fft.rfft(frames * window, axis=1)) ** 2 @ bank


def _coefficients(energies: np.ndarray) -> np.ndarray:
    """Cosine coefficients of the patch around each frame, shape (frames, bits)."""
    loudest_nearby = ndimage.maximum_filter1d(energies.max(axis=1), _PATCH + 1)
    levels = np.log(energies + (_LOCAL_FLOOR * loudest_nearby + 1e-12)[:, None])
    over_bands = fft.dct(levels, axis=1, norm="ortho")[:, : len(_BAND_ORDERS)]  # (frames, band orders)
    padded = np.pad(over_bands, ((_PATCH // 2, _PATCH // 2 - 1), (0, 0)), mode="edge")
    patches = np.lib.stride_tricks.sliding_window_view(padded, _PATCH, axis=0)  # (frames, band orders, patch)
    coefficients = patches @ _time_patterns().T  # (frames, band orders, time orders)
    times, bands = np.array(_ORDERS).T
    return coefficients[:, bands, times - _TIME_ORDERS.start]


@functools.cache
def _window_and_bank() -> tuple[np.ndarray, np.ndarray]:
    """Hann window (samples,) and triangular mel filters (bins, bands)."""
    edges_mel = np.linspace(*(2595 * np.log10(1 + hertz / 700) for hertz in (_LOWEST_HZ, _HIGHEST_HZ)), _NUM_BANDS + 2)
    edges = 700 * (10 ** (edges_mel / 2595) - 1)
    bins = np.fft.rfftfreq(_WINDOW, 1 / FINGERPRINT_RATE)[:, None]
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    bank = np.clip(np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)), 0, None)
    return signal.get_window("hann", _WINDOW).astype(np.float32), bank.astype(np.float32)


@functools.cache
def _time_patterns() -> np.ndarray:
    """Windowed cosines over a patch, without their mean and of length one, shape (time orders, patch)."""
    taper = np.hanning(_PATCH + 2)[1:-1]
    phase = np.pi * (np.arange(_PATCH) + 0.5) / _PATCH
    patterns = np.stack([taper * np.cos(order * phase) for order in _TIME_ORDERS])
    # Without this, the mean level would decide the signs.
    patterns -= np.outer(patterns.sum(axis=1) / taper.sum(), taper)
    return patterns / np.linalg.norm(patterns, axis=1, keepdims=True)
