"""What a classifier says of clips, seen as a detector of one label: its calibration, its tables, its scores.

Logits come from `classify`, thresholds and bins from ``nvv.metrics``; what is chosen and where it goes is the neighbour
`operating_points`' business. Own work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax

from ..configuration_nvv import NvvConfig
from ..decisions_nvv import detection_scores
from ..metrics.calibration import (
    BINNINGS,
    NUM_BINS,
    TEMPERATURE_RANGE,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
)
from ..metrics.thresholds import ThresholdRow, detection_intervals, ranking_scores_with_intervals, threshold_table
from ..training.predictions import can_draw_speakers

__all__ = ["Calibration", "ScoredSplit", "calibrate", "calibration_results", "split_results"]


@dataclass(frozen=True, kw_only=True)
class ScoredSplit:
    """A model's answers on one split, for the detection of one label.

    Args:
        split: the split's name.
        files: each clip's relative path (clips,).
        speaker_ids: each clip's speaker (clips,), or None where the corpus does not say.
        corpus_labels: each clip's class in the corpus (clips,).
        is_positive: whether each clip is to be detected (clips,).
        classes: each clip's true class among the model's labels (clips,); None where the corpus's are others.
        logits: the model's at temperature 1 (clips, labels), finite.
        label_names: the model's labels in the order of the logits.
        label: the one to detect.
    """

    split: str
    files: Sequence[str]
    speaker_ids: Sequence[str] | None
    corpus_labels: Sequence[str]
    is_positive: NDArray[np.bool_]
    classes: NDArray[np.int64] | None
    logits: NDArray[np.float32]
    label_names: Sequence[str]
    label: str

    def scores(self, temperature: float) -> NDArray[np.float64]:
        """Return the label's probability of each clip (clips,) at a temperature.

        Computed by what a saved model decides with, from logits that are divided in single precision as there.
        """
        config = NvvConfig(id2label=dict(enumerate(self.label_names)))
        return detection_scores(torch.from_numpy(self.logits) / temperature, config, self.label).numpy()


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The temperature that is used, and how it came about.

    Args:
        temperature: divides the logits, > 0.
        is_fitted: whether it was fitted on this validation split.
        note: a sentence on why it was not; None where it was.
    """

    temperature: float
    is_fitted: bool
    note: str | None = None


def calibrate(validation: ScoredSplit) -> Calibration:
    """Fit a temperature on validation.

    Args:
        validation: with `classes`.

    Returns:
        The temperature; 1 where the clips are too easy or too hard to fit one.
    """
    fit = fit_temperature(validation.logits, validation.classes)
    if not fit.is_at_limit:
        return Calibration(temperature=fit.temperature, is_fitted=True)
    why = (
        "almost every validation clip is classified rightly, so that none is low enough"
        if fit.temperature == min(TEMPERATURE_RANGE)
        else "the model classifies the validation clips hardly better than by guessing, so that none is high enough"
    )
    return Calibration(temperature=1.0, is_fitted=False, note=f"No temperature could be fitted: {why}.")


def calibration_results(scored: ScoredSplit, *, temperature: float) -> dict[str, Any]:
    """Say how well probabilities are calibrated at temperature 1 and at another.

    Args:
        scored: the answers.
        temperature: the other one.

    Returns:
        `nll` (mean negative log-likelihood of the classes, in nats), and expected calibration errors over 15 bins, of
        the `label`'s probability and of the `top_answer`'s: `{"equal_width": …, "equal_mass": …}`. Each number is
        `{"before": …, "after": …}`. `nll` and `top_answer` are None where the corpus's classes are not the model's.
    """
    times = {"before": 1.0, "after": temperature}
    of_label = {name: (scored.scores(value), scored.is_positive) for name, value in times.items()}
    results: dict[str, Any] = {"num_bins": NUM_BINS, "nll": None, "label": _errors(of_label), "top_answer": None}
    if scored.classes is not None:
        results["nll"] = {
            name: negative_log_likelihood(scored.logits, scored.classes, temperature=value)
            for name, value in times.items()
        }
        is_right = scored.logits.argmax(axis=1) == scored.classes
        # Rounding may take the largest of a softmax a hair above 1.
        tops = {name: _largest_probability(scored.logits, value) for name, value in times.items()}
        results["top_answer"] = _errors({name: (top, is_right) for name, top in tops.items()})
    return results


def _largest_probability(logits: NDArray[np.float32], temperature: float) -> NDArray[np.float64]:
    return np.minimum(softmax(logits.astype(np.float64) / temperature, axis=1).max(axis=1), 1.0)


def _errors(said: dict[str, tuple[NDArray[np.float64], NDArray[np.bool_]]]) -> dict[str, dict[str, float]]:
    return {
        binning: {
            name: expected_calibration_error(probabilities, came_true, binning=binning)
            for name, (probabilities, came_true) in said.items()
        }
        for binning in BINNINGS
    }


def split_results(
    scored: ScoredSplit,
    scores: NDArray[np.float64],
    *,
    threshold: float,
    thresholds: Sequence[float],
    num_resamples: int,
) -> dict[str, Any]:
    """Score a split at an operating point and over all thresholds.

    Args:
        scored: the answers.
        scores: the label's calibrated probability of each clip (clips,).
        threshold: of the operating point.
        thresholds: of the table.
        num_resamples: bootstrap resamples behind each interval.

    Returns:
        `num_clips`, `num_positives`, `num_speakers`; `operating_point`, the row of its threshold; `scores`: accuracy,
        precision, recall, F1 there, average precision and ROC AUC over all thresholds, each None where undefined, else
        with intervals over clips (`low`, `high`) and over speakers (`speaker_low`, `speaker_high`) where they are
        known; `table`: a row for each threshold.
    """
    (row,) = threshold_table(scored.is_positive, scores, thresholds=[threshold])
    results = _intervals(scored, scores, row=row, groups=None, num_resamples=num_resamples)
    if can_draw_speakers(scored.speaker_ids):
        over_speakers = _intervals(scored, scores, row=row, groups=scored.speaker_ids, num_resamples=num_resamples)
        for name, found in results.items():
            if found is not None:
                found |= {f"speaker_{end}": over_speakers[name][end] for end in ("low", "high")}
    return {
        "num_clips": int(scored.is_positive.size),
        "num_positives": int(scored.is_positive.sum()),
        "num_speakers": None if scored.speaker_ids is None else len(set(scored.speaker_ids)),
        "operating_point": row.as_dict(),
        "scores": results,
        "table": [line.as_dict() for line in threshold_table(scored.is_positive, scores, thresholds=thresholds)],
    }


def _intervals(
    scored: ScoredSplit,
    scores: NDArray[np.float64],
    *,
    row: ThresholdRow,
    groups: Sequence[str] | None,
    num_resamples: int,
) -> dict[str, dict[str, float] | None]:
    options = {"groups": groups, "num_resamples": num_resamples}
    return {
        **detection_intervals(scored.is_positive, scores >= row.threshold, **options),
        **ranking_scores_with_intervals(scored.is_positive, scores, **options),
    }
