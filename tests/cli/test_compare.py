import json

import numpy as np
import pytest
from typer.testing import CliRunner

from nvv.cli import app
from nvv.training.comparison import compare_runs, comparison_table
from nvv.training.predictions import SplitPredictions, write_predictions


def run(*arguments):
    return CliRunner().invoke(app, ["compare", *(str(argument) for argument in arguments)])


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    """Two runs, good and bad, of forty clips by eight speakers."""
    monkeypatch.chdir(tmp_path)
    references = np.arange(40) % 2
    for name, right in (("good", 0.9), ("bad", 0.5)):
        probability = np.where(np.random.default_rng(1).random(40) < right, 0.8, 0.2)
        answers = SplitPredictions(
            split="test",
            files=[f"{index}.wav" for index in range(40)],
            references=references,
            probabilities=np.stack(
                [np.where(references == label, probability, 1 - probability) for label in (0, 1)], 1
            ),
            speaker_ids=[f"S{index // 5}" for index in range(40)],
        )
        write_predictions(tmp_path / name / "predictions.csv", [answers], label_names=["laugh", "sigh"])


def test_table_and_json_hold_the_comparison(tmp_path):
    result = run("good", "bad", "--json", "out/comparison.json")
    assert result.exit_code == 0, result.output
    compared = compare_runs("good", "bad")
    assert result.stdout == comparison_table(compared) + "\n"
    assert json.loads((tmp_path / "out" / "comparison.json").read_text()) == compared


def test_options_change_what_is_compared():
    by_clip, by_speaker = run("good", "bad").stdout, run("good", "bad", "--unit", "speaker").stdout
    assert "paired bootstrap by clip, 10,000 resamples" in by_clip
    assert "paired bootstrap by speaker" in by_speaker
    assert by_clip.splitlines()[-1] != by_speaker.splitlines()[-1]
    assert "100 resamples" in run("good", "bad", "--num-resamples", 100).stdout


def test_task_is_compared_when_named(tmp_path):
    (tmp_path / "good" / "predictions.csv").rename(tmp_path / "good" / "predictions_type.csv")
    refused = run("good", "bad")
    assert refused.exit_code == 1
    assert "good: the run has several tasks: type. Name one of them" in refused.stderr
    assert "test, task type, 40 clips" in run("good", "bad", "--task", "type").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["good", "worse"], "nvv compare: worse/predictions.csv: no such file"),
        (["good", "bad", "--split", "validation"], "expected the split 'validation', found test"),
        (["good", "bad", "--unit", "day"], "unit: expected clip or speaker, found 'day'"),
    ],
)
def test_what_cannot_be_compared_is_one_line(arguments, message):
    result = run(*arguments)
    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
