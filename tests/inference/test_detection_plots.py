"""The pictures of a detector: that they are there, show the numbers, and survive splits that have no curve."""

from __future__ import annotations

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

from nvv.inference import detection_plots
from nvv.inference.detection_plots import write_detection_plots
from nvv.inference.detection_scores import ScoredSplit


@pytest.fixture
def make_scored():
    """A split of clips with logits of two labels, the second being detected."""

    def make(split, is_positive, log_odds):
        positive = np.asarray(is_positive, dtype=bool)
        return ScoredSplit(
            split=split,
            files=[f"{at}.wav" for at in range(positive.size)],
            speaker_ids=None,
            corpus_labels=["laughing" if value else "other" for value in positive],
            is_positive=positive,
            classes=positive.astype(np.int64),
            logits=np.stack([np.zeros(positive.size), log_odds], axis=1).astype(np.float32),
            label_names=["other", "laughing"],
            label="laughing",
        )

    return make


@pytest.fixture
def figures(monkeypatch):
    """Every figure that is saved, by its file's name."""
    saved: dict[str, Figure] = {}
    save = detection_plots.save_figure

    def keep(figure, path):
        saved[path.name] = figure
        return save(figure, path)

    monkeypatch.setattr(detection_plots, "save_figure", keep)
    return saved


def lines_of(figure, label):
    return [line for line in figure.axes[0].lines if line.get_label().startswith(label)]


def test_curves_and_points_are_those_of_the_scores(make_scored, figures, tmp_path):
    scored = make_scored("test", [0, 1, 0, 1], [-2.0, -1.0, 1.0, 2.0])
    paths = write_detection_plots(tmp_path, [scored], temperature=1.0, threshold=0.5, title="laughing", note="Random.")
    for path in paths:
        assert matplotlib.image.imread(path).shape[0] > 300
    axes = figures["precision_recall.png"].axes[0]
    assert axes.get_title() == "laughing\nRandom."
    # Ascending thresholds: all four (1/2, recall 1), three (2/3, 1), two (1/2, 1/2), one (1, 1/2), none.
    (curve,) = lines_of(figures["precision_recall.png"], "test: average precision 0.833")  # 1/2 · 1 + 1/2 · 2/3
    assert curve.get_xdata().tolist() == [1, 1, 0.5, 0.5, 0]
    assert curve.get_ydata() == pytest.approx([0.5, 2 / 3, 0.5, 1, 1])
    assert (0.5, 0.5) in [
        (line.get_xdata()[0], line.get_ydata()[0])
        for line in axes.lines
        if line.get_marker() == "o" and len(line.get_xdata())
    ]
    (curve,) = lines_of(figures["roc.png"], "test: area 0.750")  # three of the four pairs are in order
    assert curve.get_xdata().tolist() == [1, 0.5, 0.5, 0, 0]
    assert curve.get_ydata().tolist() == [1, 1, 0.5, 0.5, 0]


def test_temperature_moves_the_points_of_the_second_panel_only(make_scored, figures, tmp_path):
    scored = make_scored("test", [0, 1], [-2.0, 2.0])
    write_detection_plots(tmp_path, [scored], temperature=2.0, threshold=0.5, title="laughing")
    before, after = (axes for axes in figures["reliability.png"].axes if axes.get_title())
    (points,) = [line for line in before.lines if line.get_marker() == "o" and len(line.get_xdata())]
    assert points.get_xdata() == pytest.approx([1 / (1 + np.exp(2)), 1 / (1 + np.exp(-2))])
    (points,) = [line for line in after.lines if line.get_marker() == "o" and len(line.get_xdata())]
    assert points.get_xdata() == pytest.approx([1 / (1 + np.exp(1)), 1 / (1 + np.exp(-1))])


def test_split_without_the_label_has_no_curve(make_scored, figures, tmp_path):
    splits = [make_scored("validation", [0, 1], [-1.0, 1.0]), make_scored("test", [0, 0], [-1.0, 1.0])]
    write_detection_plots(tmp_path, splits, temperature=1.0, threshold=0.5, title="laughing")
    for name in ("precision_recall.png", "roc.png"):
        assert lines_of(figures[name], "validation")
        assert not lines_of(figures[name], "test")
