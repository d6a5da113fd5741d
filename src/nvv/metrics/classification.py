"""Scores of a single-label classifier, its table by class and its chance levels.

Everything is computed from confusion matrices, so that a score and its bootstrap interval (the neighbour `bootstrap`)
are the same arithmetic. Labels are integers in [0, num_labels); scores lie in [0, 1].

What is defined where a class is missing:

- `uar` (unweighted average recall, balanced accuracy) is the mean recall over the classes that occur in the references.
- `macro_f1`, `macro_precision` and `macro_recall` are means over the classes that occur in the references or in the
  predictions, and a class with nothing to divide by counts 0: scikit-learn's default with `zero_division=0`.
- `weighted_f1` and `weighted_precision` weigh each class by its number of references. (Weighted recall is accuracy.)

So no score is ever NaN: one clip, and a classifier that gives everything one class, have scores too. Where the classes
to average over are named (`labels`), exactly these count, and one that does not occur counts 0: scikit-learn's and
audmetric's `labels`.

The `evaluate` modules beside this file take it along when they are loaded by path or from the Hub, without `nvv`: so it
imports nothing of `nvv`.

Source: own work; the definitions are those of scikit-learn's `balanced_accuracy_score` and
`precision_recall_fscore_support`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

SCORE_NAMES = (
    "accuracy",
    "uar",
    "macro_f1",
    "weighted_f1",
    "macro_precision",
    "macro_recall",
    "weighted_precision",
)

_NUM_RANDOM_DRAWS = 2_000
_LARGEST_LABEL = 2**31
"""Labels of unknown number lie below this one."""


def _check_labels(values: ArrayLike, *, name: str, num_labels: int) -> NDArray[np.int64]:
    """Return `values` as a checked integer vector (clips,)."""
    labels = np.asarray(values)
    if labels.ndim != 1 or labels.size == 0:
        raise ValueError(
            f"{name}: expected a vector with at least one label, found shape {labels.shape}. "
            "Pass one integer for each clip (for logits, take the argmax over the last axis first)."
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"{name}: expected integers, found {labels.dtype}. Convert label names to their indices first."
        )
    if labels.min() < 0 or labels.max() >= num_labels:
        raise ValueError(
            f"{name}: expected labels from 0 to {num_labels - 1} (num_labels={num_labels}), "
            f"found {labels.min()} to {labels.max()}. Check the label order of model and corpus."
        )
    return labels.astype(np.int64)


def check_label_pairs(
    references: ArrayLike, predictions: ArrayLike, *, num_labels: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return references and predictions as integer vectors of one length.

    Args:
        references: true labels (clips,).
        predictions: predicted labels (clips,).
        num_labels: number of classes, ≥ 1.

    Returns:
        Two int64 vectors (clips,).

    Raises:
        ValueError: for no clips, labels outside [0, num_labels), numbers that are not integers, or unequal lengths.
    """
    if num_labels < 1:
        raise ValueError(f"num_labels: expected at least 1, found {num_labels}.")
    true = _check_labels(references, name="references", num_labels=num_labels)
    predicted = _check_labels(predictions, name="predictions", num_labels=num_labels)
    if true.shape != predicted.shape:
        raise ValueError(
            f"predictions: expected {true.size} labels, as many as there are references, found {predicted.size}."
        )
    return true, predicted


def confusion_matrix(references: ArrayLike, predictions: ArrayLike, *, num_labels: int) -> NDArray[np.int64]:
    """Count how often each true class (row) was given each class (column).

    Args:
        references: true labels (clips,).
        predictions: predicted labels (clips,).
        num_labels: number of classes; classes that never occur keep their row and column.

    Returns:
        Counts (num_labels, num_labels).

    Raises:
        ValueError: as `check_label_pairs`.

    Example:
        >>> confusion_matrix([0, 0, 1], [0, 1, 1], num_labels=2).tolist()
        [[1, 1], [0, 1]]
    """
    true, predicted = check_label_pairs(references, predictions, num_labels=num_labels)
    return np.bincount(true * num_labels + predicted, minlength=num_labels**2).reshape(num_labels, num_labels)


def _divide(numerator: NDArray, denominator: NDArray) -> NDArray[np.float64]:
    """Divide, giving 0 where the denominator is 0."""
    numerator, denominator = np.asarray(numerator), np.asarray(denominator)
    return np.divide(numerator, denominator, out=np.zeros_like(denominator), where=denominator > 0)


