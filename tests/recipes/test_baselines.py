from __future__ import annotations

import runpy
import sys
from pathlib import Path

import datasets
import huggingface_hub
import pandas as pd
import pytest

RECIPE = Path(__file__).parents[2] / "recipes" / "baselines.py"


@pytest.fixture
def run_recipe(monkeypatch, tmp_path):
    """Run the recipe in an empty folder with caches of its own."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)

    def run(*options: str) -> None:
        monkeypatch.setattr(sys, "argv", ["baselines.py", *options])
        runpy.run_path(str(RECIPE), run_name="__main__")

    return run


def test_recipe_leaves_the_table_and_shows_it(run_recipe, corpus_folder, tmp_path, capsys):
    run_recipe("--corpus", str(corpus_folder), "--features", "mfcc", "--num_bootstrap_resamples", "20")
    table = (tmp_path / "runs" / "baselines_tones_speaker" / "baselines.md").read_text(encoding="utf-8")
    assert table in capsys.readouterr().out
    assert "| MFCC statistics | linear SVM |" in table
    plots = sorted((tmp_path / "runs").rglob("confusion_matrix.png"))
    assert [plot.read_bytes()[:4] for plot in plots] == [b"\x89PNG"] * 4
    assert list((tmp_path / "home" / "nvv" / "baseline_features").rglob("*.safetensors"))


def test_recipe_says_in_one_line_what_is_wrong(run_recipe, corpus_folder):
    with pytest.raises(SystemExit, match=r"^ArgumentsError: features: expected some of duration, mfcc"):
        run_recipe("--corpus", str(corpus_folder), "--features", "mfccs")


@pytest.mark.realdata
@pytest.mark.slow
def test_real_recordings_are_told_apart_far_better_than_by_guessing(run_recipe, real_data, tmp_path):
    raw = real_data / "nonverbal_vocalization"
    options = ("--corpus", "nonverbal_vocalization", "--data_dir", str(raw), "--features", "mfcc", "duration")
    run_recipe(*options, "--c_values", "0.01")
    table = pd.read_csv(tmp_path / "runs" / "baselines_nonverbal_vocalization_speaker" / "baselines.csv")
    table = table.set_index("baseline")
    assert table.loc["mfcc_linear_svm", "test_macro_f1_low"] > 2 * table.loc["random", "test_macro_f1_high"]
    assert table.loc["majority", "test_macro_f1"] < 0.02  # one of 16 classes
    assert set(table["test_num_speakers"]) == {34}
