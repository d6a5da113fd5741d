"""A computed copy of Hume-VB: short synthetic bursts in the official A-VB layout, whose targets depend on the sound.

It serves trials and tests of regression and multi-task recipes where the real corpus, given out on request only, is not
at hand; it says nothing about people. A burst has six audible traits (`Burst`). Each emotion is a fixed mixture of
them, valence and arousal are two more, the ratings of a country are the emotions stretched and shifted, and the kind of
burst follows from a rule on four traits. Reading such a tree is ``dataset_scripts/hume_vb``'s; whoever reports scores
from it finds `MARKER` in its root and must say that the sounds were computed.

Source: own work; layout and columns are those of ``dataset_scripts/hume_vb``. The rules were chosen to be learnable,
not to resemble what people rate.
"""

from __future__ import annotations

import csv
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..audio import SAMPLING_RATE, encode_wav
from ..files import write_text
from .loading import corpus_builder

__all__ = [
    "COUNTRIES",
    "MARKER",
    "TASKS",
    "Burst",
    "burst_targets",
    "draw_bursts",
    "kind_of_burst",
    "synthesize_burst",
    "write_synthetic_hume_vb",
]

MARKER = "SYNTHETIC.md"
"""File in the root of a computed tree: where it lies, the sounds are no recordings."""

TASKS = ("high", "two", "culture", "type")
"""Tasks that have a label file, in the order of A-VB."""

COUNTRIES = ("China", "United States", "South Africa", "Venezuela")

_SPLITS = ("Train", "Val", "Test")
_CLIPS_PER_SPEAKER = 6
_RATING_NOISE = 0.03  # standard deviation of what no model can know
_CONTRAST = 3.0
_MAX_HARMONIC_HZ = 7_500.0
_PEAK = 10 ** (-3 / 20)  # as the 16 kHz copy of the release is normalised

# What the emotions weigh: traits from -1 (least) to 1 (most).
_EMOTIONS: dict[str, dict[str, float]] = {
    "Awe": {"glide": 0.7, "brightness": -0.7},
    "Excitement": {"pitch": 0.8, "modulation": 0.6},
    "Amusement": {"modulation": 0.9, "noise": -0.5},
    "Awkwardness": {"pitch": -0.6, "noise": 0.5, "brightness": -0.3},
    "Fear": {"pitch": 0.7, "noise": 0.7},
    "Horror": {"brightness": 0.8, "noise": 0.6},
    "Distress": {"glide": -0.7, "pitch": 0.7},
    "Triumph": {"brightness": 0.7, "glide": 0.5, "noise": -0.5},
    "Sadness": {"pitch": -0.7, "brightness": -0.5, "glide": -0.4},
    "Surprise": {"glide": 0.8, "pitch": 0.6},
}
_VALENCE = {"modulation": 0.8, "noise": -0.7}
_AROUSAL = {"pitch": 0.7, "brightness": 0.7}
_COUNTRY_STRETCH = dict(zip(COUNTRIES, (0.9, 1.0, 0.8, 0.95), strict=True))
_COUNTRY_SHIFT = dict(zip(COUNTRIES, (-0.10, 0.0, 0.05, 0.12), strict=True))


@dataclass(frozen=True, kw_only=True)
class Burst:
    """What can be heard of a burst. Traits lie in [0, 1].

    Attributes:
        seconds: Duration, 0.3 to 1.5.
        pitch: Mean fundamental frequency, from 110 Hz to 520 Hz in equal ratios.
        glide: Course of the pitch: 0 falls by 1.6 octaves, 0.5 is level, 1 rises by 1.6 octaves.
        brightness: Spectral slope, from -14 dB to -2 dB an octave.
        noise: Share of the power that is breath noise, 0.02 to 0.98.
        modulation: Depth of the beat in loudness: 0 is steady, 1 falls silent between the beats.
        beat_hz: How fast it beats.
        formants_hz: Two resonances of the speaker's vocal tract.
    """

    seconds: float
    pitch: float
    glide: float
    brightness: float
    noise: float
    modulation: float
    beat_hz: float
    formants_hz: tuple[float, float]


