"""The file `metrics.json`, which says how well a run did and what produced it.

It holds the scores of each split with their intervals and chance levels, and what produced them. Everything that a
resumed run must repeat exactly stands outside `provenance` and `timing`; `comparable_metrics` gives that part. Scores
lie in [0, 1], times are in seconds. Scores are computed in `nvv.metrics`, the answers they come from are kept by
`predictions`, cards are made in `nvv.hub`. Own work.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from ..files import write_text
from ..metrics import bootstrap_intervals, chance_levels, confusion_matrix, per_class_scores, scores_with_intervals
from .predictions import (
    PREDICTIONS_FILE,
    ResultsError,
    SplitPredictions,
    can_draw_speakers,
    read_predictions,
    write_predictions,
)
from .provenance import git_commit, package_versions

__all__ = [
    "FORMAT_VERSION",
    "METRICS_FILE",
    "PREDICTIONS_FILE",
    "ResultsError",
    "RunFacts",
    "SplitPredictions",
    "build_metrics",
    "comparable_metrics",
    "read_metrics",
    "read_predictions",
    "split_results",
    "to_plain",
    "write_metrics",
    "write_predictions",
]

FORMAT_VERSION = 1
METRICS_FILE = "metrics.json"

_NOT_COMPARABLE = ("provenance", "timing")


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What a run knows about itself and records beside its scores.

    Args:
        corpus: what `nvv.data.corpus_facts` says: a mapping or a dataclass with at least `name`; `is_synthetic` and
            `licence` matter to the card.
        corpus_config: the split protocol, such as `speaker`.
        backbone_id: the Hub id or folder that the backbone's configuration came from; None where there is no backbone.
        backbone_revision: its commit on the Hub, or None where there is none.
        random_init: whether the backbone never had pretrained weights.
        method: the tuning method, such as `lora`.
        total_parameters: all parameters of the model.
        trainable_parameters: those that were trained; None where that is not known.
        seed: the run's seed, where known.
        device: the device in words, such as `cpu`.
        config: the resolved configuration, groups of fields; dataclasses, paths and enums are made plain.
        tuned_layers: the encoder layers the method applied to, or None for all.
        best_step: the optimiser step of the tested checkpoint, where known.
        best_epoch: its epoch, where known.
        best_validation_score: the score by which it was chosen, where known.
        selection_metric: that score's name, where known.
        timing: durations by name, in seconds, such as `wall_time_s`; never compared between runs.
    """

    corpus: Any
    corpus_config: str
    backbone_id: str | None
    random_init: bool
    method: str
    total_parameters: int
    trainable_parameters: int | None
    seed: int | None
    device: str
    config: Mapping[str, Any] = field(default_factory=dict)
    backbone_revision: str | None = None
    tuned_layers: Sequence[int] | None = None
    best_step: int | None = None
    best_epoch: float | None = None
    best_validation_score: float | None = None
    selection_metric: str | None = "macro_f1"
    timing: Mapping[str, float] = field(default_factory=dict)


def _plain_mapping(value: Mapping[Any, Any], *, name: str) -> dict[str, Any]:
    return {str(key): to_plain(item, name=f"{name}.{key}") for key, item in value.items()}


