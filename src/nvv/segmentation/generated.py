"""Long recordings whose events are known: clips of a corpus at chance places in coloured noise.

For trying out and scoring segmentation. A recording is planned first (which clip begins at which sample) and then
written block by block, with no more of it in memory than a block, a few seconds of noise, and the clips that sound in
it. The same arguments give the same samples. Nothing is faded: an event begins with its clip's first sample and ends
after its last. Waveforms are float32 mono at 16 kHz. Own work.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import soundfile
from numpy.typing import NDArray

from ..audio import SAMPLING_RATE, decode_audio
from ..data.augmentation import NOISE_COLORS, add_noise
from ..data.augmentation.checks import mean_power
from ..files import replaced_when_complete
from .events import Event

__all__ = ["GenerationError", "clips_of_split", "generate_recording"]

ENDINGS = (".flac", ".wav")
_BLOCK_SAMPLES = 10 * SAMPLING_RATE
_NOISE_SAMPLES = 2**18
"""Noise made at a time, 16 s."""
_CROSSFADE_SAMPLES = 2**12
_FULL_SCALE = 1.0 - 2.0**-15
"""The highest sample that 16 bits hold."""


class GenerationError(ValueError):
    """A recording cannot be made as asked; the message says what was expected, what was found and what to change."""


class _ClipsOfLabel(Sequence):
    """The clips of one label of a split, each decoded when it is asked for."""

    def __init__(self, cells: datasets.Dataset, files: Sequence[str]) -> None:
        self._cells = cells
        self._files = files

    def __len__(self) -> int:
        return len(self._cells)

    def __getitem__(self, index: Any) -> NDArray[np.float32]:
        return decode_audio(self._cells[int(index)]["audio"], name=self._files[int(index)])


def clips_of_split(split: datasets.Dataset) -> dict[str, Sequence[NDArray[np.float32]]]:
    """Sort a split's clips by label, without decoding them.

    Args:
        split: Columns `audio` (undecoded cells), `label` (ClassLabel) and `file`, as `nvv.data.load_corpus` gives them.

    Returns:
        By label, in the corpus's order, its clips; those are decoded each time they are asked for. Labels without clips
        are left out.

    Raises:
        GenerationError: For a split without these columns or without clips.

    Example:
        >>> clips = clips_of_split(load_corpus("synthetic")["test"])  # doctest: +SKIP
        >>> clips["laugh"][0].dtype  # doctest: +SKIP
        dtype('float32')
    """
    missing = [name for name in ("audio", "label", "file") if name not in split.column_names]
    names = getattr(split.features.get("label"), "names", None)
    if missing or names is None:
        raise GenerationError(
            "split: expected the columns audio, label (classes) and file, found "
            f"{', '.join(split.column_names) or 'none'}. nvv.load_corpus gives them."
        )
    labels, files = np.asarray(split["label"][:]), list(split["file"][:])
    cells = split.select_columns(["audio"]).cast_column("audio", datasets.Audio(decode=False))
    rows_of = {name: np.flatnonzero(labels == at).tolist() for at, name in enumerate(names)}
    clips = {
        name: _ClipsOfLabel(cells.select(rows), [files[row] for row in rows]) for name, rows in rows_of.items() if rows
    }
    if not clips:
        raise GenerationError("split: expected clips with labels, found none.")
    return clips


@dataclass(frozen=True)
class _Placed:
    """A clip and where it sounds: samples from the recording's start."""

    label: str
    index: int
    start: int
    length: int
    snr_db: float

    @property
    def end(self) -> int:
        return self.start + self.length


