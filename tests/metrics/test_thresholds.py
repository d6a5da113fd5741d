import numpy as np
import pytest
import sklearn.metrics

from nvv.metrics.thresholds import (
    FIXED_THRESHOLDS,
    ThresholdError,
    ThresholdRule,
    choose_threshold,
    detection_intervals,
    exact_curve,
    ranking_scores,
    ranking_scores_with_intervals,
    threshold_table,
)

# The laughs among six clips, and what a detector says of them.
IS_LAUGH = [False, True, False, True, True, False]
SCORES = [0.1, 0.3, 0.4, 0.6, 0.8, 0.9]


@pytest.fixture(params=[False, True], ids=["distinct", "ties"])
def detections(request):
    """300 clips, 45 of them laughs, with scores that overlap."""
    generator = np.random.default_rng(4)
    is_laugh = np.arange(300) < 45
    scores = 1 / (1 + np.exp(-generator.normal(np.where(is_laugh, 1.0, -1.0), 1.3)))
    return is_laugh, scores.round(2).clip(0.01, 0.99) if request.param else scores


def rule(kind, value=None):
    return ThresholdRule(kind=kind, value=value)


def test_rows_are_those_of_scikit_learn_at_every_threshold(detections):
    is_laugh, scores = detections
    for row in threshold_table(is_laugh, scores, thresholds=(*FIXED_THRESHOLDS, scores[7])):
        answers = scores >= row.threshold
        (true_negatives, false_positives), (false_negatives, true_positives) = sklearn.metrics.confusion_matrix(
            is_laugh, answers
        )
        assert (row.true_positives, row.false_positives) == (true_positives, false_positives)
        assert (row.false_negatives, row.true_negatives) == (false_negatives, true_negatives)
        assert row.num_clips == 300
        assert row.accuracy == sklearn.metrics.accuracy_score(is_laugh, answers)
        if answers.any():
            precision, recall, f1, _ = sklearn.metrics.precision_recall_fscore_support(
                is_laugh, answers, average="binary"
            )
            assert (row.precision, row.recall, row.f1) == pytest.approx((precision, recall, f1), abs=1e-15)


def test_published_row_is_reproduced_from_its_counts():
    # Threshold .55 on plain audio: accuracy .87, precision .53, recall .89, F1 .66 from 36 false positives, 5 misses.
    is_laugh = [True] * 45 + [False] * 255
    scores = [0.9] * 40 + [0.1] * 5 + [0.9] * 36 + [0.1] * 219
    (row,) = threshold_table(is_laugh, scores, thresholds=[0.55])
    assert (row.false_positives, row.false_negatives) == (36, 5)
    assert round(row.recall, 2) == 0.89
    assert round(row.precision, 2) == 0.53
    assert round(row.f1, 2) == 0.66
    assert row.accuracy == pytest.approx(0.87, abs=0.01)


def test_exact_curve_is_that_of_scikit_learn(detections):
    is_laugh, scores = detections
    curve = exact_curve(is_laugh, scores)
    precision, recall, thresholds = sklearn.metrics.precision_recall_curve(is_laugh, scores)
    assert [row.threshold for row in curve] == thresholds.tolist()
    assert [row.precision for row in curve] == pytest.approx(precision[:-1], abs=1e-15)
    assert [row.recall for row in curve] == pytest.approx(recall[:-1], abs=1e-15)
    false_positive_rate, true_positive_rate, at = sklearn.metrics.roc_curve(is_laugh, scores, drop_intermediate=False)
    assert [row.threshold for row in reversed(curve)] == at[1:].tolist()
    assert [row.false_positive_rate for row in reversed(curve)] == pytest.approx(false_positive_rate[1:], abs=1e-15)
    assert [row.recall for row in reversed(curve)] == pytest.approx(true_positive_rate[1:], abs=1e-15)


def test_undefined_values_are_none_when_nothing_is_detected_or_of_the_class():
    (row,) = threshold_table(IS_LAUGH, SCORES, thresholds=[0.95])
    assert row.precision is None
    assert (row.recall, row.f1) == (0, 0)
    (row,) = threshold_table([False, False], [0.1, 0.2], thresholds=[0.5])
    assert (row.precision, row.recall, row.f1, row.accuracy) == (None, None, None, 1)
    assert ranking_scores([False, False], [0.1, 0.2]) == {"average_precision": None, "roc_auc": None}
    (row,) = threshold_table([True], [0.9], thresholds=[0.5])
    assert row.false_positive_rate is None
    assert set(row.as_dict()) >= {"threshold", "accuracy", "precision", "recall", "f1", "false_positives"}


