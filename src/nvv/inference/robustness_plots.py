"""The picture of a robustness report: a panel for each kind of corruption, the score from mild to severe.

A dashed line is the score on the clean clips, a dotted one that of guessing; bands are the intervals. All panels share
one axis of scores, so that they can be compared. What is drawn is computed in `robustness`. Own work.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..training.plot_style import BLUE, GREY, INK, ORANGE, percent_axis, save_figure, tidy
from .corruptions import Corruption
from .report_facts import ReportFacts, is_share, score_title
from .robustness import ConditionScores, RobustnessReport

__all__ = ["robustness_plot_files", "write_robustness_plot"]

_MAIN_SPLIT = "test"
_COLUMNS = (5, 4, 3)
_MAX_PARTS = 5
"""Thin lines of single targets or tasks beside the main score, at most: more cannot be told apart."""

_PART_STYLES = ("#38a169", "#805ad5", "#d53f8c", "#b7791f", "#319795")


def robustness_plot_files(splits: Mapping[str, Any]) -> dict[str, str]:
    """Return the picture's name for each split: `robustness.png` for the main one."""
    main = _MAIN_SPLIT if _MAIN_SPLIT in splits else next(iter(splits))
    return {split: "robustness.png" if split == main else f"robustness_{split}.png" for split in splits}


def write_robustness_plot(
    path: str | os.PathLike[str], report: RobustnessReport, *, split: str, facts: ReportFacts
) -> Path:
    """Draw a report.

    Args:
        path: the PNG file.
        report: of one split.
        split: its name.
        facts: which model and corpus, and what readers must know.

    Returns:
        The file.
    """
    corruptions = report.corruptions
    num_columns = _num_columns(len(corruptions))
    num_rows = math.ceil(len(corruptions) / num_columns)
    width = max(3.1 * num_columns + 0.6, 6.5)  # inches; a single panel must not cut the title
    figure = Figure(figsize=(width, 2.6 * num_rows + 1.5), layout="constrained")
    panels = figure.subplots(num_rows, num_columns, sharey=True, squeeze=False)
    main = report.score_names[0]
    parts = _parts(report)
    for position, axes in enumerate(panels.flat):
        if position >= len(corruptions):
            axes.set_visible(False)
            continue
        corruption = corruptions[position]
        _draw(axes, report, report.of(corruption.name), corruption, main=main, parts=parts)
        if position % num_columns == 0:
            axes.set_ylabel(score_title(main), color=INK)
    panels[0, 0].set_ylim(*_limits(report, parts))
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)), fontsize=9, frameon=False)
    by = "" if report.num_speakers is None else f", {report.num_speakers} speakers"
    title = f"{facts.model} on {facts.corpus}, {split} ({report.num_clips} clips{by})"
    if facts.short_notes:
        title += f"\n{facts.short_notes}"
    figure.suptitle(title, color=INK, fontsize=12)
    return save_figure(figure, path)


def _num_columns(num_panels: int) -> int:
    """Return how many panels stand side by side, so that few places stay empty."""
    if num_panels <= min(_COLUMNS):
        return num_panels
    return min((columns for columns in _COLUMNS if columns <= num_panels), key=lambda columns: -num_panels % columns)


def _parts(report: RobustnessReport) -> list[str]:
    """Return the scores that are drawn thin: single tasks, or single targets where there are few."""
    main = report.score_names[0]
    if main == "mean_score":
        parts = list(report.score_names[1:])
    else:
        parts = [name for name in report.clean if name.startswith(f"{main}/")]
    return parts if len(parts) <= _MAX_PARTS else []


def _limits(report: RobustnessReport, parts: Sequence[str]) -> tuple[float, float]:
    """Return the ends of the scores' axis: 0 (or the lowest) to a little above the highest."""
    main = report.score_names[0]
    every = [report.clean, *(one.scores for one in report.conditions)]
    highest = max(max(scores[main]["high"], *(scores[name]["value"] for name in parts), 0) for scores in every)
    lowest = min(min(scores[main]["low"], *(scores[name]["value"] for name in parts), 0) for scores in every)
    highest = max(highest, report.chance.get(main, 0.0))
    room = 0.06 * (highest - lowest)
    # A CCC of 0 is a line of its own; a share of 0 is the floor.
    return 0.0 if is_share(main) else lowest - room, highest + room


def _draw(
    axes: Axes,
    report: RobustnessReport,
    conditions: Sequence[ConditionScores],
    corruption: Corruption,
    *,
    main: str,
    parts: Sequence[str],
) -> None:
    """Draw one kind of corruption."""
    clean = report.clean[main]
    axes.axhspan(clean["low"], clean["high"], color=GREY, alpha=0.22, linewidth=0)
    axes.axhline(clean["value"], color=INK, linestyle="--", linewidth=1.2, label="clean, 95 % interval")
    if main in report.chance:
        axes.axhline(report.chance[main], color=ORANGE, linestyle=":", linewidth=1.6, label="guessing")
    positions = np.arange(len(conditions))
    values, low, high = (np.array([one.scores[main][end] for one in conditions]) for end in ("value", "low", "high"))
    if len(conditions) == 1:  # a band of one point cannot be seen
        errors = np.maximum([values - low, high - values], 0)
        axes.errorbar(
            positions, values, yerr=errors, color=BLUE, marker="o", capsize=5, label="corrupted, 95 % interval"
        )
    else:
        axes.fill_between(positions, low, high, color=BLUE, alpha=0.18, linewidth=0)
        axes.plot(positions, values, color=BLUE, marker="o", linewidth=2, label="corrupted, 95 % interval")
    for name, colour in zip(parts, _PART_STYLES, strict=False):
        one = [condition.scores[name]["value"] for condition in conditions]
        axes.plot(positions, one, color=colour, marker=".", linewidth=1, alpha=0.9, label=score_title(name))
    levels = ["" if one.severity is None else f"{one.severity:g}".replace("-", "−") for one in conditions]
    axes.set_xticks(positions, levels)
    axes.set_xlim(-0.35, len(conditions) - 0.65)
    axes.set_xlabel(corruption.axis or " ", color=INK, fontsize=9)
    axes.set_title(corruption.title, color=INK, fontsize=10.5)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    if is_share(main):
        axes.yaxis.set_major_formatter(percent_axis())
    axes.grid(axis="y", color="#edf2f7")
    tidy(axes)
