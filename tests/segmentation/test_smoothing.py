import numpy as np
import pytest
from scipy.ndimage import median_filter, uniform_filter1d

from nvv.segmentation import smoothing
from nvv.segmentation.smoothing import smooth_scores


@pytest.fixture
def scores():
    return np.random.default_rng(0).random((50, 3))


@pytest.mark.parametrize("num_windows", [3, 5, 9])
def test_smoothing_equals_scipys_filters_where_no_end_is_near(scores, num_windows):
    beside = num_windows // 2
    inner = slice(beside, -beside)
    medians = median_filter(scores, size=(num_windows, 1))[inner]
    np.testing.assert_allclose(smooth_scores(scores, how="median", num_windows=num_windows)[inner], medians, atol=1e-6)
    means = uniform_filter1d(scores, num_windows, axis=0)[inner]
    np.testing.assert_allclose(smooth_scores(scores, how="mean", num_windows=num_windows)[inner], means, atol=1e-6)


def test_fewer_windows_count_at_the_ends_and_none_is_invented(scores):
    medians = smooth_scores(scores, how="median", num_windows=5)
    np.testing.assert_allclose(medians[0], np.median(scores[:3], axis=0), atol=1e-6)
    np.testing.assert_allclose(medians[-2], np.median(scores[-4:], axis=0), atol=1e-6)
    means = smooth_scores(scores, how="mean", num_windows=5)
    np.testing.assert_allclose(means[0], scores[:3].mean(axis=0), atol=1e-6)


@pytest.mark.parametrize(("how", "reduce"), [("median", np.nanmedian), ("mean", np.nanmean)])
def test_what_was_not_heard_stays_so_and_its_neighbours_leave_it_out(scores, how, reduce):
    scores[10:12] = np.nan
    scores[40] = np.nan
    smoothed = smooth_scores(scores, how=how, num_windows=3)
    assert np.isnan(smoothed).any(axis=1).nonzero()[0].tolist() == [10, 11, 40]
    for at in (9, 12, 41):
        np.testing.assert_allclose(smoothed[at], reduce(scores[at - 1 : at + 2], axis=0), atol=1e-6)


def test_nothing_heard_at_all_stays_nothing():
    assert np.isnan(smooth_scores(np.full((4, 2), np.nan), how="median", num_windows=3)).all()


def test_none_and_one_window_change_nothing(scores):
    for options in ({"how": "none", "num_windows": 5}, {"how": "median", "num_windows": 1}):
        np.testing.assert_array_equal(smooth_scores(scores, **options), scores.astype(np.float32))


@pytest.mark.parametrize("how", ["median", "mean"])
def test_pieces_give_the_same_as_the_whole(scores, how, monkeypatch):
    whole = smooth_scores(scores, how=how, num_windows=5)
    monkeypatch.setattr(smoothing, "_ROWS_AT_ONCE", 7)
    np.testing.assert_array_equal(smooth_scores(scores, how=how, num_windows=5), whole)


def test_bad_settings_are_errors(scores):
    with pytest.raises(ValueError, match="how: expected one of median, mean, none; found 'mode'"):
        smooth_scores(scores, how="mode", num_windows=3)
    with pytest.raises(ValueError, match="num_windows: expected an odd number, found 4"):
        smooth_scores(scores, how="mean", num_windows=4)
