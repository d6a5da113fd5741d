"""F1, macro and weighted, as an `evaluate` module.

Loads by path or from the Hub, without `nvv`; its arithmetic is the sibling `classification`'s. Own work.
"""

from __future__ import annotations

from typing import Any

import datasets
import evaluate

from .classification import label_scores

_DESCRIPTION = """\
F1: the harmonic mean of precision and recall, here averaged over classes, in [0, 1]. The macro average weighs every
class alike, the weighted one by its number of references.

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
    macro_f1 (float): in [0, 1].
    weighted_f1 (float): in [0, 1].

Example:
    >>> import evaluate
    >>> metric = evaluate.load("f1.py")
    >>> metric.compute(references=[0, 0, 0, 1], predictions=[0, 0, 1, 1])  # F1 4/5 and 2/3
    {'macro_f1': 0.7333333333333334, 'weighted_f1': 0.7666666666666667}
"""

_CITATION = ""


class F1(evaluate.Metric):
    """F1, macro and weighted, over the classes that occur or over classes of choice."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features({"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}),
            reference_urls=["https://scikit-learn.org/stable/modules/generated/sklearn.metrics.f1_score.html"],
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
        return {name: scores[name] for name in ("macro_f1", "weighted_f1")}
