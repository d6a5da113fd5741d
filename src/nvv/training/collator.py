"""Puts clips of unequal length into one batch.

Normalisation and padding are the feature extractor's, so a batch here is what a pipeline gives the model. Own work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import Wav2Vec2FeatureExtractor


@dataclass(frozen=True)
class ClipCollator:
    """Pads clips to the longest of them.

    Args:
        feature_extractor: the model's; normalises each clip by itself where its backbone was trained so.
    """

    feature_extractor: Wav2Vec2FeatureExtractor

    def __call__(self, clips: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Make a batch.

        Args:
            clips: each with `input_values`, a float32 waveform (samples,), and `labels`, a class index.

        Returns:
            `input_values` (batch, samples) float32, `attention_mask` (batch, samples), 1 on the clip and 0 on padding,
            `labels` (batch,) int64.
        """
        batch = self.feature_extractor(
            [clip["input_values"] for clip in clips],
            sampling_rate=self.feature_extractor.sampling_rate,
            padding=True,
            return_attention_mask=True,
            return_tensors="pt",
        )
        return {
            "input_values": batch["input_values"],
            "attention_mask": batch["attention_mask"],
            "labels": torch.tensor([clip["labels"] for clip in clips], dtype=torch.int64),
        }
