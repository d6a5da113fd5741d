import numpy as np
import pytest

from nvv.metrics import paired_regression_bootstrap
from nvv.sweep.answers import AnswerStore
from nvv.sweep.significance import compare_systems
from nvv.sweep.systems import with_systems
from nvv.sweep.table import collect_results
from nvv.training.results import ResultsError

MOOD = {"tasks": ["mood"], "num_clips": 80}
BOTH = {"tasks": ["mood", "sound"], "num_clips": 80}


@pytest.fixture
def compare(made_up_sweep):
    """Compare the systems of two backbones, `a` and `b`, in a made-up sweep."""

    def compare(*runs, metric="ccc", num_resamples=400):
        folder = made_up_sweep(*runs)
        table = with_systems(collect_results(folder), rows=["backbone"], columns=["method"])
        sides = [table[table["backbone"] == name] for name in "ab"]
        store = AnswerStore(folder)
        result = compare_systems(store, *sides, split="test", metric=metric, num_resamples=num_resamples)
        return result, sides, store

    return compare


def seeds(backbone, *numbers, **run):
    return [{"backbone": backbone, "seed": seed, **run} for seed in numbers]


def test_difference_of_numbers_is_that_of_the_mean_scores_over_seeds(compare):
    runs = [*seeds("a", 1, 2, 3, **MOOD, right=0.7), *seeds("b", 1, 2, 3, **MOOD, right=0.4)]
    result, (first, second), _ = compare(*runs)
    expected = first["test_ccc"].mean() - second["test_ccc"].mean()
    assert result.difference == pytest.approx(expected, abs=1e-6)
    assert 0 < result.low < result.difference < result.high
    assert (result.num_pairs, result.num_clips, result.unit) == (3, 80, "speaker")
    assert result.p_value < 0.05


def test_one_pair_is_compared_as_the_metric_does(compare):
    result, _, store = compare(
        *seeds("a", 1, **MOOD, speakers=False, right=0.6), *seeds("b", 1, **MOOD, speakers=False, right=0.5)
    )
    answers = [store.tasks(run_id, "test")["mood"] for run_id in ("run0", "run1")]
    expected = paired_regression_bootstrap(
        answers[0].references, answers[0].predictions, answers[1].predictions, num_resamples=400, seed=0
    )["ccc"]["mean"]
    assert result.unit == "clip"
    assert result.difference == pytest.approx(expected["difference"], abs=1e-7)
    # The same clips, drawn as groups of one: another order of draws, the same distribution.
    assert result.low == pytest.approx(expected["low"], abs=0.03)


def test_folds_are_averaged_and_not_mixed(compare):
    runs = [
        {"backbone": name, **MOOD, "split_protocol": f"fold_{fold}", "first_clip": 100 * fold, "right": right}
        for name, right in (("a", 0.8), ("b", 0.5))
        for fold in (0, 1, 2)
    ]
    result, (first, second), _ = compare(*runs)
    assert result.difference == pytest.approx(first["test_ccc"].mean() - second["test_ccc"].mean(), abs=1e-6)
    assert (result.num_clips, result.num_pairs) == (240, 3)


def test_clips_of_a_fold_are_drawn_apart_from_those_of_another(compare):
    runs = [
        {"backbone": name, **MOOD, "split_protocol": f"fold_{fold}", "first_clip": 100 * fold, "right": right}
        for name, right in (("a", 0.6), ("b", 0.5))
        for fold in (0, 1)
    ]
    result, _, store = compare(*runs)
    # By hand: the folds' clips below each other, their targets beside each other; run0 and run2 are those of fold 0.
    answers = [store.tasks(run_id, "test")["mood"] for run_id in ("run0", "run1", "run2", "run3")]
    references = np.full((160, 4), np.nan)
    references[:80, :2], references[80:, 2:] = answers[0].references, answers[1].references
    sides = []
    for first, second in (answers[:2], answers[2:]):
        side = np.zeros((160, 4))
        side[:80, :2], side[80:, 2:] = first.predictions, second.predictions
        sides.append(side)
    speakers = [*answers[0].speaker_ids, *answers[1].speaker_ids]
    expected = paired_regression_bootstrap(references, *sides, groups=speakers, num_resamples=400, seed=0)["ccc"][
        "mean"
    ]
    assert (result.low, result.high) == pytest.approx((expected["low"], expected["high"]), abs=1e-9)


def test_several_tasks_are_compared_by_their_mean_score(compare):
    runs = [*seeds("a", 1, 2, **BOTH, right=0.8), *seeds("b", 1, 2, **BOTH, right=0.5)]
    result, (first, second), _ = compare(*runs, metric="mean_score")
    expected = first["test_mean_score"].mean() - second["test_mean_score"].mean()
    assert result.difference == pytest.approx(expected, abs=1e-6)
    assert result.low > 0


def test_missing_references_are_left_out(compare):
    runs = [*seeds("a", 1, **BOTH, missing=0.4, right=0.8), *seeds("b", 1, **BOTH, missing=0.4, right=0.5)]
    result, (first, second), _ = compare(*runs, metric="mean_score")
    expected = first["test_mean_score"].iloc[0] - second["test_mean_score"].iloc[0]
    assert result.difference == pytest.approx(expected, abs=1e-6)


def test_equal_systems_do_not_differ(compare):
    result, _, _ = compare(*seeds("a", 1, **MOOD), *seeds("b", 1, **MOOD))
    assert (result.low, result.high) == pytest.approx((0, 0), abs=1e-12)
    assert (result.difference, result.p_value) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("first", "second", "metric", "message"),
    [
        (MOOD, {**MOOD, "first_clip": 3}, "ccc", "run1, test: expected the clips, tasks and references of run0"),
        (MOOD, BOTH, "mean_score", "run1, test: expected the clips, tasks and references of run0"),
        (BOTH, BOTH, "ccc", "test, sound: ccc is of numbers, but classes are predicted"),
        ({**MOOD, "missing": 1.0}, {**MOOD, "missing": 1.0}, "ccc", "test: no clip has a reference"),
        (MOOD, MOOD, "uar", "run0, test: expected answers that are classes, found numbers"),
        (BOTH, BOTH, "uar", "run0, test: expected answers that are classes, found 2 tasks"),
    ],
)
def test_what_cannot_be_compared_is_refused(compare, first, second, metric, message):
    with pytest.raises(ResultsError, match=message):
        compare({"backbone": "a", **first}, {"backbone": "b", **second}, metric=metric)


def test_answers_are_sorted_by_file_and_missing_classes_are_left_out(made_up_sweep):
    folder = made_up_sweep({"tasks": ["sound"], "missing": 0.5, "num_clips": 40})
    store = AnswerStore(folder)
    scored, labels = store.split("run0", "test")
    assert 0 < len(scored.files) < len(store.files("run0", "test")) == 40
    assert store.files("run0", "test") == sorted(store.files("run0", "test"))
    assert np.min(scored.references) >= 0
    assert labels == ["cough", "laugh", "sigh"]
    with pytest.raises(ResultsError, match="expected predictions on train, found validation, test"):
        store.split("run0", "train")
