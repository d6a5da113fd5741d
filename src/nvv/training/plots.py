"""The pictures of a run: confusion matrix, layer weights, and an overview for the quick start.

Drawn from `metrics.json`, the weights of the layer sum and the Trainer's log, on figures of their own: pyplot and its
global state are not used, and no display is needed. Own work.
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

from .plot_style import BLUE, GREY, INK, ORANGE, percent_axis, save_figure, tidy

CONFUSION_MATRIX_FILE = "confusion_matrix.png"
LAYER_WEIGHTS_FILE = "layer_weights.png"
OVERVIEW_FILE = "quickstart.png"

SCORE_TITLES = {
    "accuracy": "accuracy",
    "uar": "UAR",
    "macro_f1": "macro-F1",
    "weighted_f1": "weighted F1",
    "macro_precision": "macro precision",
    "macro_recall": "macro recall",
    "weighted_precision": "weighted precision",
}


def _corpus_name(metrics: Mapping[str, Any]) -> str:
    corpus = metrics["corpus"]
    return corpus.get("pretty_name") or corpus["name"]


def _score(result: Mapping[str, Any], name: str) -> str:
    return f"{SCORE_TITLES[name]} {100 * result['scores'][name]['value']:.1f} %"


def draw_confusion_matrix(axes: Axes, counts: Sequence[Sequence[int]], *, label_names: Sequence[str]) -> None:
    """Draw a confusion matrix: colour is the share of the true class, the number in a cell its count.

    Args:
        axes: where to draw.
        counts: confusion counts (classes, classes), rows true, columns predicted.
        label_names: class names in label order.

    Raises:
        ValueError: if the matrix does not fit the names.
    """
    matrix = np.asarray(counts)
    num_labels = len(label_names)
    if matrix.shape != (num_labels, num_labels):
        raise ValueError(f"counts: expected ({num_labels}, {num_labels}) for the label names, found {matrix.shape}.")
    support = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, support, out=np.zeros(matrix.shape), where=support > 0)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    size = 9 if num_labels <= 10 else 7.5
    for row, column in zip(*np.nonzero(matrix), strict=True):
        axes.text(
            column,
            row,
            f"{matrix[row, column]}",
            ha="center",
            va="center",
            fontsize=size,
            color="white" if shares[row, column] > 0.55 else INK,
        )
    ticks = np.arange(num_labels)
    axes.set_xticks(ticks, label_names, rotation=45, ha="right", rotation_mode="anchor", fontsize=size)
    named = [f"{name} ({int(count)})" for name, count in zip(label_names, support[:, 0], strict=True)]
    axes.set_yticks(ticks, named, fontsize=size)
    axes.set_xticks(ticks[:-1] + 0.5, minor=True)
    axes.set_yticks(ticks[:-1] + 0.5, minor=True)
    axes.grid(which="minor", color="#edf2f7", linewidth=0.8)
    axes.tick_params(which="minor", length=0)
    axes.tick_params(which="major", length=0, colors=INK)
    for spine in axes.spines.values():
        spine.set_color(GREY)
    axes.set_xlabel("predicted", color=INK)
    axes.set_ylabel("true (clips)", color=INK)
    bar = axes.figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03, format=percent_axis())
    bar.set_label("share of the true class", color=INK, fontsize=size)
    bar.ax.tick_params(labelsize=size, colors=INK)
    bar.outline.set_visible(False)


def write_confusion_matrix(
    path: str | os.PathLike[str], metrics: Mapping[str, Any], *, split: str = "test", task: str | None = None
) -> Path:
    """Write the confusion matrix of one split as a PNG.

    Args:
        path: the file.
        metrics: the content of `metrics.json`.
        split: the split to show.
        task: which of the model's tasks; None for a model that is a classifier and nothing else.

    Returns:
        The file's path.

    Raises:
        ValueError: if `metrics` has no such split or no such task.
    """
    if split not in metrics["splits"]:
        raise ValueError(f"split: expected one of {', '.join(metrics['splits'])}, found {split!r}.")
    result, label_names = metrics["splits"][split], metrics["labels"]
    if task is not None:
        names = {item["name"]: item["outputs"] for item in metrics.get("tasks", ())}
        if task not in names:
            raise ValueError(f"task: expected one of {', '.join(names) or 'none'}, found {task!r}.")
        result, label_names = result["tasks"][task], names[task]
    side = 3.6 + 0.36 * len(label_names)  # inches
    figure = Figure(figsize=(side + 0.9, side), layout="constrained")
    axes = figure.add_subplot()
    draw_confusion_matrix(axes, result["confusion_matrix"], label_names=label_names)
    named = split if task is None else f"{task}, {split}"
    axes.set_title(
        f"{_corpus_name(metrics)}, {named}\n{_score(result, 'uar')} · {_score(result, 'macro_f1')}",
        color=INK,
        fontsize=11,
        pad=10,
    )
    return save_figure(figure, path)


def write_layer_weights(
    path: str | os.PathLike[str],
    weights: Sequence[float],
    *,
    backbone_id: str,
    layers: Sequence[int] | None = None,
    random_init: bool = False,
) -> Path:
    """Write the weights of the layer sum as a bar chart.

    Args:
        path: the file.
        weights: weight of each summed hidden state after softmax (layers,), summing to 1.
        backbone_id: named in the title.
        layers: the hidden states' indices, 0 being the embedding output; None for 0, 1, 2, ….
        random_init: whether the backbone had no pretrained weights; the title then says so.

    Returns:
        The file's path.

    Raises:
        ValueError: for weights that are not a softmax's, or another number of layers.
    """
    values = np.asarray(weights, dtype=np.float64)
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all() or abs(values.sum() - 1) > 1e-3:
        raise ValueError(f"weights: expected a vector that sums to 1 (after softmax), found {values.tolist()}.")
    indices = list(range(values.size)) if layers is None else list(layers)
    if len(indices) != values.size:
        raise ValueError(f"layers: expected {values.size} indices, one for each weight, found {len(indices)}.")
    figure = Figure(figsize=(max(5.0, 2.2 + 0.32 * values.size), 3.4), layout="constrained")
    axes = figure.add_subplot()
    positions = np.arange(values.size)
    axes.bar(positions, values, color=BLUE, width=0.72)
    axes.axhline(1 / values.size, color=ORANGE, linestyle="--", linewidth=1.2)
    axes.set_xticks(positions, [str(index) for index in indices], fontsize=8 if values.size > 16 else 9)
    axes.set_xlabel("hidden state (0: input to the first layer; dashed: equal weights)", color=INK)
    axes.set_ylabel("weight", color=INK)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.grid(axis="y", color="#edf2f7")
    tidy(axes)
    note = " (random weights)" if random_init else ""
    axes.set_title(f"Layer weights, {backbone_id}{note}", color=INK, fontsize=11)
    return save_figure(figure, path)


def _draw_scores(axes: Axes, metrics: Mapping[str, Any], *, split: str, names: Sequence[str]) -> None:
    """Draw scores with their intervals beside the better of the two ways of guessing."""
    result = metrics["splits"][split]
    values = np.array([result["scores"][name]["value"] for name in names])
    low = np.array([result["scores"][name]["low"] for name in names])
    high = np.array([result["scores"][name]["high"] for name in names])
    chance = np.array([max(result["chance"][kind][name] for kind in ("majority", "random")) for name in names])
    positions = np.arange(len(names))
    # A percentile interval need not hold the score itself; an error bar cannot be negative.
    errors = np.maximum([values - low, high - values], 0)
    axes.bar(
        positions - 0.2,
        values,
        0.4,
        yerr=errors,
        capsize=5,
        color=BLUE,
        error_kw={"ecolor": INK, "elinewidth": 1.2},
        label="model, 95 % interval",
    )
    axes.bar(positions + 0.2, chance, 0.4, color=GREY, label="best guess without listening")
    for position, value, top in zip(positions - 0.2, values, np.maximum(high, values), strict=True):
        axes.text(position, top + 0.02, f"{100 * value:.1f} %", ha="center", va="bottom", fontsize=10, color=INK)
    for position, value in zip(positions + 0.2, chance, strict=True):
        axes.text(position, value + 0.02, f"{100 * value:.1f} %", ha="center", va="bottom", fontsize=10, color=INK)
    axes.set_xticks(positions, [SCORE_TITLES[name] for name in names])
    axes.set_ylim(0, 1.12)
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.yaxis.set_major_formatter(percent_axis())
    axes.grid(axis="y", color="#edf2f7")
    # Below the bars: wherever it stood among them, a good score would run into it.
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2, fontsize=8, frameon=False)
    axes.set_title(f"{split.capitalize()}: {result['num_clips']} clips", color=INK, fontsize=11)
    tidy(axes)


def _logged(log_history: Sequence[Mapping[str, Any]], name: str) -> tuple[list[float], list[float]]:
    """Return the epochs at which the Trainer logged `name`, and its values."""
    entries = [entry for entry in log_history if name in entry and "epoch" in entry]
    return [float(entry["epoch"]) for entry in entries], [float(entry[name]) for entry in entries]


def _draw_training(axes: Axes, log_history: Sequence[Mapping[str, Any]]) -> None:
    """Draw the losses, and validation macro-F1 on a second axis, over epochs."""
    lines = []
    for name, title, colour in (("loss", "training loss", GREY), ("eval_loss", "validation loss", INK)):
        epochs, values = _logged(log_history, name)
        if epochs:
            lines += axes.plot(epochs, values, color=colour, linewidth=1.6, label=title)
    axes.set_xlabel("epoch", color=INK)
    axes.set_ylabel("loss", color=INK)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    tidy(axes)
    epochs, values = _logged(log_history, "eval_macro_f1")
    if epochs:
        right = axes.twinx()
        lines += right.plot(epochs, values, color=BLUE, linewidth=2, label="validation macro-F1")
        right.set_ylim(0, 1)
        right.yaxis.set_major_formatter(percent_axis())
        right.spines[["top", "left"]].set_visible(False)
        right.tick_params(colors=BLUE)
    if lines:
        axes.legend(
            lines,
            [line.get_label() for line in lines],
            loc="upper center",
            bbox_to_anchor=(0.5, -0.2),
            ncols=len(lines),
            fontsize=8,
            frameon=False,
        )
    axes.set_title("Training", color=INK, fontsize=11)


def write_overview(
    path: str | os.PathLike[str],
    metrics: Mapping[str, Any],
    log_history: Sequence[Mapping[str, Any]],
    *,
    split: str = "test",
) -> Path:
    """Write one picture of a run: scores against guessing, the training curve and the confusion matrix.

    Args:
        path: the file.
        metrics: the content of `metrics.json`.
        log_history: the Trainer's `state.log_history`; `loss`, `eval_loss` and `eval_macro_f1` are drawn over epochs.
        split: the split to show.

    Returns:
        The file's path.

    Raises:
        ValueError: if `metrics` has no such split.
    """
    if split not in metrics["splits"]:
        raise ValueError(f"split: expected one of {', '.join(metrics['splits'])}, found {split!r}.")
    figure = Figure(figsize=(12.5, 6.8), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(1, 1.55))
    _draw_scores(figure.add_subplot(grid[0, 0]), metrics, split=split, names=("macro_f1", "uar"))
    _draw_training(figure.add_subplot(grid[1, 0]), log_history)
    right = figure.add_subplot(grid[:, 1])
    draw_confusion_matrix(right, metrics["splits"][split]["confusion_matrix"], label_names=metrics["labels"])
    right.set_title(f"{split.capitalize()} clips by true and predicted class", color=INK, fontsize=11)
    backbone, tuning = metrics["backbone"], metrics["tuning"]
    start = "random weights" if backbone["random_init"] else "pretrained"
    title = (
        f"{_corpus_name(metrics)}: {backbone['id']} ({start}), {tuning['method']}, "
        f"{tuning['trainable_parameters']:,} of {tuning['total_parameters']:,} parameters trained"
    )
    if metrics["corpus"].get("is_synthetic"):
        title += "\nComputed sounds: no evidence about people's voices"
    elif backbone["random_init"]:
        title += "\nRandom weights: no evidence about the backbone or the method"
    figure.suptitle(title, color=INK, fontsize=12)
    return save_figure(figure, path)
