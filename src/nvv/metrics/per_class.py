"""Precision, recall and F1 by class as an `evaluate` module.

Loads by path or from the Hub, without `nvv`; its arithmetic is the sibling `classification`'s. Own work.
"""

from __future__ import annotations

from typing import Any

import datasets
import evaluate

from .classification import count_labels, rows_from_confusion

_DESCRIPTION = """\
Precision, recall and F1 by class: a table, with the numbers of references and predictions behind each row. What cannot
be said is None: recall of a class without references, precision of one never predicted, F1 of one with neither.
"""

_INPUTS = """
Args:
    predictions (list of int): predicted label of each clip, from 0.
    references (list of int): true label of each clip, from 0.
    labels (list of int): the classes of the table, in this order; they need not occur. By default all below num_labels,
        or those that occur in references or predictions.
    num_labels (int): number of classes; a label that is not below it is an error. By default any label from 0 will do.
    label_names (list of str): the classes' names in the table's order; by default their numbers.

Returns:
    per_class (list of dict): for each class label, precision, recall, f1, num_references and num_predictions.

Example:
    >>> import evaluate
    >>> metric = evaluate.load("per_class.py")
    >>> metric.compute(references=[1, 1], predictions=[1, 0], num_labels=2)["per_class"][1]
    {'label': 1, 'precision': 1.0, 'recall': 0.5, 'f1': 0.6666666666666666, 'num_references': 2, 'num_predictions': 1}
"""

_CITATION = ""


class PerClass(evaluate.Metric):
    """A table of precision, recall and F1 by class."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features({"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}),
            reference_urls=[
                "https://scikit-learn.org/stable/modules/generated/sklearn.metrics.precision_recall_fscore_support.html"
            ],
        )

    def _compute(
        self,
        predictions: list,
        references: list,
        *,
        labels: list[int] | None = None,
        num_labels: int | None = None,
        label_names: list[str] | None = None,
    ) -> dict[str, Any]:
        counts, classes, positions = count_labels(references, predictions, labels=labels, num_labels=num_labels)
        rows = rows_from_confusion(counts, label_names=classes.tolist())
        rows = [rows[position] for position in positions]
        if label_names is not None:
            if len(label_names) != len(rows):
                raise ValueError(f"label_names: expected {len(rows)}, one for each class, found {len(label_names)}.")
            rows = [{**row, "label": name} for row, name in zip(rows, label_names, strict=True)]
        return {"per_class": rows}
