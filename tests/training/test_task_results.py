import csv
import dataclasses
import json

import matplotlib.image
import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from transformers import WhisperConfig

from nvv.configuration_nvv import NvvConfig
from nvv.metrics import JointTask, joint_mean_interval, regression_scores, regression_scores_with_intervals
from nvv.training.answers import RegressionPredictions, SplitPredictions
from nvv.training.metrics_file import read_metrics, write_metrics
from nvv.training.results import ResultsError, RunFacts, build_metrics, comparable_metrics
from nvv.training.task_results import (
    build_task_metrics,
    read_task_predictions,
    task_answers,
    task_file,
    write_task_plots,
    write_task_predictions,
)

TARGETS = ["Awe", "Fear"]
CLASSES = ["cry", "gasp", "laugh"]
REGRESSION = {"name": "high", "kind": "regression", "outputs": TARGETS}
CLASSIFICATION = {"name": "type", "kind": "classification", "outputs": CLASSES}


def make_config(*tasks, **fields):
    return NvvConfig(backbone_config=WhisperConfig(), tasks=list(tasks) or None, **fields)


@pytest.fixture
def facts():
    return RunFacts(
        corpus={"name": "bursts", "is_synthetic": True},
        corpus_config="joint",
        backbone_id="openai/whisper-tiny",
        random_init=True,
        method="frozen",
        total_parameters=100,
        trainable_parameters=10,
        seed=0,
        device="cpu",
        selection_metric="mean_score",
    )


def make_outputs(size, *, seed):
    """Logits (clips, 5) and labels (clips, 3) of two targets and three classes."""
    generator = np.random.default_rng(seed)
    targets, classes = generator.random((size, 2)), generator.integers(0, 3, size)
    scores = generator.normal(size=(size, 3))
    scores[np.arange(size), classes] += 1
    logits = np.concatenate([targets + 0.3 * generator.normal(size=(size, 2)), scores], axis=1)
    return logits.astype(np.float32), np.concatenate([targets, classes[:, None]], axis=1).astype(np.float32)


def answer(config, split, logits, labels, *, speakers=True):
    return task_answers(
        config,
        split,
        logits,
        files=[f"{split}/{index}.wav" for index in range(len(logits))],
        labels=labels,
        speaker_ids=[f"S{index // 4}" for index in range(len(logits))] if speakers else None,
    )


@pytest.fixture
def joint():
    """A config with both tasks, and its answers on 24 clips to validate and 40 to test, a few values missing."""
    config = make_config(REGRESSION, CLASSIFICATION)
    validation, test = make_outputs(24, seed=0), make_outputs(40, seed=1)
    test[1][:5, 1] = np.nan
    test[1][3:10, 2] = np.nan
    return config, [answer(config, "validation", *validation), answer(config, "test", *test)]


def test_answers_take_the_outputs_apart_by_task():
    config = make_config(REGRESSION, CLASSIFICATION)
    logits, labels = make_outputs(6, seed=0)
    labels[1, 0] = labels[2, 2] = np.nan
    answers = answer(config, "test", logits, labels)
    assert list(answers) == ["high", "type"]
    np.testing.assert_array_equal(answers["high"].predictions, logits[:, :2])
    np.testing.assert_array_equal(answers["high"].references, labels[:, :2])
    assert answers["high"].target_names == ("Awe", "Fear")
    np.testing.assert_array_equal(answers["type"].predictions, logits[:, 2:].argmax(axis=1))
    expected = labels[:, 2].copy()
    expected[2] = -1
    np.testing.assert_array_equal(answers["type"].references, expected)
    assert answers["type"].files == answers["high"].files
    assert answers["type"].speaker_ids == ["S0"] * 4 + ["S1"] * 2


def test_outputs_and_label_columns_are_counted_apart_when_a_classification_comes_first():
    # Three outputs but one label column of the first task: the targets are outputs 3 and 4, and label columns 1 and 2.
    config = make_config(CLASSIFICATION, REGRESSION)
    logits = np.arange(10, dtype=np.float32).reshape(2, 5)
    answers = answer(config, "test", logits, np.array([[2, 0.25, 0.5], [0, 0.75, 1.0]]))
    np.testing.assert_array_equal(answers["high"].predictions, [[3, 4], [8, 9]])
    np.testing.assert_array_equal(answers["high"].references, [[0.25, 0.5], [0.75, 1.0]])
    np.testing.assert_array_equal(answers["type"].references, [2, 0])


