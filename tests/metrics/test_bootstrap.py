import time

import numpy as np
import pytest
import sklearn.metrics

from nvv.metrics import (
    SCORE_NAMES,
    bootstrap_intervals,
    classification_scores,
    resampled_confusions,
    scores_from_confusion,
    scores_with_intervals,
)


@pytest.fixture
def labels():
    generator = np.random.default_rng(0)
    references = generator.integers(0, 16, 700)
    predictions = np.where(generator.random(700) < 0.6, references, generator.integers(0, 16, 700))
    return references, predictions


def test_resamples_score_as_scikit_learn_scores_their_clips(labels):
    references, predictions = labels[0][:40], labels[1][:40]
    confusions = resampled_confusions(references, predictions, num_labels=16, num_resamples=20)
    fast = scores_from_confusion(confusions)
    for index, confusion in enumerate(confusions):
        cells = np.repeat(np.arange(256), confusion.ravel())  # the resample's clips, sorted
        true, predicted = cells // 16, cells % 16
        assert true.size == 40
        macro_f1 = sklearn.metrics.f1_score(true, predicted, average="macro", zero_division=0)
        recall = sklearn.metrics.recall_score(true, predicted, labels=np.unique(true), average="macro", zero_division=0)
        assert fast["macro_f1"][index] == pytest.approx(macro_f1, abs=1e-12)
        assert fast["uar"][index] == pytest.approx(recall, abs=1e-12)
        assert fast["accuracy"][index] == pytest.approx(np.mean(true == predicted), abs=1e-12)


def test_resamples_draw_only_pairs_that_occurred(labels):
    confusions = resampled_confusions(*labels, num_labels=16, num_resamples=50)
    occurred = np.zeros((16, 16), dtype=bool)
    occurred[labels] = True
    assert not confusions[:, ~occurred].any()
    assert (confusions.sum(axis=(1, 2)) == 700).all()


def test_intervals_equal_a_plain_bootstrap_over_clips_up_to_chance(labels):
    references, predictions = labels
    fast = bootstrap_intervals(references, predictions, num_labels=16, num_resamples=4_000)
    generator = np.random.default_rng(1)
    draws = generator.integers(0, 700, (1_000, 700))
    plain = [classification_scores(references[draw], predictions[draw], num_labels=16) for draw in draws]
    for name in SCORE_NAMES:
        expected = np.quantile([scores[name] for scores in plain], [0.025, 0.975])
        # two bootstrap estimates of a quantile differ by chance; the standard deviation of a score here is about 0.02
        np.testing.assert_allclose(fast[name], expected, atol=0.008, err_msg=name)


def test_accuracy_interval_equals_the_binomial_one_when_clips_are_independent():
    references = np.zeros(400, dtype=int)
    predictions = (np.arange(400) >= 300).astype(int)  # accuracy 0.75
    low, high = bootstrap_intervals(references, predictions, num_labels=2, num_resamples=20_000)["accuracy"]
    spread = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    assert low == pytest.approx(0.75 - spread, abs=0.005)
    assert high == pytest.approx(0.75 + spread, abs=0.005)


def test_speaker_intervals_equal_a_plain_bootstrap_over_speakers_up_to_chance(labels):
    references, predictions = labels
    speakers = np.array([f"S{index // 10}" for index in range(700)])
    fast = bootstrap_intervals(references, predictions, num_labels=16, groups=speakers, num_resamples=4_000)
    generator = np.random.default_rng(1)
    plain = []
    for draw in generator.integers(0, 70, (1_000, 70)):
        clips = np.concatenate([np.arange(10 * speaker, 10 * speaker + 10) for speaker in draw])
        plain.append(classification_scores(references[clips], predictions[clips], num_labels=16)["uar"])
    np.testing.assert_allclose(fast["uar"], np.quantile(plain, [0.025, 0.975]), atol=0.008)


def test_speaker_interval_is_wider_when_speakers_are_all_right_or_all_wrong():
    speakers = np.repeat(np.arange(20), 20)
    references = np.zeros(400, dtype=int)
    predictions = (speakers % 2).astype(int)
    clips = bootstrap_intervals(references, predictions, num_labels=2)["accuracy"]
    by_speaker = bootstrap_intervals(references, predictions, num_labels=2, groups=speakers)["accuracy"]
    # the standard error grows by the square root of the clips a speaker has: √20
    assert (by_speaker[1] - by_speaker[0]) / (clips[1] - clips[0]) == pytest.approx(np.sqrt(20), rel=0.25)


