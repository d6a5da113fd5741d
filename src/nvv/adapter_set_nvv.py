"""Which of a model's adapters is in place: their modules around the backbone's, their heads, their configs.

Each adapter has its own modules around layers of the backbone, its own head and its own config. Switching puts these in
place and takes the others out: the model is then what loading that adapter alone would have given, and the backbone's
weights stay the same tensors throughout. An adapter never sees another's modules, so that methods can be mixed freely.
Reading adapters and the model's own methods are left to `adapters_nvv`. Part of the remote-code bundle: imports only
torch and its siblings. Own work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from .configuration_nvv import SPEC_AUGMENT_FIELDS, NvvConfig

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel
    from transformers import PreTrainedModel

# The backbone's settings that act in training only, so that adapters of one backbone may differ in them.
_TRAINING_SETTINGS = ("apply_spec_augment", "layerdrop", "encoder_layerdrop", *SPEC_AUGMENT_FIELDS)


@dataclass(frozen=True)
class _Wrapped:
    """A place in the backbone where an adapter has a module of its own."""

    parent: nn.Module
    name: str
    stock: nn.Module
    wrapper: nn.Module


@dataclass(frozen=True, eq=False, kw_only=True)
class Adapter:
    """What one adapter puts in place.

    Args:
        name: Its name; `None` for the model without adapters.
        config: The model's config while it is active.
        head: The head, inside PEFT's wrapper where PEFT trained it.
        training_settings: The backbone's settings that act in training only.
        wrapped: Where in the backbone it has modules.
        peft_config: PEFT's description; `None` for a head on the untouched backbone.
        peft_model: What PEFT put around the model, if it did.
    """

    name: str | None
    config: NvvConfig
    head: nn.Module
    training_settings: Mapping[str, Any]
    wrapped: tuple[_Wrapped, ...] = ()
    peft_config: PeftConfig | None = None
    peft_model: PeftModel | None = None

    def modules(self) -> Iterator[nn.Module]:
        """Its own modules and, below them, those of the backbone that they wrap."""
        for root in (self.head, *(place.wrapper for place in self.wrapped)):
            yield from root.modules()


class AdapterSet:
    """The adapters of one model by name, and which of them is in place.

    Args:
        model: The model, without any adapter in its backbone.

    Attributes:
        base: The model as it is without adapters: its own head and config.
        adapters: Name to adapter, in the order of loading.
        active: Name of the active one; `None` where there is none.
        is_enabled: Whether the active one is in place, rather than `base`.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.base = Adapter(
            name=None, config=model.config, head=model.head, training_settings=training_settings_of(model.config)
        )
        self.adapters: dict[str, Adapter] = {}
        self.active: str | None = None
        self.is_enabled = True
        self._in_place = self.base
        self._trains_backbone: list[bool] = []  # as it was before an adapter froze it

    def add(self, adapter: Adapter) -> None:
        """Keeps an adapter, without putting it in place."""
        self.adapters[adapter.name] = adapter

    def activate(self, model: PreTrainedModel, name: str | None) -> None:
        """Puts an adapter in place, or `base` for `None`."""
        self._put(model, self.base if name is None else self.adapters[name])
        self.active, self.is_enabled = name, True

    def disable(self, model: PreTrainedModel) -> None:
        """Puts `base` in place; `activate` brings the active one back."""
        self._put(model, self.base)
        self.is_enabled = False

    def delete(self, model: PreTrainedModel, name: str) -> None:
        """Forgets an adapter; where it was active the first of the others is then, or none."""
        if name == self.active:
            self.activate(model, next((other for other in self.adapters if other != name), None))
        del self.adapters[name]

    @contextmanager
    def temporarily(self, model: PreTrainedModel, name: str | None) -> Iterator[Adapter]:
        """Has another adapter, or for `None` none, in place until the block ends."""
        before, adapter = self._in_place, self.base if name is None else self.adapters[name]
        self._put(model, adapter)
        try:
            yield adapter
        finally:
            self._put(model, before)

    def build(self, model: PreTrainedModel, adapter: Adapter, inject: Callable[[], PeftModel | None]) -> Adapter:
        """Makes an adapter with modules in the backbone, and leaves the model as it was.

        Args:
            model: The model.
            adapter: Its name, config and head.
            inject: Puts its modules into the model, which holds no others when it is called, and returns what PEFT put
                around the model, if it did.

        Returns:
            The adapter with its modules.
        """
        before, peft_model = self._in_place, None
        self._put(model, adapter)
        children = [(module, dict(module._modules)) for module in model.backbone.modules()]
        children.append((model, {"backbone": model.backbone}))
        try:
            peft_model = inject()
        finally:
            wrapped = tuple(
                _Wrapped(parent, name, stock, parent._modules[name])
                for parent, stocks in children
                for name, stock in stocks.items()
                if parent._modules[name] is not stock
            )
            peft_config = getattr(model, "peft_config", {}).get(adapter.name)
            changes = {"head": model.head, "wrapped": wrapped, "peft_config": peft_config, "peft_model": peft_model}
            self._in_place = adapter = replace(adapter, **changes)
            self._put(model, before)
        return adapter

    def apply_to_waiting(self, model: PreTrainedModel, fn: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Applies a move to another device or precision to what is not in place, and so no part of the model now."""
        done = {id(module) for module in model.modules()}
        for adapter in (self.base, *self.adapters.values()):
            for module in adapter.modules():
                if id(module) not in done:
                    done.add(id(module))
                    module._apply(fn, recurse=False)

    def _put(self, model: PreTrainedModel, adapter: Adapter) -> None:
        if self._in_place.peft_config is None:
            self._trains_backbone = [weight.requires_grad for weight in model.backbone.parameters()]
        for place in self._in_place.wrapped:
            setattr(place.parent, place.name, place.stock)
        is_tuned = adapter.peft_config is not None
        for weight, trains in zip(model.backbone.parameters(), self._trains_backbone, strict=True):
            weight.requires_grad_(trains and not is_tuned)
        for place in adapter.wrapped:
            setattr(place.parent, place.name, place.wrapper)
        model.head, model.config = adapter.head, adapter.config
        _apply_training_settings(model, adapter.training_settings)
        # What PEFT and transformers read off a model that carries one adapter, and off one that carries none.
        model._hf_peft_config_loaded = is_tuned
        model.__dict__.pop("peft_config", None)
        if is_tuned:
            model.peft_config = {adapter.name: adapter.peft_config}
        self._in_place = adapter
        model.train(model.training)


def training_settings_of(config: NvvConfig) -> dict[str, Any]:
    """The backbone's settings that act in training only."""
    backbone = config.backbone_config
    return {name: getattr(backbone, name) for name in _TRAINING_SETTINGS if hasattr(backbone, name)}


def _apply_training_settings(model: PreTrainedModel, settings: Mapping[str, Any]) -> None:
    for name, value in settings.items():
        setattr(model.backbone.config, name, value)
    if "encoder_layerdrop" in settings:  # Whisper's encoder reads it once
        model.backbone.layerdrop = settings["encoder_layerdrop"]
