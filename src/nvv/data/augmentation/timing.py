"""Changes of time: silence before or after a clip, and speed.

Both change a clip's length; whoever calls them crops. Waveforms are float32 mono at 16 kHz (samples,). Own work on
torchaudio's resampling.
"""

from __future__ import annotations

import numpy as np

from ...audio import SAMPLING_RATE, resample
from .checks import checked_number, checked_waveform

__all__ = ["MAX_SHIFT_SECONDS", "SPEED_RANGE", "change_speed", "shift"]

MAX_SHIFT_SECONDS = 30.0
SPEED_RANGE = (0.5, 2.0)
_SPEED_STEPS = 100


def shift(waveform: np.ndarray, *, seconds: float) -> np.ndarray:
    """Put silence before a clip, or after it; nothing of the clip is lost.

    Args:
        waveform: the clip (samples,).
        seconds: silence before the clip; below 0, after it. In [-30, 30].

    Returns:
        The longer clip (samples + round(abs(seconds) · 16000),).

    Raises:
        AugmentationError: for a time out of range, or no usable waveform.

    Example:
        >>> shift(np.ones(1, dtype=np.float32), seconds=1 / 16_000)
        array([0., 1.], dtype=float32)
    """
    seconds = checked_number("seconds", seconds, low=-MAX_SHIFT_SECONDS, high=MAX_SHIFT_SECONDS)
    silence = round(abs(seconds) * SAMPLING_RATE)
    return np.pad(checked_waveform(waveform), (silence, 0) if seconds > 0 else (0, silence))


def change_speed(waveform: np.ndarray, *, factor: float) -> np.ndarray:
    """Play a clip faster or slower, pitch and formants moving with it (sox's and torchaudio's `speed`).

    Args:
        waveform: the clip (samples,).
        factor: in [0.5, 2], rounded to hundredths, for which resampling has short filters; above 1 is faster.

    Returns:
        The clip (ceil(samples / factor),).

    Raises:
        AugmentationError: for a factor out of range, or no usable waveform.
    """
    clip = checked_waveform(waveform)
    hundredths = round(checked_number("factor", factor, low=SPEED_RANGE[0], high=SPEED_RANGE[1]) * _SPEED_STEPS)
    changed = resample(clip, hundredths, sampling_rate=_SPEED_STEPS)
    return changed.copy() if changed is clip else changed