def test_speaker_resamples_are_the_same_when_worked_through_in_parts(labels, monkeypatch):
    speakers = np.arange(700) // 3
    whole = resampled_confusions(*labels, num_labels=16, groups=speakers, num_resamples=64)
    monkeypatch.setattr("nvv.metrics.resampling._MAX_COUNTS_AT_ONCE", 10 * 234)
    parts = resampled_confusions(*labels, num_labels=16, groups=speakers, num_resamples=64)
    np.testing.assert_array_equal(whole, parts)


@pytest.mark.parametrize("unit", ["clip", "speaker"])
def test_intervals_hold_the_true_scores_as_often_as_they_say(unit):
    generator = np.random.default_rng(6)
    shares = np.array([0.4, 0.3, 0.2, 0.1])
    right = np.array([0.9, 0.7, 0.6, 0.8])
    # Wrong answers are any of the three other classes. The true scores are those of the expected confusion matrix.
    expected = shares[:, None] * np.where(np.eye(4, dtype=bool), right[:, None], (1 - right)[:, None] / 3)
    true = {name: float(value) for name, value in scores_from_confusion(expected).items()}
    held = dict.fromkeys(("accuracy", "uar", "macro_f1"), 0)
    for seed in range(300):
        references = generator.choice(4, 240, p=shares)
        groups, luck = None, generator.random(240)
        if unit == "speaker":  # half of all clips share their speaker's luck, so that clips are not independent
            groups = np.repeat(np.arange(60), 4)
            luck = np.where(generator.random(240) < 0.5, generator.random(60)[groups], luck)
        others = (references + generator.integers(1, 4, 240)) % 4
        predictions = np.where(luck < right[references], references, others)
        intervals = bootstrap_intervals(
            references, predictions, num_labels=4, groups=groups, num_resamples=400, seed=seed
        )
        for name in held:
            low, high = intervals[name]
            held[name] += low <= true[name] <= high
    for name, count in held.items():
        assert 0.90 <= count / 300 <= 0.98, name  # 0.95 with a standard error of 0.013


def test_same_seed_gives_the_same_intervals_and_another_seed_others(labels):
    first = bootstrap_intervals(*labels, num_labels=16, seed=3)
    assert first == bootstrap_intervals(*labels, num_labels=16, seed=3)
    assert first != bootstrap_intervals(*labels, num_labels=16, seed=4)


def test_interval_narrows_when_confidence_falls(labels):
    wide = bootstrap_intervals(*labels, num_labels=16, confidence=0.95)["uar"]
    narrow = bootstrap_intervals(*labels, num_labels=16, confidence=0.5)["uar"]
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_interval_has_no_width_when_there_is_one_clip_or_one_speaker():
    assert bootstrap_intervals([1], [1], num_labels=3)["macro_f1"] == (1.0, 1.0)
    low, high = bootstrap_intervals([0, 1, 1], [0, 1, 0], num_labels=2, groups=["A"] * 3)["accuracy"]
    assert low == high == pytest.approx(2 / 3)


def test_scores_with_intervals_joins_values_and_intervals(labels):
    joined = scores_with_intervals(*labels, num_labels=16, num_resamples=200)
    values = classification_scores(*labels, num_labels=16)
    intervals = bootstrap_intervals(*labels, num_labels=16, num_resamples=200)
    assert joined["uar"] == {"value": values["uar"], "low": intervals["uar"][0], "high": intervals["uar"][1]}
    assert set(joined) == set(SCORE_NAMES)


def test_thousand_resamples_take_less_than_a_second(labels):
    start = time.perf_counter()
    bootstrap_intervals(*labels, num_labels=16, num_resamples=1_000)
    bootstrap_intervals(*labels, num_labels=16, groups=np.arange(700) // 2, num_resamples=1_000)
    assert time.perf_counter() - start < 2  # 0.06 s when nothing else runs


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"confidence": 95}, "confidence: expected a share between 0 and 1, found 95"),
        ({"num_resamples": 0}, "num_resamples: expected at least 1, found 0"),
        ({"groups": ["A", "B"]}, "groups: expected one for each of the 700 clips"),
    ],
)
def test_options_are_refused_when_out_of_range(labels, options, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_intervals(*labels, num_labels=16, **options)
