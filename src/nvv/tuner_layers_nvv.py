"""Encoder layers with bottleneck adapters, deep prompts or both: what the tuners in `tuners_nvv` put in place.

Leaves configurations, and how PEFT comes to these modules, to `tuners_nvv`. Hidden states are `(batch, frames, width)`;
an attention mask is `None` or an additive float mask `(batch, 1, 1, frames)`, 0 where visible. Three layouts are known:

| layout      | stock classes                  | order                                                   |
| ----------- | ------------------------------ | ------------------------------------------------------- |
| `whisper`   | `WhisperEncoderLayer`          | norm, attention, residual, norm, fc1, fc2, residual     |
| `pre_norm`  | `*EncoderLayerStableLayerNorm` | the same, with a `feed_forward` module                  |
| `post_norm` | other `*EncoderLayer`          | attention, residual, norm, feed-forward, residual, norm |

Own work; what is added, and where, follows Márquez Villacís et al., CLiC-it 2025. Part of the remote-code bundle:
imports only torch, transformers and peft.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from peft import PeftConfig
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from torch.nn import functional as F
from transformers.activations import ACT2FN


def find_encoder_layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Finds the transformer layers of a speech encoder.

    Args:
        model: A model that holds one stack of encoder layers of a known layout, wrapped by tuners or not.

    Returns:
        Module name and module of each layer, in order.

    Raises:
        ValueError: The model holds no such stack, or several.
    """
    stacks = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) > 0 and all(_layout(layer) for layer in module)
    ]
    if len(stacks) != 1:
        names = ", ".join(name for name, _ in stacks) or "none"
        raise ValueError(
            f"{type(model).__name__}: expected one stack of Whisper or wav2vec 2.0-like encoder layers, found {names}."
            " Pass a model of one of the families that nvv supports."
        )
    stack_name, stack = stacks[0]
    prefix = f"{stack_name}." if stack_name else ""
    return [(f"{prefix}{number}", layer) for number, layer in enumerate(stack)]


def resolve_layers(layers: list[int] | None, num_layers: int) -> list[int]:
    """Checks layer numbers against an encoder.

    Args:
        layers: Layer numbers counted from 0, or `None` for all.
        num_layers: Number of layers that the encoder has.

    Returns:
        The numbers, sorted.

    Raises:
        ValueError: A number is not an integer from 0 to `num_layers - 1`, is given twice, or none is given.

    Example:
        >>> resolve_layers([2, 0], 4)
        [0, 2]
    """
    valid_range = f"the encoder's {num_layers} layers are 0 to {num_layers - 1}"
    if layers is None:
        return list(range(num_layers))
    if isinstance(layers, (str, bytes)) or not isinstance(layers, (list, tuple, set, frozenset)):
        raise ValueError(f"layers: expected a list of layer numbers, found {layers!r}; {valid_range}.")
    for number in layers:
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < num_layers:
            raise ValueError(f"layers: there is no layer {number!r}; {valid_range}, counted from 0.")
    if not layers or len(set(layers)) != len(layers):
        raise ValueError(f"layers: expected at least one number, each once, found {list(layers)!r}; {valid_range}.")
    return sorted(layers)


def _unwrap(layer: nn.Module) -> nn.Module:
    while isinstance(layer, BaseTunerLayer):
        layer = layer.base_layer
    return layer


def _layout(layer: nn.Module) -> str | None:
    """Name of a layer's layout, or None; see the table in the module docstring."""
    layer = _unwrap(layer)
    class_names = {cls.__name__ for cls in type(layer).__mro__}
    if "WhisperEncoderLayer" in class_names:
        return "whisper"
    parts = ("attention", "layer_norm", "feed_forward", "final_layer_norm")
    if not all(hasattr(layer, part) for part in parts):
        return None
    if any(name.endswith("EncoderLayerStableLayerNorm") for name in class_names):
        return "pre_norm"
    return "post_norm" if any(name.endswith("EncoderLayer") for name in class_names) else None


def _feed_forward_linears(layer: nn.Module) -> tuple[nn.Module, nn.Module]:
    """The linears into and out of the feed-forward block, whichever layout."""
    if _layout(layer) == "whisper":
        return layer.fc1, layer.fc2
    return layer.feed_forward.intermediate_dense, layer.feed_forward.output_dense


