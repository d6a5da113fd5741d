"""How loud a recording is over time, and where a sound begins and stops.

Levels are of frames of 20 ms, without what is constant in them, in dB below full scale; they are measured as the blocks
of a recording pass. Own work.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_opening

__all__ = ["FRAME_SECONDS", "LevelMeter", "level_dbfs", "move_ends_to_sound"]

FRAME_SECONDS = 0.02
LOWEST_DBFS = -120.0
"""Level of digital silence, which has none."""

_MIN_RISE_DB = 6.0
_MIN_STEP_DB = 4.0  # what noise rises and falls by itself
_SHARE_OF_RISE = 1 / 7
_BRIDGED_FRAMES = 5  # quiet that is shorter than this, 100 ms, parts no sound
_LOUD_PERCENTILE = 90
_FLOOR_PERCENTILE = 10


class LevelMeter:
    """Measures levels of a waveform that comes in blocks.

    Args:
        sampling_rate: Hz.

    Example:
        >>> meter = LevelMeter(sampling_rate=100)  # frames of two samples
        >>> meter.push(np.array([0.1, -0.1, 0.0], np.float32))
        >>> meter.finish().round(1).tolist()
        [-20.0, -120.0]
    """

    def __init__(self, *, sampling_rate: int) -> None:
        self._frame = max(1, round(FRAME_SECONDS * sampling_rate))
        self._kept = np.zeros(0, np.float32)
        self._levels: list[NDArray[np.float32]] = []

    def push(self, samples: NDArray[np.float32]) -> None:
        """Measure the next samples (samples,)."""
        samples = np.concatenate([self._kept, samples])
        whole = len(samples) // self._frame * self._frame
        self._measure(samples[:whole].reshape(-1, self._frame))
        self._kept = samples[whole:].copy()

    def finish(self) -> NDArray[np.float32]:
        """Return the levels of all frames (frames,) in dB below full scale; the last frame may be shorter."""
        if len(self._kept):
            self._measure(self._kept[None])
            self._kept = self._kept[:0]
        return np.concatenate(self._levels) if self._levels else np.zeros(0, np.float32)

    def _measure(self, frames: NDArray[np.float32]) -> None:
        self._levels.append(_decibels(frames.var(axis=1, dtype=np.float64)))


def level_dbfs(waveform: NDArray[np.float32]) -> float:
    """Return the level of a waveform.

    Args:
        waveform: (samples,).

    Returns:
        Root mean square, without what is constant, in dB below full scale; -120 at least.
    """
    return float(_decibels(np.var(waveform, dtype=np.float64)))


def move_ends_to_sound(
    start_s: float,
    end_s: float,
    levels: NDArray[np.float32],
    *,
    limit_s: float,
    context_s: float,
    earliest_s: float = 0.0,
    latest_s: float = math.inf,
) -> tuple[float, float]:
    """Move the ends of a stretch to where its sound begins and stops.

    Sound is what rises over the quietest of the surroundings, by a seventh of what the loud part of the stretch does,
    in dB. An end in quiet moves inwards to the sound; an end in sound moves outwards to where that sound begins or
    stops, short quiet within it notwithstanding. It stays where it was if there is no such place within the limit, as
    in speech that goes on, and both stay if the stretch is hardly louder than its surroundings.

    Args:
        start_s: where the stretch begins, in seconds.
        end_s: where it ends.
        levels: of the recording's frames (frames,), from a `LevelMeter`.
        limit_s: how far an end is moved at most.
        context_s: how far the surroundings reach on either side.
        earliest_s: where the stretch may begin at the earliest, at most `start_s`.
        latest_s: where it may end at the latest, at least `end_s`.

    Returns:
        The new start and end in seconds, the start before the end.
    """
    begin = _frame_at(start_s - context_s, levels)
    around = levels[begin : _frame_at(end_s + context_s, levels, up=True)]
    first, stop = (at - begin for at in (_frame_at(start_s, levels), _frame_at(end_s, levels, up=True)))
    if first >= stop:
        return start_s, end_s
    floor, loud = np.percentile(around, _FLOOR_PERCENTILE), np.percentile(around[first:stop], _LOUD_PERCENTILE)
    if loud - floor < _MIN_RISE_DB:
        return start_s, end_s
    is_sound = around >= floor + max(_MIN_STEP_DB, _SHARE_OF_RISE * (loud - floor))
    # Short quiet within a sound belongs to it; what is around the surroundings is not known, and taken for sound.
    is_sound = np.pad(is_sound, _BRIDGED_FRAMES, constant_values=True)
    is_sound = ~binary_opening(~is_sound, np.ones(_BRIDGED_FRAMES))[_BRIDGED_FRAMES:-_BRIDGED_FRAMES]
    limit = int(limit_s / FRAME_SECONDS)
    new_start = _moved(is_sound, first, limit=limit)
    # The end is a start of time reversed.
    new_end = _moved(is_sound[::-1], len(around) - stop, limit=limit)
    moved_start_s = start_s if new_start is None else max(_seconds(begin + new_start), earliest_s)
    moved_end_s = end_s if new_end is None else min(_seconds(begin + len(around) - new_end), latest_s)
    return (moved_start_s, moved_end_s) if moved_start_s < moved_end_s else (start_s, end_s)


def _moved(is_sound: NDArray[np.bool_], first: int, *, limit: int) -> int | None:
    """Find the nearest frame at which the sound of a stretch begins that begins at a frame; None if it is too far."""
    if not is_sound[first]:
        sounding = np.flatnonzero(is_sound[first : first + limit + 1])
        return first + int(sounding[0]) if len(sounding) else None
    quiet = np.flatnonzero(~is_sound[max(0, first - limit - 1) : first])
    return max(0, first - limit - 1) + int(quiet[-1]) + 1 if len(quiet) else None


def _frame_at(seconds: float, levels: NDArray[np.float32], *, up: bool = False) -> int:
    """Return the frame of a time, within the recording."""
    frames = seconds / FRAME_SECONDS
    return int(np.clip(np.ceil(frames - 1e-6) if up else np.floor(frames + 1e-6), 0, len(levels)))


def _seconds(frame: int) -> float:
    """Return where a frame begins; rounded, since 0.02 is no binary fraction."""
    return round(frame * FRAME_SECONDS, 6)


def _decibels(power: NDArray[np.float64] | np.float64) -> NDArray[np.float32]:
    return np.maximum(10 * np.log10(np.maximum(power, 1e-30)), LOWEST_DBFS).astype(np.float32)
