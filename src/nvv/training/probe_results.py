"""What is written of a probe beside a run's own results: `probe.json` and `layer_scores.csv`.

Scores lie in [0, 1]. A score over several seeds is the mean of the heads' scores, its deviation theirs over seeds
(n - 1), and its interval the percentile bootstrap of that mean: the same resampled test clips, or speakers, for every
head of the probe, so that it says what another test set of this kind could change, and nothing about seeds. Pictures
are `probe_plots`'. Own work.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..files import replaced_when_complete, write_text
from ..metrics import SCORE_NAMES, resampled_confusions, scores_from_confusion
from .dataset import ClipDataset
from .predictions import can_draw_speakers
from .probe_layers import Probed, ScoredHead
from .results import ResultsError, to_plain
from .steps import EVALUATION_SPLITS

FORMAT_VERSION = 1
PROBE_FILE = "probe.json"
LAYER_SCORES_TABLE = "layer_scores.csv"

_TABLE_SCORES = ("macro_f1", "uar", "accuracy")
_CONFIDENCE = 0.95
_BOOTSTRAP_SEED = 0  # apart from the run's: probes of different seeds are judged on the same resamples


def build_report(
    probes: Sequence[Probed],
    metrics: Mapping[str, Any],
    *,
    clips: Mapping[str, ClipDataset],
    features: Mapping[str, int],
    timing: Mapping[str, float],
    selection_metric: str,
    greater_is_better: bool,
    num_resamples: int,
) -> dict[str, Any]:
    """Make the content of `probe.json`.

    Args:
        probes: the run's own probe first, then those of single hidden states.
        metrics: the content of `metrics.json`.
        clips: the splits.
        features: `num_clips`, and how many of them were `num_computed` and `num_cached`.
        timing: durations in seconds by name.
        selection_metric: the validation score that chose epochs and weight decays.
        greater_is_better: which way it is better.
        num_resamples: bootstrap resamples.

    Returns:
        `backbone`, `corpus`, `seeds`, `weight_decays`, `interval` (how intervals were made), `main` (the run's own
        probe), `layers` (those of single states), `best_layer` (by validation), `layer_weights`, `chance` (on test),
        `features`, `timing`.
    """
    test = clips["test"]
    by_speaker = can_draw_speakers(test.speaker_ids)
    units = test.speaker_ids if by_speaker else np.arange(len(test.labels))
    main, *single = (_summarise(probed, test=test, units=units, num_resamples=num_resamples) for probed in probes)
    report = {
        "format_version": FORMAT_VERSION,
        "backbone": metrics["backbone"],
        "corpus": {name: metrics["corpus"].get(name) for name in ("name", "pretty_name", "config", "is_synthetic")},
        "selection_metric": selection_metric,
        "seeds": [head.trained.seed for head in probes[0].chosen],
        "weight_decays": list(probes[0].heads),
        "interval": {
            "of": "the mean over seeds",
            "method": "percentile bootstrap",
            "unit": "speaker" if by_speaker else "clip",
            "confidence": _CONFIDENCE,
            "num_resamples": num_resamples,
            "seed": _BOOTSTRAP_SEED,
        },
        "main": {"is_weighted_sum": probes[0].config.use_weighted_layer_sum, **main},
        "layers": single,
        "best_layer": _best_layer(single, greater_is_better=greater_is_better),
        "layer_weights": _layer_weights(probes[0]),
        "chance": metrics["splits"]["test"]["chance"],
        "features": features,
        "timing": timing,
    }
    return to_plain(report, name=PROBE_FILE)


def _summarise(probed: Probed, *, test: ClipDataset, units: Sequence[Any], num_resamples: int) -> dict[str, Any]:
    """Summarise the chosen heads of one probe, and list all of them."""
    summary: dict[str, Any] = {"hidden_states": probed.config.summed_layers, "weight_decay": probed.weight_decay}
    summary["selection_score"] = float(np.mean([head.trained.best_score for head in probed.chosen]))
    intervals = _intervals(probed.chosen, test=test, units=units, num_resamples=num_resamples)
    for split in EVALUATION_SPLITS:
        summary[split] = {}
        for name in SCORE_NAMES:
            values = [head.scores[split][name] for head in probed.chosen]
            summary[split][name] = {"mean": float(np.mean(values)), "standard_deviation": _deviation(values)}
            if split == "test":
                low, high = intervals[name]
                summary[split][name] |= {"low": low, "high": high}
            summary[split][name]["by_seed"] = values
    summary["heads"] = [
        {
            "seed": head.trained.seed,
            "weight_decay": head.trained.weight_decay,
            "best_epoch": head.trained.best_epoch,
            "best_step": head.trained.best_step,
            "best_score": head.trained.best_score,
            **head.scores,
        }
        for of_decay in probed.heads.values()
        for head in of_decay
    ]
    return summary


def _deviation(values: Sequence[float]) -> float | None:
    """Return the standard deviation with n - 1; of a single value there is none."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _intervals(
    heads: Sequence[ScoredHead], *, test: ClipDataset, units: Sequence[Any], num_resamples: int
) -> dict[str, tuple[float, float]]:
    """Return the interval of each score's mean over heads."""
    totals = dict.fromkeys(SCORE_NAMES, 0.0)
    for head in heads:
        logits = head.logits["test"]
        # Drawn by unit with one seed, so that each head is scored on the same resamples.
        confusions = resampled_confusions(
            test.labels,
            logits.argmax(axis=-1),
            num_labels=logits.shape[-1],
            groups=units,
            num_resamples=num_resamples,
            seed=_BOOTSTRAP_SEED,
        )
        totals = {name: totals[name] + scores for name, scores in scores_from_confusion(confusions).items()}
    tail = (1 - _CONFIDENCE) / 2
    quantiles = {name: np.quantile(total / len(heads), [tail, 1 - tail]) for name, total in totals.items()}
    return {name: (float(low), float(high)) for name, (low, high) in quantiles.items()}


