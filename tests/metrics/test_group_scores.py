import time

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from nvv.metrics import REGRESSION_SCORE_NAMES, bootstrap_intervals, regression_scores
from nvv.metrics.group_scores import GROUP_REGRESSION_SCORE_NAMES, _units, scores_by_group


@pytest.fixture
def answers():
    """300 clips of 60 speakers in 3 classes; women are predicted better than men; five clips a speaker."""
    generator = np.random.default_rng(0)
    references = generator.integers(0, 3, 300)
    speakers = np.repeat(np.arange(60), 5)
    groups = np.where(speakers < 24, "f", np.where(speakers < 54, "m", "x"))
    wrong = generator.random(300) < np.where(groups == "f", 0.2, 0.5)
    predictions = np.where(wrong, generator.integers(0, 3, 300), references)
    return references, predictions, groups, speakers


@pytest.fixture
def numbers():
    """Two targets of 300 clips, a fifth of the references missing, men's predictions shifted by 0.5."""
    generator = np.random.default_rng(1)
    references = generator.normal(size=(300, 2)) + 2
    groups = np.array(["f", "m", "x"])[generator.integers(0, 3, 300)]
    predictions = references + generator.normal(size=(300, 2)) * [0.5, 2.0] + 0.5 * (groups == "m")[:, None]
    references[generator.random((300, 2)) < 0.2] = np.nan
    return references, predictions, groups


def test_scores_of_classes_equal_scikit_learn_in_each_group(answers):
    references, predictions, groups, speakers = answers
    report = scores_by_group(references, predictions, groups, speakers=speakers, num_resamples=20)
    assert list(report["groups"]) == ["f", "m", "x"]
    for name, found in report["groups"].items():
        own = groups == name
        for part, of_clips in [("scores", own), ("difference_to_rest", ~own)]:
            expected = {
                "accuracy": accuracy_score(references[of_clips], predictions[of_clips]),
                "uar": balanced_accuracy_score(references[of_clips], predictions[of_clips]),
                "macro_f1": f1_score(references[of_clips], predictions[of_clips], average="macro"),
            }
            for score, value in expected.items():
                if part == "difference_to_rest":
                    value = found["scores"][score]["value"] - value
                assert found[part][score]["value"] == pytest.approx(value, abs=1e-12)
        assert found["num_clips"] == own.sum()
    assert [found["num_speakers"] for found in report["groups"].values()] == [24, 30, 6]


def test_gap_is_that_of_the_groups_farthest_apart(answers):
    references, predictions, groups, _ = answers
    accuracy = {name: np.mean((references == predictions)[groups == name]) for name in "fmx"}
    highest, lowest = max(accuracy, key=accuracy.get), min(accuracy, key=accuracy.get)
    gap = scores_by_group(references, predictions, groups, num_resamples=500)["gaps"]["accuracy"]
    assert gap["between"] == (highest, lowest)
    assert gap["value"] == pytest.approx(accuracy[highest] - accuracy[lowest])
    assert gap["low"] < gap["value"] < gap["high"]


def test_intervals_of_a_group_are_those_of_its_clips_alone(answers):
    references, predictions, groups, speakers = answers
    own = groups == "m"
    for units, of_group in [(None, None), (speakers, speakers[own])]:
        report = scores_by_group(references, predictions, groups, speakers=units, num_resamples=8_000)
        alone = bootstrap_intervals(
            references[own], predictions[own], num_labels=3, groups=of_group, num_resamples=8_000, seed=3
        )
        for score, (low, high) in alone.items():
            found = report["groups"]["m"]["scores"][score]
            assert (found["low"], found["high"]) == pytest.approx((low, high), abs=0.012)


def test_speakers_are_drawn_within_their_group_or_together_where_they_are_in_several():
    speakers, groups = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 0, 1, 0])
    (unit_of_clip, strata), unit = _units(groups, speakers)
    assert (unit_of_clip.tolist(), [stratum.tolist() for stratum in strata], unit) == (
        [0, 0, 1, 1, 2],
        [[0, 1, 2]],
        "speaker",
    )
    (_, strata), _ = _units(np.array([0, 0, 1, 1, 0]), speakers)
    assert [stratum.tolist() for stratum in strata] == [[0, 2], [1]]


