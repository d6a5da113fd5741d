"""The folder of an operating point: tables, curves, every clip's decision, a report in words, and the pictures.

Nothing is ever written half: files are made aside and put in place together, `operating_point.json` last. What is in
them is made in `operating_points`. Own work.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..files import write_text
from ..metrics.thresholds import exact_curve
from ..training.checkpoints import OutputFolderError
from .detection_plots import PRECISION_RECALL_FILE, RELIABILITY_FILE, ROC_FILE, write_detection_plots
from .detection_scores import ScoredSplit
from .report_folder import holds_more_than_a_report, written_together

__all__ = ["DETECTIONS_FILE", "REPORT_FILE", "TEXT_FILE", "check_output_folder", "render_report", "write_report"]

REPORT_FILE = "operating_point.json"
TEXT_FILE = "operating_point.md"
DETECTIONS_FILE = "detections.csv"

_TABLE_COLUMNS = (
    *("threshold", "accuracy", "precision", "recall", "f1", "false_positives", "false_negatives"),
    *("true_positives", "true_negatives"),
)
_SCORE_TITLES = {
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "average_precision": "average precision",
    "roc_auc": "area under the ROC curve",
}
_OVER_ALL = ("average_precision", "roc_auc")
_NOTHING = "–"


def check_output_folder(output_dir: Path, identity: Mapping[str, Any] | None = None, *, overwrite: bool) -> None:
    """Refuse to write over a model, a run, an evaluation, or the report on something else.

    Args:
        output_dir: the folder, which need not exist.
        identity: what identifies the new report, fields of `operating_point.json`; None where that is not known yet.
        overwrite: whether the report on something else may be replaced.

    Raises:
        OutputFolderError: naming what is there.
    """
    if not output_dir.is_dir():
        return
    if holds_more_than_a_report(output_dir):
        raise OutputFolderError(
            f"output_dir: {output_dir} holds a model, a run or an evaluation. Choose another folder."
        )
    file = output_dir / REPORT_FILE
    if overwrite or identity is None or not file.is_file():
        return
    try:
        before = json.loads(file.read_text(encoding="utf-8"))
        differing = [name for name, value in identity.items() if before[name] != value]
    except (json.JSONDecodeError, KeyError, TypeError):
        differing = ["format"]
    if differing:
        raise OutputFolderError(
            f"output_dir: {output_dir} holds the report on another operating point, which differs in: "
            f"{', '.join(differing)}. Choose another folder, or replace it (--overwrite_output_dir true)."
        )


def write_report(output_dir: Path, report: Mapping[str, Any], splits: Sequence[ScoredSplit]) -> None:
    """Write everything aside, then put it in place.

    Args:
        output_dir: the folder, made if missing; what an earlier report left in it is replaced.
        report: the content of `operating_point.json`.
        splits: the answers behind it.
    """
    temperature, threshold = report["calibration"]["temperature"], report["threshold"]
    with written_together(output_dir, last=REPORT_FILE) as partial:
        for scored in splits:
            table = report["splits"][scored.split]["table"]
            _write_rows(partial / f"thresholds_{scored.split}.csv", _TABLE_COLUMNS, table)
            curve = [
                {**row.as_dict(), "false_positive_rate": row.false_positive_rate}
                for row in exact_curve(scored.is_positive, scored.scores(temperature))
            ]
            _write_rows(partial / f"curve_{scored.split}.csv", (*_TABLE_COLUMNS, "false_positive_rate"), curve)
        _write_detections(partial / DETECTIONS_FILE, splits, temperature=temperature, threshold=threshold)
        write_detection_plots(
            partial,
            splits,
            temperature=temperature,
            threshold=threshold,
            title=f"{report['label']} against the rest: {report['model']['id']}, {report['corpus']['name']}",
            note=_no_evidence(report),
        )
        write_text(partial / TEXT_FILE, render_report(report))
        write_text(partial / REPORT_FILE, json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _write_rows(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a table; what is undefined is an empty cell."""
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _write_detections(path: Path, splits: Sequence[ScoredSplit], *, temperature: float, threshold: float) -> None:
    """Write what is said and decided of every clip."""
    columns = ("split", "file", "speaker_id", "corpus_label", "is_positive", "score", "is_detected")
    rows = []
    for scored in splits:
        speakers = scored.speaker_ids or [""] * len(scored.files)
        scores = scored.scores(temperature)
        clips = zip(scored.files, speakers, scored.corpus_labels, scored.is_positive, scores, strict=True)
        for file, speaker, corpus_label, is_positive, score in clips:
            values = (
                scored.split,
                file,
                speaker,
                corpus_label,
                bool(is_positive),
                float(score),
                bool(score >= threshold),
            )
            rows.append(dict(zip(columns, values, strict=True)))
    _write_rows(path, columns, rows)


# ----------------------------------------------------------------------------------------------------------------------
# In words
# ----------------------------------------------------------------------------------------------------------------------


