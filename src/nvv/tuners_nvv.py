"""Bottleneck adapters, deep prompts and their combination with low-rank updates, as tuners of the PEFT library.

Importing this file registers the three with PEFT. The layers they put in place are in `tuner_layers_nvv`; which method
a run takes, and LoRA, IA3 and the like, are left to `nvv.training.tuning`. Part of the remote-code bundle: imports only
torch, transformers, peft and its siblings.

Source: methods and hyper-parameters are those of Márquez Villacís et al., "Exploring the Adaptability of Large Speech
Models to Non-Verbal Vocalization Tasks", CLiC-it 2025; the code is own work.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar

import peft.mapping
import torch
from peft import PeftConfig, PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTuner
from peft.utils import load_peft_weights
from torch import nn
from transformers.activations import ACT2FN
from transformers.utils.hub import cached_file, extract_commit_hash

from .tuner_layers_nvv import (
    AdapterLayer,
    CombinedLayer,
    PromptLayer,
    cannot_merge,
    find_encoder_layers,
    resolve_layers,
)

PLACEMENTS = ("parallel", "sequential")
_STARTS_THAT_KEEP_THE_BACKBONE = ("gaussian", "eva", "orthogonal")


class NvvTunerType(str, Enum):
    """Keys of these tuners in PEFT's tables.

    A `str` with a `value`: PEFT looks the key up as a string, transformers' `load_adapter` asks it for `.value`. Names
    equal values, so that a member hashes like the plain string that adapter_config.json holds. The prefix of a tuner's
    parameters is its key in lower case and an underscore, as transformers' `delete_adapter` expects.
    """

    NVV_ADAPTER = "NVV_ADAPTER"
    NVV_PROMPT = "NVV_PROMPT"
    NVV_COMBINED = "NVV_COMBINED"


@dataclass
class _NvvTunerConfig(PeftConfig):
    """Fields that all three tuners share.

    Args:
        layers: Numbers of the encoder layers to tune, counted from 0; `None` for all.
        modules_to_save: Names of modules that are trained and saved whole beside the tuner, such as `["head"]`.
    """

    # PEFT asks every injectable configuration for target modules; here `layers` takes their place.
    target_modules: ClassVar[None] = None
    exclude_modules: ClassVar[None] = None

    layers: list[int] | None = field(
        default=None, metadata={"help": "Numbers of the encoder layers to tune, counted from 0; None for all."}
    )
    modules_to_save: list[str] | None = field(
        default=None, metadata={"help": "Names of modules that are trained and saved whole beside the tuner."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        # Names of the wrapped modules; known once the configuration meets a model, and therefore not saved.
        self.layer_names: frozenset[str] = frozenset()

    def _check(self, name: str, *, valid: bool, expected: str) -> None:
        if not valid:
            raise ValueError(f"{type(self).__name__}.{name}: expected {expected}, found {getattr(self, name)!r}.")

    def _check_adapter_fields(self) -> None:
        self._check("bottleneck", valid=_is_count(self.bottleneck), expected="an integer of at least 1")
        self._check("adapter_dropout", valid=0.0 <= self.adapter_dropout < 1.0, expected="a number in [0, 1)")
        self._check("scale", valid=math.isfinite(self.scale) and self.scale != 0, expected="a finite number, not 0")
        self._check("placement", valid=self.placement in PLACEMENTS, expected=f"one of {', '.join(PLACEMENTS)}")
        self._check("activation", valid=self.activation in ACT2FN, expected="an activation that transformers knows")

    def _check_prompt_fields(self) -> None:
        self._check("num_prompts", valid=_is_count(self.num_prompts), expected="an integer of at least 1")


@dataclass
class NvvAdapterConfig(_NvvTunerConfig):
    """Bottleneck adapters.

    Args:
        bottleneck: Width between the two linears, at least 1.
        adapter_dropout: Dropout after the activation, in [0, 1).
        scale: Fixed factor of the update.
        placement: `"parallel"` reads the stream after attention, before the feed-forward norm, and adds the update
            after the feed-forward residual. `"sequential"` reads the feed-forward result: in post-norm layers after
            the residual and before the last norm, in pre-norm and Whisper layers before the residual.
        activation: Name of the non-linearity, as in `transformers.activations.ACT2FN`.
        add_input: `False` adds only the update, so that a new adapter changes nothing. `True` is the form of the
            published code, which adds the adapter's input as well and so counts it twice; for comparison only.
    """

    bottleneck: int = field(default=64, metadata={"help": "Width between the adapter's two linears."})
    adapter_dropout: float = field(default=0.1, metadata={"help": "Dropout after the activation, in [0, 1)."})
    scale: float = field(default=0.1, metadata={"help": "Fixed factor of the update."})
    placement: str = field(default="parallel", metadata={"help": "parallel or sequential."})
    activation: str = field(default="relu", metadata={"help": "Non-linearity between the two linears."})
    add_input: bool = field(
        default=False, metadata={"help": "Add the adapter's input too, as the published code does; for comparison."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = NvvTunerType.NVV_ADAPTER
        self._check_adapter_fields()


@dataclass
class NvvPromptConfig(_NvvTunerConfig):
    """Deep prompts: learned vectors put before the sequence ahead of each layer and taken off at its end.

    Args:
        num_prompts: Vectors in each layer, at least 1.
    """

    num_prompts: int = field(default=10, metadata={"help": "Learned vectors in each layer."})

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = NvvTunerType.NVV_PROMPT
        self._check_prompt_fields()


@dataclass
class NvvCombinedConfig(_NvvTunerConfig):
    """Deep prompts, low-rank updates of both feed-forward linears, and a bottleneck adapter, in the same layers.

    Args:
        num_prompts: See `NvvPromptConfig`.
        rank: Rank of the low-rank updates, at least 1.
        alpha: The updates are scaled by `alpha / rank`.
        lora_dropout: Dropout on the input of the low-rank updates, in [0, 1).
        bottleneck: See `NvvAdapterConfig`, like the fields that follow.
        adapter_dropout: See `NvvAdapterConfig`.
        scale: See `NvvAdapterConfig`.
        placement: See `NvvAdapterConfig`; sequential by default, as published.
        activation: See `NvvAdapterConfig`.
        add_input: See `NvvAdapterConfig`.
    """

    num_prompts: int = field(default=10, metadata={"help": "Learned vectors in each layer."})
    rank: int = field(default=8, metadata={"help": "Rank of the updates of both feed-forward linears."})
    alpha: float = field(default=1.0, metadata={"help": "The low-rank updates are scaled by alpha / rank."})
    lora_dropout: float = field(default=0.0, metadata={"help": "Dropout before the low-rank updates, in [0, 1)."})
    bottleneck: int = field(default=64, metadata={"help": "Width between the adapter's two linears."})
    adapter_dropout: float = field(default=0.1, metadata={"help": "Dropout after the activation, in [0, 1)."})
    scale: float = field(default=0.1, metadata={"help": "Fixed factor of the adapter's update."})
    placement: str = field(default="sequential", metadata={"help": "parallel or sequential."})
    activation: str = field(default="relu", metadata={"help": "Non-linearity between the two linears."})
    add_input: bool = field(
        default=False, metadata={"help": "Add the adapter's input too, as the published code does; for comparison."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = NvvTunerType.NVV_COMBINED
        self._check_prompt_fields()
        self._check_adapter_fields()
        self._check("rank", valid=_is_count(self.rank), expected="an integer of at least 1")
        self._check("alpha", valid=math.isfinite(self.alpha) and self.alpha > 0, expected="a number above 0")
        self._check("lora_dropout", valid=0.0 <= self.lora_dropout < 1.0, expected="a number in [0, 1)")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


class _NvvTuner(BaseTuner):
    """Wraps the chosen encoder layers of a model in `tuner_layer_cls`."""

    target_module_mapping: ClassVar[dict[str, list[str]]] = {}

    def _prepare_adapter_config(self, peft_config: PeftConfig, model_config: dict) -> PeftConfig:
        del model_config  # the layers are found in the model itself, in `_prepare_model`
        if not hasattr(BaseTuner, "_get_adapter_state_dict"):
            # Older versions save only the methods that they list themselves.
            raise ImportError(f"{peft_config.peft_type.value} needs peft 0.21 or later, found {peft.__version__}.")
        return peft_config

    def _prepare_model(self, peft_config: PeftConfig, model: nn.Module) -> None:
        layers = find_encoder_layers(model)
        numbers = resolve_layers(peft_config.layers, len(layers))
        peft_config.layer_names = frozenset(layers[number][0] for number in numbers)

    @staticmethod
    def _check_target_module_exists(peft_config: PeftConfig, key: str) -> bool:
        return key in peft_config.layer_names

    def _create_and_replace(
        self,
        peft_config: PeftConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,
    ) -> None:
        del current_key, parameter_name
        if isinstance(target, self.tuner_layer_cls):
            target.update_layer(adapter_name, peft_config)
            return
        wrapper = self.tuner_layer_cls(target)
        wrapper.train(target.training)
        wrapper.set_adapter(self.active_adapters)
        wrapper.update_layer(adapter_name, peft_config)
        self._replace_module(parent, target_name, wrapper, target)

    def _replace_module(self, parent: nn.Module, child_name: str, new_module: nn.Module, child: nn.Module) -> None:
        # PEFT's own version copies `weight` and `bias`, which encoder layers do not have; devices are set already.
        del child
        setattr(parent, child_name, new_module)

    def _check_merge_allowed(self) -> None:
        raise ValueError(cannot_merge(self.peft_config))


class NvvAdapterModel(_NvvTuner):
    """Tuner of `NvvAdapterConfig`."""

    prefix = "nvv_adapter_"
    tuner_layer_cls = AdapterLayer


class NvvPromptModel(_NvvTuner):
    """Tuner of `NvvPromptConfig`."""

    prefix = "nvv_prompt_"
    tuner_layer_cls = PromptLayer


class NvvCombinedModel(_NvvTuner):
    """Tuner of `NvvCombinedConfig`."""

    prefix = "nvv_combined_"
    tuner_layer_cls = CombinedLayer


def load_adapter(
    model: nn.Module,
    path: str,
    *,
    adapter_name: str = "default",
    is_trainable: bool = False,
    may_change_backbone: bool = True,
    **hub_arguments: Any,
) -> PeftModel:
    """Loads a saved adapter of any PEFT method into a model that carries none yet, by default for inference.

    `PreTrainedModel.load_adapter` refuses VeRA, loses DoRA's magnitudes and reports AdaLoRA's rank counters as missing,
    so PEFT itself loads here. Afterwards the model itself, no `PeftModel` around it, runs with the adapter.

    Args:
        model: A `PreTrainedModel`; changed in place.
        path: Folder or Hub id of the adapter.
        adapter_name: Name that it gets.
        is_trainable: Whether it is to be trained further.
        may_change_backbone: Whether it may change weights of the backbone itself; see `changes_backbone`.
        hub_arguments: `revision`, `token`, `cache_dir`, `local_files_only`, `force_download`, `subfolder`.

    Returns:
        What PEFT put around the model, for PEFT's functions to look into.

    Raises:
        ValueError: The model carries an adapter already, the saved weights are not those that the adapter has, or it
            would change the backbone and may not.
    """
    if getattr(model, "peft_config", None):
        raise ValueError(f"{path}: the model carries the adapter {', '.join(model.peft_config)!r} already.")
    folder = _fetch(path, hub_arguments)
    config = PeftConfig.from_pretrained(folder)
    if not may_change_backbone and changes_backbone(config):
        raise ValueError(
            f"{path}: this {config.peft_type} adapter changes weights of the backbone itself, which all adapters of a "
            "model share. Load it by itself, with from_pretrained."
        )
    config.inference_mode = not is_trainable
    peft_model = PeftModel(model, config, adapter_name=adapter_name)
    weights = load_peft_weights(folder, device="cpu")
    expected = set(get_peft_model_state_dict(peft_model, adapter_name=adapter_name, save_embedding_layers=False))
    differing = expected ^ set(weights)
    if differing:
        name = min(differing)
        problem = "is missing" if name in expected else "has no place in this model"
        raise ValueError(
            f"{path}: {len(differing)} of the adapter's weights do not fit; {name} {problem}. Save the adapter again,"
            " or load it into the kind of model that it was trained in."
        )
    set_peft_model_state_dict(peft_model, weights, adapter_name=adapter_name)
    model._hf_peft_config_loaded = True  # what tells transformers' adapter methods that there is one
    if not is_trainable:
        model.eval()
    return peft_model


def _fetch(path: str, hub_arguments: dict[str, Any]) -> str:
    """The folder where an adapter's two files lie, from one commit; PEFT itself would not take them from the cache."""
    config_file = cached_file(path, "adapter_config.json", **hub_arguments)
    commit = extract_commit_hash(config_file, None)
    at_commit = hub_arguments if commit is None else {**hub_arguments, "revision": commit}
    for name in ("adapter_model.safetensors", "adapter_model.bin"):
        if cached_file(path, name, _raise_exceptions_for_missing_entries=False, **at_commit) is not None:
            return os.path.dirname(config_file)
    raise OSError(f"{path} holds an adapter_config.json and no adapter_model.safetensors beside it.")


