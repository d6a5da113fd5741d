"""Confusion matrix as an `evaluate` module.

Loads by path or from the Hub, without `nvv`; its arithmetic is the sibling `classification`'s. Own work.
"""

from __future__ import annotations

from typing import Any

import datasets
import evaluate

from .classification import count_labels

_DESCRIPTION = """\
Confusion matrix: how often each true class (row) was given each class (column). Clips of classes that `labels` leaves
out, on either side, are in no cell.
"""

_INPUTS = """
Args:
    predictions (list of int): predicted label of each clip, from 0.
    references (list of int): true label of each clip, from 0.
    labels (list of int): the classes of the table, in this order; they need not occur. By default all below num_labels,
        or those that occur in references or predictions.
    num_labels (int): number of classes; a label that is not below it is an error. By default any label from 0 will do.

Returns:
    confusion_matrix (list of list of int): rows true, columns predicted.
    labels (list of int): the class of each row and column.

Example:
    >>> import evaluate
    >>> metric = evaluate.load("confusion.py")
    >>> metric.compute(references=[0, 0, 2], predictions=[0, 1, 2])
    {'confusion_matrix': [[1, 1, 0], [0, 0, 0], [0, 0, 1]], 'labels': [0, 1, 2]}
"""

_CITATION = ""


class ConfusionMatrix(evaluate.Metric):
    """How often each true class was given each class."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features({"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}),
            reference_urls=["https://scikit-learn.org/stable/modules/generated/sklearn.metrics.confusion_matrix.html"],
        )

    def _compute(
        self,
        predictions: list,
        references: list,
        *,
        labels: list[int] | None = None,
        num_labels: int | None = None,
    ) -> dict[str, Any]:
        counts, classes, positions = count_labels(references, predictions, labels=labels, num_labels=num_labels)
        return {
            "confusion_matrix": counts[positions][:, positions].tolist(),
            "labels": classes[positions].tolist(),
        }
