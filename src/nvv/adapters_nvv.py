"""Several adapters of one backbone in one model: loading, switching, saving and deleting them.

A repository's adapter or head is read and checked against the model's backbone here; what switching puts in place is in
`adapter_set_nvv`, PEFT's side of an adapter's files in `tuners_nvv`. Part of the remote-code bundle: imports only
torch, transformers, PEFT and its siblings. Own work.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from transformers import PreTrainedConfig
from transformers.dynamic_module_utils import custom_object_save
from transformers.utils import cached_file, find_adapter_config_file, logging
from transformers.utils.hub import extract_commit_hash
from transformers.utils.loading_report import LoadStateDictInfo

from .adapter_set_nvv import Adapter, AdapterSet, training_settings_of
from .configuration_nvv import NvvConfig, num_layers_of, own_fields
from .heads_nvv import NvvHead
from .loading_nvv import backbone_digest, load_head_weights

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel
    from transformers import PreTrainedModel

logger = logging.get_logger(__name__)

HUB_ARGUMENTS = ("cache_dir", "force_download", "local_files_only", "proxies", "revision", "subfolder", "token")
_BASE_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")
_ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
# Arguments of transformers' own load_adapter that are for weights at hand, or for another way of loading.
_STOCK_ARGUMENTS = ("peft_config", "adapter_state_dict", "low_cpu_mem_usage", "hotswap", "load_config")
_PUSH_ARGUMENTS = ("commit_message", "commit_description", "private", "token", "revision", "create_pr", "tags")
# In config.json, of all kinds of models, beside what a `PreTrainedConfig` writes without being asked.
_COMMON_FIELDS = ("auto_map", "torch_dtype", "tie_word_embeddings", "_attn_implementation")


def is_adapter_only(path: str, hub_arguments: dict[str, Any]) -> bool:
    """Whether a repository holds an adapter and no weights of a whole model.

    Args:
        path: Folder or Hub id.
        hub_arguments: `revision`, `token`, `cache_dir`, `local_files_only`, `subfolder`.
    """
    lookup = {name: value for name, value in hub_arguments.items() if name != "force_download"}
    if find_adapter_config_file(path, **lookup) is None:
        return False
    return not any(_find_file(path, name, lookup) for name in _BASE_WEIGHTS)


def pin_revision(path: str, hub_arguments: dict[str, Any]) -> dict[str, Any]:
    """The Hub arguments with the commit that their revision stands for now; as they are where that is not known.

    All files then come from one state of the repository, and what is in the cache is taken without asking the Hub.
    """
    config_file = _find_file(path, "config.json", hub_arguments)
    commit = None if config_file is None else extract_commit_hash(config_file, None)
    return hub_arguments if commit is None else {**hub_arguments, "revision": commit}


def _find_file(path: str, name: str, hub_arguments: dict[str, Any]) -> str | None:
    return cached_file(
        path,
        name,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_gated_repo=False,
        _raise_exceptions_for_connection_errors=False,
        **hub_arguments,
    )


def _read_config(
    path: str, hub_arguments: dict[str, Any], fields: dict[str, Any], *, is_adapter: bool
) -> NvvConfig | None:
    """The config of a repository that holds an adapter or a head.

    Args:
        path: Folder or Hub id.
        hub_arguments: `revision`, `token`, `cache_dir`, `local_files_only`, `force_download`, `subfolder`.
        fields: Fields of [`NvvConfig`] that replace the repository's.
        is_adapter: Whether it is known to hold an adapter.

    Returns:
        The config; `None` for an adapter as PEFT itself saves it, which has none.

    Raises:
        ValueError: It is a whole model, no model of this kind, or one saved by newer code than this.
    """
    if is_adapter and _find_file(path, "config.json", hub_arguments) is None:
        if fields:
            raise ValueError(f"{path} has no config.json, so {', '.join(fields)} cannot be set for it; leave it out.")
        return None
    saved, _ = NvvConfig.get_config_dict(path, **hub_arguments)
    if saved.get("model_type") != NvvConfig.model_type:
        raise ValueError(f"{path} is a {saved.get('model_type')!r} model, no adapter or head of an nvv model.")
    if not is_adapter and saved.get("saved_weights", "all") == "all":
        raise ValueError(
            f"{path} holds a whole model, with a backbone of its own that may have been trained. Load it by itself, "
            "with from_pretrained."
        )
    unknown = sorted(set(saved) - set(own_fields()) - set(PreTrainedConfig().to_dict()) - set(_COMMON_FIELDS))
    if unknown:
        raise ValueError(
            f"{path} was saved by newer code than this model's, which does not know {', '.join(unknown)}. Load it "
            "first, with from_pretrained, and then add the other."
        )
    config = NvvConfig.from_pretrained(path, **hub_arguments, **fields)
    config.saved_weights = "all"  # as in from_pretrained: the model is then complete
    config.name_or_path = path
    return config


def _check_same_backbone(model: PreTrainedModel, config: NvvConfig, path: str) -> None:
    """Refuses an adapter or head that was trained on another backbone than the model's.

    Args:
        model: The model.
        config: The adapter's config.
        path: Where that comes from, for the error.

    Raises:
        ValueError: The backbone is another, has other layers, or came with the model, so that its origin is not known.
    """
    layers, own_layers = num_layers_of(config.backbone_config), num_layers_of(model.backbone.config)
    asked, own = _describe_backbone(config), _describe_backbone(model.config)
    digest = config.backbone_digest if config.random_init else None
    if (config.family, layers) != (model.config.family, own_layers):
        asked, own = f"{asked} with {layers} layers", f"{own} with {own_layers}"
    elif digest is not None:
        known = model.config.backbone_digest if model._has_named_backbone else None
        if digest == (known or backbone_digest(model.backbone)):
            return
    elif not model._has_named_backbone:
        raise ValueError(
            f"{path} is for the backbone {asked}. This model was saved whole, and its backbone may have been trained, "
            "so load the adapter by itself, with from_pretrained, and add others to it."
        )
    elif asked == own:
        return
    raise ValueError(
        f"{path} is for another backbone, {asked}; this model's is {own}. Load it by itself, with from_pretrained."
    )


def _describe_backbone(config: NvvConfig) -> str:
    """What two configs of the same weights have in common."""
    if config.random_init:
        return f"{config.backbone_id} drawn at random (seed {config.random_init_seed}, {config.backbone_digest})"
    return f"{config.backbone_id} at revision {config.backbone_revision or 'unknown'}"


class AdapterSwitching:
    """Methods of transformers' `PeftAdapterMixin`, made for adapters with heads and configs of their own.

    A model that has its adapters from elsewhere (`add_adapter` on a new model, `get_peft_model`) keeps the stock ones.
    """

    _adapter_set: AdapterSet | None = None
    _pushed_as: str | None = None
    _has_named_backbone = False  # whether the backbone's weights are those that the config names

    def load_adapter(
        self,
        peft_model_id: str | os.PathLike[str] | None = None,
        adapter_name: str | None = None,
        *,
        is_trainable: bool = False,
        local_files_only: bool = False,
        adapter_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> LoadStateDictInfo:
        """Adds an adapter, or the head of a linear probe, of the same backbone, and makes it the active one.

        The backbone is not loaded again. While an adapter is active, the model has that adapter's head and config
        (labels, summed layers, pooling, calibration, operating points, tasks) and gives the logits that loading its
        repository alone would give. `set_adapter` goes back and forth.

        Args:
            peft_model_id: Folder or Hub id of a repository with an adapter or a head; or of an adapter as PEFT itself
                saves it, which is used with the model's own config.
            adapter_name: Name that it gets; `None` for `"default"`, which is also the name of what `from_pretrained`
                loaded, unless it was given another.
            is_trainable: Whether it is to be trained further.
            local_files_only: Never ask the Hub.
            adapter_kwargs: More arguments for the Hub.
            kwargs: Arguments for the Hub (`revision`, `token`, `cache_dir`, `force_download`, `subfolder`), and fields
                of [`NvvConfig`], such as `apply_operating_point`, that replace those of the repository. The rest of
                transformers' arguments, where the model has no adapter yet.

        Returns:
            An empty report: weights that are missing, or too many, are errors here.

        Raises:
            TypeError: An argument is unknown.
            ValueError: The name is taken, the adapter belongs to another backbone or other layers of it, is a whole
                model, or its weights do not fit.
        """
        by_hand = {name: kwargs.pop(name) for name in _STOCK_ARGUMENTS if name in kwargs}
        by_hand = {name: value for name, value in by_hand.items() if value not in (None, False, "auto")}
        stock = {"is_trainable": is_trainable, "local_files_only": local_files_only, "adapter_kwargs": adapter_kwargs}
        if peft_model_id is None or by_hand:
            return self._load_stock_adapter(peft_model_id, adapter_name, **stock, **by_hand, **kwargs)
        path, name = os.fspath(peft_model_id), adapter_name or "default"
        if self._adapter_set is not None and name in self._adapter_set.adapters:
            raise ValueError(f"Adapter with name {name} already exists. Please use a different name.")
        hub_arguments, fields = _split_arguments(
            {**kwargs, **(adapter_kwargs or {}), **({"local_files_only": True} if local_files_only else {})}
        )
        hub_arguments = pin_revision(path, hub_arguments)
        is_adapter = is_adapter_only(path, hub_arguments)
        config = _read_config(path, hub_arguments, fields, is_adapter=is_adapter)
        if self._adapter_set is None and self._hf_peft_config_loaded:
            if config is None:
                return self._load_stock_adapter(path, adapter_name, **stock, **kwargs)
            raise ValueError(
                f"{path}: the model carries {', '.join(self.peft_config)!r} already, an adapter that was not loaded "
                "with from_pretrained or load_adapter. Save that as a repository, and load both."
            )
        adapters = self._adapter_set or AdapterSet(self)
        if config is not None:
            with adapters.temporarily(self, None):
                _check_same_backbone(self, config, path)
            if adapters.active is not None and config.normalize_cut_clips != self.config.normalize_cut_clips:
                logger.warning(
                    f"{path} was trained with a feature extractor that normalises clips otherwise than "
                    f"that of {adapters.active!r}: give each adapter what its own makes of the waveform."
                )
        self._place_adapter(adapters, name, path, config, hub_arguments, is_adapter=is_adapter, trains=is_trainable)
        return LoadStateDictInfo(set(), set(), set(), [], {}, set())

    def _load_stock_adapter(self, path: str | None, name: str | None, **arguments: Any) -> LoadStateDictInfo:
        """As in transformers, with nvv's own tuners known to PEFT."""
        if self._adapter_set is not None:
            raise ValueError(
                f"load_adapter: {', '.join(sorted(set(arguments) & set(_STOCK_ARGUMENTS))) or 'no peft_model_id'} is "
                "for a model without other adapters; give the id or folder of a repository."
            )
        register_tuners_with_peft()
        return super().load_adapter(path, name, **arguments)

    def _place_adapter(
        self,
        adapters: AdapterSet,
        name: str,
        path: str,
        config: NvvConfig | None,
        hub_arguments: dict[str, Any],
        *,
        is_adapter: bool,
        trains: bool,
    ) -> None:
        """Builds the adapter of a repository, and makes it the active one."""
        if config is None:
            config, head = adapters.base.config, copy.deepcopy(adapters.base.head)
        else:
            head = NvvHead(config).to(self.device, self.dtype)
        settings = training_settings_of(config)
        # One config of the backbone for all: its modules hold it, and what transformers notes in it at run time.
        config.backbone_config, config.dtype = self.backbone.config, adapters.base.config.dtype
        adapter = Adapter(name=name, config=config, head=head, training_settings=settings)
        if is_adapter:
            options = {"is_trainable": trains, "may_change_backbone": False, **hub_arguments}
            adapter = adapters.build(self, adapter, lambda: _read_adapter(self, path, name, options))
        else:
            head.load_state_dict(load_head_weights(path, **hub_arguments))
            head.requires_grad_(trains)
        adapters.add(adapter)
        adapters.activate(self, name)
        self._adapter_set = adapters
        if not trains:
            self.eval()

    def _adopt_first(self, name: str, path: str, hub_arguments: dict[str, Any], *, is_adapter: bool) -> None:
        """Names what `from_pretrained` loads: the head that the model has, or an adapter yet to be read."""
        adapters = AdapterSet(self)
        adapter, self._has_named_backbone = replace(adapters.base, name=name), True
        if is_adapter:
            adapter = adapters.build(self, adapter, lambda: _read_adapter(self, path, name, hub_arguments))
            self._has_named_backbone = not _changes_backbone(adapter.peft_config)
        adapters.add(adapter)
        adapters.activate(self, name)
        self._adapter_set = adapters
        self.eval()

    def loaded_adapters(self) -> list[str]:
        """Names of the adapters and heads that `set_adapter` can make active, in the order of loading."""
        return [] if self._adapter_set is None else list(self._adapter_set.adapters)

    def active_adapters(self) -> list[str]:
        """Name of the active adapter or head, in a list as in transformers."""
        if self._adapter_set is None:
            return super().active_adapters()
        return [self._adapter_set.active]

    def set_adapter(self, adapter_name: list[str] | str) -> None:
        """Makes an adapter or head that was loaded the active one, with its config as `model.config`.

        Args:
            adapter_name: Its name, or a list with that.

        Raises:
            ValueError: There is none of this name, or several are asked for; each has a head of its own.
        """
        if self._adapter_set is None:
            return super().set_adapter(adapter_name)
        names = [adapter_name] if isinstance(adapter_name, str) else list(adapter_name)
        if len(names) != 1:
            raise ValueError(f"set_adapter: expected one name, as each adapter has its own head; found {names}.")
        self._check_loaded(names)
        return self._adapter_set.activate(self, names[0])

    def add_adapter(self, adapter_config: PeftConfig, adapter_name: str | None = None) -> None:
        """Adds a new adapter to train, with the first model's config and head, and makes it the active one.

        Args:
            adapter_config: PEFT's description of it.
            adapter_name: As for `load_adapter`.

        Raises:
            ValueError: The name is taken.
        """
        if self._adapter_set is None:
            return super().add_adapter(adapter_config, adapter_name)
        adapters, name = self._adapter_set, adapter_name or "default"
        if name in adapters.adapters:
            raise ValueError(f"Adapter with name {name} already exists. Please use a different name.")
        add_to_bare_model = super().add_adapter
        new = replace(adapters.base, name=name, head=copy.deepcopy(adapters.base.head))

        def inject() -> None:
            self._adapter_set = None
            try:
                add_to_bare_model(adapter_config, name)
            finally:
                self._adapter_set = adapters

        adapters.add(adapters.build(self, new, inject))
        return adapters.activate(self, name)

    def disable_adapters(self) -> None:
        """The backbone without adapters, and the head and config that the model had before the first."""
        if self._adapter_set is None:
            return super().disable_adapters()
        return self._adapter_set.disable(self)

    def enable_adapters(self) -> None:
        """Undoes `disable_adapters`."""
        if self._adapter_set is None:
            return super().enable_adapters()
        return self._adapter_set.activate(self, self._adapter_set.active)

    def delete_adapter(self, adapter_names: list[str] | str) -> None:
        """Deletes adapters or heads; after the active one the first of the others is active.

        After the last one the model is the backbone with the head and config that it had before the first.

        Args:
            adapter_names: Name or names.

        Raises:
            ValueError: One is not there.
        """
        if self._adapter_set is None:
            return super().delete_adapter(adapter_names)
        names = [adapter_names] if isinstance(adapter_names, str) else list(adapter_names)
        self._check_loaded(names)
        for name in names:
            self._adapter_set.delete(self, name)
        if not self._adapter_set.adapters:
            self._adapter_set = None
        return None

    def get_adapter_state_dict(
        self, adapter_name: str | None = None, state_dict: dict[str, torch.Tensor] | None = None
    ) -> dict[str, torch.Tensor]:
        """Weights of an adapter with those of its head, by their names in a model; or of a head.

        Args:
            adapter_name: Its name; `None` for the active one.
            state_dict: The model's, for a model with one adapter only.
        """
        if self._adapter_set is None:
            return super().get_adapter_state_dict(adapter_name, state_dict)
        name = adapter_name or self._adapter_set.active
        self._check_loaded([name])
        with self._adapter_set.temporarily(self, name) as adapter:
            if adapter.peft_config is None:
                return {f"head.{key}": weight for key, weight in adapter.head.state_dict().items()}
            weights = _weights_as_saved(self, adapter)
        return {key.removeprefix("base_model.model."): weight for key, weight in weights.items()}

    def save_pretrained(self, save_directory: str | os.PathLike[str], *args: Any, **kwargs: Any) -> None:
        """Saves the active adapter as a repository of its own; a model without one, or with a head only, whole.

        Arguments are those of `PreTrainedModel.save_pretrained`; of an adapter all weights go into one file.

        Raises:
            ValueError: The folder holds weights of the other kind, which would be loaded instead or as well.
        """
        if self._adapter_set is None:
            super().save_pretrained(save_directory, *args, **kwargs)
            return
        is_adapter = self._hf_peft_config_loaded
        others = _BASE_WEIGHTS if is_adapter else _ADAPTER_FILES
        found = [name for name in others if os.path.isfile(os.path.join(save_directory, name))]
        if found:
            raise ValueError(f"{save_directory} holds {found[0]} of another model; choose an empty folder.")
        if not is_adapter:
            super().save_pretrained(save_directory, *args, **kwargs)
            return
        folder_name = os.path.basename(os.path.normpath(save_directory))
        if kwargs.get("push_to_hub"):
            options = {name: kwargs[name] for name in _PUSH_ARGUMENTS if name in kwargs}
            self.push_to_hub(kwargs.get("repo_id", folder_name), **options)
        if not kwargs.get("is_main_process", args[0] if args else True):
            return
        os.makedirs(save_directory, exist_ok=True)
        self.config.architectures = [type(self).__name__]
        custom_object_save(self, save_directory, config=self.config)
        adapter = self._adapter_set.adapters[self._adapter_set.active]
        weights = {name: weight.contiguous() for name, weight in _weights_as_saved(self, adapter).items()}
        save_file(weights, os.path.join(save_directory, _ADAPTER_FILES[1]), metadata={"format": "pt"})
        # For an adapter on the Hub transformers reads the config from what it names as its base: its own repository.
        peft_config = copy.copy(adapter.peft_config)
        peft_config.base_model_name_or_path = self._pushed_as or folder_name
        peft_config.inference_mode = True
        peft_config.save_pretrained(save_directory)
        self.config.save_pretrained(save_directory)

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> str:
        """Pushes what `save_pretrained` saves; arguments and result are those of transformers.

        Raises:
            ValueError: The id of an adapter's repository has no owner.
        """
        if self._adapter_set is None or not self._hf_peft_config_loaded:
            return super().push_to_hub(repo_id, **kwargs)
        if "/" not in repo_id:
            raise ValueError(f"repo_id: expected owner/name, which the adapter's files name, found {repo_id!r}.")
        self._pushed_as = repo_id
        try:
            return super().push_to_hub(repo_id, **kwargs)
        finally:
            self._pushed_as = None

    def _check_loaded(self, names: list[str]) -> None:
        missing = [name for name in names if name not in self._adapter_set.adapters]
        if missing:
            raise ValueError(
                f"Adapter with name {missing[0]} not found. Please pass the correct adapter name among "
                f"{self.loaded_adapters()}."
            )

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Any:
        super()._apply(fn, recurse)
        if recurse and self._adapter_set is not None:
            self._adapter_set.apply_to_waiting(self, fn)
        return self


