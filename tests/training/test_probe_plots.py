from __future__ import annotations

import matplotlib.image
import numpy as np
import pytest

from nvv.training import probe_plots
from nvv.training.probe_plots import LAYER_SCORES_FILE, write_layer_scores


def _summary(states, mean, *, num_seeds=2, **more):
    score = {
        "mean": mean,
        "standard_deviation": 0.02,
        "low": mean - 0.1,
        "high": mean + 0.05,
        "by_seed": [mean - 0.02, mean + 0.02][:num_seeds],
    }
    return {"hidden_states": states, "test": {"macro_f1": score, "uar": {**score, "mean": mean + 0.3}}, **more}


def _report(*, num_seeds=2, num_states=3, weighted=True, random_init=False, is_synthetic=False, metric="macro_f1"):
    states = list(range(num_states))
    weights = {
        "hidden_states": states,
        "mean": [1 / num_states] * num_states,
        "standard_deviation": [0.01] * num_states if num_seeds > 1 else None,
        "by_seed": [],
    }
    return {
        "backbone": {"id": "openai/whisper-tiny", "revision": None, "random_init": random_init},
        "corpus": {"name": "tones", "pretty_name": "Tones", "config": "speaker", "is_synthetic": is_synthetic},
        "selection_metric": metric,
        "seeds": list(range(num_seeds)),
        "interval": {"unit": "speaker", "confidence": 0.95},
        "main": _summary(states, 0.45, num_seeds=num_seeds, is_weighted_sum=weighted),
        "layers": [_summary([state], 0.3 + 0.1 * state / num_states, num_seeds=num_seeds) for state in states],
        "layer_weights": weights if weighted else None,
        "chance": {"majority": {"macro_f1": 0.05, "uar": 0.06}, "random": {"macro_f1": 0.08, "uar": 0.02}},
    }


@pytest.fixture
def figure_of(monkeypatch, tmp_path):
    """Draw a report, and return the figure that was saved and its file."""
    saved = []
    save = probe_plots.save_figure
    monkeypatch.setattr(probe_plots, "save_figure", lambda figure, path: saved.append(figure) or save(figure, path))

    def draw(report):
        path = write_layer_scores(tmp_path / LAYER_SCORES_FILE, report)
        return saved[-1], path

    return draw


def test_plot_shows_scores_intervals_seeds_the_sum_guessing_and_weights(figure_of):
    figure, path = figure_of(_report())
    assert matplotlib.image.imread(path).shape[0] > 800  # pixels
    upper, lower = figure.axes
    bars = upper.containers[0]
    np.testing.assert_allclose(bars.lines[0].get_xydata(), [[0, 0.3], [1, 0.3 + 0.1 / 3], [2, 0.3 + 0.2 / 3]])
    [segments] = [lines.get_segments() for lines in bars.lines[2]]
    np.testing.assert_allclose(segments[0], [[0, 0.2], [0, 0.35]])  # from low to high
    seeds = upper.collections[-1].get_offsets()
    np.testing.assert_allclose(sorted(seeds[:, 1])[:2], [0.28, 0.28 + 0.1 / 3])
    levels = {line.get_label(): line.get_ydata()[0] for line in upper.lines if len(line.get_ydata()) == 2}
    assert levels["weighted sum, ± 2.0 % over seeds"] == 0.45
    assert levels["best guess without listening"] == 0.08  # the better of the two ways of guessing
    np.testing.assert_allclose([bar.get_height() for bar in lower.patches], 1 / 3)
    assert [label.get_text() for label in lower.get_xticklabels()] == ["0", "1", "2"]
    assert "mean of 2 seeds" in figure.get_supxlabel()
    assert "95 % bootstrap interval over test speakers" in figure.get_supxlabel()


def test_plot_shows_the_score_that_chose_and_macro_f1_for_the_loss(figure_of):
    for metric, shown in (("uar", "test UAR"), ("loss", "test macro-F1")):
        figure, _ = figure_of(_report(metric=metric))
        assert figure.axes[0].get_ylabel() == shown


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"random_init": True}, "Random weights: no evidence about the backbone"),
        ({"is_synthetic": True}, "Computed sounds: no evidence about people's voices"),
        ({"is_synthetic": True, "random_init": True}, "Computed sounds: no evidence"),
    ],
)
def test_title_says_where_scores_are_no_evidence(figure_of, changes, said):
    figure, _ = figure_of(_report(**changes))
    assert said in figure.get_suptitle()
    plain, _ = figure_of(_report())
    assert "evidence" not in plain.get_suptitle()
    assert "openai/whisper-tiny" in plain.get_suptitle()


def test_one_seed_without_a_sum_leaves_out_what_there_is_not(figure_of):
    figure, _ = figure_of(_report(num_seeds=1, weighted=False, num_states=25))
    assert len(figure.axes) == 1
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == [
        "one hidden state",
        "best guess without listening",
    ]
    assert "one seed" in figure.get_supxlabel()
    assert "Weights" not in figure.get_supxlabel()


def test_report_without_single_states_is_refused(tmp_path):
    with pytest.raises(ValueError, match="single_layers: true"):
        write_layer_scores(tmp_path / LAYER_SCORES_FILE, {**_report(), "layers": []})
