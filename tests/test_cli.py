import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from nvv.audio import encode_wav
from nvv.cli import app
from nvv.version import __version__


@pytest.fixture
def raw_folder(tmp_path):
    for number in range(6):
        path = tmp_path / "raw" / "dataset" / "coughing" / f"AB{number:02d}_4_1_0_20_0_0_0.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_wav(np.full(100, 0.1)))
    return tmp_path / "raw"


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_version_is_printed():
    result = run("--version")
    assert (result.exit_code, result.output) == (0, f"nvv {__version__}\n")


def test_help_is_printed_when_there_are_no_arguments():
    assert "prepare" in run().output


def test_prepare_writes_a_repository(raw_folder, tmp_path):
    target = tmp_path / "out"
    result = run("prepare", "nonverbal_vocalization", "--data-dir", raw_folder, "--output-dir", target)
    assert result.exit_code == 0, result.output
    assert f"6 clips in {target} (configs: speaker, stratified)" in result.output
    assert (target / "README.md").is_file()


def test_prepare_writes_below_nvv_when_no_folder_is_named(raw_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("prepare", "nonverbal_vocalization", "--data-dir", raw_folder).exit_code == 0
    # The line that the README shows, with the path as printed there.
    code = "from datasets import load_dataset; print(load_dataset('nvv/nonverbal_vocalization', 'speaker').num_rows)"
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert found.stdout.strip() == "{'train': 4, 'validation': 1, 'test': 1}"


def test_prepare_stops_with_the_name_of_a_bad_clip_unless_told_to_skip(raw_folder, tmp_path):
    (raw_folder / "dataset" / "coughing" / "AB03_4_1_0_20_0_0_0.wav").write_bytes(b"")
    arguments = ["prepare", "nonverbal_vocalization", "--data-dir", raw_folder, "--output-dir", tmp_path / "out"]
    result = run(*arguments)
    assert result.exit_code == 1
    assert "nvv prepare: coughing/AB03_4_1_0_20_0_0_0.wav: empty file (0 bytes)" in result.output
    assert not (tmp_path / "out").exists()
    result = run(*arguments, "--skip-bad-audio")
    assert result.exit_code == 0
    assert "5 clips" in result.output
    assert "1 clips left out, listed in" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "Unknown corpus 'nothing'"),
        (["cnvve"], "needs data_dir"),
        (["nonverbal_vocalization", "--data-dir", "missing"], "no such folder"),
    ],
)
def test_prepare_explains_when_it_cannot(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("prepare", *arguments)
    assert result.exit_code == 1
    assert message in result.output
    assert list(tmp_path.iterdir()) == []