class _EncoderLayerTuner(nn.Module, BaseTunerLayer):
    """Wraps one encoder layer; subclasses say what is added to it.

    Where something has to be added in its middle, the layer's own forward is repeated out of its submodules, so that
    tuners inside it (LoRA on its linears) go on working. Disabled or without active adapters, the layer itself runs.
    """

    other_param_names = ("settings", "activations")

    def __init__(self, base_layer: nn.Module) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.layout = _layout(base_layer)
        self.settings: dict[str, PeftConfig] = {}
        self.activations: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {}
        self.merged_adapters = []
        for name in self.adapter_layer_names:
            # Parameters lie flat under PEFT's usual `<holder>.<adapter name>` keys, one holder for each.
            setattr(self, name, nn.ParameterDict() if name.endswith("prompts") else nn.ModuleDict())

    @property
    def layer(self) -> nn.Module:
        """The stock encoder layer."""
        return self.get_base_layer()

    @property
    def width(self) -> int:
        """Width of the hidden states."""
        return _feed_forward_linears(self.layer)[0].in_features

    def update_layer(self, adapter_name: str, config: PeftConfig) -> None:
        """Adds a new adapter's parameters to this layer."""
        self.settings[adapter_name] = config
        self._create_parameters(adapter_name, config)
        reference = next(parameter for parameter in self.layer.parameters() if parameter.is_floating_point())
        for name in self.adapter_layer_names:
            holder = getattr(self, name)
            on_meta = any(tensor.is_meta for tensor in holder.parameters())
            if on_meta and not reference.is_meta:
                continue  # `low_cpu_mem_usage`: the values come with the checkpoint
            holder[adapter_name] = holder[adapter_name].to(device=reference.device, dtype=reference.dtype)
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    def _create_parameters(self, adapter_name: str, config: PeftConfig) -> None:
        raise NotImplementedError

    def _current(self) -> list[str]:
        """Names of the active adapters that this layer has."""
        return [name for name in self.active_adapters if name in self.settings]

    def forward(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, **kwargs: Any
    ) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Runs the layer with what the active adapters add.

        Args:
            hidden_states: `(batch, frames, width)`.
            attention_mask: `None` or additive, `(batch, 1, 1, frames)`.
            kwargs: What else the stock layer takes, such as WavLM's `position_bias`.

        Returns:
            `(batch, frames, width)`, in a tuple where the stock layer returns one.
        """
        if self.disable_adapters or not self._current():
            return self.base_layer(hidden_states, attention_mask=attention_mask, **kwargs)
        return self._forward_tuned(hidden_states, attention_mask, **kwargs)

    def _forward_tuned(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None, **kwargs: Any
    ) -> torch.Tensor | tuple[torch.Tensor, ...]:
        raise NotImplementedError

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Refuses: what is added is no matrix that a stock layer could hold."""
        del safe_merge, adapter_names
        raise ValueError(cannot_merge(self.settings))

    def unmerge(self) -> None:
        """Refuses, as nothing is ever merged."""
        raise ValueError(cannot_merge(self.settings))


def cannot_merge(settings: dict[str, PeftConfig]) -> str:
    """Error message for the attempt to merge."""
    kinds = ", ".join(sorted({config.peft_type.value for config in settings.values()}))
    return (
        f"{kinds}: cannot be merged into the backbone, which has no place for it."
        " Keep the adapter, or call unload() for the backbone without it."
    )


class _PromptMixin:
    """Deep prompts; the holder's name is `prompt_holder`."""

    prompt_holder: str

    def _create_prompts(self, adapter_name: str, num_prompts: int) -> None:
        prompts = torch.empty(num_prompts, self.width)
        nn.init.xavier_uniform_(
            prompts[None]
        )  # as the published (1, prompts, width): bound √(6 / ((prompts + 1) width))
        getattr(self, self.prompt_holder)[adapter_name] = nn.Parameter(prompts)

    def _prepend_prompts(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None, int]:
        holder = getattr(self, self.prompt_holder)
        prompts = torch.cat([holder[name].to(hidden_states.dtype) for name in self._current()])
        num_prompts = prompts.shape[0]
        prompts = prompts[None].expand(hidden_states.shape[0], -1, -1)  # (batch, prompts, width)
        return torch.cat([prompts, hidden_states], dim=1), _extend_mask(attention_mask, num_prompts), num_prompts


def _extend_mask(attention_mask: torch.Tensor | None, num_prompts: int) -> torch.Tensor | None:
    """Gives an attention mask visible columns for the prompts, ahead of the others."""
    if attention_mask is None:
        return None
    if attention_mask.dim() != 4 or attention_mask.shape[2] != 1:
        raise ValueError(
            "attention_mask: deep prompts need a mask of shape (batch, 1, 1, frames), found"
            f" {tuple(attention_mask.shape)}."
        )
    # Boolean masks are True where visible, additive ones 0.
    return F.pad(attention_mask, (num_prompts, 0), value=attention_mask.dtype == torch.bool)


