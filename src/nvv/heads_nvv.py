"""The classifier's head: weighted layer sum, pooling over valid frames, and the layers up to the logits.

Holds no encoder and no loss. The head is one module, so that PEFT's `modules_to_save` carries all of it. Sources: Yang
et al. 2021 (SUPERB, the softmax-weighted layer sum), transformers' sequence-classification head (parity is tested),
Wagner et al. 2023 (the `mlp` head), Nguyen et al. 2022 (SlabCNU's `lstm` head), Khosla et al. 2020 (the `embedding`
head's two layers). Part of the remote-code bundle: imports only torch and its siblings.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

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


def frame_width(config: NvvConfig) -> int:
    """Width of the frames behind an `"lstm"` head's LSTM."""
    if config.lstm_layers == 0:
        return config.hidden_size
    return config.lstm_hidden_size * (2 if config.lstm_bidirectional else 1)


def make_lstm(config: NvvConfig) -> nn.LSTM | None:
    """The LSTM of a head that has one."""
    if config.head != "lstm" or config.lstm_layers == 0:
        return None
    return nn.LSTM(
        config.hidden_size,
        config.lstm_hidden_size,
        num_layers=config.lstm_layers,
        batch_first=True,
        bidirectional=config.lstm_bidirectional,
    )


@torch.compiler.disable
def run_lstm(lstm: nn.LSTM | None, frames: torch.Tensor, frame_mask: torch.Tensor | None) -> torch.Tensor:
    """Runs an LSTM over each clip's valid frames.

    Args:
        lstm: With `batch_first`; `None` for none.
        frames: `(batch, frames, width)`, finite throughout.
        frame_mask: `(batch, frames)`, true on valid frames, which come first; `None` where all are.

    Returns:
        `(batch, frames, units)`, without meaning on frames that are not valid.
    """
    # Compiled, it would be unrolled, a step a frame, anew for each number of frames: minutes for what torch has whole.
    if lstm is None:
        return frames
    # In its weights' own precision also under autocast: rounding errors add up over hundreds of frames.
    with torch.autocast(frames.device.type, enabled=False):
        if frame_mask is None or not lstm.bidirectional:
            # Read from left to right, padding on the right is behind all that counts.
            return lstm(frames)[0]
        packed = pack_padded_sequence(frames, frame_mask.sum(dim=1).cpu(), batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(lstm(packed)[0], batch_first=True, total_length=frames.shape[1])[0]


class NvvHead(nn.Module):
    """Weighted layer sum → projection and pooling → logits.

    What each kind does between the layer sum and the logits is in `NvvConfig`'s field `head`. Beside its weights the
    head holds what else belongs to a trained model: `log_variances` (tasks,), where the tasks' weights are learned, and
    the embedding head's `centroids` (num_labels, embedding_size), one for each label.

    Args:
        config: Gives `summed_layers`, `head` and the fields that go with it, `pooling`, `num_labels`, `task_list` and
            `task_weighting`.
    """

    def __init__(self, config: NvvConfig) -> None:
        super().__init__()
        self.kind = config.head
        self.pooling = config.pooling
        num_states = len(config.summed_layers)
        even = torch.ones(num_states) / num_states
        self.layer_weights = nn.Parameter(even) if config.use_weighted_layer_sum else None
        self.lstm = make_lstm(config)
        self.projector = None if self.kind == "lstm" else nn.Linear(config.hidden_size, config.projection_size)
        self.dropout = nn.Dropout(config.head_dropout if config.head == "mlp" else 0.0)
        if self.kind == "embedding":
            self.classifier = None
            self.embedder = nn.Linear(config.projection_size, config.embedding_size)
            self.temperature = config.contrastive_temperature
            self.register_buffer("centroids", torch.zeros(config.num_labels, config.embedding_size))
        else:
            width = frame_width(config) if self.kind == "lstm" else config.projection_size
            self.classifier = nn.Linear(width, config.num_labels)
        is_learned = config.task_weighting == "uncertainty"
        self.log_variances = nn.Parameter(torch.zeros(len(config.task_list))) if is_learned else None

    @property
    def pools_first(self) -> bool:
        """Whether pooling commutes with all before it, so that cached pooled hidden states are enough to train from."""
        return self.kind != "lstm" and self.pooling in POOLINGS_THAT_COMMUTE

    def forward(
        self,
        hidden_states: Sequence[torch.Tensor],
        frame_mask: torch.Tensor | None = None,
        *,
        with_embeddings: bool = False,
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Answers for clips from their hidden states.

        Args:
            hidden_states: One `(batch, frames, width)` for each of `config.summed_layers`, in that order.
            frame_mask: `(batch, frames)`, true on the frames to pool over; `None` for all.
            with_embeddings: Also return the clips' embeddings: of length 1 for the `"embedding"` head, the pooled layer
                sum for `"mlp"`, the pooled projection for `"linear"`, the pooled frames behind the LSTM for `"lstm"`.

        Returns:
            Logits `(batch, num_labels)`, or these and the embeddings `(batch, size)`.
        """
        if self.pools_first:
            embeddings = self._embed(self._sum_layers(self.pool(hidden_states, frame_mask)))
            logits = self._classify(embeddings)
        else:
            embeddings, logits = self._pool_last(self._sum_frames(hidden_states, frame_mask), frame_mask)
        return (logits, embeddings) if with_embeddings else logits

    def pool(self, hidden_states: Sequence[torch.Tensor], frame_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Pools each hidden state by itself: `(batch, len(hidden_states), width)`, all that a linear probe needs."""
        return torch.stack([pool_frames(states, frame_mask, self.pooling) for states in hidden_states], dim=1)

    def forward_pooled(self, pooled: torch.Tensor) -> torch.Tensor:
        """Logits `(batch, num_labels)` from what `pool` gave; equal to `forward` where `pools_first`."""
        return self._classify(self._embed(self._sum_layers(pooled)))

    def _sum_layers(self, stacked: torch.Tensor) -> torch.Tensor:
        """`(batch, states, ...)` → `(batch, ...)`."""
        if self.layer_weights is None:
            return stacked[:, 0]
        weights = torch.softmax(self.layer_weights, dim=-1)
        return torch.tensordot(stacked, weights.to(stacked.dtype), dims=([1], [0]))

    def _sum_frames(self, hidden_states: Sequence[torch.Tensor], frame_mask: torch.Tensor | None) -> torch.Tensor:
        """The layer sum of each frame `(batch, frames, width)`, in the head's own precision."""
        if frame_mask is not None:
            # What stands in the padding is not pooled, but through a NaN there every weight's gradient would be NaN.
            hidden_states = [states.masked_fill(~frame_mask.unsqueeze(-1), 0.0) for states in hidden_states]
        if self.layer_weights is None:
            return hidden_states[0].to(self.projector_dtype)
        return self._sum_layers(torch.stack(tuple(hidden_states), dim=1)).to(self.projector_dtype)

    def _pool_last(self, frames: torch.Tensor, frame_mask: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeddings and logits where pooling comes after other layers."""
        if self.kind == "lstm":
            frames = run_lstm(self.lstm, frames, frame_mask)
            outputs = self.classifier(frames)  # (batch, frames, num_labels)
            return pool_frames(frames, frame_mask, self.pooling), pool_frames(outputs, frame_mask, self.pooling)
        if self.kind == "linear":
            embeddings = pool_frames(self.projector(frames), frame_mask, self.pooling)
        else:
            embeddings = self._embed(pool_frames(frames, frame_mask, self.pooling))
        return embeddings, self._classify(embeddings)

    def _embed(self, pooled: torch.Tensor) -> torch.Tensor:
        """The pooled layer sum `(batch, width)` → embeddings `(batch, size)`."""
        # A head kept in fp32 beside a half-precision backbone reads its features in its own precision.
        pooled = pooled.to(self.projector_dtype)
        if self.kind == "linear":
            return self.projector(pooled)
        if self.kind == "embedding":
            return F.normalize(self.embedder(F.relu(self.projector(pooled))).float(), dim=-1)
        return pooled

    def _classify(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Embeddings `(batch, size)` → logits."""
        if self.kind == "linear":
            return self.classifier(embeddings)
        if self.kind == "embedding":
            # Cosine similarities, which autocast would round to three digits.
            with torch.autocast(embeddings.device.type, enabled=False):
                return embeddings @ self.centroids.to(embeddings).T / self.temperature
        hidden = torch.tanh(self.projector(self.dropout(embeddings)))
        return self.classifier(self.dropout(hidden))

    @property
    def projector_dtype(self) -> torch.dtype:
        """Precision of the head's weights."""
        return (self.embedder if self.classifier is None else self.classifier).weight.dtype
