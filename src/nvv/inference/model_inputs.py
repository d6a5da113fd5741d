"""What a model's forward takes, made from waveforms: padded together where it hides padding, else by equal shape.

Which waveforms share a batch is decided by the neighbours `classify` (clips of a corpus, all lengths known) and
`streams` (any number of sounds); a model runs on a batch in `forward_batch`. Own work.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import groupby
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import ASTFeatureExtractor, PreTrainedModel, WhisperFeatureExtractor
from transformers.feature_extraction_sequence_utils import SequenceFeatureExtractor

from ..audio import SAMPLING_RATE
from ..configuration_nvv import NvvConfig
from ..training.collator import ClipCollator

__all__ = [
    "BatchInputs",
    "Compute",
    "Inputs",
    "batch_inputs",
    "check_feature_extractor",
    "embeddings_of",
    "forward_batch",
    "logits_of",
    "made_ready",
]

_FRAMES_PER_SECOND = 100  # of the log-mel front-ends that pad to a number of frames
_WHISPER_SECONDS = 30.0
_KALDI_WINDOW, _KALDI_HOP = 400, 160  # samples: 25 and 10 ms, which an Audio Spectrogram Transformer's frames have

Inputs: TypeAlias = dict[str, torch.Tensor]
"""What a model's forward takes, by name, the first axis being clips."""

Compute: TypeAlias = Callable[[PreTrainedModel, Inputs], torch.Tensor]
"""Rows (batch, …) from a model and a batch; on a CPU it runs in several threads at once."""


def logits_of(model: PreTrainedModel, inputs: Inputs) -> torch.Tensor:
    """Return the logits of a batch (batch, labels)."""
    return model(**inputs).logits


def embeddings_of(model: PreTrainedModel, inputs: Inputs) -> torch.Tensor:
    """Return the embeddings of a batch (batch, size) from a model of this package."""
    return model.embed(**inputs)


class BatchInputs(Protocol):
    """How waveforms become batches for one model."""

    def cost(self, num_samples: int) -> int:
        """Return the samples that a clip of `num_samples` takes the encoder."""
        ...

    def min_samples(self) -> int:
        """Return how many samples a clip needs at least."""
        ...

    def max_samples(self) -> int | None:
        """Return how many samples of a clip are heard at most, whatever follows; None for all, and where unknown."""
        ...

    def prepare(self, waveforms: Sequence[NDArray[np.float32]]) -> list[tuple[list[int], Inputs]]:
        """Make the batches of some waveforms (samples,).

        Args:
            waveforms: clips, those of equal length beside each other.

        Returns:
            For each batch the places of its clips among the waveforms, and the model's inputs.
        """
        ...


def batch_inputs(model: PreTrainedModel, feature_extractor: SequenceFeatureExtractor) -> BatchInputs:
    """Return how waveforms become batches for a model.

    Args:
        model: the classifier. Those of this package do not hear padding, so that clips of unequal length share a batch.
        feature_extractor: the model's.
    """
    is_padding_safe = model.config.model_type == NvvConfig.model_type
    return (_PaddedTogether if is_padding_safe else _PreparedAlone)(model, feature_extractor)


def check_feature_extractor(feature_extractor: SequenceFeatureExtractor) -> None:
    """Refuse a feature extractor of another rate than clips are decoded to.

    Raises:
        ValueError: for another sampling rate than 16 kHz.
    """
    if feature_extractor.sampling_rate != SAMPLING_RATE:
        raise ValueError(
            f"feature_extractor: expected one of {SAMPLING_RATE} Hz, found {feature_extractor.sampling_rate} Hz. "
            "Clips are decoded to 16 kHz, which is what speech encoders take."
        )


def made_ready(
    model: PreTrainedModel, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
) -> PreTrainedModel:
    """Return a model in evaluation mode, where and in which precision it is to compute.

    Args:
        model: moved to the device, and put into evaluation mode.
        dtype: the precision; None: the model's own.
        device: None: where it is.

    Returns:
        The model; in another precision a copy, as what was rounded could not be got back.
    """
    if device is not None:
        model.to(device)
    model.eval()
    if dtype is None or model.dtype == dtype:
        return model
    return copy.deepcopy(model).to(dtype)


