from __future__ import annotations

import audmetric
import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from nvv.configuration_nvv import NvvConfig
from nvv.training.arguments import NvvTrainingArguments
from nvv.training.scores import selection_metric, task_scores

REGRESSION = {"name": "two", "kind": "regression", "outputs": ["valence", "arousal"], "loss": "ccc"}
TYPE = {"name": "type", "kind": "classification", "outputs": ["cry", "gasp", "laugh"], "loss": "cross_entropy"}


@pytest.fixture
def outputs():
    """Outputs and label columns of 40 clips: two targets, then a class."""
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(40, 5)).astype(np.float32)
    labels = np.column_stack([generator.normal(size=(40, 2)), generator.integers(3, size=40)]).astype(np.float32)
    return logits, labels


def test_classes_are_scored_as_scikit_learn_does_and_chosen_by_macro_f1(outputs):
    config = NvvConfig(num_labels=3)
    logits, labels = outputs[0][:, :3], outputs[1][:, 2].astype(np.int64)
    scores = task_scores(config, logits, labels)
    assert scores["macro_f1"] == pytest.approx(f1_score(labels, logits.argmax(1), average="macro"))
    assert selection_metric(config) == "macro_f1"


def test_several_tasks_are_scored_by_name_and_chosen_by_the_mean_of_ccc_and_uar(outputs):
    config = NvvConfig(tasks=[REGRESSION, TYPE])
    logits, labels = outputs
    labels[3, 0] = labels[5, 2] = np.nan
    scores = task_scores(config, logits, labels)
    known = ~np.isnan(labels)
    ccc = np.mean(
        [
            audmetric.concordance_cc(labels[known[:, target], target], logits[known[:, target], target])
            for target in (0, 1)
        ]
    )
    uar = balanced_accuracy_score(labels[known[:, 2], 2], logits[known[:, 2], 2:].argmax(1))
    assert scores["two_ccc"] == pytest.approx(ccc, abs=1e-6)
    assert scores["type_uar"] == pytest.approx(uar)
    assert scores["mean_score"] == pytest.approx((ccc + uar) / 2, abs=1e-6)
    assert selection_metric(config) == "mean_score"


def test_a_task_has_no_score_when_a_split_has_no_reference_for_it(outputs):
    logits, labels = outputs
    labels[:, :2] = np.nan
    scores = task_scores(NvvConfig(tasks=[REGRESSION, TYPE]), logits, labels)
    assert "two_ccc" not in scores
    assert scores["mean_score"] == scores["type_uar"]
    labels[:, 2] = np.nan
    assert task_scores(NvvConfig(tasks=[REGRESSION, TYPE]), logits, labels) == {}


def test_one_regression_is_scored_by_plain_names_and_chosen_by_ccc(outputs):
    config = NvvConfig(tasks=[REGRESSION])
    scores = task_scores(config, outputs[0][:, :2], outputs[1][:, :2])
    assert set(scores) == {"ccc", "pearson", "mae"}
    assert selection_metric(config) == "ccc"


@pytest.mark.parametrize(
    ("metric", "greater_is_better"), [("ccc", True), ("mae", False), ("two_mae", False), ("loss", False)]
)
def test_errors_are_better_when_smaller(tmp_path, metric, greater_is_better):
    arguments = NvvTrainingArguments(output_dir=str(tmp_path), metric_for_best_model=metric)
    assert arguments.greater_is_better is greater_is_better
