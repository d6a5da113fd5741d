"""What the cached features of a backbone depend on, and the digest that tells one such setting from another.

Held by `FeatureSettings`: the backbone's weights and architecture, the front-end (feature extractor, cut, padding),
the pooling and the precision. The features of a clip depend on these, on the clip's bytes and on nothing else: not on
the batch it was computed in. Where features are kept is the neighbour `feature_cache`'s business. Own work.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import Wav2Vec2FeatureExtractor

from ..configuration_nvv import NvvConfig
from ..heads_nvv import POOLINGS_THAT_COMMUTE
from ..loading_nvv import backbone_digest
from ..modeling_nvv import NvvForAudioClassification
from .arguments import ArgumentsError

FORMAT_VERSION = 1
"""Raised whenever the same settings give other features or shards of another form."""

_FRONT_END_FIELDS = ("padding", "padding_seconds", "pool_padding", "pooling", "max_seconds", "sampling_rate")
_BACKBONE_FIELDS = ("backbone_id", "backbone_revision", "random_init_seed")
# Fields of a backbone's config that say nothing of what it computes in evaluation mode. Those that a later release of
# transformers adds count: computing again is better than reading the features of another architecture.
_WITHOUT_EFFECT = (
    *("_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version"),
    *("layerdrop", "encoder_layerdrop", "decoder_layerdrop", "apply_spec_augment", "add_adapter"),
    *("use_cache", "return_dict", "output_attentions", "output_hidden_states", "id2label", "label2id"),
)


@dataclass(frozen=True)
class FeatureSettings:
    """Everything that the features of a clip depend on besides the clip.

    Attributes:
        values: The settings, ready for JSON.
        name: The backbone's name, for people who look into the cache.

    Example:
        >>> settings = FeatureSettings.of(model, feature_extractor, bf16=False)  # doctest: +SKIP
        >>> settings.folder_in(Path("cache"))  # doctest: +SKIP
        PosixPath('cache/whisper-tiny@0123456789abcdef/89abcdef01234567')
    """

    values: dict[str, Any]
    name: str

    @classmethod
    def of(
        cls, model: NvvForAudioClassification, feature_extractor: Wav2Vec2FeatureExtractor, *, bf16: bool
    ) -> FeatureSettings:
        """Read the settings off a model.

        The weights count as they are in memory, not by the name they came from: a backbone that was fine-tuned, or a
        local folder that was overwritten, has other settings. So have two random backbones of different seeds.

        Args:
            model: The classifier whose backbone computes; its head does not count.
            feature_extractor: The model's.
            bf16: Whether the backbone computes in bfloat16.

        Raises:
            ArgumentsError: For a pooling that does not commute with the weighted sum and the projection, and for a
                backbone that is not in float32.
        """
        config = model.config
        check_pooling(config)
        if model.backbone.dtype != torch.float32:
            raise ArgumentsError(
                f"bf16: expected a backbone in float32, found {model.backbone.dtype}. Load the model in float32; with "
                "bf16=True a copy of it computes in half precision."
            )
        backbone = config.backbone_config.to_dict()
        values = {
            "format_version": FORMAT_VERSION,
            "backbone": {name: value for name, value in backbone.items() if name not in _WITHOUT_EFFECT},
            "weights_digest": backbone_digest(model.backbone),
            "shape": [num_stored_states(config), config.hidden_size],
            "precision": "bfloat16" if bf16 else "float32",
            "feature_extractor": {
                name: getattr(feature_extractor, name)
                for name in ("do_normalize", "feature_size", "padding_side", "padding_value", "sampling_rate")
            },
            **_front_end_of(config),
        }
        # Through JSON, so that settings read from a file and settings of a model compare equal.
        return cls(values=json.loads(json.dumps(values, default=str)), name=_plain_name(config.backbone_id or "model"))

    @property
    def digest(self) -> str:
        """SHA-256 of all settings, in 64 hex digits."""
        return hashlib.sha256(json.dumps(self.values, sort_keys=True).encode()).hexdigest()

    @property
    def shape(self) -> tuple[int, int]:
        """Stored hidden states and their width: the shape of one clip's features."""
        num_states, width = self.values["shape"]
        return num_states, width

    def folder_in(self, cache_dir: Path) -> Path:
        """Return the folder of the features with these settings: one for the backbone, in it one for the front-end."""
        return cache_dir / f"{self.name}@{self.values['weights_digest']}" / self.digest[:16]


def normalises_last_alone(config: NvvConfig) -> bool:
    """Whether the last hidden state differs between a head that sums layers and one that reads this layer alone.

    So it is in pre-norm encoders but Whisper's: the final norm stands before the head only in the second case. See
    `NvvForAudioClassification.encode`.
    """
    return config.family != "whisper" and config.backbone_config.do_stable_layer_norm


def num_stored_states(config: NvvConfig) -> int:
    """Count what is stored of each clip: all hidden states and, where it is another, the last one after its norm."""
    return config.num_hidden_states + normalises_last_alone(config)


def stored_states_of(config: NvvConfig) -> list[int]:
    """Return where the hidden states that a config's head reads are among the stored ones, in the head's order."""
    last = config.num_hidden_states - 1
    if normalises_last_alone(config) and not config.use_weighted_layer_sum:
        return [last + 1 if layer == last else layer for layer in config.summed_layers]
    return config.summed_layers


def check_pooling(config: NvvConfig) -> None:
    """Raise `ArgumentsError` unless pooling the hidden states first gives the logits of the live model."""
    if config.pooling not in POOLINGS_THAT_COMMUTE:
        raise ArgumentsError(
            f"pooling: expected one of {', '.join(POOLINGS_THAT_COMMUTE)} to train on cached features, found "
            f"{config.pooling!r}, which has to see the projected frames. Train with --method frozen instead."
        )


def check_same_features(config: NvvConfig, *, computed_with: NvvConfig) -> None:
    """Raise unless the head of one config reads features that were computed with another.

    Layers, weighted sum, head, labels and loss may differ; backbone and front-end may not.

    Args:
        config: Of the head that is to be trained.
        computed_with: Of the model that computed.

    Raises:
        ArgumentsError: Naming the field that differs and both values.
    """
    check_pooling(config)
    found, expected = _identity_of(config), _identity_of(computed_with)
    for name, value in expected.items():
        if found[name] != value:
            raise ArgumentsError(
                f"{name}: the features were computed with {value!r}, the head's config says {found[name]!r}. "
                "Compute the features with this config's model."
            )


def _identity_of(config: NvvConfig) -> dict[str, Any]:
    identity = {name: getattr(config, name) for name in _BACKBONE_FIELDS}
    shape = {
        "family": config.family,
        "hidden_size": config.hidden_size,
        "num_hidden_states": config.num_hidden_states,
    }
    return {**identity, **shape, **_front_end_of(config)}


def _front_end_of(config: NvvConfig) -> dict[str, Any]:
    """Return the fields that act; those that the padding policy leaves without effect are None."""
    fields = {name: getattr(config, name) for name in _FRONT_END_FIELDS}
    if config.padding == "mask":
        fields["padding_seconds"] = None
    return fields


def _plain_name(backbone_id: str) -> str:
    """Return the last part of a Hub id or folder, safe as a folder's name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", Path(backbone_id).name)[:80] or "backbone"
