"""Recall, macro and weighted, as an `evaluate` module.

Loads by path or from the Hub, without `nvv`; its arithmetic is the sibling `classification`'s. Own work.
"""

from __future__ import annotations

from typing import Any

import datasets
import evaluate

from .classification import label_scores

_DESCRIPTION = """\
Recall: the share of a class's clips that were found, here averaged over classes, in [0, 1]. The macro average weighs
every class alike, the weighted one by its number of references. Weighted recall is accuracy, unless `labels` leaves
references out. Macro recall counts a class that is only predicted as 0; UAR leaves it out.

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
    macro_recall (float): in [0, 1].
    weighted_recall (float): in [0, 1].

Example:
    >>> import evaluate
    >>> metric = evaluate.load("recall.py")
    >>> metric.compute(references=[0, 0, 0, 1], predictions=[0, 0, 1, 1])  # recall 2/3 and 1
    {'macro_recall': 0.8333333333333333, 'weighted_recall': 0.75}
"""

_CITATION = ""


class Recall(evaluate.Metric):
    """Recall, macro and weighted, over the classes that occur or over classes of choice."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features({"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}),
            reference_urls=["https://scikit-learn.org/stable/modules/generated/sklearn.metrics.recall_score.html"],
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
        return {name: scores[name] for name in ("macro_recall", "weighted_recall")}
