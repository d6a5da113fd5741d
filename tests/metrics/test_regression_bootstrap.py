import time

import numpy as np
import pytest

from nvv.metrics import REGRESSION_SCORE_NAMES, regression_scores, regression_scores_with_intervals
from nvv.metrics.regression_bootstrap import resampled_regression_scores


@pytest.fixture
def numbers():
    """Two targets of 300 clips, a fifth of the references missing."""
    generator = np.random.default_rng(0)
    references = generator.normal(size=(300, 2)) + 2
    predictions = references + generator.normal(size=(300, 2)) * [0.5, 2.0]
    references[generator.random((300, 2)) < 0.2] = np.nan
    return references, predictions


def plain_bootstrap(references, predictions, draws):
    resamples = [regression_scores(references[draw], predictions[draw]) for draw in draws]
    return {
        name: np.array([[*scores[name]["per_target"], scores[name]["mean"]] for scores in resamples])
        for name in REGRESSION_SCORE_NAMES
    }


def test_resamples_score_as_their_clips_do(numbers, monkeypatch):
    references, predictions = numbers
    fast = resampled_regression_scores(references, predictions, num_resamples=30, seed=5)
    times = np.random.default_rng(5).multinomial(300, np.full(300, 1 / 300), size=30)
    plain = plain_bootstrap(references, predictions, [np.repeat(np.arange(300), row) for row in times])
    for name in REGRESSION_SCORE_NAMES:
        np.testing.assert_allclose(fast[name], plain[name][:, :2], atol=1e-12)
    monkeypatch.setattr("nvv.metrics.resampling._MAX_COUNTS_AT_ONCE", 7 * 300)
    parts = resampled_regression_scores(references, predictions, num_resamples=30, seed=5)
    np.testing.assert_allclose(parts["ccc"], fast["ccc"], atol=1e-12)


def test_speaker_intervals_equal_a_plain_bootstrap_over_speakers_up_to_chance(numbers):
    references, predictions = numbers
    speakers = np.repeat(np.arange(60), 5)
    fast = regression_scores_with_intervals(references, predictions, groups=speakers, num_resamples=4_000)
    draws = np.random.default_rng(1).integers(0, 60, (600, 60))
    clips = (5 * draws[:, :, None] + np.arange(5)).reshape(600, 300)
    plain = plain_bootstrap(references, predictions, clips)
    for name in REGRESSION_SCORE_NAMES:
        found = [*fast[name]["per_target"], fast[name]["mean"]]
        expected = np.quantile(plain[name], [0.025, 0.975], axis=0)
        # two bootstrap estimates of a quantile differ by chance; a standard deviation is at most 0.1 here
        np.testing.assert_allclose([score["low"] for score in found], expected[0], atol=0.03)
        np.testing.assert_allclose([score["high"] for score in found], expected[1], atol=0.03)


def test_values_are_those_of_regression_scores(numbers):
    joined = regression_scores_with_intervals(*numbers, num_resamples=50, ddof=1)
    values = regression_scores(*numbers, ddof=1)
    for name in REGRESSION_SCORE_NAMES:
        assert joined[name]["mean"]["value"] == values[name]["mean"]
        assert [score["value"] for score in joined[name]["per_target"]] == values[name]["per_target"]
    assert joined["ccc"] != regression_scores_with_intervals(*numbers, num_resamples=50)["ccc"]


def test_interval_of_the_mean_absolute_error_is_the_normal_one():
    errors = np.random.default_rng(2).exponential(size=400)
    interval = regression_scores_with_intervals(np.zeros(400), errors, num_resamples=8_000)["mae"]["mean"]
    spread = 1.96 * errors.std() / np.sqrt(400)
    assert interval["low"] == pytest.approx(errors.mean() - spread, abs=0.01)
    assert interval["high"] == pytest.approx(errors.mean() + spread, abs=0.01)


