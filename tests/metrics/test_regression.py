import audmetric
import numpy as np
import pytest
import scipy.stats

from nvv.metrics import REGRESSION_SCORE_NAMES, regression_scores
from nvv.metrics.regression import clip_sums, scores_from_sums

NAN = float("nan")


def test_scores_equal_hand_arithmetic():
    # means 2 and 7/3; variances 2/3 and 14/9; covariance (-1·-4/3 + 0 + 1·5/3) / 3 = 1
    scores = regression_scores([1.0, 2.0, 3.0], [1.0, 2.0, 4.0])
    assert list(scores) == list(REGRESSION_SCORE_NAMES)
    assert scores["ccc"]["mean"] == pytest.approx(2 / (2 / 3 + 14 / 9 + 1 / 9), abs=1e-12)
    assert scores["pearson"]["mean"] == pytest.approx(1 / np.sqrt(2 / 3 * 14 / 9), abs=1e-12)
    assert scores["mae"]["mean"] == pytest.approx(1 / 3, abs=1e-12)
    # divided by n - 1 the variances are 1 and 7/3
    challenge = regression_scores([1.0, 2.0, 3.0], [1.0, 2.0, 4.0], ddof=1)
    assert challenge["ccc"]["mean"] == pytest.approx(2 / (1 + 7 / 3 + 1 / 9), abs=1e-12)
    assert (challenge["pearson"], challenge["mae"]) == (scores["pearson"], scores["mae"])


def test_mean_is_over_targets():
    references, predictions = np.random.default_rng(0).normal(size=(2, 30, 4))
    for name, score in regression_scores(references, predictions).items():
        assert len(score["per_target"]) == 4
        assert score["mean"] == pytest.approx(np.mean(score["per_target"]), abs=1e-12), name
        for target in range(4):
            alone = regression_scores(references[:, target], predictions[:, target])[name]
            assert score["per_target"][target] == pytest.approx(alone["mean"], abs=1e-12)


@pytest.mark.parametrize("ddof", [0, 1])
@pytest.mark.parametrize(
    ("references", "predictions", "mae"),
    [
        ([0.1] * 7, [0.3, 0.1, 0.2, 0.5, 0.1, 0.1, 0.1], 0.7 / 7),  # constant references
        ([0.3, 0.1, 0.2, 0.5, 0.1, 0.1, 0.1], [0.1] * 7, 0.7 / 7),  # constant predictions
        ([0.1] * 7, [0.1] * 7, 0.0),  # both, and equal
        ([0.1] * 7, [0.4] * 7, 0.3),  # both, apart
        ([0.7], [0.7], 0.0),  # one clip, right
        ([0.7], [0.2], 0.5),  # one clip, wrong
        ([1e9 + 0.1] * 3, [1e9 + 0.1] * 3, 0.0),
    ],
)
def test_ccc_and_pearson_are_zero_when_something_is_constant(references, predictions, mae, ddof):
    scores = regression_scores(references, predictions, ddof=ddof)
    assert scores["ccc"] == {"mean": 0.0, "per_target": [0.0]}
    assert scores["pearson"] == {"mean": 0.0, "per_target": [0.0]}
    assert scores["mae"]["mean"] == pytest.approx(mae, abs=1e-12)


def test_missing_references_are_left_out_by_target():
    generator = np.random.default_rng(1)
    references, predictions = generator.normal(size=(2, 50, 3))
    references[generator.random((50, 3)) < 0.3] = NAN
    scores = regression_scores(references, predictions)
    for target in range(3):
        there = ~np.isnan(references[:, target])
        x, y = references[there, target], predictions[there, target]
        assert scores["ccc"]["per_target"][target] == pytest.approx(audmetric.concordance_cc(x, y), abs=1e-12)
        assert scores["pearson"]["per_target"][target] == pytest.approx(scipy.stats.pearsonr(x, y)[0], abs=1e-12)
        assert scores["mae"]["per_target"][target] == pytest.approx(np.abs(x - y).mean(), abs=1e-12)


def test_target_without_references_has_no_score_and_is_not_in_the_mean():
    scores = regression_scores([[1.0, None], [3.0, None]], [[1.0, 5.0], [2.0, 6.0]])
    assert scores["mae"] == {"mean": 0.5, "per_target": [0.5, None]}
    assert scores["ccc"]["per_target"][1] is None
    assert scores["ccc"]["mean"] == scores["ccc"]["per_target"][0]


def test_digits_are_kept_when_level_and_spread_are_far_apart():
    references, predictions = np.random.default_rng(2).normal(size=(2, 200))
    expected = regression_scores(references, predictions)
    moved = regression_scores(references, predictions + 1e6)
    assert moved["pearson"]["mean"] == pytest.approx(expected["pearson"]["mean"], abs=1e-9)
    assert moved["ccc"]["mean"] == pytest.approx(audmetric.concordance_cc(references, predictions + 1e6), rel=1e-9)
    both = regression_scores(references * 1e-8 + 1, predictions * 1e-8 + 1)
    assert both["ccc"]["mean"] == pytest.approx(expected["ccc"]["mean"], abs=1e-6)  # 1 + 1e-8 has 8 digits left


def test_sums_of_any_part_score_as_that_part_alone():
    references, predictions = np.random.default_rng(3).normal(size=(2, 40, 2)) + 3
    summands, offsets = clip_sums(references, predictions)
    parts = np.stack([summands[:10].sum(axis=0), summands[10:].sum(axis=0), summands.sum(axis=0)])
    stacked = scores_from_sums(parts, offsets)
    for index, part in enumerate((slice(10), slice(10, None), slice(None))):
        alone = regression_scores(references[part], predictions[part])
        for name in REGRESSION_SCORE_NAMES:
            assert stacked[name][index] == pytest.approx(alone[name]["per_target"], abs=1e-12)


@pytest.mark.parametrize(
    ("references", "predictions", "message"),
    [
        ([], [], "references: expected .* at least one clip and one target, found shape"),
        ([1.0, 2.0], [1.0], "predictions: expected 2 clips and 1 targets, as in the references, found 1 and 1"),
        ([1.0, 2.0], [1.0, NAN], "predictions: expected a number for each clip and target, found none in clip 1"),
        ([1.0, float("inf")], [1.0, 2.0], "references: expected finite numbers, found an infinite one in clip 1"),
        ([NAN, None], [1.0, 2.0], "references: expected at least one that is not missing"),
        ([[1.0], [1.0, 2.0]], [[1.0], [1.0]], "references: expected numbers, .* as many numbers as there are targets"),
        (["a"], [1.0], "references: expected numbers"),
    ],
)
def test_scores_name_the_fault_when_numbers_are_unusable(references, predictions, message):
    with pytest.raises(ValueError, match=message):
        regression_scores(references, predictions)


def test_other_ddof_is_refused():
    with pytest.raises(ValueError, match=r"ddof: expected 0 .* or 1 .*, found 2"):
        regression_scores([1.0], [1.0], ddof=2)
