import numpy as np
import pytest
from typer.testing import CliRunner

from nvv.audio import encode_wav
from nvv.cli import app
from nvv.hub.dataset_repository import prepare_corpus


def run(*arguments):
    return CliRunner().invoke(app, ["push-dataset", *(str(argument) for argument in arguments)])


@pytest.fixture
def deeply(tmp_path):
    """A prepared corpus that may be public."""
    return prepare(tmp_path, "nonverbal_vocalization", "dataset/coughing/AB{:02d}_4_1_0_20_0_0_0.wav")


@pytest.fixture
def cnvve(tmp_path):
    """A prepared corpus that may not."""
    return prepare(tmp_path, "cnvve", "cleaned/ahem/ahem_{:02d}_0.wav")


def prepare(folder, corpus, name):
    for number in range(6):
        path = folder / "raw" / name.format(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_wav(np.full(100, 0.1 * (number + 1))))
    return prepare_corpus(corpus, data_dir=folder / "raw", output_dir=folder / corpus).output_dir


def test_private_push_says_what_one_takes_on_and_where_the_files_are(cnvve, hub):
    result = run(cnvve, "lab/cnvve")
    assert result.exit_code == 0, result.output
    repository = hub.dataset("lab/cnvve")
    assert repository.private
    assert "Do not make the repository public. The licence of the recordings was not seen" in result.output
    last = result.stdout.splitlines()[-1]
    num_files = len(repository.files()) - 1  # without the Hub's own .gitattributes
    assert last.startswith(f"{num_files} files (0.")
    assert last.endswith(f"at {hub.url}/datasets/lab/cnvve, commit {repository.resolve('main')[:12]} (private)")


def test_forbidden_public_push_asks_the_hub_nothing(cnvve, hub):
    before = (cnvve / "README.md").read_bytes()
    result = run(cnvve, "ada/cnvve", "--public")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("nvv push-dataset: CNVVE (Non-verbal Voice Expressions) may not be made public: ")
    assert "Allowed instead: a private repository" in result.stderr
    assert result.stdout == ""
    assert hub.log == []
    assert (cnvve / "README.md").read_bytes() == before


def test_public_push_is_public_and_says_the_conditions(deeply, hub):
    result = run(deeply, "sounds", "--public", "--revision", "v1")
    assert result.exit_code == 0, result.output
    assert not hub.dataset("ada/sounds").private
    assert "README.md" in hub.dataset("ada/sounds").files("v1")
    assert "Only unchanged copies may be handed on" in result.output
    assert result.stdout.splitlines()[-1].endswith("(public)")


def test_wrong_token_is_one_line(deeply, hub):
    result = run(deeply, "ada/sounds", "--token", "hf_wrong")
    assert result.exit_code == 1
    assert "nvv push-dataset: The upload of" in result.stderr
    assert result.stderr.count("\n") == 1
    assert hub.repositories == {}


def test_folder_that_is_none_is_one_line(tmp_path, hub):
    result = run(tmp_path, "ada/sounds")
    assert result.exit_code == 1
    assert "README.md: no such file; a dataset needs a card" in result.stderr
    assert hub.log == []
