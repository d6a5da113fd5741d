import audmetric
import numpy as np
import pytest

from nvv.metrics import paired_regression_bootstrap, regression_scores


@pytest.fixture
def answers():
    """References of two targets on 80 clips, a good and a bad answer."""
    generator = np.random.default_rng(0)
    references = generator.normal(size=(80, 2))
    good = references + 0.3 * generator.normal(size=(80, 2))
    bad = references + 2 * generator.normal(size=(80, 2))
    return references, good, bad


def test_scores_are_those_of_each_run_alone(answers):
    references, good, bad = answers
    compared = paired_regression_bootstrap(references, good, bad, num_resamples=200)
    for name, difference in compared.items():
        expected = [regression_scores(references, predictions)[name] for predictions in (good, bad)]
        assert [difference["mean"]["a"], difference["mean"]["b"]] == [item["mean"] for item in expected]
        for index, target in enumerate(difference["per_target"]):
            assert (target["a"], target["b"]) == tuple(item["per_target"][index] for item in expected)
            assert target["difference"] == target["a"] - target["b"]
    assert compared["ccc"]["per_target"][0]["a"] == pytest.approx(
        audmetric.concordance_cc(references[:, 0], good[:, 0]), abs=1e-6
    )
    assert compared["mae"]["mean"]["difference"] < 0 < compared["ccc"]["mean"]["difference"]
    assert compared["ccc"]["mean"]["p_value"] == pytest.approx(2 / 201)  # all resamples on one side


def test_intervals_equal_those_of_resamples_drawn_as_lists_of_clips(answers):
    references, good, bad = answers
    generator = np.random.default_rng(1)
    resampled = []
    for _ in range(2_000):
        drawn = generator.integers(0, 80, 80)
        scores = [regression_scores(references[drawn], predictions[drawn]) for predictions in (good, bad)]
        resampled.append([scores[0][name]["mean"] - scores[1][name]["mean"] for name in ("ccc", "pearson", "mae")])
    compared = paired_regression_bootstrap(references, good, bad, num_resamples=4_000)
    for name, values in zip(("ccc", "pearson", "mae"), np.transpose(resampled), strict=True):
        found = compared[name]["mean"]
        assert (found["low"], found["high"]) == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=0.02)


def test_what_both_find_hard_cancels_out(answers):
    # The same errors in both, one of them with a small offset: the error differs by that offset in every resample.
    references, good, _ = answers
    above = references + np.abs(good - references)
    compared = paired_regression_bootstrap(references, above + 0.1, above, num_resamples=200)
    assert compared["mae"]["mean"]["low"] == pytest.approx(0.1)
    assert compared["mae"]["mean"]["high"] == pytest.approx(0.1)


def test_whole_speakers_are_drawn_when_named(answers):
    references, good, bad = answers
    # Each clip four times, by a speaker of its own: drawing speakers is drawing the clips as they were.
    repeated = [np.repeat(values, 4, axis=0) for values in (references, good, bad)]
    by_speaker = paired_regression_bootstrap(*repeated, groups=[f"{i // 4:03d}" for i in range(320)], num_resamples=300)
    once = paired_regression_bootstrap(references, good, bad, num_resamples=300)
    for name in once:
        assert by_speaker[name]["mean"] == pytest.approx(once[name]["mean"])
    clips = paired_regression_bootstrap(*repeated, num_resamples=300)["ccc"]["mean"]
    assert clips["high"] - clips["low"] < 0.7 * (once["ccc"]["mean"]["high"] - once["ccc"]["mean"]["low"])


def test_target_without_a_reference_has_no_difference(answers):
    references, good, bad = answers
    references[:, 1] = np.nan
    compared = paired_regression_bootstrap(references, good, bad, num_resamples=50)
    assert compared["ccc"]["per_target"][1] is None
    assert compared["ccc"]["mean"] == compared["ccc"]["per_target"][0]


def test_equal_answers_do_not_differ(answers):
    references, good, _ = answers
    for difference in paired_regression_bootstrap(references, good, good, num_resamples=50).values():
        found = difference["mean"]
        assert found["difference"] == 0
        assert (found["low"], found["high"]) == pytest.approx((0, 0), abs=1e-12)  # sums of columns may round apart
        assert difference["mean"]["p_value"] == 1
