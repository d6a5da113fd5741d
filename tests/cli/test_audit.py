import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from nvv.audio import encode_wav
from nvv.cli import app
from nvv.data.synthesis import synthesize
from nvv.hub.dataset_repository import prepare_corpus
from nvv.hub.push_dataset import check_dataset, push_dataset


def run(*arguments):
    return CliRunner().invoke(app, ["audit", *(str(argument) for argument in arguments)])


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def corpus(tmp_path):
    """A folder of audio in two splits, as `datasets` reads it, with a table of labels and speakers."""
    folder = tmp_path / "corpora" / "voices"
    for number, split in enumerate(("train", "train", "test", "test")):
        (folder / split).mkdir(parents=True, exist_ok=True)
        (folder / split / f"{number}.wav").write_bytes(encode_wav(synthesize("laugh", number)))
    for split, rows in (("train", "0.wav,a,v0\n1.wav,b,v1\n"), ("test", "2.wav,a,v2\n3.wav,b,v3\n")):
        (folder / split / "metadata.csv").write_text("file_name,kind,who\n" + rows)
    return folder


OPTIONS = ("--label-column", "kind", "--speaker-column", "who")


def test_report_is_written_below_audit_and_the_status_is_0_when_nothing_leaks(corpus, tmp_path):
    result = run(corpus, *OPTIONS)
    assert result.exit_code == 0, result.output
    assert "(2 train, 2 test): no leak found" in result.output
    assert "Report: audit/voices/report.md" in result.output
    assert {path.name for path in (tmp_path / "audit" / "voices").iterdir()} == {
        "report.md", "report.json", "report.png",
    }  # fmt: skip
    config = json.loads((tmp_path / "audit/voices/report.json").read_text())["configs"]["default"]
    assert config["splits"]["train"]["labels"] == {"a": 1, "b": 1}
    assert config["splits"]["train"]["num_speakers"] == 2


def test_status_is_1_when_a_split_leaks(corpus, tmp_path):
    (corpus / "test" / "metadata.csv").write_text("file_name,kind,who\n2.wav,a,v0\n3.wav,b,v3\n")
    result = run(corpus, *OPTIONS, "--output-dir", "elsewhere", "--num-workers", 1)
    assert result.exit_code == 1, result.output
    assert "LEAK: speakers in more than one split (1)" in result.output
    assert (tmp_path / "elsewhere" / "report.md").is_file()


def test_column_options_change_what_is_checked(corpus):
    result = run(corpus)
    assert result.exit_code == 0
    assert "speakers unknown (1)" in result.output
    assert "speakers unknown" not in run(corpus, *OPTIONS).output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["/no/such/folder"], "nvv audit: /no/such/folder: no such folder"),
        (["corpora/voices", "--config", "other"], "corpora/voices: has no configs; leave out --config other"),
        (["corpora/voices", "--audio-column", "sound"], "no column 'sound'; found audio, file_name, kind, who"),
        (["corpora/voices", "--num-workers", "0"], "num-workers"),
        ([], "Missing argument"),
    ],
)
def test_status_is_2_when_it_cannot_be_audited(corpus, tmp_path, arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert not (tmp_path / "audit").exists()


def test_dataset_on_the_hub_is_audited_by_its_id(hub, hub_environment, tmp_path):
    raw = tmp_path / "raw"
    for number in range(24):
        code, label = ((4, "coughing"), (12, "laughing"))[number % 2]
        path = raw / "dataset" / label / f"AB{number // 4:02d}_{code}_{number}_0_20_0_0_0.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_wav(synthesize("cough" if code == 4 else "laugh", number)))
    prepare_corpus("nonverbal_vocalization", data_dir=raw, output_dir=tmp_path / "prepared")
    push_dataset(check_dataset(tmp_path / "prepared"), "ada/voices")
    # A fresh process with an empty cache: all it knows is the id.
    command = [sys.executable, "-c", "from nvv.cli import main; main()", "audit", "ada/voices"]
    options = ["--config", "speaker", "--config", "stratified"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, env=hub_environment, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    content = json.loads((tmp_path / "audit" / "voices" / "report.json").read_text())
    assert content["num_clips"] == 24
    assert {name: config["leaks"] for name, config in content["configs"].items()} == {
        "speaker": False,
        "stratified": True,
    }