def render_report(report: Mapping[str, Any]) -> str:
    """Render the report as Markdown.

    Args:
        report: the content of `operating_point.json`.

    Returns:
        The text.
    """
    label, corpus = report["label"], report["corpus"]
    classes = ", ".join(corpus["positive_labels"])
    lines = [
        f"# Detecting `{label}`",
        "",
        f"A clip is detected where the calibrated probability of `{label}` is at least **{report['threshold']}**. "
        f"Chosen on validation by the rule: {report['rule']}.",
        "",
        f"- Model: `{report['model']['id']}`",
        f"- Corpus: {corpus['name']}, {corpus['config']}; to be detected: {classes}",
        f"- {_stored(report)}",
        f"- Front-end: {_front_end(report['front_end'])}. The threshold holds for this front-end only: denoising, "
        "other lengths or padding move all scores.",
        f"- {_calibration(report['calibration'])}",
        "",
    ]
    for sentence in (_no_evidence(report) or "").splitlines():
        lines += [f"**{sentence}**", ""]
    for warning in report["warnings"]:
        lines += [f"> {warning}", ""]
    for split, results in report["splits"].items():
        lines += [f"## {split.capitalize()}", "", *_split_lines(results, threshold=report["threshold"]), ""]
    lines += [*_calibration_lines(report["calibration"]), ""]
    lines += [f"![Precision over recall]({PRECISION_RECALL_FILE})", "", f"![ROC]({ROC_FILE})", ""]
    lines += [f"![Reliability]({RELIABILITY_FILE})"]
    return "\n".join(lines) + "\n"


def _no_evidence(report: Mapping[str, Any]) -> str | None:
    reasons = []
    if report["corpus"]["is_synthetic"]:
        reasons.append("Computed sounds: no evidence about people's voices.")
    if report["model"]["random_init"]:
        reasons.append("The encoder has random weights: no evidence about the backbone or the method.")
    return "\n".join(reasons) or None


def _stored(report: Mapping[str, Any]) -> str:
    if not report["stored_in_model"]:
        return "Not stored in the model."
    return (
        "Stored in the model's `config.json`: `model.detect(…)` decides by it, and "
        f"`from_pretrained(…, trust_remote_code=True, apply_operating_point={report['label']!r})` makes the model "
        "answer by it."
    )


def _front_end(front_end: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in front_end.items())


def _calibration(calibration: Mapping[str, Any]) -> str:
    if calibration["is_fitted"]:
        return f"Temperature: {calibration['temperature']:.4g}, fitted on validation."
    return f"Temperature: {calibration['temperature']:.4g}. {calibration['note']}"


def _split_lines(results: Mapping[str, Any], *, threshold: float) -> list[str]:
    """Return a split's scores and its table."""
    row, speakers = results["operating_point"], results["num_speakers"]
    of_speakers = "" if speakers is None else f" of {speakers} speakers"
    lines = [
        f"{results['num_clips']} clips{of_speakers}, {results['num_positives']} of them to be detected. At the "
        f"operating point {row['true_positives']} are, {row['false_negatives']} are missed, and there are "
        f"{row['false_positives']} false positives.",
        "",
    ]
    by_speaker = any(score is not None and "speaker_low" in score for score in results["scores"].values())
    head = ["score", "value", "95 % interval over clips", *(["over speakers"] if by_speaker else [])]
    lines += _header(head)
    for name, score in results["scores"].items():
        where = " (over all thresholds)" if name in _OVER_ALL else ""
        lines.append(_line([_SCORE_TITLES[name] + where, *_score_cells(score, by_speaker=by_speaker)]))
    lines += ["", *_header([*(_SCORE_TITLES.get(name, name.replace("_", " ")) for name in _TABLE_COLUMNS[:7])])]
    table = sorted([*results["table"], row], key=lambda line: line["threshold"])
    seen = set()
    for line in table:
        if line["threshold"] in seen:
            continue
        seen.add(line["threshold"])
        cells = [_number(line[name]) for name in _TABLE_COLUMNS[1:7]]
        limit = f"{line['threshold']:g}"
        lines.append(_line([f"**{limit}**" if line["threshold"] == threshold else limit, *cells]))
    if any(line["precision"] is None for line in table):
        lines += ["", f"{_NOTHING}: nothing is detected at this threshold, so that there is no precision."]
    return lines


def _score_cells(score: Mapping[str, float] | None, *, by_speaker: bool) -> list[str]:
    if score is None:
        return ["undefined", _NOTHING, *([_NOTHING] if by_speaker else [])]
    cells = [f"{score['value']:.3f}", f"{score['low']:.3f} to {score['high']:.3f}"]
    if by_speaker:
        cells.append(f"{score['speaker_low']:.3f} to {score['speaker_high']:.3f}")
    return cells


def _calibration_lines(calibration: Mapping[str, Any]) -> list[str]:
    """Return the calibration errors before and after."""
    splits = calibration["splits"]
    num_bins = next(iter(splits.values()))["num_bins"]
    lines = [
        "## Calibration",
        "",
        f"Expected calibration error over {num_bins} bins, at temperature 1 and at temperature "
        f"{calibration['temperature']:.4g}. On few clips it is above zero by chance alone.",
        "",
        *_header(["split", "of", "bins", "before", "after"]),
    ]
    names = {"label": "the label's probability", "top_answer": "the most probable answer"}
    for split, results in splits.items():
        for field, name in names.items():
            for binning, errors in (results[field] or {}).items():
                cells = [split, name, binning.replace("_", " ").replace("equal", "of equal")]
                lines.append(_line([*cells, f"{errors['before']:.3f}", f"{errors['after']:.3f}"]))
        if results["nll"] is not None:
            cells = [split, "negative log-likelihood (nats)", _NOTHING]
            lines.append(_line([*cells, f"{results['nll']['before']:.3f}", f"{results['nll']['after']:.3f}"]))
    return lines


def _number(value: float | None) -> str:
    if value is None:
        return _NOTHING
    return f"{value}" if isinstance(value, int) else f"{value:.3f}"


def _header(cells: Sequence[str]) -> list[str]:
    return [_line(cells), _line(["---"] * len(cells))]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
