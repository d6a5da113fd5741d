"""The picture of a probe: which hidden states of a backbone know vocalizations, and which the weighted sum learned.

Drawn from the content of `probe.json` alone, as the pictures of a run are in the neighbour `plots`. Own work.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..metrics import SCORE_NAMES
from .plot_style import BLUE, GREY, INK, ORANGE, percent_axis, save_figure, tidy
from .plots import SCORE_TITLES

LAYER_SCORES_FILE = "layer_scores.png"

_GRID = "#edf2f7"


def write_layer_scores(path: str | os.PathLike[str], report: Mapping[str, Any]) -> Path:
    """Write the test score of each hidden state's probe, beside the weighted sum's, and the learned layer weights.

    Args:
        path: the file.
        report: the content of `probe.json`, with probes of single hidden states.

    Returns:
        The file's path.

    Raises:
        ValueError: for a probe without single hidden states.
    """
    if not report["layers"]:
        raise ValueError("layers: expected probes of single hidden states, found none. Set single_layers: true.")
    metric = report["selection_metric"] if report["selection_metric"] in SCORE_NAMES else "macro_f1"
    weights = report["layer_weights"]
    states = [summary["hidden_states"][0] for summary in report["layers"]]
    width = max(7.0, 2.6 + 0.34 * len(states))
    figure = Figure(figsize=(width, 6.4 if weights else 4.6), layout="constrained")
    rows = figure.add_gridspec(2 if weights else 1, 1, height_ratios=(2.3, 1)[: 2 if weights else 1])
    upper = figure.add_subplot(rows[0])
    _draw_scores(upper, report, states=states, metric=metric)
    if weights:
        _draw_weights(figure.add_subplot(rows[1], sharex=upper), weights)
        upper.tick_params(labelbottom=False)
    lowest = figure.axes[-1]
    lowest.set_xticks(states, [str(state) for state in states], fontsize=8 if len(states) > 16 else 9)
    lowest.set_xlabel("hidden state (0: input to the first layer)", color=INK)
    figure.suptitle(_title(report), color=INK, fontsize=11)
    figure.supxlabel(_caption(report), color=INK, fontsize=7.5)
    return save_figure(figure, path)


def _draw_scores(axes: Axes, report: Mapping[str, Any], *, states: Sequence[int], metric: str) -> None:
    """Draw each state's score with its interval, the heads of single seeds, the run's own probe, and guessing."""
    scores = [summary["test"][metric] for summary in report["layers"]]
    means = np.array([score["mean"] for score in scores])
    low, high = (np.array([score[end] for score in scores]) for end in ("low", "high"))
    num_seeds = len(report["seeds"])
    # A percentile interval need not hold the score itself; an error bar cannot be negative.
    errors = np.maximum([means - low, high - means], 0)
    marks: list[Any] = [
        axes.errorbar(
            states, means, yerr=errors, fmt="o-", color=BLUE, ecolor=BLUE, capsize=3, linewidth=1.6, markersize=5,
            elinewidth=1.1, label="one hidden state", zorder=3,
        )
    ]  # fmt: skip
    if num_seeds > 1:
        seeds = np.array([score["by_seed"] for score in scores])  # (states, seeds)
        places = np.repeat(np.asarray(states)[:, None], num_seeds, axis=1)
        marks.append(
            axes.scatter(places.ravel() + 0.13, seeds.ravel(), s=10, color=INK, alpha=0.6, label="its seeds", zorder=4)
        )
    main = report["main"]
    if main["is_weighted_sum"]:
        score = main["test"][metric]
        deviation = score["standard_deviation"]
        label = "weighted sum" if deviation is None else f"weighted sum, ± {100 * deviation:.1f} % over seeds"
        marks.append(axes.axhline(score["mean"], color=ORANGE, linewidth=1.6, label=label, zorder=2))
        axes.axhspan(score["low"], score["high"], color=ORANGE, alpha=0.13, linewidth=0, zorder=1)
    chance = max(report["chance"][kind][metric] for kind in ("majority", "random"))
    guess = axes.axhline(chance, color=GREY, linestyle="--", linewidth=1.2, label="best guess without listening")
    axes.set_ylabel(f"test {SCORE_TITLES[metric]}", color=INK)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(percent_axis())
    axes.grid(axis="y", color=_GRID)
    axes.legend(
        handles=[*marks, guess], loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=8, frameon=False
    )
    tidy(axes)


def _draw_weights(axes: Axes, weights: Mapping[str, Any]) -> None:
    """Draw the learned weights of the sum, with their deviation over seeds."""
    values = np.asarray(weights["mean"])
    deviations = weights["standard_deviation"]
    axes.bar(
        weights["hidden_states"], values, 0.6, color=ORANGE, yerr=deviations, capsize=3 if deviations else 0,
        error_kw={"ecolor": INK, "elinewidth": 1.1},
    )  # fmt: skip
    axes.axhline(1 / values.size, color=GREY, linestyle="--", linewidth=1.2)
    axes.set_ylabel("weight in the sum", color=INK)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.grid(axis="y", color=_GRID)
    tidy(axes)


def _title(report: Mapping[str, Any]) -> str:
    """Say what was probed, and where the scores are no evidence."""
    corpus, backbone = report["corpus"], report["backbone"]
    start = " (random weights)" if backbone["random_init"] else ""
    name = corpus["pretty_name"] or corpus["name"]
    title = f"{name}, split {corpus['config']}\nLinear probes of {backbone['id']}{start}"
    if corpus["is_synthetic"]:
        return f"{title}\nComputed sounds: no evidence about people's voices"
    if backbone["random_init"]:
        return f"{title}\nRandom weights: no evidence about the backbone"
    return title


def _caption(report: Mapping[str, Any]) -> str:
    """Say what the marks mean."""
    interval, num_seeds = report["interval"], len(report["seeds"])
    of_seeds = "one seed" if num_seeds == 1 else f"mean of {num_seeds} seeds"
    caption = (
        f"Scores: {of_seeds}; bars and band: {100 * interval['confidence']:.0f} % bootstrap interval over test "
        f"{interval['unit']}s. Weight decay chosen on validation."
    )
    if report["layer_weights"] is None:
        return caption
    deviation = "" if num_seeds == 1 else ", deviation over seeds"
    return f"{caption}\nWeights in the sum: after softmax{deviation}; dashed: equal weights."
