"""The recipes of `recipes/hume_vb` on a computed tree in the corpus's official layout."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest
import yaml

from nvv.data import corpus_builder
from nvv.data.synthetic_hume_vb import write_synthetic_hume_vb
from nvv.known_backbones_nvv import known_backbone_config
from nvv.training.config_files import parse_arguments
from nvv.training.run import train

RECIPES = Path(__file__).parents[2] / "recipes"
TASKS = {"high": 10, "two": 2, "culture": 40, "type": 8, "joint": 60}
"""Outputs of each recipe's model."""
SLABCNU = "base/slabcnu.yaml"


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """A computed tree with holes; not to be changed."""
    return write_synthetic_hume_vb(
        tmp_path_factory.mktemp("raw") / "A-VB", num_clips=(32, 16, 16), seed=3, missing_share=0.1
    )


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def run(tree, cache, tiny_backbone_config, tmp_path):
    """Run layered recipes for two updates, with a tiny backbone of the family that they name."""

    def run(*layers: str, data_dir: Path = tree, **changes: str):
        files = [str(RECIPES / name) for name in layers]
        backbone = parse_arguments([*files, "--output_dir", str(tmp_path)]).model.backbone
        family = known_backbone_config(backbone).model_type
        tiny_backbone_config(family).save_pretrained(tmp_path / "tiny")
        options = {
            "backbone": str(tmp_path / "tiny"),
            "random_init": "true",
            "max_seconds": "1.5",
            "data_dir": str(data_dir),
            "data_cache_dir": str(cache),
            "max_steps": "2",
            "per_device_train_batch_size": "16",
            "num_bootstrap_resamples": "20",
            "disable_tqdm": "true",
            "output_dir": str(tmp_path / "run"),
            **changes,
        }
        return train(parse_arguments([*files, *(word for name in options for word in (f"--{name}", options[name]))]))

    return run


@pytest.mark.parametrize("task", TASKS)
def test_recipe_predicts_every_column_of_its_task(task):
    run = parse_arguments([str(RECIPES / "hume_vb" / f"{task}.yaml"), "--output_dir", "unused"])
    configs = corpus_builder("hume_vb").builder_configs
    assert (run.data.corpus, run.data.split_protocol) == ("hume_vb", task)
    if task in ("joint", "type"):
        assert list(run.data.tasks) == ([*configs][:4] if task == "joint" else ["type"])
        for name in set(run.data.tasks) - {"type"}:
            assert tuple(run.data.tasks[name]["targets"]) == configs[name].targets
        assert run.data.tasks["type"]["label"] == "label"
    else:
        assert tuple(run.data.target_columns) == configs[task].targets


@pytest.mark.parametrize("task", TASKS)
def test_recipe_says_what_it_is_and_that_it_was_not_run(task):
    text = (RECIPES / "hume_vb" / f"{task}.yaml").read_text(encoding="utf-8")
    for heading in ("Purpose:", "Follows:", "Departs:", "Data:", "Hardware:", "Result: not yet run"):
        assert f"# {heading}" in text


@pytest.mark.parametrize("task", TASKS)
def test_recipe_runs_two_steps_and_writes_its_results(task, run, tmp_path):
    result = run(f"hume_vb/{task}.yaml")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert len(config["id2label"]) == TASKS[task]
    score = {"type": "uar", "joint": "mean_score"}.get(task, "ccc")
    for split in ("validation", "test"):
        numbers = result.metrics["splits"][split]["scores"][score]
        assert numbers["low"] <= numbers["value"] <= numbers["high"]
    assert result.metrics["corpus"]["is_synthetic"]
    assert result.metrics["training"]["best_step"] in (1, 2)
    card = (tmp_path / "run" / "README.md").read_text(encoding="utf-8")
    assert "synthetic" in card.lower()
    assert config["task_weighting"] == ("uncertainty" if task == "joint" else "fixed")
    losses = {item["name"]: item["loss"] for item in config["tasks"]}
    ccc = dict.fromkeys(("high", "two", "culture"), "ccc")
    assert losses == {"type": {"type": "cross_entropy"}, "joint": {**ccc, "type": "cross_entropy"}}.get(
        task, {"targets": "ccc"}
    )