def scores_from_confusion(
    confusion: ArrayLike, *, averaged: Sequence[int] | ArrayLike | None = None
) -> dict[str, NDArray[np.float64]]:
    """Compute every score of `SCORE_NAMES` for one or many confusion matrices at once.

    Args:
        confusion: counts (..., classes, classes), rows true, columns predicted; each matrix holds at least one clip.
        averaged: the classes to average over, as positions in the matrix; one that does not occur counts 0. None: as
            the module's docstring says. Accuracy is over all clips in either case.

    Returns:
        For each score name an array (...), the leading axes of `confusion`.

    Raises:
        ValueError: if a matrix is not square or is empty.

    Example:
        >>> float(scores_from_confusion([[3, 1], [0, 4]])["accuracy"])
        0.875
    """
    counts = np.asarray(confusion, dtype=np.float64)
    if counts.ndim < 2 or counts.shape[-1] != counts.shape[-2]:
        raise ValueError(f"confusion: expected (..., classes, classes), found shape {counts.shape}.")
    support = counts.sum(axis=-1)  # (..., classes)
    predicted = counts.sum(axis=-2)  # (..., classes)
    correct = np.diagonal(counts, axis1=-2, axis2=-1)  # (..., classes)
    total = support.sum(axis=-1)  # (...)
    if np.any(total <= 0):
        raise ValueError("confusion: expected at least one clip in each matrix, found an empty one.")
    accuracy = correct.sum(axis=-1) / total
    if averaged is None:
        num_in_references = (support > 0).sum(axis=-1)
        num_in_either = ((support + predicted) > 0).sum(axis=-1)
    else:
        positions = np.asarray(averaged)
        support, predicted, correct = (values[..., positions] for values in (support, predicted, correct))
        num_in_references = num_in_either = positions.size
        total = support.sum(axis=-1)

    recall = _divide(correct, support)
    precision = _divide(correct, predicted)
    f1 = _divide(2 * correct, support + predicted)
    return {
        "accuracy": accuracy,
        "uar": recall.sum(axis=-1) / num_in_references,
        "macro_f1": f1.sum(axis=-1) / num_in_either,
        "weighted_f1": _divide((f1 * support).sum(axis=-1), total),
        "macro_precision": precision.sum(axis=-1) / num_in_either,
        "macro_recall": recall.sum(axis=-1) / num_in_either,
        "weighted_precision": _divide((precision * support).sum(axis=-1), total),
    }


def classification_scores(references: ArrayLike, predictions: ArrayLike, *, num_labels: int) -> dict[str, float]:
    """Score predictions against references.

    Args:
        references: true labels (clips,).
        predictions: predicted labels (clips,).
        num_labels: number of classes.

    Returns:
        The scores of `SCORE_NAMES`, each in [0, 1]; the module's docstring says what holds for missing classes.

    Raises:
        ValueError: as `check_label_pairs`.

    Example:
        >>> classification_scores([0, 0, 1, 2], [0, 0, 1, 1], num_labels=3)["accuracy"]
        0.75
    """
    scores = scores_from_confusion(confusion_matrix(references, predictions, num_labels=num_labels))
    return {name: float(value) for name, value in scores.items()}


