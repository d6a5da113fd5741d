"""The stock ways that the benchmarks measure against: transformers' own classifiers on clips padded to 7 s.

As the LINKS study's published code does it (links-ads/kk-nonverbal-vocal-class, read in code): the feature extractor
pads every clip to 7 s, Whisper's position table is cut to the 350 rows that takes, no attention mask reaches the model,
the head is the weighted layer sum. Where a choice is open, the faster one is given to the stock side: clips are decoded
by `nvv.audio` and kept in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from _side_by_side import MAX_SECONDS, backbone_config
from transformers import (
    PreTrainedModel,
    SequenceFeatureExtractor,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForSequenceClassification,
    WhisperFeatureExtractor,
    WhisperForAudioClassification,
)

from nvv.training.dataset import ClipDataset

RATE = 16_000
WHISPER_SECONDS = 30
_FRAMES_A_SECOND = 50


def stock_classifier(case: Mapping[str, Any], *, num_labels: int, seconds: float = MAX_SECONDS) -> PreTrainedModel:
    """Make the stock classifier of a case's backbone with random weights, in evaluation mode.

    LayerDrop and SpecAugment are off, as they are in ours.

    Args:
        case: Names the backbone.
        num_labels: Classes.
        seconds: What clips are padded to; Whisper's encoder takes this length and no other.
    """
    config = backbone_config(case["backbone"], quick=case["quick"])
    config.update({"num_labels": num_labels, "use_weighted_layer_sum": True, "classifier_proj_size": 256})
    torch.manual_seed(0)
    if config.model_type == "whisper":
        config.max_source_positions = round(seconds * _FRAMES_A_SECOND)
        return WhisperForAudioClassification(config).eval()
    config.update({"layerdrop": 0.0, "apply_spec_augment": False})
    return Wav2Vec2ForSequenceClassification(config).eval()


def stock_feature_extractor(case: Mapping[str, Any], *, seconds: float = MAX_SECONDS) -> SequenceFeatureExtractor:
    """Make the stock feature extractor of a case's backbone."""
    if "whisper" in case["backbone"]:
        return WhisperFeatureExtractor(chunk_length=round(seconds))
    return Wav2Vec2FeatureExtractor(return_attention_mask=False)


def padded_features(
    extractor: SequenceFeatureExtractor, waveforms: Sequence[Any], *, seconds: float = MAX_SECONDS
) -> dict[str, torch.Tensor]:
    """Extract features of clips padded to `seconds`, as one batch of the stock model's inputs."""
    options = {"padding": "max_length", "truncation": True, "max_length": round(seconds * RATE)}
    batch = extractor(list(waveforms), sampling_rate=RATE, return_tensors="pt", **options)
    return dict(batch)


class PaddedCollator:
    """Makes batches of clips padded to 7 s: features are extracted each time a clip is used.

    Args:
        extractor: The stock feature extractor.
    """

    def __init__(self, extractor: SequenceFeatureExtractor) -> None:
        self.extractor = extractor

    def __call__(self, clips: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """Pad the clips and put their labels beside them."""
        batch = padded_features(self.extractor, [clip["input_values"] for clip in clips])
        return {**batch, "labels": torch.tensor([clip["labels"] for clip in clips])}


def decoded(clips: ClipDataset) -> list[Any]:
    """Decode all clips: float32 waveforms at 16 kHz."""
    return [clips[index]["input_values"] for index in range(len(clips))]
