"""Recordings to try a page with: computed sounds, which say nothing about people. Own work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..audio import SAMPLING_RATE, encode_wav
from ..data.synthesis import VOCALIZATIONS, synthesize

__all__ = ["Example", "write_examples"]

_VOICE = 31  # beyond those that the computed corpus trains on
_LONG_SECONDS = 40.0


@dataclass(frozen=True, kw_only=True)
class Example:
    """A recording to try a page with.

    Attributes:
        title: what the page calls it.
        path: the file.
    """

    title: str
    path: Path


def write_examples(folder: Path) -> list[Example]:
    """Write the recordings.

    Args:
        folder: where to, made if missing.

    Returns:
        A laugh, a cough, and a long recording with many sounds, each followed by silence.
    """
    folder.mkdir(parents=True, exist_ok=True)
    waveforms = {
        "laugh": synthesize("laugh", _VOICE),
        "cough": synthesize("cough", _VOICE),
        "recording of 40 s": _long_recording(),
    }
    examples = []
    for title, waveform in waveforms.items():
        path = folder / f"computed_{title.replace(' ', '_')}.wav"
        path.write_bytes(encode_wav(waveform))
        examples.append(Example(title=title, path=path))
    return examples


def _long_recording() -> np.ndarray:
    """Return one sound of each kind, five seconds apart, with nothing between them (samples,)."""
    recording = np.zeros(round(_LONG_SECONDS * SAMPLING_RATE), dtype=np.float32)
    for number, vocalization in enumerate(VOCALIZATIONS):
        start = round((5 * number + 0.5) * SAMPLING_RATE)
        sound = synthesize(vocalization, _VOICE + number % 2, take=1)
        recording[start : start + len(sound)] = sound
    return recording
