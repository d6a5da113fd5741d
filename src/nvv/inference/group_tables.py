"""The files of a report on groups that are read: a table for people, one for programs, and everything as JSON.

What they hold is computed in `group_report`; pictures are the neighbour `group_plots`'. The CSV has a row for each
split, column, task, group and score, with numbers as they are. Own work.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from .group_plots import group_plot_files, shown_groups, write_group_plot
from .group_report import TaskGroups
from .report_facts import ReportFacts, score_title, written
from .report_files import write_tables

__all__ = ["GROUP_FILES", "group_frame", "group_markdown", "write_groups"]

FORMAT_VERSION = 1
GROUP_FILES = "groups*.*"
"""What all files of such a report are called."""

_NAME = "groups"
_MAX_TARGETS = 12
"""Tables of single targets are left out where there are more: the CSV has them."""

Reports = Mapping[str, Sequence[TaskGroups]]
"""Split name to its scores by columns and tasks."""


def write_groups(folder: Path, reports: Reports, *, facts: ReportFacts) -> list[Path]:
    """Write `groups.csv`, `.md`, `.json` and a picture of each split.

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
        frame=group_frame(reports),
        text=group_markdown(reports, facts=facts),
        content=_content(reports, facts=facts),
    )
    for split, name in group_plot_files(reports).items():
        files.append(write_group_plot(folder / name, reports[split], split=split, facts=facts))
    return files


def group_frame(reports: Reports) -> pd.DataFrame:
    """Return a row for each split, column, task, group and score.

    Args:
        reports: by split.

    Returns:
        Columns `split`, `by`, `task`, `group`, `num_clips`, `num_speakers`, `score`, `target` (empty: their mean),
        `value`, `low`, `high`, `difference` (to all other groups together), `difference_low`, `difference_high` and
        `note`.
    """
    rows = [
        {"split": split, "by": one.by, "task": one.task, "group": group, **row}
        for split, of_split in reports.items()
        for one in of_split
        for group in one.order
        for row in _rows(one, group)
    ]
    differences = [f"difference{end}" for end in ("", "_low", "_high")]
    counts = ["num_clips", "num_speakers"]
    columns = ["split", "by", "task", "group", *counts, "score", "target", "value", "low", "high", *differences, "note"]
    return pd.DataFrame(rows).reindex(columns=columns).astype({"num_speakers": "Int64"})


def _rows(one: TaskGroups, group: str) -> Iterator[dict[str, Any]]:
    scores = one.report["groups"][group]
    shared = {
        "num_clips": scores["num_clips"],
        "num_speakers": scores["num_speakers"],
        "note": one.small.get(group),
    }
    for name in one.score_names:
        rest = scores["difference_to_rest"].get(name)
        ends = {"difference": "value", "difference_low": "low", "difference_high": "high"}
        differences = {} if rest is None else {column: rest[end] for column, end in ends.items()}
        yield {**shared, "score": name, **scores["scores"][name], **differences}
    for target, of_target in zip(one.targets, scores["per_target"], strict=False):
        for name in one.score_names if of_target is not None and len(one.targets) > 1 else ():
            yield {**shared, "score": name, "target": target, **of_target[name]}


def group_markdown(reports: Reports, *, facts: ReportFacts) -> str:
    """Set reports as Markdown: what to know, and tables for each split and column.

    Args:
        reports: by split.
        facts: which model and corpus, and what readers must know.
    """
    lines = [f"# Scores of {facts.model} on {facts.corpus} by groups of clips", ""]
    for note in facts.notes:
        lines += [f"> {note}", ""]
    lines += [_explained(next(iter(reports.values()))), ""]
    for split, of_split in reports.items():
        lines += [f"## {split.capitalize()} ({facts.protocol})", ""]
        several = len({one.task for one in of_split}) > 1
        for one in of_split:
            lines += [f"### By {one.by}" + (f": {one.task}" if several else ""), "", *_section(one), ""]
    return "\n".join(lines).rstrip() + "\n"


def _explained(reports: Sequence[TaskGroups]) -> str:
    """Say what the tables hold."""
    text = (
        "In brackets are 95 % bootstrap intervals, within each group; differences are those of a group and all other "
        "clips together, bold where the interval leaves out 0 and the group is not small. Nothing is corrected for the "
        "number of groups, and an interval without width says nothing. A difference may also come from which classes "
        "or values a group's clips have, and from who recorded them how."
    )
    if any(one.kind == "classification" for one in reports):
        text += " Macro-F1, UAR and accuracy are in per cent, over the classes that occur in the group."
    if any(one.kind == "regression" for one in reports):
        text += " The mean shift is prediction minus reference, in the targets' unit."
    return text


