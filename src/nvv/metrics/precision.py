"""Precision, macro and weighted, as an `evaluate` module.

Loads by path or from the Hub, without `nvv`; its arithmetic is the sibling `classification`'s. Own work.
"""

from __future__ import annotations

from typing import Any

import datasets
import evaluate

from .classification import label_scores

_DESCRIPTION = """\
Precision: the share of a class's predictions that are right, here averaged over classes, in [0, 1]. The macro average
weighs every class alike, the weighted one by its number of references.

A class with nothing to divide by counts 0. One clip and constant predictions have a score as well; it is never NaN.
"""

_INPUTS = """
Args:
    predictions (list of int): predicted label of each clip, from 0.
    references (list of int): true label of each clip, from 0.
    labels (list of int): the classes to average over, exactly these; one that does not occur counts 0. By default those
        that occur in references or predictions.
    num_labels (int): number of classes; a label that is not below it is an error. By default any label from 0 will do.

Returns:
    macro_precision (float): in [0, 1].
    weighted_precision (float): in [0, 1].

Example:
    >>> import evaluate
    >>> metric = evaluate.load("precision.py")
    >>> metric.compute(references=[0, 0, 0, 1], predictions=[0, 0, 1, 1])  # precision 1 and 1/2
    {'macro_precision': 0.75, 'weighted_precision': 0.875}
"""

_CITATION = ""


class Precision(evaluate.Metric):
    """Precision, macro and weighted, over the classes that occur or over classes of choice."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features({"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}),
            reference_urls=["https://scikit-learn.org/stable/modules/generated/sklearn.metrics.precision_score.html"],
        )

    def _compute(
        self,
        predictions: list,
        references: list,
        *,
        labels: list[int] | None = None,
        num_labels: int | None = None,
    ) -> dict[str, Any]:
        scores = label_scores(references, predictions, labels=labels, num_labels=num_labels)
        return {name: scores[name] for name in ("macro_precision", "weighted_precision")}
