"""`--push_to_hub` of every recipe, with the real client and a Hub on localhost."""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path

import datasets
import pytest
import yaml
from huggingface_hub import DatasetCard, ModelCard

RECIPES = Path(__file__).parents[2] / "recipes"
QUICK = ("--num_bootstrap_resamples", "10")


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """Run a recipe in this process, in a working directory of its own; returns what it printed."""
    monkeypatch.chdir(tmp_path)

    def start(recipe, *words):
        monkeypatch.setattr(sys, "argv", [f"{recipe}.py", *map(str, words)])
        try:
            runpy.run_path(str(RECIPES / f"{recipe}.py"), run_name="__main__")
        except SystemExit as end:
            if end.code:
                raise
        return capsys.readouterr().out

    return start


@pytest.fixture
def pushed_run(run, command_line, hub):
    """A LoRA that was trained and pushed as ada/tones, private."""
    run(
        "train",
        *command_line("--num_train_epochs", "1"),
        *("--push_to_hub", "true", "--hub_model_id", "ada/tones", "--hub_private_repo", "true"),
    )
    return hub.model("ada/tones")


def on(corpus_folder):
    return ("--corpus", corpus_folder, "--data_cache_dir", "cache", *QUICK)


def commits(repository):
    return len(repository.branches["main"]) - 1  # without the Hub's own


def load(hub, repository_id, name, tmp_path):
    """Load a table of results as anybody would, here through the files that stand on the Hub."""
    folder = tmp_path / "downloaded" / repository_id.replace("/", "_")
    for path, content in hub.dataset(repository_id).files().items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return datasets.load_dataset(str(folder), name, split="results", cache_dir=str(tmp_path / "cache"))


@pytest.mark.slow
def test_training_detecting_evaluating_and_embedding_push_to_the_models_repository(
    run, pushed_run, corpus_folder, hub, tmp_path
):
    assert commits(pushed_run) == 1
    assert not [path for path in pushed_run.files() if path.startswith(("checkpoint", "evaluations"))]
    card = ModelCard(pushed_run.files()["README.md"].decode())
    card.validate()
    assert pushed_run.private

    # The folder names the repository, so that it goes without saying.
    detect = ("--model", "run", "--label", "laugh", "--push_to_hub", "true", "--hub_private_repo", "true")
    printed = run("detect", *detect, *on(corpus_folder))
    assert f"uploaded: {hub.url}/ada/tones, commit {pushed_run.resolve('main')[:12]}" in printed
    assert commits(pushed_run) == 2
    files = pushed_run.files()
    assert json.loads(files["config.json"])["operating_points"]["laugh"]["corpus"] == "tones"
    assert b"laugh" in files["evaluations/detect_laugh_run_tones/operating_point.md"]

    run("evaluate", "--model", "run", "--push_to_hub", "true", *on(corpus_folder))
    assert commits(pushed_run) == 3
    folder = tmp_path / "runs" / "evaluate_run_tones"
    there = {path: content for path, content in pushed_run.files().items() if "/evaluate_run_tones/" in path}
    assert there == {
        f"evaluations/evaluate_run_tones/{path.name}": path.read_bytes() for path in folder.iterdir() if path.is_file()
    }

    printed = run("embeddings", "--model", "run", "--projection", "pca", "--push_to_hub", "true", *on(corpus_folder))
    assert "/ada/tones/tree/main/evaluations/embeddings_run_tones, commit" in printed
    assert commits(pushed_run) == 4
    assert "evaluations/embeddings_run_tones/embeddings.parquet" in pushed_run.files()


