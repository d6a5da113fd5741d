import json

import pandas as pd
import pyarrow.parquet
import pytest

from nvv.sweep import executors, run, work
from nvv.sweep.arguments import SweepArguments
from nvv.sweep.grid import read_grid
from nvv.sweep.run import SweepResult, run_sweep
from nvv.training.arguments import ArgumentsError


def _sweep(grid, tmp_path, **options):
    return run_sweep(read_grid(grid), SweepArguments(output_dir=str(tmp_path / "sweep"), **options))


def test_sweep_runs_all_and_writes_one_report(guesses, tmp_path):
    result = _sweep(guesses, tmp_path)
    assert (len(result.done), result.failed, result.running, result.remaining) == (4, {}, [], [])
    assert result.is_complete
    assert {"results.csv", "results.parquet", "report.md"} <= {file.name for file in result.report}
    table = pd.read_csv(tmp_path / "sweep" / "results.csv")
    assert table["run_id"].tolist() == result.done
    assert table["seed"].tolist() == [1, 2, 3, 4]


@pytest.fixture
def reported(monkeypatch):
    """Runs that do nothing, and the folders that a report was asked of."""
    folders = []
    monkeypatch.setattr(work, "_execute", lambda run, folder: None)
    monkeypatch.setattr(run, "_write_report", lambda folder: folders.append(folder) or [folder / "report.md"])
    return folders


def test_changed_grid_keeps_what_is_done_and_adds_what_is_new(guesses, write_grid, corpus_folder, tmp_path, reported):
    first = _sweep(guesses, tmp_path)
    files = {run_id: tmp_path / "sweep" / "runs" / run_id / "run.json" for run_id in first.done}
    before = {run_id: file.read_bytes() for run_id, file in files.items()}
    block = {"recipe": "baseline", "classifier": "random", "seed": [3, 4, 5], "num_bootstrap_resamples": 10}
    second = _sweep(write_grid(name="other", blocks=[{**block, "corpus": str(corpus_folder)}]), tmp_path)
    assert second.done[:2] == first.done[2:]
    assert len(second.done) == 3
    assert {run_id: file.read_bytes() for run_id, file in files.items()} == before
    plan = json.loads((tmp_path / "sweep" / "plan.json").read_text())
    assert [entry["run_id"] for entry in plan["runs"]] == second.done


def test_report_alone_runs_nothing(guesses, tmp_path, reported):
    assert _sweep(guesses, tmp_path, executor="report").report == []  # nothing there to tell of
    assert reported == []
    _sweep(guesses, tmp_path)
    result = _sweep(guesses, tmp_path, executor="report")
    assert len(result.done) == 4
    assert reported == [tmp_path / "sweep"] * 2


def test_finished_sweep_starts_no_worker(guesses, tmp_path, reported, monkeypatch):
    _sweep(guesses, tmp_path)
    monkeypatch.setattr(executors, "_submitit", None)
    assert len(_sweep(guesses, tmp_path, executor="local").done) == 4


def test_submitted_sweep_leaves_the_report_to_later(guesses, tmp_path, reported, monkeypatch):
    submitted = []

    def submit(tasks, sweep_dir, **options):
        submitted.extend(run.run_id for task in tasks for run in task.runs)
        return ["17_0"]

    monkeypatch.setattr(run, "submit_to_slurm", submit)
    result = _sweep(guesses, tmp_path, executor="slurm", slurm=["time=10"])
    assert (result.job_ids, result.remaining, result.report) == (["17_0"], submitted, [])
    assert result.is_complete


def test_failed_run_is_told_and_others_finish(trainings, write_grid, corpus_folder, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "README.md").write_bytes((corpus_folder / "README.md").read_bytes())
    for split in ("train", "validation", "test"):
        table = pyarrow.parquet.read_table(corpus_folder / f"{split}.parquet")
        rows = table.to_pylist()
        if split == "test":
            rows[2]["audio"] = {"bytes": b"RIFF and nothing else", "path": None}
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=table.schema), broken / f"{split}.parquet")
    grid = trainings({"corpus": [str(broken), str(corpus_folder)]}, num_train_epochs=1)
    result = _sweep(grid, tmp_path, data_cache_dir=str(tmp_path / "cache"))
    assert [run_id.split("-")[0] for run_id in result.done] == ["tones"]
    ((run_id, error),) = result.failed.items()
    assert run_id.startswith("broken-")
    assert error.startswith("AudioError: ")
    assert not result.is_complete
    report = (tmp_path / "sweep" / "report.md").read_text()
    assert run_id in report


def test_corpus_without_its_folder_is_refused_before_anything_runs(write_grid, tmp_path):
    blocks = [{"recipe": "baseline", "classifier": "random", "corpus": ["synthetic", "donateacry"]}]
    with pytest.raises(ArgumentsError, match=r"donateacry cannot be downloaded.*--data_dirs donateacry=PATH_TO"):
        _sweep(write_grid(blocks=blocks), tmp_path)
    with pytest.raises(ArgumentsError, match="data_dirs: no such folder: donateacry=/nowhere"):
        _sweep(write_grid(blocks=blocks), tmp_path, data_dirs=["donateacry=/nowhere"])
    assert not (tmp_path / "sweep").exists()


def test_launch_with_several_processes_is_refused(guesses, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ArgumentsError, match="--executor local --num_workers N"):
        _sweep(guesses, tmp_path)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, True),
        ({"failed": {"a": "no"}}, False),
        ({"remaining": ["a"]}, False),  # a worker died
        ({"remaining": ["a"], "job_ids": ["1"]}, True),  # submitted
        ({"running": ["a"]}, True),  # another sweep is at it
    ],
)
def test_sweep_is_complete_unless_something_went_wrong(tmp_path, fields, expected):
    standing = {"done": [], "failed": {}, "running": [], "remaining": [], **fields}
    assert SweepResult(output_dir=tmp_path, **standing).is_complete is expected
