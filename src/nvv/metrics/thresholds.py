"""One class against the rest: what every threshold on its probability detects, and which threshold to take.

A clip is detected where its score is at least the threshold. Tables have one row for each threshold: of a fixed grid,
or of every distinct score, which is the exact curve. A rule picks a row on validation; the threshold to keep lies
halfway down to the next lower score, where small changes of the scores change nothing. What is undefined is None and
never NaN: precision where nothing is detected, recall where no clip is of the class.

Source: own work; average precision and the area under the ROC curve are scikit-learn's `average_precision_score` and
`roc_auc_score`. Percentile bootstrap: B. Efron, R. Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .bootstrap import resampled_confusions
from .resampling import check_resampling, resampled_kinds

FIXED_THRESHOLDS = (*(round(0.05 * step, 2) for step in range(1, 20)), 0.97, 0.99)
"""Thresholds of the tables that people read: .05, .10 … .95, .97 and .99."""

RULES = ("best_f1", "wanted_precision", "wanted_recall", "max_false_positives")

_TOLERANCE = 1e-12  # of a precision or recall against the wanted one: 0.9 in binary is not nine tenths


class ThresholdError(ValueError):
    """Scores that no threshold can be chosen on, or a rule that none of their thresholds fulfils."""


@dataclass(frozen=True, kw_only=True)
class ThresholdRow:
    """What one threshold does.

    Args:
        threshold: clips with at least this score are detected.
        true_positives: detected clips of the class.
        false_positives: detected clips of the rest.
        false_negatives: clips of the class that are not detected.
        true_negatives: the others.
    """

    threshold: float
    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int

    @property
    def num_clips(self) -> int:
        """All clips."""
        return self.true_positives + self.false_positives + self.false_negatives + self.true_negatives

    @property
    def accuracy(self) -> float:
        """Share of clips that are decided rightly."""
        return (self.true_positives + self.true_negatives) / self.num_clips

    @property
    def precision(self) -> float | None:
        """Share of the detected clips that are of the class; None where nothing is detected."""
        return _share(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float | None:
        """Share of the class's clips that are detected; None where there are none."""
        return _share(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def false_positive_rate(self) -> float | None:
        """Share of the rest's clips that are detected; None where there are none."""
        return _share(self.false_positives, self.false_positives + self.true_negatives)

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall; None where there is neither a clip of the class nor a detection."""
        return _share(2 * self.true_positives, 2 * self.true_positives + self.false_positives + self.false_negatives)

    def as_dict(self) -> dict[str, int | float | None]:
        """Return the row as tables show it, undefined values being None."""
        return {
            "threshold": self.threshold,
            "accuracy": self.accuracy,
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
            "false_positives": self.false_positives,
            "false_negatives": self.false_negatives,
            "true_positives": self.true_positives,
            "true_negatives": self.true_negatives,
        }


@dataclass(frozen=True, kw_only=True)
class ThresholdRule:
    """How a threshold is chosen.

    Args:
        kind: `best_f1`: the largest F1. `wanted_precision`: the largest recall among precisions of at least `value`.
            `wanted_recall`: the largest precision among recalls of at least `value`. `max_false_positives`: the largest
            recall with at most `value` false positives. Of equals the highest threshold, which detects least.
        value: a share in (0, 1], or a number of clips; None for `best_f1`.

    Raises:
        ThresholdError: for a kind that is not one of these, or a value outside its range.
    """

    kind: str
    value: float | None = None

    def __post_init__(self) -> None:
        """Check kind and value."""
        if self.kind not in RULES:
            raise ThresholdError(f"rule: expected one of {', '.join(RULES)}; found {self.kind!r}.")
        if self.kind == "best_f1":
            is_right, expected = self.value is None, "nothing"
        elif self.kind == "max_false_positives":
            is_right = self.value is not None and self.value >= 0 and float(self.value).is_integer()
            expected = "a number of clips, 0 or more"
        else:
            is_right, expected = self.value is not None and 0 < self.value <= 1, "a share above 0 and up to 1"
        if not is_right:
            raise ThresholdError(f"{self.kind}: expected {expected}, found {self.value!r}.")

    def __str__(self) -> str:
        return {
            "best_f1": "best F1",
            "wanted_precision": f"precision >= {self.value}",
            "wanted_recall": f"recall >= {self.value}",
            "max_false_positives": f"false positives <= {self.value if self.value is None else int(self.value)}",
        }[self.kind]


# ----------------------------------------------------------------------------------------------------------------------
# Tables
# ----------------------------------------------------------------------------------------------------------------------


def threshold_table(
    is_positive: ArrayLike, scores: ArrayLike, *, thresholds: Iterable[float] = FIXED_THRESHOLDS
) -> list[ThresholdRow]:
    """Tabulate thresholds.

    Args:
        is_positive: whether each clip is of the class (clips,), booleans.
        scores: each clip's score (clips,), finite.
        thresholds: in the order of the rows.

    Returns:
        A row for each threshold.

    Raises:
        ThresholdError: for no clips, lengths that differ, values that are no booleans, and scores that are not finite.

    Example:
        >>> [row.precision for row in threshold_table([True, False], [0.8, 0.3], thresholds=[0.2, 0.5, 0.9])]
        [0.5, 1.0, None]
    """
    positive, values = _checked(is_positive, scores)
    limits = np.asarray(list(thresholds), dtype=np.float64)
    # How many scores lie below each threshold; the rest is detected.
    missed = np.searchsorted(np.sort(values[positive]), limits, side="left")
    passed = np.searchsorted(np.sort(values[~positive]), limits, side="left")
    num_positive = int(positive.sum())
    num_negative = positive.size - num_positive
    return [
        ThresholdRow(
            threshold=float(limit),
            true_positives=num_positive - int(below),
            false_positives=num_negative - int(rest_below),
            false_negatives=int(below),
            true_negatives=int(rest_below),
        )
        for limit, below, rest_below in zip(limits, missed, passed, strict=True)
    ]


def exact_curve(is_positive: ArrayLike, scores: ArrayLike) -> list[ThresholdRow]:
    """Tabulate every threshold that makes a difference: each distinct score, ascending.

    Args:
        is_positive: as in `threshold_table`.
        scores: as in `threshold_table`.

    Returns:
        A row for each distinct score. The first detects everything; above the last nothing is detected.

    Raises:
        ThresholdError: as `threshold_table`.
    """
    _, values = _checked(is_positive, scores)
    return threshold_table(is_positive, scores, thresholds=np.unique(values))


# ----------------------------------------------------------------------------------------------------------------------
# Choosing
# ----------------------------------------------------------------------------------------------------------------------


def choose_threshold(is_positive: ArrayLike, scores: ArrayLike, *, rule: ThresholdRule) -> ThresholdRow:
    """Choose a threshold by a rule.

    Args:
        is_positive: as in `threshold_table`; both kinds of clip occur.
        scores: probabilities (clips,), strictly between 0 and 1.
        rule: how.

    Returns:
        The row of the chosen threshold, which lies between the scores that are detected and those that are not.

    Raises:
        ThresholdError: as `threshold_table`; without a clip of the class or of the rest; if no threshold fulfils the
            rule, saying what is within reach.

    Example:
        >>> scores, is_laugh = [0.2, 0.4, 0.6, 0.8], [False, True, False, True]
        >>> choose_threshold(is_laugh, scores, rule=ThresholdRule(kind="wanted_precision", value=0.9)).threshold
        0.7
    """
    positive, values = _checked(is_positive, scores)
    if positive.all() or not positive.any():
        raise ThresholdError(
            f"is_positive: expected clips of the class and of the rest, found {int(positive.sum())} of the class among "
            f"{positive.size}. Choose another split, or take more clips."
        )
    if values.min() <= 0 or values.max() >= 1:
        raise ThresholdError(
            f"scores: expected probabilities strictly between 0 and 1, found {values.min()} to {values.max()}."
        )
    best = _best_row(exact_curve(positive, values), rule)
    distinct = np.unique(values)
    at = int(np.searchsorted(distinct, best.threshold))
    (row,) = threshold_table(positive, values, thresholds=[_between(distinct[at - 1] if at else 0.0, distinct[at])])
    return row


def _best_row(curve: Sequence[ThresholdRow], rule: ThresholdRule) -> ThresholdRow:
    """Return the row of an exact curve that a rule asks for; of equals the highest threshold."""
    if rule.kind == "best_f1":
        return max(curve, key=lambda row: (row.f1, row.threshold))
    if rule.kind == "wanted_precision":
        # A threshold that detects none of the class has precision 0, and is never what was asked for.
        fit = [row for row in curve if row.precision >= rule.value - _TOLERANCE]
        reach = f"the highest precision is {max(row.precision for row in curve):.3f}"
    elif rule.kind == "wanted_recall":
        fit = [row for row in curve if row.recall >= rule.value - _TOLERANCE]
        return max(fit, key=lambda row: (row.precision, row.recall, row.threshold))
    else:
        fit = [row for row in curve if row.false_positives <= rule.value and row.true_positives]
        fewest = min(row.false_positives for row in curve if row.true_positives)
        reach = f"the fewest false positives of a threshold that detects anything right are {fewest}"
    if not fit:
        raise ThresholdError(f"{rule}: no threshold does that here; {reach}. Ask for less, or train a better model.")
    return max(fit, key=lambda row: (row.recall, row.threshold))


def _between(lower: float, upper: float) -> float:
    """Return a number about halfway from a score down to the next lower one, with as few decimals as that allows."""
    middle = (lower + upper) / 2
    quarter = (upper - lower) / 4
    for decimals in range(1, 16):
        rounded = round(middle, decimals)
        if abs(rounded - middle) <= quarter and lower < rounded < upper:
            return float(rounded)
    return float(middle if lower < middle else upper)


# ----------------------------------------------------------------------------------------------------------------------
# Scores and intervals
# ----------------------------------------------------------------------------------------------------------------------


def ranking_scores(is_positive: ArrayLike, scores: ArrayLike) -> dict[str, float | None]:
    """Say how well scores rank the class above the rest, over all thresholds.

    Args:
        is_positive: as in `threshold_table`.
        scores: as in `threshold_table`.

    Returns:
        `average_precision` (guessing gives about the class's share of the clips) and `roc_auc` (guessing gives 0.5);
        None where the clips are all of the class or all of the rest.

    Raises:
        ThresholdError: as `threshold_table`.

    Example:
        >>> ranking_scores([False, True, True], [0.1, 0.4, 0.8])
        {'average_precision': 1.0, 'roc_auc': 1.0}
    """
    positive, values = _checked(is_positive, scores)
    if positive.all() or not positive.any():
        return {"average_precision": None, "roc_auc": None}
    distinct, rank = np.unique(values, return_inverse=True)
    of_class = np.bincount(rank[positive], minlength=distinct.size)
    of_rest = np.bincount(rank[~positive], minlength=distinct.size)
    return {name: float(value[0]) for name, value in _ranking(of_class[None], of_rest[None]).items()}


def ranking_scores_with_intervals(
    is_positive: ArrayLike,
    scores: ArrayLike,
    *,
    groups: Sequence[str] | ArrayLike | None = None,
    num_resamples: int = 1_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, dict[str, float] | None]:
    """Compute `ranking_scores` with percentile bootstrap intervals.

    Args:
        is_positive: as in `threshold_table`.
        scores: as in `threshold_table`.
        groups: each clip's speaker (clips,), for intervals over speakers; None for intervals over clips.
        num_resamples: how many resamples, ≥ 1; those that happen to hold one kind of clip only say nothing.
        confidence: share of resamples inside the interval, in (0, 1).
        seed: of the resamples.

    Returns:
        For each score `{"value": …, "low": …, "high": …}`, or None as in `ranking_scores`.

    Raises:
        ThresholdError: as `threshold_table`.
        ValueError: for `groups` of another length, fewer than one resample, or a confidence outside (0, 1).
    """
    check_resampling(num_resamples=num_resamples, confidence=confidence)
    points = ranking_scores(is_positive, scores)
    positive, values = _checked(is_positive, scores)
    if None in points.values():
        return dict.fromkeys(points)
    distinct, rank = np.unique(values, return_inverse=True)
    codes, kinds = np.unique(2 * rank + positive, return_inverse=True)  # (score, class or rest) of each clip
    resampled: dict[str, list[NDArray[np.float64]]] = {name: [] for name in points}
    draws = resampled_kinds(
        kinds, groups=groups, num_resamples=num_resamples, seed=seed, numbers_per_resample=4 * distinct.size
    )
    for counts in draws:  # (some resamples, kinds)
        cells = np.zeros((len(counts), 2 * distinct.size), dtype=np.int64)
        cells[:, codes] = counts
        of_rest, of_class = cells[:, 0::2], cells[:, 1::2]
        has_both = (of_class.sum(axis=1) > 0) & (of_rest.sum(axis=1) > 0)
        for name, some in _ranking(of_class[has_both], of_rest[has_both]).items():
            resampled[name].append(some)
    return {
        name: _interval(value, np.concatenate(resampled[name]), confidence=confidence) for name, value in points.items()
    }


def detection_intervals(
    is_positive: ArrayLike,
    is_detected: ArrayLike,
    *,
    groups: Sequence[str] | ArrayLike | None = None,
    num_resamples: int = 1_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, dict[str, float] | None]:
    """Score detections at one threshold, with percentile bootstrap intervals.

    Args:
        is_positive: whether each clip is of the class (clips,).
        is_detected: whether each was detected (clips,).
        groups: as in `ranking_scores_with_intervals`.
        num_resamples: as there; a resample in which a score is undefined says nothing on it.
        confidence: as there.
        seed: as there.

    Returns:
        `accuracy`, `precision`, `recall`, `f1`: `{"value": …, "low": …, "high": …}`, or None where undefined.

    Raises:
        ThresholdError: as `threshold_table`.
        ValueError: as `ranking_scores_with_intervals`.
    """
    check_resampling(num_resamples=num_resamples, confidence=confidence)
    positive, answers = _checked(is_positive, np.asarray(is_detected, dtype=np.float64))
    (row,) = threshold_table(positive, answers, thresholds=[0.5])
    confusions = resampled_confusions(
        positive.astype(np.int64),
        answers.astype(np.int64),
        num_labels=2,
        groups=groups,
        num_resamples=num_resamples,
        seed=seed,
    )
    correct, wrong = confusions[:, 1, 1], confusions[:, 0, 1]
    missed = confusions[:, 1, 0]
    resampled = {
        "accuracy": (correct + confusions[:, 0, 0], confusions.sum(axis=(1, 2))),
        "precision": (correct, correct + wrong),
        "recall": (correct, correct + missed),
        "f1": (2 * correct, 2 * correct + wrong + missed),
    }
    joined: dict[str, dict[str, float] | None] = {}
    for name, (numerator, denominator) in resampled.items():
        value, known = getattr(row, name), denominator > 0
        shares = numerator[known] / denominator[known]
        joined[name] = None if value is None else _interval(value, shares, confidence=confidence)
    return joined


def _interval(value: float, resampled: NDArray[np.float64], *, confidence: float) -> dict[str, float]:
    """Put a value and the percentiles of its resamples together.

    Args:
        value: the value.
        resampled: the value in each resample (resamples,); where there is none, the interval has no width.
        confidence: share of resamples inside the interval, in (0, 1).

    Returns:
        `value`, `low`, `high`.
    """
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail]) if resampled.size else (value, value)
    return {"value": value, "low": float(low), "high": float(high)}


def _ranking(of_class: NDArray[np.int64], of_rest: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Compute the ranking scores from counts (resamples, distinct scores) in ascending order of the scores."""
    num_class, num_rest = of_class.sum(axis=1, dtype=np.float64), of_rest.sum(axis=1, dtype=np.float64)
    detected = np.cumsum(of_class[:, ::-1], axis=1)[:, ::-1]  # clips of the class with at least the score
    detected_rest = np.cumsum(of_rest[:, ::-1], axis=1)[:, ::-1]
    # Where nothing is detected nothing is added either: the count of the class there is 0.
    precision = detected / np.maximum(detected + detected_rest, 1)
    average_precision = (of_class * precision).sum(axis=1) / num_class
    below = np.cumsum(of_rest, axis=1) - of_rest / 2  # of equal scores half are below
    roc_auc = (of_class * below).sum(axis=1) / (num_class * num_rest)
    return {"average_precision": average_precision, "roc_auc": roc_auc}


def _share(numerator: int, denominator: int) -> float | None:
    return numerator / denominator if denominator else None


def _checked(is_positive: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return both as vectors (clips,)."""
    positive, values = np.asarray(is_positive), np.asarray(scores, dtype=np.float64)
    if positive.dtype != np.bool_ or positive.ndim != 1 or positive.size == 0:
        raise ThresholdError(
            f"is_positive: expected a vector of booleans, one for each clip; found {positive.dtype}, shape "
            f"{positive.shape}."
        )
    if values.shape != positive.shape:
        raise ThresholdError(f"scores: expected {positive.size}, one for each clip, found shape {values.shape}.")
    if not np.isfinite(values).all():
        raise ThresholdError(
            f"scores: expected finite numbers, found {values[~np.isfinite(values)][0]}. A model that diverged cannot "
            "detect anything."
        )
    return positive, values
