from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from transformers.utils import logging

from nvv.baselines import classifiers
from nvv.baselines.classifiers import LabelledFeatures, fit_classifier, fit_guess, probabilities_of
from nvv.training.arguments import ArgumentsError

OPTIONS = {"num_labels": 3, "c_values": [0.1], "metric": "macro_f1", "class_balanced": False, "seed": 0}


def clouds(num_clips: int, *, num_features: int = 6, seed: int = 0, spread: float = 1.5) -> LabelledFeatures:
    """Three overlapping classes of unequal size; the features have very different scales."""
    generator = np.random.default_rng(seed)
    labels = generator.choice(3, size=num_clips, p=[0.6, 0.3, 0.1])
    centres = np.random.default_rng(99).standard_normal((3, num_features))
    features = centres[labels] + spread * generator.standard_normal((num_clips, num_features))
    return LabelledFeatures(features=(features * 10.0 ** np.arange(num_features) + 5).astype(np.float32), labels=labels)


@pytest.fixture
def parts():
    return {"train": clouds(80), "validation": clouds(40, seed=1), "test": clouds(30, seed=2)}


def stock(name, train: LabelledFeatures, c_value: float = 0.1, **options):
    """scikit-learn's own, on standardised features."""
    scaler = StandardScaler().fit(train.features.astype(np.float64))
    kind = {"logistic_regression": LogisticRegression, "linear_svm": LinearSVC}[name]
    classifier = kind(C=c_value, max_iter=100_000, tol=1e-6, **options)
    return classifier.fit(scaler.transform(train.features), train.labels), scaler


def test_logistic_regression_equals_the_stock_one(parts):
    fitted = fit_classifier("logistic_regression", parts["train"], parts["validation"], **OPTIONS)
    classifier, scaler = stock("logistic_regression", parts["train"])
    expected = classifier.predict_proba(scaler.transform(parts["test"].features))
    np.testing.assert_allclose(fitted.probabilities(parts["test"].features), expected, atol=1e-3)
    assert fitted.num_parameters == 3 * (6 + 1)


def test_svm_answers_by_its_decision_values(parts):
    fitted = fit_classifier("linear_svm", parts["train"], parts["validation"], **OPTIONS)
    classifier, scaler = stock("linear_svm", parts["train"])
    scaled = scaler.transform(parts["test"].features)
    found = fitted.probabilities(parts["test"].features)
    np.testing.assert_allclose(found, softmax(classifier.decision_function(scaled), axis=1), atol=1e-3)
    np.testing.assert_array_equal(found.argmax(axis=1), classifier.predict(scaled))


@pytest.mark.parametrize("name", ["logistic_regression", "linear_svm"])
def test_answers_are_the_same_when_features_outnumber_the_training_clips(name):
    train, test = clouds(40, num_features=12, spread=2.0), clouds(30, num_features=12, seed=2)
    # The same 12 features nine times over, so that there are more of them than clips.
    train, test = (
        LabelledFeatures(features=np.tile(part.features, (1, 9)), labels=part.labels) for part in (train, test)
    )
    fitted = fit_classifier(name, train, test, **OPTIONS)
    classifier, scaler = stock(name, train)
    scaled = scaler.transform(test.features)
    expected = (
        classifier.predict_proba(scaled)
        if name == "logistic_regression"
        else softmax(classifier.decision_function(scaled), axis=1)
    )
    np.testing.assert_allclose(fitted.probabilities(test.features), expected, atol=2e-3)
    assert fitted.num_parameters == 3 * (108 + 1)


@pytest.mark.parametrize("name", ["logistic_regression", "linear_svm"])
def test_validation_chooses_the_strength_and_test_is_not_looked_at(parts, name):
    c_values = [1e-5, 1e-1, 1e1]
    fitted = fit_classifier(name, parts["train"], parts["validation"], **{**OPTIONS, "c_values": c_values[::-1]})
    scores = []
    for c_value in c_values:
        classifier, scaler = stock(name, parts["train"], c_value)
        predicted = classifier.predict(scaler.transform(parts["validation"].features))
        scores.append(f1_score(parts["validation"].labels, predicted, average="macro", zero_division=0))
    assert [pair[0] for pair in fitted.validation_scores] == c_values
    assert [pair[1] for pair in fitted.validation_scores] == pytest.approx(scores, abs=0.02)
    assert fitted.c_value == c_values[int(np.argmax(scores))] != 1e-5