def _strip_prompts(
    outputs: torch.Tensor | tuple[torch.Tensor, ...], num_prompts: int
) -> torch.Tensor | tuple[torch.Tensor, ...]:
    if isinstance(outputs, tuple):
        return (outputs[0][:, num_prompts:], *outputs[1:])
    return outputs[:, num_prompts:]


class _RewiredLayer(_EncoderLayerTuner):
    """An encoder layer with bottleneck adapters and, in subclasses, low-rank updates in its feed-forward block."""

    adapter_prefix: str

    def _create_adapter(self, adapter_name: str, config: PeftConfig) -> None:
        down = nn.Linear(self.width, config.bottleneck)
        up = nn.Linear(config.bottleneck, self.width)
        nn.init.kaiming_uniform_(down.weight, a=math.sqrt(5))
        for zero in (down.bias, up.weight, up.bias):
            nn.init.zeros_(zero)
        getattr(self, f"{self.adapter_prefix}down")[adapter_name] = down
        getattr(self, f"{self.adapter_prefix}up")[adapter_name] = up
        self.activations[adapter_name] = ACT2FN[config.activation]

    def _add_adapters(self, stream: torch.Tensor, read: torch.Tensor, placement: str) -> torch.Tensor:
        """Adds what the adapters of one placement make of `read` to `stream`, both (batch, frames, width)."""
        for name in self._current():
            config = self.settings[name]
            if config.placement != placement:
                continue
            down = getattr(self, f"{self.adapter_prefix}down")[name]
            up = getattr(self, f"{self.adapter_prefix}up")[name]
            inner = self.activations[name](down(read.to(down.weight.dtype)))
            update = config.scale * up(F.dropout(inner, config.adapter_dropout, self.training))
            if config.add_input:
                update = update + read
            stream = stream + update.to(stream.dtype)
        return stream

    def _feed_forward_linear(self, linear: nn.Module, inputs: torch.Tensor, which: str) -> torch.Tensor:
        """One feed-forward linear; `which` is "in" or "out". Subclasses may add to it."""
        del which
        return linear(inputs)

    def _feed_forward(self, inputs: torch.Tensor) -> torch.Tensor:
        layer = self.layer
        into, out_of = _feed_forward_linears(layer)
        hidden_states = self._feed_forward_linear(into, inputs, "in")
        if self.layout == "whisper":
            hidden_states = layer.activation_fn(hidden_states)
            hidden_states = F.dropout(hidden_states, layer.activation_dropout, self.training)
            hidden_states = self._feed_forward_linear(out_of, hidden_states, "out")
            return F.dropout(hidden_states, layer.dropout, self.training)
        block = layer.feed_forward
        hidden_states = block.intermediate_dropout(block.intermediate_act_fn(hidden_states))
        return block.output_dropout(self._feed_forward_linear(out_of, hidden_states, "out"))

    def _forward_tuned(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None, **kwargs: Any
    ) -> torch.Tensor | tuple[torch.Tensor, ...]:
        layer = self.layer
        run = partial(self._forward_rewired, attention_mask=attention_mask, **kwargs)
        if not (self.training and getattr(layer, "gradient_checkpointing", False)):
            return run(hidden_states)
        if torch.is_grad_enabled() and not hidden_states.requires_grad:
            # Re-entrant checkpoints give no gradients unless an input asks for one; after a frozen front-end none does.
            hidden_states = hidden_states.detach().requires_grad_(True)
        checkpoint: Callable[..., Any] = layer._gradient_checkpointing_func
        return checkpoint(run, hidden_states)

    def _forward_rewired(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None, **kwargs: Any
    ) -> torch.Tensor | tuple[torch.Tensor, ...]:
        layer = self.layer
        if self.layout == "whisper":
            return self._whisper(layer, hidden_states, attention_mask, kwargs)
        attended = hidden_states if self.layout == "post_norm" else layer.layer_norm(hidden_states)
        attended, *others = layer.attention(attended, attention_mask=attention_mask, **kwargs)
        stream = hidden_states + layer.dropout(attended)
        outputs = self._post_norm(layer, stream) if self.layout == "post_norm" else self._pre_norm(layer, stream)
        # WavLM's attention returns a third value, the position bias, which its layers hand on.
        return (outputs, others[1]) if len(others) == 2 else outputs

    def _whisper(
        self, layer: nn.Module, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None, kwargs: dict[str, Any]
    ) -> torch.Tensor:
        attended = layer.self_attn(
            hidden_states=layer.self_attn_layer_norm(hidden_states), attention_mask=attention_mask, **kwargs
        )[0]
        stream = hidden_states + F.dropout(attended, layer.dropout, self.training)
        outputs = self._after_attention_pre_norm(layer, stream)
        if outputs.dtype == torch.float16:  # the stock layer's guard against overflow
            limit = torch.finfo(outputs.dtype).max - 1000
            outputs = outputs.clamp(min=-limit, max=limit)
        return outputs

    def _after_attention_pre_norm(self, layer: nn.Module, stream: torch.Tensor) -> torch.Tensor:
        result = self._feed_forward(layer.final_layer_norm(stream))
        result = self._add_adapters(result, result, "sequential")
        return self._add_adapters(stream + result, stream, "parallel")

    def _pre_norm(self, layer: nn.Module, stream: torch.Tensor) -> torch.Tensor:
        outputs = self._after_attention_pre_norm(layer, stream)
        stock_adapter = getattr(layer, "adapter_layer", None)  # of multilingual checkpoints such as MMS
        return outputs if stock_adapter is None else outputs + stock_adapter(outputs)

    def _post_norm(self, layer: nn.Module, stream: torch.Tensor) -> torch.Tensor:
        normed = layer.layer_norm(stream)
        result = normed + self._feed_forward(normed)
        outputs = self._add_adapters(result, result, "sequential")
        return layer.final_layer_norm(self._add_adapters(outputs, stream, "parallel"))