@pytest.mark.parametrize("unit", ["clip", "speaker"])
def test_intervals_hold_the_true_ccc_as_often_as_they_say(unit):
    # Half of a clip's value is its speaker's where speakers are drawn. True CCC: 2·0.8 / (1 + 1 + 0.3²).
    generator = np.random.default_rng(3)
    covariance = np.array([[1, 0.8], [0.8, 1]])
    true, held = 2 * 0.8 / 2.09, 0
    for seed in range(300):
        if unit == "clip":
            pairs, groups = generator.multivariate_normal([0, 0.3], covariance, 120), None
        else:
            groups = np.repeat(np.arange(50), 4)
            shared = generator.multivariate_normal([0, 0], covariance / 2, 50)
            pairs = shared[groups] + generator.multivariate_normal([0, 0.3], covariance / 2, 200)
        interval = regression_scores_with_intervals(
            pairs[:, 0], pairs[:, 1], groups=groups, num_resamples=400, seed=seed
        )["ccc"]["mean"]
        held += interval["low"] <= true <= interval["high"]
    assert 0.90 <= held / 300 <= 0.98  # 0.95 with a standard error of 0.013


def test_constant_resamples_score_zero_and_no_score_is_nan():
    # Nine of ten references are equal, so that many a resample holds only those: (9/10)^10 = 0.35 of them. One target
    # for each of forty such numbers, which round in their own ways.
    constants = np.random.default_rng(7).normal(size=40)
    references = np.where(np.arange(10)[:, None] < 9, constants, 2.0)
    predictions = np.tile([[0.1], [0.2]], (5, 40))
    resampled = resampled_regression_scores(references, predictions, num_resamples=300, seed=2)
    times = np.random.default_rng(2).multinomial(10, np.full(10, 0.1), size=300)
    constant = times[:, 9] == 0
    assert 0.25 < constant.mean() < 0.45
    assert (resampled["pearson"][constant] == 0).all()
    assert (resampled["ccc"][constant] == 0).all()
    assert not any(np.isnan(values).any() for values in resampled.values())


def test_resamples_without_a_reference_are_left_out():
    references = [[1.0, None], [2.0, 3.0], [4.0, None]]
    scores = regression_scores_with_intervals(references, [[1.0, 0.0], [3.0, 1.0], [4.0, 0.0]], num_resamples=200)
    assert scores["mae"]["per_target"][1] == {"value": 2.0, "low": 2.0, "high": 2.0}
    nothing = regression_scores_with_intervals([[1.0, None], [2.0, None]], [[1.0, 1.0], [2.0, 2.0]], num_resamples=20)
    assert nothing["ccc"]["per_target"][1] is None


def test_interval_has_no_width_when_there_is_one_speaker():
    scores = regression_scores_with_intervals([1.0, 2.0, 4.0], [1.0, 3.0, 3.0], groups=["A"] * 3, num_resamples=50)
    assert (
        scores["ccc"]["mean"]["low"] == scores["ccc"]["mean"]["high"] == pytest.approx(scores["ccc"]["mean"]["value"])
    )


def test_thousand_resamples_of_ten_targets_take_less_than_seconds():
    references, predictions = np.random.default_rng(4).normal(size=(2, 2_000, 10))
    start = time.perf_counter()
    regression_scores_with_intervals(references, predictions, groups=np.arange(2_000) // 4)
    assert time.perf_counter() - start < 3  # 0.1 s when nothing else runs


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"confidence": 95}, "confidence: expected a share between 0 and 1, found 95"),
        ({"num_resamples": 0}, "num_resamples: expected at least 1, found 0"),
        ({"groups": ["A", "B"]}, "groups: expected one for each of the 300 clips"),
        ({"ddof": 3}, r"ddof: expected 0 .* found 3"),
    ],
)
def test_options_are_refused_when_out_of_range(numbers, options, message):
    with pytest.raises(ValueError, match=message):
        regression_scores_with_intervals(*numbers, **options)
