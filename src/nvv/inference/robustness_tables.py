"""The files of a robustness report that are read: a table for people, one for programs, and everything as JSON.

What they hold is computed in `robustness`; pictures are the neighbour `robustness_plots`'. The CSV has a row for each
split, condition and score, with numbers as they are. Own work.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from .corruptions import CORRUPTIONS, severity_in_words
from .report_facts import ReportFacts, is_share, score_title, written
from .report_files import write_tables
from .robustness import ConditionScores, RobustnessReport
from .robustness_plots import robustness_plot_files, write_robustness_plot

__all__ = ["ROBUSTNESS_FILES", "robustness_frame", "robustness_markdown", "write_robustness"]

FORMAT_VERSION = 1
ROBUSTNESS_FILES = "robustness*.*"
"""What all files of such a report are called."""

_NAME = "robustness"
_CLEAN = "clean"

Reports = Mapping[str, RobustnessReport]
"""Split name to its report."""


def write_robustness(folder: Path, reports: Reports, *, facts: ReportFacts) -> list[Path]:
    """Write `robustness.csv`, `.md`, `.json` and a picture of each split.

    Args:
        folder: where, made if missing.
        reports: by split.
        facts: which model and corpus, and what readers must know.

    Returns:
        The files.
    """
    files = write_tables(
        folder,
        _NAME,
        frame=robustness_frame(reports),
        text=robustness_markdown(reports, facts=facts),
        content=_content(reports, facts=facts),
    )
    for split, name in robustness_plot_files(reports).items():
        files.append(write_robustness_plot(folder / name, reports[split], split=split, facts=facts))
    return files


def robustness_frame(reports: Reports) -> pd.DataFrame:
    """Return a row for each split, condition and score; clean clips are the condition `clean`.

    Args:
        reports: by split.

    Returns:
        Columns `split`, `condition`, `severity`, `unit`, `score`, `value`, `low`, `high`, `difference` (to the clean
        clips), `difference_low`, `difference_high` and `chance`.
    """
    rows = []
    for split, report in reports.items():
        for name, numbers in report.clean.items():
            chance = {"chance": report.chance.get(name)}
            rows.append({"split": split, "condition": _CLEAN, "score": name, **numbers, **chance})
        for condition in report.conditions:
            unit = CORRUPTIONS[condition.corruption].unit
            what = {"condition": condition.corruption, "severity": condition.severity, "unit": unit}
            rows += [
                {"split": split, **what, "score": name, **numbers, "chance": report.chance.get(name)}
                for name, numbers in condition.scores.items()
            ]
    differences = [f"difference{end}" for end in ("", "_low", "_high")]
    columns = ["split", "condition", "severity", "unit", "score", "value", "low", "high", *differences, "chance"]
    return pd.DataFrame(rows).reindex(columns=columns)


def robustness_markdown(reports: Reports, *, facts: ReportFacts) -> str:
    """Set reports as Markdown: what to know, and a table for each split.

    Args:
        reports: by split.
        facts: which model and corpus, and what readers must know.
    """
    lines = [f"# Robustness of {facts.model} on {facts.corpus}", ""]
    for note in facts.notes:
        lines += [f"> {note}", ""]
    for split, report in reports.items():
        lines += [f"## {split.capitalize()} ({facts.protocol})", "", _explained(report), ""]
        lines += [*_table(report), ""]
    return "\n".join(lines).rstrip() + "\n"


def _explained(report: RobustnessReport) -> str:
    """Say what the table holds."""
    name = report.score_names[0]
    main = score_title(name)
    by = "" if report.num_speakers is None else f" by {report.num_speakers} speakers"
    drawn = "whole speakers" if report.interval["unit"] == "speaker" else "clips"
    text = (
        f"{report.num_clips} clips{by}, each heard under every condition. In brackets is the 95 % bootstrap "
        f"interval ({report.interval['num_resamples']:,} resamples of {drawn}). The last column is the change of "
        f"{main} from the clean clips with its paired interval, on the same resamples; bold where that leaves out 0. "
        "Nothing is corrected for the number of conditions."
    )
    if any(is_share(score) for score in report.score_names):
        text += " Macro-F1, UAR and accuracy are in per cent."
    if name in report.chance:
        text += f" Guessing scores a {main} of {written(report.chance[name], score=name)}."
    if report.left_out:
        text += " Not tried: " + "; ".join(f"{name} ({why})" for name, why in report.left_out.items()) + "."
    return text


def _table(report: RobustnessReport) -> list[str]:
    names, main = list(report.score_names), report.score_names[0]
    header = ["condition", "severity", *(score_title(name) for name in names), f"change of {score_title(main)}"]
    rows = [header, ["---", "---", *["---:"] * (len(names) + 1)]]
    rows.append(["clean", "", *(_with_interval(report.clean[name], score=name) for name in names), ""])
    for corruption in report.corruptions:
        for condition in report.of(corruption.name):
            scores = [_with_interval(condition.scores[name], score=name) for name in names]
            severity = severity_in_words(corruption, condition.severity)
            rows.append([corruption.title, severity, *scores, _change(condition, score=main)])
    return ["| " + " | ".join(row) + " |" for row in rows]


def _with_interval(numbers: Mapping[str, float], *, score: str) -> str:
    value, low, high = (written(numbers[name], score=score) for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def _change(condition: ConditionScores, *, score: str) -> str:
    numbers = condition.scores[score]
    ends = [numbers["difference_low"], numbers["difference_high"]]
    value = written(numbers["difference"], score=score, sign=True)
    low, high = (written(end, score=score, sign=True) for end in ends)
    text = f"{value} [{low}, {high}]"
    return f"**{text}**" if min(ends) > 0 or max(ends) < 0 else text


def _content(reports: Reports, *, facts: ReportFacts) -> dict[str, Any]:
    """Return what the JSON file holds."""
    return {
        "format_version": FORMAT_VERSION,
        **facts.recorded,
        "notes": facts.notes,
        "splits": {
            split: {
                "num_clips": report.num_clips,
                "num_speakers": report.num_speakers,
                "score_names": list(report.score_names),
                "interval": report.interval,
                "seed": report.seed,
                "chance": report.chance,
                "clean": report.clean,
                "conditions": report.conditions,
                "not_tried": report.left_out,
            }
            for split, report in reports.items()
        },
    }
