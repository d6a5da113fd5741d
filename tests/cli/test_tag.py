"""`nvv tag`: through the installed entry point, and its options and messages in this process."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import datasets
import pytest
from huggingface_hub import HfApi
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
with_bad_audio = _tagging.with_bad_audio
dataset_folder = _tagging.dataset_folder
content_of = _tagging.content_of
_one_thread = _tagging._one_thread
_own_cache = _tagging._own_cache


@pytest.fixture
def nvv(tmp_path):
    """The function that runs the installed `nvv` command."""

    def run(*arguments, **options):
        command = [Path(sys.executable).with_name("nvv"), *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, **options)

    return run


@pytest.fixture
def tag(tmp_path, monkeypatch):
    """The function that runs `nvv tag` in this process."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, ["tag", *map(str, arguments)])


def test_tag_help_shows_examples():
    shown = CliRunner().invoke(app, ["tag", "--help"])
    assert shown.exit_code == 0
    assert "Example:" in shown.output
    assert "accelerate launch --multi_gpu --num_processes 4 -m nvv tag" in shown.output
    for option in ("--streaming", "--num-shards", "--column", "--output-dir", "--audio-column"):
        assert option in shown.output


@pytest.mark.slow
def test_tag_exits_with_one_and_says_how_many_when_recordings_cannot_be_read(
    nvv, model_folder, tones, with_bad_audio, tmp_path
):
    with_bad_audio(tones(5), [3]).to_parquet(tmp_path / "d.parquet")
    done = nvv("tag", model_folder, "d.parquet", "--audio-column", "audio", "--output-dir", "out", "--column", "mine")
    assert done.returncode == 1, done.stderr
    assert done.stdout.splitlines() == [
        f"{tmp_path / 'out'}: 5 rows in 1 files.",
        "1 recordings could not be read; their rows say why.",
    ]
    rows = datasets.load_dataset(str(tmp_path / "out"))["train"]
    assert [row is None for row in rows["mine_label"]] == [False, False, False, True, False]


def test_tag_exits_with_zero_when_all_is_well_and_does_nothing_twice(
    tag, model_folder, dataset_folder, tmp_path, content_of
):
    command = (model_folder, dataset_folder, "--audio-column", "audio", "--output-dir", "out", "--split", "test")
    done = tag(*command)
    assert done.exit_code == 0, done.output
    before = content_of(tmp_path / "out")
    again = tag(*command)
    assert again.exit_code == 0
    assert "1 of them from an earlier run" in again.output
    assert content_of(tmp_path / "out") == before
    assert list(datasets.load_dataset(str(tmp_path / "out"))) == ["test"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--split", "dev"], "split: tones has train, test; found 'dev'."),
        (["--audio-column", "sound"], "no column 'sound'"),
        (["--column", "a b"], "column: expected letters"),
        (["--column", "nvv", "--data-dir", "."], "--data-dir"),
        (["--device", "abacus"], "abacus"),
        (["--max-wait-hours", "0"], "max_wait_hours: expected more than 0"),
    ],
)
def test_tag_exits_with_two_and_one_line_when_an_option_is_bad(tag, model_folder, dataset_folder, options, message):
    arguments = {"--audio-column": "audio", "--output-dir": "out"}
    arguments |= dict(zip(options[::2], options[1::2], strict=True))
    done = tag(model_folder, dataset_folder, *[word for pair in arguments.items() for word in pair])
    assert done.exit_code == 2, done.output
    assert message in done.output
    assert done.output.strip().splitlines()[-1].startswith("nvv tag: ")


def test_tag_exits_with_two_when_there_is_no_such_model_or_dataset(tag, model_folder, dataset_folder, tmp_path):
    done = tag(tmp_path / "missing", dataset_folder, "--output-dir", "out")
    assert done.exit_code == 2
    assert "no such folder" in done.output
    done = tag(model_folder, tmp_path / "missing", "--output-dir", "out")
    assert done.exit_code == 2
    assert "no such file or folder" in done.output
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_tag_streams_from_the_hub_without_keeping_the_dataset(
    nvv, hub, hub_environment, model_folder, dataset_folder, tmp_path
):
    api = HfApi(endpoint=hub.url, token="hf_ada")
    api.create_repo("ada/tones", repo_type="dataset")
    commit = api.upload_folder(repo_id="ada/tones", repo_type="dataset", folder_path=dataset_folder).oid
    options = ("--streaming", "--audio-column", "audio")
    done = nvv("tag", model_folder, "ada/tones", *options, "--output-dir", "out", env=hub_environment)
    assert done.returncode == 0, done.stderr
    assert "15 rows in 4 files" in done.stdout
    plan = json.loads((tmp_path / "out" / ".tagging" / "plan.json").read_text())
    assert plan["dataset"]["id"] == "ada/tones"
    assert plan["dataset"]["revision"] == commit
    card = (tmp_path / "out" / "README.md").read_text()
    assert commit in card
    assert "license: cc-by-nc-4.0" in card
    # What is kept of it is its card, and no recording.
    kept = [file for file in Path(hub_environment["HF_HOME"]).rglob("*") if file.is_file()]
    contents = [file.read_bytes() for file in kept]
    assert not any(b"PAR1" in content or b"RIFF" in content for content in contents)
    local = CliRunner().invoke(
        app, ["tag", str(model_folder), str(dataset_folder), *options, "--output-dir", str(tmp_path / "local")]
    )
    assert local.exit_code == 0, local.output
    for file in (tmp_path / "local" / "data").iterdir():
        found = datasets.Dataset.from_parquet(str(tmp_path / "out" / "data" / file.name), keep_in_memory=True)
        expected = datasets.Dataset.from_parquet(str(file), keep_in_memory=True)
        assert (
            found.remove_columns(["nvv_score", "nvv_scores"]).to_list()
            == expected.remove_columns(["nvv_score", "nvv_scores"]).to_list()
        )
        assert list(found["nvv_score"]) == pytest.approx(list(expected["nvv_score"]), abs=1e-6)
