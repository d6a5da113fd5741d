"""Additive noise at an exact signal-to-noise ratio: coloured noise, and babble made of other clips.

The ratio is that of the clip's own mean power over its whole length to the noise's, as in `torchaudio.functional
.add_noise`, in dB. A silent clip has no power that a ratio could refer to: it comes back unchanged. Sums may leave ±1;
nothing is clipped. Waveforms are float32 mono at 16 kHz (samples,). Own work.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import fft

from ...audio import SAMPLING_RATE
from .checks import AugmentationError, checked_number, checked_waveform, mean_power

__all__ = ["NOISE_COLORS", "add_babble", "add_noise"]

NOISE_COLORS = {"white": 0.0, "pink": -1.0, "brown": -2.0}
"""By colour: the power of the frequency that the power spectral density follows."""

_FLAT_BELOW_HZ = 20.0
"""Pink and brown noise would put most of their power into rumble that nobody hears; below this they are flat."""


def add_noise(
    waveform: np.ndarray, *, snr_db: float, generator: np.random.Generator, color: str = "white"
) -> np.ndarray:
    """Add Gaussian noise.

    Args:
        waveform: the clip (samples,).
        snr_db: the clip's mean power over the noise's, in dB.
        generator: source of the noise.
        color: `white`, `pink` (power density falls by 3 dB an octave) or `brown` (6 dB), both above 20 Hz.

    Returns:
        The noisy clip (samples,); a silent clip as it is.

    Raises:
        AugmentationError: for an unknown colour, a ratio that is no finite number, or no usable waveform.

    Example:
        >>> generator = np.random.default_rng(0)
        >>> add_noise(np.ones(4, dtype=np.float32), snr_db=20, generator=generator).shape
        (4,)
    """
    clip = checked_waveform(waveform)
    snr_db = checked_number("snr_db", snr_db)
    if color not in NOISE_COLORS:
        raise AugmentationError(f"color: expected one of {', '.join(NOISE_COLORS)}; found {color!r}.")
    exponent = NOISE_COLORS[color]
    # Coloured noise is a little longer at first: some lengths take the FFT ten times as long as their neighbours.
    num_samples = fft.next_fast_len(len(clip), real=True) if exponent else len(clip)
    noise = generator.standard_normal(num_samples)
    if exponent:
        frequencies = np.maximum(fft.rfftfreq(num_samples, 1 / SAMPLING_RATE), _FLAT_BELOW_HZ)
        noise = fft.irfft(fft.rfft(noise) * frequencies ** (exponent / 2), num_samples)
    return _at_ratio(clip, noise[: len(clip)], snr_db=snr_db)


def add_babble(
    waveform: np.ndarray, *, snr_db: float, others: Sequence[np.ndarray], generator: np.random.Generator
) -> np.ndarray:
    """Add other clips sounding together.

    Each one starts at a random place, is repeated to the clip's length and scaled to the same mean power as the others;
    stretches that are silent are left out.

    Args:
        waveform: the clip (samples,).
        snr_db: the clip's mean power over that of the sum of all others, in dB.
        others: the clips that make the babble, at least one; which they are is the caller's choice.
        generator: source of their starting places.

    Returns:
        The clip with babble (samples,); unchanged where it, or everything added, is silent.

    Raises:
        AugmentationError: for no other clips, a ratio that is no finite number, or no usable waveform.
    """
    clip = checked_waveform(waveform)
    snr_db = checked_number("snr_db", snr_db)
    if len(others) == 0:
        raise AugmentationError("others: babble needs at least one other clip, found none.")
    babble = np.zeros(len(clip))
    for other in others:
        voice = checked_waveform(other, name="others")
        start = int(generator.integers(len(voice)))
        piece = np.resize(np.roll(voice, -start) if len(voice) < start + len(clip) else voice[start:], len(clip))
        power = mean_power(piece)
        if power > 0:
            babble += piece / np.sqrt(power)
    return _at_ratio(clip, babble, snr_db=snr_db)


def _at_ratio(clip: np.ndarray, noise: np.ndarray, *, snr_db: float) -> np.ndarray:
    """Add noise (samples,) at a ratio of mean powers."""
    signal_power, noise_power = mean_power(clip), mean_power(noise)
    if signal_power == 0 or noise_power == 0:
        return clip.copy()
    scale = np.sqrt(signal_power / noise_power) * 10 ** (-snr_db / 20)
    return (clip + scale * noise).astype(np.float32)
