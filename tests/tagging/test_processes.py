"""The processes of a run: real ones, started by the launchers, killed, and left alone by each other."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import datasets
import pytest
import torch

from nvv.tagging.processes import joined_processes
from nvv.tagging.run import TaggingSettings, tag_dataset
from nvv.training.arguments import ArgumentsError

TORCHRUN = ("-m", "torch.distributed.run", "--nproc_per_node", "2", "--rdzv_backend", "c10d", "--rdzv_endpoint")
CPU_2 = Path(__file__).parents[2] / "recipes" / "accelerate_configs" / "cpu_2.yaml"


@pytest.fixture
def expected(model_folder, dataset_folder, tmp_path, content_of):
    """What one process alone writes, uninterrupted."""

    def tag(**fields):
        settings = TaggingSettings(num_workers=0, audio_column="audio", **fields)
        tag_dataset(str(model_folder), dataset_folder, tmp_path / "alone", settings=settings)
        return content_of(tmp_path / "alone")

    return tag


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_joined_processes_is_one_alone_when_no_launcher_started_it():
    with joined_processes("cpu", max_wait_hours=1) as processes:
        assert (processes.num, processes.index, processes.is_main) == (1, 0, True)
        assert processes.device == torch.device("cpu")
        assert processes.gathered([1]) == [1]
        assert processes.from_main(lambda: 2) == 2


@pytest.mark.parametrize(("device", "hours", "message"), [("cpu", 0, "max_wait_hours"), ("abacus", 1, "abacus")])
def test_joined_processes_refuses_what_cannot_be(device, hours, message):
    with pytest.raises(ArgumentsError, match=message), joined_processes(device, max_wait_hours=hours):
        pass


def test_joined_processes_refuses_one_device_when_there_are_several_processes(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ArgumentsError, match="cpu:0 cannot serve several"), joined_processes("cpu:0", max_wait_hours=1):
        pass


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["accelerate", "torchrun"])
def test_two_processes_write_what_one_writes(
    model_folder, dataset_folder, tmp_path, start, expected, content_of, launcher
):
    launchers = {
        "accelerate": ("-m", "accelerate.commands.launch", "--config_file", str(CPU_2)),
        "torchrun": (*TORCHRUN, f"127.0.0.1:{free_port()}"),
    }
    # Every process says which it is, so that two that each do all of it are not taken for two that share it.
    watched = tmp_path / "watched.py"
    watched.write_text(
        "import os\n"
        "from nvv.tagging import run\n"
        "write = run.write_tables\n"
        "def watch(tables, path, **options):\n"
        "    open('rank_' + os.environ['RANK'], 'a').write(path.name + '\\n')\n"
        "    return write(tables, path, **options)\n"
        "run.write_tables = watch\n"
        "from nvv.cli import main\n"
        "main()\n"
    )
    process = start(
        *("tag", model_folder, dataset_folder, "--output-dir", "shared", "--num-shards", 4),
        *("--audio-column", "audio", "--device", "cpu"),
        launcher=launchers[launcher],
        program=(watched,),
    )
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors[-3000:]
    assert output.count("15 rows in 7 files") == 1
    assert content_of(tmp_path / "shared") == expected(num_shards=4)
    ranks = [set((tmp_path / f"rank_{rank}").read_text().split()) for rank in (0, 1)]
    assert len(ranks[0]) == 4
    assert len(ranks[1]) == 3
    assert not ranks[0] & ranks[1]


@pytest.mark.slow
def test_run_ends_with_the_same_files_when_it_was_killed_in_the_middle(
    model_folder, tones, tmp_path, start, content_of
):
    tones(80).to_parquet(tmp_path / "d.parquet")
    command = ("tag", model_folder, tmp_path / "d.parquet", "--audio-column", "audio", "--num-shards", 80)
    process = start(*command, "--output-dir", "killed")
    folder, deadline = tmp_path / "killed", time.monotonic() + 120
    while not list(folder.glob(".tagging/train-*.json")) and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = {file.name: file.stat().st_mtime_ns for file in folder.glob("data/train-*.parquet")}
    assert 0 < len(kept) < 80
    assert not (folder / "README.md").exists()  # so it is no dataset yet
    again = start(*command, "--output-dir", "killed")
    output, errors = again.communicate(timeout=300)
    assert again.returncode == 0, errors[-3000:]
    assert "from an earlier run" in output
    untouched = [name for name, time_ns in kept.items() if (folder / "data" / name).stat().st_mtime_ns == time_ns]
    assert len(untouched) >= len(kept) - 1  # one may have been there without its note
    settings = TaggingSettings(num_workers=0, audio_column="audio", num_shards=80)
    tag_dataset(str(model_folder), tmp_path / "d.parquet", tmp_path / "whole", settings=settings)
    assert content_of(folder) == content_of(tmp_path / "whole")
    assert datasets.load_dataset(str(folder))["train"].num_rows == 80


_ONE_OF_TWO = """
import os, sys
from nvv.tagging.processes import joined_processes
with joined_processes("cpu", max_wait_hours=1) as processes:
    processes.from_main(lambda: None)
    if processes.index == 1:
        os._exit(7)
    try:
        processes.gathered([])
    except ConnectionError as error:
        print(error)
        sys.stdout.flush()
        os._exit(3)
"""


@pytest.mark.slow
def test_process_does_not_wait_for_one_that_died():
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", _ONE_OF_TWO],
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    output, _ = started[0].communicate(timeout=120)  # an hour, if it waited
    started[1].communicate()
    assert [process.returncode for process in started] == [3, 7]
    assert "another process of this run has ended" in output
