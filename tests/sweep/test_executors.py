import json
import os
import stat
import sys
import textwrap
from pathlib import Path

import pytest

from nvv.sweep import executors, work
from nvv.sweep.arguments import SweepArguments
from nvv.sweep.executors import Worker, minutes_of, run_inline, run_local, slurm_parameters, submit_to_slurm
from nvv.sweep.grid import read_grid
from nvv.sweep.plan import expand_grid, group_runs
from nvv.sweep.work import WorkOptions, run_folder, state_of
from nvv.training.arguments import ArgumentsError


@pytest.fixture
def sweep_dir(tmp_path):
    return tmp_path / "sweep"


@pytest.fixture
def tasks(guesses):
    return group_runs(expand_grid(read_grid(guesses)))


def _arguments(**options):
    return SweepArguments(output_dir="unused", **options)


def _states(tasks, sweep_dir):
    return [state_of(sweep_dir, run) for task in tasks for run in task.runs]


def test_inline_runs_all_and_shows_progress(tasks, sweep_dir, capfd, monkeypatch):
    monkeypatch.setattr(work, "_execute", lambda run, folder: print("what the run says"))
    run_inline(tasks, sweep_dir, options=WorkOptions())
    assert _states(tasks, sweep_dir) == ["done"] * 4
    shown = capfd.readouterr().err
    assert "4/4" in shown
    assert tasks[-1].runs[0].run_id in shown
    assert "what the run says" not in shown


@pytest.mark.parametrize(
    ("limit", "minutes"),
    [
        # The formats that the manual of sbatch lists.
        ("90", 90),
        ("1:30", 2),  # minutes:seconds, rounded up
        ("4:00:00", 240),
        ("2-0", 2880),
        ("1-12", 2160),
        ("1-2:30", 1590),
        ("1-2:30:30", 1591),
    ],
)
def test_time_limit_is_read_as_sbatch_reads_it(limit, minutes):
    assert minutes_of(limit) == minutes


@pytest.mark.parametrize("limit", ["", "soon", "1:2:3:4", "-5", "1-", "0", "4h"])
def test_time_limit_that_says_nothing_is_refused(limit):
    with pytest.raises(ArgumentsError, match="slurm: time: expected"):
        minutes_of(limit)


def test_slurm_parameters_reach_submitit_or_sbatch():
    words = ["partition=gpu", "time=1:00:00", "gpus-per-node=1", "exclusive=true", 'setup=["module load cuda"]']
    parameters = slurm_parameters(_arguments(executor="slurm", slurm=words, num_workers=3), name="nvv_x")
    assert parameters == {
        "time": 60,
        "setup": ["module load cuda"],
        "array_parallelism": 3,
        "additional_parameters": {"job_name": "nvv_x", "partition": "gpu", "gpus_per_node": "1", "exclusive": True},
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["partition=gpu"], "say how long a job may take"),
        (["time=10", "array=1-3"], "slurm: array is not for you to set"),
        (["time=10", "ntasks-per-node=2"], "slurm: ntasks_per_node is not for you to set"),
    ],
)
def test_slurm_parameters_are_refused(words, message):
    with pytest.raises(ArgumentsError, match=message):
        slurm_parameters(_arguments(executor="slurm", slurm=words), name="x")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"executor": "cloud"}, "executor: expected one of inline, local, slurm, report; found 'cloud'"),
        ({"num_workers": 2}, "num_workers: has no effect with executor inline; it belongs to local and slurm"),
        ({"executor": "local", "wait": True}, "wait: has no effect with executor local"),
        ({"executor": "local", "num_workers": 0}, "num_workers: expected at least 1, found 0"),
        ({"cpu_threads": 0}, "cpu_threads: expected at least 1"),
        ({"data_dirs": ["vivae"]}, "data_dirs: expected key=value such as vivae=PATH_TO/vivae, found 'vivae'"),
        ({"data_dirs": ["a=1", "a=2"]}, "data_dirs: a is given twice"),
        ({"executor": "slurm", "slurm": ["=gpu"]}, "slurm: expected key=value"),
    ],
)
def test_arguments_are_refused(options, message):
    with pytest.raises(ArgumentsError, match=message):
        _arguments(**options)


def test_missing_submitit_is_named_with_its_command(tasks, sweep_dir, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ArgumentsError, match=r"pip install 'nvv\[sweep\]'"):
        run_local(tasks, sweep_dir, options=WorkOptions(), arguments=_arguments(executor="local"))


