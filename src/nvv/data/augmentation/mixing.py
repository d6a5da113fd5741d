"""Mixup: two training clips and their targets in shares that add up to one.

Zhang et al. 2018 (mixup: Beyond Empirical Risk Minimization, ICLR), equations 1 and 2: x = λ·x₁ + (1-λ)·x₂ and likewise
the targets, λ from Beta(α, α). Targets are mixed in the model's loss (``nvv.losses_nvv``). Own work.
"""

from __future__ import annotations

import numpy as np

from .checks import checked_number, checked_waveform

__all__ = ["mix_clips", "mixing_weight"]


def mixing_weight(generator: np.random.Generator, *, alpha: float) -> float:
    """Draw the share of the first of two clips.

    Args:
        generator: source of the draw.
        alpha: of the Beta distribution, > 0; the smaller, the nearer to 1 are most shares.

    Returns:
        The larger of λ and 1 - λ, in [0.5, 1]: which clip comes first is chance anyway, so that the pairs are
        distributed as published, and a clip's own target is always the larger part.

    Raises:
        AugmentationError: for an alpha that is not above 0.
    """
    share = float(generator.beta(*[checked_number("mixup_alpha", alpha, low=0.0, exclusive=True)] * 2))
    return max(share, 1.0 - share)


def mix_clips(
    waveform: np.ndarray, partner: np.ndarray, *, weight: float, generator: np.random.Generator
) -> np.ndarray:
    """Add two clips.

    The result is as long as the first one, so that batches made of clips of like length stay so: a longer partner is
    cut at a random place, a shorter one starts at a random place and is surrounded by silence.

    Args:
        waveform: the first clip (samples,).
        partner: the second one (any number of samples,).
        weight: share of the first, in [0, 1].
        generator: source of the place.

    Returns:
        The mixture (samples,).

    Raises:
        AugmentationError: for a share out of range, or no usable waveform.
    """
    first, second = checked_waveform(waveform), checked_waveform(partner, name="partner")
    weight = checked_number("weight", weight, low=0.0, high=1.0)
    start = int(generator.integers(abs(len(first) - len(second)) + 1))
    mixture = np.float32(weight) * first
    if len(second) > len(first):
        mixture += np.float32(1 - weight) * second[start : start + len(first)]
    else:
        mixture[start : start + len(second)] += np.float32(1 - weight) * second
    return mixture
