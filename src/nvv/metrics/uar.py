"""Unweighted average recall (UAR, balanced accuracy) as an `evaluate` module.

Loads by path or from the Hub, without `nvv`; its arithmetic is the sibling `classification`'s. Own work.
"""

from __future__ import annotations

from typing import Any

import datasets
import evaluate

from .classification import label_scores

_DESCRIPTION = """\
Unweighted average recall (UAR): also known as balanced accuracy, the mean over classes of the share of a class's clips
that were found, so that rare classes weigh as much as frequent ones. It lies in [0, 1]; giving every clip one class
scores one over the number of classes. It is the usual score of paralinguistic tasks.

One clip and constant predictions have a score as well; it is never NaN.
"""

_INPUTS = """
Args:
    predictions (list of int): predicted label of each clip, from 0.
    references (list of int): true label of each clip, from 0.
    labels (list of int): the classes to average over, exactly these; one that does not occur counts 0. By default those
        that occur in the references.
    num_labels (int): number of classes; a label that is not below it is an error. By default any label from 0 will do.

Returns:
    uar (float): in [0, 1].

Example:
    >>> import evaluate
    >>> metric = evaluate.load("uar.py")
    >>> metric.compute(references=[0, 0, 1], predictions=[0, 1, 1])  # (1/2 + 1) / 2
    {'uar': 0.75}
    >>> metric.compute(references=[0, 0, 1], predictions=[0, 1, 1], labels=[0, 1, 2])  # (1/2 + 1 + 0) / 3
    {'uar': 0.5}
"""

_CITATION = ""


class Uar(evaluate.Metric):
    """UAR over the classes that occur, or over classes of choice."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features({"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}),
            reference_urls=[
                "https://scikit-learn.org/stable/modules/generated/sklearn.metrics.balanced_accuracy_score.html"
            ],
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
        return {"uar": scores["uar"]}
