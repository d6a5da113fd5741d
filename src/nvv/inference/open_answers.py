"""Scores of a model that may also answer none of the classes.

Where some of a model's labels stand for no class of the corpus, an answer may be `(other)`: always wrong, and never
right to give. It takes part as a wrong answer; it is no class. So it must not be one of those that macro scores are
averaged over, as it would be by their usual rule (all classes that occur in references or predictions), which would
lower them a second time. Recall and all weighted scores are the same under both. Own work.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..metrics import confusion_matrix, resampled_confusions, scores_from_confusion
from ..training.results import SplitPredictions

__all__ = ["scores_without_last_class", "without_other"]

_AVERAGED = ("macro_f1", "macro_precision", "macro_recall")


def scores_without_last_class(confusion: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Score confusion matrices whose last column holds answers that are no class.

    Args:
        confusion: counts (..., classes + 1, classes + 1), rows true, columns predicted; the last row is empty.

    Returns:
        The scores that are averaged over classes which occur, each (...).

    Example:
        >>> scores = scores_without_last_class(np.array([[2, 0, 0], [0, 1, 1], [0, 0, 0]]))
        >>> float(scores["macro_precision"])  # both classes are right whenever they are answered
        1.0
    """
    scores = scores_from_confusion(confusion)
    occurs = (confusion.sum(axis=-1) + confusion.sum(axis=-2)) > 0  # (..., classes + 1)
    # The last one adds 0 to the sum over classes, so only the number of classes is mended.
    factor = occurs.sum(axis=-1) / occurs[..., :-1].sum(axis=-1)
    return {name: scores[name] * factor for name in _AVERAGED}


def without_other(metrics: Mapping[str, Any], predictions: Sequence[SplitPredictions]) -> dict[str, Any]:
    """Correct the macro scores of results whose last label is `(other)`.

    Args:
        metrics: what `build_metrics` made.
        predictions: what it was made of.

    Returns:
        The same with `macro_f1`, `macro_precision` and `macro_recall`, and their intervals, over the classes alone.
    """
    corrected = copy.deepcopy(dict(metrics))
    for item in predictions:
        results = corrected["splits"][item.split]
        _correct(results["scores"], item, num_labels=len(metrics["labels"]), interval=results["interval"])
    return corrected


def _correct(
    scores: dict[str, dict[str, float]], item: SplitPredictions, *, num_labels: int, interval: Mapping[str, Any]
) -> None:
    true, predicted = item.references, item.predictions
    values = scores_without_last_class(confusion_matrix(true, predicted, num_labels=num_labels))
    for name in _AVERAGED:
        scores[name]["value"] = float(values[name])
    tail = (1 - interval["confidence"]) / 2
    for prefix, groups in (("", None), ("speaker_", item.speaker_ids)):
        if f"{prefix}low" not in scores["macro_f1"]:
            continue
        resampled = scores_without_last_class(
            resampled_confusions(
                true,
                predicted,
                num_labels=num_labels,
                groups=groups,
                num_resamples=interval["num_resamples"],
                seed=interval["seed"],
            )
        )
        for name in _AVERAGED:
            low, high = np.quantile(resampled[name], [tail, 1 - tail])
            scores[name] |= {f"{prefix}low": float(low), f"{prefix}high": float(high)}
