from __future__ import annotations

import json
import re
import runpy
import sys
from pathlib import Path

import pytest
import torch
from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2ForSequenceClassification

EVALUATE = Path(__file__).parents[2] / "recipes" / "evaluate.py"


@pytest.fixture
def model_folder(tiny_backbone_config, tmp_path):
    """A tiny stock classifier of two of the corpus's classes under other names, and one more."""
    labels = {0: "giggle", 1: "breath", 2: "sneeze"}
    config = tiny_backbone_config("wav2vec2")
    config.update({"id2label": labels, "label2id": {name: at for at, name in labels.items()}})
    torch.manual_seed(0)
    Wav2Vec2ForSequenceClassification(config).save_pretrained(tmp_path / "model")
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def evaluate(model_folder, corpus_folder, tmp_path, monkeypatch):
    """Run the recipe in this process, in a working directory of its own."""

    def run(*words, files=()):
        monkeypatch.chdir(tmp_path)
        options = ("--model", str(model_folder), "--corpus", str(corpus_folder), "--data_cache_dir", "cache")
        words = ("evaluate.py", *files, *options, "--num_bootstrap_resamples", "20", *words)
        monkeypatch.setattr(sys, "argv", list(words))
        runpy.run_path(str(EVALUATE), run_name="__main__")

    return run


def test_recipe_says_scores_and_where_everything_is(evaluate, tmp_path, capsys):
    (tmp_path / "map.yaml").write_text("giggle: laugh\nbreath: sigh\nsneeze: null\n")
    evaluate("--label_map", "map.yaml", "--splits", "validation", "test")
    printed = capsys.readouterr().out
    metrics = json.loads((tmp_path / "runs" / "evaluate_model_tones" / "metrics.json").read_text())
    for split in ("validation", "test"):
        uar = metrics["splits"][split]["scores"]["uar"]
        assert f"{split} uar: {uar['value']:.3f} (95 % interval {uar['low']:.3f} to {uar['high']:.3f})" in printed
        assert f"{split}: 6 clips, 3 left out" in printed  # nine clips of three classes, cough is not in the map
    assert "runs/evaluate_model_tones" in printed


def test_options_come_from_a_yaml_file_with_the_map_in_it(evaluate, tmp_path):
    (tmp_path / "crossed.yaml").write_text(
        "label_map: {giggle: laugh, breath: sigh, '*': cough}\noutput_dir: crossed\nbf16: true\n"
    )
    evaluate("--bf16", "false", files=["crossed.yaml"])
    metrics = json.loads((tmp_path / "crossed" / "metrics.json").read_text())
    assert metrics["evaluation"]["label_map"]["targets"] == {"giggle": "laugh", "breath": "sigh", "sneeze": "cough"}
    assert metrics["evaluation"]["precision"] == "fp32"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), r"(?s)LabelMapError: .*model:  giggle, breath, sneeze.*--label_map map\.yaml"),
        (("--label_map", "absent.yaml"), "FileNotFoundError: label_map: absent"),
        (("--splits", "dev"), r"ArgumentsError: splits: expected some of train, validation, test"),
        (("--splits", "test", "test"), r"ArgumentsError: splits: .* each once"),
        (("--unmapped_clips", "wrong"), "ArgumentsError: unmapped_clips: 'wrong' has no effect without a label_map"),
        (("--model", ""), "ArgumentsError: model: expected a folder or a Hub id, found nothing"),
        (("--modle", "x"), "ArgumentsError: .*Did you mean 'model'"),
        (("--max_batch_seconds", "0"), "ArgumentsError: max_batch_seconds: expected more than 0"),
        (("--split_protocol", "fold_77"), "ArgumentsError: split_protocol"),
    ],
)
def test_recipe_ends_with_one_message_when_something_is_wrong(evaluate, tmp_path, words, message):
    with pytest.raises(SystemExit) as ended:
        evaluate(*words)
    assert isinstance(ended.value.code, str)  # printed to the standard error, with exit status 1
    assert re.match(message, ended.value.code)
    assert not (tmp_path / "runs").exists()


def test_interrupted_recipe_leaves_nothing(evaluate, tmp_path, monkeypatch):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("nvv.inference.evaluation.classify_clips", interrupt)
    (tmp_path / "map.yaml").write_text('{giggle: laugh, breath: sigh, "*": null}')
    with pytest.raises(SystemExit, match="Interrupted; nothing was written"):
        evaluate("--label_map", "map.yaml")
    assert not (tmp_path / "runs").exists()