def _split_arguments(arguments: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments for the Hub, and fields of the config."""
    fields = own_fields()
    unknown = sorted(set(arguments) - set(HUB_ARGUMENTS) - set(fields))
    if unknown:
        raise TypeError(f"load_adapter has no argument {', '.join(unknown)}, and NvvConfig no such field.")
    hub_arguments = {name: arguments[name] for name in HUB_ARGUMENTS if arguments.get(name) is not None}
    return hub_arguments, {name: value for name, value in arguments.items() if name in fields}


def register_tuners_with_peft() -> None:
    """Enters nvv's adapters and prompts into PEFT's tables; without PEFT nothing needs them."""
    from .tuners_nvv import register_tuners

    register_tuners()


def _read_adapter(model: PreTrainedModel, path: str, name: str, options: dict[str, Any]) -> PeftModel:
    from .tuners_nvv import load_adapter

    return load_adapter(model, path, adapter_name=name, **options)


def _changes_backbone(peft_config: PeftConfig) -> bool:
    from .tuners_nvv import changes_backbone

    return changes_backbone(peft_config)


def _weights_as_saved(model: PreTrainedModel, adapter: Adapter) -> dict[str, torch.Tensor]:
    from .tuners_nvv import adapter_weights

    return adapter_weights(adapter.peft_model or model, adapter.name)
