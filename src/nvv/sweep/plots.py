"""The pictures of a sweep's report: scores of systems on corpora, ranks with their critical difference, who beats whom.

Drawn on figures of their own: pyplot and its global state are not used, and no display is needed. What is drawn is
computed in `summary`. Own work.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..training.plot_style import INK, save_figure
from .summary import RankSummary, groups_without_difference

HEATMAP_FILE = "heatmap.png"
_MISSING = "#e2e8f0"
_INCHES_PER_LETTER = 0.072  # of the labels' font


def write_heatmap(
    path: str | os.PathLike[str], scores: pd.DataFrame, *, label: str, title: str, warning: str = ""
) -> Path:
    """Draw scores of systems (rows) on corpora (columns); what is missing stays grey.

    Args:
        path: the PNG file.
        scores: scores (systems, corpora), NaN where missing; coloured from 0, as low as a score may be, to 1.
        label: the score's name and unit, for the colour bar.
        title: the figure's title.
        warning: why the scores are no evidence; empty where they are.

    Returns:
        The file.
    """
    values = 100 * scores.to_numpy(dtype=np.float64)
    num_rows, num_columns = values.shape
    size = (2.4 + _label_width(scores.index) + 0.78 * num_columns, 1.9 + 0.32 * num_rows)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    axes.set_facecolor(_MISSING)
    image = axes.imshow(np.ma.masked_invalid(values), cmap="Blues", vmin=0, vmax=100, aspect="auto")
    for row, column in np.ndindex(values.shape):
        missing = np.isnan(values[row, column])
        axes.text(
            column,
            row,
            "–" if missing else f"{values[row, column]:.1f}",
            ha="center",
            va="center",
            fontsize=9,
            color="white" if not missing and values[row, column] > 55 else INK,
        )
    axes.set_xticks(range(num_columns), list(scores.columns), rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(num_rows), list(scores.index))
    axes.set_xticks(np.arange(num_columns - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(num_rows - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0, colors=INK, labelsize=9)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, fraction=0.06, pad=0.02)
    bar.set_label(label, color=INK)
    bar.ax.tick_params(labelsize=8, colors=INK)
    bar.outline.set_visible(False)
    _title(figure, title, warning=warning)
    return save_figure(figure, path)


def write_win_rates(path: str | os.PathLike[str], summary: RankSummary, *, title: str, warning: str = "") -> Path:
    """Draw on which share of the corpora each system (row) scores higher than each other one (column).

    Args:
        path: the PNG file.
        summary: of the ranks.
        title: the figure's title.
        warning: why the ranks are no evidence; empty where they are.

    Returns:
        The file.
    """
    names, values = list(summary.win_rates.index), 100 * summary.win_rates.to_numpy()
    side = 0.42 * len(names)
    width = _label_width(names)
    figure = Figure(figsize=(1.6 + width + side, 1.2 + 0.75 * width + side), layout="constrained")
    axes = figure.add_subplot()
    axes.set_facecolor(_MISSING)
    image = axes.imshow(np.ma.masked_invalid(values), cmap="RdBu", vmin=-25, vmax=125)
    for row, column in np.ndindex(values.shape):
        if row != column:
            strong = abs(values[row, column] - 50) > 30
            colour = "white" if strong else INK
            axes.text(column, row, f"{values[row, column]:.0f}", ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0, colors=INK, labelsize=9)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, fraction=0.05, pad=0.03)
    bar.ax.set_ylim(0, 100)  # the ends of the colour map are too dark to read on
    bar.set_label("row scores higher (% of corpora)", color=INK, fontsize=8)
    bar.ax.tick_params(labelsize=8, colors=INK)
    bar.outline.set_visible(False)
    _title(figure, title, warning=warning)
    return save_figure(figure, path)


def write_critical_difference(
    path: str | os.PathLike[str], summary: RankSummary, *, title: str, warning: str = ""
) -> Path:
    """Draw mean ranks on a line; bars join systems that the Nemenyi test does not tell apart.

    Args:
        path: the PNG file.
        summary: of the ranks, with a critical difference.
        title: the figure's title.
        warning: why the ranks are no evidence; empty where they are.

    Returns:
        The file.

    Raises:
        ValueError: if the summary has no critical difference (fewer than two corpora or three systems).
    """
    if summary.critical_difference is None:
        raise ValueError("summary: expected a critical difference, found none: it takes two corpora and three systems.")
    ranks = summary.mean_ranks
    joined = groups_without_difference(ranks, summary.critical_difference)
    num_left = (len(ranks) + 1) // 2
    names_height = 0.5 * max(num_left, 1)
    bars_height = 0.22 * len(joined) + 0.2
    height = 1.5 + bars_height + names_height  # in units that are drawn 0.55 inches high
    width = 6.5 + 2 * _label_width(ranks.index)
    figure = Figure(figsize=(width, 0.55 * height + 0.9), layout="constrained")
    axes = figure.add_subplot()
    margin = (len(ranks) - 1) * _label_width(ranks.index) / 6.5 + 0.12 * (len(ranks) - 1)
    axes.set_xlim(1 - margin, len(ranks) + margin)
    axes.set_ylim(-(bars_height + names_height), 1.5)
    axes.axis("off")
    _draw_scale(axes, num_systems=len(ranks), difference=summary.critical_difference)
    for at, (first, last) in enumerate(joined):
        level = -0.2 - 0.22 * at
        axes.plot([ranks.iloc[first], ranks.iloc[last]], [level, level], color=INK, linewidth=4, solid_capstyle="butt")
    gap = 0.06 * (len(ranks) - 1)
    for at, (name, rank) in enumerate(ranks.items()):
        on_left = at < num_left
        level = -(bars_height + 0.5 * (at if on_left else len(ranks) - 1 - at))
        end = 1 - gap if on_left else len(ranks) + gap
        axes.plot([rank, rank, end], [0, level, level], color=INK, linewidth=0.9)
        label = f"{name} ({rank:.2f}) " if on_left else f" ({rank:.2f}) {name}"
        axes.text(end, level, label, ha="right" if on_left else "left", va="center", fontsize=9, color=INK)
    _title(figure, title, warning=warning)
    return save_figure(figure, path)


def _draw_scale(axes: Axes, *, num_systems: int, difference: float) -> None:
    """Draw the line of ranks, and above it how long the critical difference is."""
    axes.plot([1, num_systems], [0, 0], color=INK, linewidth=1.2)
    step = max(1, num_systems // 10)
    for rank in range(1, num_systems + 1, step):
        axes.plot([rank, rank], [0, 0.12], color=INK, linewidth=1.2)
        axes.text(rank, 0.2, str(rank), ha="center", va="bottom", fontsize=9, color=INK)
    end = min(1 + difference, num_systems)  # a longer one means that no two systems can be told apart
    axes.plot([1, 1, 1, end, end, end], [0.85, 1.05, 0.95, 0.95, 0.85, 1.05], color=INK, linewidth=1.2)
    more = "" if 1 + difference <= num_systems else ", more than the whole scale"
    text = f"critical difference {difference:.2f}{more}"
    axes.text((1 + end) / 2, 1.12, text, ha="center", va="bottom", fontsize=9, color=INK)


def _label_width(names: pd.Index | list[str]) -> float:
    """Return about how wide the longest name is, in inches."""
    return _INCHES_PER_LETTER * max(len(str(name)) for name in names)


def _title(figure: Figure, title: str, *, warning: str) -> None:
    lines = [title, *(f"{sentence.rstrip('.')}." for sentence in warning.split(". ") if sentence)]
    figure.suptitle("\n".join(lines), color=INK, fontsize=11)