def generate_recording(
    path: str | os.PathLike[str],
    *,
    duration_s: float,
    clips_by_label: Mapping[str, Sequence[NDArray[np.float32]]],
    seed: int = 0,
    events_per_minute: float = 6.0,
    noise_dbfs: float = -55.0,
    noise_color: str = "pink",
    snr_db: float | tuple[float, float] = (15.0, 30.0),
    min_gap_s: float = 0.5,
    overlapping: bool = False,
) -> list[Event]:
    """Write a recording with known events, in constant memory.

    Labels occur equally often, each label's clips in a chance order and none twice before all were heard.

    Args:
        path: The file, FLAC or WAV by its ending, 16 bit mono at 16 kHz. It appears when it is complete.
        duration_s: Its length in seconds, > 0, rounded to a sample.
        clips_by_label: By label, its clips (samples,); a sequence may decode each when asked, which happens twice for
            each event.
        seed: Of everything that is drawn, >= 0.
        events_per_minute: How many events, on average, > 0; the number for the whole recording is rounded.
        noise_dbfs: Level (root mean square) of the noise, in dB of full scale, below 0.
        noise_color: `white`, `pink` or `brown`.
        snr_db: Mean power of each clip over the noise's, in dB; a pair is the range that each event's is drawn from.
        min_gap_s: From the end of one event to the start of the next, at least, in seconds, >= 0.
        overlapping: Let events of different labels overlap; those of one label keep their gap.

    Returns:
        The events in order of time, exact to the sample, without scores.

    Raises:
        GenerationError: If a setting is out of range, the events do not fit into the recording, a clip is silent, or
            the sum of clips and noise leaves full scale.
        nvv.audio.AudioError: If a clip cannot be decoded.

    Example:
        >>> clips = clips_of_split(load_corpus("synthetic")["test"])  # doctest: +SKIP
        >>> events = generate_recording("hour.flac", duration_s=3600, clips_by_label=clips)  # doctest: +SKIP
    """
    path = Path(path)
    snr_range = snr_db if isinstance(snr_db, tuple) else (snr_db, snr_db)
    _check(path, duration_s, events_per_minute, noise_dbfs, noise_color, snr_range, min_gap_s, seed)
    if not clips_by_label or not all(len(clips) for clips in clips_by_label.values()):
        raise GenerationError("clips_by_label: expected at least one label, and at least one clip for each.")
    num_samples = round(duration_s * SAMPLING_RATE)
    if num_samples < 1:
        raise GenerationError(f"duration_s: expected at least one sample, found {duration_s!r} s.")
    plan_seed, noise_seed = np.random.SeedSequence(seed).spawn(2)
    placed = _plan(
        clips_by_label,
        np.random.default_rng(plan_seed),
        num_samples=num_samples,
        num_events=max(1, round(events_per_minute * duration_s / 60)),
        snr_range=snr_range,
        min_gap=round(min_gap_s * SAMPLING_RATE),
        overlapping=overlapping,
    )
    noise_rms = 10 ** (noise_dbfs / 20)
    noise = _noise(np.random.default_rng(noise_seed), rms=noise_rms, color=noise_color)
    with (
        replaced_when_complete(path) as temporary,
        soundfile.SoundFile(temporary, "w", SAMPLING_RATE, channels=1, subtype="PCM_16") as file,
    ):
        for block in _blocks(placed, noise, clips_by_label, num_samples=num_samples, noise_rms=noise_rms):
            file.write(block)
    return [Event(start_s=one.start / SAMPLING_RATE, end_s=one.end / SAMPLING_RATE, label=one.label) for one in placed]