def _section(one: TaskGroups) -> list[str]:
    """Return the tables of one column and task, and what is to be said of them."""
    report, main = one.report, one.score_names[0]
    drawn = "whole speakers" if report["resampled"] == "speaker" else "clips"
    lines = [f"Resampled {one.num_resamples:,} times: {drawn}."]
    if report["num_without_group"]:
        lines[0] += f" {report['num_without_group']} clips without {one.by} are left out."
    shown = shown_groups(one)
    if len(shown) < len(one.order):
        lines[0] += f" Of {len(one.order)} groups the {len(shown)} lowest and highest are shown; groups.csv has all."
    lines += ["", *_table(one, shown), "", _gap_in_words(one)]
    if 1 < len(one.targets) <= _MAX_TARGETS:
        for name in (main, "mean_shift"):
            title = "Mean shift" if name == "mean_shift" else score_title(name)
            lines += ["", f"{title} by target:", "", *_target_table(one, shown, score=name)]
    return lines


def _table(one: TaskGroups, shown: Sequence[str]) -> list[str]:
    names, main = one.score_names, one.score_names[0]
    # Where each group is one speaker the column would say nothing.
    with_speakers = any((one.report["groups"][group]["num_speakers"] or 0) > 1 for group in one.order)
    has_notes = any(group in one.small for group in shown)
    header = [one.by, "clips", *(["speakers"] if with_speakers else []), *(score_title(name) for name in names)]
    header += [f"{score_title(main)} minus others'", *(["note"] if has_notes else [])]
    rows = [header, ["---", *["---:"] * (len(header) - 1 - has_notes), *(["---"] if has_notes else [])]]
    for group in shown:
        numbers = one.report["groups"][group]
        row = [group, str(numbers["num_clips"]), *([str(numbers["num_speakers"])] if with_speakers else [])]
        row += [_with_interval(numbers["scores"][name], score=name) for name in names]
        row.append(_difference(numbers["difference_to_rest"].get(main), score=main, is_small=group in one.small))
        rows.append([*row, one.small.get(group, "")] if has_notes else row)
    blank = [""] * (1 + has_notes)
    total = ["all clips", *[""] * (1 + with_speakers), *(_written(one.overall[name], score=name) for name in names)]
    rows.append([*total, *blank])
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]


def _written(value: float, *, score: str) -> str:
    return written(value, score=score, sign=score == "mean_shift")


def _with_interval(numbers: Mapping[str, float], *, score: str) -> str:
    value, low, high = (_written(numbers[end], score=score) for end in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def _difference(numbers: Mapping[str, float] | None, *, score: str, is_small: bool) -> str:
    if numbers is None:
        return ""
    value, low, high = (written(numbers[end], score=score, sign=True) for end in ("value", "low", "high"))
    text = f"{value} [{low}, {high}]"
    return f"**{text}**" if not is_small and (numbers["low"] > 0 or numbers["high"] < 0) else text


def _gap_in_words(one: TaskGroups) -> str:
    """Say which two groups are farthest apart."""
    parts = []
    for name in one.score_names[:2]:
        gap = one.report["gaps"].get(name)
        if gap is not None:
            high, low = gap["between"]
            parts.append(
                f"{score_title(name)} {_with_interval({**gap}, score=name)} between {high} (higher) and {low} (lower)"
            )
    if not parts:
        return "Largest gaps: none; fewer than two groups have a score."
    text = f"Largest gaps: {'; '.join(parts)}. Each is the largest of all pairs, so part of it is chance."
    if one.gaps_are_small and one.small:
        text += " Small groups are among them, as there are no two large ones."
    elif one.small:
        text += " Groups with a note take no part where they have too few clips."
    return text


def _target_table(one: TaskGroups, shown: Sequence[str], *, score: str) -> list[str]:
    rows = [[one.by, *one.targets], ["---", *["---:"] * len(one.targets)]]
    for group in shown:
        cells = one.report["groups"][group]["per_target"]
        rows.append([group, *("–" if cell is None else _with_interval(cell[score], score=score) for cell in cells)])
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]


def _content(reports: Reports, *, facts: ReportFacts) -> dict[str, Any]:
    """Return what the JSON file holds."""
    return {
        "format_version": FORMAT_VERSION,
        **facts.recorded,
        "notes": facts.notes,
        "splits": {
            split: [
                {
                    "by": one.by,
                    "task": one.task,
                    "kind": one.kind,
                    "targets": list(one.targets),
                    "num_resamples": one.num_resamples,
                    "overall": one.overall,
                    "small_groups": one.small,
                    **one.report,
                    "groups": {group: one.report["groups"][group] for group in one.order},
                }
                for one in of_split
            ]
            for split, of_split in reports.items()
        },
    }
