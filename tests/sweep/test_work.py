import json
import os
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from nvv.sweep import work
from nvv.sweep.grid import read_grid
from nvv.sweep.plan import expand_grid, group_runs
from nvv.sweep.work import WorkOptions, read_record, run_folder, run_one, state_of, work_through
from nvv.training.checkpoints import last_complete_checkpoint
from nvv.training.results import comparable_metrics


@pytest.fixture
def sweep_dir(tmp_path):
    return tmp_path / "sweep"


@pytest.fixture
def runs(guesses):
    return expand_grid(read_grid(guesses))


@pytest.fixture
def executed(monkeypatch):
    """The ids of the runs that were really executed, in order, in place of executing them."""
    ids = []
    monkeypatch.setattr(work, "_execute", lambda run, folder: ids.append(run.run_id))
    return ids


def _metrics(folder: Path):
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


def test_baseline_runs_in_its_folder_and_is_recorded(runs, sweep_dir):
    run_one(runs[1], sweep_dir, options=WorkOptions())
    folder = run_folder(sweep_dir, runs[1])
    record = json.loads((folder / "run.json").read_text())
    assert record.pop("seconds") > 0
    assert record.pop("finished_at") > 1e9
    assert record == {
        "run_id": runs[1].run_id,
        "recipe": "baseline",
        "values": dict(runs[1].values),
        "status": "done",
        "error": None,
    }
    metrics = _metrics(folder)
    assert (metrics["tuning"]["method"], metrics["training"]["seed"]) == ("random", 2)
    assert {"predictions.csv", "log.txt"} <= {path.name for path in folder.iterdir()}


def test_probe_and_training_run_with_their_own_values(trainings, sweep_dir, tmp_path):
    grid = trainings(
        {"method": "frozen", "summed_layers": [0, 2], "num_seeds": 1, "single_layers": False}, {"tuned_layers": [1]}
    )
    runs = expand_grid(read_grid(grid))
    runs = [run.__class__(**{**vars(run), "place": {**run.place, "data_cache_dir": str(tmp_path)}}) for run in runs]
    work_through(group_runs(runs), sweep_dir, options=WorkOptions())
    assert [state_of(sweep_dir, run) for run in runs] == ["done", "done"]
    probe, training = (_metrics(run_folder(sweep_dir, run)) for run in runs)
    assert probe["tuning"]["method"] == "frozen"
    assert probe["provenance"]["config"]["model"]["summed_layers"] == [0, 2]
    assert training["tuning"]["layers"] == [1]
    assert not list(sweep_dir.glob("runs/*/checkpoint-*"))


def test_done_run_is_left_alone(runs, sweep_dir, executed):
    for _ in range(2):
        run_one(runs[0], sweep_dir, options=WorkOptions())
    assert executed == [runs[0].run_id]


def test_failure_is_recorded_and_the_others_go_on(runs, sweep_dir, monkeypatch):
    def fail_second(run, folder):
        if run is runs[1]:
            (folder / "half.txt").write_text("half")
            raise RuntimeError("no luck\nat all")

    monkeypatch.setattr(work, "_execute", fail_second)
    work_through(group_runs(runs), sweep_dir, options=WorkOptions())
    assert [state_of(sweep_dir, run) for run in runs] == ["done", "failed", "done", "done"]
    assert read_record(sweep_dir, runs[1])["error"] == "RuntimeError: no luck"
    error = (run_folder(sweep_dir, runs[1]) / "error.txt").read_text()
    assert "fail_second" in error
    assert error.rstrip().endswith("at all")


@pytest.mark.parametrize(
    ("options", "is_tried"),
    [
        ({"started_at": 2e9}, True),
        ({"started_at": 2e9, "retry_failed": False}, False),
        ({"started_at": 0.0}, False),  # it failed after this sweep was started: another worker's, just now
    ],
)
def test_failed_run_is_tried_again_by_a_later_sweep(runs, sweep_dir, monkeypatch, options, is_tried):
    def fail(run, folder):
        raise ValueError("first")

    monkeypatch.setattr(work, "_execute", fail)
    run_one(runs[0], sweep_dir, options=WorkOptions())
    monkeypatch.undo()
    monkeypatch.setattr(work.time, "time", lambda: 3e9)
    run_one(runs[0], sweep_dir, options=WorkOptions(**options))
    assert state_of(sweep_dir, runs[0]) == ("done" if is_tried else "failed")
    assert (run_folder(sweep_dir, runs[0]) / "error.txt").exists() is not is_tried


def test_claimed_run_is_left_to_its_worker(runs, sweep_dir, executed):
    folder = run_folder(sweep_dir, runs[0])
    folder.mkdir(parents=True)
    with FileLock(folder / ".lock"):
        work_through(group_runs(runs), sweep_dir, options=WorkOptions())
        assert state_of(sweep_dir, runs[0]) == "running"
    assert executed == [run.run_id for run in runs[1:]]
    assert state_of(sweep_dir, runs[0]) == "remaining"