def test_answers_of_a_plain_classifier_are_its_softmax():
    config = make_config(num_labels=3)
    logits = np.random.default_rng(0).normal(size=(4, 3))
    answers = answer(config, "test", logits, np.array([0, 2, -100, 1]))
    expected = SplitPredictions.from_logits("test", logits, files=answers["label"].files, references=[0, 2, -1, 1])
    np.testing.assert_array_equal(answers["label"].probabilities, expected.probabilities)
    np.testing.assert_array_equal(answers["label"].references, expected.references)


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [((6, 4), (6, 3), r"expected logits \(clips, 5\), found shape"), ((6, 5), (6, 2), r"expected labels \(clips, 3\)")],
)
def test_outputs_of_another_width_are_refused(logits, labels, message):
    with pytest.raises(ResultsError, match=message):
        answer(make_config(REGRESSION, CLASSIFICATION), "test", np.zeros(logits), np.zeros(labels))


def test_plain_classifier_has_exactly_the_metrics_of_build_metrics(facts):
    config = make_config(id2label=dict(enumerate(CLASSES)), label2id={name: at for at, name in enumerate(CLASSES)})
    logits, labels = make_outputs(30, seed=0)
    answers = [answer(config, "test", logits[:, 2:], labels[:, 2].astype(int))]
    expected = build_metrics([answers[0]["label"]], facts, label_names=CLASSES, num_resamples=50)
    assert json.dumps(build_task_metrics(answers, facts, config=config, num_resamples=50)) == json.dumps(expected)


def test_regression_alone_is_scored_by_target_with_both_intervals(facts):
    config = make_config(REGRESSION)
    logits, labels = make_outputs(40, seed=1)
    labels[:5, 1] = np.nan
    answers = answer(config, "test", logits[:, :2], labels[:, :2])
    metrics = build_task_metrics([answers], facts, config=config, num_resamples=200)
    assert metrics["labels"] == []
    assert metrics["tasks"] == [
        {"name": "high", "kind": "regression", "outputs": TARGETS, "loss": "ccc", "weight": 1.0}
    ]
    test = metrics["splits"]["test"]
    assert (test["num_clips"], test["num_speakers"], test["num_references"]) == (40, 10, 40)
    speakers = answers["high"].speaker_ids
    by_clip, by_speaker = (
        regression_scores_with_intervals(labels[:, :2], logits[:, :2], groups=groups, num_resamples=200)
        for groups in (None, speakers)
    )
    for name in ("ccc", "pearson", "mae"):
        mean, other = by_clip[name]["mean"], by_speaker[name]["mean"]
        assert test["scores"][name] == {**mean, "speaker_low": other["low"], "speaker_high": other["high"]}
        for index, target in enumerate(TARGETS):
            low = test["per_target"][target][name]["low"]
            assert low == by_clip[name]["per_target"][index]["low"]
    fear = test["per_target"]["Fear"]
    pearson = scipy.stats.pearsonr(labels[5:, 1], logits[5:, 1]).statistic
    assert fear["pearson"]["value"] == pytest.approx(pearson, abs=1e-6)
    assert test["num_references_per_target"] == {"Awe": 40, "Fear": 35}
    assert test["interval"]["units"] == ["clip", "speaker"]
    assert test["tasks"]["high"]["scores"] == test["scores"]
    # The best constant is the median: no other number has a smaller mean absolute error.
    errors = [np.abs(column - np.median(column)).mean() for column in (labels[:, 0], labels[5:, 1])]
    assert test["chance"]["constant"] == pytest.approx({"ccc": 0, "pearson": 0, "mae": np.mean(errors)}, abs=1e-6)


def test_interval_unit_speaker_moves_to_low_and_high(joint, facts):
    config, answers = joint
    by_clip = build_task_metrics(answers, facts, config=config, num_resamples=100)
    by_speaker = build_task_metrics(answers, facts, config=config, num_resamples=100, interval_unit="speaker")
    for name, score in by_speaker["splits"]["test"]["scores"].items():
        clip = by_clip["splits"]["test"]["scores"][name]
        assert score["low"] == score["speaker_low"] == clip["speaker_low"]
        assert score["low"] != clip["low"]


