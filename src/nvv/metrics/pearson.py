"""Pearson's correlation as an `evaluate` module.

Loads by path or from the Hub, without `nvv`; its arithmetic is the sibling `regression`'s. Own work.
"""

from __future__ import annotations

from typing import Any

import datasets
import evaluate

from .regression import regression_score

_DESCRIPTION = """\
Pearson's correlation: how well predicted numbers follow references, in [-1, 1], that is how well the one is a straight
line of the other, whatever its slope and level. With several targets each has its own, and the score is their mean.

Where references or predictions are constant, and so with one clip, it is 0: there is no variation to follow.

A target without any reference has the score None and is left out of the mean. No score is NaN.
"""

_INPUTS = """
Args:
    predictions (list of float, or list of list of float): predicted number of each clip, or of each clip and target.
    references (list of float, or list of list of float): true number of each clip, or of each clip and target; NaN
        where missing: such a pair is left out for its target.

Returns:
    pearson (float): mean over targets, in [-1, 1].
    pearson_per_target (list of float): of each target.

Example:
    >>> import evaluate
    >>> metric = evaluate.load("pearson.py")
    >>> metric.compute(references=[1.0, 2.0, 3.0], predictions=[2.0, 4.0, 6.0])
    {'pearson': 1.0, 'pearson_per_target': [1.0]}
"""

_CITATION = ""


class Pearson(evaluate.Metric):
    """Pearson's correlation by target and its mean."""

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
            reference_urls=["https://docs.scipy.org/doc/scipy/reference/generated/scipy.stats.pearsonr.html"],
        )

    def _compute(self, predictions: list, references: list) -> dict[str, Any]:
        return regression_score("pearson", references, predictions)