def test_slurm_is_refused_where_there_is_none(tasks, sweep_dir, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    arguments = _arguments(executor="slurm", slurm=["time=10"])
    with pytest.raises(ArgumentsError, match='executor: slurm: Could not detect "srun"'):
        submit_to_slurm(tasks, sweep_dir, name="x", options=WorkOptions(), arguments=arguments)


def test_workers_take_gpus_in_turn(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-5")
    assert [executors._device_of(number) for number in range(3)] == [
        ["export CUDA_VISIBLE_DEVICES=4"],
        ["export CUDA_VISIBLE_DEVICES=GPU-5"],
        ["export CUDA_VISIBLE_DEVICES=4"],
    ]


def test_preempted_worker_goes_on_with_the_same_call(tasks, sweep_dir):
    worker = Worker(tasks=tuple(tasks), sweep_dir=sweep_dir, options=WorkOptions())
    assert worker.checkpoint().function is worker


@pytest.mark.slow
def test_local_workers_share_the_runs_and_divide_the_cores(tasks, sweep_dir, monkeypatch):
    monkeypatch.setattr(executors, "available_processors", lambda: 6)
    seen, environments = [], []
    real = executors._wait

    def observed(jobs, *arguments):
        seen.extend(jobs)
        environments.extend(Path(f"/proc/{job.job_id}/environ").read_bytes() for job in jobs if Path("/proc").exists())
        real(jobs, *arguments)

    monkeypatch.setattr(executors, "_wait", observed)
    before = dict(os.environ)
    run_local(tasks, sweep_dir, options=WorkOptions(), arguments=_arguments(executor="local", num_workers=2))
    assert len({job.job_id for job in seen}) == 2
    assert all(b"OMP_NUM_THREADS=3\0" in environment for environment in environments)
    assert _states(tasks, sweep_dir) == ["done"] * 4
    assert dict(os.environ) == before
    assert not list((sweep_dir / "jobs").iterdir())


FAKE_SBATCH = """\
    #!{python}
    # Takes a job array as Slurm would: prints the id and keeps the script; runs its jobs if `array` says how many.
    import os, pathlib, subprocess, sys
    folder = pathlib.Path({folder!r})
    (folder / "submitted.sh").write_text(pathlib.Path(sys.argv[1]).read_text())
    print("Submitted batch job 4711")
    for task in range(int((folder / "array").read_text())):
        variables = dict(SLURM_JOB_ID=str(4711 + task), SLURM_ARRAY_JOB_ID="4711", SLURM_ARRAY_TASK_ID=str(task))
        with open(folder / "jobs.txt", "a") as output:
            subprocess.Popen(
                ["bash", folder / "submitted.sh"],
                env={{**os.environ, **variables, "OMP_NUM_THREADS": "1"}},
                stdout=output,
                stderr=output,
            )
    """

FAKE_SRUN = """\
    #!{python}
    import os, sys
    words = sys.argv[1:]
    while words[0].startswith("--"):
        words = words[1:] if words[0] == "--unbuffered" else words[2:]
    os.execvp(words[0], words)
    """


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A folder with `sbatch` and `srun` on the PATH; sbatch starts as many jobs as the file `array` says."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    (folder / "array").write_text("0")
    for name, text in (("sbatch", FAKE_SBATCH), ("srun", FAKE_SRUN)):
        (folder / name).write_text(textwrap.dedent(text).format(python=sys.executable, folder=str(folder)))
        (folder / name).chmod((folder / name).stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return folder


def test_script_for_slurm_says_what_was_asked_for(tasks, sweep_dir, cluster):
    words = ["partition=gpu", "time=2:00:00", "gpus-per-node=1", "mem=16G", 'setup=["export FLAVOUR=mint"]']
    arguments = _arguments(executor="slurm", slurm=words, num_workers=2)
    ids = submit_to_slurm(tasks, sweep_dir, name="nvv_guesses", options=WorkOptions(), arguments=arguments)
    assert ids == ["4711_0", "4711_1", "4711_2", "4711_3"]
    script = (cluster / "submitted.sh").read_text().splitlines()
    assert {
        "#SBATCH --array=0-3%2",
        "#SBATCH --gpus-per-node=1",
        "#SBATCH --job-name=nvv_guesses",
        "#SBATCH --mem=16G",
        "#SBATCH --partition=gpu",
        "#SBATCH --time=120",
        "export FLAVOUR=mint",
    } <= set(script)
    assert _states(tasks, sweep_dir) == ["remaining"] * 4


def test_sbatch_that_refuses_is_quoted(tasks, sweep_dir, cluster):
    (cluster / "sbatch").write_text("#!/bin/sh\necho 'invalid partition specified: gpus' >&2\nexit 1\n")
    arguments = _arguments(executor="slurm", slurm=["time=10", "partition=gpus"])
    with pytest.raises(ArgumentsError, match="invalid partition specified: gpus"):
        submit_to_slurm(tasks, sweep_dir, name="x", options=WorkOptions(), arguments=arguments)


@pytest.mark.slow
def test_jobs_of_the_array_run_their_tasks_and_can_be_waited_for(tasks, sweep_dir, cluster):
    (cluster / "array").write_text("2")
    arguments = _arguments(executor="slurm", slurm=["time=10"], wait=True)
    submit_to_slurm(tasks[1:3], sweep_dir, name="x", options=WorkOptions(), arguments=arguments)
    assert _states(tasks, sweep_dir) == ["remaining", "done", "done", "remaining"], (cluster / "jobs.txt").read_text()
    seeds = [
        json.loads((run_folder(sweep_dir, task.runs[0]) / "metrics.json").read_text())["training"]["seed"]
        for task in tasks[1:3]
    ]
    assert seeds == [2, 3]
