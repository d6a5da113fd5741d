"""The picture of a recording: its waveform above, and below it a row for each label with its events and scores.

Drawn on a figure of its own, as all pictures of this package (``nvv.training.plot_style``). Curves and waveform are
outlines, so that an hour costs no more ink than a minute: a curve shows the highest score of the windows behind each
point, because the highest ones make events. Own work.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MultipleLocator
from numpy.typing import NDArray

from ..training.plot_style import BLUE, GREY, INK, ORANGE, save_figure
from .envelope import WaveformEnvelope

if TYPE_CHECKING:
    from .segment import Segmentation

__all__ = ["WaveformEnvelope", "clock_time", "timeline_figure", "write_timeline"]

_WIDTH = 11.0  # inches
_ROW = 0.46
_WAVEFORM = 1.0
_MARGINS = 1.25
_MAX_POINTS = 1000
_BARS = (1.1, 0.3)
"""Where a row's bars begin, and how high they are, with the score's 1 as the unit."""
_MAX_EMPTY_ROWS = 20
"""With more labels than this, those without an event have no row."""
_STEPS_S = (
    0.01,
    0.02,
    0.05,
    0.1,
    0.2,
    0.5,
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    14400,
    21600,
)
_MAX_TICKS = 12


def write_timeline(
    path: str | os.PathLike[str], segmentation: Segmentation, *, waveform_envelope: WaveformEnvelope | None = None
) -> Path:
    """Write the picture of a recording as PNG, whole or not at all.

    Args:
        path: The file.
        segmentation: What was found.
        waveform_envelope: The waveform's outline; None leaves the waveform out.

    Returns:
        The file's path.
    """
    return save_figure(timeline_figure(segmentation, waveform_envelope), path)


def timeline_figure(segmentation: Segmentation, waveform_envelope: WaveformEnvelope | None = None) -> Figure:
    """Draw what was found in a recording over time.

    Args:
        segmentation: What was found. Labels that no window has a score for, such as the background's, are drawn as the
            others.
        waveform_envelope: The waveform's outline; None leaves the waveform out.

    Returns:
        The figure. With more than twenty labels, those without an event are left out and counted below.

    Example:
        >>> timeline_figure(segmentation).savefig("timeline.png")  # doctest: +SKIP
    """
    labels = _rows(segmentation)
    heights = [_WAVEFORM] * (waveform_envelope is not None) + [_ROW] * max(1, len(labels))
    figure = Figure(figsize=(_WIDTH, sum(heights) + _MARGINS), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.02, hspace=0.02)
    grid = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    end = max([segmentation.duration_s, *(event.end_s for event in segmentation.events)]) or 1.0
    if waveform_envelope is not None:
        _draw_waveform(grid[0], waveform_envelope)
    for axes, label in zip(grid[len(grid) - max(1, len(labels)) :], labels, strict=False):
        _draw_row(axes, segmentation, label)
    for axes in grid:
        axes.set_xlim(0, end)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color("#e2e8f0")
        axes.tick_params(colors=INK, length=0)
        axes.grid(axis="x", color="#edf2f7", linewidth=0.8)
        axes.set_axisbelow(True)
    _draw_time_axis(grid[-1], end)
    _draw_words(grid[0], grid[-1], segmentation, num_rows=len(labels))
    return figure


def clock_time(seconds: float, *, decimals: int = 0) -> str:
    """Write a time as people read it.

    Args:
        seconds: At least 0.
        decimals: Of the seconds.

    Returns:
        Minutes and seconds, from an hour on hours too.

    Example:
        >>> clock_time(75.5, decimals=1), clock_time(3600)
        ('1:15.5', '1:00:00')
    """
    unit = 10**decimals
    whole, part = divmod(round(seconds * unit), unit)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
    return f"{text}.{part:0{decimals}d}" if decimals else text


def _rows(segmentation: Segmentation) -> list[str]:
    found = {event.label for event in segmentation.events}
    labels = [*segmentation.labels, *sorted(found - set(segmentation.labels))]
    if len(labels) <= _MAX_EMPTY_ROWS:
        return labels
    return [label for label in labels if label in found]


def _draw_waveform(axes: Axes, envelope: WaveformEnvelope) -> None:
    low, high = envelope.minimum, envelope.maximum
    times = (np.arange(len(low)) + 0.5) * envelope.seconds_per_column
    low, high, times = _thinned(low, np.minimum), _thinned(high, np.maximum), _thinned(times, np.minimum)
    axes.fill_between(times, low, high, color=GREY, linewidth=0.4, edgecolor=GREY, rasterized=True)
    limit = float(max(np.abs(low).max(initial=0.0), np.abs(high).max(initial=0.0))) or 1.0
    axes.set_ylim(-1.05 * limit, 1.05 * limit)
    axes.set_yticks([])
    _name_row(axes, "waveform")


def _draw_row(axes: Axes, segmentation: Segmentation, label: str) -> None:
    """Draw one label: bars where its events are, its score as a curve, its threshold as a dashed line."""
    events = [event for event in segmentation.events if event.label == label]
    spans = [(event.start_s, event.end_s - event.start_s) for event in events]
    axes.broken_barh(spans, (0, 1), facecolor=BLUE, alpha=0.2, linewidth=0)
    # In a lane of its own and with an edge, so that what takes less than a pixel of an hour can still be seen.
    axes.broken_barh(spans, _BARS, facecolor=BLUE, edgecolor=BLUE, linewidth=0.7)
    if label in segmentation.labels:
        times, scores = _curve(segmentation, segmentation.labels.index(label))
        axes.plot(times, scores, color=ORANGE, linewidth=0.8, solid_joinstyle="round")
    if label in segmentation.thresholds:
        axes.axhline(segmentation.thresholds[label], color=INK, linewidth=0.6, linestyle=(0, (4, 4)), alpha=0.5)
    axes.set_ylim(-0.04, sum(_BARS) + 0.04)
    axes.set_yticks([])
    _name_row(axes, label, num_events=len(events))


def _curve(segmentation: Segmentation, column: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return points of a label's score over time: at windows' centres, NaN where nothing was heard."""
    times = np.asarray(segmentation.window_starts_s, dtype=np.float64) + segmentation.window_s / 2
    scores = np.asarray(segmentation.scores, dtype=np.float64).reshape(len(times), -1)[:, column]
    return _thinned(times, np.minimum), _thinned(scores, np.fmax)


