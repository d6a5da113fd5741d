"""Scores of answers together with their bootstrap resamples, so that answers to the same clips can be compared.

The same seed draws the same clips (or whole speakers) every time, whatever the answers: so the resamples of two
conditions can be subtracted from each other, and what makes a clip hard in both cancels out. Several tasks are scored
on the same draws, so that their mean has resamples too. Scores themselves are `nvv.metrics`'; clips and models are the
neighbours' business.

Source: B. Efron, R. Tibshirani, An Introduction to the Bootstrap, 1993, chapters 8 and 13 (paired data, percentile
intervals); own code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..metrics import chance_levels, confusion_matrix, scores_from_confusion
from ..metrics.regression import clip_sums, mean_over_targets, scores_from_sums
from ..metrics.resampling import merge_kinds, resampled_kinds
from ..training.predictions import can_draw_speakers
from ..training.scores import MAIN_SCORES, MEAN_SCORE
from .open_answers import scores_without_last_class

__all__ = [
    "CONFIDENCE",
    "AnsweredTask",
    "ResampledScores",
    "chance_scores",
    "drawn_units",
    "score_answers",
    "shown_scores",
]

CONFIDENCE = 0.95
"""Share of resamples inside every interval here."""

CLASSIFICATION_SCORES = ("macro_f1", "uar", "accuracy")
REGRESSION_SCORES = ("ccc", "pearson", "mae")

_MIN_SPEAKERS = 5
"""Fewer speakers have too few different resamples."""


@dataclass(frozen=True, kw_only=True)
class AnsweredTask:
    """A model's answers to one task, in the order of the clips.

    Args:
        task: its name.
        kind: `classification` or `regression`.
        outputs: the classes, or the targets.
        references: class indices (clips,), negative where missing; or numbers (clips, targets), NaN where missing.
        predictions: class indices (clips,), or numbers (clips, targets).
        has_other: whether an answer may be none of the classes: its index is then their number.
    """

    task: str
    kind: Literal["classification", "regression"]
    outputs: tuple[str, ...]
    references: NDArray[np.generic]
    predictions: NDArray[np.generic]
    has_other: bool = False

    @property
    def has_reference(self) -> NDArray[np.bool_]:
        """Whether a clip has a reference, for any of its targets (clips,)."""
        if self.kind == "classification":
            return self.references >= 0
        return ~np.isnan(self.references).all(axis=1)

    @property
    def score_names(self) -> tuple[str, ...]:
        """The scores that tables show, the main one first."""
        return CLASSIFICATION_SCORES if self.kind == "classification" else REGRESSION_SCORES


@dataclass(frozen=True, kw_only=True)
class ResampledScores:
    """Scores and what they were on each resample.

    Args:
        values: each score.
        resampled: each score on the resamples (resamples,), NaN where one holds no reference.
    """

    values: Mapping[str, float]
    resampled: Mapping[str, NDArray[np.float64]]

    def interval(self, name: str) -> dict[str, float]:
        """Return a score's `value`, `low` and `high`."""
        return _interval(self.values[name], self.resampled[name])

    def difference(self, name: str, other: ResampledScores) -> dict[str, float]:
        """Return how much higher a score is than another's on the same clips, and the ends of the paired interval.

        Args:
            name: the score.
            other: made with the same seed and number of resamples, of the same clips.
        """
        return _interval(self.values[name] - other.values[name], self.resampled[name] - other.resampled[name])


def _interval(value: float, resampled: NDArray[np.float64]) -> dict[str, float]:
    known = resampled[~np.isnan(resampled)]
    tail = (1 - CONFIDENCE) / 2
    # A handful of references may be in no resample at all; the score itself is then all there is.
    low, high = np.quantile(known, [tail, 1 - tail]) if known.size else (value, value)
    return {"value": float(value), "low": float(low), "high": float(high)}


def shown_scores(answers: Sequence[AnsweredTask]) -> list[str]:
    """Return the scores that tables show, by the names of `score_answers`, the main one first.

    Args:
        answers: of every task.

    Returns:
        Of one task its own; of several `mean_score` and what it is the mean of.
    """
    if len(answers) == 1:
        return list(answers[0].score_names)
    return [MEAN_SCORE, *(f"{one.task}_{MAIN_SCORES[one.kind]}" for one in answers if one.has_reference.any())]


def drawn_units(
    speaker_ids: Sequence[str] | None, *, num_resamples: int, seed: int = 0
) -> tuple[Sequence[str] | None, dict[str, Any]]:
    """Say what resamples draw: whole speakers where they are known and at least five, else clips.

    Args:
        speaker_ids: each clip's speaker (clips,), or None.
        num_resamples: bootstrap resamples.
        seed: of the bootstrap; apart from the run's and the corruptions'.

    Returns:
        The groups for `score_answers`, and what reports record: `method`, `unit`, `confidence`, `num_resamples` and
        `seed`.
    """
    has_speakers = can_draw_speakers(speaker_ids) and len(set(speaker_ids)) >= _MIN_SPEAKERS
    return speaker_ids if has_speakers else None, {
        "method": "percentile bootstrap",
        "unit": "speaker" if has_speakers else "clip",
        "confidence": CONFIDENCE,
        "num_resamples": num_resamples,
        "seed": seed,
    }


