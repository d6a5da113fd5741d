import dataclasses

import numpy as np
import pytest

from nvv.metrics import classification_scores, paired_bootstrap, paired_regression_bootstrap
from nvv.training.comparison import compare_runs, comparison_table
from nvv.training.predictions import RegressionPredictions, SplitPredictions, write_predictions
from nvv.training.results import ResultsError, RunFacts, build_metrics, write_metrics

LABELS = ["cough", "laugh", "sigh"]


def make_answers(*, seed, skill, size=60, speakers=True):
    references = np.random.default_rng(0).integers(0, 3, size)
    logits = np.random.default_rng(seed).normal(size=(size, 3))
    logits[np.arange(size), references] += skill
    return SplitPredictions.from_logits(
        "test",
        logits,
        files=[f"{index}.wav" for index in range(size)],
        references=references,
        speaker_ids=[f"S{index // 5}" for index in range(size)] if speakers else None,
    )


def reorder(answers, order):
    return dataclasses.replace(
        answers,
        files=[answers.files[index] for index in order],
        references=answers.references[order],
        probabilities=answers.probabilities[order],
        speaker_ids=None if answers.speaker_ids is None else [answers.speaker_ids[index] for index in order],
    )


@pytest.fixture
def good():
    return make_answers(seed=1, skill=3)


@pytest.fixture
def bad():
    return make_answers(seed=2, skill=0.2)


@pytest.fixture
def make_run(tmp_path):
    """The function that writes a run's folder."""

    def make(name, *splits, label_names=LABELS, **facts):
        write_predictions(tmp_path / name / "predictions.csv", splits, label_names=label_names)
        if facts:
            metrics = build_metrics(splits, RunFacts(**facts), label_names=label_names, num_resamples=20)
            write_metrics(tmp_path / name / "metrics.json", metrics)
        return tmp_path / name

    return make


def test_comparison_equals_the_paired_bootstrap_of_both_answers(make_run, good, bad):
    compared = compare_runs(make_run("a", good), make_run("b", bad), num_resamples=500, seed=3)
    arguments = {"num_labels": 3, "num_resamples": 500, "seed": 3}
    assert compared["scores"] == paired_bootstrap(good.references, good.predictions, bad.predictions, **arguments)
    values = classification_scores(good.references, bad.predictions, num_labels=3)
    assert {name: score["b"] for name, score in compared["scores"].items()} == values
    assert (compared["num_clips"], compared["num_speakers"], compared["unit"]) == (60, 12, "clip")


def test_comparison_is_the_same_when_one_run_has_its_clips_in_another_order(make_run, good, bad):
    run_a, run_b = make_run("a", good), make_run("b", bad)
    shuffled = make_run("c", reorder(bad, np.random.default_rng(0).permutation(60)))
    for unit in ("clip", "speaker"):
        arguments = {"unit": unit, "num_resamples": 200}
        expected = compare_runs(run_a, run_b, **arguments)["scores"]
        assert compare_runs(run_a, shuffled, **arguments)["scores"] == expected


def test_comparison_by_speaker_draws_whole_speakers(make_run, good, bad):
    run_a, run_b = make_run("a", good), make_run("b", bad)
    compared = compare_runs(run_a, run_b, unit="speaker", num_resamples=300)
    expected = paired_bootstrap(
        good.references, good.predictions, bad.predictions, num_labels=3, groups=good.speaker_ids, num_resamples=300
    )
    assert compared["scores"] == expected
    assert compared["scores"] != compare_runs(run_a, run_b, num_resamples=300)["scores"]


def test_split_asked_for_is_the_one_compared(make_run, good, bad):
    validation = dataclasses.replace(good, split="validation")
    run_a, run_b = make_run("a", validation, bad), make_run("b", validation, good)
    assert compare_runs(run_a, run_b, split="validation", num_resamples=50)["scores"]["uar"]["difference"] == 0
    assert compare_runs(run_a, run_b, num_resamples=50)["scores"]["uar"]["difference"] < -0.2


def test_notes_say_when_scores_are_no_result(make_run, good, bad):
    facts = {
        "corpus_config": "speaker",
        "backbone_id": "openai/whisper-tiny",
        "method": "frozen",
        "total_parameters": 2,
        "trainable_parameters": 1,
        "seed": 0,
        "device": "cpu",
    }
    run_a = make_run("a", good, corpus={"name": "synthetic", "is_synthetic": True}, random_init=True, **facts)
    run_b = make_run("b", bad, corpus={"name": "vivae", "is_synthetic": False}, random_init=False, **facts)
    assert compare_runs(run_b, run_b, num_resamples=20)["notes"] == []
    notes = compare_runs(run_a, run_b, num_resamples=20)["notes"]
    assert notes == [
        f"{run_a}: the backbone has random weights; its scores are no result.",
        f"{run_a}: the corpus is synthetic; its scores are no result.",
    ]
    bare = compare_runs(run_b, make_run("c", bad), num_resamples=20)
    assert "c: no metrics.json, so nothing says which weights and corpus" in comparison_table(bare)


