"""The picture of a regression: what was predicted against what was annotated, with each target's CCC.

A few targets have a panel each; many (A-VB's CULTURE has 40) have a row each with their CCC and its interval, as that
many clouds of points could not be read. Drawn like all pictures of a run, see `plots`. Own work.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .answers import RegressionPredictions
from .plot_style import BLUE, GREY, INK, ORANGE, save_figure, tidy

REGRESSION_FILE = "regression.png"
MAX_PANELS = 12
"""Targets up to which each has a panel of its own."""

_PANEL_INCHES = 2.9


def write_regression_plot(
    path: str | os.PathLike[str],
    metrics: Mapping[str, Any],
    answers: RegressionPredictions,
    *,
    task: str,
) -> Path:
    """Write the picture of one split as a PNG.

    Args:
        path: the file.
        metrics: the content of `metrics.json`.
        answers: the model's answers on the split, at least one with a reference.
        task: which of the model's tasks.

    Returns:
        The file's path.

    Raises:
        ValueError: if `metrics` has no scores of that task on the answers' split.
    """
    tasks = metrics["splits"].get(answers.split, {}).get("tasks", {})
    if not tasks.get(task, {}).get("scores"):
        raise ValueError(f"metrics: expected scores of the task {task!r} on {answers.split!r}, found none.")
    result = tasks[task]
    num_targets = len(answers.target_names)
    if num_targets <= MAX_PANELS:
        figure = _panels(answers, result)
    else:
        figure = Figure(figsize=(6.4, 1.4 + 0.24 * num_targets), layout="constrained")
        _draw_targets(figure.add_subplot(), result)
    corpus = metrics["corpus"]
    title = f"{corpus.get('pretty_name') or corpus['name']}, {task}, {answers.split}"
    mean = result["scores"]["ccc"]
    title += f"\nCCC {_with_interval(mean)}" + (f", mean over {num_targets} targets" if num_targets > 1 else "")
    if corpus.get("is_synthetic"):
        title += "\nComputed sounds: no evidence about people's voices"
    elif metrics["backbone"]["random_init"]:
        title += "\nRandom weights: no evidence about the backbone or the method"
    figure.suptitle(title, color=INK, fontsize=11)
    return save_figure(figure, path)


def _with_interval(score: Mapping[str, float]) -> str:
    return f"{score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}]"


def _panels(answers: RegressionPredictions, result: Mapping[str, Any]) -> Figure:
    """Draw a panel for each target."""
    num_targets = len(answers.target_names)
    columns = min(num_targets, 4 if num_targets > 6 else 3)
    rows = math.ceil(num_targets / columns)
    size = (max(columns * _PANEL_INCHES, 4.6), rows * _PANEL_INCHES + 1.0)
    figure = Figure(figsize=size, layout="constrained")
    for index, target in enumerate(answers.target_names):
        axes = figure.add_subplot(rows, columns, index + 1)
        _draw_clips(axes, answers.references[:, index], answers.predictions[:, index])
        score = result["per_target"][target].get("ccc")
        axes.set_title(f"{target}\nCCC {_with_interval(score)}" if score else f"{target}\nno reference", fontsize=9)
        axes.title.set_color(INK)
        if index % columns == 0:
            axes.set_ylabel("predicted", color=INK, fontsize=9)
        if index + columns >= num_targets:
            axes.set_xlabel("annotated", color=INK, fontsize=9)
    return figure


def _draw_clips(axes: Axes, references: np.ndarray, predictions: np.ndarray) -> None:
    """Draw one target's clips as points around the line on which both are equal."""
    known = ~np.isnan(references)
    true, predicted = references[known], predictions[known]
    tidy(axes)
    axes.tick_params(labelsize=8)
    axes.set_box_aspect(1)
    if not true.size:
        return
    # Fainter and smaller the more there are, so that a crowd of thousands still shows where it is dense.
    alpha = float(np.clip(40 / math.sqrt(true.size) / 4, 0.08, 0.8))
    axes.scatter(true, predicted, s=9 if true.size < 2_000 else 4, color=BLUE, alpha=alpha, linewidths=0)
    low, high = float(min(true.min(), predicted.min())), float(max(true.max(), predicted.max()))
    margin = 0.04 * (high - low) or 0.5
    ends = (low - margin, high + margin)
    axes.plot(ends, ends, color=ORANGE, linewidth=1.2)
    axes.set_xlim(ends)
    axes.set_ylim(ends)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5))  # the same ticks on both, so that squares of the grid are squares
    axes.grid(color="#edf2f7")


def _draw_targets(axes: Axes, result: Mapping[str, Any]) -> None:
    """Draw each target's CCC with its interval, the first target at the top."""
    names = list(result["per_target"])
    for row, name in enumerate(names):
        score = result["per_target"][name].get("ccc")
        if score is None:
            continue
        axes.plot((score["low"], score["high"]), (row, row), color=GREY, linewidth=2, solid_capstyle="butt")
        axes.plot(score["value"], row, "o", color=BLUE, markersize=5)
    axes.axvline(result["scores"]["ccc"]["value"], color=ORANGE, linewidth=1.2, label="mean over targets")
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yticks(range(len(names)), names, fontsize=7.5)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel("CCC, 95 % interval", color=INK)
    axes.grid(axis="x", color="#edf2f7")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=8, frameon=False)
    tidy(axes)
