"""Puts clips of unequal length into one batch.

Normalisation and padding are the feature extractor's, so a batch here is what a pipeline gives the model. Own work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
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
            clips: each with `input_values`, a float32 waveform (samples,), and `labels`, a class index or the tasks'
                float32 (columns,); with mixup each also with `mixed_targets`, like `labels`, and `mixing_weights`.

        Returns:
            `input_values` (batch, samples) float32, `attention_mask` (batch, samples), 1 on the clip and 0 on padding,
            `labels` (batch,) int64, or (batch, columns) float32; with mixup `mixed_targets`, like `labels`, and
            `mixing_weights` (batch,) float32.
        """
        batch = self.feature_extractor(
            [clip["input_values"] for clip in clips],
            sampling_rate=self.feature_extractor.sampling_rate,
            padding=True,
            return_attention_mask=True,
            return_tensors="pt",
        )
        padded = {name: batch[name] for name in ("input_values", "attention_mask")}
        targets = [name for name in ("labels", "mixed_targets") if name in clips[0]]
        padded |= {name: torch.from_numpy(np.asarray([clip[name] for clip in clips])) for name in targets}
        if "mixing_weights" in clips[0]:
            padded["mixing_weights"] = torch.tensor([clip["mixing_weights"] for clip in clips], dtype=torch.float32)
        return padded