def test_several_tasks_are_scored_apart_and_as_a_mean(joint, facts):
    config, answers = joint
    metrics = build_task_metrics(answers, facts, config=config, num_resamples=100)
    assert metrics["labels"] == []
    assert [task["name"] for task in metrics["tasks"]] == ["high", "type"]
    test = metrics["splits"]["test"]
    high, kind = answers[1]["high"], answers[1]["type"]
    ccc = regression_scores(high.references, high.predictions)["ccc"]["mean"]
    known = kind.references >= 0
    uar = sklearn.metrics.balanced_accuracy_score(kind.references[known], kind.predictions[known])
    assert test["scores"]["high_ccc"]["value"] == pytest.approx(ccc)
    assert test["scores"]["type_uar"]["value"] == pytest.approx(uar)
    expected = joint_mean_interval(
        [
            JointTask(references=high.references, predictions=high.predictions),
            JointTask(references=kind.references, predictions=kind.predictions, num_labels=3),
        ],
        num_resamples=100,
    )
    mean = test["scores"]["mean_score"]
    assert mean["value"] == pytest.approx((ccc + uar) / 2)
    assert {name: mean[name] for name in ("value", "low", "high")} == pytest.approx(expected)
    assert mean["speaker_low"] != mean["low"]
    assert (test["tasks"]["high"]["num_references"], test["tasks"]["type"]["num_references"]) == (40, 33)
    confusion = sklearn.metrics.confusion_matrix(kind.references[known], kind.predictions[known], labels=range(3))
    assert test["tasks"]["type"]["confusion_matrix"] == confusion.tolist()
    assert test["tasks"]["type"]["kind"] == "classification"


def test_classification_alone_keeps_the_fields_of_a_plain_one(facts):
    config = make_config(CLASSIFICATION)
    logits, labels = make_outputs(30, seed=0)
    answers = [answer(config, "test", logits[:, 2:], labels[:, 2:])]
    metrics = build_task_metrics(answers, facts, config=config, num_resamples=50)
    plain = build_metrics([answers[0]["type"]], facts, label_names=CLASSES, num_resamples=50)
    assert metrics["labels"] == CLASSES
    test = dict(metrics["splits"]["test"])
    tasks = test.pop("tasks")
    assert test == plain["splits"]["test"]
    assert tasks["type"]["per_class"] == test["per_class"]


def test_task_without_a_reference_has_no_scores_and_no_part_in_the_mean(facts, tmp_path):
    config = make_config(REGRESSION, CLASSIFICATION)
    logits, labels = make_outputs(30, seed=0)
    labels[:, 2] = np.nan
    answers = [answer(config, "test", logits, labels, speakers=False)]
    test = build_task_metrics(answers, facts, config=config, num_resamples=50)["splits"]["test"]
    assert test["tasks"]["type"] == {"kind": "classification", "num_references": 0, "scores": {}}
    assert not any(name.startswith("type_") for name in test["scores"])
    assert test["scores"]["mean_score"]["value"] == pytest.approx(test["scores"]["high_ccc"]["value"])
    labels[:] = np.nan
    answers = [answer(config, "test", logits, labels)]
    metrics = build_task_metrics(answers, facts, config=config, num_resamples=50)
    assert metrics["splits"]["test"]["scores"] == {}
    assert write_task_plots(tmp_path, metrics, answers) == []
    assert read_metrics(write_metrics(tmp_path / "metrics.json", metrics)) == metrics


@pytest.mark.parametrize("task", [REGRESSION, CLASSIFICATION], ids=["regression", "classification"])
def test_split_without_a_reference_of_the_only_task_is_counted_and_not_scored(facts, task):
    config = make_config(task)
    logits, labels = make_outputs(8, seed=0)
    columns = slice(0, 2) if task is REGRESSION else slice(2, 3)
    outputs = slice(0, 2) if task is REGRESSION else slice(2, 5)
    answers = [answer(config, "test", logits[:, outputs], np.full_like(labels[:, columns], np.nan))]
    test = build_task_metrics(answers, facts, config=config, num_resamples=10)["splits"]["test"]
    assert (test["num_clips"], test["num_references"], test["scores"]) == (8, 0, {})


def test_missing_labels_of_a_plain_classifier_are_left_out_of_its_scores(facts):
    config = make_config(num_labels=3)
    logits, labels = make_outputs(30, seed=0)
    classes = labels[:, 2].astype(int)
    classes[4:9] = -100
    answers = [answer(config, "test", logits[:, 2:], classes)]
    test = build_task_metrics(answers, facts, config=config, num_resamples=50)["splits"]["test"]
    assert (test["num_clips"], test["num_references"]) == (30, 25)
    assert np.sum(test["confusion_matrix"]) == 25
    known = classes >= 0
    accuracy = sklearn.metrics.accuracy_score(classes[known], logits[known, 2:].argmax(axis=1))
    assert test["scores"]["accuracy"]["value"] == pytest.approx(accuracy)


def test_answers_without_a_task_are_refused(joint, facts):
    config, answers = joint
    with pytest.raises(ResultsError, match="answers: expected the tasks high, type, found high"):
        build_task_metrics([{"high": answers[0]["high"]}], facts, config=config)


