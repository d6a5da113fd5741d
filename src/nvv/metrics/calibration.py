"""Whether probabilities mean what they say, and the temperature that makes them do so.

A temperature divides logits before softmax. It is fitted on validation by the mean negative log-likelihood and changes
no clip's most probable class. The expected calibration error is the mean gap between the probability that was said and
the share of clips it came true for, over bins of clips: equally wide ones (15 between 0 and 1, as published), or ones
that hold equally many clips. Where a bin holds few clips the gap is partly chance, so it is never zero on a small
split.

Source: C. Guo, G. Pleiss, Y. Sun, K. Weinberger, On Calibration of Modern Neural Networks, ICML 2017 (temperature
scaling, section 4.2; expected calibration error, equation 3); bins of equal mass: J. Nixon et al., Measuring
Calibration in Deep Learning, CVPR Workshops 2019. Own code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import log_softmax, softmax

NUM_BINS = 15
BINNINGS = ("equal_width", "equal_mass")

TEMPERATURE_RANGE = (0.2, 20.0)
"""Where a temperature is looked for. On clips that are all classified rightly the best one is 0, where probabilities
are all 0 or 1; on clips that are classified no better than by chance it is infinite."""


class CalibrationError(ValueError):
    """Logits, labels or probabilities that nothing can be said on."""


@dataclass(frozen=True, kw_only=True)
class TemperatureFit:
    """A fitted temperature.

    Args:
        temperature: what to divide logits by, > 0.
        is_at_limit: whether it is an end of `TEMPERATURE_RANGE`: the clips are too easy or too hard to fit one.
        nll_before: mean negative log-likelihood of the labels at temperature 1, in nats.
        nll_after: at the fitted temperature.
    """

    temperature: float
    is_at_limit: bool
    nll_before: float
    nll_after: float


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """Clips of like probability.

    Args:
        low: they have more than this probability; the first bin takes it in.
        high: and at most this.
        num_clips: how many they are.
        mean_probability: the mean of what was said; None in an empty bin.
        share: the share it came true for; None in an empty bin.
    """

    low: float
    high: float
    num_clips: int
    mean_probability: float | None
    share: float | None

    def as_dict(self) -> Mapping[str, float | int | None]:
        """Return the fields by name."""
        return {**self.__dict__}


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> TemperatureFit:
    """Fit a temperature to the labels of validation clips.

    The likelihood has one maximum: it is concave in the inverse temperature, whose derivative is searched for its root.

    Args:
        logits: what the model computes before softmax, at temperature 1 (clips, labels), finite.
        labels: true classes (clips,).

    Returns:
        The temperature and what it does to the likelihood of these clips.

    Raises:
        CalibrationError: for other shapes, fewer than two labels, logits that are not finite, labels out of range.

    Example:
        >>> logits = [[2.0, 0.0], [2.0, 0.0], [2.0, 0.0], [0.0, 2.0]]  # says 0.88, is right three times in four
        >>> round(fit_temperature(logits, [0, 0, 1, 1]).temperature, 3)  # 2 / ln 3
        1.82
    """
    values, true = _checked_logits(logits, labels)
    of_true = values[np.arange(true.size), true]

    def slope(inverse: float) -> float:
        """Return the derivative of the mean negative log-likelihood by the inverse temperature."""
        return float(((softmax(inverse * values, axis=1) * values).sum(axis=1) - of_true).mean())

    coolest, hottest = TEMPERATURE_RANGE
    if slope(1 / hottest) >= 0:
        temperature, is_at_limit = hottest, True
    elif slope(1 / coolest) <= 0:
        temperature, is_at_limit = coolest, True
    else:
        temperature, is_at_limit = 1 / brentq(slope, 1 / hottest, 1 / coolest, xtol=1e-10), False
    return TemperatureFit(
        temperature=temperature,
        is_at_limit=is_at_limit,
        nll_before=negative_log_likelihood(values, true),
        nll_after=negative_log_likelihood(values, true, temperature=temperature),
    )


def negative_log_likelihood(logits: ArrayLike, labels: ArrayLike, *, temperature: float = 1.0) -> float:
    """Compute the mean negative log-likelihood of labels.

    Args:
        logits: as in `fit_temperature`.
        labels: true classes (clips,).
        temperature: divides the logits, > 0.

    Returns:
        Nats a clip.

    Raises:
        CalibrationError: as `fit_temperature`.
    """
    values, true = _checked_logits(logits, labels)
    return float(-log_softmax(values / temperature, axis=1)[np.arange(true.size), true].mean())


def reliability_bins(
    probabilities: ArrayLike, came_true: ArrayLike, *, num_bins: int = NUM_BINS, binning: str = "equal_width"
) -> list[ReliabilityBin]:
    """Sort clips into bins by probability, and compare what was said with what came true.

    Args:
        probabilities: what was said of each clip (clips,), in [0, 1]: of its most probable class, or of one class.
        came_true: whether it was so (clips,), booleans.
        num_bins: how many bins, ≥ 1.
        binning: `equal_width`: bins of equal width between 0 and 1. `equal_mass`: the bins' edges are quantiles of the
            probabilities; equal probabilities share a bin, so that there may be fewer.

    Returns:
        The bins in ascending order, empty ones too.

    Raises:
        CalibrationError: for no clips, lengths that differ, values out of range, or another binning.
    """
    said, outcomes = _checked_probabilities(probabilities, came_true)
    if num_bins < 1:
        raise CalibrationError(f"num_bins: expected at least 1, found {num_bins}.")
    if binning == "equal_width":
        lowest, highs = 0.0, np.arange(1, num_bins + 1) / num_bins
    elif binning == "equal_mass":
        # Edges that are probabilities themselves, so that interpolation does not part equal ones by rounding.
        lowest = said.min()
        highs = np.unique(np.quantile(said, np.arange(1, num_bins + 1) / num_bins, method="inverted_cdf"))
    else:
        raise CalibrationError(f"binning: expected one of {', '.join(BINNINGS)}; found {binning!r}.")
    index = np.searchsorted(highs, said, side="left")
    counts = np.bincount(index, minlength=highs.size)
    sums = np.bincount(index, weights=said, minlength=counts.size)
    hits = np.bincount(index, weights=outcomes, minlength=counts.size)
    return [
        ReliabilityBin(
            low=float(low),
            high=float(high),
            num_clips=int(count),
            mean_probability=float(total / count) if count else None,
            share=float(hit / count) if count else None,
        )
        for low, high, count, total, hit in zip([lowest, *highs[:-1]], highs, counts, sums, hits, strict=True)
    ]


def expected_calibration_error(
    probabilities: ArrayLike, came_true: ArrayLike, *, num_bins: int = NUM_BINS, binning: str = "equal_width"
) -> float:
    """Compute the expected calibration error.

    Args:
        probabilities: as in `reliability_bins`.
        came_true: as in `reliability_bins`.
        num_bins: as in `reliability_bins`.
        binning: as in `reliability_bins`.

    Returns:
        The mean over clips of the gap of their bin, in [0, 1].

    Raises:
        CalibrationError: as `reliability_bins`.

    Example:
        >>> round(expected_calibration_error([0.9, 0.9, 0.9, 0.9], [True, True, True, False]), 3)  # 0.9 - 0.75
        0.15
    """
    bins = reliability_bins(probabilities, came_true, num_bins=num_bins, binning=binning)
    gaps = [part.num_clips * abs(part.mean_probability - part.share) for part in bins if part.num_clips]
    return float(sum(gaps) / sum(part.num_clips for part in bins))


def _checked_logits(logits: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    values, true = np.asarray(logits, dtype=np.float64), np.asarray(labels)
    if values.ndim != 2 or values.shape[0] == 0 or values.shape[1] < 2 or not np.isfinite(values).all():
        raise CalibrationError(
            f"logits: expected finite numbers (clips, labels) of at least two labels, found shape {values.shape}"
            f"{'' if np.isfinite(values).all() else ' with some that are not finite'}."
        )
    if true.shape != values.shape[:1] or not np.issubdtype(true.dtype, np.integer):
        raise CalibrationError(f"labels: expected {len(values)} integers, found {true.dtype}, shape {true.shape}.")
    if true.min() < 0 or true.max() >= values.shape[1]:
        raise CalibrationError(f"labels: expected 0 to {values.shape[1] - 1}, found {true.min()} to {true.max()}.")
    return values, true.astype(np.int64)


def _checked_probabilities(
    probabilities: ArrayLike, came_true: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    said, outcomes = np.asarray(probabilities, dtype=np.float64), np.asarray(came_true)
    if said.ndim != 1 or said.size == 0 or not ((said >= 0) & (said <= 1)).all():
        raise CalibrationError(f"probabilities: expected a vector of numbers in [0, 1], found shape {said.shape}.")
    if outcomes.shape != said.shape or outcomes.dtype != np.bool_:
        raise CalibrationError(
            f"came_true: expected {said.size} booleans, found {outcomes.dtype}, shape {outcomes.shape}."
        )
    return said, outcomes
