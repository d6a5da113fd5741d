"""`nvv embed`: through the installed entry point, and its options and messages in this process."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from nvv.cli import app

_spec = importlib.util.spec_from_file_location(
    "_tagging_fixtures", Path(__file__).parents[1] / "tagging" / "conftest.py"
)
_tagging = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_tagging)

make_split = _tagging.make_split
save_model = _tagging.save_model
model_folder = _tagging.model_folder
tones = _tagging.tones
dataset_folder = _tagging.dataset_folder
_one_thread = _tagging._one_thread
_own_cache = _tagging._own_cache


@pytest.fixture
def recordings(tones, tmp_path):
    """A folder of three recordings."""
    folder = tmp_path / "recordings"
    (folder / "deep").mkdir(parents=True)
    for name, row in zip(("a.wav", "b.WAV", "deep/c.wav"), tones(3), strict=True):
        (folder / name).write_bytes(row["audio"]["bytes"])
    return folder


@pytest.fixture
def embed(tmp_path, monkeypatch):
    """The function that runs `nvv embed` in this process."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, ["embed", *map(str, arguments)])


def test_embed_help_shows_an_example():
    shown = CliRunner().invoke(app, ["embed", "--help"])
    assert shown.exit_code == 0
    assert "Example:" in shown.output
    assert "nvv embed runs/lora recordings --layers 0,3,6 --output layers.parquet" in shown.output


@pytest.mark.slow
def test_embed_exits_with_one_and_names_the_file_when_one_cannot_be_read(model_folder, recordings, tmp_path):
    (recordings / "bad.wav").write_bytes(b"no audio")
    done = subprocess.run(
        [
            Path(sys.executable).with_name("nvv"),
            *("embed", model_folder, "recordings", "--layers", "0,3", "--output", "e.parquet"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout == "e.parquet: 4 rows, layer_0, layer_3\n"
    assert done.stderr.strip().splitlines()[-1].startswith("nvv embed: recordings/bad.wav: not readable as audio")
    table = pq.read_table(tmp_path / "e.parquet")
    assert table["file"].to_pylist() == [f"recordings/{name}" for name in ("a.wav", "b.WAV", "bad.wav", "deep/c.wav")]
    assert [row is None for row in table["layer_3"].to_pylist()] == [False, False, True, False]


def test_embed_takes_files_folders_and_patterns(embed, model_folder, recordings, tmp_path):
    done = embed(model_folder, recordings / "a.wav", f"{recordings}/deep/*.wav", "--output", "e.parquet")
    assert done.exit_code == 0, done.output
    table = pq.read_table(tmp_path / "e.parquet")
    assert [Path(file).name for file in table["file"].to_pylist()] == ["a.wav", "c.wav"]
    assert [len(row) for row in table["embedding"].to_pylist()] == [16, 16]  # the projection's size


def test_embed_takes_a_dataset(embed, model_folder, dataset_folder, tmp_path):
    options = ("--dataset", dataset_folder, "--split", "test", "--audio-column", "audio", "--layers", "all")
    done = embed(model_folder, *options, "--output", "e.parquet")
    assert done.exit_code == 0, done.output
    table = pq.read_table(tmp_path / "e.parquet")
    assert table.num_rows == 3
    assert [name for name in table.column_names if name.startswith("layer_")] == [f"layer_{at}" for at in range(4)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected audio files, folders or patterns, or --dataset"),
        (["recordings", "--dataset", "nvv/vivae"], "not both"),
        (["recordings", "--layers", "0,9"], "has 0 (what enters the first layer) to 3"),
        (["recordings", "--pooling", "mean"], "no effect"),
        (["recordings", "--layers", "0", "--pooling", "median"], "expected one of mean"),
        (["recordings", "--streaming"], "streaming: has no effect without --dataset"),
        (["recordings", "--config", "speaker"], "config: has no effect without --dataset"),
        (["missing"], "missing: no such file or folder"),
    ],
)
def test_embed_exits_with_two_and_one_line_when_an_argument_is_bad(
    embed, model_folder, recordings, tmp_path, arguments, message
):
    done = embed(model_folder, *arguments, "--output", "e.parquet")
    assert done.exit_code == 2, done.output
    assert message in done.output
    assert done.output.strip().splitlines()[-1].startswith("nvv embed: ")
    assert not (tmp_path / "e.parquet").exists()
