"""Scores of a regressor of one or several targets: CCC, Pearson correlation and mean absolute error.

Everything is computed from sums over clips, so that a score and its bootstrap interval (the neighbour
`regression_bootstrap`) are the same arithmetic. References and predictions are numbers in one unit; CCC and Pearson's
correlation lie in [-1, 1] (with `ddof=1` CCC falls short of 1 by the order of one over the number of clips), the mean
absolute error in [0, ∞).

What is defined where little is known:

- A reference that is missing (NaN, or None) is left out for its target; its clip still counts for the other targets. A
  missing prediction is an error.
- Where references or predictions are constant, and so with a single clip, Pearson's correlation is 0: there is no
  variation to follow. CCC is 0 there by its own formula, and by the same rule where both are constant and equal, so
  that it does not jump as the one approaches the other.
- A target without any reference has no score (None) and is left out of the mean. So no score is ever NaN.

The CCC here divides variances and covariance by the number of clips (`ddof=0`, Lin's own). The code of the A-VB 2022
challenge divides the variances by one less and the covariance by the number of clips; `ddof=1` does so too, except that
clips with a missing reference are not counted, which that code counts in the variances' divisor.

The `evaluate` modules beside this file take it along when they are loaded by path or from the Hub, without `nvv`: so it
imports nothing of `nvv`.

Source: L. I-K. Lin, A concordance correlation coefficient to evaluate reproducibility, Biometrics 45(1), 1989,
equation 2; own code.
"""

from __future__ import annotations

from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

REGRESSION_SCORE_NAMES = ("ccc", "pearson", "mae")

NUM_SUMS = 7
"""Sums over clips that every score follows from: clips, x, y, x², y², xy, |x - y|; x references, y predictions."""

_CONSTANT = 1e-13
"""A variance up to this share of the mean square is a constant's rounding error; double precision holds 2e-16."""


class RegressionScore(TypedDict):
    """One score.

    Attributes:
        mean: Over the targets that have one.
        per_target: Each target's (targets,); None where the target has no reference.
    """

    mean: float
    per_target: list[float | None]


def _check_numbers(values: ArrayLike, *, name: str) -> NDArray[np.float64]:
    """Return `values` as (clips, targets), None turned into NaN."""
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name}: expected numbers, (clips,) or (clips, targets), found something else ({error}). "
            "Give every clip as many numbers as there are targets."
        ) from error
    if numbers.ndim == 1:
        numbers = numbers[:, None]
    if numbers.ndim != 2 or numbers.size == 0:
        raise ValueError(
            f"{name}: expected (clips,) or (clips, targets) with at least one clip and one target, "
            f"found shape {np.shape(values)}."
        )
    if np.isinf(numbers).any():
        raise ValueError(f"{name}: expected finite numbers, found an infinite one in clip {_first(np.isinf(numbers))}.")
    return numbers


def _first(faults: NDArray[np.bool_]) -> int:
    """Return the position of the first clip with a fault."""
    return int(faults.any(axis=1).argmax())


