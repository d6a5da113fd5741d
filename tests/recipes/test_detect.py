from __future__ import annotations

import json
import re
import runpy
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModel

from nvv import NvvForAudioClassification
from nvv.hub.repository import save_repository
from nvv.loading_nvv import load_feature_extractor

DETECT = Path(__file__).parents[2] / "recipes" / "detect.py"
LABELS = ("laugh", "sigh", "cough")


@pytest.fixture
def model_folder(tiny_backbone_config, tmp_path):
    """A repository of a tiny classifier that was never trained, beside the backbone it is on."""
    torch.manual_seed(0)
    AutoModel.from_config(tiny_backbone_config("whisper")).save_pretrained(tmp_path / "backbone")
    model = NvvForAudioClassification.from_backbone(
        str(tmp_path / "backbone"), max_seconds=2.0, id2label=dict(enumerate(LABELS)), projection_size=16
    )
    save_repository(model, load_feature_extractor("openai/whisper-tiny", random_init=True), tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def detect(model_folder, corpus_folder, tmp_path, monkeypatch):
    """Run the recipe in this process, in a working directory of its own."""

    def run(*words, files=()):
        monkeypatch.chdir(tmp_path)
        options = ("--model", str(model_folder), "--corpus", str(corpus_folder), "--data_cache_dir", "cache")
        words = ("detect.py", *files, *options, "--num_bootstrap_resamples", "20", "--num_workers", "0", *words)
        monkeypatch.setattr(sys, "argv", list(words))
        runpy.run_path(str(DETECT), run_name="__main__")

    return run


def test_recipe_says_the_threshold_and_stores_it(detect, model_folder, tmp_path, capsys):
    (tmp_path / "rule.yaml").write_text("label: sigh\nwanted_recall: 0.5\nthresholds: [0.3, 0.4]\n")
    detect("--label", "laugh", files=["rule.yaml"])
    printed = capsys.readouterr().out
    folder = Path("runs", "detect_laugh_model_tones")
    report = json.loads((tmp_path / folder / "operating_point.json").read_text(encoding="utf-8"))
    stored = json.loads((model_folder / "config.json").read_text(encoding="utf-8"))["operating_points"]["laugh"]
    assert stored["threshold"] == report["threshold"]
    assert stored["rule"] == report["rule"] == "recall >= 0.5"
    assert f"laugh: threshold {stored['threshold']} (recall >= 0.5 on validation)" in printed
    assert re.search(r"test: accuracy 0\.\d+, precision (0\.\d+|1\.000|undefined), recall", printed)
    assert f"report: {folder}" in printed
    assert f"stored in {model_folder / 'config.json'}" in printed
    assert [row["threshold"] for row in report["splits"]["test"]["table"]] == [0.3, 0.4]
    assert not (model_folder / "README.md").exists()  # there was no metrics.json to write a card from


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "ArgumentsError: label: expected a name, found nothing. Pass --label laughing"),
        (("--label", "giggle"), "ArgumentsError: label: expected one of the model's"),
        (("--label", "laugh", "--modle", "x"), "ArgumentsError: .*Did you mean 'model'"),
        (("--label", "laugh", "--model", "runs/none"), "ModelError: store_in_model: there is no folder runs/none"),
        (("--label", "laugh", "--max_evaluation_clips", "1"), "ThresholdError: laugh on validation"),
    ],
)
def test_recipe_ends_with_one_message_when_something_is_wrong(detect, model_folder, tmp_path, words, message):
    before = (model_folder / "config.json").read_bytes()
    with pytest.raises(SystemExit) as ended:
        detect(*words)
    assert isinstance(ended.value.code, str)  # printed to the standard error, with exit status 1
    assert re.match(message, ended.value.code)
    assert not (tmp_path / "runs").exists()
    assert (model_folder / "config.json").read_bytes() == before


def test_interrupted_recipe_stores_nothing(detect, model_folder, monkeypatch):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    before = (model_folder / "config.json").read_bytes()
    monkeypatch.setattr("nvv.inference.operating_points.write_report", interrupt)
    with pytest.raises(SystemExit, match="nothing was stored in the model"):
        detect("--label", "laugh")
    assert (model_folder / "config.json").read_bytes() == before