@pytest.mark.slow
def test_every_report_goes_into_a_repository_of_results(run, pushed_run, corpus_folder, hub, tmp_path):
    to = ("--push_to_hub", "true", "--hub_dataset_id", "lab/results")
    run("evaluate", "--model", "run", *to, *on(corpus_folder))
    run("embeddings", "--model", "run", "--projection", "pca", *to, *on(corpus_folder))
    options = (
        "--features",
        "duration",
        "--classifiers",
        "majority",
        "logistic_regression",
        "--features_cache_dir",
        "f",
    )
    run("baselines", *options, *to, *on(corpus_folder))
    grid = {
        "name": "guesses",
        "common": {"corpus": str(corpus_folder), "num_bootstrap_resamples": 10},
        "blocks": [{"recipe": "baseline", "classifier": "random", "seed": [1, 2]}],
    }
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(grid))
    run("sweep", "grid.yaml", "--data_cache_dir", "cache", *to)

    repository = hub.dataset("lab/results")
    assert repository.private
    assert commits(repository) == 4
    names = ["baselines_tones_speaker", "embeddings_run_tones", "evaluate_run_tones", "sweep_guesses"]
    card = DatasetCard(repository.files()["README.md"].decode())
    card.validate()
    assert [report["name"] for report in card.data.to_dict()["nvv_reports"]] == names
    assert {"nvv", "nvv-results", "tones", "synthetic-data"} <= set(card.data.tags)
    assert "say nothing about people's voices" in card.text
    tables = {name: load(hub, "lab/results", name, tmp_path).to_pandas() for name in names}
    for table in tables.values():
        assert table["is_synthetic"].all()
        assert not table["random_init"].any()
    scores = json.loads((tmp_path / "runs" / "evaluate_run_tones" / "metrics.json").read_text())
    table = tables["evaluate_run_tones"].set_index(["split", "score"])
    assert table.loc[("test", "uar"), "value"] == scores["splits"]["test"]["scores"]["uar"]["value"]
    assert set(tables["baselines_tones_speaker"]["baseline"]) == {"majority", "duration_logistic_regression"}
    assert len(tables["sweep_guesses"]) == 2
    # The runs of a sweep are models of their own, and its plan is this machine's.
    of_sweep = [path for path in repository.files() if path.startswith("sweep_guesses/")]
    assert {"sweep_guesses/report.md", "sweep_guesses/results.parquet"} <= set(of_sweep)
    assert not [path for path in of_sweep if "runs" in path or path.endswith("plan.json")]
    # Nothing names the machine that made it.
    for path, content in repository.files().items():
        assert os.fsencode(tmp_path) not in content, path


@pytest.mark.parametrize(
    ("recipe", "words", "message"),
    [
        ("evaluate", ("--model", "run", "--hub_dataset_id", "a/b"), "hub_dataset_id: 'a/b' has no effect without"),
        ("evaluate", ("--model", "run", "--hub_private_repo", "false"), "hub_private_repo: has no effect without"),
        ("evaluate", ("--model", ".", "--push_to_hub", "true"), "hub_model_id: . does not say which repository"),
        (
            "evaluate",
            ("--model", "x", "--push_to_hub", "true", "--hub_dataset_id", "a/b", "--hub_model_id", "a/c"),
            "expected one of the two",
        ),
        (
            "embeddings",
            ("--model", "a/b", "--push_to_hub", "true", "--hub_private_repo", "true"),
            "no effect on the model's own repository",
        ),
        ("baselines", ("--push_to_hub", "true"), "hub_dataset_id: expected a dataset repository for the results"),
        ("baselines", ("--push_to_hub", "true", "--hub_dataset_id", "a/b/c"), "hub_dataset_id: "),
        ("sweep", (RECIPES / "grids" / "smoke.yaml", "--push_to_hub", "true"), "hub_dataset_id: expected a dataset"),
        (
            "sweep",
            (RECIPES / "grids" / "smoke.yaml", "--dry_run", "--push_to_hub", "true", "--hub_dataset_id", "a/b"),
            "push_to_hub: has no effect with dry_run",
        ),
        (
            "detect",
            ("--model", ".", "--label", "x", "--push_to_hub", "true", "--store_in_model", "false"),
            "leave store_in_model true",
        ),
        ("detect", ("--model", "empty", "--label", "x", "--push_to_hub", "true"), "push_to_hub: empty: no such folder"),
        ("train", ("--output_dir", "r", "--push_to_hub", "true", "--hub_model_id", "a/b/c"), "hub_model_id: 'a/b/c'"),
        ("train", ("--output_dir", "r", "--hub_strategy", "end"), "hub_strategy: has no effect"),
    ],
)
def test_recipe_says_before_it_begins_what_cannot_be_pushed(recipe, words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [f"{recipe}.py", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(RECIPES / f"{recipe}.py"), run_name="__main__")
    assert message in ended.value.code
    assert list(tmp_path.iterdir()) == []


def test_grid_says_how_its_report_and_its_runs_are_pushed(tmp_path, monkeypatch):
    grid = {"name": "x", "common": {"corpus": "synthetic", "hub_token": "hf_secret"}, "blocks": [{"method": "lora"}]}
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(grid))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["sweep.py", "grid.yaml"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(RECIPES / "sweep.py"), run_name="__main__")
    assert "hub_token: not in a grid; the report is uploaded by the option --push_to_hub" in ended.value.code
    assert "hf_secret" not in ended.value.code
