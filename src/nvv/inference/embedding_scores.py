"""How much of the classes is in an embedding: what simple classifiers of it score.

Three of them, from the least to the most that is fitted: the nearest class centroid, the nearest training clips, and a
linear probe. All are fitted on the training clips; validation chooses the number of neighbours and the strength of
regularization, and is scored, as is test, with the intervals of `split_scores`. Angles, not distances, say what is
near. Embeddings that are not made for that (their numbers have other means and scales) are first standardised by the
training clips. What embeds is left to the neighbour `embed`, tables to the neighbour `embedding_tables`. The measures
follow the audEERING report (centroids) and Khosla et al. 2020 (linear probe); own work around scikit-learn.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler, normalize

from ..baselines.classifiers import LabelledFeatures, fit_classifier
from ..metrics import classification_scores
from ..training.answers import MISSING_CLASS, ResultsError, SplitPredictions
from ..training.split_scores import split_results

__all__ = [
    "CLASSIFIERS",
    "C_VALUES",
    "NUMBERS_OF_NEIGHBOURS",
    "EmbeddedSplit",
    "class_centroids",
    "score_embeddings",
]

CLASSIFIERS = ("nearest_centroid", "nearest_neighbours", "linear_probe")
NUMBERS_OF_NEIGHBOURS = (1, 3, 5, 11, 21, 51)
C_VALUES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Inverse strengths of the linear probe's regularization, as scikit-learn's C."""

_CENTROID_TEMPERATURE = 0.1
"""Of the probabilities, which only the most probable class is taken from."""


@dataclass(frozen=True, kw_only=True)
class EmbeddedSplit:
    """The embeddings of one split, in the order of its clips.

    Args:
        split: its name, such as `test`.
        files: each clip's relative path (clips,).
        embeddings: (clips, size).
        labels: class indices (clips,); below 0 where missing.
        speaker_ids: each clip's speaker (clips,), or None where the corpus does not say.

    Raises:
        ResultsError: for lengths that differ, and for embeddings that are not finite.
    """

    split: str
    files: Sequence[str]
    embeddings: NDArray[np.float32]
    labels: NDArray[np.int64]
    speaker_ids: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.embeddings.ndim != 2 or len(self.embeddings) == 0:
            raise ResultsError(
                f"{self.split}: expected embeddings (clips, size) of at least one clip, found shape "
                f"{self.embeddings.shape}."
            )
        lengths = {"files": len(self.files), "labels": len(self.labels)}
        lengths |= {} if self.speaker_ids is None else {"speaker_ids": len(self.speaker_ids)}
        for name, length in lengths.items():
            if length != len(self.embeddings):
                raise ResultsError(f"{self.split}: {len(self.embeddings)} embeddings, but {length} {name}.")
        bad = ~np.isfinite(self.embeddings).all(axis=1)
        if bad.any():
            raise ResultsError(
                f"{self.split}: the embeddings of {bad.sum()} clips, the first {self.files[int(bad.argmax())]!r}, are "
                "not finite. If training diverged, lower the learning rate."
            )

    def labelled(self) -> LabelledFeatures:
        """Return the clips whose class is known."""
        known = self.labels >= 0
        return LabelledFeatures(features=self.embeddings[known], labels=self.labels[known])


def class_centroids(
    embeddings: NDArray[np.floating], labels: NDArray[np.integer], *, num_labels: int
) -> NDArray[np.float64]:
    """Return the mean direction of each class: the mean of its embeddings of length 1, brought to length 1 again.

    Args:
        embeddings: (clips, size), of any length.
        labels: class indices (clips,).
        num_labels: number of classes.

    Returns:
        Centroids (labels, size); zeros for a class without clips.

    Example:
        >>> class_centroids(np.array([[2.0, 0.0], [0.0, 3.0]]), np.array([0, 0]), num_labels=1).round(3).tolist()
        [[0.707, 0.707]]
    """
    sums = np.zeros((num_labels, embeddings.shape[1]))
    np.add.at(sums, labels, normalize(embeddings.astype(np.float64)))
    return normalize(sums)


