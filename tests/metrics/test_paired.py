import time

import numpy as np
import pytest
import scipy.stats

from nvv.metrics import SCORE_NAMES, classification_scores, paired_bootstrap


def answer(generator, references, *, right, num_labels=4):
    """Labels that are right with a probability, or with each clip's own, and else any."""
    guesses = generator.integers(0, num_labels, references.size)
    return np.where(generator.random(references.size) < right, references, guesses)


@pytest.fixture
def answers():
    generator = np.random.default_rng(0)
    references = generator.integers(0, 4, 300)
    return references, answer(generator, references, right=0.7), answer(generator, references, right=0.6)


def test_difference_is_the_first_score_minus_the_second(answers):
    references, first, second = answers
    results = paired_bootstrap(references, first, second, num_labels=4, num_resamples=200)
    a = classification_scores(references, first, num_labels=4)
    b = classification_scores(references, second, num_labels=4)
    assert list(results) == list(SCORE_NAMES)
    for name, result in results.items():
        assert (result["a"], result["b"], result["difference"]) == (a[name], b[name], a[name] - b[name])
        assert result["low"] < result["difference"] < result["high"]
        assert 0 < result["p_value"] <= 1


@pytest.mark.parametrize("by_speaker", [False, True])
def test_intervals_equal_a_plain_paired_bootstrap_up_to_chance(answers, by_speaker):
    references, first, second = answers
    groups = np.arange(300) // 6 if by_speaker else None
    fast = paired_bootstrap(references, first, second, num_labels=4, groups=groups, num_resamples=4_000)
    generator = np.random.default_rng(1)
    if by_speaker:
        draws = (6 * generator.integers(0, 50, (800, 50))[:, :, None] + np.arange(6)).reshape(800, 300)
    else:
        draws = generator.integers(0, 300, (800, 300))
    plain = []
    for draw in draws:
        a = classification_scores(references[draw], first[draw], num_labels=4)
        b = classification_scores(references[draw], second[draw], num_labels=4)
        plain.append([a[name] - b[name] for name in SCORE_NAMES])
    for name, column in zip(SCORE_NAMES, np.transpose(plain), strict=True):
        low, high = np.quantile(column, [0.025, 0.975])
        # two bootstrap estimates of a quantile differ by chance; a standard deviation is about 0.035
        assert fast[name]["low"] == pytest.approx(low, abs=0.015), name
        assert fast[name]["high"] == pytest.approx(high, abs=0.015), name
        assert fast[name]["p_value"] == pytest.approx(2 * np.mean(column <= 0), abs=0.05), name


def test_accuracy_p_value_is_near_mcnemars():
    # Of 400 clips the first alone is right on 40, the second alone on 20: exact McNemar p = 0.013
    references = np.zeros(400, dtype=int)
    first, second = np.ones((2, 400), dtype=int)
    first[:240], second[:200], second[240:260] = 0, 0, 0
    exact = scipy.stats.binomtest(20, 60).pvalue
    found = paired_bootstrap(references, first, second, num_labels=2)["accuracy"]["p_value"]
    assert found == pytest.approx(exact, abs=0.01)


def test_swapping_the_runs_turns_the_signs(answers):
    references, first, second = answers
    forth = paired_bootstrap(references, first, second, num_labels=4)["uar"]
    back = paired_bootstrap(references, second, first, num_labels=4)["uar"]
    assert back["difference"] == pytest.approx(-forth["difference"], abs=1e-12)
    assert back["low"] == pytest.approx(-forth["high"], abs=0.005)
    assert back["p_value"] == pytest.approx(forth["p_value"], abs=0.02)


def test_shared_difficulty_cancels_out():
    # Both are wrong on the same clips, but for ten that only the first has right: clearly better, though both scores
    # are uncertain by 0.1.
    generator = np.random.default_rng(2)
    references = generator.integers(0, 2, 200)
    second = np.where(np.arange(200) < 100, references, 1 - references)
    first = np.where(np.arange(200) < 110, references, 1 - references)
    result = paired_bootstrap(references, first, second, num_labels=2)["accuracy"]
    assert result["low"] > 0.02
    assert result["high"] < 0.09
    assert result["p_value"] < 0.001


