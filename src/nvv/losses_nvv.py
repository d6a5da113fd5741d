"""Losses of the classifier. Part of the remote-code bundle: imports only torch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional as F


def weighted_cross_entropy(
    logits: torch.Tensor,
    labels: torch.Tensor,
    *,
    class_weights: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """Mean over the clips of (class weight × cross-entropy).

    torch's own weighted cross-entropy divides by the sum of the weights in the batch, so its value depends on which
    classes happen to share a batch, and it changes under gradient accumulation or several processes. Dividing by the
    number of clips does not; with weights n / (classes · n_c), whose mean over the training clips is 1, both estimate
    the same class-balanced loss.

    Args:
        logits: `(batch, num_labels)`.
        labels: `(batch,)`, class indices.
        class_weights: One factor for each label; `None` for equal weights.
        label_smoothing: In [0, 1); the share of each target spread evenly over all labels.

    Returns:
        The loss, a scalar in fp32.
    """
    losses = F.cross_entropy(logits.float(), labels, label_smoothing=label_smoothing, reduction="none")
    if class_weights is not None:
        losses = losses * torch.tensor(class_weights, dtype=losses.dtype, device=losses.device)[labels]
    return losses.mean()
