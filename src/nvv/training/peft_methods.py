"""Configurations of the PEFT library's own methods, fitted to speech encoders.

PEFT has no default target modules for any audio encoder; here they are filled in, and confined to chosen layers. nvv's
own methods and the choice between them are in `tuning`. Own work; where IA3 acts follows Liu et al. 2022, section 3.3.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import peft.mapping
from peft import PeftConfig, PeftModel
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from nvv.tuners_nvv import find_encoder_layers


def read_peft_config(peft_config: dict[str, Any] | str | None) -> dict[str, Any]:
    """Reads a PEFT configuration.

    Args:
        peft_config: A mapping, JSON text, or the path of a JSON file.

    Returns:
        A mapping with a `peft_type` that PEFT knows.

    Raises:
        ValueError: It is none of these, or its `peft_type` is missing or unknown.

    Example:
        >>> read_peft_config('{"peft_type": "LORA", "use_dora": true}')
        {'peft_type': 'LORA', 'use_dora': True}
    """
    if isinstance(peft_config, str):
        text = peft_config
        if not text.lstrip().startswith("{"):
            path = Path(text)
            if not path.is_file():
                raise ValueError(f"peft_config: expected JSON text or the path of a JSON file, found {text!r}.")
            text = path.read_text(encoding="utf-8")
        try:
            peft_config = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"peft_config: expected JSON, found {text!r} ({error}).") from error
    if not isinstance(peft_config, dict) or "peft_type" not in peft_config:
        raise ValueError(
            "peft_config: method 'peft' needs a mapping with a peft_type, such as"
            f' {{"peft_type": "LORA", "use_dora": true}}; found {peft_config!r}.'
        )
    peft_type = peft_config["peft_type"]
    known = sorted(str(key.value) for key in peft.mapping.PEFT_TYPE_TO_CONFIG_MAPPING)
    if peft_type not in known:
        raise ValueError(f"peft_config: expected a peft_type of {', '.join(known)}; found {peft_type!r}.")
    return dict(peft_config)


def library_config(
    model: nn.Module,
    peft_config: dict[str, Any],
    *,
    layers: list[int],
    layers_are_chosen: bool,
    num_training_steps: int | None = None,
) -> PeftConfig:
    """Builds the configuration of any PEFT method, filling in what speech encoders need.

    Args:
        model: The classifier.
        peft_config: `peft_type` and the method's own options.
        layers: Encoder layers to tune.
        layers_are_chosen: Whether the user named them; a list of target modules is then confined to them.
        num_training_steps: Optimizer steps of the run, for AdaLoRA's `total_step` where it is not given.

    Raises:
        ValueError: An option is unknown or does not go with chosen layers, a target module does not exist, or the
            method is made for language models.
    """
    options = dict(peft_config)
    peft_type = options.pop("peft_type")
    config_class = peft.mapping.PEFT_TYPE_TO_CONFIG_MAPPING[peft_type]
    names = {option.name for option in dataclasses.fields(config_class)}
    _check_options(options, names, peft_type)
    if "target_modules" in names:
        targets = options.get("target_modules")
        if targets is None or layers_are_chosen:
            options["target_modules"] = _targets_in_layers(model, peft_type, targets, layers)
        if "feedforward_modules" in names and options.get("feedforward_modules") is None:
            second = feed_forward_names(model)[1]
            options["feedforward_modules"] = [name for name in options["target_modules"] if name.endswith(second)]
    elif "layers" in names:
        options.setdefault("layers", layers)
    if peft_type == "ADALORA" and options.get("total_step") is None:
        if num_training_steps is None:
            raise ValueError("peft_config: ADALORA needs total_step, the number of optimizer steps of the run.")
        options["total_step"] = num_training_steps
    options["modules_to_save"] = sorted({"head", *(options.get("modules_to_save") or [])})
    return config_class(**options)


def _check_options(options: dict[str, Any], names: set[str], peft_type: str) -> None:
    if not {"target_modules", "layers"} & names or "modules_to_save" not in names:
        raise ValueError(
            f"peft_config: {peft_type} puts nothing into the layers of a speech encoder. For learned vectors before the"
            " sequence use method 'prompt'."
        )
    unknown = sorted(set(options) - names)
    if unknown:
        known = ", ".join(sorted(names))
        raise ValueError(f"peft_config: {peft_type} has no option {', '.join(unknown)}; it has {known}.")
    for name in ("layers_to_transform", "layers_pattern"):
        if options.get(name) is not None:
            raise ValueError(f"peft_config: leave out {name}; tuned_layers chooses the layers of every method.")


def _targets_in_layers(
    model: nn.Module, peft_type: str, targets: list[str] | str | None, layers: list[int]
) -> list[str]:
    whisper = model.config.backbone_config.model_type == "whisper"
    if isinstance(targets, str):
        raise ValueError(
            f"peft_config: target_modules={targets!r} is a pattern, which tuned_layers cannot confine. Give a list of"
            " name endings, or write the layers into the pattern."
        )
    if targets is None and peft_type == "LN_TUNING":
        targets = ["self_attn_layer_norm" if whisper else "layer_norm", "final_layer_norm"]
    elif targets is None and peft_type == "IA3":
        targets = ["k_proj", "v_proj", feed_forward_names(model)[1]]
    elif targets is None:
        targets = feed_forward_names(model)
    return names_in_layers(model, targets, layers)


def feed_forward_names(model: nn.Module) -> list[str]:
    """Name endings of the linears into and out of the feed-forward block of a classifier's encoder layers."""
    if model.config.backbone_config.model_type == "whisper":
        return ["fc1", "fc2"]
    return ["feed_forward.intermediate_dense", "feed_forward.output_dense"]


def names_in_layers(model: nn.Module, targets: list[str], layers: list[int]) -> list[str]:
    """Finds modules inside chosen encoder layers.

    Args:
        model: The classifier.
        targets: Name endings, such as `fc1`.
        layers: Layer numbers.

    Returns:
        Longer endings, such as `layers.0.fc1`, one for each module found.

    Raises:
        ValueError: A target fits no module of the layers.
    """
    names: list[str] = []
    encoder_layers = find_encoder_layers(model)
    for target in targets:
        found = [
            f"layers.{number}.{name}"
            for number in layers
            for name, _ in encoder_layers[number][1].named_modules()
            if name == target or name.endswith(f".{target}")
        ]
        if not found:
            known = ", ".join(sorted(name for name, _ in encoder_layers[layers[0]][1].named_modules() if name))
            raise ValueError(f"target_modules: no module of the layers is named {target!r}; they have {known}.")
        names.extend(found)
    return names


class _RankAllocation(TrainerCallback):
    """AdaLoRA decides anew which ranks to keep, between an optimizer step and the clearing of its gradients."""

    def __init__(self, model: PeftModel) -> None:
        self.model = model

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        del args, control, kwargs
        self.model.base_model.update_and_allocate(state.global_step + 1)


def tuning_callbacks(model: nn.Module) -> list[TrainerCallback]:
    """Callbacks that a model's tuning method needs from the `Trainer`: AdaLoRA's allocation of ranks, else none."""
    if isinstance(model, PeftModel) and hasattr(model.base_model, "update_and_allocate"):
        return [_RankAllocation(model)]
    return []
