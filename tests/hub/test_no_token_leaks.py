"""No token is printed or written: the real programs, with every way to give one, while pushes succeed and fail.

Searched are standard output and standard error, log records, every file that the programs wrote (caches and checkpoints
included), and all that arrived on the Hub. What a shell shows of its own command line is not the programs' to hide.
"""

import base64
import importlib.util
import io
import logging
import math
import runpy
import subprocess
import sys
import zipfile
from pathlib import Path

import huggingface_hub
import pytest
import torch
import yaml
from transformers import TrainingArguments
from typer.testing import CliRunner

from nvv.cli import app
from nvv.training.arguments import ArgumentsError
from nvv.training.config_files import parse_arguments

ROOT = Path(__file__).parents[2]
TOKEN = "hf_" + "LeakedQ7x" * 4
QUICK = ("--num_bootstrap_resamples", "10")

_spec = importlib.util.spec_from_file_location("_training_fixtures", ROOT / "tests" / "training" / "conftest.py")
_training = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_training)
make_split, make_corpus = _training.make_split, _training.make_corpus
corpus_folder, backbone_folder = _training.corpus_folder, _training.backbone_folder
command_line = _training.command_line


def holds_token(content):
    """Say whether bytes hold the token, plainly, in base64, or in a member of a ZIP archive (as torch.save writes)."""
    if TOKEN.encode() in content or base64.b64encode(TOKEN.encode()).rstrip(b"=") in content:
        return True
    if not content.startswith(b"PK"):
        return False
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return any(holds_token(archive.read(name)) for name in archive.namelist())


@pytest.fixture
def assert_nowhere(hub, tmp_path, caplog):
    """The function that searches folders, the cache, the Hub, all log records and the outputs given to it."""
    caplog.set_level(logging.DEBUG)

    def search(*outputs, but=()):
        folders = [tmp_path, Path(huggingface_hub.constants.HF_HUB_CACHE)]
        files = [path for folder in folders for path in folder.rglob("*") if path.is_file() and path not in but]
        assert files
        assert [str(path) for path in files if holds_token(path.read_bytes())] == []
        assert [str(path) for folder in folders for path in folder.rglob("*") if TOKEN in path.name] == []
        for repository in hub.repositories.values():
            for commit, contents in repository.commits.items():
                assert [path for path, file in contents.items() if holds_token(file.content)] == []
                assert TOKEN not in str((repository.messages[commit], repository.details[commit]))
        assert [oid for oid, content in hub.large_files.items() if holds_token(content)] == []
        assert not any(TOKEN in entry.path for entry in hub.log)
        for text in (*outputs, caplog.text):
            assert TOKEN not in text

    return search


@pytest.fixture(params=["option", "environment"])
def token_words(request, monkeypatch):
    """The function that gives the words of a command line that pass the token, if it is not in the environment."""
    if request.param == "environment":
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        return lambda option: []
    monkeypatch.delenv("HF_TOKEN")
    return lambda option: [option, TOKEN]


FAILURES = {
    "none": None,
    "token unknown": 401,
    "token may only read": 403,
    "server fails": 500,
    "connection drops": None,
}


@pytest.fixture(params=FAILURES)
def failure(request, hub):
    """A Hub that refuses ada's pushes in one way; or in none."""
    name = request.param
    hub.accounts = {"hf_bob": hub.accounts["hf_bob"]}
    if name != "token unknown":
        hub.accounts[TOKEN] = {"name": "ada", "orgs": ["lab"], "role": "read" if "read" in name else "write"}
    if name == "connection drops" or (FAILURES[name] or 0) >= 429:
        for method, pattern in (("POST", "/commit/"), ("PUT", "large-files")):
            hub.fail_next(method, pattern, times=math.inf, status=FAILURES[name])
    return name


@pytest.fixture
def run_recipe(monkeypatch, tmp_path, capfd):
    """The function that runs a recipe in this process and returns its status and what it wrote to both streams."""
    monkeypatch.chdir(tmp_path)

    def start(recipe, *words):
        monkeypatch.setattr(sys, "argv", [f"{recipe}.py", *map(str, words)])
        status = 0
        try:
            runpy.run_path(str(ROOT / "recipes" / f"{recipe}.py"), run_name="__main__")
        except SystemExit as end:
            status = end.code or 0
        captured = capfd.readouterr()
        return status, f"{status}\n{captured.out}{captured.err}"

    return start


def test_search_finds_a_token_wherever_it_could_be(tmp_path):
    (tmp_path / "plain.txt").write_text(f"token: {TOKEN}\n")
    torch.save(TrainingArguments(output_dir=str(tmp_path), hub_token=TOKEN), tmp_path / "training_args.bin")
    with zipfile.ZipFile(tmp_path / "packed.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner.txt", TOKEN)
    (tmp_path / "header.txt").write_bytes(base64.b64encode(TOKEN.encode()))
    files = [path for path in tmp_path.iterdir() if path.is_file()]
    assert len(files) == 4
    assert all(holds_token(path.read_bytes()) for path in files)
    assert not holds_token(b"hf_ada")


@pytest.mark.parametrize(
    "text",
    [
        f"hub_token: {TOKEN}: x",
        f"hub_token: [{TOKEN}]",
        f"hub_token: {{{TOKEN}: 1}}",
        f"hub_tokens: {TOKEN}",
        f"hub_token:{TOKEN}",
        f"hub_token: '{TOKEN}",
        f"hub_token: {TOKEN}\t\nseed: [",
    ],
)
def test_settings_file_with_a_mistake_is_not_quoted_where_it_holds_the_token(text, tmp_path):
    file = tmp_path / "secrets.yaml"
    file.write_text(text + "\n")
    with pytest.raises(ArgumentsError) as caught:
        parse_arguments([str(file)])
    assert str(file) in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_option_with_a_mistake_is_not_shown_with_its_value():
    with pytest.raises(ArgumentsError, match="Did you mean 'hub_token'") as caught:
        parse_arguments(["--hub_tokn", TOKEN])
    assert TOKEN not in str(caught.value)