@pytest.mark.parametrize("by_speaker", [False, True])
def test_p_values_are_uniform_when_both_are_equally_good(by_speaker):
    generator = np.random.default_rng(3)
    values = []
    for seed in range(300):
        groups = np.repeat(np.arange(60), 4) if by_speaker else None
        references = generator.integers(0, 4, 240)
        # by speaker: who is easy for the one need not be for the other, so clips are not independent
        right = [generator.beta(1, 1, 60)[groups] if by_speaker else 0.5 for _ in range(2)]
        first, second = (answer(generator, references, right=share) for share in right)
        results = paired_bootstrap(references, first, second, num_labels=4, groups=groups, num_resamples=400, seed=seed)
        values.append([results["macro_f1"]["p_value"], results["uar"]["p_value"]])
    for column in np.transpose(values):
        assert 0.02 <= np.mean(column <= 0.05) <= 0.09  # 0.05 with a standard error of 0.013
        assert scipy.stats.kstest(column, "uniform").pvalue > 0.01


def test_p_values_over_clips_are_too_small_when_speakers_differ():
    generator = np.random.default_rng(4)
    significant = 0
    for seed in range(60):
        groups = np.repeat(np.arange(20), 15)
        references = generator.integers(0, 4, 300)
        first, second = (answer(generator, references, right=generator.beta(1, 1, 20)[groups]) for _ in range(2))
        results = paired_bootstrap(references, first, second, num_labels=4, num_resamples=300, seed=seed)
        significant += results["uar"]["p_value"] <= 0.05
    assert significant > 12  # a fifth and more, where 0.05 is claimed: why speakers are offered


def test_equal_answers_give_no_difference(answers):
    references, first, _ = answers
    for result in paired_bootstrap(references, first, first, num_labels=4, num_resamples=100).values():
        assert (result["difference"], result["low"], result["high"], result["p_value"]) == (0, 0, 0, 1)


def test_one_clip_is_no_evidence_but_has_an_answer():
    result = paired_bootstrap([1], [1], [0], num_labels=3, num_resamples=99)["uar"]
    assert (result["a"], result["b"], result["low"], result["high"]) == (1, 0, 1, 1)
    assert result["p_value"] == pytest.approx(2 / 100)  # as small as 99 resamples can say


def test_same_seed_gives_the_same_and_parts_change_nothing(answers, monkeypatch):
    arguments = {"num_labels": 4, "groups": np.arange(300) // 3, "num_resamples": 150}
    whole = paired_bootstrap(*answers, seed=1, **arguments)
    assert whole != paired_bootstrap(*answers, seed=2, **arguments)
    monkeypatch.setattr("nvv.metrics.resampling._MAX_COUNTS_AT_ONCE", 700)
    assert whole == paired_bootstrap(*answers, seed=1, **arguments)


def test_interval_narrows_when_confidence_falls(answers):
    wide = paired_bootstrap(*answers, num_labels=4, num_resamples=500)["uar"]
    narrow = paired_bootstrap(*answers, num_labels=4, num_resamples=500, confidence=0.5)["uar"]
    assert wide["low"] < narrow["low"] < narrow["high"] < wide["high"]


def test_ten_thousand_resamples_of_700_clips_take_seconds():
    generator = np.random.default_rng(5)
    references = generator.integers(0, 16, 700)
    first, second = (answer(generator, references, right=0.6, num_labels=16) for _ in range(2))
    start = time.perf_counter()
    paired_bootstrap(references, first, second, num_labels=16)
    assert time.perf_counter() - start < 10  # 1 s when nothing else runs


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"confidence": 95}, "confidence: expected a share between 0 and 1, found 95"),
        ({"num_resamples": 0}, "num_resamples: expected at least 1, found 0"),
        ({"groups": ["A", "B"]}, "groups: expected one for each of the 300 clips"),
    ],
)
def test_options_are_refused_when_out_of_range(answers, options, message):
    with pytest.raises(ValueError, match=message):
        paired_bootstrap(*answers, num_labels=4, **options)


def test_answers_of_other_length_are_refused(answers):
    references, first, second = answers
    with pytest.raises(ValueError, match="predictions: expected 300 labels"):
        paired_bootstrap(references, first, second[:-1], num_labels=4)
