"""The page of plots of an audit: clips by class and split, durations, levels, silence, rates, speakers.

The first config is shown. Figures of their own, without pyplot's global state; no display is needed. Own work.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from ...files import replaced_when_complete
from .audit import AuditReport, ConfigAudit
from .measures import ClipMeasures
from .sound_checks import duration_limits

__all__ = ["write_plots"]

_COLOURS = ("#2b6cb0", "#dd6b20", "#38a169", "#805ad5", "#718096")
_GREY, _INK = "#a0aec0", "#2d3748"
_MAX_CLASSES = 40
_DOTS_PER_INCH = 110


def write_plots(report: AuditReport, path: str | os.PathLike[str]) -> Path:
    """Write the page of plots as a PNG, whole or not at all.

    Args:
        report: What was found.
        path: The file.

    Returns:
        The file's path.
    """
    config = next(iter(report.configs.values()))
    figure = Figure(figsize=(17, 9), layout="constrained")
    grid = figure.add_gridspec(2, 4)
    _draw_classes(figure.add_subplot(grid[0, 0]), config)
    _draw_durations_by_class(figure.add_subplot(grid[0, 1]), config, report)
    _draw_durations_by_split(figure.add_subplot(grid[0, 2]), config, report)
    _draw_speakers(figure.add_subplot(grid[0, 3]), config)
    good = [one for one in report.measures.values() if not one.error]
    _draw_peaks(figure.add_subplot(grid[1, 0]), good)
    _draw_clipping(figure.add_subplot(grid[1, 1]), good)
    _draw_silence(figure.add_subplot(grid[1, 2]), good)
    _draw_rates(figure.add_subplot(grid[1, 3]), good)
    verdict = "leaks" if config.leaks else "no leak found"
    figure.suptitle(f"{report.dataset}, config {config.name}: {verdict}", color=_INK, fontsize=14)
    FigureCanvasAgg(figure)
    with replaced_when_complete(path) as temporary:
        # No software entry in the file's metadata: the same audit gives the same bytes.
        figure.savefig(temporary, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    return Path(path)


def _tidy(axes: Axes, title: str) -> None:
    axes.set_title(title, color=_INK, fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=_INK, labelsize=8)
    axes.set_axisbelow(True)


def _colour(position: int) -> str:
    return _COLOURS[position % len(_COLOURS)]


def _draw_classes(axes: Axes, config: ConfigAudit) -> None:
    shown = list(config.label_names or ())[:_MAX_CLASSES]
    if shown:
        lefts = np.zeros(len(shown))
        for number, (split, summary) in enumerate(config.splits.items()):
            counts = np.array([summary.labels[label] for label in shown])
            axes.barh(np.arange(len(shown)), counts, left=lefts, color=_colour(number), label=split)
            lefts += counts
        axes.set_yticks(np.arange(len(shown)), shown)
        axes.invert_yaxis()
        axes.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=3)
    else:
        counts = [summary.num_clips for summary in config.splits.values()]
        axes.barh(list(config.splits), counts, color=[_colour(number) for number in range(len(counts))])
    cut = f" (the first {_MAX_CLASSES})" if len(config.label_names or ()) > _MAX_CLASSES else ""
    _tidy(axes, f"Clips by class and split{cut}" if shown else "Clips by split")


def _draw_durations(axes: Axes, groups: dict[str, list[float]], report: AuditReport, title: str) -> None:
    """Draw a box for each group; points beyond the whiskers are single clips, dashes the limits of the audit."""
    names = [name for name, durations in groups.items() if durations]
    if names:
        axes.boxplot(
            [groups[name] for name in names],
            positions=np.arange(len(names)),
            widths=0.6,
            flierprops={"marker": ".", "markersize": 3, "markeredgecolor": _COLOURS[1]},
            medianprops={"color": _COLOURS[0]},
            boxprops={"color": _INK},
        )
        axes.set_xticks(np.arange(len(names)), names, rotation=60, ha="right", rotation_mode="anchor")
        for limit in duration_limits(report.durations_s):
            axes.axhline(limit, color=_GREY, linestyle="--", linewidth=1)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("{x:g}")
        axes.set_ylabel("seconds (dashed: limits of the usual)", color=_INK, fontsize=8)
    _tidy(axes, title)


def _draw_durations_by_class(axes: Axes, config: ConfigAudit, report: AuditReport) -> None:
    groups: dict[str, list[float]] = {label: [] for label in (config.label_names or ())[:_MAX_CLASSES]}
    for row in config.rows:
        if row.clip.label in groups and not report.measures[row.digest].error:
            groups[row.clip.label].append(report.measures[row.digest].duration_s)
    _draw_durations(axes, groups, report, "Durations by class")


def _draw_durations_by_split(axes: Axes, config: ConfigAudit, report: AuditReport) -> None:
    groups: dict[str, list[float]] = {split: [] for split in config.splits}
    for row in config.rows:
        if not report.measures[row.digest].error:
            groups[row.clip.split].append(report.measures[row.digest].duration_s)
    _draw_durations(axes, groups, report, "Durations by split")


def _draw_speakers(axes: Axes, config: ConfigAudit) -> None:
    splits_of: dict[str, set[str]] = {}
    for row in config.rows:
        if row.clip.speaker_id is not None:
            splits_of.setdefault(row.clip.speaker_id, set()).add(row.clip.split)
    names = list(config.splits)
    if not splits_of:
        axes.text(0.5, 0.5, "speakers unknown", ha="center", va="center", color=_INK, transform=axes.transAxes)
    alone = [sum(found == {split} for found in splits_of.values()) for split in names]
    shared = [sum(split in found and len(found) > 1 for found in splits_of.values()) for split in names]
    axes.bar(names, alone, color=_COLOURS[0], label="in this split only")
    axes.bar(names, shared, bottom=alone, color=_COLOURS[1], label="also in another split")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=2)
    _tidy(axes, "Speakers")


def _histogram(axes: Axes, values: Sequence[float], bins: np.ndarray, title: str, label: str) -> None:
    axes.hist(np.clip(values, bins[0], bins[-1]), bins=bins, color=_COLOURS[0])
    axes.set_xlabel(label, color=_INK, fontsize=8)
    axes.set_ylabel("clips", color=_INK, fontsize=8)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    _tidy(axes, title)


def _draw_peaks(axes: Axes, good: Sequence[ClipMeasures]) -> None:
    _histogram(axes, [one.peak_dbfs for one in good], np.arange(-80.0, 1.0, 2.0), "Peak level", "dBFS")


def _draw_clipping(axes: Axes, good: Sequence[ClipMeasures]) -> None:
    clipped = sorted((one.clipped_share for one in good if one.num_clipped_runs), reverse=True)
    axes.bar(np.arange(len(clipped)), clipped, width=1.0, color=_COLOURS[1])
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("clips that clip, the worst first", color=_INK, fontsize=8)
    axes.set_ylabel("samples at full scale", color=_INK, fontsize=8)
    _tidy(axes, f"Clipping: {len(clipped)} of {len(good)} clips")


def _draw_silence(axes: Axes, good: Sequence[ClipMeasures]) -> None:
    _histogram(axes, [one.silence_share for one in good], np.linspace(0, 1, 21), "Silence", "share of silent frames")
    axes.xaxis.set_major_formatter(PercentFormatter(xmax=1))


def _draw_rates(axes: Axes, good: Sequence[ClipMeasures]) -> None:
    counts = sorted(Counter((one.sampling_rate, one.num_channels) for one in good).items())
    names = [f"{rate / 1000:g} kHz\n{channels} ch" for (rate, channels), _ in counts]
    axes.bar(names, [count for _, count in counts], color=_COLOURS[0], width=0.5)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("clips", color=_INK, fontsize=8)
    empty = sum(one.filled_to_hz is not None for one in good)
    _tidy(axes, "Sampling rates and channels" + (f"\n{empty} clips with an empty band" if empty else ""))