# Descending: .9 (0 hit, 1 false), .8 (1, 1), .6 (2, 1), .4 (2, 2), .3 (3, 2), .1 (3, 3).
# Precision: 0, 1/2, 2/3, 1/2, 3/5, 1/2; recall: 0, 1/3, 2/3, 2/3, 1, 1; F1: 0, .4, 2/3, 4/7, 3/4, 2/3.
@pytest.mark.parametrize(
    ("chosen_rule", "between"),
    [
        (rule("best_f1"), (0.1, 0.3)),
        (rule("wanted_precision", 0.6), (0.1, 0.3)),  # exactly three fifths
        (rule("wanted_precision", 0.61), (0.4, 0.6)),
        (rule("wanted_recall", 1), (0.1, 0.3)),
        (rule("wanted_recall", 0.5), (0.4, 0.6)),  # precision 2/3 is the best among recalls of 2/3 and 1
        (rule("max_false_positives", 1), (0.4, 0.6)),
        (rule("max_false_positives", 2), (0.1, 0.3)),
    ],
    ids=str,
)
def test_rule_chooses_between_the_scores_it_should(chosen_rule, between):
    row = choose_threshold(IS_LAUGH, SCORES, rule=chosen_rule)
    low, high = between
    assert low + (high - low) / 4 <= row.threshold <= high - (high - low) / 4
    assert row == threshold_table(IS_LAUGH, SCORES, thresholds=[row.threshold])[0]


@pytest.mark.parametrize("wanted", [0.3, 0.5, 0.7, 0.9])
def test_rule_leaves_nothing_better_on_the_curve_of_scikit_learn(detections, wanted):
    is_laugh, scores = detections
    precision, recall, thresholds = sklearn.metrics.precision_recall_curve(is_laugh, scores)
    precision, recall = precision[:-1], recall[:-1]
    row = choose_threshold(is_laugh, scores, rule=rule("wanted_precision", wanted))
    assert row.precision >= wanted
    assert row.recall == pytest.approx(recall[precision >= wanted].max())
    row = choose_threshold(is_laugh, scores, rule=rule("wanted_recall", wanted))
    assert row.recall >= wanted
    assert row.precision == pytest.approx(precision[recall >= wanted].max())
    row = choose_threshold(is_laugh, scores, rule=rule("best_f1"))
    assert row.f1 == pytest.approx((2 * precision * recall / (precision + recall)).max())
    row = choose_threshold(is_laugh, scores, rule=rule("max_false_positives", 5))
    false_positives = [np.sum(~is_laugh & (scores >= threshold)) for threshold in thresholds]
    assert row.recall == pytest.approx(recall[np.asarray(false_positives) <= 5].max())


def test_highest_of_equal_thresholds_is_chosen():
    # From .2 up both detect the one laugh and nothing else right; .5 has fewer false positives, .7 none to spare.
    row = choose_threshold([False, False, True], [0.2, 0.5, 0.7], rule=rule("max_false_positives", 2))
    assert row.false_positives == 0


def test_threshold_stays_between_when_scores_are_near_the_ends():
    near_one = [1 - 4e-16, 1 - 3e-16, 1 - 2e-16]
    near_zero = [1e-15, 2e-15, 3e-15]
    for scores in (near_one, near_zero, [1e-300, 2e-300, 0.5], [0.5, np.nextafter(0.5, 1), 0.6]):
        row = choose_threshold([False, True, True], scores, rule=rule("best_f1"))
        assert (row.true_positives, row.false_positives) == (2, 0)
        assert 0 < row.threshold < 1
    assert 0 < choose_threshold([True, False], [0.4, 0.6], rule=rule("wanted_recall", 1)).threshold < 0.4