def test_task_of_another_worker_comes_last(runs, sweep_dir, executed):
    tasks = group_runs(runs)
    (sweep_dir / ".locks").mkdir(parents=True)
    with FileLock(sweep_dir / ".locks" / tasks[0].name):
        work_through(tasks, sweep_dir, options=WorkOptions())
    assert executed == [run.run_id for run in (*runs[1:], runs[0])]


def test_what_a_killed_attempt_left_is_cleared(runs, sweep_dir):
    folder = run_folder(sweep_dir, runs[0])
    (folder / "checkpoint-3").mkdir(parents=True)
    (folder / "metrics.json").write_text("half of")
    (folder / "run.json").write_text('{"run_id":')  # truncated by a machine going down
    (folder / "log.txt").write_text("before\n")
    run_one(runs[0], sweep_dir, options=WorkOptions())
    assert state_of(sweep_dir, runs[0]) == "done"
    assert not (folder / "checkpoint-3").exists()
    assert (folder / "log.txt").read_text().startswith("before\n")


def test_keyboard_interrupt_stops_and_frees_the_run(runs, sweep_dir, monkeypatch):
    def stop(run, folder):
        raise KeyboardInterrupt

    monkeypatch.setattr(work, "_execute", stop)
    with pytest.raises(KeyboardInterrupt):
        work_through(group_runs(runs), sweep_dir, options=WorkOptions())
    assert [state_of(sweep_dir, run) for run in runs] == ["remaining"] * 4
    with FileLock(run_folder(sweep_dir, runs[0]) / ".lock", blocking=False):
        pass


def test_folder_that_cannot_be_made_does_not_stop_the_others(runs, sweep_dir, executed):
    (sweep_dir / "runs").mkdir(parents=True)
    run_folder(sweep_dir, runs[0]).write_text("a file where the run's folder should be")
    work_through(group_runs(runs), sweep_dir, options=WorkOptions())
    assert executed == [run.run_id for run in runs[1:]]
    assert state_of(sweep_dir, runs[0]) == "remaining"


def test_output_of_a_run_goes_to_its_log(runs, sweep_dir, monkeypatch, capfd):
    def talk(run, folder):
        os.write(1, b"from below\n")
        os.write(2, b"a complaint\n")

    monkeypatch.setattr(work, "_execute", talk)
    run_one(runs[0], sweep_dir, options=WorkOptions())
    os.write(1, b"afterwards\n")
    assert (run_folder(sweep_dir, runs[0]) / "log.txt").read_text() == "from below\na complaint\n"
    assert capfd.readouterr().out == "afterwards\n"


def test_run_leaves_the_process_as_it_was(runs, sweep_dir, monkeypatch):
    def change(run, folder):
        os.environ["ACCELERATE_DYNAMO_BACKEND"] = "inductor"
        del os.environ["HF_HUB_OFFLINE"]
        torch.set_num_threads(threads + 1)
        torch.use_deterministic_algorithms(True)

    threads = torch.get_num_threads()
    monkeypatch.setattr(work, "_execute", change)
    run_one(runs[0], sweep_dir, options=WorkOptions())
    assert "ACCELERATE_DYNAMO_BACKEND" not in os.environ
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(
    ("damage", "begins"),
    [
        (None, ["last"]),
        pytest.param("optimizer.pt", [None], marks=pytest.mark.slow),
        pytest.param("settings", ["last", None], marks=pytest.mark.slow),
    ],
)
def test_stopped_training_goes_on_or_begins_anew(trainings, sweep_dir, tmp_path, monkeypatch, damage, begins):
    (run,) = expand_grid(read_grid(trainings({"seed": 1})))
    run_one(run, tmp_path / "whole", options=WorkOptions())
    folder = run_folder(sweep_dir, run)

    def stop(trainer):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("nvv.training.run._check_best_checkpoint", stop)  # called when training has ended
        with pytest.raises(KeyboardInterrupt):
            run_one(run, sweep_dir, options=WorkOptions())
    assert last_complete_checkpoint(folder).name == "checkpoint-6"
    if damage == "settings":
        text = (folder / "config_resolved.yaml").read_text()
        (folder / "config_resolved.yaml").write_text(text.replace("learning_rate: 0.001", "learning_rate: 0.5"))
    elif damage:
        for checkpoint in folder.glob("checkpoint-*"):
            (checkpoint / damage).write_bytes(b"cut")

    tried = []

    def observed(arguments):
        tried.append(arguments.training.resume_from_checkpoint)
        return train(arguments)

    train = work.train
    monkeypatch.setattr(work, "train", observed)
    run_one(run, sweep_dir, options=WorkOptions(keep_checkpoints=True))
    assert tried == begins
    assert state_of(sweep_dir, run) == "done"
    assert (folder / "checkpoint-6").is_dir()
    expected = _metrics(run_folder(tmp_path / "whole", run))
    assert comparable_metrics(_metrics(folder)) == comparable_metrics(expected)