def test_table_holds_both_scores_difference_interval_and_p(make_run, good, bad):
    compared = compare_runs(make_run("a", good), make_run("b", bad), num_resamples=1_000)
    lines = comparison_table(compared).splitlines()
    assert "test, 60 clips by 12 speakers; scores in per cent; paired bootstrap by clip, 1,000 resamples" in lines
    row = next(line for line in lines if line.startswith("uar")).split()
    score = compared["scores"]["uar"]
    assert row[1:4] == [f"{100 * score['a']:.1f}", f"{100 * score['b']:.1f}", f"{100 * score['difference']:+.1f}"]
    assert row[4:6] == [f"[{100 * score['low']:+.1f},", f"{100 * score['high']:+.1f}]"]
    assert row[6] == f"{score['p_value']:.4f}" == "0.0020"  # all resamples on one side: 2 / 1001
    assert len({len(line) for line in lines[-8:]}) == 1  # columns stand below each other


def without_first(answers):
    return reorder(answers, np.arange(1, 60))


def with_other_truth(answers):
    return dataclasses.replace(answers, references=(answers.references + (np.arange(60) == 4)) % 3)


def with_other_speaker(answers):
    return dataclasses.replace(answers, speaker_ids=["X", *answers.speaker_ids[1:]])


def with_one_twice(answers):
    return reorder(answers, [*range(60), 7])


def as_validation(answers):
    return dataclasses.replace(answers, split="validation")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_first, r"test: expected the same clips, found 1 only in .*/a and 0 only in .*/b, such as '0.wav' in"),
        (with_other_truth, r"expected the same true labels, found others for 1 clips, such as '4.wav' in .*/b"),
        (with_other_speaker, r"expected the same speakers, found 'X' instead of 'S0' for '0.wav' in .*/b"),
        (with_one_twice, r"b/predictions.csv, test: expected each clip once, found '7.wav' again"),
        (as_validation, r"b/predictions.csv: expected the split 'test', found validation"),
    ],
)
def test_runs_are_refused_when_their_clips_differ(make_run, good, bad, change, message):
    with pytest.raises(ResultsError, match=message):
        compare_runs(make_run("a", good), make_run("b", change(bad)))


def test_runs_are_refused_when_their_labels_differ(make_run, good, bad):
    run_a = make_run("a", good)
    with pytest.raises(ResultsError, match=r"labels in another order \(cough, laugh, sigh and laugh, cough, sigh\)"):
        compare_runs(run_a, make_run("b", bad, label_names=["laugh", "cough", "sigh"]))
    with pytest.raises(ResultsError, match="expected the same labels, found cough, laugh, sigh and a, b, c"):
        compare_runs(run_a, make_run("c", bad, label_names=["a", "b", "c"]))


def test_missing_folder_unknown_unit_and_unknown_speakers_are_refused(make_run, good, bad, tmp_path):
    run_a, run_b = make_run("a", good), make_run("b", dataclasses.replace(bad, speaker_ids=None))
    with pytest.raises(ResultsError, match=r"no/predictions.csv: no such file. Name the folder of a finished run"):
        compare_runs(run_a, tmp_path / "no")
    with pytest.raises(ResultsError, match="unit: expected clip or speaker, found 'day'"):
        compare_runs(run_a, run_b, unit="day")
    with pytest.raises(ResultsError, match="comparing by speaker needs the speaker of every clip"):
        compare_runs(run_a, run_b, unit="speaker")
    assert compare_runs(run_a, run_b, num_resamples=20)["num_speakers"] is None


def make_numbers(*, seed, noise, size=60, targets=("Awe", "Fear")):
    references = np.random.default_rng(0).random((size, len(targets)))
    references[:3] = np.nan
    references[3:6, 1] = np.nan
    answers = np.nan_to_num(references, nan=0.5)
    return RegressionPredictions(
        split="test",
        files=[f"{index}.wav" for index in range(size)],
        references=references,
        predictions=answers + noise * np.random.default_rng(seed).normal(size=answers.shape),
        target_names=targets,
        speaker_ids=[f"S{index // 5}" for index in range(size)],
    )


@pytest.fixture
def make_numbers_run(tmp_path):
    """The function that writes the folder of a regression's run."""

    def make(name, answers, *, file="predictions.csv"):
        write_predictions(tmp_path / name / file, [answers])
        return tmp_path / name

    return make


def shuffled(answers):
    order = np.random.default_rng(0).permutation(60)
    return dataclasses.replace(
        answers,
        files=[answers.files[index] for index in order],
        references=answers.references[order],
        predictions=answers.predictions[order],
        speaker_ids=[answers.speaker_ids[index] for index in order],
    )