def test_push_of_a_run_shows_no_token(make_run, failure, token_words, assert_nowhere, caplog):
    result = CliRunner().invoke(app, ["push", str(make_run()), "ada/laughs", *token_words("--token")])
    assert (result.exit_code == 0) == (failure == "none"), result.output
    assert result.exit_code == 0 or "nvv push" in result.stderr
    assert_nowhere(result.output, result.stderr)


def test_push_of_a_dataset_shows_no_token(make_folder, failure, token_words, assert_nowhere):
    folder = make_folder("synthetic")
    result = CliRunner().invoke(app, ["push-dataset", str(folder), "ada/sounds", *token_words("--token")])
    assert (result.exit_code == 0) == (failure == "none"), result.output
    assert_nowhere(result.output, result.stderr)


@pytest.mark.parametrize("failure", ["none", "token may only read", "server fails"], indirect=True)
@pytest.mark.slow
def test_training_shows_no_token(run_recipe, command_line, failure, token_words, assert_nowhere, tmp_path):
    words = command_line("--max_steps", "2", "--eval_strategy", "steps", "--save_strategy", "steps", "--eval_steps",
                         "2", "--save_steps", "2", "--log_level", "debug")  # fmt: skip
    to = ("--push_to_hub", "true", "--hub_model_id", "ada/tones", "--hub_private_repo", "true")
    status, output = run_recipe("train", *words, *to, *token_words("--hub_token"))
    assert (status == 0) == (failure == "none"), output
    assert list(tmp_path.glob("run/checkpoint-*/training_args.bin"))
    assert (tmp_path / "run" / "config_resolved.yaml").is_file()
    assert_nowhere(output)


@pytest.mark.slow
def test_no_recipe_writes_the_token_of_its_settings_file(
    run_recipe, command_line, corpus_folder, hub, assert_nowhere, tmp_path, monkeypatch
):
    monkeypatch.delenv("HF_TOKEN")
    hub.accounts = {TOKEN: {"name": "ada", "orgs": ["lab"]}}
    secrets = tmp_path / "secrets.yaml"
    secrets.write_text(yaml.safe_dump({"push_to_hub": True, "hub_token": TOKEN}))
    grid = {
        "name": "guesses",
        "common": {"corpus": str(corpus_folder), "num_bootstrap_resamples": 10},
        "blocks": [{"recipe": "baseline", "classifier": "random", "seed": [1, 2]}],
    }
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(grid))
    data = ("--corpus", corpus_folder, "--data_cache_dir", "cache", *QUICK)
    results = ("--hub_dataset_id", "lab/results")
    fast = ("--features", "duration", "--classifiers", "logistic_regression", "--features_cache_dir", "features")
    runs = {
        "train": (*command_line("--num_train_epochs", "1"), "--hub_model_id", "ada/tones"),
        "detect": ("--model", "run", "--label", "laugh", *data),
        "evaluate": ("--model", "run", *data),
        "embeddings": ("--model", "run", "--projection", "pca", *data, *results),
        "baselines": (*fast, *data, *results),
    }
    outputs = []
    for recipe, words in runs.items():
        status, output = run_recipe(recipe, secrets, *words)
        assert status == 0, output
        outputs.append(output)
    sweep = ("grid.yaml", "--data_cache_dir", "cache", *results, "--push_to_hub", "true", "--hub_token", TOKEN)
    status, output = run_recipe("sweep", *sweep)
    assert status == 0, output
    outputs.append(output)
    assert len(hub.model("ada/tones").commits) == 4
    assert len(hub.dataset("lab/results").commits) == 4
    assert_nowhere(*outputs, but=[secrets])

    hub.accounts = {}  # the token was revoked
    for recipe in ("evaluate", "detect", "baselines"):
        status, output = run_recipe(recipe, secrets, *runs[recipe], "--overwrite_output_dir", "true")
        assert status != 0
        outputs.append(output)
    assert_nowhere(*outputs, but=[secrets])


@pytest.mark.slow
def test_processes_of_their_own_show_no_token(command_line, hub, hub_environment, assert_nowhere, tmp_path):
    hub.accounts = {TOKEN: {"name": "ada", "orgs": ["lab"]}}
    home = tmp_path / "home"
    environment = {**hub_environment, "HF_TOKEN": TOKEN, "HF_HOME": str(home), "OMP_NUM_THREADS": "1", "HF_DEBUG": "1"}
    to = ("--push_to_hub", "true", "--hub_model_id", "lab/tones", "--hub_private_repo", "true")
    train = [sys.executable, str(ROOT / "recipes" / "train.py"), *command_line("--num_train_epochs", "1"), *to]
    refused = [str(Path(sys.executable).with_name("nvv")), "push", str(tmp_path / "run"), "bob/tones"]
    done = [
        subprocess.run(words, capture_output=True, text=True, env=environment, cwd=tmp_path)
        for words in (train, refused)
    ]
    assert done[0].returncode == 0, done[0].stderr
    assert len(hub.model("lab/tones").commits) == 2
    assert done[1].returncode != 0
    assert "nvv push: " in done[1].stderr
    assert "Send: curl" in done[1].stderr  # HF_DEBUG, with which the client prints its requests
    assert_nowhere(*(stream for process in done for stream in (process.stdout, process.stderr)))