def test_intervals_equal_a_plain_bootstrap_where_speakers_are_in_several_groups(answers):
    references, predictions, _, speakers = answers
    groups = np.array(["near", "far", "near", "far", "near"] * 60)  # the microphone, say
    groups[speakers == 7] = "far"
    report = scores_by_group(references, predictions, groups, speakers=speakers, num_resamples=6_000)
    generator, differences, rests = np.random.default_rng(5), [], []
    for drawn in generator.integers(0, 60, (1_500, 60)):
        clips = (5 * drawn[:, None] + np.arange(5)).ravel()
        right = (references == predictions)[clips]
        near = groups[clips] == "near"
        rests.append(right[~near].mean())
        differences.append(right[near].mean() - right[~near].mean())
    found = report["groups"]["near"]["difference_to_rest"]["accuracy"]
    assert (found["low"], found["high"]) == pytest.approx(tuple(np.quantile(differences, [0.025, 0.975])), abs=0.012)
    far = report["groups"]["far"]["scores"]["accuracy"]
    assert (far["low"], far["high"]) == pytest.approx(tuple(np.quantile(rests, [0.025, 0.975])), abs=0.012)


def test_scores_of_numbers_equal_those_of_the_groups_clips(numbers):
    references, predictions, groups = numbers
    report = scores_by_group(references, predictions, groups, kind="regression", num_resamples=20)
    for name, found in report["groups"].items():
        own = groups == name
        alone, rest = (regression_scores(references[of], predictions[of]) for of in (own, ~own))
        for score in REGRESSION_SCORE_NAMES:
            assert found["scores"][score]["value"] == pytest.approx(alone[score]["mean"], abs=1e-12)
            difference = alone[score]["mean"] - rest[score]["mean"]
            assert found["difference_to_rest"][score]["value"] == pytest.approx(difference, abs=1e-12)
            values = [target[score]["value"] for target in found["per_target"]]
            assert values == pytest.approx(alone[score]["per_target"], abs=1e-12)
        known = ~np.isnan(references[own, 1])
        expected, _ = pearsonr(references[own, 1][known], predictions[own, 1][known])
        assert found["per_target"][1]["pearson"]["value"] == pytest.approx(expected, abs=1e-12)
        shift = np.nanmean(predictions[own] - references[own], axis=0)
        assert [target["mean_shift"]["value"] for target in found["per_target"]] == pytest.approx(shift)
        assert found["scores"]["mean_shift"]["value"] == pytest.approx(shift.mean())
    assert set(report["gaps"]) == set(GROUP_REGRESSION_SCORE_NAMES)


def test_intervals_of_numbers_equal_a_plain_bootstrap_within_groups(numbers):
    references, predictions, groups = numbers
    report = scores_by_group(references, predictions, groups, kind="regression", num_resamples=6_000)
    own, rest = np.flatnonzero(groups == "m"), np.flatnonzero(groups != "m")
    generator, differences = np.random.default_rng(6), {"ccc": [], "mean_shift": []}
    for _ in range(1_000):
        first, second = generator.choice(own, own.size), generator.choice(rest, rest.size)
        scores = [regression_scores(references[clips], predictions[clips])["ccc"]["mean"] for clips in (first, second)]
        differences["ccc"].append(scores[0] - scores[1])
        shifts = [np.nanmean(predictions[clips] - references[clips], axis=0).mean() for clips in (first, second)]
        differences["mean_shift"].append(shifts[0] - shifts[1])
    found = report["groups"]["m"]["difference_to_rest"]
    for score, values in differences.items():
        low, high = np.quantile(values, [0.025, 0.975])
        # two estimates of a quantile differ by chance; the difference's standard deviation is about 0.1
        assert (found[score]["low"], found[score]["high"]) == pytest.approx((low, high), abs=0.04)


