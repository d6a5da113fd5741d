from __future__ import annotations

import json
from pathlib import Path

import datasets
import numpy as np
import pytest
from safetensors.torch import load_file
from transformers import Wav2Vec2Model

from nvv import NvvForAudioClassification
from nvv.training.arguments import ArgumentsError
from nvv.training.config_files import parse_arguments
from nvv.training.run import train

RECIPES = Path(__file__).parents[2] / "recipes"
TARGETS = ("arousal", "dominance", "valence")


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def sources(make_split, tmp_path):
    """Forty tones whose targets follow their pitch, as each recipe wants them; some values are missing."""
    split = make_split([0.1] * 40)
    generator = np.random.default_rng(0)
    pitch = np.array(split["label"][:], dtype=float)
    values = np.stack([pitch, -pitch, generator.normal(size=40)], axis=1) + 0.1 * generator.normal(size=(40, 3))
    values[3, 1] = values[8, 2] = np.nan
    rows = ["path,arousal,dominance,valence,speaker"]
    for number, clip in enumerate(split):
        (tmp_path / f"{number:02d}.wav").write_bytes(clip["audio"]["bytes"])
        cells = ["" if np.isnan(value) else f"{value:.3f}" for value in values[number]]
        rows.append(",".join([f"{number:02d}.wav", *cells, f"S{number % 10}"]))
    (tmp_path / "clips.csv").write_text("\n".join(rows))
    with_targets = split.remove_columns("label")
    for name, column in zip(TARGETS, values.T, strict=True):
        with_targets = with_targets.add_column(name, column.tolist())
    (tmp_path / "dataset").mkdir()
    with_targets.select(range(30)).to_parquet(tmp_path / "dataset" / "train.parquet")
    with_targets.select(range(30, 40)).to_parquet(tmp_path / "dataset" / "test.parquet")
    return {"table": tmp_path / "clips.csv", "dataset": tmp_path / "dataset"}


@pytest.fixture
def tiny_large_robust(tiny_backbone_config, tmp_path) -> Path:
    """An encoder of 24 layers in the layout of wav2vec 2.0 large robust, small, with random weights."""
    folder = tmp_path / "large_robust"
    Wav2Vec2Model(tiny_backbone_config("wav2vec2", "pre_norm", num_hidden_layers=24)).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"feature_extractor_type": "Wav2Vec2FeatureExtractor", "do_normalize": True})
    )
    return folder


def _run(layers, tmp_path, **options):
    small = {"num_bootstrap_resamples": "20", "disable_tqdm": "true", "output_dir": str(tmp_path / "run"), **options}
    words = [word for name, value in small.items() for word in (f"--{name}", value)]
    return train(parse_arguments([*(str(RECIPES / layer) for layer in layers), *words]))


def test_audeering_recipe_trains_twelve_layers_on_a_table(sources, tiny_large_robust, tmp_path):
    result = _run(
        ["base/audeering.yaml", "regression/table.yaml"],
        tmp_path,
        backbone=str(tiny_large_robust),
        corpus=str(sources["table"]),
        max_steps="2",
    )
    config = NvvForAudioClassification.from_pretrained(tmp_path / "run").config
    assert (config.num_backbone_layers, config.num_hidden_states) == (12, 13)
    assert (config.head, config.pooling, config.head_dropout, config.projection_size) == ("mlp", "mean", 0.1, 1024)
    assert [config.id2label[index] for index in range(3)] == list(TARGETS)
    assert config.task_list[0].loss == "ccc"
    weights = load_file(tmp_path / "run" / "model.safetensors")
    assert {name.split(".")[3] for name in weights if ".encoder.layers." in name} == {str(layer) for layer in range(12)}
    start = load_file(tiny_large_robust / "model.safetensors")
    front_end = "feature_extractor.conv_layers.0.conv.weight"
    attention = "encoder.layers.11.attention.q_proj.weight"
    assert (weights[f"backbone.{front_end}"] == start[front_end]).all()
    assert not (weights[f"backbone.{attention}"] == start[attention]).all()
    assert result.metrics["corpus"]["config"] == "speaker"
    assert result.metrics["splits"]["test"]["scores"]["ccc"]["low"] <= 1
    assert (tmp_path / "run" / "regression.png").is_file()


def test_regression_learns_what_the_targets_follow(sources, tiny_backbone_config, tmp_path):
    tiny_backbone_config("whisper").save_pretrained(tmp_path / "tiny")
    result = _run(
        ["base/frozen.yaml", "regression/dataset.yaml"],
        tmp_path,
        backbone=str(tmp_path / "tiny"),
        random_init="true",
        max_seconds="2",
        corpus=str(sources["dataset"]),
        target_columns="arousal",
        num_train_epochs="40",
        learning_rate="0.01",
    )
    assert result.metrics["splits"]["test"]["scores"]["ccc"]["value"] > 0.6
    assert result.metrics["corpus"]["config"] == "given"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target_columns": "loudness"}, "no column 'loudness', one of target_columns"),
        ({"target_columns": "speaker"}, r"line 2: expected a number in column 'speaker', found 'S0' \(and 39 more"),
        ({"loss": "focal"}, "loss: .* found 'focal'"),
    ],
)
def test_recipe_says_what_is_wrong_in_one_line(sources, tiny_backbone_config, options, message, tmp_path):
    tiny_backbone_config("whisper").save_pretrained(tmp_path / "tiny")
    given = {"backbone": str(tmp_path / "tiny"), "random_init": "true", "corpus": str(sources["table"]), **options}
    with pytest.raises((ArgumentsError, ValueError), match=message):
        _run(["base/frozen.yaml", "regression/table.yaml"], tmp_path, **given)
