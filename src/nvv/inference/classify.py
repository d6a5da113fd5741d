"""What a model makes of many clips, such as their logits: batches of like length, decoded ahead, without a Trainer.

The classifiers of this package hide padding, so clips of unequal length share a batch. Those of transformers do not:
each of their clips is prepared by itself, exactly as `pipeline("audio-classification")` does it, and only what then has
equal shape shares a batch. In either case a clip's logits do not depend on the clips beside it. Batches are made in
``nvv.data.batches``, models come from the neighbour `load`. Own work.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import chain, groupby
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm.auto import tqdm
from transformers import PreTrainedModel
from transformers.feature_extraction_sequence_utils import SequenceFeatureExtractor

from ..audio import SAMPLING_RATE
from ..configuration_nvv import NvvConfig
from ..data.batches import default_batch_seconds, length_sorted_batches
from ..processors import default_num_workers
from ..training.collator import ClipCollator
from ..training.dataset import ClipDataset
from ..training.side_by_side import computed_batches

__all__ = ["classify_clips", "compute_clips"]

_FRAMES_PER_SECOND = 100  # of the log-mel front-ends that pad to a number of frames
_WHISPER_SECONDS = 30.0

Inputs: TypeAlias = dict[str, torch.Tensor]
"""What a model's forward takes, by name, the first axis being clips."""


def classify_clips(
    model: PreTrainedModel,
    feature_extractor: SequenceFeatureExtractor,
    clips: ClipDataset,
    *,
    max_batch_seconds: float | None = None,
    bf16: bool = False,
    device: torch.device | str | None = None,
    num_workers: int | None = None,
    show_progress: bool = True,
) -> NDArray[np.float32]:
    """Compute the logits of every clip.

    Args:
        model: an `NvvForAudioClassification`, or any of transformers' audio classifiers; put into evaluation mode.
        feature_extractor: the model's.
        clips: the clips; their labels are not looked at.
        max_batch_seconds: seconds of audio in a batch at most, padding included, > 0; None: what suits the
            device. Changes speed and memory, not logits. A longer clip makes a batch of its own.
        bf16: compute in bfloat16 throughout, in a copy of the model: faster where the processor can, and less exact
            (logits differ by some hundredths).
        device: where to compute; the model is moved there. None: where it is.
        num_workers: threads that decode ahead, 0 for none. None: one a processor, at most eight.
        show_progress: draw a progress bar.

    Returns:
        Logits (clips, labels) in the clips' order.

    Raises:
        ValueError: for a feature extractor of another sampling rate than 16 kHz, or a limit that is not positive.
        nvv.audio.AudioError: for a clip that cannot be decoded, naming it.

    Example:
        >>> logits = classify_clips(model, feature_extractor, clips)  # doctest: +SKIP
        >>> logits.shape == (len(clips), model.config.num_labels)  # doctest: +SKIP
        True
    """
    return compute_clips(
        model,
        feature_extractor,
        clips,
        compute=_logits_of,
        description="Classifying",
        max_batch_seconds=max_batch_seconds,
        bf16=bf16,
        device=device,
        num_workers=num_workers,
        show_progress=show_progress,
    )


def _logits_of(model: PreTrainedModel, inputs: Inputs) -> torch.Tensor:
    return model(**inputs).logits


def compute_clips(
    model: PreTrainedModel,
    feature_extractor: SequenceFeatureExtractor,
    clips: ClipDataset,
    *,
    compute: Callable[[PreTrainedModel, Inputs], torch.Tensor],
    description: str,
    max_batch_seconds: float | None = None,
    bf16: bool = False,
    device: torch.device | str | None = None,
    num_workers: int | None = None,
    show_progress: bool = True,
) -> NDArray[np.float32]:
    """Compute one row of numbers for every clip.

    Args:
        model: as in `classify_clips`.
        feature_extractor: as in `classify_clips`.
        clips: as in `classify_clips`.
        compute: rows (batch, numbers) from the model and a batch; in several threads at once on a CPU.
        description: of the progress bar.
        max_batch_seconds: as in `classify_clips`.
        bf16: as in `classify_clips`.
        device: as in `classify_clips`.
        num_workers: as in `classify_clips`.
        show_progress: as in `classify_clips`.

    Returns:
        The rows (clips, numbers) in the clips' order.

    Raises:
        ValueError: as `classify_clips`.
        nvv.audio.AudioError: as `classify_clips`.
    """
    if max_batch_seconds is not None and max_batch_seconds <= 0:
        raise ValueError(f"max_batch_seconds: expected more than 0, found {max_batch_seconds!r}.")
    if feature_extractor.sampling_rate != SAMPLING_RATE:
        raise ValueError(
            f"feature_extractor: expected one of {SAMPLING_RATE} Hz, found {feature_extractor.sampling_rate} Hz. "
            "Clips are decoded to 16 kHz, which is what speech encoders take."
        )
    model = _made_ready(model, bf16=bf16, device=device)
    is_padding_safe = model.config.model_type == NvvConfig.model_type
    prepare = _PaddedTogether if is_padding_safe else _PreparedAlone
    prepared = prepare(model, feature_extractor, clips)
    seconds = default_batch_seconds(model.device.type) if max_batch_seconds is None else max_batch_seconds
    batches = length_sorted_batches(prepared.costs(), max_batch_samples=max(1, round(seconds * SAMPLING_RATE)))
    num_workers = default_num_workers() if num_workers is None else num_workers
    rows: NDArray[np.float32] | None = None
    computed = computed_batches(
        batches,
        prepared.load,
        lambda loaded: [(indices, _forward(model, inputs, compute)) for indices, inputs in loaded],
        device_type=model.device.type,
        num_workers=num_workers,
    )
    with (
        closing(computed),
        tqdm(total=len(clips), desc=description, unit="clip", leave=False, disable=not show_progress) as progress,
    ):
        for indices, values in chain.from_iterable(computed):
            if rows is None:
                rows = np.empty((len(clips), values.shape[-1]), dtype=np.float32)
            rows[indices] = values
            progress.update(len(indices))
    return rows


