"""One pass of a frozen backbone over clips: every hidden state, pooled over frames.

Held here: how clips are batched, decoded ahead and encoded. What is stored where is `feature_cache`'s business, which
clips are computed by which process that of `features`. Own work.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

import torch
from transformers import Wav2Vec2FeatureExtractor

from ..audio import SAMPLING_RATE
from ..data.batches import length_sorted_batches
from ..heads_nvv import pool_frames
from ..modeling_nvv import NvvForAudioClassification
from .collator import ClipCollator
from .feature_clips import FeatureClip
from .feature_settings import normalises_last_alone
from .side_by_side import computed_batches


class FeaturePass:
    """A backbone ready to compute features.

    The model it was made from stays as it was: another precision or device makes a copy of the backbone.

    Args:
        model: Classifier with the backbone, in float32.
        feature_extractor: The model's.
        device: Where to compute; None: where the model is.
        bf16: Compute in bfloat16 throughout, which on CPUs with bfloat16 products takes half the time of automatic
            mixed precision. Pooling is in float32 in any case.

    Example:
        >>> encoder = FeaturePass(model, feature_extractor)  # doctest: +SKIP
        >>> for places, features in encoder.run(clips, lengths, max_batch_seconds=40.0, num_workers=2):
        ...     print(features.shape)  # (batch, states, width)  # doctest: +SKIP
    """

    def __init__(
        self,
        model: NvvForAudioClassification,
        feature_extractor: Wav2Vec2FeatureExtractor,
        *,
        device: torch.device | None = None,
        bf16: bool = False,
    ) -> None:
        config = copy.deepcopy(model.config)
        # All hidden states, as the weighted sum reads them; the last one's other form is computed from it.
        config.layers, config.use_weighted_layer_sum = None, True
        self.device = device or model.device
        backbone = model.backbone
        if bf16 or self.device != backbone.device:
            backbone = copy.deepcopy(backbone).to(self.device, torch.bfloat16 if bf16 else torch.float32)
        with torch.device("meta"):  # a shell around the backbone: its own weights are never used
            self._encoder = NvvForAudioClassification(config)
        self._encoder.backbone = backbone
        self._layers = list(range(config.num_hidden_states))
        self._collator = ClipCollator(feature_extractor)
        self._bf16 = bf16

    def run(
        self,
        clips: Sequence[FeatureClip],
        lengths: Sequence[int],
        *,
        max_batch_seconds: float,
        num_workers: int,
    ) -> Iterator[tuple[list[int], torch.Tensor]]:
        """Compute clips in length-sorted batches, decoding ahead in threads.

        Args:
            clips: The clips.
            lengths: Samples of each after cropping.
            max_batch_seconds: Number of clips times the longest of them, in seconds, at most.
            num_workers: Threads that decode.

        Yields:
            For each batch the places of its clips in `clips` and their features (batch, states, width) float32, on
            the CPU. The states are all hidden states and, where `normalises_last_alone`, the last one after its norm.

        Raises:
            AudioError: For a clip that cannot be decoded, naming it.
            ValueError: For a clip whose features are not finite, naming it.
        """
        config = self._encoder.config
        if config.padding == "silence":
            lengths = [round(config.padding_seconds * SAMPLING_RATE)] * len(clips)
        batches = length_sorted_batches(lengths, max_batch_samples=max(1, round(max_batch_seconds * SAMPLING_RATE)))
        computed = computed_batches(
            batches,
            lambda batch: self._load([clips[at] for at in batch]),
            self._encode,
            device_type=self.device.type,
            num_workers=num_workers,
        )
        with _evaluating(self._encoder.backbone), _exact_products(enabled=not self._bf16), closing(computed):
            for batch, features in zip(batches, computed, strict=True):
                finite = torch.isfinite(features).all(dim=(1, 2))
                if not finite.all():
                    file = clips[batch[int(finite.long().argmin())]].file
                    raise ValueError(f"{file}: the backbone's features of this clip are not finite numbers.")
                yield batch, features

    def _load(self, clips: Sequence[FeatureClip]) -> dict[str, torch.Tensor]:
        """Decode, crop, normalise and pad a batch."""
        return self._collator([{"input_values": clip.waveform(), "labels": 0} for clip in clips])

    @torch.inference_mode()
    def _encode(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return all hidden states of a batch, pooled: (batch, states, width) float32 on the CPU."""
        config = self._encoder.config
        states, frame_mask = self._encoder.encode(
            inputs["input_values"].to(self.device, non_blocking=True),
            inputs["attention_mask"].to(self.device, non_blocking=True),
            layers=self._layers,
        )
        if normalises_last_alone(config):
            states = (*states, self._encoder.backbone.encoder.layer_norm(states[-1]))
        pooled = [pool_frames(state.float(), frame_mask, config.pooling) for state in states]
        return torch.stack(pooled, dim=1).cpu()


@contextmanager
def _evaluating(backbone: torch.nn.Module) -> Iterator[None]:
    """Switch off dropout, LayerDrop and SpecAugment, and put every module's mode back afterwards."""
    training = [module for module in backbone.modules() if module.training]
    backbone.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


@contextmanager
def _exact_products(*, enabled: bool) -> Iterator[None]:
    """Keep GPUs from rounding float32 products to TF32, or features would depend on the device."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    if enabled:
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