def changes_backbone(config: PeftConfig) -> bool:
    """Whether a kind of adapter changes weights of the backbone beside adding its own.

    So do trained biases, and starts of LoRA such as PiSSA's that take a part out of the weights.

    Args:
        config: Describes the adapter.
    """
    start = getattr(config, "init_lora_weights", True)
    keeps = isinstance(start, bool) or start in _STARTS_THAT_KEEP_THE_BACKBONE
    return not keeps or getattr(config, "bias", "none") not in (None, False, "none")


def adapter_weights(model: nn.Module, adapter_name: str) -> dict[str, torch.Tensor]:
    """Weights of an adapter and of the modules trained with it, by the names that PEFT saves.

    Args:
        model: What `load_adapter` gave, or a model with an adapter that PEFT put into it.
        adapter_name: The adapter's name.
    """
    weights = get_peft_model_state_dict(model, adapter_name=adapter_name, save_embedding_layers=False)
    if isinstance(model, PeftModel):
        return weights
    return {f"base_model.model.{name}": weight for name, weight in weights.items()}


def register_tuners() -> None:
    """Enters the tuners in PEFT's tables; the first copy of this file that a process imports stays.

    The installed package and the copy beside a pushed model may meet in one process. A live model keeps its classes, so
    replacing them would leave two kinds of tuner layer under one key; both copies use the classes of the first.
    """
    tuners = (
        (NvvTunerType.NVV_ADAPTER, NvvAdapterConfig, NvvAdapterModel),
        (NvvTunerType.NVV_PROMPT, NvvPromptConfig, NvvPromptModel),
        (NvvTunerType.NVV_COMBINED, NvvCombinedConfig, NvvCombinedModel),
    )
    for key, config_class, tuner_class in tuners:
        peft.mapping.PEFT_TYPE_TO_CONFIG_MAPPING.setdefault(key, config_class)
        peft.mapping.PEFT_TYPE_TO_TUNER_MAPPING.setdefault(key, tuner_class)
        peft.mapping.PEFT_TYPE_TO_PREFIX_MAPPING.setdefault(key, tuner_class.prefix)


register_tuners()
