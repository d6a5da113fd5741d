"""The pictures of a detector: precision over recall, ROC, and reliability before and after calibration.

Drawn from scores and the exact curves of ``nvv.metrics.thresholds``, on figures of their own. Own work.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..metrics.calibration import NUM_BINS, expected_calibration_error, reliability_bins
from ..metrics.thresholds import ThresholdRow, exact_curve, ranking_scores, threshold_table
from ..training.plot_style import BLUE, GREY, INK, ORANGE, percent_axis, save_figure, tidy
from .detection_scores import ScoredSplit

__all__ = ["PRECISION_RECALL_FILE", "RELIABILITY_FILE", "ROC_FILE", "write_detection_plots"]

PRECISION_RECALL_FILE = "precision_recall.png"
ROC_FILE = "roc.png"
RELIABILITY_FILE = "reliability.png"

_COLOURS = {"validation": GREY, "test": BLUE}
_SIDE = 5.2  # inches


def write_detection_plots(
    folder: str | os.PathLike[str],
    splits: Sequence[ScoredSplit],
    *,
    temperature: float,
    threshold: float,
    title: str,
    note: str | None = None,
) -> list[Path]:
    """Write the three pictures.

    Args:
        folder: where.
        splits: the answers, at temperature 1.
        temperature: the one that is used.
        threshold: of the operating point, on calibrated probabilities.
        title: what is detected by what on what.
        note: what the reader must know, such as that weights are random; under the title.

    Returns:
        The files' paths.
    """
    folder = Path(folder)
    heading = title if note is None else f"{title}\n{note}"
    return [
        _write_curves(
            folder / PRECISION_RECALL_FILE, splits, temperature=temperature, threshold=threshold, heading=heading
        ),
        _write_roc(folder / ROC_FILE, splits, temperature=temperature, threshold=threshold, heading=heading),
        _write_reliability(folder / RELIABILITY_FILE, splits, temperature=temperature, heading=heading),
    ]


def _write_curves(
    path: Path, splits: Sequence[ScoredSplit], *, temperature: float, threshold: float, heading: str
) -> Path:
    figure, axes = _square(heading)
    for scored in _with_both(splits):
        scores = scored.scores(temperature)
        curve = exact_curve(scored.is_positive, scores)
        area = ranking_scores(scored.is_positive, scores)["average_precision"]
        colour = _COLOURS.get(scored.split, INK)
        axes.step(
            # From everything detected down to nothing; between two thresholds the precision of the lower one.
            [*(row.recall for row in curve), 0],
            [*(row.precision for row in curve), curve[-1].precision],
            where="post",
            color=colour,
            linewidth=1.8,
            label=f"{scored.split}: average precision {area:.3f}",
        )
        share = scored.is_positive.mean()
        axes.axhline(share, color=colour, linestyle=":", linewidth=1)
        row = _at(scored, scores, threshold)
        if row.precision is not None:
            _mark(axes, row.recall, row.precision, colour=colour)
    axes.set_xlabel("recall (dotted: precision of guessing)", color=INK)
    axes.set_ylabel("precision", color=INK)
    _finish(axes, threshold)
    return save_figure(figure, path)


def _write_roc(
    path: Path, splits: Sequence[ScoredSplit], *, temperature: float, threshold: float, heading: str
) -> Path:
    figure, axes = _square(heading)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1)
    for scored in _with_both(splits):
        scores = scored.scores(temperature)
        curve = exact_curve(scored.is_positive, scores)
        area = ranking_scores(scored.is_positive, scores)["roc_auc"]
        colour = _COLOURS.get(scored.split, INK)
        axes.plot(
            [*(row.false_positive_rate for row in curve), 0],
            [*(row.recall for row in curve), 0],
            color=colour,
            linewidth=1.8,
            label=f"{scored.split}: area {area:.3f}",
        )
        row = _at(scored, scores, threshold)
        _mark(axes, row.false_positive_rate, row.recall, colour=colour)
    axes.set_xlabel("false positive rate (dotted: guessing)", color=INK)
    axes.set_ylabel("recall", color=INK)
    _finish(axes, threshold)
    return save_figure(figure, path)


def _write_reliability(path: Path, splits: Sequence[ScoredSplit], *, temperature: float, heading: str) -> Path:
    figure = Figure(figsize=(2 * _SIDE, _SIDE + 1.6), layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=(3.2, 1))
    panels = [("before calibration (temperature 1)", 1.0), (f"after (temperature {temperature:.3g})", temperature)]
    for column, (name, value) in enumerate(panels):
        axes, below = figure.add_subplot(grid[0, column]), figure.add_subplot(grid[1, column])
        axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1)
        for index, scored in enumerate(splits):
            colour = _COLOURS.get(scored.split, INK)
            scores = scored.scores(value)
            _draw_bins(axes, below, scores, scored.is_positive, colour=colour, shift=index / len(splits))
            error = expected_calibration_error(scores, scored.is_positive)
            axes.plot([], [], "o-", color=colour, label=f"{scored.split}: expected calibration error {error:.3f}")
        axes.set_title(name, color=INK, fontsize=11)
        axes.set_xlim(0, 1)
        axes.set_ylim(-0.02, 1.02)
        axes.set_ylabel(f"share that is {splits[0].label}", color=INK)
        # Below the points, which may be anywhere.
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.07), ncols=1, fontsize=8, frameon=False)
        below.set_xlim(0, 1)
        below.set_yscale("symlog", linthresh=1)
        below.set_ylabel("clips", color=INK)
        below.set_xlabel(f"probability of {splits[0].label} ({NUM_BINS} bins)", color=INK)
        for part in (axes, below):
            part.xaxis.set_major_formatter(percent_axis())
            part.grid(color="#edf2f7")
            tidy(part)
        axes.yaxis.set_major_formatter(percent_axis())
    figure.suptitle(heading, color=INK, fontsize=11)
    return save_figure(figure, path)


def _draw_bins(
    axes: Axes, below: Axes, scores: np.ndarray, is_positive: np.ndarray, *, colour: str, shift: float
) -> None:
    """Draw one split's bins: the share that came true above, how many clips there are below."""
    filled = [part for part in reliability_bins(scores, is_positive) if part.num_clips]
    axes.plot(
        [part.mean_probability for part in filled], [part.share for part in filled], "o-", color=colour, markersize=4
    )
    width = 0.8 / NUM_BINS / 2
    below.bar(
        [part.low + (0.1 + 0.8 * shift) / NUM_BINS for part in filled],
        [part.num_clips for part in filled],
        width,
        align="edge",
        color=colour,
    )