class AdapterLayer(_RewiredLayer):
    """An encoder layer with bottleneck adapters."""

    adapter_prefix = "nvv_adapter_"
    adapter_layer_names = ("nvv_adapter_down", "nvv_adapter_up")

    def _create_parameters(self, adapter_name: str, config: PeftConfig) -> None:
        self._create_adapter(adapter_name, config)


class PromptLayer(_EncoderLayerTuner, _PromptMixin):
    """An encoder layer with deep prompts; the layer itself is called untouched, on a longer sequence."""

    prompt_holder = "nvv_prompt_prompts"
    adapter_layer_names = ("nvv_prompt_prompts",)

    def _create_parameters(self, adapter_name: str, config: PeftConfig) -> None:
        self._create_prompts(adapter_name, config.num_prompts)

    def _forward_tuned(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None, **kwargs: Any
    ) -> torch.Tensor | tuple[torch.Tensor, ...]:
        hidden_states, attention_mask, num_prompts = self._prepend_prompts(hidden_states, attention_mask)
        outputs = self.base_layer(hidden_states, attention_mask=attention_mask, **kwargs)
        return _strip_prompts(outputs, num_prompts)


class CombinedLayer(_RewiredLayer, _PromptMixin):
    """An encoder layer with deep prompts, low-rank updates of its feed-forward linears, and a bottleneck adapter."""

    adapter_prefix = "nvv_combined_adapter_"
    prompt_holder = "nvv_combined_prompts"
    adapter_layer_names = (
        "nvv_combined_prompts",
        "nvv_combined_lora_in_A",
        "nvv_combined_lora_in_B",
        "nvv_combined_lora_out_A",
        "nvv_combined_lora_out_B",
        "nvv_combined_adapter_down",
        "nvv_combined_adapter_up",
    )

    def _create_parameters(self, adapter_name: str, config: PeftConfig) -> None:
        self._create_prompts(adapter_name, config.num_prompts)
        self._create_adapter(adapter_name, config)
        for which, linear in zip(("in", "out"), _feed_forward_linears(self.layer), strict=True):
            first = nn.Linear(linear.in_features, config.rank, bias=False)
            second = nn.Linear(config.rank, linear.out_features, bias=False)
            nn.init.kaiming_uniform_(first.weight, a=math.sqrt(5))
            nn.init.zeros_(second.weight)
            getattr(self, f"nvv_combined_lora_{which}_A")[adapter_name] = first
            getattr(self, f"nvv_combined_lora_{which}_B")[adapter_name] = second

    def _feed_forward_linear(self, linear: nn.Module, inputs: torch.Tensor, which: str) -> torch.Tensor:
        outputs = linear(inputs)
        for name in self._current():
            config = self.settings[name]
            first = getattr(self, f"nvv_combined_lora_{which}_A")[name]
            second = getattr(self, f"nvv_combined_lora_{which}_B")[name]
            dropped = F.dropout(inputs.to(first.weight.dtype), config.lora_dropout, self.training)
            outputs = outputs + (second(first(dropped)) * (config.alpha / config.rank)).to(outputs.dtype)
        return outputs

    def _forward_tuned(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None, **kwargs: Any
    ) -> torch.Tensor | tuple[torch.Tensor, ...]:
        hidden_states, attention_mask, num_prompts = self._prepend_prompts(hidden_states, attention_mask)
        return _strip_prompts(super()._forward_tuned(hidden_states, attention_mask, **kwargs), num_prompts)
