"""Counts what trains in a model, by group.

Only reads `requires_grad`; what trains is set in `tuning`. Own work.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

FRONT_END_MODULES = ("feature_extractor", "conv1", "conv2")
"""Names of the convolutional front-end's modules in the backbones."""

_GROUPS = {
    "adapter": ("nvv_adapter_", "nvv_combined_adapter_"),
    "prompt": ("nvv_prompt_", "nvv_combined_prompts"),
    "lora": ("lora_", "nvv_combined_lora_"),
}


@dataclass(frozen=True)
class TrainableParameters:
    """What trains in a model.

    Args:
        total: Scalars in the model; the untouched copies that PEFT keeps of fully trained modules are not counted.
        trainable: Scalars that train.
        names: Names of the trainable parameters by group: `head`, `lora`, `adapter`, `prompt`, the lower-case type of
            another PEFT method, `front_end` (convolutional) and `backbone` (the rest).
        counts: Trainable scalars by group.
    """

    total: int
    trainable: int
    names: dict[str, list[str]]
    counts: dict[str, int]

    @property
    def percentage(self) -> float:
        """Trainable share of all parameters, in per cent."""
        return 100 * self.trainable / self.total


def trainable_parameters(model: nn.Module) -> TrainableParameters:
    """Counts and groups the parameters that train.

    Args:
        model: A classifier or the `PeftModel` around it.

    Returns:
        Counts and names; a parameter that several modules share counts once.

    Example:
        >>> from nvv.modeling_nvv import NvvForAudioClassification
        >>> model = NvvForAudioClassification.from_backbone("openai/whisper-tiny", random_init=True, num_labels=6)
        >>> model.backbone.requires_grad_(False) and trainable_parameters(model).counts
        {'head': 100107}
    """
    peft_type = str(getattr(getattr(model, "peft_type", None), "value", "")).lower()
    total = 0
    names: dict[str, list[str]] = {}
    counts: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        if ".original_module." in name:
            continue
        total += parameter.numel()
        if not parameter.requires_grad:
            continue
        group = _group(name, peft_type)
        names.setdefault(group, []).append(name)
        counts[group] = counts.get(group, 0) + parameter.numel()
    return TrainableParameters(total=total, trainable=sum(counts.values()), names=names, counts=counts)


def _group(name: str, peft_type: str) -> str:
    parts = name.removeprefix("base_model.model.").split(".")
    if "modules_to_save" in parts or parts[0] == "head":
        return "head"
    for group, starts in _GROUPS.items():
        if any(part.startswith(starts) for part in parts):
            return group
    if peft_type:
        return peft_type
    return "front_end" if len(parts) > 1 and parts[1] in FRONT_END_MODULES else "backbone"
