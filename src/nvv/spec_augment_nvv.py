"""SpecAugment: spans of frames and of features that are masked in training, drawn for each clip by itself.

Park et al. 2019 in the form of the stock encoders' `_compute_mask_indices`: of a clip with n frames,
mask_time_prob · n / mask_time_length spans of mask_time_length frames, rounded up or down by chance, at least
mask_time_min_masks, may overlap; likewise over features. Unlike there, numbers and places depend on the clip's own
frames and its own draw, not on the longest clip of the batch, and no padding is masked. What masked frames are replaced
by is the encoders' (`backbones_nvv`). Part of the remote-code bundle: imports only torch and transformers.
"""

from __future__ import annotations

import torch
from transformers import PreTrainedConfig


@torch.compiler.disable
def span_mask(
    lengths: list[int], size: int, *, seeds: list[int], probability: float, span_length: int, min_spans: int
) -> torch.Tensor | None:
    """Draws spans.

    Args:
        lengths: How many positions of each clip may be masked: its first ones.
        size: Positions there are.
        seeds: What each clip's spans follow from: how much one clip draws does not move what the next one draws.
        probability: Share of a clip that spans would cover if none overlapped.
        span_length: Positions in a span, at least 1.
        min_spans: At least so many a clip, as far as that many fit into it side by side.

    Returns:
        `(batch, size)` on the CPU, true where masked; `None` where nothing is ever masked.
    """
    if probability <= 0:
        return None
    mask = torch.zeros(len(lengths), size, dtype=torch.bool)
    offsets = torch.arange(span_length)
    for clip_mask, length, seed in zip(mask, lengths, seeds, strict=True):
        generator = torch.Generator().manual_seed(seed)
        expected = probability * length / span_length
        num_spans = max(int(expected + torch.rand([], generator=generator).item()), min_spans)
        num_spans = min(num_spans, length // span_length)
        if num_spans > 0:
            starts = torch.randperm(length - span_length + 1, generator=generator)[:num_spans]
            clip_mask[starts.unsqueeze(-1) + offsets] = True
    return mask


def mask_frames(
    frames: torch.Tensor,
    num_frames: torch.Tensor | None,
    *,
    config: PreTrainedConfig,
    replacement: torch.Tensor | float = 0.0,
) -> torch.Tensor:
    """Masks spans of frames and of features as a backbone's config says.

    Draws two numbers a clip from torch's generator on the CPU, whatever the device.

    Args:
        frames: `(batch, frames, features)`; left as it is, a copy is changed.
        num_frames: `(batch,)`, each clip's own frames; `None` where all are.
        config: Gives `apply_spec_augment`, `mask_time_prob`, `mask_time_length`, `mask_time_min_masks`, and likewise
            for features.
        replacement: What masked frames become: a number or `(features,)`. Masked features become 0.

    Returns:
        `(batch, frames, features)`.
    """
    if not getattr(config, "apply_spec_augment", False):
        return frames
    batch, max_frames, num_features = frames.shape
    time_seeds, feature_seeds = torch.randint(2**62, (batch, 2)).T.tolist()
    in_time = span_mask(
        [max_frames] * batch if num_frames is None else num_frames.tolist(),
        max_frames,
        seeds=time_seeds,
        probability=config.mask_time_prob,
        span_length=config.mask_time_length,
        min_spans=config.mask_time_min_masks,
    )
    in_features = span_mask(
        [num_features] * batch,
        num_features,
        seeds=feature_seeds,
        probability=config.mask_feature_prob,
        span_length=config.mask_feature_length,
        min_spans=getattr(config, "mask_feature_min_masks", 0),  # not a field of WavLM's
    )
    if in_time is not None:
        replacement = torch.as_tensor(replacement, dtype=frames.dtype, device=frames.device)
        frames = torch.where(in_time.to(frames.device).unsqueeze(-1), replacement, frames)
    if in_features is not None:
        frames = frames.masked_fill(in_features.to(frames.device).unsqueeze(1), 0.0)
    return frames
