import audmetric
import numpy as np
import pytest
import sklearn.metrics

from nvv.metrics import (
    SCORE_NAMES,
    chance_levels,
    classification_scores,
    confusion_matrix,
    label_scores,
    per_class_scores,
    scores_from_confusion,
)


def sklearn_scores(references, predictions):
    """The scores by their public definitions; macro means run over classes in either vector, as scikit-learn's do."""
    values = {
        "accuracy": sklearn.metrics.accuracy_score(references, predictions),
        # recall_score over the classes in the references: balanced_accuracy_score warns about the other ones
        "uar": sklearn.metrics.recall_score(
            references, predictions, labels=np.unique(references), average="macro", zero_division=0
        ),
    }
    for average in ("macro", "weighted"):
        precision, recall, f1, _ = sklearn.metrics.precision_recall_fscore_support(
            references, predictions, average=average, zero_division=0
        )
        values |= {f"{average}_precision": precision, f"{average}_recall": recall, f"{average}_f1": f1}
    del values["weighted_recall"]  # accuracy by another name
    return values


def random_labels(num_clips, num_labels, *, seed):
    generator = np.random.default_rng(seed)
    references = generator.integers(0, num_labels, num_clips)
    wrong = generator.integers(0, num_labels, num_clips)
    return references, np.where(generator.random(num_clips) < 0.6, references, wrong)


@pytest.mark.parametrize(
    ("references", "predictions", "num_labels"),
    [
        (*random_labels(700, 16, seed=0), 16),
        (*random_labels(30, 16, seed=1), 16),  # some classes missing on either side
        ([0, 0, 1, 1], [2, 2, 2, 2], 4),  # constant, and a class that never occurs
        ([3], [3], 5),  # one clip, right
        ([3], [1], 5),  # one clip, wrong
        ([0, 0, 0], [0, 0, 1], 2),  # one class in the references
    ],
)
def test_scores_equal_scikit_learn_when_classes_are_missing_or_not(references, predictions, num_labels):
    scores = classification_scores(references, predictions, num_labels=num_labels)
    expected = sklearn_scores(np.asarray(references), np.asarray(predictions))
    assert set(scores) == set(SCORE_NAMES) == set(expected)
    for name, value in expected.items():
        assert scores[name] == pytest.approx(value, abs=1e-12), name


def test_uar_equals_balanced_accuracy_when_no_class_is_only_predicted():
    references, predictions = random_labels(400, 6, seed=2)
    scores = classification_scores(references, predictions, num_labels=6)
    assert scores["uar"] == pytest.approx(sklearn.metrics.balanced_accuracy_score(references, predictions), abs=1e-12)


def test_scores_equal_audmetric_when_every_class_occurs():
    references, predictions = random_labels(500, 8, seed=3)
    scores = classification_scores(references, predictions, num_labels=8)
    assert scores["accuracy"] == pytest.approx(audmetric.accuracy(references, predictions), abs=1e-9)
    assert scores["uar"] == pytest.approx(audmetric.unweighted_average_recall(references, predictions), abs=1e-9)
    assert scores["macro_f1"] == pytest.approx(audmetric.unweighted_average_fscore(references, predictions), abs=1e-9)
    assert scores["macro_precision"] == pytest.approx(
        audmetric.unweighted_average_precision(references, predictions), abs=1e-9
    )