def _best_layer(layers: Sequence[Mapping[str, Any]], *, greater_is_better: bool) -> int | None:
    """Return the single hidden state with the best validation score, the first of equals."""
    if not layers:
        return None
    choose = max if greater_is_better else min
    return choose(layers, key=lambda summary: summary["selection_score"])["hidden_states"][0]


def _layer_weights(main: Probed) -> dict[str, Any] | None:
    weights = main.layer_weights
    if weights is None:
        return None
    return {
        "hidden_states": main.config.summed_layers,
        "mean": weights.mean(axis=0),
        "standard_deviation": weights.std(axis=0, ddof=1) if len(weights) > 1 else None,
        "by_seed": weights,
    }


def write_report(path: Path, report: Mapping[str, Any]) -> Path:
    """Write `probe.json`, whole or not at all.

    Args:
        path: the file.
        report: what `build_report` returned.

    Returns:
        The file's path.
    """
    return write_text(path, json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_report(path: Path) -> dict[str, Any]:
    """Read a `probe.json`.

    Args:
        path: the file.

    Returns:
        Its content.

    Raises:
        ResultsError: for a format that this version does not know.
    """
    report = json.loads(Path(path).read_text(encoding="utf-8"))
    if report.get("format_version") != FORMAT_VERSION:
        raise ResultsError(
            f"{path}: expected format_version {FORMAT_VERSION}, found {report.get('format_version')!r}. "
            "Run the probe again; its features are kept."
        )
    return report


def layer_table(report: Mapping[str, Any]) -> pd.DataFrame:
    """Tabulate a probe: a row for the run's own probe and one for each hidden state.

    Args:
        report: what `build_report` returned.

    Returns:
        Columns `probe` (`weighted sum`, or `hidden state` and its number), `hidden_states`, `weight_decay`,
        `num_seeds`, `layer_weight` (mean over seeds of the learned weight, for states in the sum), and for macro-F1,
        UAR and accuracy mean and deviation on validation and test, with the interval on test.
    """
    weights = report["layer_weights"] or {"hidden_states": [], "mean": []}
    weight_of = dict(zip(weights["hidden_states"], weights["mean"], strict=True))
    rows = []
    for at, summary in enumerate([report["main"], *report["layers"]]):
        states = summary["hidden_states"]
        is_sum = at == 0 and summary["is_weighted_sum"]
        row = {
            "probe": "weighted sum" if is_sum else f"hidden state {states[0]}",
            "hidden_states": " ".join(map(str, states)),
            "weight_decay": summary["weight_decay"],
            "num_seeds": len(report["seeds"]),
            "layer_weight": None if is_sum else weight_of.get(states[0]),
        }
        for split in EVALUATION_SPLITS:
            for name in _TABLE_SCORES:
                score = {key: value for key, value in summary[split][name].items() if key != "by_seed"}
                row |= {f"{split}_{name}_{key}": value for key, value in score.items()}
        rows.append(row)
    return pd.DataFrame(rows)


def write_layer_table(path: Path, report: Mapping[str, Any]) -> Path:
    """Write `layer_scores.csv`, whole or not at all.

    Args:
        path: the file.
        report: what `build_report` returned.

    Returns:
        The file's path.
    """
    with replaced_when_complete(path) as temporary:
        layer_table(report).to_csv(temporary, index=False, lineterminator="\n")
    return Path(path)
