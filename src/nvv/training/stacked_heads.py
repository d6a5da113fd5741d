"""Several classification heads as one: their parameters stacked in one buffer, and the gradient of all at once.

Every parameter of `NvvHead` gets a leading axis, one row a head, so that a step of all heads is a few matrix products.
The gradients are written out by hand; that of a head which is linear throughout goes through the product of its two
matrices (labels × width), the only thing that meets the clips, which saves a third of the work or more. Training them
is the neighbour `probe_heads`' business.

Shapes: `heads` stacked heads, `states` hidden states, `clips`, `width` of a state, `labels`. Own work.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import cast

import torch
from transformers import Trainer

from ..heads_nvv import NvvHead


class StackedHeads:
    """Parameters and gradients of several heads of one shape.

    Args:
        heads: the heads, whose weights are copied.
        seeds: of each head's dropout.
        device: where they are kept.

    Attributes:
        values: all parameters (heads, parameters), those that weight decay acts on first.
        gradients: what `differentiate` wrote, of the same shape.
        num_decayed: how many of a head's parameters weight decay acts on.

    Raises:
        ValueError: for no head, heads of different kinds or shapes, and heads that do not pool first.
    """

    def __init__(self, heads: Sequence[NvvHead], *, seeds: Sequence[int], device: torch.device) -> None:
        _check_alike(heads)
        first = heads[0]
        # The Trainer's own rule, by which biases and norms are not decayed; it reads no Trainer's state.
        decayed = set(Trainer.get_decay_parameter_names(cast("Trainer", None), first))
        self._shapes = {name: parameter.shape for name, parameter in first.named_parameters()}
        self._names = sorted(self._shapes, key=lambda name: name not in decayed)
        self.num_decayed = sum(self._shapes[name].numel() for name in decayed)
        self._is_linear = first.kind == "linear"
        self._dropout = first.dropout.p
        self._generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]
        self.values = torch.stack([self._flat(head) for head in heads]).to(device)
        self.gradients = torch.zeros_like(self.values)
        self._weights = self._views(self.values)
        self._slopes = self._views(self.gradients)

    def __len__(self) -> int:
        return len(self.values)

    def _flat(self, head: NvvHead) -> torch.Tensor:
        """Return all parameters of a head (parameters,) in the order of `_names`."""
        weights = dict(head.named_parameters())
        return torch.cat([weights[name].detach().float().flatten() for name in self._names])

    def _views(self, buffer: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return each parameter's part of a buffer (heads, parameters) as (heads, *shape)."""
        parts = buffer.split([self._shapes[name].numel() for name in self._names], dim=1)
        return {name: part.unflatten(1, self._shapes[name]) for name, part in zip(self._names, parts, strict=True)}

    def write_to(self, head: NvvHead, row: torch.Tensor) -> NvvHead:
        """Return a copy of `head`, in evaluation mode, with the weights of one row of a buffer like `values`."""
        written = copy.deepcopy(head)
        views = self._views(row.detach().cpu().unsqueeze(0))
        written.load_state_dict({name: view[0].clone() for name, view in views.items()})
        return written.eval()

    def layer_shares(self) -> torch.Tensor | None:
        """Return the softmax of the layer weights (heads, states), or None for heads of one state."""
        weights = self._weights.get("layer_weights")
        return None if weights is None else torch.softmax(weights, dim=-1)

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """Classify the same clips with every head, without dropout.

        Args:
            states: pooled hidden states (states, clips, width).

        Returns:
            Logits (heads, clips, labels).
        """
        layer_shares = self.layer_shares()
        summed = states[0].expand(len(self), *states.shape[1:])
        if layer_shares is not None:
            summed = (layer_shares @ states.flatten(1)).view_as(summed)
        inner_bias, outer_bias = self._weights["projector.bias"], self._weights["classifier.bias"]
        inner, outer = self._weights["projector.weight"], self._weights["classifier.weight"]
        if self._is_linear:
            return torch.baddbmm(self._offset(), summed, torch.bmm(outer, inner).mT)
        hidden = torch.tanh(torch.baddbmm(inner_bias.unsqueeze(1), summed, inner.mT))
        return torch.baddbmm(outer_bias.unsqueeze(1), hidden, outer.mT)

    def _offset(self) -> torch.Tensor:
        """Return what a linear head adds to every clip's logits (heads, 1, labels)."""
        inner_bias, outer_bias = self._weights["projector.bias"], self._weights["classifier.bias"]
        return torch.baddbmm(outer_bias.unsqueeze(1), inner_bias.unsqueeze(1), self._weights["classifier.weight"].mT)

    def differentiate(self, states: torch.Tensor, targets: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
        """Write the gradient of each head's loss, in training mode, into `gradients`.

        The loss is the sum over clips of share × cross-entropy.

        Args:
            states: pooled hidden states of each head's clips (heads, states, clips, width).
            targets: the probabilities asked for (heads, clips, labels); each row sums to 1.
            shares: each clip's factor (heads, clips, 1).

        Returns:
            The losses (heads,).
        """
        num_heads, _, num_clips, width = states.shape
        layer_shares = self.layer_shares()
        summed, flat = states[:, 0], states.flatten(2)  # flat: (heads, states, clips · width)
        if layer_shares is not None:
            summed = torch.bmm(layer_shares.unsqueeze(1), flat).view(num_heads, num_clips, width)
        backward = self._linear_slopes if self._is_linear else self._mlp_slopes
        log_probabilities, summed_slope = backward(summed, targets, shares, wants_input=layer_shares is not None)
        if layer_shares is not None:
            by_state = torch.bmm(flat, summed_slope.reshape(num_heads, -1, 1)).squeeze(-1)  # (heads, states)
            mean = (layer_shares * by_state).sum(dim=-1, keepdim=True)
            self._slopes["layer_weights"].copy_(layer_shares * (by_state - mean))
        return -(targets * log_probabilities).mul_(shares).sum(dim=(1, 2))

    def _linear_slopes(
        self, summed: torch.Tensor, targets: torch.Tensor, shares: torch.Tensor, *, wants_input: bool
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Differentiate Linear → Linear at layer-summed features (heads, clips, width)."""
        inner, outer = self._weights["projector.weight"], self._weights["classifier.weight"]
        product = torch.bmm(outer, inner)  # (heads, labels, width)
        log_probabilities = torch.log_softmax(torch.baddbmm(self._offset(), summed, product.mT), dim=-1)
        slope = (log_probabilities.exp() - targets).mul_(shares)  # of the logits: (heads, clips, labels)
        product_slope = torch.bmm(slope.mT, summed)
        offset_slope = slope.sum(dim=1, keepdim=True)  # (heads, 1, labels)
        torch.bmm(outer.mT, product_slope, out=self._slopes["projector.weight"])
        outer_slope = torch.bmm(product_slope, inner.mT, out=self._slopes["classifier.weight"])
        outer_slope.baddbmm_(offset_slope.mT, self._weights["projector.bias"].unsqueeze(1))
        self._slopes["projector.bias"].copy_(torch.bmm(offset_slope, outer).squeeze(1))
        self._slopes["classifier.bias"].copy_(offset_slope.squeeze(1))
        return log_probabilities, torch.bmm(slope, product) if wants_input else None

    def _mlp_slopes(
        self, summed: torch.Tensor, targets: torch.Tensor, shares: torch.Tensor, *, wants_input: bool
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Differentiate dropout → Linear → tanh → dropout → Linear at layer-summed features."""
        inner, outer = self._weights["projector.weight"], self._weights["classifier.weight"]
        kept_inputs = self._draw_dropout(summed.shape)
        entering = summed * kept_inputs
        hidden = torch.tanh(torch.baddbmm(self._weights["projector.bias"].unsqueeze(1), entering, inner.mT))
        kept_hidden = self._draw_dropout(hidden.shape)
        leaving = hidden * kept_hidden
        logits = torch.baddbmm(self._weights["classifier.bias"].unsqueeze(1), leaving, outer.mT)
        log_probabilities = torch.log_softmax(logits, dim=-1)
        slope = (log_probabilities.exp() - targets).mul_(shares)
        torch.bmm(slope.mT, leaving, out=self._slopes["classifier.weight"])
        self._slopes["classifier.bias"].copy_(slope.sum(dim=1))
        hidden_slope = torch.bmm(slope, outer) * kept_hidden * (1 - hidden.square())
        torch.bmm(hidden_slope.mT, entering, out=self._slopes["projector.weight"])
        self._slopes["projector.bias"].copy_(hidden_slope.sum(dim=1))
        return log_probabilities, torch.bmm(hidden_slope, inner) * kept_inputs if wants_input else None

    def _draw_dropout(self, shape: torch.Size) -> torch.Tensor | float:
        """Draw factors of 0 or 1 / (1 - p), each head from its own generator, so that its neighbours do not matter."""
        if self._dropout == 0:
            return 1.0
        factors = torch.empty(shape, device=self.values.device)
        for row, generator in zip(factors, self._generators, strict=True):
            row.bernoulli_(1 - self._dropout, generator=generator)
        return factors.div_(1 - self._dropout)


def _check_alike(heads: Sequence[NvvHead]) -> None:
    """Raise unless the heads can be stacked and read pooled features."""
    if not heads:
        raise ValueError("heads: expected at least one, found none.")
    first = heads[0]
    if not first.pools_first:
        raise ValueError(
            f"pooling: {first.pooling!r} does not commute with the layer sum and the projection, so the head cannot be "
            "trained from pooled features. Use mean, first or last, or train it with recipes/train.py --method frozen."
        )
    described = [
        (head.kind, head.dropout.p, {name: weight.shape for name, weight in head.named_parameters()}) for head in heads
    ]
    if any(description != described[0] for description in described):
        raise ValueError("heads: expected heads of one kind, one shape and one dropout. Train others apart.")
