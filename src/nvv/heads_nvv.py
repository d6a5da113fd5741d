"""The classifier's head: weighted layer sum, pooling over valid frames, and the layers up to the logits.

Holds no encoder and no loss. The head is one module, so that PEFT's `modules_to_save` carries all of it. Sources: Yang
et al. 2021 (SUPERB, the softmax-weighted layer sum), transformers' sequence-classification head (parity is tested),
Wagner et al. 2023 (the `mlp` head). Part of the remote-code bundle: imports only torch and its siblings.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from .configuration_nvv import NvvConfig

POOLINGS_THAT_COMMUTE = ("mean", "first", "last")
"""Linear in the frames, so pooling each hidden state first gives the same logits and keeps no (frames × layers)
stack."""


def pool_frames(hidden_states: torch.Tensor, frame_mask: torch.Tensor | None, pooling: str) -> torch.Tensor:
    """Pools over the valid frames of each clip.

    Args:
        hidden_states: `(batch, frames, width)`.
        frame_mask: `(batch, frames)`, true on valid frames, which come first; `None` where all are. Every clip has one.
        pooling: `"mean"`, `"max"`, `"first"` or `"last"`.

    Returns:
        `(batch, width)`.
    """
    if pooling == "first":
        return hidden_states[:, 0]
    if frame_mask is None:
        if pooling == "last":
            return hidden_states[:, -1]
        return hidden_states.mean(dim=1) if pooling == "mean" else hidden_states.amax(dim=1)
    if pooling == "max":
        return hidden_states.masked_fill(~frame_mask.unsqueeze(-1), float("-inf")).amax(dim=1)
    num_frames = frame_mask.sum(dim=1)
    if pooling == "last":
        batch_index = torch.arange(len(hidden_states), device=hidden_states.device)
        return hidden_states[batch_index, num_frames - 1]
    # masked_fill, not a product: a NaN or infinity in the padding must not reach the sum.
    total = hidden_states.masked_fill(~frame_mask.unsqueeze(-1), 0.0).sum(dim=1)
    return total / num_frames.unsqueeze(-1)


class NvvHead(nn.Module):
    """Weighted layer sum → projection and pooling → logits.

    Args:
        config: Gives `summed_layers`, `head`, `pooling`, `projection_size`, `head_dropout` and `num_labels`.
    """

    def __init__(self, config: NvvConfig) -> None:
        super().__init__()
        self.kind = config.head
        self.pooling = config.pooling
        num_states = len(config.summed_layers)
        even = torch.ones(num_states) / num_states
        self.layer_weights = nn.Parameter(even) if config.use_weighted_layer_sum else None
        self.projector = nn.Linear(config.hidden_size, config.projection_size)
        self.dropout = nn.Dropout(config.head_dropout if config.head == "mlp" else 0.0)
        self.classifier = nn.Linear(config.projection_size, config.num_labels)

    @property
    def pools_first(self) -> bool:
        """Whether the head is linear up to its pooling, so that it can be trained from cached pooled hidden states."""
        return self.pooling in POOLINGS_THAT_COMMUTE

    def forward(self, hidden_states: Sequence[torch.Tensor], frame_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Classifies clips from their hidden states.

        Args:
            hidden_states: One `(batch, frames, width)` for each of `config.summed_layers`, in that order.
            frame_mask: `(batch, frames)`, true on the frames to pool over; `None` for all.

        Returns:
            Logits `(batch, num_labels)`.
        """
        if self.pools_first:
            return self.forward_pooled(self.pool(hidden_states, frame_mask))
        summed = self._sum_layers(torch.stack(tuple(hidden_states), dim=1))
        if self.kind == "linear":
            return self.classifier(pool_frames(self.projector(summed), frame_mask, self.pooling))
        return self._classify(pool_frames(summed, frame_mask, self.pooling))

    def pool(self, hidden_states: Sequence[torch.Tensor], frame_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Pools each hidden state by itself: `(batch, len(hidden_states), width)`, all that a linear probe needs."""
        return torch.stack([pool_frames(states, frame_mask, self.pooling) for states in hidden_states], dim=1)

    def forward_pooled(self, pooled: torch.Tensor) -> torch.Tensor:
        """Logits `(batch, num_labels)` from what `pool` gave; equal to `forward` where `pools_first`."""
        return self._classify(self._sum_layers(pooled))

    def _sum_layers(self, stacked: torch.Tensor) -> torch.Tensor:
        """`(batch, states, ...)` → `(batch, ...)`."""
        if self.layer_weights is None:
            return stacked[:, 0]
        weights = torch.softmax(self.layer_weights, dim=-1)
        return torch.tensordot(stacked, weights.to(stacked.dtype), dims=([1], [0]))

    def _classify(self, pooled: torch.Tensor) -> torch.Tensor:
        """`(batch, width)` → logits."""
        # A head kept in fp32 beside a half-precision backbone reads its features in its own precision.
        pooled = pooled.to(self.projector_dtype)
        if self.kind == "linear":
            return self.classifier(self.projector(pooled))
        hidden = torch.tanh(self.projector(self.dropout(pooled)))
        return self.classifier(self.dropout(hidden))

    @property
    def projector_dtype(self) -> torch.dtype:
        """Precision of the head's weights."""
        return self.classifier.weight.dtype
