"""The clips of one split as a torch dataset: decoded, cropped and labelled.

Decoding itself is `nvv.audio`'s, padding to a batch the neighbour `collator`'s, the order of clips the neighbour
`samplers`'. A random crop depends on the seed, the epoch and the clip's index and on nothing else, so that worker
processes, several training processes and resumed runs cut the same. The epoch comes with each index, from the sampler:
a dataset that had to be told of each epoch would miss it in persistent workers and wherever accelerate forwards
`set_epoch` only to the sampler. Mixup and augmentation (`nvv.data.augmentation`) depend on the same three numbers.

A training clip is cropped, mixed with a cropped partner, transformed, and cropped again: transforms never work on
minutes of a recording of which seconds are heard, a mixture is heard in one room and over one line, and what speed and
shift make longer than `max_seconds` is cut at a random place again. Waveforms are float32 mono at 16 kHz. Own work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datasets
import numpy as np
import torch
from tqdm.auto import tqdm

from ..audio import SAMPLING_RATE, audio_duration, crop, decode_audio
from ..data.augmentation import Augmentation, mix_clips, mixing_weight
from .tasks import TaskSpec, label_matrix

# What a generator of (seed, epoch, index) is for, as a fourth number; crops have none. 0 would give the crops' numbers.
_AUGMENTATION_DRAWS = 1
_MIXUP_DRAWS = 2


class ClipDataset(torch.utils.data.Dataset):
    """Clips and labels of one split.

    Args:
        split: columns `audio` (undecoded cells), `label` or those of the tasks, `file`, and `speaker_id` where known.
        max_seconds: longer clips are cropped to this, > 0.
        tasks: what is predicted; None for the classes of the column `label`.
        random_crops: crop at a random place (training) or from the start (evaluation).
        seed: of the random crops.
        memory_mebibytes: decoded clips kept in memory at most; 0 decodes at every access.
        augmentation: what is done to clips; None for nothing. For the training split only.
        mixup_alpha: mix each clip with another one of the split, with a share from Beta(alpha, alpha); 0: do not. For
            the training split only.

    Raises:
        ValueError: for a split without one of these columns, without clips, or, where there are no tasks, with a clip
            without a label; for mixup or babble, with a single clip.

    Example:
        >>> dataset = ClipDataset(load_corpus("synthetic")["train"], max_seconds=7.0)  # doctest: +SKIP
        >>> dataset[0]["input_values"].dtype  # doctest: +SKIP
        dtype('float32')
    """

    def __init__(
        self,
        split: datasets.Dataset,
        *,
        max_seconds: float,
        tasks: Sequence[TaskSpec] | None = None,
        random_crops: bool = False,
        seed: int = 0,
        memory_mebibytes: int = 0,
        augmentation: Augmentation | None = None,
        mixup_alpha: float = 0.0,
    ) -> None:
        wanted = ["label"] if tasks is None else [column for task in tasks for column in task.columns]
        missing = [name for name in ("audio", *wanted, "file") if name not in split.column_names]
        if missing:
            raise ValueError(
                f"split: expected columns audio, {', '.join(wanted)} and file, found no {', '.join(missing)} among "
                f"{', '.join(split.column_names)}. Load it with nvv.data.load_corpus."
            )
        if len(split) == 0:
            raise ValueError("split: expected at least one clip, found none.")
        self.tasks = None if tasks is None else tuple(tasks)
        self.files: list[str] = list(split["file"][:])
        self.label_names: list[str] = split.features["label"].names if tasks is None else []
        self.labels = _classes(split, self.files) if tasks is None else label_matrix(split, tasks)
        self._split = split
        self.speaker_ids = _known_speakers(split)
        # Decoding by the datasets library is off, so that the installed decoders do not decide what a clip contains.
        audio = split.select_columns(["audio"]).cast_column("audio", datasets.Audio(decode=False))
        self._audio = audio.with_format("arrow")  # rows as they are stored, in half the time
        self._max_seconds = max_seconds
        self._random_crops = random_crops
        self._seed = seed
        self._augmentation = augmentation
        self._mixup_alpha = mixup_alpha
        if len(split) < 2 and (mixup_alpha or (augmentation is not None and augmentation.needs_others)):
            raise ValueError("split: expected at least two clips for mixup or babble, found one. Leave them out.")
        self._room = memory_mebibytes * 2**20
        self._kept: dict[int, np.ndarray] = {}
        self._lengths: list[int] | None = None

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Any]:
        """Return one clip.

        Args:
            key: the clip's index, or (index, epoch).

        Returns:
            `input_values`: float32 waveform (samples,), at most `max_seconds` long. `labels`: the class index, or
            of tasks float32 (columns,), NaN where missing. With mixup also `mixed_targets`, the partner's labels, and
            `mixing_weights`, the share of the clip's own, in [0.5, 1].

        Raises:
            nvv.audio.AudioError: if the clip cannot be decoded.
        """
        index, epoch = key if isinstance(key, tuple) else (key, 0)
        index = int(index)
        generator = np.random.default_rng((self._seed, epoch, index))
        clip = {"input_values": self._cropped(self._decoded(index), generator), "labels": self._labels_of(index)}
        if self._mixup_alpha:
            draws = np.random.default_rng((self._seed, epoch, index, _MIXUP_DRAWS))
            clip |= self._mixed(clip["input_values"], index, draws=draws)
        if self._augmentation is not None:
            draws = np.random.default_rng((self._seed, epoch, index, _AUGMENTATION_DRAWS))
            changed = self._augmentation(clip["input_values"], generator=draws, others=_OtherClips(self, index))
            clip["input_values"] = self._cropped(changed, draws)
        return clip

    def __getstate__(self) -> dict[str, Any]:
        """Leave decoded clips behind when a worker process gets its copy."""
        return {**self.__dict__, "_kept": {}}

    @property
    def max_seconds(self) -> float:
        """Length in seconds that longer clips are cropped to."""
        return self._max_seconds

    @property
    def column_names(self) -> list[str]:
        """The corpus's columns."""
        return self._split.column_names

    def column(self, name: str) -> list[Any]:
        """Return a column of the corpus, such as `sex` (clips,), None where missing.

        Raises:
            ValueError: for a column that the corpus does not have.
        """
        if name not in self._split.column_names:
            raise ValueError(f"the corpus has no column {name!r}; it has {', '.join(self._split.column_names)}.")
        return list(self._split[name][:])

    def encoded(self, index: int) -> dict[str, Any]:
        """Return a clip's undecoded Arrow cell, `{"bytes": …, "path": …}`."""
        return self._audio[index]["audio"][0].as_py()

    def from_start(self, index: int) -> np.ndarray:
        """Return a clip cropped from its start, whatever the split does in training.

        Args:
            index: the clip's.

        Returns:
            float32 waveform (samples,), at most `max_seconds` long.

        Raises:
            nvv.audio.AudioError: if the clip cannot be decoded.
        """
        return crop(self._decoded(index), max_seconds=self._max_seconds)

    @property
    def lengths(self) -> list[int]:
        """Samples of each clip after cropping (clips,), from the files' headers; computed once."""
        if self._lengths is None:
            longest = round(self._max_seconds * SAMPLING_RATE)
            files = tqdm(self.files, desc="Reading clip lengths", disable=len(self) < 2_000, leave=False)
            self._lengths = [
                min(longest, round(audio_duration(self.encoded(index), name=file) * SAMPLING_RATE))
                for index, file in enumerate(files)
            ]
        return self._lengths

    def check_audio(self) -> None:
        """Decode every clip once, keeping those that there is room for.

        Raises:
            nvv.audio.AudioError: for the first clip that cannot be decoded, naming it.
        """
        for index in tqdm(range(len(self)), desc="Checking clips", disable=len(self) < 2_000, leave=False):
            self._decoded(index)

    def _cropped(self, waveform: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Crop a waveform (samples,), at a random place in training."""
        return crop(waveform, max_seconds=self._max_seconds, generator=generator if self._random_crops else None)

    def _labels_of(self, index: int) -> int | np.ndarray:
        return int(self.labels[index]) if self.tasks is None else self.labels[index]

    def _mixed(self, waveform: np.ndarray, index: int, *, draws: np.random.Generator) -> dict[str, Any]:
        """Mix a clip (samples,) with another one of the split."""
        weight = mixing_weight(draws, alpha=self._mixup_alpha)
        partner = _other_index(int(draws.integers(len(self) - 1)), but=index)
        other = self._cropped(self._decoded(partner), draws)
        return {
            "input_values": mix_clips(waveform, other, weight=weight, generator=draws),
            "mixed_targets": self._labels_of(partner),
            "mixing_weights": weight,
        }

    def _decoded(self, index: int) -> np.ndarray:
        """Return the whole clip, from memory where it is kept."""
        kept = self._kept.get(index)
        if kept is not None:
            return kept
        waveform = decode_audio(self.encoded(index), sampling_rate=SAMPLING_RATE, name=self.files[index])
        if waveform.nbytes <= self._room:
            self._room -= waveform.nbytes
            self._kept[index] = waveform
        return waveform


class _OtherClips(Sequence):
    """All clips of a dataset but one, whole, decoded when asked for."""

    def __init__(self, clips: ClipDataset, index: int) -> None:
        self._clips = clips
        self._index = index

    def __len__(self) -> int:
        return len(self._clips) - 1

    def __getitem__(self, at: int) -> np.ndarray:
        if not 0 <= at < len(self):
            raise IndexError(f"expected an index from 0 to {len(self) - 1}, found {at}.")
        return self._clips._decoded(_other_index(at, but=self._index))


def _other_index(at: int, *, but: int) -> int:
    """Return the index of the clip that stands at a place where one is left out."""
    return at + (at >= but)


def _classes(split: datasets.Dataset, files: Sequence[str]) -> np.ndarray:
    """Return every clip's class index (clips,)."""
    labels = list(split["label"][:])
    unlabelled = [file for file, label in zip(files, labels, strict=True) if label is None or label < 0]
    if unlabelled:
        raise ValueError(
            f"split: {len(unlabelled)} of {len(labels)} clips have no label, the first is {unlabelled[0]}. "
            "Choose a split_protocol whose clips are all labelled, or train with tasks: {NAME: {label: label}}, which "
            "leaves them out of the loss."
        )
    return np.asarray(labels, dtype=np.int64)


def _known_speakers(split: datasets.Dataset) -> list[str] | None:
    """Return who made each sound, or None where a clip's speaker is not known."""
    if "speaker_id" not in split.column_names:
        return None
    speakers = list(split["speaker_id"][:])
    return None if None in speakers else [str(speaker) for speaker in speakers]


def evenly_taken(split: datasets.Dataset, *, num_clips: int | None) -> datasets.Dataset:
    """Return some of a split's clips, taken at even distances after sorting by label.

    Args:
        split: clips; without a column `label`, or where labels are missing, they are taken in their own order.
        num_clips: how many; None, or more than there are: all.

    Returns:
        The clips in the split's order; classes keep about their shares.
    """
    if num_clips is None or num_clips >= len(split):
        return split
    labels = list(split["label"][:]) if "label" in split.column_names else [0] * len(split)
    by_label = np.argsort([-1 if label is None else label for label in labels], kind="stable")
    chosen = np.linspace(0, len(split) - 1, num=num_clips).round().astype(int)
    return split.select(sorted(by_label[chosen].tolist()))


def class_balancing_weights(labels: Sequence[int] | np.ndarray, *, label_names: Sequence[str]) -> list[float]:
    """Compute weights that give every class the same say: n / (k · n_c).

    Args:
        labels: class indices of the training clips (clips,).
        label_names: the k classes.

    Returns:
        One weight for each class; their mean over the training clips is 1.

    Raises:
        ValueError: for a class without a training clip, which no weight can balance.

    Example:
        >>> class_balancing_weights([0, 0, 0, 1], label_names=["laugh", "sigh"])
        [0.6666666666666666, 2.0]
    """
    counts = np.bincount(np.asarray(labels, dtype=np.int64), minlength=len(label_names))
    if (counts == 0).any():
        absent = ", ".join(name for name, count in zip(label_names, counts, strict=True) if count == 0)
        raise ValueError(
            f"class_balanced_loss: expected training clips of every class, found none of: {absent}. "
            "Choose another split protocol, or turn the option off."
        )
    return (counts.sum() / (len(label_names) * counts)).tolist()