def draw_bursts(num_bursts: int, *, generator: np.random.Generator, num_per_speaker: int = 6) -> list[Burst]:
    """Draw bursts; neighbours are of one speaker, who has a voice but no habits: traits are independent of speakers.

    Args:
        num_bursts: How many, >= 0.
        generator: Where chance comes from.
        num_per_speaker: Bursts of each speaker, >= 1.
    """
    bursts = []
    for number in range(num_bursts):
        if number % num_per_speaker == 0:
            beat_hz = generator.uniform(5.0, 8.0)
            formants_hz = (generator.uniform(450.0, 900.0), generator.uniform(1_200.0, 2_200.0))
        pitch, glide, brightness = generator.uniform(size=3)
        noise, modulation = generator.beta(0.6, 0.6, size=2)  # more often clearly one or the other
        bursts.append(
            Burst(
                seconds=float(generator.uniform(0.3, 1.5)),
                pitch=float(pitch),
                glide=float(glide),
                brightness=float(brightness),
                noise=float(noise),
                modulation=float(modulation),
                beat_hz=float(beat_hz),
                formants_hz=formants_hz,
            )
        )
    return bursts


def synthesize_burst(burst: Burst, *, generator: np.random.Generator) -> np.ndarray:
    """Compute the sound of a burst.

    Args:
        burst: What is to be heard.
        generator: Draws phases, breath noise and the room.

    Returns:
        Float32 array of shape ``(samples,)`` at 16 kHz, peak -3 dB: loudness tells nothing.
    """
    num_samples = round(burst.seconds * SAMPLING_RATE)
    course = np.linspace(-0.5, 0.5, num_samples)
    f0_hz = 110.0 * (520.0 / 110.0) ** burst.pitch * 2.0 ** (3.2 * (burst.glide - 0.5) * course)
    slope_db = -14.0 + 12.0 * burst.brightness
    share = 0.02 + 0.96 * burst.noise
    voiced = _unit_power(_harmonics(f0_hz, slope_db=slope_db, generator=generator))
    breath = _unit_power(_coloured_noise(num_samples, slope_db=slope_db, generator=generator))
    sound = np.sqrt(1.0 - share) * voiced + np.sqrt(share) * breath
    for frequency_hz in burst.formants_hz:
        sound = _resonate(sound, frequency_hz=frequency_hz)
    seconds = np.arange(num_samples) / SAMPLING_RATE
    sound = sound * (1.0 - burst.modulation * 0.5 * (1.0 + np.cos(2 * np.pi * burst.beat_hz * seconds)))
    fade = np.minimum(1.0, np.minimum(seconds, seconds[::-1]) / 0.03)
    room = 10 ** (-40 / 20) * generator.standard_normal(num_samples)
    sound = _unit_power(sound * fade) + room
    return (sound * _PEAK / np.max(np.abs(sound))).astype(np.float32)


def burst_targets(burst: Burst) -> dict[str, float]:
    """Return what a burst is rated, in [0, 1], by the names of the corpus's 52 targets, before the raters' noise."""
    emotions = {name: _rating(burst, weights) for name, weights in _EMOTIONS.items()}
    two = {"Valence": _rating(burst, _VALENCE), "Arousal": _rating(burst, _AROUSAL)}
    culture = {
        f"{country}_{name}": min(1.0, max(0.0, 0.5 + _COUNTRY_STRETCH[country] * (value - 0.5) + shift))
        for country, shift in _COUNTRY_SHIFT.items()
        for name, value in emotions.items()
    }
    return emotions | two | culture


def kind_of_burst(burst: Burst) -> str:
    """Return which of the corpus's eight kinds a burst is: breath or voice, beating or steady, then pitch and so on."""
    beats, is_high, is_bright = burst.modulation > 0.5, burst.pitch > 0.5, burst.brightness > 0.5
    if burst.noise > 0.5:
        if beats:
            return "Pant"
        return "Gasp" if is_bright else "Other"
    if beats:
        return "Laugh" if is_high else "Cry"
    if is_high:
        return "Scream"
    return "Grunt" if burst.glide > 0.5 else "Groan"


