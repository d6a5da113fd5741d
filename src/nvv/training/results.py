"""What `metrics.json` says: how well a run did, and what produced it.

It holds the scores of each split with their intervals and chance levels, and what produced them. Everything that a
resumed run must repeat exactly stands outside `provenance` and `timing`; `comparable_metrics` gives that part. Scores
of a classification lie in [0, 1], times are in seconds. Splits are scored in `split_scores`, several tasks at once in
`task_results`; the file is written and read by `metrics_file`, the answers are kept by `predictions`, cards are made in
`nvv.hub`. Own work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .metrics_file import FORMAT_VERSION, METRICS_FILE, comparable_metrics, read_metrics, to_plain, write_metrics
from .predictions import (
    PREDICTIONS_FILE,
    ResultsError,
    SplitPredictions,
    read_predictions,
    write_predictions,
)
from .provenance import git_commit, package_versions
from .split_scores import split_results

__all__ = [
    "FORMAT_VERSION",
    "METRICS_FILE",
    "PREDICTIONS_FILE",
    "ResultsError",
    "RunFacts",
    "SplitPredictions",
    "assemble_metrics",
    "build_metrics",
    "comparable_metrics",
    "read_metrics",
    "read_predictions",
    "split_results",
    "to_plain",
    "write_metrics",
    "write_predictions",
]


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


def build_metrics(
    splits: Sequence[SplitPredictions],
    facts: RunFacts,
    *,
    label_names: Sequence[str],
    interval_unit: str = "clip",
    num_resamples: int = 1_000,
    seed: int = 0,
) -> dict[str, Any]:
    """Make the content of `metrics.json`.

    Args:
        splits: the model's answers, usually on `validation` and `test`.
        facts: what the run knows about itself.
        label_names: class names in label order.
        interval_unit: as in `split_results`.
        num_resamples: as in `split_results`.
        seed: as in `split_results`.

    Returns:
        `format_version`, `corpus`, `backbone`, `tuning`, `training`, `labels`, `splits` (by name), `provenance`,
        `timing`.

    Raises:
        ResultsError: as `split_results`, and for numbers that are not finite.
        TypeError: for facts that JSON cannot hold.
    """
    results = {
        item.split: split_results(
            item, label_names=label_names, interval_unit=interval_unit, num_resamples=num_resamples, seed=seed
        )
        for item in splits
    }
    return assemble_metrics(facts, label_names=label_names, splits=results)


def assemble_metrics(
    facts: RunFacts, *, label_names: Sequence[str], splits: Mapping[str, Any], tasks: Sequence[Any] | None = None
) -> dict[str, Any]:
    """Put the scores of splits together with what produced them.

    Args:
        facts: what the run knows about itself.
        label_names: class names in label order; empty unless the model is one classifier and nothing else.
        splits: the scores of each split by its name.
        tasks: what the model's tasks are; None for a single classification over `label_names`.

    Returns:
        The content of `metrics.json`; see `build_metrics`.

    Raises:
        ResultsError: for numbers that are not finite.
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
        **({} if tasks is None else {"tasks": tasks}),
        "splits": splits,
        "provenance": {
            "config": facts.config,
            "versions": package_versions(),
            "git_commit": git_commit(),
            "device": facts.device,
        },
        "timing": facts.timing,
    }
    return to_plain(metrics, name=METRICS_FILE)