@torch.inference_mode()
def forward_batch(model: PreTrainedModel, inputs: Inputs, compute: Compute) -> NDArray[np.float32]:
    """Run one batch.

    Args:
        model: where it is to compute.
        inputs: on any device.
        compute: what is wanted of the model.

    Returns:
        Rows (clips, …).
    """
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
    """

    def __init__(self, model: PreTrainedModel, feature_extractor: SequenceFeatureExtractor) -> None:
        self._config = model.config
        self._collate = ClipCollator(feature_extractor)

    def cost(self, num_samples: int) -> int:
        """Return the samples that a clip takes the encoder."""
        if self._config.padding == "silence":
            # Every clip is heard with its silence.
            return round(self._config.padding_seconds * SAMPLING_RATE)
        return num_samples

    def min_samples(self) -> int:
        """Return 1: such a model continues clips that are too short for its front-end."""
        return 1

    def max_samples(self) -> int:
        """Return what the model cuts clips to."""
        return round(self._config.max_seconds * SAMPLING_RATE)

    def prepare(self, waveforms: Sequence[NDArray[np.float32]]) -> list[tuple[list[int], Inputs]]:
        """Pad clips to one batch."""
        # Whatever the labels are, they are not looked at here.
        inputs = self._collate([{"input_values": waveform, "labels": 0} for waveform in waveforms])
        del inputs["labels"]
        return [(list(range(len(waveforms))), inputs)]


class _PreparedAlone:
    """Batches for a model that hears padding: each clip as the pipeline would prepare it, and equal shapes together.

    Args:
        model: the classifier.
        feature_extractor: the model's.
    """

    def __init__(self, model: PreTrainedModel, feature_extractor: SequenceFeatureExtractor) -> None:
        self._config = model.config
        self._feature_extractor = feature_extractor

    def cost(self, num_samples: int) -> int:
        """Return the samples that a clip takes the encoder."""
        return num_samples if self._fixed_samples is None else self._fixed_samples

    def min_samples(self) -> int:
        """Return how many samples give the model one frame."""
        if isinstance(self._feature_extractor, ASTFeatureExtractor):
            return _KALDI_WINDOW
        kernels, strides = getattr(self._config, "conv_kernel", None), getattr(self._config, "conv_stride", None)
        if kernels is None or strides is None or len(kernels) != len(strides):
            return 1
        strides_before = [math.prod(strides[:at]) for at in range(len(strides))]
        return 1 + sum((kernel - 1) * stride for kernel, stride in zip(kernels, strides_before, strict=True))

    def max_samples(self) -> int | None:
        """Return what the feature extractors of Whisper and of Audio Spectrogram Transformers cut clips to."""
        if isinstance(self._feature_extractor, WhisperFeatureExtractor):
            return self._feature_extractor.n_samples
        if isinstance(self._feature_extractor, ASTFeatureExtractor):
            return (self._feature_extractor.max_length - 1) * _KALDI_HOP + _KALDI_WINDOW
        return None

    @cached_property
    def _fixed_samples(self) -> int | None:
        """The length that every clip is brought to, in samples, or None where each keeps its own."""
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

    def prepare(self, waveforms: Sequence[NDArray[np.float32]]) -> list[tuple[list[int], Inputs]]:
        """Prepare clips; those of different shapes come in several batches."""
        return list(_grouped_by_shape([self._prepare(waveform) for waveform in waveforms]))


def _grouped_by_shape(prepared: Sequence[Inputs]) -> Iterator[tuple[list[int], Inputs]]:
    """Join neighbours of equal shape into one batch."""

    def shapes(item: tuple[int, Inputs]) -> list[tuple[str, Any]]:
        return sorted((name, tuple(value.shape)) for name, value in item[1].items())

    for _, items in groupby(enumerate(prepared), key=shapes):
        same = list(items)
        names = same[0][1]
        yield [at for at, _ in same], {name: torch.cat([inputs[name] for _, inputs in same]) for name in names}
