"""Accuracy as an `evaluate` module.

Loads by path or from the Hub, without `nvv`; its arithmetic is the sibling `classification`'s. Own work.
"""

from __future__ import annotations

from typing import Any

import datasets
import evaluate

from .classification import label_scores

_DESCRIPTION = """\
Accuracy: the share of clips that were given their own class, in [0, 1]. Frequent classes weigh more than rare ones; see
UAR for a score that they do not rule.

One clip and constant predictions have a score as well; it is never NaN.
"""

_INPUTS = """
Args:
    predictions (list of int): predicted label of each clip, from 0.
    references (list of int): true label of each clip, from 0.
    num_labels (int): number of classes; a label that is not below it is an error. By default any label from 0 will do.

Returns:
    accuracy (float): in [0, 1].

Example:
    >>> import evaluate
    >>> metric = evaluate.load("accuracy.py")
    >>> metric.compute(references=[0, 0, 1, 2], predictions=[0, 1, 1, 2])
    {'accuracy': 0.75}
"""

_CITATION = ""


class Accuracy(evaluate.Metric):
    """Share of clips that were given their own class."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features({"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}),
            reference_urls=["https://scikit-learn.org/stable/modules/generated/sklearn.metrics.accuracy_score.html"],
        )

    def _compute(
        self,
        predictions: list,
        references: list,
        *,
        num_labels: int | None = None,
    ) -> dict[str, Any]:
        return {"accuracy": label_scores(references, predictions, num_labels=num_labels)["accuracy"]}
