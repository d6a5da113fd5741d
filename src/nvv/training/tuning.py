"""Which parameters of a classifier train: the tuning methods by name.

The bottleneck adapters and deep prompts are in `nvv.tuners_nvv`, configurations of the PEFT library's own methods in
`peft_methods`, the count of what trains in `trainable`. How it is trained is left to `trainer`.

Defaults are the hyper-parameters of Márquez Villacís et al., "Exploring the Adaptability of Large Speech Models to
Non-Verbal Vocalization Tasks", CLiC-it 2025. Departures from the published code: adapters add their update only, layer
numbers that the encoder does not have are errors, prompts are as wide as the encoder, pre-norm encoders stay pre-norm.
"""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from nvv.training.peft_methods import (
    feed_forward_names,
    library_config,
    names_in_layers,
    read_peft_config,
    tuning_callbacks,
)
from nvv.training.trainable import FRONT_END_MODULES, TrainableParameters, trainable_parameters
from nvv.tuners_nvv import (
    PLACEMENTS,
    NvvAdapterConfig,
    NvvCombinedConfig,
    NvvPromptConfig,
    find_encoder_layers,
    resolve_layers,
)

if TYPE_CHECKING:
    from nvv.modeling_nvv import NvvForAudioClassification

__all__ = [
    "METHODS",
    "TrainableParameters",
    "TuningArguments",
    "apply_tuning",
    "trainable_parameters",
    "tuning_callbacks",
]

logger = logging.getLogger(__name__)

METHODS = ("frozen", "full", "partial", "lora", "adapter", "prompt", "combined", "peft")
"""Names of the tuning methods."""

_LORA = ("lora", "combined")
_ADAPTER = ("adapter", "combined")
_PROMPT = ("prompt", "combined")
# The methods that an option acts on. `tuned_layers` is checked apart.
OPTION_METHODS = {
    "lora_rank": _LORA,
    "lora_alpha": _LORA,
    "lora_dropout": _LORA,
    "lora_target_modules": ("lora",),
    "adapter_bottleneck": _ADAPTER,
    "adapter_dropout": _ADAPTER,
    "adapter_scale": _ADAPTER,
    "adapter_placement": _ADAPTER,
    "adapter_adds_input": _ADAPTER,
    "num_prompts": _PROMPT,
    "peft_config": ("peft",),
}


