from __future__ import annotations

import numpy as np
import pytest
from audmetric import concordance_cc
from sklearn.metrics import accuracy_score, f1_score, recall_score

from nvv.inference.open_answers import without_other
from nvv.inference.resampled_scores import AnsweredTask, chance_scores, drawn_units, score_answers, shown_scores
from nvv.metrics import paired_bootstrap, scores_with_intervals
from nvv.training.results import SplitPredictions, split_results

LABELS = ("laugh", "sigh", "cough")


def _classes(references, predictions, **fields):
    fields = {"task": "label", "kind": "classification", "outputs": LABELS, **fields}
    return AnsweredTask(references=np.array(references), predictions=np.array(predictions), **fields)


def _numbers(references, predictions, **fields):
    fields = {"task": "feelings", "kind": "regression", "outputs": ("calm", "fear"), **fields}
    return AnsweredTask(references=np.array(references), predictions=np.array(predictions), **fields)


@pytest.fixture
def random_answers():
    """Forty clips, each answered right with a chance of one half."""
    generator = np.random.default_rng(4)
    true = generator.integers(0, 3, 40)
    return true, np.where(generator.random(40) < 0.5, true, generator.integers(0, 3, 40))


@pytest.fixture
def random_numbers():
    generator = np.random.default_rng(5)
    true = generator.normal(size=(40, 2))
    return true, 0.5 * true + 0.4 * generator.normal(size=(40, 2)) + 0.1


def _drawn(num_clips, *, seed=0, num_resamples=30):
    """The clips of each resample, drawn here by their indices from the same counts."""
    counts = np.random.default_rng(seed).multinomial(num_clips, np.full(num_clips, 1 / num_clips), size=num_resamples)
    return [np.repeat(np.arange(num_clips), row) for row in counts]


def test_resamples_are_those_of_scikit_learn_on_the_drawn_clips(random_answers):
    true, predicted = random_answers
    scores = score_answers([_classes(true, predicted)], num_resamples=30)
    assert scores.values["macro_f1"] == pytest.approx(f1_score(true, predicted, average="macro"))
    for at, clips in enumerate(_drawn(40)):
        assert scores.resampled["accuracy"][at] == pytest.approx(accuracy_score(true[clips], predicted[clips]))
        assert scores.resampled["uar"][at] == pytest.approx(
            recall_score(true[clips], predicted[clips], average="macro")
        )


def test_resamples_of_numbers_are_those_of_audmetric_on_the_drawn_clips(random_numbers):
    true, predicted = random_numbers
    scores = score_answers([_numbers(true, predicted)], num_resamples=30)
    for at, clips in enumerate(_drawn(40)):
        of_targets = [concordance_cc(true[clips, target], predicted[clips, target]) for target in (0, 1)]
        assert scores.resampled["ccc"][at] == pytest.approx(np.mean(of_targets))
        assert scores.resampled["ccc/fear"][at] == pytest.approx(of_targets[1])


def test_intervals_are_close_to_those_of_the_metrics(random_answers):
    true, predicted = random_answers
    mine = score_answers([_classes(true, predicted)], num_resamples=4_000).interval("uar")
    other = scores_with_intervals(true, predicted, num_labels=3, num_resamples=4_000)["uar"]
    assert mine["value"] == pytest.approx(other["value"])
    assert (mine["low"], mine["high"]) == pytest.approx((other["low"], other["high"]), abs=0.02)


def test_difference_is_paired(random_answers):
    true, predicted = random_answers
    changed = predicted.copy()
    changed[7] = (true[7] + 1) % 3 if predicted[7] == true[7] else true[7]
    before, after = (score_answers([_classes(true, one)], num_resamples=30) for one in (predicted, changed))
    same = before.difference("macro_f1", before)
    assert same == {"value": 0, "low": 0, "high": 0}
    # One clip answered otherwise: each resample moves by how often it holds that clip, over 40.
    times = np.array([(clips == 7).sum() for clips in _drawn(40)])
    sign = 1 if changed[7] == true[7] else -1
    np.testing.assert_allclose(after.resampled["accuracy"] - before.resampled["accuracy"], sign * times / 40)
    assert after.difference("accuracy", before)["value"] == pytest.approx(sign / 40)