def check_number_pairs(
    references: ArrayLike, predictions: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Return references and predictions as matrices of one shape, and which pairs there are.

    Args:
        references: true values (clips,) or (clips, targets); NaN or None where missing.
        predictions: predicted values, of the same shape.

    Returns:
        References and predictions (clips, targets), 0 where the reference is missing, and where it is there
        (clips, targets).

    Raises:
        ValueError: for no clips, other shapes, infinite numbers, missing predictions, or no reference at all.
    """
    true = _check_numbers(references, name="references")
    predicted = _check_numbers(predictions, name="predictions")
    if true.shape != predicted.shape:
        raise ValueError(
            f"predictions: expected {true.shape[0]} clips and {true.shape[1]} targets, as in the references, "
            f"found {predicted.shape[0]} and {predicted.shape[1]}."
        )
    missing = np.isnan(predicted)
    if missing.any():
        raise ValueError(
            f"predictions: expected a number for each clip and target, found none in clip {_first(missing)}. "
            "If training diverged, lower the learning rate."
        )
    is_there = ~np.isnan(true)
    if not is_there.any():
        raise ValueError("references: expected at least one that is not missing, found none.")
    return np.where(is_there, true, 0.0), np.where(is_there, predicted, 0.0), is_there


def _means(values: NDArray[np.float64], is_there: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return each target's mean over what is there (targets,); 0 where nothing is."""
    return values.sum(axis=0, where=is_there) / np.maximum(is_there.sum(axis=0), 1)


def clip_sums(references: ArrayLike, predictions: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what each clip adds to the sums that scores are computed from.

    Args:
        references: as in `check_number_pairs`.
        predictions: as in `check_number_pairs`.

    Returns:
        Summands (clips, targets, NUM_SUMS), 0 where the reference is missing. References and predictions are each
        shifted by their own mean, so that sums of squares keep their digits. And how far apart those means are, first
        references (targets,).

    Raises:
        ValueError: as `check_number_pairs`.
    """
    true, predicted, is_there = check_number_pairs(references, predictions)
    center_x, center_y = _means(true, is_there), _means(predicted, is_there)
    x = np.where(is_there, true - center_x, 0.0)
    y = np.where(is_there, predicted - center_y, 0.0)
    error = np.abs(true - predicted)
    return np.stack([is_there.astype(np.float64), x, y, x * x, y * y, x * y, error], axis=-1), center_x - center_y


def scores_from_sums(
    sums: NDArray[np.float64], offsets: NDArray[np.float64], *, ddof: int = 0
) -> dict[str, NDArray[np.float64]]:
    """Compute every score of `REGRESSION_SCORE_NAMES` from sums over one or many sets of clips.

    Args:
        sums: sums of what `clip_sums` returns (..., targets, NUM_SUMS).
        offsets: the means' distances, as `clip_sums` returns them (targets,).
        ddof: 0 or 1; what is taken off the number of clips that CCC's variances are divided by.

    Returns:
        For each score name an array (..., targets), NaN where a target has no reference.

    Raises:
        ValueError: for another `ddof`.
    """
    if ddof not in (0, 1):
        raise ValueError(
            f"ddof: expected 0 (variances divided by the number of clips) or 1 (by one less), found {ddof!r}."
        )
    count, x, y, xx, yy, xy, error = np.moveaxis(sums, -1, 0)  # each (..., targets)
    with np.errstate(invalid="ignore"):  # 0 / 0 where a target has no reference
        mean_x, mean_y, mean_xx, mean_yy = x / count, y / count, xx / count, yy / count
        mae = error / count
        covariance = xy / count - mean_x * mean_y
    variance_x, variance_y = mean_xx - mean_x**2, mean_yy - mean_y**2
    variance_x = np.where(variance_x <= _CONSTANT * mean_xx, 0.0, variance_x)
    variance_y = np.where(variance_y <= _CONSTANT * mean_yy, 0.0, variance_y)
    covariance = np.where((variance_x == 0) | (variance_y == 0), 0.0, covariance)
    correction = count / np.maximum(count - ddof, 1)
    spread = correction * (variance_x + variance_y) + (mean_x - mean_y + offsets) ** 2
    scale = np.sqrt(variance_x) * np.sqrt(variance_y)
    scores = {
        "ccc": np.divide(2 * covariance, spread, out=np.zeros_like(spread), where=spread > 0),
        "pearson": np.divide(covariance, scale, out=np.zeros_like(scale), where=scale > 0).clip(-1, 1),
        "mae": mae,
    }
    return {name: np.where(count > 0, values, np.nan) for name, values in scores.items()}


def mean_over_targets(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean over the targets that have a score (...), of scores (..., targets); NaN where none has."""
    has_score = ~np.isnan(values)
    num_targets = has_score.sum(axis=-1)
    totals = np.where(has_score, values, 0.0).sum(axis=-1)
    return np.where(num_targets > 0, totals / np.maximum(num_targets, 1), np.nan)


def regression_scores(references: ArrayLike, predictions: ArrayLike, *, ddof: int = 0) -> dict[str, RegressionScore]:
    """Score predicted numbers against references.

    Args:
        references: true values (clips,) or (clips, targets); NaN or None where missing.
        predictions: predicted values, of the same shape.
        ddof: 0, or 1 for the CCC of the A-VB challenge's code; the module's docstring says more.

    Returns:
        The scores of `REGRESSION_SCORE_NAMES`; the module's docstring says what holds for constants and for missing
        values.

    Raises:
        ValueError: as `check_number_pairs`, and for another `ddof`.

    Example:
        >>> regression_scores([1.0, 2.0, 3.0], [1.0, 2.0, 4.0])["ccc"]["mean"]  # 2·1 / (2/3 + 14/9 + 1/9)
        0.8571428571428571
    """
    summands, offsets = clip_sums(references, predictions)
    return {
        name: {
            "mean": float(mean_over_targets(values)),
            "per_target": [None if np.isnan(value) else float(value) for value in values],
        }
        for name, values in scores_from_sums(summands.sum(axis=0), offsets, ddof=ddof).items()
    }


def regression_score(
    name: str, references: ArrayLike, predictions: ArrayLike, *, ddof: int = 0
) -> dict[str, float | list[float | None]]:
    """Return one score as the `evaluate` modules do: its mean under its own name, its targets under another.

    Args:
        name: one of `REGRESSION_SCORE_NAMES`.
        references: as in `regression_scores`.
        predictions: as in `regression_scores`.
        ddof: as in `regression_scores`.

    Returns:
        `<name>`: the mean; `<name>_per_target`: a list (targets,).

    Raises:
        ValueError: as `regression_scores`.
    """
    score = regression_scores(references, predictions, ddof=ddof)[name]
    return {name: score["mean"], f"{name}_per_target": score["per_target"]}
