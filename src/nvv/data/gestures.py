"""What a voice does over time when it laughs, sighs, screams, coughs, cries, moans, hums or gasps.

A gesture is a set of contours sampled at 16 kHz; ``nvv.data.synthesis`` turns it into sound. Own work: the ranges are
guesses that make the classes tell-able and overlapping, not measurements.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..audio import SAMPLING_RATE

__all__ = ["GESTURES", "MAX_SECONDS", "MIN_SECONDS", "Gesture", "Voice"]

MIN_SECONDS, MAX_SECONDS = 0.4, 4.0


@dataclass(frozen=True, kw_only=True)
class Voice:
    """An invented voice and where it was recorded.

    Attributes:
        vocal_tract_cm: Length of the vocal tract, about 13 to 17.5 cm.
        f0_hz: Pitch at rest, 85 to 360 Hz.
        breathiness: Share of breath in voiced sound, 0 to 1.
        tempo: How fast its gestures follow each other, about 1.
        jitter: Relative irregularity of its periods.
        shimmer: Relative irregularity of their amplitudes.
        tilt_db_per_octave: Slope of its microphone.
        room_snr_db: How far the room's noise lies below the voice.
    """

    vocal_tract_cm: float
    f0_hz: float
    breathiness: float
    tempo: float
    jitter: float
    shimmer: float
    tilt_db_per_octave: float
    room_snr_db: float


@dataclass(kw_only=True)
class Gesture:
    """Contours of one performance; arrays have shape (samples,).

    Attributes:
        f0_hz: Pitch.
        voicing: Amplitude of the glottal pulses, 0 to about 1.
        noise: Amplitude of the breath, 0 to about 1.
        openness: Jaw, 0 closed to 1 open (first formant).
        frontness: Tongue, 0 back to 1 front (second formant).
        roughness: Harshness of the voice, 0 to 1.
        nasality: Lips closed and sound through the nose, 0 to 1.
    """

    f0_hz: np.ndarray
    voicing: np.ndarray
    noise: np.ndarray
    openness: np.ndarray
    frontness: np.ndarray
    roughness: float = 0.0
    nasality: float = 0.0


def _blank(seconds: float, *, f0_hz: float, openness: float, frontness: float) -> Gesture:
    num_samples = round(float(np.clip(seconds, 0.25, MAX_SECONDS)) * SAMPLING_RATE)
    return Gesture(
        f0_hz=np.full(num_samples, f0_hz),
        voicing=np.zeros(num_samples),
        noise=np.zeros(num_samples),
        openness=np.full(num_samples, openness),
        frontness=np.full(num_samples, frontness),
    )


def _bump(num_samples: int, start_s: float, length_s: float, *, attack: float = 0.2) -> np.ndarray:
    """A smooth pulse of height 1 that rises in the given share of its length, shape (samples,)."""
    position = (np.arange(num_samples) / SAMPLING_RATE - start_s) / length_s
    inside = (position > 0) & (position < 1)
    warped = np.where(position < attack, 0.5 * position / attack, 0.5 + 0.5 * (position - attack) / (1.0 - attack))
    return np.where(inside, np.sin(np.pi * np.clip(warped, 0.0, 1.0)) ** 1.5, 0.0)


def _glide(num_samples: int, *levels: float) -> np.ndarray:
    """A contour through equally spaced levels, shape (samples,)."""
    return np.interp(np.linspace(0.0, 1.0, num_samples), np.linspace(0.0, 1.0, len(levels)), levels)


def _wobble(num_samples: int, rate_hz: float, depth: float, rng: np.random.Generator) -> np.ndarray:
    """Vibrato: a factor about 1, shape (samples,)."""
    time_s = np.arange(num_samples) / SAMPLING_RATE
    return 1.0 + depth * np.sin(2 * np.pi * (rate_hz * time_s + rng.uniform()))


def _laugh(voice: Voice, rng: np.random.Generator) -> Gesture:
    """Three to eight quick bursts, each a breath and a short vowel, sinking in pitch; sometimes voiceless."""
    number = int(rng.integers(3, 9))
    period_s = rng.uniform(0.15, 0.30) / voice.tempo
    gesture = _blank(
        number * period_s + 0.15,
        f0_hz=voice.f0_hz,
        openness=rng.uniform(0.4, 0.9),
        frontness=rng.uniform(0.3, 0.8),
    )
    num_samples = len(gesture.f0_hz)
    voiced = 1.0 if rng.uniform() < 0.85 else 0.08
    pitch = rng.uniform(1.1, 2.4)
    gesture.f0_hz *= _glide(num_samples, pitch, pitch * rng.uniform(0.6, 1.0))
    for burst in range(number):
        start_s = burst * period_s * rng.uniform(0.95, 1.05)
        level = rng.uniform(0.6, 1.0) * 0.92**burst
        gesture.noise += level * rng.uniform(0.3, 0.9) * _bump(num_samples, start_s, period_s * 0.6)
        gesture.voicing += (
            voiced * level * _bump(num_samples, start_s + 0.2 * period_s, period_s * rng.uniform(0.4, 0.7))
        )
    return gesture


def _sigh(voice: Voice, rng: np.random.Generator) -> Gesture:
    """A breath in, perhaps, then a long one out that dies away; often with some voice."""
    inhale_s = rng.uniform(0.2, 0.6) if rng.uniform() < 0.5 else 0.0
    exhale_s = rng.uniform(0.5, 2.0) / voice.tempo
    gesture = _blank(
        inhale_s + exhale_s, f0_hz=voice.f0_hz, openness=rng.uniform(0.3, 0.8), frontness=rng.uniform(0.2, 0.7)
    )
    num_samples = len(gesture.f0_hz)
    if inhale_s:
        gesture.noise += rng.uniform(0.2, 0.6) * _bump(num_samples, 0.0, inhale_s, attack=0.6)
    exhale = _bump(num_samples, inhale_s, exhale_s, attack=rng.uniform(0.1, 0.3))
    gesture.noise += rng.uniform(0.5, 1.0) * exhale
    if rng.uniform() < 0.5:
        gesture.voicing += rng.uniform(0.15, 0.8) * exhale
        gesture.f0_hz *= _glide(num_samples, rng.uniform(1.0, 1.6), rng.uniform(0.65, 0.9))
    gesture.openness *= _glide(num_samples, 1.1, 0.6)
    return gesture


def _scream(voice: Voice, rng: np.random.Generator) -> Gesture:
    """A high, loud, harsh vowel."""
    gesture = _blank(
        rng.uniform(0.4, 2.2) / voice.tempo,
        f0_hz=min(voice.f0_hz * rng.uniform(2.3, 4.5), 1_500.0),
        openness=rng.uniform(0.7, 1.0),
        frontness=rng.uniform(0.4, 0.9),
    )
    num_samples = len(gesture.f0_hz)
    gesture.f0_hz *= _glide(num_samples, rng.uniform(0.7, 1.0), 1.1, 1.0, rng.uniform(0.6, 1.0))
    gesture.f0_hz *= _wobble(num_samples, rng.uniform(4.0, 9.0), rng.uniform(0.0, 0.05), rng)
    gesture.voicing += _bump(num_samples, 0.0, num_samples / SAMPLING_RATE, attack=rng.uniform(0.1, 0.4)) ** 0.4
    gesture.noise += 0.5 * rng.uniform(0.1, 1.0) * gesture.voicing
    gesture.roughness = rng.uniform(0.2, 1.0)
    return gesture


def _cough(voice: Voice, rng: np.random.Generator) -> Gesture:
    """One to four explosions of noise, each with a short voiced end."""
    number = int(rng.integers(1, 5))
    period_s = rng.uniform(0.22, 0.5) / voice.tempo
    gesture = _blank(
        number * period_s + 0.1,
        f0_hz=voice.f0_hz * rng.uniform(0.9, 1.5),
        openness=rng.uniform(0.4, 0.8),
        frontness=rng.uniform(0.2, 0.7),
    )
    num_samples = len(gesture.f0_hz)
    for burst in range(number):
        start_s = burst * period_s
        gesture.noise += rng.uniform(0.7, 1.0) * _bump(num_samples, start_s, rng.uniform(0.08, 0.22), attack=0.06)
        gesture.voicing += rng.uniform(0.0, 0.7) * _bump(num_samples, start_s + 0.08, rng.uniform(0.08, 0.2))
    gesture.roughness = rng.uniform(0.2, 0.9)
    return gesture


def _cry(voice: Voice, rng: np.random.Generator) -> Gesture:
    """Wails of a trembling voice with breaths in between."""
    number = int(rng.integers(2, 5))
    wail_s = rng.uniform(0.35, 1.1) / voice.tempo
    breath_s = rng.uniform(0.1, 0.35)
    gesture = _blank(
        number * (wail_s + breath_s),
        f0_hz=voice.f0_hz * rng.uniform(1.1, 2.1),
        openness=rng.uniform(0.35, 0.9),
        frontness=rng.uniform(0.3, 0.9),
    )
    num_samples = len(gesture.f0_hz)
    gesture.f0_hz *= _wobble(num_samples, rng.uniform(4.0, 8.0), rng.uniform(0.02, 0.09), rng)
    time_s = np.arange(num_samples) / SAMPLING_RATE
    for wail in range(number):
        start_s = wail * (wail_s + breath_s)
        position = np.clip((time_s - start_s) / wail_s, 0.0, 1.0)
        inside = (time_s >= start_s) & (time_s < start_s + wail_s)
        gesture.f0_hz[inside] *= 0.85 + 0.3 * np.sin(np.pi * position[inside]) - 0.15 * position[inside]
        gesture.voicing += rng.uniform(0.6, 1.0) * _bump(num_samples, start_s, wail_s, attack=0.25)
        gesture.noise += rng.uniform(0.1, 0.8) * _bump(num_samples, start_s + wail_s, breath_s, attack=0.6)
    gesture.roughness = rng.uniform(0.0, 0.4)
    return gesture


def _moan(voice: Voice, rng: np.random.Generator) -> Gesture:
    """A long, low, soft vowel that swells and falls."""
    gesture = _blank(
        rng.uniform(0.6, 2.6) / voice.tempo,
        f0_hz=voice.f0_hz * rng.uniform(0.85, 1.6),
        openness=rng.uniform(0.15, 0.7),
        frontness=rng.uniform(0.0, 0.5),
    )
    num_samples = len(gesture.f0_hz)
    gesture.f0_hz *= _glide(num_samples, rng.uniform(0.85, 1.0), rng.uniform(1.0, 1.25), rng.uniform(0.7, 0.95))
    gesture.voicing += _bump(num_samples, 0.0, num_samples / SAMPLING_RATE, attack=rng.uniform(0.2, 0.6))
    gesture.noise += rng.uniform(0.05, 0.5) * gesture.voicing
    gesture.nasality = rng.uniform(0.0, 0.6)
    gesture.roughness = rng.uniform(0.0, 0.3)
    return gesture


def _hum(voice: Voice, rng: np.random.Generator) -> Gesture:
    """Voice through the nose, steady or in steps like a tune."""
    notes = int(rng.integers(1, 6))
    gesture = _blank(
        notes * rng.uniform(0.25, 0.7) / voice.tempo,
        f0_hz=voice.f0_hz * rng.uniform(0.9, 1.7),
        openness=rng.uniform(0.0, 0.3),
        frontness=rng.uniform(0.0, 0.5),
    )
    num_samples = len(gesture.f0_hz)
    steps = rng.integers(-4, 6, size=notes)  # semitones
    note_of = np.minimum(np.arange(num_samples) * notes // num_samples, notes - 1)
    gesture.f0_hz *= 2.0 ** (steps[note_of] / 12.0)
    gesture.voicing += 0.9 * _bump(num_samples, 0.0, num_samples / SAMPLING_RATE, attack=rng.uniform(0.05, 0.4)) ** 0.5
    gesture.noise += rng.uniform(0.0, 0.2) * gesture.voicing
    gesture.nasality = rng.uniform(0.5, 1.0)
    return gesture


def _gasp(voice: Voice, rng: np.random.Generator) -> Gesture:
    """A sudden breath in, sometimes with a high squeak, sometimes twice."""
    number = 1 if rng.uniform() < 0.7 else 2
    breath_s = rng.uniform(0.2, 0.7) / voice.tempo
    gesture = _blank(
        number * breath_s + rng.uniform(0.1, 0.4),
        f0_hz=voice.f0_hz * rng.uniform(1.3, 2.6),
        openness=rng.uniform(0.4, 0.9),
        frontness=rng.uniform(0.4, 0.9),
    )
    num_samples = len(gesture.f0_hz)
    voiced = rng.uniform(0.1, 0.6) if rng.uniform() < 0.35 else 0.0
    for breath in range(number):
        shape = _bump(num_samples, breath * breath_s * 1.1, breath_s, attack=rng.uniform(0.3, 0.8))
        gesture.noise += rng.uniform(0.6, 1.0) * shape
        gesture.voicing += voiced * shape
    gesture.openness *= _glide(num_samples, 0.7, 1.1)
    return gesture


GESTURES: dict[str, Callable[[Voice, np.random.Generator], Gesture]] = {
    "laugh": _laugh,
    "sigh": _sigh,
    "scream": _scream,
    "cough": _cough,
    "cry": _cry,
    "moan": _moan,
    "hum": _hum,
    "gasp": _gasp,
}
"""How each vocalization is performed, in canonical order."""