@dataclass
class TuningArguments:
    """What of a classifier is trained; the head always is.

    Options that the chosen method does not have must keep their defaults: setting one is an error, not a silent no-op.
    """

    method: str = field(
        default="lora",
        metadata={
            "choices": METHODS,
            "help": "frozen: the head only. full: everything. partial: everything but the convolutional front-end, or,"
            " with tuned_layers, these layers. lora, adapter, prompt: light-weight methods. combined: these three"
            " together. peft: any method of the PEFT library, by peft_config.",
        },
    )
    tuned_layers: list[int] | None = field(
        default=None,
        metadata={
            "help": "Numbers of the encoder layers to tune, counted from 0. Default: all that are computed for the"
            " head. Not for method full; frozen tunes no layer, whatever stands here."
        },
    )
    lora_rank: int = field(default=8, metadata={"help": "Rank of the low-rank updates (lora, combined)."})
    lora_alpha: int = field(
        default=1, metadata={"help": "Low-rank updates are scaled by alpha / rank (lora, combined)."}
    )
    lora_dropout: float = field(default=0.0, metadata={"help": "Dropout before low-rank updates (lora, combined)."})
    lora_target_modules: list[str] | None = field(
        default=None,
        metadata={
            "help": "Name endings of the linears that LoRA updates, such as q_proj v_proj. Default: both feed-forward"
            " linears of each layer (lora)."
        },
    )
    adapter_bottleneck: int = field(default=64, metadata={"help": "Width inside an adapter (adapter, combined)."})
    adapter_dropout: float = field(default=0.1, metadata={"help": "Dropout inside an adapter (adapter, combined)."})
    adapter_scale: float = field(default=0.1, metadata={"help": "Factor of an adapter's update (adapter, combined)."})
    adapter_placement: str | None = field(
        default=None,
        metadata={
            "choices": PLACEMENTS,
            "help": "parallel: beside the feed-forward block. sequential: after it. Default: parallel for adapter,"
            " sequential for combined, as published.",
        },
    )
    adapter_adds_input: bool = field(
        default=False,
        metadata={
            "help": "The published code's form, for comparison: an adapter adds its input beside its update, which then"
            " counts twice (adapter, combined)."
        },
    )
    num_prompts: int = field(default=10, metadata={"help": "Prompt vectors in each layer (prompt, combined)."})
    peft_config: dict[str, Any] | str | None = field(
        default=None,
        metadata={
            "help": "A PEFT configuration with its peft_type, as a mapping, JSON text or path of a JSON file, such as"
            ' {"peft_type": "LORA", "use_dora": true}. target_modules defaults to the feed-forward linears; for'
            " LN_TUNING to the layers' norms, for IA3 to keys, values and the second feed-forward linear (peft)."
        },
    )

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"method: expected one of {', '.join(METHODS)}, found {self.method!r}.")
        for option in dataclasses.fields(self):
            methods = OPTION_METHODS.get(option.name)
            if methods is None or self.method in methods or getattr(self, option.name) == option.default:
                continue
            raise ValueError(
                f"{option.name}={getattr(self, option.name)!r} has no effect with method {self.method!r}; it belongs to"
                f" {' and '.join(methods)}. Leave it out, or choose one of these methods."
            )
        if self.method == "full" and self.tuned_layers is not None:
            raise ValueError("tuned_layers: method 'full' trains every layer; choose 'partial' to train some of them.")
        if self.method == "peft":
            self.peft_config = read_peft_config(self.peft_config)


def apply_tuning(
    model: NvvForAudioClassification, arguments: TuningArguments, *, num_training_steps: int | None = None
) -> NvvForAudioClassification | PeftModel:
    """Sets which parameters train, adding those that the method brings.

    Args:
        model: The classifier; changed in place.
        arguments: Method and options.
        num_training_steps: Optimizer steps of the run; AdaLoRA plans its ranks by it where its config does not say.

    Returns:
        The same model for `frozen`, `full` and `partial`, else a `PeftModel` around it, the `save_pretrained` of which
        writes the added parameters and the head.

    Raises:
        ValueError: A layer number does not exist, its layer is not computed, or the PEFT configuration does not fit.
        TypeError: The model carries adapters already.

    Example:
        >>> from nvv.modeling_nvv import NvvForAudioClassification
        >>> model = NvvForAudioClassification.from_backbone("openai/whisper-tiny", random_init=True, num_labels=6)
        >>> model = apply_tuning(model, TuningArguments(method="lora"))
        >>> trainable_parameters(model).counts
        {'lora': 122880, 'head': 100107}
    """
    if isinstance(model, PeftModel) or any(isinstance(module, BaseTunerLayer) for module in model.modules()):
        raise TypeError("model: expected a classifier without adapters; call unload(), or load the model anew.")
    layers = _layers_to_tune(model, arguments.tuned_layers)
    if arguments.method == "frozen":
        if arguments.tuned_layers is not None:
            logger.warning("tuned_layers=%s: method 'frozen' tunes no layer.", arguments.tuned_layers)
        return _train_only(model, [], outside_layers=False)
    if arguments.method == "full":
        return _train_only(model, layers, outside_layers=True, front_end=True)
    if arguments.method == "partial":
        return _train_only(model, layers, outside_layers=arguments.tuned_layers is None)
    if not layers:
        raise ValueError(f"method {arguments.method!r}: the head reads no layer's output, so there is none to tune.")
    if arguments.method == "peft":
        config = library_config(
            model,
            arguments.peft_config,
            layers=layers,
            layers_are_chosen=arguments.tuned_layers is not None,
            num_training_steps=num_training_steps,
        )
    else:
        config = _own_config(model, arguments, layers)
    return get_peft_model(model, config)