def _with_both(splits: Sequence[ScoredSplit]) -> list[ScoredSplit]:
    """Return the splits that have a curve: those with clips of the label and of the rest."""
    return [scored for scored in splits if 0 < scored.is_positive.sum() < scored.is_positive.size]


def _at(scored: ScoredSplit, scores: np.ndarray, threshold: float) -> ThresholdRow:
    (row,) = threshold_table(scored.is_positive, scores, thresholds=[threshold])
    return row


def _square(heading: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_SIDE, _SIDE + 0.5), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(heading, color=INK, fontsize=10)
    return figure, axes


def _mark(axes: Axes, x: float, y: float, *, colour: str) -> None:
    axes.plot([x], [y], "o", color=ORANGE, markeredgecolor=colour, markersize=9, markeredgewidth=1.8, zorder=4)


def _finish(axes: Axes, threshold: float) -> None:
    axes.plot([], [], "o", color=ORANGE, markersize=8, label=f"operating point (threshold {threshold:.4g})")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.04)
    axes.set_aspect("equal")
    axes.xaxis.set_major_formatter(percent_axis())
    axes.yaxis.set_major_formatter(percent_axis())
    axes.grid(color="#edf2f7")
    # Below the curves: wherever it stood among them, it would run into some.
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), fontsize=8, frameon=False)
    tidy(axes)