def write_synthetic_hume_vb(
    output_dir: str | Path,
    *,
    num_clips: Sequence[int] = (240, 120, 120),
    seed: int = 0,
    tasks: Sequence[str] = TASKS,
    with_speakers: bool = True,
    missing_share: float = 0.0,
    withhold_test: bool = False,
) -> Path:
    """Write a computed tree in the official A-VB layout, whole or not at all.

    Args:
        output_dir: The tree's root; must not exist, or be an empty folder.
        num_clips: Clips of the train, validation and test part, each >= 1.
        seed: The same seed and numbers give the same files, byte for byte.
        tasks: Which label files to write, of `TASKS`; at least one. The sounds do not depend on it.
        with_speakers: Write ExVo's ``data_info.csv`` with speaker, country and age, too.
        missing_share: Share of the targets of train and validation left empty, in [0, 1).
        withhold_test: Put placeholders for the targets of the test part, as before their release.

    Returns:
        The root: ``audio/wav/<id>.wav``, ``labels/<task>_info.csv``, ``labels/data_info.csv`` and `MARKER`.

    Raises:
        ValueError: If a number, share or task cannot be used.
        FileExistsError: If the folder holds anything.
    """
    _check(num_clips=num_clips, tasks=tasks, missing_share=missing_share, seed=seed)
    root = Path(output_dir)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise FileExistsError(f"{root}: is there already; name a new or empty folder.")
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".incomplete-{root.name}-", dir=root.parent) as scratch:
        folder = Path(scratch) / root.name
        rows = list(_write_audio(folder / "audio" / "wav", num_clips, seed=seed))
        holes = np.random.Generator(np.random.PCG64([seed, 3]))
        for task in TASKS:
            columns = _task_columns(task)
            table = [
                [f"[{row.file_id}]", row.split, *_cells(row, columns, missing_share, withhold_test, holes)]
                for row in rows
            ]
            if task in tasks:
                _write_csv(folder / "labels" / f"{task}_info.csv", ["File_ID", "Split", *columns], table)
        if with_speakers:
            header = ["File_ID", "Split", "Subject_ID", "Country", "Country_string", "Age"]
            _write_csv(folder / "labels" / "data_info.csv", header, [row.speaker_cells() for row in rows])
        sizes = ", ".join(f"{count} {split}" for count, split in zip(num_clips, _SPLITS, strict=True))
        write_text(folder / MARKER, _marker_text(f"seed {seed}: {sizes}"))
        if root.exists():
            root.rmdir()
        shutil.move(str(folder), root)
    return root


@dataclass(frozen=True, kw_only=True)
class _Row:
    """One clip of the tree."""

    file_id: str
    split: str
    speaker: int
    age: int
    targets: Mapping[str, float]
    kind: str

    def speaker_cells(self) -> list[str]:
        country = self.speaker % len(COUNTRIES)
        name = f"Speaker_{self.speaker:04d}"
        return [f"[{self.file_id}]", self.split, name, str(country), COUNTRIES[country], str(self.age)]


