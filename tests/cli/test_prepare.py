import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from nvv.audio import encode_wav
from nvv.cli import app

NAME = "nonverbal_vocalization"

# Runs the command, and waits for its end at the fourth clip.
SLOW_COMMAND = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background processes that ignore it
from nvv.cli import app
from nvv.data import corpus_builder

builder_class = corpus_builder("nonverbal_vocalization")
original = builder_class.read_clip

def read_clip(self, clip):
    if clip.speaker_id == "AB03":
        print("now", flush=True)
        time.sleep(1 if sys.argv[1] == "SIGINT" else 60)  # a thread cannot be woken; one that ends must end by itself
    return original(self, clip)

builder_class.read_clip = read_clip
app(sys.argv[2:])
"""


@pytest.fixture
def raw_folder(tmp_path) -> Path:
    """Six clips by six speakers."""
    for number in range(6):
        path = tmp_path / "raw" / "dataset" / "coughing" / f"AB{number:02d}_4_1_0_20_0_0_0.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_wav(np.full(100, 0.1)))
    return tmp_path / "raw"


@pytest.fixture
def arguments(raw_folder, tmp_path) -> list[str]:
    options = {"--data-dir": raw_folder, "--output-dir": tmp_path / "nvv" / NAME, "--max-shard-bytes": 1}
    return ["prepare", NAME, *(str(part) for option in options.items() for part in option)]


def run(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGINT"])
def test_killed_command_lets_no_other_in_and_is_finished_by_the_next(arguments, tmp_path, name):
    whole = run(*[argument.replace(str(tmp_path / "nvv"), str(tmp_path / "whole")) for argument in arguments])
    assert whole.exit_code == 0, whole.output
    command = [sys.executable, "-c", SLOW_COMMAND, name, *arguments, "--num-workers", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "now\n"
            if name == "SIGKILL":  # the first still runs
                refused = run(*arguments)
                assert refused.exit_code == 1
                assert f"nvv prepare: {tmp_path / 'nvv' / NAME}: another process is writing it;" in refused.output
            process.send_signal(getattr(signal, name))
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    if name == "SIGINT":
        assert process.returncode == 130
        assert "nvv prepare: interrupted; run the same command again to go on." in errors
    else:
        assert process.returncode == -getattr(signal, name)
    hidden = tmp_path / "nvv" / f".{NAME}.incomplete"
    assert list((tmp_path / "nvv").iterdir()) == [hidden]
    complete = sorted(path.name for path in (hidden / "reports").iterdir())
    assert 0 < len(complete) < 6  # with one clip a file, some of the six

    again = run(*arguments)
    assert again.exit_code == 0, again.output
    kept = re.search(r"(\d+) of 6 Parquet files were kept from an interrupted run", again.output)
    assert kept is not None
    assert int(kept[1]) == len(complete)
    assert contents(tmp_path / "nvv" / NAME) == contents(tmp_path / "whole" / NAME)
    assert [path.name for path in (tmp_path / "nvv").iterdir()] == [NAME]


@pytest.mark.parametrize("option", ["--num-workers", "--max-shard-bytes"])
def test_numbers_below_one_are_refused(arguments, option, tmp_path):
    result = run(*arguments, option, "0")
    assert result.exit_code == 2
    assert option in result.output
    assert not (tmp_path / "nvv").exists()


def test_options_change_what_is_written(arguments, tmp_path):
    assert run(*arguments, "--num-workers", "2").exit_code == 0
    assert len(list((tmp_path / "nvv" / NAME / "data").iterdir())) == 6
    assert run(*arguments, "--max-shard-bytes", "1000000").exit_code == 0
    assert len(list((tmp_path / "nvv" / NAME / "data").iterdir())) < 6