@pytest.mark.parametrize("unit", ["clip", "speaker"])
def test_regressions_compare_by_the_paired_bootstrap_of_their_numbers(make_numbers_run, unit):
    good, bad = make_numbers(seed=1, noise=0.1), make_numbers(seed=2, noise=0.5)
    run_a, run_b = make_numbers_run("a", good), make_numbers_run("b", shuffled(bad))
    compared = compare_runs(run_a, run_b, unit=unit, num_resamples=300)
    expected = paired_regression_bootstrap(
        good.references[3:],
        good.predictions[3:],
        bad.predictions[3:],
        groups=good.speaker_ids[3:] if unit == "speaker" else None,
        num_resamples=300,
    )
    assert compared["scores"] == {name: difference["mean"] for name, difference in expected.items()}
    assert compared["per_target"]["Fear"]["ccc"] == expected["ccc"]["per_target"][1]
    assert compared["num_clips"] == 57  # three clips have no reference at all
    table = comparison_table(compared)
    assert "test, 57 clips by 12 speakers; a smaller mae is better; paired bootstrap by " + unit in table
    score = compared["scores"]["mae"]
    row = next(line for line in table.splitlines() if line.startswith("mae")).split()
    assert row[1:4] == [f"{score['a']:.3f}", f"{score['b']:.3f}", f"{score['difference']:+.3f}"]
    assert score["difference"] < 0
    assert any(line.startswith("ccc Fear ") for line in table.splitlines())


def test_task_of_a_joint_run_compares_with_the_run_of_that_task_alone(make_numbers_run, make_run, good):
    first, second = make_numbers(seed=1, noise=0.1), make_numbers(seed=2, noise=0.5)
    joint = make_numbers_run("joint", first, file="predictions_high.csv")
    write_predictions(joint / "predictions_type.csv", [good], label_names=LABELS)
    alone = make_numbers_run("alone", second)
    compared = compare_runs(joint, alone, task="high", num_resamples=50)
    assert compared["task"] == "high"
    assert "test, task high, 57 clips" in comparison_table(compared)
    assert compared["scores"] == compare_runs(make_numbers_run("c", first), alone, num_resamples=50)["scores"]
    by_class = compare_runs(joint, make_run("d", good), task="type", num_resamples=50)
    assert by_class["scores"]["uar"]["difference"] == 0
    with pytest.raises(ResultsError, match=r"joint: the run has several tasks: high, type. Name one of them"):
        compare_runs(joint, alone)
    with pytest.raises(ResultsError, match=r"the run has several tasks: high, type. None is called 'two'"):
        compare_runs(joint, alone, task="two")


def test_classes_and_numbers_are_not_compared(make_numbers_run, make_run, good):
    numbers, classes = make_numbers_run("a", make_numbers(seed=1, noise=0.1)), make_run("b", good)
    with pytest.raises(ResultsError, match=r"a and .*b: the first answered with numbers, the second with classes"):
        compare_runs(numbers, classes)
    with pytest.raises(ResultsError, match="the first answered with classes, the second with numbers"):
        compare_runs(classes, numbers)


def test_regressions_are_refused_when_targets_or_true_values_differ(make_numbers_run):
    answers = make_numbers(seed=1, noise=0.1)
    run_a = make_numbers_run("a", answers)
    with pytest.raises(ResultsError, match=r"the same targets in another order \(Awe, Fear and Fear, Awe\)"):
        compare_runs(run_a, make_numbers_run("b", dataclasses.replace(answers, target_names=["Fear", "Awe"])))
    with pytest.raises(ResultsError, match="expected the same targets, found Awe, Fear and Awe, Joy"):
        compare_runs(run_a, make_numbers_run("c", dataclasses.replace(answers, target_names=["Awe", "Joy"])))
    references = answers.references.copy()
    references[4, 1] = 0.5  # missing in the first run
    with pytest.raises(ResultsError, match=r"expected the same true values, found others for 1 clips, such as '4.wav'"):
        compare_runs(run_a, make_numbers_run("d", dataclasses.replace(answers, references=references)))


def test_clips_without_a_class_are_left_out(make_run, good, bad):
    references = good.references.copy()
    references[10:20] = -1
    runs = [
        make_run(name, dataclasses.replace(item, references=references)) for name, item in (("a", good), ("b", bad))
    ]
    compared = compare_runs(*runs, num_resamples=100)
    kept = references >= 0
    expected = paired_bootstrap(
        references[kept], good.predictions[kept], bad.predictions[kept], num_labels=3, num_resamples=100
    )
    assert compared["scores"] == expected
    assert compared["num_clips"] == 50
    empty = make_run("c", dataclasses.replace(good, references=np.full(60, -1)))
    with pytest.raises(ResultsError, match="no clip's reference is known"):
        compare_runs(empty, empty)