def test_most_regularized_is_kept_among_equals(parts):
    fitted = fit_classifier(
        "logistic_regression", parts["train"], parts["validation"], **{**OPTIONS, "c_values": [1e-9, 1e-8, 1e-10]}
    )
    assert fitted.c_value == 1e-10  # all three answer the most frequent class


def test_selection_metric_matters(parts):
    found = {
        metric: dict(
            fit_classifier(
                "logistic_regression", parts["train"], parts["validation"], **{**OPTIONS, "metric": metric}
            ).validation_scores
        )[0.1]
        for metric in ("macro_f1", "accuracy")
    }
    assert found["macro_f1"] != found["accuracy"]


def test_standardisation_knows_only_the_training_clips(parts):
    shifted = LabelledFeatures(features=parts["validation"].features + 100, labels=parts["validation"].labels)
    one = fit_classifier("linear_svm", parts["train"], parts["validation"], **OPTIONS)
    other = fit_classifier("linear_svm", parts["train"], shifted, **OPTIONS)
    np.testing.assert_array_equal(
        one.probabilities(parts["test"].features), other.probabilities(parts["test"].features)
    )


@pytest.mark.parametrize("name", ["logistic_regression", "linear_svm"])
def test_balanced_loss_finds_more_of_the_rare_class(parts, name):
    found = {}
    for balanced in (False, True):
        fitted = fit_classifier(name, parts["train"], parts["validation"], **{**OPTIONS, "class_balanced": balanced})
        found[balanced] = (fitted.probabilities(clouds(500, seed=3).features).argmax(axis=1) == 2).sum()
    assert found[True] > 1.2 * found[False]


@pytest.mark.parametrize("name", ["logistic_regression", "linear_svm"])
def test_class_without_training_clips_is_never_answered(parts, name):
    keep = parts["train"].labels != 1
    train = LabelledFeatures(features=parts["train"].features[keep], labels=parts["train"].labels[keep])
    fitted = fit_classifier(name, train, parts["validation"], **OPTIONS)
    found = fitted.probabilities(parts["test"].features)  # two classes: the SVM has one decision value
    assert found.shape == (30, 3)
    assert (found[:, 1] == 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    classifier, scaler = stock(name, train)
    np.testing.assert_array_equal(found.argmax(axis=1), classifier.predict(scaler.transform(parts["test"].features)))


def test_one_class_is_refused(parts):
    train = LabelledFeatures(features=parts["train"].features, labels=np.zeros(80, dtype=np.int64))
    with pytest.raises(ArgumentsError, match="linear_svm needs training clips of at least two classes"):
        fit_classifier("linear_svm", train, parts["validation"], **OPTIONS)


def test_own_answer_stays_the_largest_when_single_precision_cannot_tell():
    class Close:
        classes_ = np.arange(3)

        def decision_function(self, features):
            return np.tile([1.0, 1.0 + 1e-12, -1.0], (len(features), 1))

        def predict(self, features):
            return np.full(len(features), 1)

    found = probabilities_of(Close(), np.zeros((2, 1), dtype=np.float32), num_labels=3)
    assert found.dtype == np.float32
    assert found.argmax(axis=1).tolist() == [1, 1]
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


def test_solver_that_is_stopped_is_reported(parts, monkeypatch):
    warned = []
    monkeypatch.setattr(classifiers, "_MAX_ITERATIONS", 2)
    monkeypatch.setattr(logging.get_logger(classifiers.__name__), "warning", warned.append)
    fitted = fit_classifier("logistic_regression", parts["train"], parts["validation"], **OPTIONS)
    assert not fitted.converged
    assert any("failed to converge" in text for text in warned)


def test_majority_answers_the_most_frequent_class_of_training():
    fitted = fit_guess("majority", np.array([1, 2, 2, 1]), num_labels=3, generator=np.random.default_rng(0))
    np.testing.assert_allclose(fitted.probabilities(np.empty((2, 0))), [[0, 0.5, 0.5]] * 2)  # of equals the first


def test_random_guesses_follow_the_training_frequencies_and_the_seed():
    train = np.repeat([0, 1, 2], [70, 20, 10])
    draws = [
        fit_guess("random", train, num_labels=4, generator=np.random.default_rng(seed))
        .probabilities(np.empty((4_000, 0)))
        .argmax(axis=1)
        for seed in (0, 0, 1)
    ]
    # the standard deviation of a share is √(0.7 · 0.3 / 4000) = 0.7 %; four of them are allowed
    np.testing.assert_allclose(np.bincount(draws[0], minlength=4) / 4_000, [0.7, 0.2, 0.1, 0], atol=0.029)
    assert (draws[0] == draws[1]).all()
    assert (draws[0] != draws[2]).any()
