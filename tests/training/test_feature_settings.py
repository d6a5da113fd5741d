from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import Wav2Vec2FeatureExtractor

from nvv import NvvConfig
from nvv.training.arguments import ArgumentsError
from nvv.training.feature_settings import FeatureSettings, check_same_features, num_stored_states, stored_states_of

FIELDS = {"num_labels": 3, "max_seconds": 2.0, "padding_seconds": 2.5, "backbone_id": "openai/whisper-tiny"}


@pytest.fixture
def settings_of(tiny_backbone_config, tiny_model):
    """Make the settings of a tiny model that differs from the usual one as said."""

    def make(*, bf16=False, do_normalize=False, backbone=None, change_weights=False, **fields) -> FeatureSettings:
        model = tiny_model(tiny_backbone_config("whisper", **(backbone or {})), **{**FIELDS, **fields})
        if change_weights:
            model.backbone.layers[1].fc1.bias.data[0] += 1e-3
        extractor = Wav2Vec2FeatureExtractor(do_normalize=do_normalize, return_attention_mask=True)
        return FeatureSettings.of(model, extractor, bf16=bf16)

    return make


CHANGES = {
    "precision": {"bf16": True},
    "normalisation": {"do_normalize": True},
    "length": {"max_seconds": 1.9},
    "padding": {"padding": "silence"},
    "pooling": {"pooling": "first"},
    "weights": {"change_weights": True},
    "layers kept": {"num_backbone_layers": 2},
    "attention heads": {"backbone": {"encoder_attention_heads": 2}},
    "activation": {"backbone": {"activation_function": "relu"}},
}


def test_digest_differs_when_something_changes_a_feature(settings_of):
    made = {"usual": settings_of(), **{name: settings_of(**change) for name, change in CHANGES.items()}}
    made["longer silence"] = settings_of(padding="silence", padding_seconds=2.9)
    made["silence pooled"] = settings_of(padding="silence", pool_padding=True)
    assert len({settings.digest for settings in made.values()}) == len(made)
    assert len({settings.folder_in(Path("cache")) for settings in made.values()}) == len(made)


@pytest.mark.parametrize(
    "change",
    [
        {"layers": [0]},
        {"use_weighted_layer_sum": False},
        {"head": "mlp"},
        {"num_labels": 7},
        {"projection_size": 5},
        {"layerdrop": 0.3},
        {"padding_seconds": 2.9},
        {"label_smoothing": 0.1},
        {"apply_spec_augment": True},
    ],
    ids=lambda change: next(iter(change)),
)
def test_digest_is_the_same_when_only_the_head_or_training_differs(settings_of, change):
    assert settings_of(**change).digest == settings_of().digest


def test_digest_survives_json(settings_of):
    settings = settings_of()
    read = FeatureSettings(values=json.loads(json.dumps(settings.values)), name="other")
    assert read.digest == settings.digest


def test_folder_names_the_backbone_but_no_place_on_the_machine(settings_of):
    assert settings_of().folder_in(Path("cache")).parent.name.startswith("whisper-tiny@")
    settings = settings_of(backbone_id="/somebody/models/my model")
    assert settings.folder_in(Path("cache")).parts[:1] == ("cache",)
    assert settings.folder_in(Path("cache")).parent.name.startswith("my-model@")
    assert "somebody" not in json.dumps(settings.values)


def test_settings_refuse_a_model_in_half_precision(tiny_backbone_config, tiny_model):
    model = tiny_model(tiny_backbone_config("whisper"), **FIELDS).bfloat16()
    with pytest.raises(ArgumentsError, match=r"bf16: expected a backbone in float32, found torch\.bfloat16"):
        FeatureSettings.of(model, Wav2Vec2FeatureExtractor(), bf16=True)


# Layers 0 to 3; a fourth place holds the last one after its norm where encoders are pre-norm and not Whisper.
@pytest.mark.parametrize(
    ("family", "variant", "fields", "stored", "places"),
    [
        ("whisper", "pre_norm", {}, 4, [0, 1, 2, 3]),
        ("whisper", "pre_norm", {"use_weighted_layer_sum": False}, 4, [3]),
        ("hubert", "post_norm", {"use_weighted_layer_sum": False}, 4, [3]),
        ("hubert", "pre_norm", {}, 5, [0, 1, 2, 3]),
        ("hubert", "pre_norm", {"layers": [3, 1]}, 5, [3, 1]),
        ("hubert", "pre_norm", {"use_weighted_layer_sum": False}, 5, [4]),
        ("hubert", "pre_norm", {"use_weighted_layer_sum": False, "layers": [2]}, 5, [2]),
        ("hubert", "pre_norm", {"use_weighted_layer_sum": False, "num_backbone_layers": 2}, 4, [3]),
    ],
)
def test_last_state_is_stored_twice_when_its_norm_depends_on_the_head(
    tiny_backbone_config, family, variant, fields, stored, places
):
    config = NvvConfig(backbone_config=tiny_backbone_config(family, variant), **{**FIELDS, **fields})
    assert num_stored_states(config) == stored
    assert stored_states_of(config) == places


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("backbone_id", "openai/whisper-base"),
        ("backbone_revision", "0123abc"),
        ("random_init_seed", 3),
        ("num_backbone_layers", 2),
        ("max_seconds", 1.0),
        ("padding", "silence"),
        ("pooling", "last"),
    ],
)
def test_configs_are_told_apart_when_their_features_differ(tiny_backbone_config, field, value):
    backbone = tiny_backbone_config("whisper")
    usual = NvvConfig(backbone_config=backbone, **FIELDS)
    other = NvvConfig(backbone_config=backbone, **{**FIELDS, field: value})
    check_same_features(usual, computed_with=usual)
    named = "num_hidden_states" if field == "num_backbone_layers" else field
    with pytest.raises(ArgumentsError, match=f"^{named}: the features were computed with"):
        check_same_features(other, computed_with=usual)
