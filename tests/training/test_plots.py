import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

from nvv.training import plots
from nvv.training.results import RunFacts, SplitPredictions, build_metrics


def make_metrics(num_labels):
    generator = np.random.default_rng(0)
    references = np.arange(3 * num_labels) % num_labels
    logits = generator.normal(size=(references.size, num_labels))
    logits[np.arange(references.size), references] += 2
    split = SplitPredictions.from_logits(
        "test", logits, files=[str(index) for index in range(references.size)], references=references
    )
    facts = RunFacts(
        corpus={"name": "tiny", "pretty_name": "Tiny corpus"},
        corpus_config="speaker",
        backbone_id="openai/whisper-tiny",
        random_init=True,
        method="lora",
        total_parameters=1000,
        trainable_parameters=10,
        seed=0,
        device="cpu",
    )
    names = [f"throat-clearing {index}" for index in range(num_labels)]
    return build_metrics([split], facts, label_names=names, num_resamples=50)


@pytest.fixture(scope="module")
def metrics():
    return make_metrics(16)


@pytest.fixture
def figures(monkeypatch):
    """The figures that were saved, in order."""
    saved = []
    save = plots.save_figure
    monkeypatch.setattr(plots, "save_figure", lambda figure, path: saved.append(figure) or save(figure, path))
    return saved


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(match=lambda item: hasattr(item, "get_text"))]


def test_confusion_matrix_shows_counts_names_and_scores(metrics, figures, tmp_path):
    path = plots.write_confusion_matrix(tmp_path / "confusion_matrix.png", metrics)
    assert matplotlib.image.imread(path).shape[0] > 800  # pixels; 16 names are readable
    axes = figures[0].axes[0]
    matrix = np.array(metrics["splits"]["test"]["confusion_matrix"])
    shown = {(round(t.get_position()[1]), round(t.get_position()[0])): int(t.get_text()) for t in axes.texts}
    assert shown == {(row, column): matrix[row, column] for row, column in zip(*np.nonzero(matrix), strict=True)}
    np.testing.assert_allclose(axes.images[0].get_array(), matrix / 3)  # three clips a class
    assert [label.get_text() for label in axes.get_xticklabels()] == metrics["labels"]
    scores = metrics["splits"]["test"]["scores"]
    title = axes.get_title()
    assert "Tiny corpus, test" in title
    assert f"UAR {100 * scores['uar']['value']:.1f} %" in title
    assert f"macro-F1 {100 * scores['macro_f1']['value']:.1f} %" in title


def test_confusion_matrix_is_drawn_when_a_class_has_no_clips():
    axes = Figure().add_subplot()
    plots.draw_confusion_matrix(axes, [[2, 0], [0, 0]], label_names=["a", "b"])
    np.testing.assert_array_equal(axes.images[0].get_array(), [[1, 0], [0, 0]])


def test_same_metrics_give_the_same_bytes(metrics, tmp_path):
    first = plots.write_confusion_matrix(tmp_path / "a.png", metrics).read_bytes()
    assert first == plots.write_confusion_matrix(tmp_path / "b.png", metrics).read_bytes()


def test_layer_weights_are_bars_at_their_layers(figures, tmp_path):
    weights = [0.2, 0.5, 0.3]
    plots.write_layer_weights(
        tmp_path / "layer_weights.png", weights, backbone_id="openai/whisper-tiny", layers=[0, 2, 4]
    )
    axes = figures[0].axes[0]
    assert [bar.get_height() for bar in axes.patches] == pytest.approx(weights)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "2", "4"]
    assert axes.get_title() == "Layer weights, openai/whisper-tiny"
    assert axes.lines[0].get_ydata()[0] == pytest.approx(1 / 3)


def test_layer_weights_title_says_so_when_the_backbone_is_random(figures, tmp_path):
    plots.write_layer_weights(tmp_path / "layer_weights.png", [1.0], backbone_id="x/y", random_init=True)
    assert figures[0].axes[0].get_title() == "Layer weights, x/y (random weights)"


@pytest.mark.parametrize(
    ("weights", "layers", "message"),
    [
        ([0.0, 0.0], None, "sums to 1"),
        ([float("nan"), 1.0], None, "sums to 1"),
        ([0.5, 0.5], [0], "layers: expected 2 indices"),
    ],
)
def test_layer_weights_are_refused_when_not_a_softmax(tmp_path, weights, layers, message):
    with pytest.raises(ValueError, match=message):
        plots.write_layer_weights(tmp_path / "layer_weights.png", weights, backbone_id="x/y", layers=layers)
    assert list(tmp_path.iterdir()) == []


def test_overview_shows_scores_intervals_chance_and_training_curves(metrics, figures, tmp_path):
    log = [
        {"loss": 2.0, "learning_rate": 1e-4, "epoch": 1.0, "step": 5},
        {"eval_loss": 1.9, "eval_macro_f1": 0.2, "epoch": 1.0, "step": 5},
        {"loss": 1.0, "epoch": 2.0, "step": 10},
        {"eval_loss": 1.2, "eval_macro_f1": 0.6, "epoch": 2.0, "step": 10},
        {"train_runtime": 3.0, "train_loss": 1.5, "epoch": 2.0, "step": 10},
    ]
    path = plots.write_overview(tmp_path / "quickstart.png", metrics, log)
    assert matplotlib.image.imread(path).shape[1] > 1500
    scores, training = figures[0].axes[:2]
    test = metrics["splits"]["test"]
    bars = [bar.get_height() for bar in scores.patches]
    assert bars[:2] == pytest.approx([test["scores"][name]["value"] for name in ("macro_f1", "uar")])
    chance = [max(kind[name] for kind in test["chance"].values()) for name in ("macro_f1", "uar")]
    assert bars[2:] == pytest.approx(chance)
    assert [list(line.get_ydata()) for line in training.lines] == [[2.0, 1.0], [1.9, 1.2]]
    f1_axes = next(axes for axes in figures[0].axes if axes.lines and list(axes.lines[0].get_ydata()) == [0.2, 0.6])
    assert list(f1_axes.lines[0].get_xdata()) == [1.0, 2.0]
    assert any("random weights" in text and "10 of 1,000 parameters" in text for text in texts(figures[0]))


def test_overview_is_drawn_when_nothing_was_logged(tmp_path):
    assert plots.write_overview(tmp_path / "quickstart.png", make_metrics(2), []).stat().st_size > 0


def test_confusion_matrix_is_that_of_the_task_when_one_is_named(metrics, figures, tmp_path):
    result = metrics["splits"]["test"]
    joint = {
        **metrics,
        "labels": [],
        "tasks": [{"name": "type", "outputs": metrics["labels"]}],
        "splits": {"test": {"tasks": {"type": result}}},
    }
    plots.write_confusion_matrix(tmp_path / "confusion_matrix_type.png", joint, task="type")
    assert "Tiny corpus, type, test\nUAR " in figures[0].axes[0].get_title()
    assert len(figures[0].axes[0].get_yticklabels()) == 16
    with pytest.raises(ValueError, match="task: expected one of type, found 'high'"):
        plots.write_confusion_matrix(tmp_path / "plot.png", joint, task="high")


def test_plots_name_the_splits_when_another_is_asked_for(metrics, tmp_path):
    for write in (
        plots.write_confusion_matrix,
        lambda path, values, split: plots.write_overview(path, values, [], split=split),
    ):
        with pytest.raises(ValueError, match="split: expected one of test, found 'dev'"):
            write(tmp_path / "plot.png", metrics, split="dev")
