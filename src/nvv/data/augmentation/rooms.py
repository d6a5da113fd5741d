"""Simulated room reverberation: the direct sound and an exponentially decaying tail of noise.

The statistical model of a room's late response (Polack 1988; Moorer, Computer Music Journal 3(2), 1979): Gaussian
noise whose level falls by 60 dB in the reverberation time RT60. The tail's energy follows from diffuse-field theory
(Kuttruff, Room Acoustics, chapter 5): direct and reverberant sound are equal at the critical distance
0.1 · sqrt(V / (π · RT60)) metres of an omnidirectional source, here in a room of 100 m³ one metre away: a ratio of
0.3 dB at an RT60 of 0.3 s, -5.0 dB at 1 s. No single early reflections, and the same decay at all frequencies. Own
work.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import signal

from ...audio import SAMPLING_RATE
from .checks import checked_number, checked_waveform, mean_power

__all__ = ["MAX_RT60_SECONDS", "MIN_RT60_SECONDS", "reverberate", "room_response"]

MIN_RT60_SECONDS = 0.01
MAX_RT60_SECONDS = 10.0
_ROOM_VOLUME_M3 = 100.0
_DISTANCE_M = 1.0


def reverberate(waveform: np.ndarray, *, rt60_seconds: float, generator: np.random.Generator) -> np.ndarray:
    """Let a clip sound in a room.

    Args:
        waveform: the clip (samples,).
        rt60_seconds: time in which the reverberation falls by 60 dB, in [0.01, 10].
        generator: source of the room's response.

    Returns:
        The reverberant clip (samples,): the direct sound stands where it stood, what rings on after the clip's end is
        cut, and the mean power is the clip's own, so that reverberation is not mixed up with loudness.

    Raises:
        AugmentationError: for a time out of range, or no usable waveform.
    """
    clip = checked_waveform(waveform)
    response = room_response(rt60_seconds=rt60_seconds, max_samples=len(clip), generator=generator)
    wet = signal.oaconvolve(clip.astype(np.float64), response)[: len(clip)]
    power = mean_power(wet)
    if power > 0:
        wet *= math.sqrt(mean_power(clip) / power)
    return wet.astype(np.float32)


def room_response(*, rt60_seconds: float, max_samples: int, generator: np.random.Generator) -> np.ndarray:
    """Draw a room's impulse response.

    Args:
        rt60_seconds: as in `reverberate`.
        max_samples: cut it to this, > 0.
        generator: source of the tail.

    Returns:
        float64 response (at most RT60 long,); the direct sound is its first sample and 1.

    Raises:
        AugmentationError: for a time out of range.
    """
    rt60_seconds = checked_number("rt60_seconds", rt60_seconds, low=MIN_RT60_SECONDS, high=MAX_RT60_SECONDS)
    decay_samples = rt60_seconds * SAMPLING_RATE
    delays = np.arange(1, min(max_samples, math.ceil(decay_samples)))
    tail = generator.standard_normal(len(delays)) * 10 ** (-3.0 * delays / decay_samples)
    # Energy of the whole tail, expected: the geometric series of 10^(-6 · delay / decay_samples).
    ratio = 10 ** (-6.0 / decay_samples)
    expected = ratio / (1 - ratio)
    critical_distance = 0.1 * math.sqrt(_ROOM_VOLUME_M3 / (math.pi * rt60_seconds))
    wanted = (_DISTANCE_M / critical_distance) ** 2
    return np.concatenate([[1.0], tail * math.sqrt(wanted / expected)])
