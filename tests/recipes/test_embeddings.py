from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest

from nvv.known_backbones_nvv import known_backbone_config
from nvv.training.config_files import parse_arguments
from nvv.training.run import train

EMBEDDINGS = Path(__file__).parents[2] / "recipes" / "embeddings.py"
TRAIN = EMBEDDINGS.with_name("train.py")


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run a recipe in this process, in a working directory of its own."""

    def start(recipe, *words):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [recipe.name, *map(str, words)])
        runpy.run_path(str(recipe), run_name="__main__")

    return start


def test_recipe_trains_embeds_and_says_where_everything_is(run, command_line, corpus_folder, tmp_path, capsys):
    words = ("--head", "embedding", "--loss", "supervised_contrastive", "--train_sampling_strategy", "class_balanced")
    run(TRAIN, *command_line(*words, "--num_train_epochs", "1", name="contrastive"))
    capsys.readouterr()
    options = ("--corpus", corpus_folder, "--data_cache_dir", "cache", "--num_bootstrap_resamples", "20")
    run(EMBEDDINGS, "--model", "contrastive", *options, "--untuned", "true", "--projection", "pca")
    printed = capsys.readouterr().out
    for kind in ("model", "untuned"):
        for classifier in ("nearest centroid", "nearest neighbours", "linear probe"):
            assert f"{kind}, {classifier}: test macro_f1 " in printed
    assert "The sounds are computed" in printed
    assert (tmp_path / "runs" / "embeddings_contrastive_tones" / "embeddings.png").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--model", "nowhere/at/all"), "ModelError: model: nowhere/at/all: no such folder"),
        (("--model", ""), "ArgumentsError: model: expected a folder or a Hub id"),
        (("--model", "x", "--projection", "mds"), "ArgumentsError: projection: expected one of"),
        (("--modle", "x"), "ArgumentsError: .*Did you mean 'model'"),
    ],
)
def test_recipe_ends_with_one_message_when_something_is_wrong(run, corpus_folder, tmp_path, words, message):
    with pytest.raises(SystemExit, match=message) as ended:
        run(EMBEDDINGS, *words, "--corpus", corpus_folder, "--data_cache_dir", "cache")
    assert isinstance(ended.value.code, str)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["audeering_report", "whisper_tiny_lora"])
def test_contrastive_recipe_trains_with_a_tiny_backbone(name, tiny_backbone_config, corpus_folder, tmp_path):
    file = EMBEDDINGS.parent / "contrastive" / f"{name}.yaml"
    backbone = parse_arguments([str(file), "--output_dir", str(tmp_path)]).model.backbone
    tiny_backbone_config(known_backbone_config(backbone).model_type).save_pretrained(tmp_path / "tiny")
    small = {
        "backbone": tmp_path / "tiny",
        "random_init": "true",
        "num_backbone_layers": "2",
        "max_seconds": "2",
        "corpus": corpus_folder,
        "split_protocol": "speaker",
        "data_cache_dir": tmp_path / "cache",
        "num_train_epochs": "2",
        "per_device_train_batch_size": "12",
        "num_bootstrap_resamples": "20",
        "disable_tqdm": "true",
        "output_dir": tmp_path / "run",
    }
    options = [word for name, value in small.items() for word in (f"--{name}", str(value))]
    result = train(parse_arguments([str(file), *options]))
    assert result.metrics["training"]["best_step"] in (2, 4)  # 24 clips are two updates of 12
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["head"], config["loss"]) == ("embedding", "supervised_contrastive")


def test_contrastive_recipe_has_the_reports_settings(tmp_path):
    file = EMBEDDINGS.parent / "contrastive" / "audeering_report.yaml"
    run = parse_arguments([str(file), "--output_dir", str(tmp_path)])
    assert (run.model.backbone, run.model.num_backbone_layers) == ("facebook/wav2vec2-large-robust", 12)
    assert (run.model.embedding_size, run.tuning.method) == (128, "partial")
    assert (run.training.learning_rate, run.training.train_batch_size) == (1e-5, 12)
    assert run.training.gradient_accumulation_steps == 1