@pytest.mark.parametrize(
    ("is_laugh", "scores", "chosen_rule", "message"),
    [
        (IS_LAUGH, SCORES, rule("wanted_precision", 0.9), r"precision >= 0\.9: .* highest precision is 0\.667"),
        (IS_LAUGH, SCORES, rule("max_false_positives", 0), r"false positives <= 0: .* anything right are 1\."),
        ([False] * 6, SCORES, rule("best_f1"), "found 0 of the class among 6"),
        ([True] * 6, SCORES, rule("best_f1"), "found 6 of the class among 6"),
        (IS_LAUGH, [0, *SCORES[1:]], rule("best_f1"), "strictly between 0 and 1, found 0"),
        (IS_LAUGH, [np.nan, *SCORES[1:]], rule("best_f1"), "expected finite numbers, found nan"),
        (IS_LAUGH, SCORES[1:], rule("best_f1"), r"expected 6, one for each clip, found shape \(5,\)"),
        ([0, 1, 0, 1, 1, 0], SCORES, rule("best_f1"), "expected a vector of booleans"),
        ([], [], rule("best_f1"), "expected a vector of booleans"),
    ],
)
def test_error_says_what_is_within_reach_or_wrong(is_laugh, scores, chosen_rule, message):
    with pytest.raises(ThresholdError, match=message):
        choose_threshold(is_laugh, scores, rule=chosen_rule)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *(("best_f1", 0.5), ("wanted_precision", None), ("wanted_precision", 0), ("wanted_recall", 1.1)),
        *(("max_false_positives", -1), ("max_false_positives", 1.5), ("max_false_positives", None), ("f2", None)),
    ],
)
def test_rule_is_refused_when_its_value_is_none_of_its_kind(kind, value):
    with pytest.raises(ThresholdError, match=r"expected"):
        rule(kind, value)


def test_ranking_scores_are_those_of_scikit_learn(detections):
    is_laugh, scores = detections
    values = ranking_scores(is_laugh, scores)
    assert values["average_precision"] == pytest.approx(sklearn.metrics.average_precision_score(is_laugh, scores))
    assert values["roc_auc"] == pytest.approx(sklearn.metrics.roc_auc_score(is_laugh, scores))


@pytest.mark.parametrize("by_speaker", [False, True])
def test_intervals_are_those_of_a_plain_bootstrap(detections, by_speaker):
    is_laugh, scores = detections
    speakers = np.arange(300) % 20
    groups = speakers.astype(str) if by_speaker else None
    intervals = ranking_scores_with_intervals(is_laugh, scores, groups=groups, num_resamples=4000)
    generator = np.random.default_rng(1)
    resampled = {"average_precision": [], "roc_auc": []}
    for _ in range(600):
        if by_speaker:
            drawn = np.concatenate([np.flatnonzero(speakers == who) for who in generator.integers(0, 20, 20)])
        else:
            drawn = generator.integers(0, 300, 300)
        resampled["average_precision"].append(sklearn.metrics.average_precision_score(is_laugh[drawn], scores[drawn]))
        resampled["roc_auc"].append(sklearn.metrics.roc_auc_score(is_laugh[drawn], scores[drawn]))
    for name, values in resampled.items():
        low, high = np.quantile(values, [0.025, 0.975])
        width = high - low
        assert intervals[name]["low"] == pytest.approx(low, abs=0.15 * width)
        assert intervals[name]["high"] == pytest.approx(high, abs=0.15 * width)
        assert intervals[name]["value"] == ranking_scores(is_laugh, scores)[name]


def test_intervals_leave_out_resamples_of_one_kind():
    # Two clips: half of the resamples hold one of them twice.
    intervals = ranking_scores_with_intervals([True, False], [0.9, 0.1], num_resamples=50)
    assert intervals["roc_auc"] == {"value": 1, "low": 1, "high": 1}
    assert ranking_scores_with_intervals([True], [0.9], num_resamples=5)["roc_auc"] is None


def test_detections_have_intervals_of_their_binomials():
    # 80 of 100 laughs found, 20 of 300 others too: recall has the standard error sqrt(.8 * .2 / 100) = .04.
    is_laugh = np.arange(400) < 100
    is_detected = (np.arange(400) < 80) | (np.arange(400) >= 380)
    intervals = detection_intervals(is_laugh, is_detected, num_resamples=4000)
    assert intervals["recall"]["value"] == 0.8
    assert intervals["precision"]["value"] == 0.8
    assert intervals["accuracy"]["value"] == 0.9
    assert intervals["recall"]["low"] == pytest.approx(0.8 - 1.96 * 0.04, abs=0.01)
    assert intervals["recall"]["high"] == pytest.approx(0.8 + 1.96 * 0.04, abs=0.01)
    assert intervals["accuracy"]["low"] == pytest.approx(0.9 - 1.96 * 0.015, abs=0.005)
    speakers = np.repeat(np.arange(4), 100).astype(str)  # all laughs are of one speaker
    wide = detection_intervals(is_laugh, is_detected, groups=speakers, num_resamples=200)
    assert wide["precision"]["low"] < intervals["precision"]["low"]


def test_detections_have_no_precision_when_there_are_none():
    intervals = detection_intervals([True, False], [False, False], num_resamples=5)
    assert intervals["precision"] is None
    assert intervals["recall"]["value"] == 0