def _thinned(values: NDArray[np.floating], take: np.ufunc) -> NDArray[np.floating]:
    """Reduce a row of values to what a picture can show, each the least or the greatest of its neighbours."""
    step = -(-len(values) // _MAX_POINTS)
    return take.reduceat(values, np.arange(0, len(values), step)) if step > 1 else values


def _name_row(axes: Axes, name: str, *, num_events: int | None = None) -> None:
    shown = name if len(name) <= 24 else f"{name[:23]}…"
    is_found = num_events != 0
    count = "" if num_events is None else f"  ({num_events})"
    axes.set_ylabel(
        f"{shown}{count}",
        rotation=0,
        ha="right",
        va="center",
        fontsize=9,
        color=INK if is_found else GREY,
        parse_math=False,
    )


def _draw_time_axis(axes: Axes, end: float) -> None:
    step = next((step for step in _STEPS_S if end / step <= _MAX_TICKS), _STEPS_S[-1])
    while end / step > _MAX_TICKS:
        step *= 2
    decimals = 0 if step >= 1 else 1 if step >= 0.1 else 2
    axes.xaxis.set_major_locator(MultipleLocator(step))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: clock_time(max(0.0, seconds), decimals=decimals)))
    axes.tick_params(axis="x", labelsize=9)


def _draw_words(top: Axes, bottom: Axes, segmentation: Segmentation, *, num_rows: int) -> None:
    found = f"{len(segmentation.events)} event{'' if len(segmentation.events) == 1 else 's'}"
    title = f"{segmentation.file}: {found} in {clock_time(segmentation.duration_s)}"
    pad = 20 if segmentation.model_is_trained is False else 8
    # Names are names: a dollar sign in one begins no formula.
    top.set_title(title, color=INK, fontsize=11, loc="left", pad=pad, parse_math=False)
    if segmentation.model_is_trained is False:
        words = "Random weights or computed sounds: what was found is no result"
        top.annotate(
            words, (0, 1), (0, 6), xycoords="axes fraction", textcoords="offset points", color=ORANGE, fontsize=9
        )
    notes = [f"model: {segmentation.model}", "bars: events, orange: score from 0 to 1, dashed: threshold"]
    num_hidden = len(segmentation.labels) - num_rows
    if num_hidden > 0:
        notes.append(f"{num_hidden} labels without an event are not shown")
    bottom.set_xlabel("    ".join(notes), fontsize=8, color=INK, loc="left", parse_math=False)
    if num_rows == 0:
        bottom.set_yticks([])
        bottom.text(0.5, 0.5, "no events", transform=bottom.transAxes, ha="center", va="center", color=GREY)