def to_plain(value: Any, *, name: str) -> Any:
    """Turn a value into what JSON can hold.

    Args:
        value: nested mappings, sequences, dataclasses, enums, paths, numpy numbers and arrays, or plain values.
        name: the field's name, for the error.

    Returns:
        The same in dicts, lists, strings, numbers, booleans and None.

    Raises:
        ResultsError: for NaN and infinity, which JSON does not have.
        TypeError: for anything else.
    """
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, (np.ndarray, np.generic)):
        return to_plain(value.tolist(), name=name)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ResultsError(
                f"{name}: expected a finite number, found {value}. Leave the field out if it is unknown."
            )
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain_mapping({item.name: getattr(value, item.name) for item in dataclasses.fields(value)}, name=name)
    if isinstance(value, Mapping):
        return _plain_mapping(value, name=name)
    if isinstance(value, (Sequence, set, frozenset)):
        items = sorted(value) if isinstance(value, (set, frozenset)) else value
        return [to_plain(item, name=f"{name}[{index}]") for index, item in enumerate(items)]
    raise TypeError(f"{name}: cannot write a {type(value).__name__} to JSON. Turn it into a plain value first.")


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
        and high, and all units there are intervals for.

    Raises:
        ResultsError: for another number of labels, an unknown unit, or speakers asked for and not known.
    """
    num_labels = predictions.probabilities.shape[1]
    if len(label_names) != num_labels:
        raise ResultsError(
            f"{predictions.split}: {num_labels} probability columns, but {len(label_names)} label names."
        )
    if interval_unit not in ("clip", "speaker"):
        raise ResultsError(f"interval_unit: expected 'clip' or 'speaker', found {interval_unit!r}.")
    if interval_unit == "speaker" and not can_draw_speakers(predictions.speaker_ids):
        raise ResultsError(
            f"{predictions.split}: intervals over speakers need speaker_ids of every clip, and at least two speakers. "
            "Use interval_unit='clip'."
        )
    true, predicted = predictions.references, predictions.predictions
    speakers = predictions.speaker_ids
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
        "num_clips": len(predictions.files),
        "num_speakers": None if speakers is None else len(set(speakers)),
        "scores": scores,
        "interval": {
            "method": "percentile bootstrap",
            "unit": interval_unit,
            "units": units,
            "confidence": 0.95,
            "num_resamples": num_resamples,
            "seed": seed,
        },
        "chance": chance_levels(true, num_labels=num_labels, seed=seed),
        "per_class": per_class_scores(true, predicted, label_names=label_names),
        "confusion_matrix": confusion_matrix(true, predicted, num_labels=num_labels).tolist(),
    }


def build_metrics(
    splits: Sequence[SplitPredictions],
    facts: RunFacts,
    *,
    label_names: Sequence[str],
    interval_unit: str = "clip",
    num_resamples: int = 1_000,
) -> dict[str, Any]:
    """Make the content of `metrics.json`.

    Args:
        splits: the model's answers, usually on `validation` and `test`.
        facts: what the run knows about itself.
        label_names: class names in label order.
        interval_unit: as in `split_results`.
        num_resamples: as in `split_results`.

    Returns:
        `format_version`, `corpus`, `backbone`, `tuning`, `training`, `labels`, `splits` (by name), `provenance`,
        `timing`.

    Raises:
        ResultsError: as `split_results`, and for numbers that are not finite.
        TypeError: for facts that JSON cannot hold.
    """
    corpus = to_plain(facts.corpus, name="corpus")
    metrics = {
        "format_version": FORMAT_VERSION,
        "corpus": {**corpus, "config": facts.corpus_config},
        "backbone": {
            "id": facts.backbone_id,
            "revision": facts.backbone_revision,
            "random_init": facts.random_init,
        },
        "tuning": {
            "method": facts.method,
            "layers": facts.tuned_layers,
            "total_parameters": facts.total_parameters,
            "trainable_parameters": facts.trainable_parameters,
        },
        "training": {
            "seed": facts.seed,
            "selection_metric": facts.selection_metric,
            "best_validation_score": facts.best_validation_score,
            "best_step": facts.best_step,
            "best_epoch": facts.best_epoch,
        },
        "labels": list(label_names),
        "splits": {
            item.split: split_results(
                item, label_names=label_names, interval_unit=interval_unit, num_resamples=num_resamples
            )
            for item in splits
        },
        "provenance": {
            "config": facts.config,
            "versions": package_versions(),
            "git_commit": git_commit(),
            "device": facts.device,
        },
        "timing": facts.timing,
    }
    return to_plain(metrics, name=METRICS_FILE)


def comparable_metrics(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a `metrics.json` that two runs of the same configuration must share.

    Args:
        metrics: the content of a `metrics.json`.

    Returns:
        Everything but `provenance` (paths, versions, device) and `timing`.
    """
    return {name: value for name, value in metrics.items() if name not in _NOT_COMPARABLE}


def write_metrics(path: str | os.PathLike[str], metrics: Mapping[str, Any]) -> Path:
    """Write `metrics.json`, whole or not at all.

    Args:
        path: the file.
        metrics: what `build_metrics` returned.

    Returns:
        The file's path.

    Raises:
        ResultsError: for NaN or infinity, naming the field.
    """
    plain = to_plain(metrics, name=Path(path).name)
    return write_text(path, json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_metrics(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a `metrics.json`.

    Args:
        path: the file.

    Returns:
        Its content.

    Raises:
        ResultsError: if it is not JSON or of a format that this version does not know.
    """
    try:
        metrics = json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ResultsError(f"{path}: not valid JSON ({error}). Write the results again.") from error
    version = metrics.get("format_version") if isinstance(metrics, dict) else None
    if version != FORMAT_VERSION:
        raise ResultsError(
            f"{path}: expected format_version {FORMAT_VERSION}, found {version!r}. "
            "Read it with the nvv version that wrote it, or run the evaluation again."
        )
    return metrics