def test_paired_interval_is_close_to_that_of_paired_bootstrap(random_answers):
    true, predicted = random_answers
    others = np.roll(predicted, 3)
    a, b = (score_answers([_classes(true, one)], num_resamples=4_000) for one in (others, predicted))
    expected = paired_bootstrap(true, others, predicted, num_labels=3, num_resamples=4_000)["macro_f1"]
    found = a.difference("macro_f1", b)
    assert found["value"] == pytest.approx(expected["difference"])
    assert (found["low"], found["high"]) == pytest.approx((expected["low"], expected["high"]), abs=0.02)


def test_whole_speakers_are_drawn(random_answers):
    true, predicted = random_answers
    speakers = [f"S{at % 8}" for at in range(40)]
    scores = score_answers([_classes(true, predicted)], groups=speakers, num_resamples=30)
    for at, drawn in enumerate(_drawn(8)):
        clips = np.concatenate([np.flatnonzero(np.arange(40) % 8 == speaker) for speaker in drawn])
        assert scores.resampled["accuracy"][at] == pytest.approx(accuracy_score(true[clips], predicted[clips]))


def test_clips_without_reference_are_not_scored(random_answers, random_numbers):
    true, predicted = random_answers
    missing = true.copy()
    missing[:10] = -1
    found = score_answers([_classes(missing, predicted)], num_resamples=5).values
    assert found == score_answers([_classes(true[10:], predicted[10:])], num_resamples=5).values
    numbers, answers = random_numbers
    numbers[:10, 1] = np.nan
    values = score_answers([_numbers(numbers, answers)], num_resamples=5).values
    assert values["ccc/fear"] == pytest.approx(concordance_cc(numbers[10:, 1], answers[10:, 1]))
    with pytest.raises(ValueError, match="expected at least one reference, found none"):
        score_answers([_classes(np.full(40, -1), predicted)])


def test_resample_without_a_reference_says_nothing():
    # One clip of twelve has a reference: about a third of the resamples does not hold it, (11/12)^12 = 0.35.
    scores = score_answers([_classes([0] + [-1] * 11, [0] * 12)], num_resamples=200)
    empty = np.isnan(scores.resampled["accuracy"]).mean()
    assert 0.2 < empty < 0.5
    assert scores.interval("accuracy") == {"value": 1, "low": 1, "high": 1}


def test_answers_that_are_no_class_are_scored_as_in_the_metrics(random_answers):
    true, predicted = random_answers
    predicted = np.where(np.arange(40) % 6 == 0, 3, predicted)  # 3: (other)
    found = score_answers([_classes(true, predicted, has_other=True)], num_resamples=5).values
    item = SplitPredictions(
        split="test", files=[str(at) for at in range(40)], references=true, probabilities=np.eye(4)[predicted]
    )
    results = split_results(item, label_names=[*LABELS, "(other)"], num_resamples=5)
    metrics = without_other({"splits": {"test": results}, "labels": [*LABELS, "(other)"]}, [item])
    for name, value in found.items():
        assert value == pytest.approx(metrics["splits"]["test"]["scores"][name]["value"])
    assert found["macro_f1"] > score_answers([_classes(true, predicted, outputs=(*LABELS, "other"))]).values["macro_f1"]


def test_several_tasks_have_a_mean_on_the_same_resamples(random_answers, random_numbers):
    answers = [_numbers(*random_numbers), _classes(*random_answers, task="kind")]
    scores = score_answers(answers, num_resamples=30)
    both = (scores.resampled["feelings_ccc"] + scores.resampled["kind_uar"]) / 2
    np.testing.assert_allclose(scores.resampled["mean_score"], both)
    alone = score_answers([answers[1]], num_resamples=30)
    np.testing.assert_allclose(alone.resampled["uar"], scores.resampled["kind_uar"])
    assert shown_scores(answers) == ["mean_score", "feelings_ccc", "kind_uar"]
    assert chance_scores(answers)["mean_score"] == pytest.approx(chance_scores(answers)["kind_uar"] / 2)


def test_speakers_are_drawn_only_where_there_are_five():
    assert drawn_units(["a", "b", "c", "d", "e"], num_resamples=9)[1]["unit"] == "speaker"
    for speakers in (None, ["a", "b", "c", "d", "d"], ["a", "b", "c", "d", ""]):
        assert drawn_units(speakers, num_resamples=9)[0] is None
