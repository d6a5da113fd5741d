"""The picture of a report on groups: a panel for each column, with each group's score and interval and the overall one.

Groups with few clips or speakers are drawn hollow. Regressions have a second panel, of the mean shift. What is drawn is
computed in `group_report`. Own work.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ..training.plot_style import BLUE, INK, ORANGE, percent_axis, save_figure, tidy
from .group_report import TaskGroups
from .report_facts import ReportFacts, is_share, score_title

__all__ = ["group_plot_files", "shown_groups", "write_group_plot"]

_MAIN_SPLIT = "test"
_MAX_SHOWN = 24
_INCHES_PER_GROUP = 0.3
_MAX_NAME = 24  # letters of a group's name


def group_plot_files(splits: Mapping[str, Any]) -> dict[str, str]:
    """Return the picture's name for each split: `groups.png` for the main one."""
    main = _MAIN_SPLIT if _MAIN_SPLIT in splits else next(iter(splits))
    return {split: "groups.png" if split == main else f"groups_{split}.png" for split in splits}


def shown_groups(one: TaskGroups) -> list[str]:
    """Return the groups that tables and pictures show: all in order, or of many the lowest and the highest.

    Args:
        one: the scores by one column.
    """
    if len(one.order) <= _MAX_SHOWN:
        return list(one.order)
    main, groups = one.score_names[0], one.report["groups"]
    ranked = sorted(one.order, key=lambda group: groups[group]["scores"][main]["value"])
    return [*ranked[: _MAX_SHOWN // 2], *ranked[-_MAX_SHOWN // 2 :]]


def write_group_plot(
    path: str | os.PathLike[str], reports: Sequence[TaskGroups], *, split: str, facts: ReportFacts
) -> Path:
    """Draw the scores by all columns and tasks of one split.

    Args:
        path: the PNG file.
        reports: a row of panels for each.
        split: its name.
        facts: which model and corpus, and what readers must know.

    Returns:
        The file.
    """
    drawn = [[one.score_names[0], *(["mean_shift"] if one.kind == "regression" else [])] for one in reports]
    num_columns = max(len(scores) for scores in drawn)
    heights = [0.9 + _INCHES_PER_GROUP * len(shown_groups(one)) for one in reports]
    figure = Figure(figsize=(max(7.5, 5.0 * num_columns), sum(heights) + 1.3), layout="constrained")
    panels = figure.subplots(len(reports), num_columns, squeeze=False, gridspec_kw={"height_ratios": heights})
    several = len({one.task for one in reports}) > 1
    for one, scores, row in zip(reports, drawn, panels, strict=True):
        for axes, score in zip(row, scores, strict=False):
            title = f"{one.by}, {one.task}" if several else one.by
            # Single speakers spread over the whole axis; other groups would be squeezed beside them.
            is_crowded = len(one.order) > _MAX_SHOWN
            alike = [
                other for other in reports if other.task == one.task and (len(other.order) > _MAX_SHOWN) == is_crowded
            ]
            _draw(axes, one, score=score, title=title, limits=_limits(alike, score=score))
        for axes in row[len(scores) :]:
            axes.set_visible(False)
    figure.legend(
        handles=[
            Line2D([], [], color=BLUE, marker="o", label="group, 95 % interval"),
            Line2D([], [], color=BLUE, marker="o", markerfacecolor="white", label="few clips or speakers"),
            Line2D([], [], color=INK, linestyle="--", label="all clips"),
            *([Line2D([], [], color=ORANGE, linestyle=":", label="no shift")] if num_columns > 1 else []),
        ],
        loc="outside lower center",
        ncols=4,
        fontsize=9,
        frameon=False,
    )
    title = f"{facts.model} on {facts.corpus}, {split}"
    if facts.short_notes:
        title += f"\n{facts.short_notes}"
    figure.suptitle(title, color=INK, fontsize=12)
    return save_figure(figure, path)


def _limits(reports: Sequence[TaskGroups], *, score: str) -> tuple[float, float]:
    """Return the ends of a score's axis: the same by every column, so that panels can be compared."""
    ends = [0.0]
    for one in reports:
        if score in one.score_names:
            groups = (one.report["groups"][group]["scores"][score] for group in shown_groups(one))
            ends += [value for numbers in groups for value in numbers.values()] + [one.overall[score]]
    room = 0.04 * (max(ends) - min(ends)) or 0.04
    return min(ends) - room if min(ends) < 0 else 0.0, max(ends) + room


def _draw(axes: Axes, one: TaskGroups, *, score: str, title: str, limits: tuple[float, float]) -> None:
    """Draw one score of the groups by one column."""
    shown = shown_groups(one)
    for position, group in enumerate(shown):
        numbers = one.report["groups"][group]["scores"][score]
        axes.plot([numbers["low"], numbers["high"]], [position, position], color=BLUE, linewidth=2, zorder=2)
        fill = "white" if group in one.small else BLUE
        marker = {"marker": "o", "markerfacecolor": fill, "markersize": 7, "clip_on": False}
        axes.plot(numbers["value"], position, color=BLUE, zorder=3, **marker)
    axes.axvline(one.overall[score], color=INK, linestyle="--", linewidth=1.2, zorder=1)
    if score == "mean_shift":
        axes.axvline(0, color=ORANGE, linestyle=":", linewidth=1.4, zorder=1)
    labels = [f"{_shortened(group)} ({one.report['groups'][group]['num_clips']})" for group in shown]
    axes.set_yticks(range(len(shown)), labels, fontsize=9)
    axes.set_ylim(len(shown) - 0.5, -0.5)  # the first group on top
    if len(shown) < len(one.order):
        axes.axhline(len(shown) / 2 - 0.5, color="#a0aec0", linewidth=0.8)
        title += f" ({len(shown) // 2} lowest, {len(shown) // 2} highest of {len(one.order)})"
    axes.set_xlim(*limits)
    if is_share(score):
        axes.xaxis.set_major_formatter(percent_axis())
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.set_xlabel(score_title(score), color=INK, fontsize=9)
    axes.set_title(f"by {title}", color=INK, fontsize=10.5, loc="left")
    axes.grid(axis="x", color="#edf2f7")
    tidy(axes)


def _shortened(name: str) -> str:
    return name if len(name) <= _MAX_NAME else f"{name[: _MAX_NAME - 1]}…"
