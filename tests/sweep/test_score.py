import numpy as np
import pytest

from nvv.sweep.score import benchmark_scores, chance_corrected_uar
from nvv.sweep.settings import ReportSettings
from nvv.sweep.significance import AnswerStore
from nvv.sweep.systems import with_systems
from nvv.sweep.table import collect_results
from nvv.training.results import read_metrics

SMALL, TINY = {"backbone": "openai/whisper-small"}, {"backbone": "openai/whisper-tiny"}


def scores_of(folder, **settings):
    settings = ReportSettings(score=True, **settings)
    table = with_systems(collect_results(folder), rows=settings.rows, columns=settings.columns)
    return benchmark_scores(table, AnswerStore(folder), settings)


def corrected(folder, run):
    uar = read_metrics(folder / "runs" / run / "metrics.json")["splits"]["test"]["scores"]["uar"]["value"]
    return (uar - 1 / 3) / (1 - 1 / 3)  # three classes occur


def test_chance_is_nothing_and_faultless_is_one():
    assert chance_corrected_uar([[5, 0], [0, 2]]) == 1
    assert chance_corrected_uar([[5, 0], [2, 0]]) == 0  # recalls 1 and 0: 0.5 of two classes
    assert chance_corrected_uar([[0, 5], [2, 0]]) == -1
    # Four classes, recalls 1, 1, 0.5, 0: UAR 0.625, (0.625 - 0.25) / 0.75 = 0.5
    confusion = [[2, 0, 0, 0], [0, 2, 0, 0], [0, 1, 1, 0], [2, 0, 0, 0]]
    assert chance_corrected_uar(confusion) == pytest.approx(0.5)


def test_classes_that_do_not_occur_count_for_nothing():
    # Two of three classes occur, recalls 1 and 0.5: (0.75 - 0.5) / 0.5 = 0.5
    assert chance_corrected_uar([[4, 0, 0], [1, 2, 1], [0, 0, 0]]) == pytest.approx(0.5)
    assert chance_corrected_uar([[4, 1], [0, 0]]) == 0  # a single class: recall says nothing
    many = chance_corrected_uar(np.array([[[1, 0], [0, 1]], [[1, 0], [1, 0]]]))
    assert many.tolist() == [1, 0]


def test_the_number_is_the_mean_over_corpora_of_means_over_seeds(made_up_sweep):
    folder = made_up_sweep({"right": 0.5}, {"right": 0.7, "seed": 2}, {"corpus": "recanvo", "right": 0.9})
    [score] = scores_of(folder)
    vivae = (corrected(folder, "run0") + corrected(folder, "run1")) / 2
    assert score.by_corpus["vivae"] == pytest.approx(vivae)
    assert score.value == pytest.approx((vivae + corrected(folder, "run2")) / 2)
    assert score.low < score.value < score.high
    assert score.high - score.low < 0.25
    assert score.unseen_value is None
    assert (score.system, list(score.missing)) == ("whisper-tiny, frozen", [])


def test_folds_are_scored_with_their_answers_together(made_up_sweep):
    folder = made_up_sweep(
        {"split_protocol": "fold_0", "right": 1.0, "num_clips": 30},
        {"split_protocol": "fold_1", "right": 0.0, "num_clips": 90, "first_clip": 300},
    )
    [score] = scores_of(folder)
    # 30 of 120 clips are right, evenly over three classes: UAR 0.25, (0.25 - 1/3) / (2/3) = -0.125
    assert score.value == pytest.approx(-0.125)


def test_more_seeds_of_equal_answers_leave_the_interval_as_it_is(made_up_sweep):
    once = made_up_sweep({"right": 0.6}, name="once")
    twice = made_up_sweep({"right": 0.6}, {"right": 0.6}, name="twice")
    file = twice / "runs" / "run1" / "metrics.json"
    file.write_text(file.read_text().replace('"seed": 1', '"seed": 2', 1))
    [first], [second] = scores_of(once), scores_of(twice)
    assert (first.value, first.low, first.high) == pytest.approx((second.value, second.low, second.high))


def test_a_system_that_lacks_a_corpus_or_a_run_has_no_number(made_up_sweep):
    folder = made_up_sweep(
        {**TINY, "right": 0.9},
        {**TINY, "right": 0.9, "corpus": "recanvo", "status": "failed"},
        {**SMALL, "right": 0.4},
        {**SMALL, "right": 0.4, "corpus": "recanvo"},
        {"backbone": "mfcc", "method": "linear_svm", "recipe": "baseline", "right": 0.5},
        {"backbone": "mfcc", "method": "linear_svm", "recipe": "baseline", "right": 0.5, "corpus": "recanvo"},
    )
    scores = scores_of(folder)
    assert [score.system for score in scores] == ["mfcc, linear svm", "whisper-small, frozen", "whisper-tiny, frozen"]
    tiny = scores[-1]
    assert (tiny.value, tiny.low, tiny.missing) == (None, None, ["recanvo"])
    assert set(tiny.by_corpus) == {"vivae"}


def test_a_seed_that_failed_leaves_the_corpus_incomplete(made_up_sweep):
    [score] = scores_of(made_up_sweep({}, {"seed": 2, "status": "failed"}))
    assert (score.value, score.missing) == (None, ["vivae"])


def test_corpora_heard_before_are_left_out_for_everybody(made_up_sweep):
    runs = [
        {**system, "corpus": corpus, "right": right}
        for system in (SMALL, TINY)
        for corpus, right in (("vivae", 0.5), ("recanvo", 0.9))
    ]
    folder = made_up_sweep(*runs)
    scores = scores_of(folder, seen_in_pretraining={"openai/whisper-small": ["recanvo"]})
    assert [score.unseen_value for score in scores] == pytest.approx([corrected(folder, "run0")] * 2)
    assert {score.system: list(score.seen) for score in scores} == {
        "whisper-small, frozen": ["recanvo"],
        "whisper-tiny, frozen": [],
    }


def test_random_weights_and_computed_sounds_are_remembered(made_up_sweep):
    [score] = scores_of(made_up_sweep({"random_init": True, "corpus": "synthetic", "is_synthetic": True}))
    assert (score.random_init, score.is_synthetic) == (True, True)


def test_speakers_are_drawn_whole(made_up_sweep):
    folder = made_up_sweep({"right": 0.6})
    file = folder / "runs" / "run0" / "predictions.csv"
    header, *rows = (line.split(",") for line in file.read_text().splitlines())
    for row in rows:
        row[2] = "heard" if row[3] == row[4] else "misheard"  # speaker_id by label and predicted
    file.write_text("".join(",".join(row) + "\n" for row in [header, *rows]))
    [score] = scores_of(folder)
    # Two speakers, one always right and one always wrong: a draw of either one alone comes up in half of all draws.
    assert (score.low, score.high) == pytest.approx((-0.5, 1.0))