def score_embeddings(
    splits: Mapping[str, EmbeddedSplit],
    *,
    label_names: Sequence[str],
    standardise: bool,
    numbers_of_neighbours: Sequence[int] = NUMBERS_OF_NEIGHBOURS,
    c_values: Sequence[float] = C_VALUES,
    metric: str = "macro_f1",
    num_resamples: int = 1_000,
    seed: int = 0,
) -> dict[str, Any]:
    """Fit the classifiers of an embedding and score them.

    Args:
        splits: `train`, `validation` and `test`.
        label_names: class names in label order.
        standardise: bring each number of the embedding to mean 0 and deviation 1 over the training clips first. False
            for embeddings of length 1 that were trained to be compared as they are.
        numbers_of_neighbours: what validation chooses from; those above the number of training clips are left out.
        c_values: what validation chooses from.
        metric: the score that chooses, one of `nvv.metrics.SCORE_NAMES`.
        num_resamples: bootstrap resamples behind each interval.
        seed: of the resamples.

    Returns:
        `size`; `standardised`; `classifiers`: for each of `CLASSIFIERS` what was `chosen` and from which
        `validation_scores`; `splits`: for `validation` and `test`, and each classifier, what `split_results` gives.

    Raises:
        ResultsError: for a label outside the names, or a split that is needed and has no labelled clip.
        ArgumentsError: if all training clips are of one class.

    Example:
        >>> scores = score_embeddings(splits, label_names=["laugh", "sigh"], standardise=False)  # doctest: +SKIP
        >>> scores["splits"]["test"]["linear_probe"]["scores"]["macro_f1"]["value"]  # doctest: +SKIP
        0.71
    """
    num_labels = len(label_names)
    _check_labels(splits, num_labels=num_labels)
    if standardise:
        scaler = StandardScaler().fit(splits["train"].labelled().features.astype(np.float64))
        splits = {
            name: dataclasses.replace(
                split, embeddings=scaler.transform(split.embeddings.astype(np.float64)).astype(np.float32)
            )
            for name, split in splits.items()
        }
    train, validation = splits["train"].labelled(), splits["validation"].labelled()
    fitted = {
        "nearest_centroid": _nearest_centroid(train, num_labels=num_labels),
        "nearest_neighbours": _nearest_neighbours(
            train, validation, num_labels=num_labels, numbers=numbers_of_neighbours, metric=metric
        ),
        "linear_probe": _linear_probe(
            train, validation, num_labels=num_labels, c_values=c_values, metric=metric, seed=seed
        ),
    }
    return {
        "size": splits["train"].embeddings.shape[1],
        "standardised": standardise,
        "selection_metric": metric,
        "classifiers": {name: _chosen(one) for name, one in fitted.items()},
        "splits": {
            name: {
                classifier: split_results(
                    _answers(splits[name], one), label_names=label_names, num_resamples=num_resamples, seed=seed
                )
                for classifier, one in fitted.items()
            }
            for name in ("validation", "test")
        },
    }


@dataclass(frozen=True, kw_only=True)
class _Fitted:
    """A classifier of embeddings.

    Args:
        probabilities: embeddings (clips, size) to probabilities (clips, labels).
        option: the name of what validation chose, or None.
        value: what it chose.
        validation_scores: each value with its score on validation.
    """

    probabilities: Any
    option: str | None = None
    value: float | None = None
    validation_scores: Sequence[tuple[float, float]] = ()


def _chosen(fitted: _Fitted) -> dict[str, Any]:
    if fitted.option is None:
        return {"chosen": {}, "validation_scores": []}
    return {
        "chosen": {fitted.option: fitted.value},
        "validation_scores": [{fitted.option: value, "score": score} for value, score in fitted.validation_scores],
    }


def _check_labels(splits: Mapping[str, EmbeddedSplit], *, num_labels: int) -> None:
    for name, split in splits.items():
        known = split.labels[split.labels >= 0]
        if name != "test" and not known.size:
            raise ResultsError(f"{name}: expected clips with a label, found none among {len(split.labels)}.")
        if known.size and known.max() >= num_labels:
            raise ResultsError(f"{name}: expected labels from 0 to {num_labels - 1}, found {known.max()}.")


def _answers(split: EmbeddedSplit, fitted: _Fitted) -> SplitPredictions:
    return SplitPredictions(
        split=split.split,
        files=split.files,
        references=np.where(split.labels >= 0, split.labels, MISSING_CLASS),
        probabilities=fitted.probabilities(split.embeddings),
        speaker_ids=split.speaker_ids,
    )


def _nearest_centroid(train: LabelledFeatures, *, num_labels: int) -> _Fitted:
    centroids = class_centroids(train.features, train.labels, num_labels=num_labels)
    absent = np.bincount(train.labels, minlength=num_labels) == 0

    def probabilities(embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
        similarities = normalize(embeddings.astype(np.float64)) @ centroids.T
        return softmax(np.where(absent, -np.inf, similarities / _CENTROID_TEMPERATURE), axis=1)

    return _Fitted(probabilities=probabilities)


def _nearest_neighbours(
    train: LabelledFeatures, validation: LabelledFeatures, *, num_labels: int, numbers: Sequence[int], metric: str
) -> _Fitted:
    """Let the nearest training clips vote; of equally good numbers of them take the largest, which is the smoothest."""
    possible = sorted(number for number in numbers if number <= len(train.labels)) or [1]
    best, best_score, scores = None, -1.0, []
    for number in possible:
        votes = KNeighborsClassifier(number, metric="cosine").fit(train.features, train.labels)
        score = classification_scores(validation.labels, votes.predict(validation.features), num_labels=num_labels)
        scores.append((number, score[metric]))
        if score[metric] >= best_score:
            best, best_score = votes, score[metric]

    def probabilities(embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
        shares = np.zeros((len(embeddings), num_labels))
        shares[:, best.classes_] = best.predict_proba(embeddings)
        return shares

    return _Fitted(
        probabilities=probabilities, option="neighbours", value=best.n_neighbors, validation_scores=tuple(scores)
    )


def _linear_probe(
    train: LabelledFeatures,
    validation: LabelledFeatures,
    *,
    num_labels: int,
    c_values: Sequence[float],
    metric: str,
    seed: int,
) -> _Fitted:
    fitted = fit_classifier(
        "logistic_regression",
        train,
        validation,
        num_labels=num_labels,
        c_values=c_values,
        metric=metric,
        class_balanced=False,
        seed=seed,
    )
    return _Fitted(
        probabilities=fitted.probabilities,
        option="c_value",
        value=fitted.c_value,
        validation_scores=fitted.validation_scores,
    )
