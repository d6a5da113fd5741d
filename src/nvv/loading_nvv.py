"""Where a backbone's config, weights and feature extractor come from.

Pretrained weights are read from the Hub or a folder at a fixed revision and checked to be complete; random ones are
drawn from a seed and recognised by a digest. Part of the remote-code bundle: imports only torch, safetensors,
transformers and its siblings.
"""

from __future__ import annotations

import hashlib
import os
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoFeatureExtractor, PreTrainedConfig, PreTrainedModel, Wav2Vec2FeatureExtractor
from transformers.utils.hub import cached_file, extract_commit_hash

from .backbones_nvv import BACKBONE_CLASSES
from .configuration_nvv import BACKBONE_FAMILIES, NvvConfig
from .known_backbones_nvv import known_backbone_config

_WHISPER_ENCODER_PREFIX = r"^(model\.)?encoder\."
# A vector used by SpecAugment in pre-training only; some released checkpoints lack it.
_MAY_BE_MISSING = ("masked_spec_embed",)


def load_backbone_config(
    backbone_id: str, *, family: str | None = None, random_init: bool = False, **hub_arguments: Any
) -> PreTrainedConfig:
    """Reads a backbone's own config.

    Args:
        backbone_id: Hub id or folder.
        family: If given, the family that it has to be of.
        random_init: Take the architecture of a known Hub id from a table, without asking the Hub.
        hub_arguments: `revision`, `token`, `cache_dir`, `local_files_only`, `force_download`.

    Raises:
        ValueError: It is not of the family asked for, or of none that is supported.
    """
    if random_init and not os.path.isdir(backbone_id):
        config = known_backbone_config(backbone_id)
    else:
        config = AutoConfig.from_pretrained(backbone_id, **hub_arguments)
    if config.model_type not in BACKBONE_FAMILIES:
        raise ValueError(
            f"{backbone_id} is a {config.model_type!r} checkpoint; supported are {', '.join(BACKBONE_FAMILIES)}."
        )
    if family is not None and config.model_type != family:
        raise ValueError(
            f"{backbone_id} is a {config.model_type!r} checkpoint, not {family!r}: loaded as {family!r} its weights "
            f"would be lost. Ask for {config.model_type!r}, or leave the family out."
        )
    return config


def resolve_backbone_revision(backbone_id: str, **hub_arguments: Any) -> str | None:
    """The commit that `revision` (or the main branch) of a Hub repository stands for now; `None` for a folder."""
    if os.path.isdir(backbone_id):
        return None
    return extract_commit_hash(cached_file(backbone_id, "config.json", **hub_arguments), None)


def load_backbone(config: NvvConfig, **hub_arguments: Any) -> PreTrainedModel:
    """The backbone that `config` names, in fp32 on the CPU: pretrained, or drawn again from its seed.

    Args:
        config: Gives `backbone_config`, `backbone_id`, `backbone_revision`, or `random_init_seed` and
            `backbone_digest`.
        hub_arguments: `token`, `cache_dir`, `local_files_only`, `force_download`.

    Raises:
        ValueError: The checkpoint is of another type, or leaves weights of the encoder uninitialised; or the weights
            drawn again differ from those trained with.
    """
    if config.random_init:
        return draw_backbone(config)
    if not config.backbone_id:
        raise ValueError("backbone_id is not set: the config does not say where the backbone's weights come from.")
    hub_arguments["revision"] = config.backbone_revision
    load_backbone_config(config.backbone_id, family=config.family, **hub_arguments)
    backbone_class = BACKBONE_CLASSES[config.family]
    key_mapping = {_WHISPER_ENCODER_PREFIX: ""} if config.family == "whisper" else None
    backbone, report = backbone_class.from_pretrained(
        config.backbone_id,
        config=config.backbone_config,
        dtype=torch.float32,
        output_loading_info=True,
        key_mapping=key_mapping,
        **hub_arguments,
    )
    missing = sorted(key for key in report["missing_keys"] if not key.endswith(_MAY_BE_MISSING))
    if missing:
        raise ValueError(
            f"{config.backbone_id} leaves {len(missing)} weights of the {config.family} encoder uninitialised, "
            f"{missing[0]} among them: it is not a complete {config.family} checkpoint."
        )
    return backbone


def draw_backbone(config: NvvConfig) -> PreTrainedModel:
    """A backbone with random weights from `config.random_init_seed`, leaving the caller's random state as it was.

    Raises:
        ValueError: `config.backbone_digest` is set and the weights drawn are others.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.random_init_seed)
        backbone = BACKBONE_CLASSES[config.family](config.backbone_config).eval()
    if config.backbone_digest is not None and backbone_digest(backbone) != config.backbone_digest:
        raise ValueError(
            f"The random backbone drawn with seed {config.random_init_seed} is not the one this model was trained on: "
            "another version of torch or transformers draws other numbers. Save the full model instead of the adapter."
        )
    return backbone


def backbone_digest(backbone: PreTrainedModel) -> str:
    """SHA-256 (first 16 hex digits) over all weights in the order of their names."""
    digest = hashlib.sha256()
    for name, weight in sorted(backbone.state_dict().items()):
        digest.update(name.encode())
        digest.update(weight.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def load_head_weights(repository: str, **hub_arguments: Any) -> dict[str, torch.Tensor]:
    """Weights of the head from a repository whose config says `saved_weights="head"`, by their names in the head.

    Args:
        repository: Hub id or folder.
        hub_arguments: `revision`, `token`, `cache_dir`, `local_files_only`, `force_download`, `subfolder`.
    """
    weights = load_file(cached_file(repository, "model.safetensors", **hub_arguments))
    return {name.removeprefix("head."): weight for name, weight in weights.items()}


def load_feature_extractor(
    backbone_id: str, *, random_init: bool = False, **hub_arguments: Any
) -> Wav2Vec2FeatureExtractor:
    """The feature extractor that every nvv model is saved with: it takes 16 kHz waveforms, pads, and returns a mask.

    Whisper's log-mel front-end is inside the model. For the other families, whether clips are brought to zero mean and
    unit variance is read from the checkpoint's own preprocessor; random weights take transformers' default, which does.

    Args:
        backbone_id: Hub id or folder.
        random_init: The backbone has random weights; nothing is read.
        hub_arguments: `revision`, `token`, `cache_dir`, `local_files_only`, `force_download`.
    """
    config = load_backbone_config(backbone_id, random_init=random_init, **hub_arguments)
    normalise = config.model_type != "whisper"
    if normalise and not random_init:
        normalise = AutoFeatureExtractor.from_pretrained(backbone_id, **hub_arguments).do_normalize
    return Wav2Vec2FeatureExtractor(
        feature_size=1, sampling_rate=16_000, padding_value=0.0, do_normalize=normalise, return_attention_mask=True
    )