def test_metrics_of_two_equal_runs_are_equal(joint, facts):
    config, answers = joint
    later = dataclasses.replace(facts, timing={"wall_time_s": 9.0})
    first, second = (build_task_metrics(answers, item, config=config, num_resamples=50) for item in (facts, later))
    assert comparable_metrics(first) == comparable_metrics(second)


def test_files_of_several_tasks_carry_their_names_and_read_back(joint, facts, tmp_path):
    config, answers = joint
    metrics = build_task_metrics(answers, facts, config=config, num_resamples=20)
    written = write_task_predictions(tmp_path, answers, config=config)
    assert [path.name for path in written] == ["predictions_high.csv", "predictions_type.csv"]
    again = read_task_predictions(tmp_path, metrics)
    assert [list(of_split) for of_split in again] == [["high", "type"], ["high", "type"]]
    for read, made in zip(again, answers, strict=True):
        np.testing.assert_array_equal(read["high"].predictions, made["high"].predictions)
        np.testing.assert_array_equal(read["high"].references, made["high"].references)
        np.testing.assert_array_equal(read["type"].probabilities, made["type"].probabilities)
        np.testing.assert_array_equal(read["type"].references, made["type"].references)
        assert isinstance(read["high"], RegressionPredictions)
    plots = write_task_plots(tmp_path, metrics, answers)
    assert [path.name for path in plots] == ["regression_high.png", "confusion_matrix_type.png"]
    assert all(matplotlib.image.imread(path).shape[0] > 300 for path in plots)


def test_files_of_a_single_task_have_the_plain_names(facts, tmp_path):
    config = make_config(REGRESSION)
    logits, labels = make_outputs(10, seed=0)
    answers = [answer(config, "test", logits[:, :2], labels[:, :2])]
    metrics = build_task_metrics(answers, facts, config=config, num_resamples=20)
    write_task_predictions(tmp_path, answers, config=config)
    write_task_plots(tmp_path, metrics, answers)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["predictions.csv", "regression.png"]
    with (tmp_path / "predictions.csv").open(newline="") as handle:
        row = next(csv.DictReader(handle))
    assert float(row["prediction_Awe"]) == pytest.approx(logits[0, 0])
    ((of_split,), (expected,)) = read_task_predictions(tmp_path, metrics), answers
    np.testing.assert_array_equal(of_split["high"].references, expected["high"].references)


def test_files_of_a_plain_classifier_read_back_as_the_task_label(facts, tmp_path):
    config = make_config(num_labels=3)
    logits, labels = make_outputs(10, seed=0)
    answers = [answer(config, "test", logits[:, 2:], labels[:, 2].astype(int))]
    metrics = build_task_metrics(answers, facts, config=config, num_resamples=20)
    write_task_predictions(tmp_path, answers, config=config)
    assert [path.name for path in write_task_plots(tmp_path, metrics, answers)] == ["confusion_matrix.png"]
    (of_split,) = read_task_predictions(tmp_path, metrics)
    np.testing.assert_array_equal(of_split["label"].references, answers[0]["label"].references)


def test_plots_show_validation_when_the_test_split_has_no_reference(joint, facts, tmp_path):
    config, answers = joint
    test = answers[1]["high"]
    answers[1]["high"] = dataclasses.replace(test, references=np.full_like(test.references, np.nan))
    metrics = build_task_metrics(answers, facts, config=config, num_resamples=20)
    names = [path.name for path in write_task_plots(tmp_path, metrics, answers)]
    assert names == ["regression_high.png", "confusion_matrix_type.png"]


def test_reading_names_the_file_when_a_task_is_missing_or_another(joint, facts, tmp_path):
    config, answers = joint
    metrics = build_task_metrics(answers, facts, config=config, num_resamples=20)
    write_task_predictions(tmp_path, answers, config=config)
    metrics["tasks"][1]["outputs"] = ["cry", "laugh", "gasp"]
    with pytest.raises(
        ResultsError, match=r"predictions_type.csv: expected the outputs cry, laugh, gasp, found cry, ga"
    ):
        read_task_predictions(tmp_path, metrics)
    write_task_predictions(tmp_path, answers[:1], config=config)
    (tmp_path / "predictions_type.csv").unlink()
    with pytest.raises(ResultsError, match=r"predictions_type.csv: no such file"):
        read_task_predictions(tmp_path, metrics)


@pytest.mark.parametrize(
    ("name", "num_tasks", "expected"),
    [("high", 1, "plot.png"), ("high", 2, "plot_high.png"), ("a b/c", 2, "plot_a_b_c.png")],
)
def test_task_file_names_the_task_when_there_are_several(name, num_tasks, expected):
    assert task_file("plot.png", name, num_tasks=num_tasks) == expected