def test_scores_equal_hand_arithmetic_when_a_class_is_only_predicted():
    # classes 0 and 1 in the references: recalls 1/2 and 1; class 2 only predicted
    scores = classification_scores([0, 0, 1], [0, 2, 1], num_labels=4)
    assert scores["uar"] == pytest.approx((1 / 2 + 1) / 2)
    # over the three classes that occur anywhere: F1 2/3, 1 and 0; the fourth does not count
    assert scores["macro_f1"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert scores["macro_recall"] == pytest.approx((1 / 2 + 1 + 0) / 3)


def test_many_confusions_score_as_each_alone_when_stacked():
    matrices = np.random.default_rng(4).integers(0, 5, (3, 2, 4, 4))
    matrices[0, 0, :, 1] = 0
    stacked = scores_from_confusion(matrices)
    for name in SCORE_NAMES:
        assert stacked[name].shape == (3, 2)
        assert stacked[name][2, 1] == scores_from_confusion(matrices[2, 1])[name]


def test_confusion_matrix_keeps_unused_classes():
    matrix = confusion_matrix([0, 0, 2], [0, 1, 2], num_labels=4)
    assert matrix.tolist() == [[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("references", "predictions", "message"),
    [
        ([], [], "references: expected a vector with at least one label"),
        ([0, 1], [0], "predictions: expected 2 labels, as many as there are references, found 1"),
        ([0, 3], [0, 1], "references: expected labels from 0 to 2 .* found 0 to 3"),
        ([0, 1], [0, -1], "predictions: expected labels from 0 to 2 .* found -1 to 0"),
        ([0.0, 1.0], [0, 1], "references: expected integers, found float64"),
        ([[0, 1]], [[0, 1]], r"found shape \(1, 2\)"),
    ],
)
def test_scores_name_the_fault_when_labels_are_unusable(references, predictions, message):
    with pytest.raises(ValueError, match=message):
        classification_scores(references, predictions, num_labels=3)


def test_per_class_table_equals_scikit_learn_and_leaves_undefined_values_out():
    references, predictions = [0, 0, 1, 1, 1], [0, 1, 1, 1, 3]
    rows = per_class_scores(references, predictions, label_names=["a", "b", "c", "d"])
    precision, recall, f1, support = sklearn.metrics.precision_recall_fscore_support(
        references, predictions, labels=[0, 1], zero_division=0
    )
    for index in (0, 1):
        assert rows[index]["precision"] == pytest.approx(precision[index])
        assert rows[index]["recall"] == pytest.approx(recall[index])
        assert rows[index]["f1"] == pytest.approx(f1[index])
        assert rows[index]["num_references"] == support[index]
    empty = {"precision": None, "recall": None, "f1": None, "num_references": 0, "num_predictions": 0}
    assert rows[2] == {"label": "c", **empty}
    assert rows[3] == {"label": "d", **empty, "precision": 0.0, "f1": 0.0, "num_predictions": 1}


def test_macro_f1_is_the_mean_of_the_table_when_some_rows_are_undefined():
    references, predictions = random_labels(25, 16, seed=5)
    rows = per_class_scores(references, predictions, label_names=[str(index) for index in range(16)])
    scores = classification_scores(references, predictions, num_labels=16)
    assert np.mean([row["f1"] for row in rows if row["f1"] is not None]) == pytest.approx(scores["macro_f1"])
    assert np.mean([row["recall"] for row in rows if row["recall"] is not None]) == pytest.approx(scores["uar"])


def test_chance_levels_equal_known_expectations():
    references = [0] * 60 + [1] * 30 + [2] * 10
    chance = chance_levels(references, num_labels=4)
    # majority: accuracy 0.6, recall 1 of three classes, F1 2·60/(60+100) for class 0 and 0 for the other two
    assert chance["majority"]["accuracy"] == pytest.approx(0.6)
    assert chance["majority"]["uar"] == pytest.approx(1 / 3)
    assert chance["majority"]["macro_f1"] == pytest.approx(0.75 / 3)
    # random: expected accuracy is the sum of squared frequencies, expected recall of class c its frequency
    assert chance["random"]["accuracy"] == pytest.approx(0.36 + 0.09 + 0.01, abs=0.005)
    assert chance["random"]["uar"] == pytest.approx((0.6 + 0.3 + 0.1) / 3, abs=0.005)
    assert chance == chance_levels(references, num_labels=4)


def test_majority_is_the_first_class_when_several_are_as_frequent():
    assert chance_levels([1, 2], num_labels=3)["majority"]["accuracy"] == 0.5


def test_label_scores_are_classification_scores_when_no_labels_are_named():
    references, predictions = random_labels(50, 9, seed=6)
    expected = classification_scores(references, predictions, num_labels=9)
    assert label_scores(references, predictions) == {**expected, "weighted_recall": expected["accuracy"]}
    # labels need not be numbered without gaps
    assert label_scores(references * 1_000_000, predictions * 1_000_000)["uar"] == expected["uar"]


def test_label_scores_equal_scikit_learn_when_labels_are_named():
    for seed in range(30):
        references, predictions = random_labels(25, 8, seed=seed)
        labels = np.random.default_rng(seed).permutation(12)[: seed % 12 + 1]  # some of which never occur
        scores = label_scores(references, predictions, labels=labels)
        for average in ("macro", "weighted"):
            columns = sklearn.metrics.precision_recall_fscore_support(
                references, predictions, labels=labels, average=average, zero_division=0
            )
            found = [scores[f"{average}_{name}"] for name in ("precision", "recall", "f1")]
            assert found == pytest.approx(columns[:3], abs=1e-12)
        assert scores["uar"] == scores["macro_recall"]
        assert scores["accuracy"] == pytest.approx(np.mean(references == predictions))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": [0, 0]}, r"labels: expected each class once, found \[0, 0\]"),
        ({"labels": [5], "num_labels": 4}, "labels: expected labels from 0 to 3"),
        ({"num_labels": 2}, "references: expected labels from 0 to 1"),
    ],
)
def test_label_scores_name_the_fault_when_labels_are_unusable(options, message):
    with pytest.raises(ValueError, match=message):
        label_scores([0, 2], [0, 1], **options)