def _num_layers_computed(model: nn.Module) -> int:
    """Layers are computed up to the last hidden state that the head reads; state 0 is the embedding output."""
    return max(model.config.summed_layers)


def _layers_to_tune(model: nn.Module, tuned_layers: list[int] | None) -> list[int]:
    num_computed = _num_layers_computed(model)
    if tuned_layers is None:
        return list(range(num_computed))
    numbers = resolve_layers(tuned_layers, len(find_encoder_layers(model)))
    if numbers[-1] >= num_computed:
        raise ValueError(
            f"tuned_layers: layer {numbers[-1]} is not computed, as the last hidden state that the head reads is number"
            f" {num_computed}, the output of layer {num_computed - 1}. Leave it out, or let the head read a later one."
        )
    return numbers


def _train_only(
    model: NvvForAudioClassification, layers: list[int], *, outside_layers: bool, front_end: bool = False
) -> NvvForAudioClassification:
    """Trains the head, the given layers and, where asked, what of the backbone is neither layer nor front-end."""
    model.requires_grad_(False)
    model.head.requires_grad_(True)
    encoder_layers = find_encoder_layers(model.backbone)
    for number in layers:
        encoder_layers[number][1].requires_grad_(True)
    if not outside_layers:
        return model
    layer_names = tuple(f"{name}." for name, _ in encoder_layers)
    fixed = _fixed_names(model, last_state_is_read=_num_layers_computed(model) == len(encoder_layers))
    for name, parameter in model.backbone.named_parameters():
        if not name.startswith((*layer_names, *fixed)):
            parameter.requires_grad_(front_end or name.split(".")[0] not in FRONT_END_MODULES)
    return model


def _fixed_names(model: NvvForAudioClassification, *, last_state_is_read: bool) -> list[str]:
    """How the names of backbone parameters begin that never train: fixed by design, or never computed with."""
    backbone = model.backbone.config
    fixed = ["embed_positions."]  # Whisper's sinusoids, frozen in the stock model too
    if not getattr(backbone, "apply_spec_augment", False):
        fixed.append("masked_spec_embed")
    if backbone.model_type == "whisper":
        if not last_state_is_read:
            fixed.append("layer_norm.")
    elif backbone.do_stable_layer_norm and (model.config.use_weighted_layer_sum or not last_state_is_read):
        fixed.append(
            "encoder.layer_norm."
        )  # the weighted sum reads the last state ahead of this norm, as stock models do
    return fixed


def _own_config(model: nn.Module, arguments: TuningArguments, layers: list[int]) -> PeftConfig:
    """The PEFT configuration of the methods lora, adapter, prompt and combined."""
    if arguments.method == "lora":
        targets = arguments.lora_target_modules or feed_forward_names(model)
        return LoraConfig(
            r=arguments.lora_rank,
            lora_alpha=arguments.lora_alpha,
            lora_dropout=arguments.lora_dropout,
            target_modules=names_in_layers(model, targets, layers),
            modules_to_save=["head"],
        )
    common: dict[str, Any] = {"layers": layers, "modules_to_save": ["head"]}
    if arguments.method == "prompt":
        return NvvPromptConfig(num_prompts=arguments.num_prompts, **common)
    common |= {
        "bottleneck": arguments.adapter_bottleneck,
        "adapter_dropout": arguments.adapter_dropout,
        "scale": arguments.adapter_scale,
        "add_input": arguments.adapter_adds_input,
    }
    if arguments.method == "adapter":
        return NvvAdapterConfig(placement=arguments.adapter_placement or "parallel", **common)
    return NvvCombinedConfig(
        num_prompts=arguments.num_prompts,
        rank=arguments.lora_rank,
        alpha=arguments.lora_alpha,
        lora_dropout=arguments.lora_dropout,
        placement=arguments.adapter_placement or "sequential",
        **common,
    )