def test_intervals_hold_the_true_difference_as_often_as_they_say():
    generator, held = np.random.default_rng(8), 0
    for seed in range(300):
        right = np.concatenate([generator.random(80) < 0.8, generator.random(120) < 0.6]).astype(int)
        groups = ["a"] * 80 + ["b"] * 120
        report = scores_by_group(np.ones(200, dtype=int), right, groups, num_resamples=300, seed=seed)
        interval = report["groups"]["a"]["difference_to_rest"]["accuracy"]
        held += interval["low"] <= 0.2 <= interval["high"]
    assert 0.90 <= held / 300 <= 0.98  # 0.95 with a standard error of 0.013


def has_nan(value):
    if isinstance(value, dict):
        return any(has_nan(part) for part in value.values())
    if isinstance(value, list):
        return any(has_nan(part) for part in value)
    return isinstance(value, float) and value != value


@pytest.mark.filterwarnings("error")
def test_no_score_is_nan_where_groups_are_tiny_or_constant():
    references = [0, 0, 0, 1, 2, 0, 1, -1, -100]
    groups = ["one class", "one class", "one class", "single", "two", "two", "", "nobody", None]
    for speakers in (None, list("AABCDDEFG")):
        report = scores_by_group(references, [0] * 9, groups, speakers=speakers, num_resamples=50)
        assert not has_nan(report)
        assert report["groups"]["one class"]["scores"]["uar"] == {"value": 1.0, "low": 1.0, "high": 1.0}
        assert report["groups"]["single"]["scores"]["accuracy"]["value"] == 0
        assert report["groups"]["nobody"]["num_clips"] == 0
        assert report["groups"]["nobody"]["scores"] == report["groups"]["nobody"]["difference_to_rest"] == {}
        assert report["num_without_group"] == 2
        assert report["gaps"]["accuracy"]["between"] == ("one class", "single")
    numbers = np.array([[1.0, np.nan], [2.0, np.nan], [3.0, 1.0], [3.0, 2.0], [5.0, 3.0], [np.nan, np.nan]])
    report = scores_by_group(
        numbers, np.full((6, 2), 0.1), ["a", "a", "b", "c", "c", "d"], kind="regression", num_resamples=50
    )
    assert not has_nan(report)
    assert report["groups"]["a"]["per_target"][1] is None
    assert report["groups"]["a"]["scores"]["ccc"]["value"] == 0
    assert report["groups"]["d"]["per_target"] == [None, None]


def test_gap_is_taken_over_targets_that_both_groups_have():
    # a has only the first target (error 1), b both (errors 3 and 100): 3 - 1, not 51.5 - 1
    report = scores_by_group(
        [[0.0, np.nan], [0.0, np.nan], [0.0, 0.0], [0.0, 0.0]],
        [[1.0, 0.0], [1.0, 0.0], [3.0, 100.0], [3.0, 100.0]],
        ["a", "a", "b", "b"],
        kind="regression",
        num_resamples=10,
    )
    assert report["gaps"]["mae"] == {"value": 2.0, "low": 2.0, "high": 2.0, "between": ("b", "a")}


def test_gaps_leave_out_groups_of_few_clips(answers):
    references, predictions, groups, _ = answers
    groups = groups.astype(object)
    groups[0], predictions[0] = "alone", (references[0] + 1) % 3
    everyone = scores_by_group(references, predictions, groups, num_resamples=10)
    assert "alone" in everyone["gaps"]["accuracy"]["between"]
    larger = scores_by_group(references, predictions, groups, num_resamples=10, min_clips=2)
    assert "alone" not in larger["gaps"]["accuracy"]["between"]
    assert larger["groups"]["alone"]["num_clips"] == 1
    assert scores_by_group(references, predictions, groups, num_resamples=10, min_clips=200)["gaps"] == {}


def test_scorer_of_confusions_is_the_one_given(answers):
    references, predictions, groups, _ = answers

    def score(confusions):
        return {"accuracy": np.full(len(confusions), 0.25)}

    report = scores_by_group(references, predictions, groups, num_resamples=10, score_confusions=score)
    assert report["groups"]["f"]["scores"]["accuracy"] == {"value": 0.25, "low": 0.25, "high": 0.25}


