"""PEFT's LoRA layers with a forward and backward pass that touch the large tensors as seldom as can be.

PEFT adds the low-rank path to the layer's output: on a CPU its four thin products and the additions around them take
about a seventh of a training step. Here the update is first added to the weight (out × in × rank, which is small beside
the batch), so one product serves both, forwards and backwards. The result is the same up to fp32 rounding. Whatever
is not plain fp32 LoRA - other precisions, in which the sum would round small updates away, dropout, DoRA, several
adapters, merged or disabled ones - goes PEFT's way. Parameters, names and saved files stay PEFT's. Own work.
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import nn
from torch.nn import functional as F

__all__ = ["quicken_lora"]


class _MergedLinear(torch.autograd.Function):
    """`x (W + s B A)ᵀ + b` for a frozen W and b: gradients of x, A and B."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        lora_a: torch.Tensor,
        lora_b: torch.Tensor,
        scaling: float,
    ) -> torch.Tensor:
        ctx.save_for_backward(inputs, weight, lora_a, lora_b)
        ctx.scaling = scaling
        return F.linear(inputs, torch.addmm(weight, lora_b, lora_a, alpha=scaling), bias)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        inputs, weight, lora_a, lora_b = ctx.saved_tensors
        needs_inputs, needs_a, needs_b = (ctx.needs_input_grad[at] for at in (0, 3, 4))
        of_inputs = of_a = of_b = None
        if needs_inputs:
            # Added up again rather than kept: a copy of every tuned weight would be held through the whole pass.
            of_inputs = gradient @ torch.addmm(weight, lora_b, lora_a, alpha=ctx.scaling)
        inputs, gradient = inputs.flatten(0, -2), gradient.flatten(0, -2)
        # (rank, tokens) before (tokens, rank): BLAS is two to five times as fast on wide thin factors as on tall ones.
        if needs_a:
            of_a = (ctx.scaling * (lora_b.T @ gradient.T)) @ inputs
        if needs_b:
            of_b = ((ctx.scaling * (lora_a @ inputs.T)) @ gradient).T
        return of_inputs, None, None, of_a, of_b, None


class QuickLoraLinear(LoraLinear):
    """PEFT's LoRA on a linear layer; same parameters, another forward."""

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Apply the layer to `(..., in)`."""
        adapter = None if args or kwargs else self._plain_adapter(x)
        if adapter is None:
            return super().forward(x, *args, **kwargs)
        base = self.base_layer
        lora_a, lora_b = self.lora_A[adapter].weight, self.lora_B[adapter].weight
        return _MergedLinear.apply(x, base.weight, base.bias, lora_a, lora_b, self.scaling[adapter])

    def _plain_adapter(self, x: torch.Tensor) -> str | None:
        """Name the adapter if it is the only active one and has nothing but fp32 matrices; otherwise None."""
        active = [name for name in self.active_adapters if name in self.lora_A]
        if len(active) != 1 or self.disable_adapters or self.merged or torch.is_autocast_enabled(x.device.type):
            return None
        name, base = active[0], self.base_layer
        dropout = self.lora_dropout[name]
        is_plain = (
            type(base) is nn.Linear
            and name not in self.lora_variant
            and not self.fan_in_fan_out
            and self.lora_B[name].bias is None
            and (isinstance(dropout, nn.Identity) or not dropout.training)
        )
        tensors = (x, base.weight, self.lora_A[name].weight, self.lora_B[name].weight)
        is_frozen = not any(parameter.requires_grad for parameter in base.parameters())
        return name if is_plain and is_frozen and all(one.dtype == torch.float32 for one in tensors) else None


def quicken_lora(model: nn.Module) -> int:
    """Give a model's LoRA layers on linears the quick pass, in place.

    Args:
        model: A `PeftModel`, or anything else.

    Returns:
        How many layers were changed; 0 where there is no LoRA.
    """
    layers = [module for module in model.modules() if type(module) is LoraLinear]
    for layer in layers:
        # Same parameters, another forward: everything that PEFT finds in the layer stays where it is.
        layer.__class__ = QuickLoraLinear
    return len(layers)
