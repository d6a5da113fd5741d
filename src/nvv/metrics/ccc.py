"""Concordance correlation coefficient (CCC) as an `evaluate` module.

Loads by path or from the Hub, without `nvv`; its arithmetic is the sibling `regression`'s. Own work.
"""

from __future__ import annotations

from typing import Any

import datasets
import evaluate

from .regression import regression_score

_DESCRIPTION = """\
Concordance correlation coefficient (CCC): agreement of predicted numbers with references, which falls with every
deviation from the line of equality, in scale and level as well as in order. For references x and predictions y it is
2·cov(x, y) / (var(x) + var(y) + (mean(x) - mean(y))²), in [-1, 1]. With several targets each has its own, and the score
is their mean.

Where references or predictions are constant, and so with one clip, it is 0, also where both are constant and equal.

A target without any reference has the score None and is left out of the mean. No score is NaN.
"""

_INPUTS = """
Args:
    predictions (list of float, or list of list of float): predicted number of each clip, or of each clip and target.
    references (list of float, or list of list of float): true number of each clip, or of each clip and target; NaN
        where missing: such a pair is left out for its target.
    ddof (int): 0 divides variances and covariance by the number of clips; 1 divides the variances by one less, as the
        code of the A-VB 2022 challenge does. By default 0.

Returns:
    ccc (float): mean over targets, in [-1, 1].
    ccc_per_target (list of float): of each target.

Example:
    >>> import evaluate
    >>> metric = evaluate.load("ccc.py")
    >>> metric.compute(references=[1.0, 2.0, 3.0], predictions=[2.0, 3.0, 4.0])  # 2·2/3 / (2/3 + 2/3 + 1)
    {'ccc': 0.5714285714285714, 'ccc_per_target': [0.5714285714285714]}
"""

_CITATION = """\
@article{lin1989concordance,
  title = {A concordance correlation coefficient to evaluate reproducibility},
  author = {Lin, Lawrence I-Kuei},
  journal = {Biometrics},
  volume = {45},
  number = {1},
  pages = {255--268},
  year = {1989}
}
"""


class Ccc(evaluate.Metric):
    """CCC by target and its mean."""

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
            reference_urls=["https://doi.org/10.2307/2532051"],
        )

    def _compute(
        self,
        predictions: list,
        references: list,
        *,
        ddof: int = 0,
    ) -> dict[str, Any]:
        return regression_score("ccc", references, predictions, ddof=ddof)
