"""The clips of one split as a torch dataset: decoded, cropped and labelled.

Decoding itself is `nvv.audio`'s, padding to a batch the neighbour `collator`'s, the order of clips the neighbour
`samplers`'. A random crop depends on the seed, the epoch and the clip's index and on nothing else, so that worker
processes, several training processes and resumed runs cut the same. The epoch comes with each index, from the sampler:
a dataset that had to be told of each epoch would miss it in persistent workers and wherever accelerate forwards
`set_epoch` only to the sampler. Waveforms are float32 mono at 16 kHz. Own work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datasets
import numpy as np
import torch
from tqdm.auto import tqdm

from ..audio import SAMPLING_RATE, audio_duration, crop, decode_audio


class ClipDataset(torch.utils.data.Dataset):
    """Clips and labels of one split.

    Args:
        split: columns `audio` (undecoded cells), `label`, `file`, and `speaker_id` where known.
        max_seconds: longer clips are cropped to this, > 0.
        random_crops: crop at a random place (training) or from the start (evaluation).
        seed: of the random crops.
        memory_mebibytes: decoded clips kept in memory at most; 0 decodes at every access.

    Raises:
        ValueError: for a split without one of the first three columns, without clips, or with a clip without a label.

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
        random_crops: bool = False,
        seed: int = 0,
        memory_mebibytes: int = 0,
    ) -> None:
        missing = [name for name in ("audio", "label", "file") if name not in split.column_names]
        if missing:
            raise ValueError(
                f"split: expected columns audio, label and file, found no {', '.join(missing)} among "
                f"{', '.join(split.column_names)}. Load it with nvv.data.load_corpus."
            )
        if len(split) == 0:
            raise ValueError("split: expected at least one clip, found none.")
        self.label_names: list[str] = split.features["label"].names
        self.files: list[str] = list(split["file"][:])
        labels = list(split["label"][:])
        unlabelled = [file for file, label in zip(self.files, labels, strict=True) if label is None or label < 0]
        if unlabelled:
            raise ValueError(
                f"split: {len(unlabelled)} of {len(labels)} clips have no label, the first is {unlabelled[0]}. "
                "Choose a split_protocol whose clips are all labelled."
            )
        self.labels = np.asarray(labels, dtype=np.int64)
        self.speaker_ids = _known_speakers(split)
        # Decoding by the datasets library is off, so that the installed decoders do not decide what a clip contains.
        audio = split.select_columns(["audio"]).cast_column("audio", datasets.Audio(decode=False))
        self._audio = audio.with_format("arrow")  # rows as they are stored, in half the time
        self._max_seconds = max_seconds
        self._random_crops = random_crops
        self._seed = seed
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
            `input_values`: float32 waveform (samples,), at most `max_seconds` long. `labels`: the class index.

        Raises:
            nvv.audio.AudioError: if the clip cannot be decoded.
        """
        index, epoch = key if isinstance(key, tuple) else (key, 0)
        index = int(index)
        generator = np.random.default_rng((self._seed, epoch, index)) if self._random_crops else None
        waveform = crop(self._decoded(index), max_seconds=self._max_seconds, generator=generator)
        return {"input_values": waveform, "labels": int(self.labels[index])}

    def __getstate__(self) -> dict[str, Any]:
        """Leave decoded clips behind when a worker process gets its copy."""
        return {**self.__dict__, "_kept": {}}

    @property
    def max_seconds(self) -> float:
        """Length in seconds that longer clips are cropped to."""
        return self._max_seconds

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


def _known_speakers(split: datasets.Dataset) -> list[str] | None:
    """Return who made each sound, or None where a clip's speaker is not known."""
    if "speaker_id" not in split.column_names:
        return None
    speakers = list(split["speaker_id"][:])
    return None if None in speakers else [str(speaker) for speaker in speakers]


def evenly_taken(split: datasets.Dataset, *, num_clips: int | None) -> datasets.Dataset:
    """Return some of a split's clips, taken at even distances after sorting by label.

    Args:
        split: has a column `label`.
        num_clips: how many; None, or more than there are: all.

    Returns:
        The clips in the split's order; classes keep about their shares.
    """
    if num_clips is None or num_clips >= len(split):
        return split
    by_label = np.argsort(np.asarray(split["label"][:]), kind="stable")
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
