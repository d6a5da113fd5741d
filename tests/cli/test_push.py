"""`nvv push` with the real client and a Hub on localhost, in this process and, where it matters, as it is installed."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nvv.cli import app

NVV = Path(sys.executable).with_name("nvv")


@pytest.fixture
def push(hub, tmp_path, monkeypatch):
    """Run the command in this process; returns exit status, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        result = CliRunner().invoke(app, ["push", *map(str, words)])
        return result.exit_code, result.stdout, result.stderr

    return run


@pytest.fixture
def installed_push(hub_environment, tmp_path):
    """Run the installed command in a process of its own, likewise."""

    def run(*words, **environment):
        done = subprocess.run(
            [NVV, "push", *map(str, words)],
            env={**hub_environment, "OMP_NUM_THREADS": "1", **environment},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
        )
        return done.returncode, done.stdout, done.stderr

    return run


def test_help_has_the_examples_and_every_option(push):
    status, text, _ = push("--help")
    assert status == 0
    for word in ("nvv push runs/", "--results", "--public", "--private", "--revision", "--message", "--dataset-id"):
        assert word in text


@pytest.mark.slow
def test_run_is_pushed_and_only_the_result_is_on_standard_output(installed_push, make_run, hub):
    folder = make_run()
    status, text, errors = installed_push(
        *(folder, "lab/laughs", "--revision", "v1", "--message", "First", "--dataset-id", "lab/vivae"),
        *("--token", "hf_ada"),
        HF_TOKEN="",
    )
    assert status == 0, errors
    repository = hub.model("lab/laughs")
    commit = repository.resolve("v1")
    assert text == f"{len(repository.files('v1')) - 1} files at {hub.url}/lab/laughs, commit {commit[:12]} (private)\n"
    assert repository.private
    assert repository.messages[commit] == "First"
    assert b"- lab/vivae\n" in repository.files("v1")["README.md"]
    # No token anywhere: not said, not in the folder, not on the Hub; and no progress bar in a log.
    written = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    for content in (text.encode(), errors.encode(), *written, *repository.files("v1").values()):
        assert b"hf_ada" not in content
    assert "%|" not in errors


def test_public_push_leaves_names_of_clips_out_and_says_so(push, make_run, hub):
    status, text, errors = push(make_run(corpus="cnvve"), "laughs", "--public")
    assert status == 0, errors
    assert text.endswith("(public)\n")
    assert "predictions.csv: not uploaded, because the repository is public" in errors
    assert "predictions.csv" not in hub.model("ada/laughs").files()


def test_report_is_pushed_beside_its_model_and_among_results(push, make_run, hub, tmp_path):
    assert push(make_run(), "ada/laughs")[0] == 0
    report = tmp_path / "evaluate_laughs"
    report.mkdir()
    metrics = {
        "evaluation": {"model": {"id": "ada/laughs"}},
        "corpus": {"name": "vivae", "config": "speaker"},
        "backbone": {"random_init": False},
        "splits": {},
    }
    (report / "metrics.json").write_text(json.dumps(metrics))
    status, text, errors = push(report, "ada/laughs")
    assert status == 0, errors
    assert "/ada/laughs/tree/main/evaluations/evaluate_laughs, commit" in text
    assert "evaluations/evaluate_laughs/metrics.json" in hub.model("ada/laughs").files()
    status, text, errors = push(report, "results", "--results", "--public")
    assert status == 0, errors
    assert text.endswith("(public)\n")
    assert "evaluate_laughs/scores.parquet" in hub.dataset("ada/results").files()
    for option in (("--public",), ("--private",), ("--dataset-id", "a/b")):
        status, text, errors = push(report, "ada/laughs", *option)
        assert (status, text) == (2, "")
        assert "has no effect on a" in errors


@pytest.mark.slow
def test_failure_is_one_line_that_says_how_to_go_on(installed_push, push, make_run, hub):
    folder = make_run()
    hub.fail_next("POST", "/commit/", times=math.inf, status=403)
    status, text, errors = installed_push(folder, "ada/laughs")
    assert (status, text) == (2, "")
    (line,) = errors.splitlines()
    assert line.startswith(f"nvv push: The upload of {folder} to ada/laughs failed (HfHubHTTPError: ")
    assert line.endswith(f"The run in {folder} is complete; push it later with: nvv push {folder} ada/laughs")
    hub.clear_failures()
    assert push(folder, "ada/laughs")[0] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("none", "ada/laughs"), "none: no such folder"),
        ((".", "ada/laughs"), "no finished run, for it has no config.json"),
        (("run", "a/b/c"), "Repo id must be"),
        (("run", "ada/laughs", "--token", "hf_wrong"), "Invalid"),
        (("run", "elsewhere/laughs"), "403"),
        (("run",), "Missing argument"),
        (("run", "ada/laughs", "--results"), "no report"),
    ],
)
def test_bad_input_is_one_message_without_a_traceback(words, message, push, make_run, hub):
    make_run()
    status, text, errors = push(*words)
    assert (status, text) == (2, "")
    assert message in errors
    assert "Traceback" not in errors
    assert "hf_wrong" not in errors
    assert hub.repositories == {}
