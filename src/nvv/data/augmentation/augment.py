"""`Augmentation`: the transforms of a training run, each with a probability and ranges that its values are drawn from.

Settings are a mapping such as a recipe's `augment:`

    noise: {probability: 0.5, snr_db: [5, 20], color: [white, pink]}
    reverberation: {rt60_seconds: [0.2, 0.8]}
    telephone: {probability: 0.1}

A value is a number, or a range [low, high] from which it is drawn evenly; for `color` and `codec` a name, or a list of
names. What is left out takes `TRANSFORMS`' defaults. Whatever the order of the settings, a clip passes the transforms
as a sound passes the world: the voice (speed), when it sounds (shift), the room (reverberation), what else sounds
there (babble, noise), the microphone (gain, low_pass), the line (telephone, coded). Own work.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .channels import change_gain, low_pass, telephone_band
from .checks import AugmentationError, checked_number, checked_waveform
from .codecs import CODECS, codecs_available, coded
from .noise import NOISE_COLORS, add_babble, add_noise
from .rooms import MAX_RT60_SECONDS, MIN_RT60_SECONDS, reverberate
from .timing import MAX_SHIFT_SECONDS, SPEED_RANGE, change_speed, shift

__all__ = ["DEFAULT_PROBABILITY", "TRANSFORMS", "Augmentation", "Range", "Transform"]

DEFAULT_PROBABILITY = 0.5


@dataclass(frozen=True)
class Range:
    """A number that is drawn evenly between two.

    Args:
        default: the range that is taken where a recipe names none.
        low: the least value allowed.
        high: the greatest value allowed.
        whole: whether only whole numbers are drawn.
    """

    default: tuple[float, float]
    low: float
    high: float
    whole: bool = False

    def read(self, name: str, value: Any) -> list[float]:
        """Return [low, high] of a number or a pair.

        Raises:
            AugmentationError: for anything else, and values out of range.
        """
        pair = list(value) if isinstance(value, list | tuple) else [value, value]
        if len(pair) != 2:
            raise AugmentationError(f"{name}: expected a number or a pair [low, high], found {value!r}.")
        numbers = [checked_number(name, number, low=self.low, high=self.high) for number in pair]
        if numbers[0] > numbers[1]:
            raise AugmentationError(f"{name}: expected [low, high], found {value!r}, which falls.")
        if self.whole and any(number != int(number) for number in numbers):
            raise AugmentationError(f"{name}: expected whole numbers, found {value!r}.")
        return [int(number) for number in numbers] if self.whole else numbers

    def draw(self, value: Sequence[float], generator: np.random.Generator) -> float:
        """Draw a number from what `read` returned."""
        if self.whole:
            return int(generator.integers(value[0], value[1] + 1))
        return float(generator.uniform(value[0], value[1]))


@dataclass(frozen=True)
class Choice:
    """One of several names, each as probable as the others.

    Args:
        default: the names that are taken where a recipe names none.
        allowed: all names.
    """

    default: tuple[str, ...]
    allowed: tuple[str, ...]

    def read(self, name: str, value: Any) -> list[str]:
        """Return the names as a list.

        Raises:
            AugmentationError: for other names, or none.
        """
        names = list(value) if isinstance(value, list | tuple) else [value]
        if not names or any(entry not in self.allowed for entry in names):
            raise AugmentationError(f"{name}: expected some of {', '.join(self.allowed)}; found {value!r}.")
        return names

    def draw(self, value: Sequence[str], generator: np.random.Generator) -> str:
        """Draw a name from what `read` returned."""
        return value[int(generator.integers(len(value)))]


@dataclass(frozen=True)
class Transform:
    """A transform and the values it takes.

    Args:
        apply: called with the waveform, and by name the generator, the other clips and a value for each field.
        fields: by name.
    """

    apply: Callable[..., np.ndarray]
    fields: Mapping[str, Range | Choice] = field(default_factory=dict)


def _babble(
    waveform: np.ndarray, *, generator: np.random.Generator, others: Sequence[np.ndarray], snr_db: float, num_clips: int
) -> np.ndarray:
    """Draw which clips babble; only those are fetched."""
    if len(others) == 0:
        raise AugmentationError("babble: needs other clips to make it from, found none.")
    chosen = generator.choice(len(others), size=min(num_clips, len(others)), replace=False)
    voices = [others[int(index)] for index in chosen]
    return add_babble(waveform, snr_db=snr_db, others=voices, generator=generator)


def _random(transform: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """Give a transform what it needs of what `Transform.apply` is called with: the generator."""
    return lambda waveform, *, others, **values: transform(waveform, **values)  # noqa: ARG005


def _fixed(transform: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """Give a transform without chance what it needs: the values alone."""
    return lambda waveform, *, others, generator, **values: transform(waveform, **values)  # noqa: ARG005


TRANSFORMS: dict[str, Transform] = {
    "speed": Transform(_fixed(change_speed), {"factor": Range((0.9, 1.1), *SPEED_RANGE)}),
    "shift": Transform(_fixed(shift), {"seconds": Range((-0.5, 0.5), -MAX_SHIFT_SECONDS, MAX_SHIFT_SECONDS)}),
    "reverberation": Transform(
        _random(reverberate), {"rt60_seconds": Range((0.2, 0.8), MIN_RT60_SECONDS, MAX_RT60_SECONDS)}
    ),
    "babble": Transform(
        _babble, {"snr_db": Range((5.0, 20.0), -40.0, 100.0), "num_clips": Range((3, 6), 1, 100, whole=True)}
    ),
    "noise": Transform(
        _random(add_noise),
        {
            "snr_db": Range((5.0, 20.0), -40.0, 100.0),
            "color": Choice(("white", "pink", "brown"), tuple(NOISE_COLORS)),
        },
    ),
    "gain": Transform(_fixed(change_gain), {"gain_db": Range((-10.0, 10.0), -60.0, 60.0)}),
    "low_pass": Transform(_fixed(low_pass), {"cutoff_hz": Range((2_000.0, 7_000.0), 50.0, 7_900.0)}),
    "telephone": Transform(_fixed(telephone_band)),
    "coded": Transform(
        _fixed(coded),
        {"codec": Choice(("mp3", "opus"), tuple(CODECS)), "compression": Range((0.5, 0.95), 0.0, 0.99)},
    ),
}
"""All transforms by the name that settings call them, in the order in which a clip passes them."""


class Augmentation:
    """The transforms of a training run.

    Args:
        settings: by transform; see the module's documentation.

    Raises:
        AugmentationError: for no transform, an unknown one (with the nearest), an unknown field, a value out of range,
            or a codec that the installed libsndfile lacks.

    Example:
        >>> augmentation = Augmentation({"noise": {"probability": 1, "snr_db": 10, "color": "white"}})
        >>> augmentation(np.ones(160, dtype=np.float32), generator=np.random.default_rng(0)).shape
        (160,)
        >>> augmentation.describe()
        {'noise': {'probability': 1.0, 'snr_db': [10.0, 10.0], 'color': ['white']}}
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        if not isinstance(settings, Mapping) or not settings:
            raise AugmentationError(
                f"augment: expected at least one of {', '.join(TRANSFORMS)} with its settings, such as "
                f"{{noise: {{probability: 0.5, snr_db: [5, 20]}}}}; found {settings!r}."
            )
        for name in settings:
            if name not in TRANSFORMS:
                raise AugmentationError(_unknown("augment", "transform", str(name), known=TRANSFORMS))
        self._settings = {name: _read(name, settings[name]) for name in TRANSFORMS if name in settings}

    @property
    def needs_others(self) -> bool:
        """Whether other clips are needed (babble)."""
        return "babble" in self._settings

    def describe(self) -> dict[str, dict[str, Any]]:
        """Return all settings, defaults filled in, in the order of application; of JSON's types only."""
        return {name: dict(values) for name, values in self._settings.items()}

    def __call__(
        self, waveform: np.ndarray, *, generator: np.random.Generator, others: Sequence[np.ndarray] = ()
    ) -> np.ndarray:
        """Transform a clip, or leave it as it is, as chance has it.

        Args:
            waveform: float32 mono at 16 kHz (samples,); never changed in place.
            generator: decides everything.
            others: clips that babble may be made of; fetched by index only when needed, so that decoding may wait.

        Returns:
            A new waveform, of another length where speed or shift acted.

        Raises:
            AugmentationError: for no usable waveform, or babble without other clips.
        """
        changed = checked_waveform(waveform)
        for name, settings in self._settings.items():
            transform = TRANSFORMS[name]
            if generator.random() >= settings["probability"]:
                continue
            values = {key: kind.draw(settings[key], generator) for key, kind in transform.fields.items()}
            changed = transform.apply(changed, generator=generator, others=others, **values)
        return changed.copy() if np.shares_memory(changed, waveform) else changed


