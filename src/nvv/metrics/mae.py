"""Mean absolute error (MAE) as an `evaluate` module.

Loads by path or from the Hub, without `nvv`; its arithmetic is the sibling `regression`'s. Own work.
"""

from __future__ import annotations

from typing import Any

import datasets
import evaluate

from .regression import regression_score

_DESCRIPTION = """\
Mean absolute error (MAE): the mean distance of predicted numbers from references, in their own unit, from 0 up; lower
is better. With several targets each has its own, and the score is their mean.

A target without any reference has the score None and is left out of the mean. No score is NaN.
"""

_INPUTS = """
Args:
    predictions (list of float, or list of list of float): predicted number of each clip, or of each clip and target.
    references (list of float, or list of list of float): true number of each clip, or of each clip and target; NaN
        where missing: such a pair is left out for its target.

Returns:
    mae (float): mean over targets, ≥ 0.
    mae_per_target (list of float): of each target.

Example:
    >>> import evaluate
    >>> metric = evaluate.load("mae.py")
    >>> metric.compute(references=[1.0, 2.0], predictions=[1.0, 4.0])
    {'mae': 1.0, 'mae_per_target': [1.0]}
"""

_CITATION = ""


class Mae(evaluate.Metric):
    """Mean absolute error by target and its mean."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=[
                datasets.Features({"predictions": datasets.Value("float64"), "references": datasets.Value("float64")}),
                datasets.Features(
                    {
                        "predictions": datasets.Sequence(datasets.Value("float64")),
                        "references": datasets.Sequence(datasets.Value("float64")),
                    }
                ),
            ],
            reference_urls=[
                "https://scikit-learn.org/stable/modules/generated/sklearn.metrics.mean_absolute_error.html"
            ],
        )

    def _compute(self, predictions: list, references: list) -> dict[str, Any]:
        return regression_score("mae", references, predictions)