def count_labels(
    references: ArrayLike,
    predictions: ArrayLike,
    *,
    labels: Sequence[int] | ArrayLike | None = None,
    num_labels: int | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Count pairs of labels where the classes need not be numbered without gaps, nor known beforehand.

    Args:
        references: true labels (clips,), integers from 0.
        predictions: predicted labels (clips,), integers from 0.
        labels: the classes that matter, each once, in the order of tables; they need not occur. None: `num_labels`
            says which.
        num_labels: number of classes; labels then lie below it. None: the classes are those that occur.

    Returns:
        The confusion matrix (classes, classes), the label of each class (classes,), and the positions of `labels` in
        the matrix, or of all classes.

    Raises:
        ValueError: as `check_label_pairs`, and for `labels` that are none, repeat or are out of range.

    Example:
        >>> count_labels([7, 7, 3], [7, 3, 3])[0].tolist()
        [[1, 0], [1, 1]]
    """
    limit = _LARGEST_LABEL if num_labels is None else num_labels
    true, predicted = check_label_pairs(references, predictions, num_labels=limit)
    if labels is not None:
        wanted = _check_labels(labels, name="labels", num_labels=limit)
        if np.unique(wanted).size < wanted.size:
            raise ValueError(f"labels: expected each class once, found {wanted.tolist()}.")
        classes = np.union1d(wanted, np.union1d(true, predicted))
    elif num_labels is not None:
        wanted = classes = np.arange(num_labels)
    else:
        wanted = classes = np.union1d(true, predicted)
    counts = confusion_matrix(
        np.searchsorted(classes, true), np.searchsorted(classes, predicted), num_labels=classes.size
    )
    return counts, classes, np.searchsorted(classes, wanted)


def label_scores(
    references: ArrayLike,
    predictions: ArrayLike,
    *,
    labels: Sequence[int] | ArrayLike | None = None,
    num_labels: int | None = None,
) -> dict[str, float]:
    """Score predictions against references as `classification_scores`, over classes of choice.

    Args:
        references: true labels (clips,), integers from 0.
        predictions: predicted labels (clips,), integers from 0.
        labels: the classes to average over, exactly these; one that does not occur counts 0. None: as the module's
            docstring says. Accuracy is over all clips in either case.
        num_labels: number of classes; a label that is not below it is an error. None: any label will do.

    Returns:
        The scores of `SCORE_NAMES` and `weighted_recall`, which is accuracy unless `labels` leaves references out.

    Raises:
        ValueError: as `count_labels`.

    Example:
        >>> label_scores([0, 0, 1], [0, 0, 1], labels=[0, 1, 2])["uar"]  # (1 + 1 + 0) / 3
        0.6666666666666666
    """
    counts, _, positions = count_labels(references, predictions, labels=labels, num_labels=num_labels)
    scores = scores_from_confusion(counts, averaged=None if labels is None else positions)
    support = counts[positions].sum()
    correct = np.diagonal(counts)[positions].sum()
    return {
        **{name: float(value) for name, value in scores.items()},
        "weighted_recall": float(correct / max(support, 1)),
    }


def rows_from_confusion(
    confusion: ArrayLike, *, label_names: Sequence[str | int]
) -> list[dict[str, str | int | float | None]]:
    """Tabulate a confusion matrix by class, as `per_class_scores`.

    Args:
        confusion: counts (classes, classes), rows true, columns predicted.
        label_names: the classes' names, or their numbers, in the matrix's order.

    Returns:
        A row for each class.

    Raises:
        ValueError: for another number of names than of classes.
    """
    counts = np.asarray(confusion)
    if len(label_names) != len(counts):
        raise ValueError(f"label_names: expected {len(counts)}, one for each class, found {len(label_names)}.")
    rows: list[dict[str, str | int | float | None]] = []
    for index, label in enumerate(label_names):
        correct = int(counts[index, index])
        num_references, num_predictions = int(counts[index].sum()), int(counts[:, index].sum())
        either = num_references + num_predictions
        rows.append(
            {
                "label": label,
                "precision": correct / num_predictions if num_predictions else None,
                "recall": correct / num_references if num_references else None,
                "f1": 2 * correct / either if either else None,
                "num_references": num_references,
                "num_predictions": num_predictions,
            }
        )
    return rows


def per_class_scores(
    references: ArrayLike, predictions: ArrayLike, *, label_names: Sequence[str]
) -> list[dict[str, str | int | float | None]]:
    """Tabulate precision, recall and F1 by class.

    Args:
        references: true labels (clips,).
        predictions: predicted labels (clips,).
        label_names: the classes' names in label order.

    Returns:
        A row for each class: `label`, `precision`, `recall`, `f1`, `num_references`, `num_predictions`. What cannot be
        said is None: recall of a class without references, precision of one never predicted, F1 of one with neither.

    Raises:
        ValueError: as `check_label_pairs`.
    """
    counts = confusion_matrix(references, predictions, num_labels=len(label_names))
    return rows_from_confusion(counts, label_names=label_names)


def chance_levels(references: ArrayLike, *, num_labels: int, seed: int = 0) -> dict[str, dict[str, float]]:
    """Say what guessing would score on these references.

    Args:
        references: true labels (clips,).
        num_labels: number of classes.
        seed: of the random guesses.

    Returns:
        `majority`: the scores of giving every clip the most frequent class (of equals the first). `random`: the mean
        scores of guesses drawn with the references' own class frequencies, over 2,000 seeded draws; its UAR comes
        close to one over the number of classes that occur.

    Raises:
        ValueError: as `check_label_pairs`.

    Example:
        >>> chance_levels([0, 0, 0, 1], num_labels=2)["majority"]["uar"]
        0.5
    """
    true, _ = check_label_pairs(references, references, num_labels=num_labels)
    support = np.bincount(true, minlength=num_labels)
    majority = np.full_like(true, int(support.argmax()))
    generator = np.random.default_rng(seed)
    frequencies = support / support.sum()
    # One multinomial draw for each true class is a random confusion matrix: (draws, classes, classes).
    draws = np.stack([generator.multinomial(count, frequencies, size=_NUM_RANDOM_DRAWS) for count in support], axis=1)
    return {
        "majority": classification_scores(true, majority, num_labels=num_labels),
        "random": {name: float(values.mean()) for name, values in scores_from_confusion(draws).items()},
    }
