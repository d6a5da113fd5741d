"""Whole runs on numbers and on several tasks, on a computed tree in Hume-VB's layout."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from nvv.data.synthetic_hume_vb import write_synthetic_hume_vb
from nvv.modeling_nvv import NvvForAudioClassification
from nvv.training.arguments import ArgumentsError
from nvv.training.config_files import parse_arguments
from nvv.training.results import read_metrics
from nvv.training.run import train

TWO = '{"two": {"targets": ["Valence", "Arousal"]}, "type": {"label": "label", "loss": "focal"}}'


@pytest.fixture
def hume_command(backbone_folder, tmp_path):
    """Make the command line of a small run on a computed tree: 24 clips to train on, 12 each to validate and test."""

    def make(*options: str, **tree: object) -> list[str]:
        folder = tmp_path / "hume"
        if not folder.exists():
            write_synthetic_hume_vb(folder, num_clips=(24, 12, 12), **tree)
        return [
            *("--corpus", "hume_vb", "--data_dir", str(folder), "--data_cache_dir", str(tmp_path / "cache")),
            *("--backbone", str(backbone_folder), "--max_seconds", "2", "--projection_size", "16"),
            *("--method", "full", "--learning_rate", "1e-3", "--num_train_epochs", "2"),
            *("--per_device_train_batch_size", "8", "--gradient_accumulation_steps", "1"),
            *("--per_device_eval_batch_size", "4", "--num_bootstrap_resamples", "20", "--disable_tqdm", "true"),
            *("--report_to", "none", "--seed", "1", "--output_dir", str(tmp_path / "run"), *options),
        ]

    return make


def test_regression_run_writes_scores_of_every_target(hume_command):
    command = hume_command("--split_protocol", "two", "--target_columns", "Valence", "Arousal")
    result = train(parse_arguments(command))
    metrics = read_metrics(result.output_dir / "metrics.json")
    assert metrics["corpus"]["is_synthetic"] is True
    assert metrics["training"]["selection_metric"] == "ccc"
    test = metrics["splits"]["test"]
    assert set(test["scores"]) == {"ccc", "pearson", "mae"}
    assert set(test["per_target"]) == {"Valence", "Arousal"}
    with (result.output_dir / "predictions.csv").open(newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["split"] == "test"]
    assert len(rows) == 12
    error = np.mean([abs(float(row["reference_Arousal"]) - float(row["prediction_Arousal"])) for row in rows])
    assert test["per_target"]["Arousal"]["mae"]["value"] == pytest.approx(error, abs=1e-6)
    assert (result.output_dir / "regression.png").stat().st_size > 0
    model = NvvForAudioClassification.from_pretrained(result.output_dir)
    assert model.config.problem_type == "regression"
    assert list(model.config.label2id) == ["Valence", "Arousal"]
    best = [entry["eval_ccc"] for entry in result.log_history if "eval_ccc" in entry]
    assert metrics["training"]["best_validation_score"] == pytest.approx(max(best))
    assert metrics["splits"]["validation"]["scores"]["ccc"]["value"] == pytest.approx(max(best), abs=1e-6)


def test_joint_run_scores_each_task_and_their_mean_when_values_are_missing(hume_command):
    command = hume_command(
        *("--split_protocol", "joint", "--tasks", TWO, "--task_weighting", "uncertainty"), missing_share=0.2
    )
    result = train(parse_arguments(command))
    validation = result.metrics["splits"]["validation"]
    assert validation["tasks"]["type"]["num_references"] < 12
    main = [validation["tasks"]["two"]["scores"]["ccc"]["value"], validation["tasks"]["type"]["scores"]["uar"]["value"]]
    assert validation["scores"]["mean_score"]["value"] == pytest.approx(np.mean(main))
    assert result.metrics["training"]["selection_metric"] == "mean_score"
    assert {path.name for path in result.output_dir.glob("predictions*.csv")} == {
        "predictions_two.csv",
        "predictions_type.csv",
    }
    model = NvvForAudioClassification.from_pretrained(result.output_dir)
    assert model.head.log_variances.abs().max() > 0  # they were learned
    assert model.config.label2id["type/Laugh"] == 2 + 4  # two targets, then Cry, Gasp, Groan, Grunt before Laugh


def test_run_ends_with_answers_and_no_scores_when_test_targets_are_withheld(hume_command):
    command = hume_command("--split_protocol", "two", "--target_columns", "Arousal", withhold_test=True)
    result = train(parse_arguments(command))
    assert result.metrics["splits"]["test"]["scores"] == {}
    assert result.metrics["splits"]["validation"]["scores"]["ccc"]["value"] is not None
    with (result.output_dir / "predictions.csv").open(newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["split"] == "test"]
    assert {row["reference_Arousal"] for row in rows} == {""}
    assert all(np.isfinite(float(row["prediction_Arousal"])) for row in rows)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--target_columns", "Joy"), "no column 'Joy'"),
        (("--target_columns", "Arousal", "--class_balanced_loss", "true"), "class_balanced_loss: has no effect"),
        (("--target_columns", "Arousal", "--train_sampling_strategy", "class_balanced"), "train_sampling_strategy"),
    ],
)
def test_run_is_refused_when_tasks_and_options_do_not_fit(hume_command, options, named):
    with pytest.raises(ArgumentsError, match=named):
        train(parse_arguments(hume_command("--split_protocol", "two", *options)))
