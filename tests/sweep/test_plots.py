import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from nvv.sweep.plots import write_critical_difference, write_heatmap, write_win_rates
from nvv.sweep.summary import rank_summary


@pytest.fixture
def scores():
    values = np.random.default_rng(0).uniform(0.2, 0.9, (6, 4))
    return pd.DataFrame(values, index=[f"system {name}, lora" for name in "abcdef"], columns=["w", "x", "y", "z"])


def is_drawn(path):
    pixels = matplotlib.image.imread(path)[..., :3]
    return path.read_bytes().startswith(b"\x89PNG") and min(pixels.shape[:2]) > 200 and pixels.std() > 0.05


def test_heatmap_is_drawn_with_missing_scores_and_grows_with_its_systems(scores, tmp_path):
    scores.iloc[2, 1] = np.nan
    path = write_heatmap(tmp_path / "heatmap.png", scores, label="UAR (%)", title="Mean UAR")
    small = write_heatmap(tmp_path / "small.png", scores.iloc[:2], label="UAR (%)", title="Mean UAR")
    assert is_drawn(path)
    assert matplotlib.image.imread(path).shape[0] > matplotlib.image.imread(small).shape[0]


def test_ranks_and_wins_are_drawn(scores, tmp_path):
    summary = rank_summary(scores)
    assert is_drawn(write_critical_difference(tmp_path / "ranks.png", summary, title="Mean ranks"))
    assert is_drawn(write_win_rates(tmp_path / "wins.png", summary, title="Wins"))


def test_pictures_show_the_warning_and_are_otherwise_the_same_each_time(scores, tmp_path):
    few = scores.iloc[:3, :2]
    plain, again, warned = (
        write_heatmap(tmp_path / f"{at}.png", few, label="UAR (%)", title="T", warning=warning).read_bytes()
        for at, warning in enumerate(("", "", "Random weights: no evidence."))
    )
    assert plain == again
    assert plain != warned
    for write in (write_critical_difference, write_win_rates):
        plain, warned = (
            write(tmp_path / f"{at}.png", rank_summary(few), title="T", warning=warning).read_bytes()
            for at, warning in enumerate(("", "Random weights: no evidence."))
        )
        assert plain != warned


def test_ranks_without_a_critical_difference_are_refused(scores, tmp_path):
    with pytest.raises(ValueError, match="two corpora and three systems"):
        write_critical_difference(tmp_path / "ranks.png", rank_summary(scores.iloc[:2]), title="Mean ranks")
    assert not list(tmp_path.iterdir())
