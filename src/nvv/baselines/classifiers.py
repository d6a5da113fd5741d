"""Classifiers of feature vectors: the ones that learn, chosen on validation, and the ones that guess.

Features are standardised by mean and standard deviation of the training clips. Logistic regression is the multinomial
one with an L2 penalty; the linear SVM is scikit-learn's `LinearSVC`: one class against the rest, squared hinge loss, L2
penalty. Where there are more features than training clips, these are first turned into the axes of the training clips
(PCA without leaving out any): with an L2 penalty that changes no answer and saves nine tenths of the time. Both are
fitted on the training clips once for each strength of regularization, and the one with the best score
on validation is kept (of equals the most regularized); it is not fitted again with the validation clips. An SVM has no
probabilities: the softmax of its decision values stands for them, which orders the classes as the SVM does and is not
calibrated. Own work around scikit-learn.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from transformers.utils import logging

from ..metrics import classification_scores
from ..training.arguments import ArgumentsError

logger = logging.get_logger(__name__)

_MAX_ITERATIONS = 20_000  # far above what these problems need; reaching it is reported


@dataclass(frozen=True, kw_only=True)
class LabelledFeatures:
    """Clips as a classifier sees them.

    Args:
        features: (clips, features).
        labels: class indices (clips,).
    """

    features: NDArray[np.float32]
    labels: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class FittedClassifier:
    """A classifier ready to answer.

    Args:
        probabilities: features (clips, features) to float32 probabilities (clips, labels), whose largest in each row
            is the classifier's own answer.
        num_parameters: coefficients and intercepts, 0 for a guess.
        c_value: the strength of regularization that validation chose, or None for a guess.
        validation_scores: each strength with its score on validation.
        converged: whether every fit ended by itself.
    """

    probabilities: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    num_parameters: int = 0
    c_value: float | None = None
    validation_scores: Sequence[tuple[float, float]] = ()
    converged: bool = True


def fit_guess(
    name: str, train_labels: NDArray[np.int64], *, num_labels: int, generator: np.random.Generator
) -> FittedClassifier:
    """Make a classifier that never looks at a clip.

    Args:
        name: `majority` answers the most frequent class of training, of equals the first, with the training
            frequencies as probabilities; `random` draws each answer by the training frequencies and is sure of it.
        train_labels: class indices of the training clips (clips,).
        num_labels: number of classes.
        generator: draws the guesses.
    """
    counts = np.bincount(train_labels, minlength=num_labels)
    frequencies = counts / counts.sum()

    def majority(features: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.tile(frequencies.astype(np.float32), (len(features), 1))

    def random(features: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.eye(num_labels, dtype=np.float32)[generator.choice(num_labels, size=len(features), p=frequencies)]

    return FittedClassifier(probabilities={"majority": majority, "random": random}[name])


def fit_classifier(
    name: str,
    train: LabelledFeatures,
    validation: LabelledFeatures,
    *,
    num_labels: int,
    c_values: Sequence[float],
    metric: str,
    class_balanced: bool,
    seed: int,
) -> FittedClassifier:
    """Fit a classifier at each strength of regularization and keep the best on validation.

    Args:
        name: `logistic_regression` or `linear_svm`.
        train: the training clips; a class without any is never answered.
        validation: the clips that choose.
        num_labels: number of classes.
        c_values: inverse strengths of regularization.
        metric: one of `nvv.metrics.SCORE_NAMES`.
        class_balanced: weigh each class by the inverse of its training clips.
        seed: of the SVM's solver.

    Raises:
        ArgumentsError: if all training clips are of one class.
    """
    if len(np.unique(train.labels)) < 2:
        raise ArgumentsError(f"classifiers: {name} needs training clips of at least two classes, found one class.")
    num_clips, num_features = train.features.shape
    scaler = make_pipeline(StandardScaler(), *([PCA(svd_solver="full")] if num_features > num_clips else []))
    scaled = scaler.fit_transform(train.features.astype(np.float64))
    best: Pipeline | None = None
    scores: list[tuple[float, float]] = []
    converged = True
    for c_value in sorted(c_values):
        classifier = _classifier(name, c_value, shape=scaled.shape, class_balanced=class_balanced, seed=seed)
        converged &= _fit(classifier, scaled, train.labels)
        fitted = Pipeline([("scaler", scaler), ("classifier", classifier)])
        predicted = fitted.predict(validation.features.astype(np.float64))
        score = classification_scores(validation.labels, predicted, num_labels=num_labels)[metric]
        if best is None or score > max(found for _, found in scores):
            best, chosen = fitted, c_value
        scores.append((c_value, score))
    return FittedClassifier(
        probabilities=lambda features: probabilities_of(best, features, num_labels=num_labels),
        num_parameters=best[-1].intercept_.size * (num_features + 1),
        c_value=chosen,
        validation_scores=tuple(scores),
        converged=converged,
    )


def _classifier(
    name: str, c_value: float, *, shape: tuple[int, int], class_balanced: bool, seed: int
) -> LogisticRegression | LinearSVC:
    options = {
        "C": c_value,
        "max_iter": _MAX_ITERATIONS,
        "class_weight": "balanced" if class_balanced else None,
        "random_state": seed,
    }
    if name == "logistic_regression":
        return LogisticRegression(**options)
    num_clips, num_features = shape
    # Both forms have the same solution; the primal one takes minutes where many features tell all clips apart.
    return LinearSVC(dual=num_clips <= 2 * num_features, **options)


def _fit(classifier: LogisticRegression | LinearSVC, features: NDArray[np.float64], labels: NDArray[np.int64]) -> bool:
    """Fit, and say whether the solver ended by itself; a warning says so if not."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        classifier.fit(features, labels)
    for warning in caught:
        logger.warning(f"{classifier}: {warning.message}")
    return not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)


def probabilities_of(fitted: Pipeline, features: NDArray[np.float32], *, num_labels: int) -> NDArray[np.float32]:
    """Return a fitted classifier's probabilities, in single precision as `predictions.csv` keeps them.

    Args:
        fitted: a scikit-learn classifier with `predict_proba` or `decision_function`.
        features: (clips, features).
        num_labels: number of classes; those that the classifier was not fitted on get probability 0.

    Returns:
        Probabilities (clips, labels); the largest of each row is at the classifier's own answer, also where the first
        two classes are closer than single precision can tell.
    """
    values = features.astype(np.float64)
    if hasattr(fitted, "predict_proba"):
        known = fitted.predict_proba(values)
    else:
        decisions = fitted.decision_function(values)
        # Two classes have one decision value: positive for the second.
        known = softmax(np.stack([-decisions, decisions], axis=1) if decisions.ndim == 1 else decisions, axis=1)
    probabilities = np.zeros((len(features), num_labels), dtype=np.float32)
    probabilities[:, fitted.classes_] = known
    answers = fitted.predict(values)
    rows = np.flatnonzero(probabilities.argmax(axis=1) != answers)
    probabilities[rows, answers[rows]] = np.nextafter(probabilities[rows].max(axis=1), np.float32(2))
    return probabilities