def score_answers(
    answers: Sequence[AnsweredTask],
    *,
    groups: Sequence[str] | None = None,
    num_resamples: int = 1_000,
    seed: int = 0,
) -> ResampledScores:
    """Score the answers to one or several tasks on the same clips.

    Args:
        answers: of every task; those without a single reference are left out.
        groups: each clip's speaker (clips,): whole speakers are drawn. None: clips are drawn.
        num_resamples: how many resamples, ≥ 1.
        seed: the same seed draws the same clips, whatever the answers.

    Returns:
        Of a classification `macro_f1`, `uar` and `accuracy`, of a regression `ccc`, `pearson` and `mae` (means over
        targets) and, of several targets, `ccc/<target>`. Of several tasks `<task>_<score>`, and `mean_score`: the mean
        of their UAR and CCC.

    Raises:
        ValueError: for no task with a reference, answers that do not fit their references, or `groups` of another
            length.

    Example:
        >>> answers = AnsweredTask(
        ...     task="label",
        ...     kind="classification",
        ...     outputs=("laugh", "sigh"),
        ...     references=np.array([0, 1]),
        ...     predictions=np.array([0, 0]),
        ... )
        >>> score_answers([answers], num_resamples=10).values["accuracy"]
        0.5
    """
    scored = [one for one in answers if one.has_reference.any()]
    if not scored:
        raise ValueError("answers: expected at least one reference, found none: there is nothing to score.")
    scorers = [_scorer(one) for one in scored]
    num_clips = len(scored[0].references)
    parts = [[scorer(np.ones((1, num_clips), dtype=np.int64)) for scorer in scorers]]
    draws = resampled_kinds(
        np.arange(num_clips),
        groups=groups,
        num_resamples=num_resamples,
        seed=seed,
        numbers_per_resample=max(_numbers_per_resample(one) for one in scored),
    )
    parts += [[scorer(counts) for scorer in scorers] for counts in draws]
    is_single = len(answers) == 1
    joined: dict[str, NDArray[np.float64]] = {}
    for position, one in enumerate(scored):
        for name in parts[0][position]:
            key = name if is_single else f"{one.task}_{name}"
            joined[key] = np.concatenate([part[position][name] for part in parts])
    if not is_single:
        joined[MEAN_SCORE] = np.mean([joined[f"{one.task}_{MAIN_SCORES[one.kind]}"] for one in scored], axis=0)
    return ResampledScores(
        values={name: float(values[0]) for name, values in joined.items()},
        resampled={name: values[1:] for name, values in joined.items()},
    )


def chance_scores(answers: Sequence[AnsweredTask], *, seed: int = 0) -> dict[str, float]:
    """Return what the better of two ways of guessing scores, by the names of `score_answers`.

    Args:
        answers: of every task.
        seed: of the random guesses.

    Returns:
        For classes the higher of giving every clip the most frequent class and of guesses with the references' own
        frequencies; for numbers a CCC and a correlation of 0, as the best constant has; of several tasks also their
        mean. Mean absolute errors have none.
    """
    scored = [one for one in answers if one.has_reference.any()]
    levels: dict[str, float] = {}
    for one in scored:
        prefix = "" if len(answers) == 1 else f"{one.task}_"
        if one.kind == "regression":
            levels |= {f"{prefix}ccc": 0.0, f"{prefix}pearson": 0.0}
            continue
        kinds = chance_levels(one.references[one.has_reference], num_labels=len(one.outputs), seed=seed).values()
        levels |= {f"{prefix}{name}": max(kind[name] for kind in kinds) for name in CLASSIFICATION_SCORES}
    if len(answers) > 1:
        levels[MEAN_SCORE] = float(np.mean([levels[f"{one.task}_{MAIN_SCORES[one.kind]}"] for one in scored]))
    return levels


Scorer = Callable[[NDArray[np.int64]], dict[str, NDArray[np.float64]]]
"""From how often each clip is drawn (resamples, clips) to scores (resamples,)."""


def _numbers_per_resample(answers: AnsweredTask) -> int:
    num_labels = len(answers.outputs) + 1
    return num_labels**2 if answers.kind == "classification" else 8 * len(answers.outputs)


def _scorer(answers: AnsweredTask) -> Scorer:
    return _class_scorer(answers) if answers.kind == "classification" else _number_scorer(answers)


def _class_scorer(answers: AnsweredTask) -> Scorer:
    num_labels = len(answers.outputs) + answers.has_other
    known = answers.has_reference
    true, predicted = answers.references[known], answers.predictions[known]
    confusion_matrix(true, predicted, num_labels=num_labels)  # for its checks
    cells = true.astype(np.int64) * num_labels + predicted

    def score(counts: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
        confusions = merge_kinds(counts[:, known], cells, num_labels=num_labels)
        is_there = confusions.any(axis=(1, 2))
        found = {name: np.full(len(counts), np.nan) for name in CLASSIFICATION_SCORES}
        if is_there.any():
            scores = scores_from_confusion(confusions[is_there])
            if answers.has_other:
                scores |= scores_without_last_class(confusions[is_there])
            for name, values in found.items():
                values[is_there] = scores[name]
        return found

    return score


def _number_scorer(answers: AnsweredTask) -> Scorer:
    summands, offsets = clip_sums(answers.references, answers.predictions)  # (clips, targets, sums)
    flat = summands.reshape(len(summands), -1)

    def score(counts: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
        sums = (counts @ flat).reshape(len(counts), *summands.shape[1:])
        sums[..., 0] = np.rint(sums[..., 0])  # a number of clips
        scores = scores_from_sums(sums, offsets)  # each (resamples, targets)
        found = {name: mean_over_targets(scores[name]) for name in REGRESSION_SCORES}
        if len(answers.outputs) > 1:
            is_there = ~np.isnan(answers.references).all(axis=0)
            found |= {
                f"ccc/{target}": scores["ccc"][:, number]
                for number, target in enumerate(answers.outputs)
                if is_there[number]
            }
        return found

    return score
