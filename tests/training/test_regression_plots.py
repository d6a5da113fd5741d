import matplotlib.image
import numpy as np
import pytest

from nvv.training import regression_plots
from nvv.training.answers import RegressionPredictions
from nvv.training.regression_plots import write_regression_plot
from nvv.training.split_scores import regression_results


def make(num_targets, *, size=50):
    generator = np.random.default_rng(0)
    references = generator.random((size, num_targets))
    references[0, 0] = np.nan
    return RegressionPredictions(
        split="test",
        files=[str(index) for index in range(size)],
        references=references,
        predictions=np.nan_to_num(references) + 0.2 * generator.normal(size=references.shape),
        target_names=[f"target {index}" for index in range(num_targets)],
    )


def make_metrics(answers, *, synthetic=False, random_init=False):
    return {
        "corpus": {"name": "bursts", "pretty_name": "Bursts", "is_synthetic": synthetic},
        "backbone": {"random_init": random_init},
        "splits": {"test": {"tasks": {"high": regression_results(answers, num_resamples=30)}}},
    }


@pytest.fixture
def figures(monkeypatch):
    """The figures that were saved, in order."""
    saved = []
    save = regression_plots.save_figure
    monkeypatch.setattr(
        regression_plots, "save_figure", lambda figure, path: saved.append(figure) or save(figure, path)
    )
    return saved


def test_each_target_has_a_panel_with_its_clips_and_its_ccc(figures, tmp_path):
    answers = make(2)
    metrics = make_metrics(answers)
    path = write_regression_plot(tmp_path / "regression.png", metrics, answers, task="high")
    assert matplotlib.image.imread(path).shape[1] > 600
    assert [path.name for path in tmp_path.iterdir()] == ["regression.png"]
    axes = figures[0].axes
    assert len(axes) == 2
    points = axes[0].collections[0].get_offsets()
    np.testing.assert_allclose(points, np.stack([answers.references[1:, 0], answers.predictions[1:, 0]], axis=1))
    score = metrics["splits"]["test"]["tasks"]["high"]["per_target"]["target 1"]["ccc"]
    title = f"target 1\nCCC {score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}]"
    assert axes[1].get_title() == title
    assert axes[0].get_xlim() == axes[0].get_ylim()
    assert figures[0].get_suptitle().startswith("Bursts, high, test\nCCC ")


def test_many_targets_have_a_row_each(figures, tmp_path):
    answers = make(regression_plots.MAX_PANELS + 1)
    metrics = make_metrics(answers)
    write_regression_plot(tmp_path / "regression.png", metrics, answers, task="high")
    (axes,) = figures[0].axes
    assert [label.get_text() for label in axes.get_yticklabels()] == list(answers.target_names)
    expected = [score["ccc"]["value"] for score in metrics["splits"]["test"]["tasks"]["high"]["per_target"].values()]
    values = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"]
    assert values == pytest.approx(expected)


@pytest.mark.parametrize("num_targets", [2, regression_plots.MAX_PANELS + 1])
def test_target_without_a_reference_is_drawn_empty(figures, tmp_path, num_targets):
    answers = make(num_targets)
    answers.references[:, 1] = np.nan
    write_regression_plot(tmp_path / "regression.png", make_metrics(answers), answers, task="high")
    if num_targets == 2:
        assert figures[0].axes[1].get_title() == "target 1\nno reference"
        assert not figures[0].axes[1].collections
    else:
        assert len([line for line in figures[0].axes[0].lines if line.get_marker() == "o"]) == num_targets - 1


@pytest.mark.parametrize(
    ("options", "note"),
    [
        ({"synthetic": True, "random_init": True}, "Computed sounds: no evidence"),
        ({"random_init": True}, "Random weights: no evidence"),
    ],
)
def test_title_says_so_when_the_scores_are_no_result(figures, tmp_path, options, note):
    answers = make(1)
    write_regression_plot(tmp_path / "a.png", make_metrics(answers, **options), answers, task="high")
    write_regression_plot(tmp_path / "b.png", make_metrics(answers), answers, task="high")
    assert note in figures[0].get_suptitle()
    assert "no evidence" not in figures[1].get_suptitle()


def test_constant_answers_can_be_drawn(tmp_path):
    answers = RegressionPredictions(
        split="test", files=["a", "b"], references=[[1.0], [1.0]], predictions=[[1.0], [1.0]], target_names=["x"]
    )
    assert write_regression_plot(tmp_path / "a.png", make_metrics(answers), answers, task="high").stat().st_size > 0


def test_task_without_scores_is_refused(tmp_path):
    answers = make(1)
    with pytest.raises(ValueError, match="expected scores of the task 'two' on 'test', found none"):
        write_regression_plot(tmp_path / "a.png", make_metrics(answers), answers, task="two")
    assert list(tmp_path.iterdir()) == []