def _write_audio(folder: Path, num_clips: Sequence[int], *, seed: int) -> Iterator[_Row]:
    """Compute and write every recording; the parts share no speaker."""
    folder.mkdir(parents=True)
    # Ids tell nothing of the part, as in the release.
    ids = np.random.Generator(np.random.PCG64([seed, 0])).permutation(sum(num_clips))
    at = speaker = 0
    for part, (split, count) in enumerate(zip(_SPLITS, num_clips, strict=True)):
        traits, sounds = (np.random.Generator(np.random.PCG64([seed, kind, part])) for kind in (1, 2))
        ages = traits.integers(18, 75, size=-(-count // _CLIPS_PER_SPEAKER))
        for number, burst in enumerate(draw_bursts(count, generator=traits, num_per_speaker=_CLIPS_PER_SPEAKER)):
            file_id = f"{ids[at]:05d}"
            (folder / f"{file_id}.wav").write_bytes(encode_wav(synthesize_burst(burst, generator=sounds)))
            targets = {
                name: float(np.clip(value + sounds.normal(0.0, _RATING_NOISE), 0.0, 1.0))
                for name, value in burst_targets(burst).items()
            }
            member = number // _CLIPS_PER_SPEAKER
            yield _Row(
                file_id=file_id,
                split=split,
                speaker=speaker + member,
                age=int(ages[member]),
                targets=targets,
                kind=kind_of_burst(burst),
            )
            at += 1
        speaker += len(ages)


def _task_columns(task: str) -> tuple[str, ...]:
    """Return the columns of a task's label file; their one home is the corpus's configs."""
    return tuple(corpus_builder("hume_vb").builder_configs[task].targets) or ("Voc_Type",)


def _cells(
    row: _Row, columns: Sequence[str], missing_share: float, withhold_test: bool, holes: np.random.Generator
) -> list[str]:
    """Write a clip's targets as text: a hole is empty, a placeholder the same for all."""
    are_missing = holes.uniform(size=len(columns)) < missing_share  # drawn for every clip, so that options do not shift
    if row.split == "Test":
        if withhold_test:
            return ["-1"] * len(columns)
        are_missing[:] = False
    texts = [row.kind] if columns == ("Voc_Type",) else [f"{row.targets[name]:.4f}" for name in columns]
    return ["" if is_missing else text for text, is_missing in zip(texts, are_missing, strict=True)]


def _check(*, num_clips: Sequence[int], tasks: Sequence[str], missing_share: float, seed: int) -> None:
    if len(num_clips) != len(_SPLITS) or min(num_clips) < 1:
        raise ValueError(f"num_clips: expected three numbers from 1 (train, validation, test), found {num_clips!r}.")
    if sum(num_clips) > 100_000:
        raise ValueError(f"num_clips: expected at most 100,000 in all (ids have five digits), found {sum(num_clips)}.")
    unknown = sorted(set(tasks) - set(TASKS))
    if not tasks or unknown:
        raise ValueError(f"tasks: expected some of {', '.join(TASKS)}; found {', '.join(unknown) or 'none'}.")
    if not 0 <= missing_share < 1:
        raise ValueError(f"missing_share: expected a number in [0, 1), found {missing_share!r}.")
    if seed < 0:
        raise ValueError(f"seed: expected at least 0, found {seed}.")


def _rating(burst: Burst, weights: Mapping[str, float]) -> float:
    leaning = sum(weight * (2.0 * getattr(burst, trait) - 1.0) for trait, weight in weights.items())
    return float(1.0 / (1.0 + np.exp(-_CONTRAST * leaning / 2.0)))


def _harmonics(f0_hz: np.ndarray, *, slope_db: float, generator: np.random.Generator) -> np.ndarray:
    """Sum the harmonics below 7.5 kHz, each weaker by the slope an octave, shape (samples,)."""
    phase = 2 * np.pi * np.cumsum(f0_hz) / SAMPLING_RATE
    exponent = slope_db * np.log2(10.0) / 20  # so many dB an octave, as a power of the frequency
    sound = np.zeros_like(f0_hz)
    for number in range(1, int(_MAX_HARMONIC_HZ / f0_hz.min()) + 1):
        audible = np.clip((_MAX_HARMONIC_HZ - number * f0_hz) / 500.0, 0.0, 1.0)  # faded out, nothing aliases
        sound += number**exponent * audible * np.sin(number * phase + generator.uniform(0.0, 2 * np.pi))
    return sound * f0_hz**exponent


def _coloured_noise(num_samples: int, *, slope_db: float, generator: np.random.Generator) -> np.ndarray:
    """Make noise with the slope of the harmonics above 300 Hz, shape (samples,)."""
    size = 1 << (num_samples - 1).bit_length()  # a power of two: other lengths take many times as long
    octaves = np.log2(np.maximum(np.fft.rfftfreq(size, 1 / SAMPLING_RATE), 300.0) / 300.0)
    spectrum = np.fft.rfft(generator.standard_normal(size)) * 10 ** (slope_db * octaves / 20)
    return np.fft.irfft(spectrum, size)[:num_samples]


def _resonate(sound: np.ndarray, *, frequency_hz: float) -> np.ndarray:
    """Add a resonance of 150 Hz bandwidth to a sound, shape (samples,)."""
    from scipy.signal import lfilter  # half a second that those who only ask for the marker do without

    radius, angle = np.exp(-np.pi * 150.0 / SAMPLING_RATE), 2 * np.pi * frequency_hz / SAMPLING_RATE
    ringing = lfilter([1.0 - radius], [1.0, -2.0 * radius * np.cos(angle), radius**2], sound)
    return sound + ringing


def _unit_power(sound: np.ndarray) -> np.ndarray:
    return sound / np.sqrt(np.mean(sound**2))


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerows([header, *sorted(rows)])


def _marker_text(settings: str) -> str:
    return (
        "# Computed sounds, no recordings\n\n"
        "This tree has the layout of Hume-VB (A-VB 2022) and nothing of its content: every sound, target, class, "
        "speaker, country and age was computed by `nvv.data.synthetic_hume_vb`. A score on it is no evidence about "
        f"people, and not to be compared with published ones.\n\nMade with {settings}.\n"
    )
