"""The table of a run's baselines, as `baselines.md` to read and `baselines.csv` to compute with.

Scores lie in [0, 1] in the CSV and are per cent in the Markdown; both are taken from each baseline's `metrics.json`.
Own work.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ..files import replaced_when_complete, write_text
from ..training.plots import SCORE_TITLES

TABLE_FILES = ("baselines.md", "baselines.csv")

FEATURE_TITLES = {
    None: "–",
    "duration": "duration alone",
    "mfcc": "MFCC statistics",
    "egemaps": "eGeMAPSv02",
    "compare": "ComParE_2016",
}
CLASSIFIER_TITLES = {
    "majority": "majority class",
    "random": "random guess",
    "logistic_regression": "logistic regression",
    "linear_svm": "linear SVM",
}
_SHOWN_SCORES = ("macro_f1", "uar", "accuracy")


def write_table(output_dir: Path, metrics: Mapping[str, Mapping[str, Any]], *, metric: str) -> list[str]:
    """Write `baselines.md` and `baselines.csv`.

    Args:
        output_dir: the folder for both.
        metrics: the content of each baseline's `metrics.json` by the baseline's name; all of one corpus and protocol.
        metric: the score that chose, shown first.

    Returns:
        The baselines' names as they stand in the table: by falling test score.
    """
    order = sorted(metrics, key=lambda name: -_score(metrics[name], "test", metric)["value"])
    table = pd.DataFrame([_row(name, metrics[name]) for name in order])
    with replaced_when_complete(output_dir / TABLE_FILES[1]) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
    write_text(output_dir / TABLE_FILES[0], _markdown({name: metrics[name] for name in order}, metric=metric))
    return order


def _score(metrics: Mapping[str, Any], split: str, name: str) -> Mapping[str, float]:
    return metrics["splits"][split]["scores"][name]


def _row(name: str, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one baseline's scores out flat."""
    row = {
        "baseline": name,
        "features": metrics["backbone"]["id"],
        "classifier": metrics["tuning"]["method"],
        "corpus": metrics["corpus"]["name"],
        "split_protocol": metrics["corpus"]["config"],
        "is_synthetic": bool(metrics["corpus"].get("is_synthetic")),
        "num_parameters": metrics["tuning"]["total_parameters"],
    }
    for split, results in metrics["splits"].items():
        row[f"{split}_num_clips"] = results["num_clips"]
        row[f"{split}_num_speakers"] = results["num_speakers"]
        for score, values in results["scores"].items():
            row.update({f"{split}_{score}" + ("" if key == "value" else f"_{key}"): values[key] for key in values})
    return row


def _markdown(metrics: Mapping[str, Mapping[str, Any]], *, metric: str) -> str:
    """Write the table with what is needed to read it."""
    first = next(iter(metrics.values()))
    corpus, test = first["corpus"], first["splits"]["test"]
    shown = [metric, *(score for score in _SHOWN_SCORES if score != metric)]
    by_speaker = "speaker_low" in test["scores"][shown[0]]
    header = ["features", "classifier", *(f"test {SCORE_TITLES[name]}" for name in shown)]
    if by_speaker:
        header.insert(3, "over speakers")
    header.append(f"validation {SCORE_TITLES[metric]}")
    lines = [f"# Baselines on {corpus.get('pretty_name') or corpus['name']}, protocol {corpus['config']}", ""]
    if corpus.get("is_synthetic"):
        lines += ["**Synthetic sounds: these numbers are no result.**", ""]
    lines += [_setting(first), ""]
    if corpus.get("protocol_note"):
        lines += [corpus["protocol_note"], ""]
    lines += ["| " + " | ".join(header) + " |", "| --- | --- |" + " ---: |" * (len(header) - 2)]
    for row in metrics.values():
        scores = row["splits"]["test"]["scores"]
        cells = [
            FEATURE_TITLES[row["backbone"]["id"]],
            CLASSIFIER_TITLES[row["tuning"]["method"]],
            *(_with_interval(scores[name]) for name in shown),
            f"{100 * _score(row, 'validation', metric)['value']:.1f}",
        ]
        if by_speaker:
            cells.insert(3, _interval(scores[metric]["speaker_low"], scores[metric]["speaker_high"]))
        lines.append("| " + " | ".join(cells) + " |")
    unit = "over clips, and in the column after it over speakers" if by_speaker else f"over {test['interval']['unit']}s"
    lines += [
        "",
        f"Per cent, with 95 % bootstrap intervals ({unit}; {test['interval']['num_resamples']} resamples). Features "
        "are standardised on the training clips, regularization is chosen by validation "
        f"{SCORE_TITLES[metric]}, the test clips are used once.",
    ]
    return "\n".join(lines) + "\n"


def _setting(metrics: Mapping[str, Any]) -> str:
    """Say in a sentence what was tested on."""
    test = metrics["splits"]["test"]
    speakers = "" if test["num_speakers"] is None else f" by {test['num_speakers']} speakers"
    chance = test["chance"]["random"]["macro_f1"]
    return (
        f"{len(metrics['labels'])} classes; {test['num_clips']} test clips{speakers}. Random guesses by the test "
        f"clips' own frequencies score {100 * chance:.1f} % macro-F1 on average."
    )


def _with_interval(score: Mapping[str, float]) -> str:
    return f"{100 * score['value']:.1f} {_interval(score['low'], score['high'])}"


def _interval(low: float, high: float) -> str:
    return f"[{100 * low:.1f}, {100 * high:.1f}]"