def _plan(
    clips_by_label: Mapping[str, Sequence[NDArray[np.float32]]],
    generator: np.random.Generator,
    *,
    num_samples: int,
    num_events: int,
    snr_range: tuple[float, float],
    min_gap: int,
    overlapping: bool,
) -> list[_Placed]:
    """Choose clips and places, in order of time."""
    labels = list(clips_by_label)
    rounds = -(-num_events // len(labels))
    chosen = [label for _ in range(rounds) for label in generator.permutation(labels).tolist()][:num_events]
    orders = {label: _order(len(clips), generator) for label, clips in clips_by_label.items()}
    picked = [(label, next(orders[label])) for label in chosen]
    lengths = [len(clips_by_label[label][index]) for label, index in picked]
    groups = [[at for at, label in enumerate(chosen) if label == one] for one in labels] if overlapping else None
    starts = np.zeros(num_events, dtype=np.int64)
    for group in groups or [list(range(num_events))]:
        starts[group] = _places([lengths[at] for at in group], generator, num_samples=num_samples, min_gap=min_gap)
    ratios = generator.uniform(*snr_range, size=num_events)
    placed = [
        _Placed(label, index, int(start), length, float(ratio))
        for (label, index), start, length, ratio in zip(picked, starts, lengths, ratios, strict=True)
    ]
    return sorted(placed, key=lambda one: (one.start, one.end, one.label))


def _order(num_clips: int, generator: np.random.Generator) -> Iterator[int]:
    """Give all clips in a chance order, then all of them in another one, and so on."""
    while True:
        yield from generator.permutation(num_clips).tolist()


def _places(
    lengths: Sequence[int], generator: np.random.Generator, *, num_samples: int, min_gap: int
) -> NDArray[np.int64]:
    """Put clips one after the other with gaps of chance length."""
    needed = sum(lengths) + min_gap * (len(lengths) + 1)
    if needed > num_samples:
        raise GenerationError(
            f"events_per_minute: expected events that fit; {len(lengths)} need {needed / SAMPLING_RATE:.1f} s with "
            f"their gaps, the recording has {num_samples / SAMPLING_RATE:.1f} s. Ask for fewer, or for smaller gaps "
            "(min_gap_s)."
        )
    before = np.concatenate([[0], np.cumsum(lengths)[:-1]]) if lengths else np.zeros(0)
    free = np.sort(generator.integers(0, num_samples - needed + 1, size=len(lengths)))
    return (before + free + min_gap * np.arange(1, len(lengths) + 1)).astype(np.int64)


def _noise(generator: np.random.Generator, *, rms: float, color: str) -> Iterator[NDArray[np.float32]]:
    """Make noise without end, in pieces that go over into each other at equal power."""
    # The augmentation adds noise to something, at a ratio: added to a constant of the wanted level at 0 dB, it has that
    # level itself.
    level = np.full(_NOISE_SAMPLES, rms, dtype=np.float32)
    angle = (np.arange(_CROSSFADE_SAMPLES) + 0.5) / _CROSSFADE_SAMPLES * (math.pi / 2)
    rising, falling = np.sin(angle), np.cos(angle)
    before = np.zeros(0)
    while True:
        piece = add_noise(level, snr_db=0.0, generator=generator, color=color) - level
        if before.size:
            piece[:_CROSSFADE_SAMPLES] = rising * piece[:_CROSSFADE_SAMPLES] + falling * before
        before = piece[-_CROSSFADE_SAMPLES:].copy()
        yield piece[:-_CROSSFADE_SAMPLES]


def _blocks(
    placed: Sequence[_Placed],
    noise: Iterator[NDArray[np.float32]],
    clips_by_label: Mapping[str, Sequence[NDArray[np.float32]]],
    *,
    num_samples: int,
    noise_rms: float,
) -> Iterator[NDArray[np.float32]]:
    """Add clips and noise, a block at a time."""
    at, sounding, stock = 0, [], np.zeros(0, dtype=np.float32)
    for start in range(0, num_samples, _BLOCK_SAMPLES):
        end = min(start + _BLOCK_SAMPLES, num_samples)
        while stock.size < end - start:
            stock = np.concatenate([stock, next(noise)])
        block, stock = stock[: end - start].astype(np.float64), stock[end - start :]
        while at < len(placed) and placed[at].start < end:
            sounding.append((placed[at], _at_ratio(placed[at], clips_by_label, noise_rms=noise_rms)))
            at += 1
        for one, clip in sounding:
            first, last = max(one.start, start), min(one.end, end)
            block[first - start : last - start] += clip[first - one.start : last - one.start]
        sounding = [(one, clip) for one, clip in sounding if one.end > end]
        peak = float(np.abs(block).max())
        if peak > _FULL_SCALE:
            raise GenerationError(
                f"The recording would reach {20 * math.log10(peak):.1f} dB of full scale between "
                f"{start / SAMPLING_RATE:.0f} and {end / SAMPLING_RATE:.0f} s, and be cut off there. Ask for less "
                "noise (noise_dbfs) or a lower ratio (snr_db)."
            )
        yield block.astype(np.float32)


def _at_ratio(
    one: _Placed, clips_by_label: Mapping[str, Sequence[NDArray[np.float32]]], *, noise_rms: float
) -> NDArray[np.float64]:
    clip = np.asarray(clips_by_label[one.label][one.index], dtype=np.float64)
    power = mean_power(clip)
    if power == 0:
        raise GenerationError(
            f"{one.label}, clip {one.index}: expected a clip that can be heard, found silence; leave it out."
        )
    return clip * (noise_rms / math.sqrt(power) * 10 ** (one.snr_db / 20))


def _check(
    path: Path,
    duration_s: float,
    events_per_minute: float,
    noise_dbfs: float,
    noise_color: str,
    snr_range: tuple[float, float],
    min_gap_s: float,
    seed: int,
) -> None:
    if path.suffix.lower() not in ENDINGS:
        raise GenerationError(f"{path}: expected a file that ends in {' or '.join(ENDINGS)}.")
    for name, value in (("duration_s", duration_s), ("events_per_minute", events_per_minute)):
        if not 0 < value < math.inf:
            raise GenerationError(f"{name}: expected a number above 0, found {value!r}.")
    if not -math.inf < noise_dbfs < 0:
        raise GenerationError(f"noise_dbfs: expected dB below 0, found {noise_dbfs!r}.")
    if noise_color not in NOISE_COLORS:
        raise GenerationError(f"noise_color: expected one of {', '.join(NOISE_COLORS)}, found {noise_color!r}.")
    if len(snr_range) != 2 or not -math.inf < snr_range[0] <= snr_range[1] < math.inf:
        raise GenerationError(f"snr_db: expected a number or a range from low to high, found {snr_range!r}.")
    if not 0 <= min_gap_s < math.inf:
        raise GenerationError(f"min_gap_s: expected seconds of at least 0, found {min_gap_s!r}.")
    if seed < 0:
        raise GenerationError(f"seed: expected a whole number of at least 0, found {seed!r}.")
