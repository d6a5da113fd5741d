"""What is done to clips to see how a model takes it: kinds of corruption, how severe each is, and the corrupted clips.

Sounds are changed by `nvv.data.augmentation`; here it is said which change, how strong, and with which random numbers.
Those depend on the seed, the kind of corruption and the clip's file name and on nothing else, so that every model hears
the same corrupted clips, and a severer corruption of one kind is the same noise, louder. What is corrupted is what the
model hears: clips that it cuts are cut before, and again after. Own work.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..audio import SAMPLING_RATE, crop
from ..data import augmentation
from ..training.arguments import ArgumentsError
from ..training.dataset import ClipDataset

__all__ = [
    "CORRUPTIONS",
    "CorruptedClips",
    "Corruption",
    "Severity",
    "available_corruptions",
    "chosen_severities",
    "severity_in_words",
]

Severity = float | None
"""How strong a corruption is, in the unit of its `axis`; None for one that is there or not."""

Waveform = NDArray[np.float32]

_NUM_VOICES = 4
"""Other clips that babble is made of, where there are as many."""


@dataclass(frozen=True, kw_only=True)
class Corruption:
    """One kind of corruption.

    Args:
        name: as options name it.
        title: in words.
        axis: what its severity is, with the unit; empty for one that is there or not.
        unit: of the severity, for tables.
        severities: from mild to severe; those that are tried unless others are named.
        bounds: lowest and highest severity that there is.
        apply: from waveform (samples,), severity, random numbers and other clips to the corrupted waveform.
        needs_others: whether it is made of other clips of the split.
        codec: what `soundfile` must be able to write; None: nothing.
    """

    name: str
    title: str
    axis: str
    unit: str
    severities: tuple[Severity, ...]
    bounds: tuple[float, float]
    apply: Callable[[Waveform, Severity, np.random.Generator, Sequence[Waveform]], Waveform]
    needs_others: bool = False
    codec: str | None = None


def _coded(codec: str, *, title: str, severities: tuple[float, ...]) -> Corruption:
    return Corruption(
        name=codec,
        title=title,
        axis="compression (0 best, 0.99 smallest)",
        unit="(0 to 0.99)",
        severities=severities,
        bounds=(0.0, 0.99),
        apply=lambda clip, level, _, __: augmentation.coded(clip, codec=codec, compression=level),
        codec=codec,
    )


_SNR_DB = (30.0, 20.0, 10.0, 5.0, 0.0)

CORRUPTIONS: Mapping[str, Corruption] = {
    one.name: one
    for one in (
        Corruption(
            name="noise",
            title="white noise",
            axis="signal-to-noise ratio (dB)",
            unit="dB SNR",
            severities=_SNR_DB,
            bounds=(-60.0, 100.0),
            apply=lambda clip, snr, generator, _: augmentation.add_noise(clip, snr_db=snr, generator=generator),
        ),
        Corruption(
            name="babble",
            title="babble of other clips",
            axis="signal-to-noise ratio (dB)",
            unit="dB SNR",
            severities=_SNR_DB,
            bounds=(-60.0, 100.0),
            apply=lambda clip, snr, generator, others: augmentation.add_babble(
                clip, snr_db=snr, others=others, generator=generator
            ),
            needs_others=True,
        ),
        Corruption(
            name="reverberation",
            title="reverberation",
            axis="reverberation time RT60 (s)",
            unit="s RT60",
            severities=(0.2, 0.4, 0.8, 1.5),
            bounds=(0.01, 10.0),
            apply=lambda clip, seconds, generator, _: augmentation.reverberate(
                clip, rt60_seconds=seconds, generator=generator
            ),
        ),
        Corruption(
            name="gain",
            title="gain, clipped at full scale",
            axis="gain (dB)",
            unit="dB",
            severities=(-40.0, -20.0, -10.0, 10.0, 20.0),
            bounds=(-120.0, 120.0),
            apply=lambda clip, decibels, _, __: augmentation.change_gain(clip, gain_db=decibels),
        ),
        Corruption(
            name="low_pass",
            title="low-pass filter",
            axis="cut-off frequency (Hz)",
            unit="Hz",
            severities=(6000.0, 4000.0, 2000.0, 1000.0),
            bounds=(50.0, 7_900.0),
            apply=lambda clip, hertz, _, __: augmentation.low_pass(clip, cutoff_hz=hertz),
        ),
        Corruption(
            name="telephone",
            title="telephone band, 8 kHz",
            axis="",
            unit="",
            severities=(None,),
            bounds=(math.nan, math.nan),
            apply=lambda clip, _, __, ___: augmentation.telephone_band(clip),
        ),
        Corruption(
            name="shift",
            title="silence before the sound",
            axis="silence (s)",
            unit="s",
            severities=(0.1, 0.25, 0.5, 1.0),
            bounds=(-30.0, 30.0),
            apply=lambda clip, seconds, _, __: augmentation.shift(clip, seconds=seconds),
        ),
        _coded("mp3", title="MP3", severities=(0.5, 0.8, 0.95)),  # about 80, 32 and 8 kbit/s
        _coded("opus", title="Opus", severities=(0.8, 0.9, 0.99)),  # about 56, 31 and 8 kbit/s
        _coded("vorbis", title="Vorbis", severities=(0.0, 0.5, 0.99)),  # about 47 down to 28 kbit/s
    )
}
"""The kinds of corruption by name, in the order of tables and pictures."""


def available_corruptions() -> dict[str, str | None]:
    """Return the corruptions by name, with the reason why one cannot be had here, else None."""
    codecs = augmentation.codecs_available()
    return {
        name: None
        if one.codec is None or one.codec in codecs
        else f"the installed libsndfile does not write {one.title}; a newer one does"
        for name, one in CORRUPTIONS.items()
    }


def chosen_severities(
    conditions: Sequence[str] | None = None, severities: Mapping[str, Sequence[float]] | None = None
) -> dict[str, tuple[Severity, ...]]:
    """Say what is tried.

    Args:
        conditions: names of corruptions; None: all that can be had here.
        severities: other severities than the usual ones, for some of them.

    Returns:
        The severities of each corruption, in the order of `CORRUPTIONS`.

    Raises:
        ArgumentsError: for a corruption that there is not or that cannot be had here, and for severities that are out
            of range, are given twice or belong to a corruption that is not tried.

    Example:
        >>> chosen_severities(["noise"], {"noise": [10, 0]})
        {'noise': (10.0, 0.0)}
    """
    reasons = available_corruptions()
    if conditions is not None:
        _check_names(conditions, reasons)
    wanted = [name for name in CORRUPTIONS if (reasons[name] is None if conditions is None else name in conditions)]
    asked = dict(severities or {})
    for name in asked:
        if name not in wanted:
            raise ArgumentsError(
                f"robustness_severities: {name!r} has no effect: the corruptions are {', '.join(wanted)}."
            )
    return {
        name: _checked(CORRUPTIONS[name], asked[name]) if name in asked else CORRUPTIONS[name].severities
        for name in wanted
    }


def _check_names(conditions: Sequence[str], reasons: Mapping[str, str | None]) -> None:
    for name in conditions:
        if name not in CORRUPTIONS:
            raise ArgumentsError(f"robustness_conditions: expected some of {', '.join(CORRUPTIONS)}; found {name!r}.")
        if reasons[name] is not None:
            raise ArgumentsError(f"robustness_conditions: {name}: {reasons[name]}. Leave it out.")
    if not conditions or len(set(conditions)) < len(conditions):
        raise ArgumentsError(f"robustness_conditions: expected each corruption once, found {list(conditions)!r}.")


def _checked(corruption: Corruption, values: Any) -> tuple[float, ...]:
    where = f"robustness_severities: {corruption.name}"
    if not corruption.axis:
        raise ArgumentsError(f"{where}: it is there or not and has no severities; leave it out.")
    is_list = isinstance(values, Sequence) and not isinstance(values, str) and len(values) > 0
    if not is_list or not all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        raise ArgumentsError(f"{where}: expected a list of numbers, the {corruption.axis}; found {values!r}.")
    low, high = corruption.bounds
    outside = [value for value in values if not low <= value <= high]
    if outside or len(set(values)) < len(values):
        raise ArgumentsError(
            f"{where}: expected different numbers from {low:g} to {high:g}, the {corruption.axis}; found "
            f"{list(values)!r}."
        )
    return tuple(float(value) for value in values)


def severity_in_words(corruption: Corruption, severity: Severity) -> str:
    """Return a severity with its unit, such as `10 dB SNR`; empty for a corruption that has none."""
    if severity is None:
        return ""
    number = f"{severity:g}".replace("-", "−")
    return f"{number} {corruption.unit}"


class CorruptedClips:
    """The clips of a split under one corruption; what `classify_clips` takes.

    Args:
        clips: the clips as they are.
        corruption: what is done to them.
        severity: how strongly.
        seed: of everything random.
        babble_from: the clips that babble is made of; None: `clips` themselves.

    Raises:
        ArgumentsError: for babble without a second clip.
    """

    def __init__(
        self,
        clips: ClipDataset,
        *,
        corruption: Corruption,
        severity: Severity,
        seed: int = 0,
        babble_from: ClipDataset | None = None,
    ) -> None:
        self.files = clips.files
        self._clips = clips
        self._corruption = corruption
        self._severity = severity
        self._seed = seed
        self._others = clips if babble_from is None else babble_from
        # By name: who else is in the babble must not depend on the clips' order.
        self._names = sorted((file, index) for index, file in enumerate(self._others.files))
        if corruption.needs_others and len(self._others) < 2:
            raise ArgumentsError(
                f"robustness_conditions: {corruption.name} needs at least two clips in the split, found "
                f"{len(self._others)}. Leave it out."
            )

    def __len__(self) -> int:
        return len(self._clips)

    @property
    def lengths(self) -> list[int]:
        """About the samples of each clip (clips,), for batches of like length."""
        added = abs(self._severity) if self._corruption.name == "shift" else 0.0
        longest = round(self._clips.max_seconds * SAMPLING_RATE)
        return [min(longest, length + round(added * SAMPLING_RATE)) for length in self._clips.lengths]

    def __getitem__(self, index: int) -> dict[str, Waveform]:
        """Return one clip as it is heard: `input_values`, a float32 waveform (samples,).

        Raises:
            nvv.audio.AudioError: if a clip cannot be decoded.
        """
        file = self.files[index]
        generator = self._generator(file)
        others = self._voices(file, generator) if self._corruption.needs_others else []
        waveform = self._corruption.apply(self._clips.from_start(index), self._severity, generator, others)
        return {"input_values": crop(waveform, max_seconds=self._clips.max_seconds)}

    def _generator(self, file: str) -> np.random.Generator:
        digest = hashlib.sha256(f"{self._corruption.name}\0{file}".encode()).digest()
        return np.random.default_rng([self._seed, *np.frombuffer(digest, dtype="<u4").tolist()])

    def _voices(self, file: str, generator: np.random.Generator) -> list[Waveform]:
        """Return the other clips that speak into this one."""
        candidates = [index for name, index in self._names if name != file]
        chosen = generator.choice(len(candidates), size=min(_NUM_VOICES, len(candidates)), replace=False)
        return [self._others.from_start(candidates[one]) for one in chosen.tolist()]
