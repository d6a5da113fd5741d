import json
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from transformers import WhisperModel

from nvv.training.results import comparable_metrics

RECIPES = Path(__file__).parents[2] / "recipes"
SWEEP = RECIPES / "sweep.py"


@pytest.fixture
def run_recipe(monkeypatch, capsys):
    """Run the recipe in this process; returns its exit status and what it printed."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", [str(SWEEP), *map(str, words)])
        status = 0
        try:
            runpy.run_path(str(SWEEP), run_name="__main__")
        except SystemExit as end:
            status = end.code
        return status, capsys.readouterr().out

    return run


@pytest.fixture
def grid_file(corpus_folder, tiny_backbone_config, tmp_path):
    """Write a grid on the tones with a tiny backbone."""
    torch.manual_seed(5)
    WhisperModel(tiny_backbone_config("whisper")).save_pretrained(tmp_path / "tiny")
    common = {
        "backbone": str(tmp_path / "tiny"),
        "corpus": str(corpus_folder),
        "max_seconds": 2,
        "projection_size": 16,
        "learning_rate": "1e-3",
        "per_device_train_batch_size": 4,
        "num_train_epochs": 3,
        "num_bootstrap_resamples": 10,
        "num_seeds": 1,
        "single_layers": False,
    }

    def write(*blocks, **changes):
        file = tmp_path / "tones.yaml"
        used = {name: value for name, value in (common | changes).items() if value is not None}
        file.write_text(yaml.safe_dump({"name": "tones", "common": used, "blocks": list(blocks)}))
        return file

    return write


def _guesses(grid_file):
    names = ("backbone", "max_seconds", "projection_size", "learning_rate", "per_device_train_batch_size")
    unused = dict.fromkeys((*names, "num_train_epochs", "num_seeds", "single_layers"))
    unused.pop("max_seconds")
    return grid_file({"recipe": "baseline", "classifier": "random", "seed": [1, 2]}, **unused)


# ----------------------------------------------------------------------------------------------------------------------
# In this process
# ----------------------------------------------------------------------------------------------------------------------


def test_dry_run_lists_the_smoke_grid_and_runs_nothing(run_recipe, tmp_path):
    status, text = run_recipe(RECIPES / "grids" / "smoke.yaml", "--dry_run", "true", "--output_dir", tmp_path / "x")
    lines = text.splitlines()
    assert status == 0
    # 2 backbones × 3 methods × 2 layer subsets
    assert len(lines) == 13
    assert lines[-1] == "12 runs. 4 of them are probes and share 2 feature passes."
    assert sum(line.startswith("probe ") for line in lines) == 4
    assert not (tmp_path / "x").exists()


def test_recipe_runs_tells_and_names_the_report(run_recipe, grid_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, text = run_recipe(_guesses(grid_file))
    assert status == 0
    assert text.startswith("2 done, 0 failed, 0 remaining.\n")
    # The default folder is named after the grid.
    assert str(tmp_path / "runs" / "sweep_tones" / "report.md") in text


def test_recipe_ends_with_1_and_lists_what_failed(run_recipe, grid_file, tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise RuntimeError("no luck")

    monkeypatch.setattr("nvv.sweep.work.run_baseline", fail)
    status, text = run_recipe(_guesses(grid_file), "--output_dir", tmp_path / "x")
    assert status == 1
    assert "0 done, 2 failed, 0 remaining." in text
    assert text.count("RuntimeError: no luck") == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Expected a grid first"),
        (["--dry_run", "true"], "Expected a grid first"),
        (["nowhere.yaml"], "nowhere.yaml: no such YAML file"),
        (["GRID", "--executer", "local"], "no field is called 'executer'. Did you mean 'executor'?"),
        (["GRID", "--corpora", "vivae"], "the grid has no corpus 'vivae'"),
    ],
)
def test_recipe_says_what_to_mend_in_one_line(run_recipe, grid_file, words, message):
    grid = _guesses(grid_file)
    status, _ = run_recipe(*[grid if word == "GRID" else word for word in words])
    assert message in status
    assert "\n" not in status


def test_options_may_stand_in_a_file_after_the_grid(run_recipe, grid_file, tmp_path):
    (tmp_path / "cluster.yaml").write_text(f"executor: report\noutput_dir: {tmp_path / 'there'}\n")
    status, text = run_recipe(_guesses(grid_file), tmp_path / "cluster.yaml")
    assert status == 1
    assert text == "0 done, 0 failed, 2 remaining.\n"
    assert (tmp_path / "there" / "plan.json").is_file()


# ----------------------------------------------------------------------------------------------------------------------
# Other processes
# ----------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def command(tmp_path):
    """Make the command line of a sweep in a folder."""

    def make(grid, folder, *options):
        caches = ("--data_cache_dir", tmp_path / "cache", "--features_cache_dir", tmp_path / folder / "features")
        words = [sys.executable, SWEEP, grid, "--output_dir", tmp_path / folder, *caches, *options]
        return [str(word) for word in words]

    return make


def _start(command):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def _end(process):
    text, _ = process.communicate(timeout=400)
    return process.returncode, text


def _done(folder):
    return {file.parent.name for file in folder.glob("runs/*/run.json")}


def _metrics(folder):
    return {
        file.parent.name: comparable_metrics(json.loads(file.read_text(encoding="utf-8")))
        for file in folder.glob("runs/*/metrics.json")
    }


def _trained(folder):
    """How often the training of each run came to its end, by the line that the Trainer prints then."""
    return {file.parent.name: file.read_text().count("train_runtime") for file in folder.glob("runs/*/log.txt")}


@pytest.mark.slow
def test_sweep_killed_half_way_and_started_again_does_each_run_once(grid_file, command, run_recipe, tmp_path):
    grid = grid_file(
        {"method": "frozen", "summed_layers": [[0, 1], [2, 3]]},
        {"method": ["lora", "prompt"], "tuned_layers": [[0], [1]]},
    )
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    process = _start(command(grid, "killed"))
    deadline = time.monotonic() + 300
    # The kill comes while the fourth run trains: two epochs of its three are behind it.
    while time.monotonic() < deadline and process.poll() is None:
        states = list(killed.glob("runs/*-lora-t1-*/checkpoint-6/trainer_state.json"))
        if states and not (states[0].parents[1] / "run.json").exists():
            break
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    _end(process)
    assert process.returncode == -signal.SIGKILL
    finished = _done(killed)
    assert len(finished) == 3
    watched = [killed / "runs" / name / file for name in finished for file in ("run.json", "metrics.json", "log.txt")]
    before = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in watched}

    status, text = _end(_start(command(grid, "killed")))
    assert status == 0, text
    assert "6 done, 0 failed, 0 remaining." in text
    assert {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in watched} == before
    assert len(_done(killed)) == 6
    resumed = next(killed.glob("runs/*-lora-t1-*/log.txt")).read_text()
    assert "'epoch': '1'" in resumed
    assert resumed.count("'epoch': '1'") == 2  # loss and scores of the first epoch: before the kill, not again
    assert len(pd.read_csv(killed / "results.csv")) == 6

    assert run_recipe(*command(grid, "whole")[2:])[0] == 0
    assert _metrics(killed) == _metrics(whole)


@pytest.mark.slow
def test_two_sweeps_at_once_do_each_run_once(grid_file, command, tmp_path):
    grid = grid_file({"method": ["lora", "prompt"], "seed": [1, 2]}, num_seeds=None, single_layers=None)
    ends = [_end(process) for process in [_start(command(grid, "shared")) for _ in range(2)]]
    assert [status for status, _ in ends] == [0, 0], ends
    trained = _trained(tmp_path / "shared")
    assert list(trained.values()) == [1] * 4
    assert len(_done(tmp_path / "shared")) == 4
    assert pd.read_csv(tmp_path / "shared" / "results.csv")["status"].tolist() == ["done"] * 4


@pytest.mark.slow
def test_local_workers_end_like_one_process(grid_file, command, run_recipe, tmp_path):
    grid = grid_file({"method": "frozen", "summed_layers": [[0, 1], [2, 3]]}, {"method": "lora", "seed": [1, 2]})
    local = ("--executor", "local", "--num_workers", "2", "--cpu_threads", "1")
    status, text = run_recipe(*command(grid, "side_by_side", *local)[2:])
    assert status == 0, text
    assert run_recipe(*command(grid, "inline", "--cpu_threads", "1")[2:])[0] == 0
    assert len(_metrics(tmp_path / "inline")) == 4
    assert _metrics(tmp_path / "side_by_side") == _metrics(tmp_path / "inline")