def _made_ready(model: PreTrainedModel, *, bf16: bool, device: torch.device | str | None) -> PreTrainedModel:
    """Return the model in evaluation mode, where and in which precision it is to compute."""
    if device is not None:
        model.to(device)
    model.eval()
    if bf16 and model.dtype != torch.bfloat16:
        # A copy: what was rounded to 8 bits of precision could not be got back.
        return copy.deepcopy(model).to(torch.bfloat16)
    return model


@torch.inference_mode()
def _forward(
    model: PreTrainedModel, inputs: Inputs, compute: Callable[[PreTrainedModel, Inputs], torch.Tensor]
) -> NDArray[np.float32]:
    """Run one batch; rows (clips, numbers)."""
    moved = {
        # As the pipeline does it: features in the model's precision, masks as they are.
        name: value.to(model.device, model.dtype if value.is_floating_point() else None)
        for name, value in inputs.items()
    }
    return compute(model, moved).float().cpu().numpy()


class _PaddedTogether:
    """Batches for a model that does not hear padding.

    Args:
        model: the classifier.
        feature_extractor: the model's.
        clips: the clips.
    """

    def __init__(self, model: PreTrainedModel, feature_extractor: SequenceFeatureExtractor, clips: ClipDataset) -> None:
        self._config = model.config
        self._collate = ClipCollator(feature_extractor)
        self._clips = clips

    def costs(self) -> Sequence[int]:
        """Return the samples that each clip takes the encoder (clips,)."""
        lengths = self._clips.lengths
        if self._config.padding == "silence":
            # Every clip is heard with its silence.
            return [round(self._config.padding_seconds * SAMPLING_RATE)] * len(lengths)
        return lengths

    def load(self, indices: list[int]) -> list[tuple[list[int], Inputs]]:
        """Decode and pad the clips of one batch."""
        # Whatever the labels are, they are not looked at here.
        inputs = self._collate([{"input_values": self._clips[index]["input_values"], "labels": 0} for index in indices])
        del inputs["labels"]
        return [(indices, inputs)]


class _PreparedAlone:
    """Batches for a model that hears padding: each clip as the pipeline would prepare it, and equal shapes together.

    Args:
        model: the classifier; not looked at.
        feature_extractor: the model's.
        clips: the clips.
    """

    def __init__(self, model: PreTrainedModel, feature_extractor: SequenceFeatureExtractor, clips: ClipDataset) -> None:
        del model
        self._feature_extractor = feature_extractor
        self._clips = clips

    def costs(self) -> Sequence[int]:
        """Return the samples that each clip takes the encoder (clips,)."""
        lengths = self._clips.lengths
        fixed = self._fixed_samples()
        return lengths if fixed is None else [fixed] * len(lengths)

    def _fixed_samples(self) -> int | None:
        """Return the length that every clip is brought to, in samples, or None where each keeps its own."""
        shapes = [
            {name: value.shape for name, value in self._prepare(np.zeros(seconds * SAMPLING_RATE, np.float32)).items()}
            for seconds in (1, 2)
        ]
        if shapes[0] != shapes[1]:
            return None
        samples = getattr(self._feature_extractor, "n_samples", None)  # Whisper
        frames = getattr(self._feature_extractor, "max_length", None)  # Audio Spectrogram Transformer
        if samples is None and frames is not None:
            samples = frames * SAMPLING_RATE // _FRAMES_PER_SECOND
        return int(_WHISPER_SECONDS * SAMPLING_RATE) if samples is None else int(samples)

    def _prepare(self, waveform: NDArray[np.float32]) -> Inputs:
        return dict(self._feature_extractor(waveform, sampling_rate=SAMPLING_RATE, return_tensors="pt"))

    def load(self, indices: list[int]) -> list[tuple[list[int], Inputs]]:
        """Decode and prepare the clips of one batch; clips of different shapes come in several."""
        prepared = [(index, self._prepare(self._clips[index]["input_values"])) for index in indices]
        return list(_grouped_by_shape(prepared))


def _grouped_by_shape(prepared: Sequence[tuple[int, Inputs]]) -> Iterator[tuple[list[int], Inputs]]:
    """Join neighbours of equal shape into one batch."""

    def shapes(item: tuple[int, Inputs]) -> list[tuple[str, Any]]:
        return sorted((name, tuple(value.shape)) for name, value in item[1].items())

    for _, items in groupby(prepared, key=shapes):
        same = list(items)
        names = same[0][1]
        yield [index for index, _ in same], {name: torch.cat([inputs[name] for _, inputs in same]) for name in names}