def test_recipe_trains_though_the_test_targets_are_withheld(run, tmp_path):
    withheld = write_synthetic_hume_vb(tmp_path / "withheld", num_clips=(32, 16, 16), withhold_test=True)
    result = run("hume_vb/two.yaml", data_dir=withheld)
    assert result.metrics["splits"]["test"]["scores"] == {}
    assert "ccc" in result.metrics["splits"]["validation"]["scores"]


@pytest.mark.parametrize("task", ["high", "type"])
def test_slabcnu_runs_two_steps_over_a_task(task, run, tmp_path):
    run(f"hume_vb/{task}.yaml", SLABCNU, "base/wav2vec2_base.yaml", num_backbone_layers="2", lstm_hidden_size="16")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["head"], config["pooling"], config["lstm_layers"]) == ("lstm", "last", 2)
    assert config["backbone_config"]["model_type"] == "wav2vec2"
    assert config["num_backbone_layers"] == 2
    assert config["use_weighted_layer_sum"] is False


@pytest.mark.parametrize("backbone", ["wav2vec2_base", "wav2vec2_large", "wav2vec2_large_lv60", "wav2vec2_xlsr_53"])
def test_slabcnu_has_the_papers_settings_with_each_of_its_encoders(backbone):
    files = [str(RECIPES / name) for name in ("hume_vb/high.yaml", SLABCNU, f"base/{backbone}.yaml")]
    run = parse_arguments([*files, "--output_dir", "unused"])
    assert run.model.backbone == yaml.safe_load((RECIPES / "base" / f"{backbone}.yaml").read_text())["backbone"]
    assert (run.model.num_backbone_layers, run.model.use_weighted_layer_sum) == (12, False)
    assert (run.model.head, run.model.lstm_hidden_size, run.model.lstm_layers) == ("lstm", 512, 2)
    assert (run.model.pooling, run.model.loss) == ("last", None)  # none: CCC for targets, cross-entropy for classes
    assert (run.training.learning_rate, run.training.weight_decay) == (1e-4, 0.0625)
    assert (run.training.per_device_train_batch_size, run.training.gradient_accumulation_steps) == (16, 1)
    assert run.training.num_train_epochs == 20


def test_small_layer_is_for_trying_out_without_weights():
    run = parse_arguments(
        [str(RECIPES / "hume_vb" / name) for name in ("two.yaml", "small.yaml")] + ["--output_dir", "unused"]
    )
    assert run.model.random_init
    assert run.data.target_columns == ["Valence", "Arousal"]


def test_script_writes_the_tree_and_says_what_is_wrong(tmp_path, monkeypatch, capsys):
    script = RECIPES / "hume_vb" / "synthetic_tree.py"
    words = [str(script), str(tmp_path / "tree"), "--num_clips", "3", "2", "2", "--tasks", "two"]
    monkeypatch.setattr(sys, "argv", words)
    runpy.run_path(str(script), run_name="__main__")
    assert capsys.readouterr().out == f"7 computed clips in {tmp_path / 'tree'}\n"
    assert len(list((tmp_path / "tree" / "audio" / "wav").iterdir())) == 7
    with pytest.raises(SystemExit, match=r"FileExistsError: .*tree: is there already; name a new or empty folder"):
        runpy.run_path(str(script), run_name="__main__")


@pytest.mark.slow
def test_small_recipe_learns_the_computed_targets(tmp_path):
    # The targets follow from pitch, noise, beats and brightness: 0 is what a model that hears nothing scores.
    tree = write_synthetic_hume_vb(tmp_path / "tree", num_clips=(96, 24, 60))
    files = [str(RECIPES / "hume_vb" / name) for name in ("two.yaml", "small.yaml")]
    options = ["--num_backbone_layers", "1", "--per_device_train_batch_size", "8"]
    options += ["--data_dir", str(tree), "--data_cache_dir", str(tmp_path / "cache"), "--num_train_epochs", "6"]
    result = train(parse_arguments([*files, *options, "--output_dir", str(tmp_path / "run"), "--disable_tqdm", "true"]))
    score = result.metrics["splits"]["test"]["scores"]["ccc"]
    assert score["low"] > 0.2
    losses = [entry["loss"] for entry in result.log_history if "loss" in entry]
    assert losses[-1] < 0.8 * losses[0]