def test_one_group_has_neither_rest_nor_gaps(answers):
    references, predictions, _, _ = answers
    report = scores_by_group(references, predictions, ["all"] * 300, num_resamples=10)
    assert report["gaps"] == report["groups"]["all"]["difference_to_rest"] == {}


def test_clips_are_drawn_where_each_group_is_one_speaker(answers):
    references, predictions, _, speakers = answers
    report = scores_by_group(references, predictions, speakers, speakers=speakers, num_resamples=100)
    assert report["resampled"] == "clip"
    accuracies = [group["scores"]["accuracy"] for group in report["groups"].values()]
    widths = [accuracy["high"] - accuracy["low"] for accuracy in accuracies]
    assert max(widths) > 0.5
    assert scores_by_group(references, predictions, speakers % 3, speakers=speakers)["resampled"] == "speaker"


def test_clips_without_speaker_are_their_own_speakers(answers):
    references, predictions, groups, speakers = answers
    unknown = [None] * 300
    assert (
        scores_by_group(references, predictions, groups, speakers=unknown, num_resamples=10)["groups"]["f"][
            "num_speakers"
        ]
        == (groups == "f").sum()
    )
    assert len(set(speakers[groups == "f"])) < (groups == "f").sum()


def test_same_seed_gives_the_same_report_however_memory_is_bounded(numbers, answers, monkeypatch):
    references, predictions, groups, speakers = answers
    given = {"speakers": speakers, "num_resamples": 50}
    first = scores_by_group(references, predictions, groups, **given)
    of_numbers = scores_by_group(*numbers, kind="regression", num_resamples=50)
    assert scores_by_group(references, predictions, groups, seed=1, **given) != first
    monkeypatch.setattr("nvv.metrics.group_scores._MAX_NUMBERS_AT_ONCE", 60)
    assert scores_by_group(references, predictions, groups, **given) == first
    one_by_one = scores_by_group(*numbers, kind="regression", num_resamples=50)
    expected, found = (report["groups"]["x"]["scores"]["mae"] for report in (of_numbers, one_by_one))
    assert found == pytest.approx(expected)


def test_a_hundred_groups_take_less_than_seconds():
    generator = np.random.default_rng(4)
    references, predictions = generator.integers(0, 6, (2, 4_000))
    start = time.perf_counter()
    scores_by_group(references, predictions, np.arange(4_000) % 100, speakers=np.arange(4_000) // 4)
    assert time.perf_counter() - start < 10  # 2 s when nothing else runs


@pytest.mark.filterwarnings("error")
def test_resamples_that_miss_a_group_are_left_out_without_warning():
    # Speaker B alone holds both groups' clips of "b"; about a quarter of the resamples miss B.
    report = scores_by_group(
        [0, 1, 0, 1], [0, 1, 0, 0], ["a", "a", "b", "a"], speakers=["A", "A", "B", "B"], num_resamples=60
    )
    assert report["groups"]["b"]["scores"]["accuracy"] == {"value": 1.0, "low": 1.0, "high": 1.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "ranking"}, "kind: expected classification or regression, found 'ranking'"),
        ({"groups": ["a"]}, "groups: expected one for each of the 4 clips"),
        ({"groups": [None] * 4}, "at least one clip that has both a group and a reference"),
        ({"speakers": ["a"] * 3}, "speakers: expected one for each of the 4 clips"),
        ({"num_labels": 2}, "expected labels from 0 to 1"),
        ({"min_clips": 0}, "min_clips: expected at least 1, found 0"),
        ({"confidence": 95}, "confidence: expected a share"),
        ({"kind": "regression", "references": ["high", "low", "low", "low"]}, "references: expected numbers"),
        ({"references": 3}, "references: expected at least one clip"),
    ],
)
def test_inputs_are_refused_when_they_do_not_fit(change, message):
    given = {"references": [0, 1, 2, 1], "predictions": [0, 1, 2, 1], "groups": list("aabb"), **change}
    with pytest.raises(ValueError, match=message):
        scores_by_group(given.pop("references"), given.pop("predictions"), given.pop("groups"), **given)