def _read(name: str, given: Any) -> dict[str, Any]:
    """Return a transform's settings, checked and with defaults."""
    fields = TRANSFORMS[name].fields
    given = {} if given is None else given
    if not isinstance(given, Mapping):
        raise AugmentationError(
            f"augment: {name}: expected settings such as {{probability: 0.5}} or {{}}, found {given!r}."
        )
    for key in given:
        if key != "probability" and key not in fields:
            raise AugmentationError(_unknown(f"augment: {name}", "field", str(key), known=("probability", *fields)))
    probability = checked_number(
        f"augment: {name}: probability", given.get("probability", DEFAULT_PROBABILITY), low=0.0, high=1.0
    )
    if probability == 0:
        raise AugmentationError(f"augment: {name}: probability 0 does nothing; leave {name} out.")
    read = {key: kind.read(f"augment: {name}: {key}", given.get(key, kind.default)) for key, kind in fields.items()}
    missing = [codec for codec in read.get("codec", ()) if codec not in codecs_available()]
    if missing:
        raise AugmentationError(
            f"augment: coded: the installed libsndfile lacks {', '.join(missing)}; it has "
            f"{', '.join(codecs_available()) or 'no codec'}. Name those that it has."
        )
    return {"probability": probability, **read}


def _unknown(where: str, kind: str, name: str, *, known: Sequence[str] | Mapping[str, Any]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"Did you mean {nearest[0]!r}? " if nearest else ""
    return f"{where}: no {kind} is called {name!r}. {hint}There are {', '.join(known)}."
