"""The scores of one split, with intervals and what guessing would score: of a classifier, and of a regressor.

The arithmetic is `nvv.metrics`'; what is put together here is what `metrics.json` says of a split, or of one of its
tasks. Own work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..metrics import (
    bootstrap_intervals,
    chance_levels,
    confusion_matrix,
    per_class_scores,
    regression_scores_with_intervals,
    scores_with_intervals,
)
from .answers import RegressionPredictions, ResultsError, SplitPredictions, can_draw_speakers

__all__ = ["describe_interval", "regression_results", "split_results"]


def split_results(
    predictions: SplitPredictions,
    *,
    label_names: Sequence[str],
    interval_unit: str = "clip",
    num_resamples: int = 1_000,
    seed: int = 0,
) -> dict[str, Any]:
    """Score one split.

    Args:
        predictions: the model's answers on the split.
        label_names: class names in label order, as many as there are probability columns.
        interval_unit: what the bootstrap draws: `clip`, or `speaker` for whole speakers.
        num_resamples: bootstrap resamples.
        seed: of the bootstrap and the random guesses; apart from the run's seed, so that runs with different seeds are
            judged on the same resamples.

    Returns:
        `num_clips`, `num_speakers` (None where unknown), `scores`, `interval` (how the scores' intervals were made),
        `chance`, `per_class`, `confusion_matrix` (rows true, columns predicted). Each score has value, low and high,
        and where every clip's speaker is known and there are at least two also speaker_low and speaker_high, for which
        whole speakers are drawn: the honest interval where a speaker has many clips. `interval` names the unit of low
        and high, and all units there are intervals for. Where clips' classes are missing, `num_references` says how
        many are known and scored; where none is, `scores` is empty and nothing follows.

    Raises:
        ResultsError: for another number of labels, an unknown unit, or speakers asked for and not known.
    """
    num_labels = predictions.probabilities.shape[1]
    if len(label_names) != num_labels:
        raise ResultsError(
            f"{predictions.split}: {num_labels} probability columns, but {len(label_names)} label names."
        )
    _check_unit(predictions, interval_unit=interval_unit)
    counts = _counts(predictions)
    scored = predictions.scored()
    if scored is not predictions:
        counts["num_references"] = int(predictions.has_reference.sum())
    if scored is None:
        return {**counts, "scores": {}}
    true, predicted = scored.references, scored.predictions
    speakers = scored.speaker_ids
    resampling = {"num_labels": num_labels, "num_resamples": num_resamples, "seed": seed}
    scores = scores_with_intervals(
        true, predicted, groups=speakers if interval_unit == "speaker" else None, **resampling
    )
    units = [interval_unit]
    if can_draw_speakers(speakers):
        units = list(dict.fromkeys([interval_unit, "speaker"]))
        by_speaker = bootstrap_intervals(true, predicted, groups=speakers, **resampling)
        for name, (low, high) in by_speaker.items():
            scores[name] |= {"speaker_low": low, "speaker_high": high}
    return {
        **counts,
        "scores": scores,
        "interval": describe_interval(units, num_resamples=num_resamples, seed=seed),
        "chance": chance_levels(true, num_labels=num_labels, seed=seed),
        "per_class": per_class_scores(true, predicted, label_names=label_names),
        "confusion_matrix": confusion_matrix(true, predicted, num_labels=num_labels).tolist(),
    }


def regression_results(
    predictions: RegressionPredictions,
    *,
    interval_unit: str = "clip",
    num_resamples: int = 1_000,
    seed: int = 0,
) -> dict[str, Any]:
    """Score one split of a regressor.

    Args:
        predictions: the model's answers on the split.
        interval_unit: as in `split_results`.
        num_resamples: as in `split_results`.
        seed: as in `split_results`.

    Returns:
        `num_clips`, `num_speakers`, `num_references` (clips with at least one known target), `scores` (CCC, Pearson's
        correlation and mean absolute error, each the mean over the targets that have references), `per_target` (the
        same scores of each target; none where it has no reference), `num_references_per_target`, `interval` and
        `chance`. Intervals as in `split_results`. Where no reference is known, `scores` is empty and nothing follows.

    Raises:
        ResultsError: for an unknown unit, or speakers asked for and not known.
    """
    _check_unit(predictions, interval_unit=interval_unit)
    counts = {**_counts(predictions), "num_references": int(predictions.has_reference.sum())}
    scored = predictions.scored()
    if scored is None:
        return {**counts, "scores": {}}
    true, predicted, speakers = scored.references, scored.predictions, scored.speaker_ids
    units, drawn = [interval_unit], [("", speakers if interval_unit == "speaker" else None)]
    if can_draw_speakers(speakers):
        units = list(dict.fromkeys([interval_unit, "speaker"]))
        drawn.append(("speaker_", speakers))
    scores: dict[str, dict[str, float]] = {}
    per_target: dict[str, dict[str, dict[str, float]]] = {name: {} for name in predictions.target_names}
    for prefix, groups in drawn:
        made = regression_scores_with_intervals(true, predicted, groups=groups, num_resamples=num_resamples, seed=seed)
        for name, score in made.items():
            _add_interval(scores, name, score["mean"], prefix=prefix)
            for target, of_target in zip(predictions.target_names, score["per_target"], strict=True):
                if of_target is not None:
                    _add_interval(per_target[target], name, of_target, prefix=prefix)
    known = (~np.isnan(true)).sum(axis=0)
    return {
        **counts,
        "scores": scores,
        "interval": describe_interval(units, num_resamples=num_resamples, seed=seed),
        "chance": {"constant": _constant_scores(true)},
        "per_target": per_target,
        "num_references_per_target": dict(zip(predictions.target_names, known.tolist(), strict=True)),
    }


def describe_interval(units: Sequence[str], *, num_resamples: int, seed: int) -> dict[str, Any]:
    """Say how the intervals of a split's scores were made.

    Args:
        units: what was drawn, `clip` or `speaker`; the first is that of `low` and `high`.
        num_resamples: bootstrap resamples.
        seed: of the resamples.

    Returns:
        The field `interval` of `metrics.json`.
    """
    return {
        "method": "percentile bootstrap",
        "unit": units[0],
        "units": list(units),
        "confidence": 0.95,
        "num_resamples": num_resamples,
        "seed": seed,
    }


def _check_unit(predictions: SplitPredictions | RegressionPredictions, *, interval_unit: str) -> None:
    if interval_unit not in ("clip", "speaker"):
        raise ResultsError(f"interval_unit: expected 'clip' or 'speaker', found {interval_unit!r}.")
    if interval_unit == "speaker" and not can_draw_speakers(predictions.speaker_ids):
        raise ResultsError(
            f"{predictions.split}: intervals over speakers need speaker_ids of every clip, and at least two speakers. "
            "Use interval_unit='clip'."
        )


def _counts(predictions: SplitPredictions | RegressionPredictions) -> dict[str, int | None]:
    """Count the clips and the speakers of a split; None where speakers are not known."""
    speakers = predictions.speaker_ids
    return {
        "num_clips": len(predictions.files),
        "num_speakers": None if speakers is None else len(set(speakers)),
    }


def _add_interval(scores: dict[str, dict[str, float]], name: str, interval: dict[str, float], *, prefix: str) -> None:
    """Add a score's interval under the prefix of its unit, the value once."""
    entry = scores.setdefault(name, {"value": interval["value"]})
    entry |= {f"{prefix}low": interval["low"], f"{prefix}high": interval["high"]}


def _constant_scores(references: NDArray[np.float32]) -> dict[str, float]:
    """Score the best answer without listening: one number a target, of all the one with the smallest absolute error.

    That is the median of the references; CCC and correlation of a constant are 0.
    """
    errors = []
    for column in np.asarray(references, dtype=np.float64).T:
        known = column[~np.isnan(column)]
        if known.size:
            errors.append(np.abs(known - np.median(known)).mean())
    return {"ccc": 0.0, "pearson": 0.0, "mae": float(np.mean(errors))}
