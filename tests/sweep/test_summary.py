import math

import pandas as pd
import pytest
from scipy import stats

from nvv.sweep.summary import critical_difference, groups_without_difference, rank_summary, scores_by_corpus
from nvv.sweep.systems import with_systems
from nvv.sweep.table import collect_results


def test_ranks_are_averaged_over_corpora_and_equal_scores_share_theirs():
    scores = pd.DataFrame(
        {"x": [0.9, 0.8, 0.7], "y": [0.6, 0.9, 0.6], "z": [0.8, 0.7, 0.9], "w": [0.9, 0.5, 0.8]}, index=["a", "b", "c"]
    )
    # By hand: x ranks 1, 2, 3; y 2.5, 1, 2.5; z 2, 3, 1; w 1, 3, 2. Sums 6.5, 9, 8.5 over four corpora.
    summary = rank_summary(scores)
    assert summary.mean_ranks.to_dict() == {"a": 1.625, "c": 2.125, "b": 2.25}
    assert list(summary.mean_ranks.index) == ["a", "c", "b"]
    assert list(summary.win_rates.columns) == ["a", "c", "b"]
    assert summary.friedman_p == stats.friedmanchisquare(*scores.to_numpy()).pvalue
    assert (summary.num_corpora, summary.left_out) == (4, ())


def test_critical_difference_uses_the_published_quantiles():
    # Demšar 2006: 1.25 for four classifiers on fourteen data sets (section 3.2.4); q at 5 % is 1.960 for 2, 2.343 for 3
    # and 3.164 for 10 classifiers (table 5a).
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)
    for num_systems, quantile in ((2, 1.960), (3, 2.343), (10, 3.164)):
        factor = math.sqrt(num_systems * (num_systems + 1) / (6 * 20))
        assert critical_difference(num_systems, 20) == pytest.approx(quantile * factor, abs=1e-3)


def test_wins_count_corpora_and_ties_half():
    scores = pd.DataFrame({"x": [0.5, 0.4], "y": [0.5, 0.5], "z": [0.9, 0.1], "w": [0.8, 0.3]}, index=["a", "b"])
    summary = rank_summary(scores)
    assert summary.win_rates.loc["a", "b"] == 3.5 / 4
    assert summary.win_rates.loc["b", "a"] == 0.5 / 4
    assert math.isnan(summary.win_rates.loc["a", "a"])
    assert (summary.friedman_p, summary.critical_difference) == (None, None)  # two systems


def test_a_system_without_a_corpus_is_left_out():
    scores = pd.DataFrame({"x": [0.5, 0.4, 0.3], "y": [0.5, math.nan, 0.1]}, index=["a", "b", "c"])
    summary = rank_summary(scores)
    assert summary.left_out == ("b",)
    assert list(summary.mean_ranks.index) == ["a", "c"]


def test_one_corpus_or_one_system_has_no_ranks():
    assert rank_summary(pd.DataFrame({"x": [0.5, 0.4, 0.3]})) is None
    assert rank_summary(pd.DataFrame({"x": [0.5], "y": [0.4]})) is None
    assert rank_summary(pd.DataFrame()) is None


def test_equal_scores_everywhere_are_no_difference():
    summary = rank_summary(pd.DataFrame({"x": [0.5] * 3, "y": [0.4] * 3}))
    assert summary.friedman_p == 1.0
    assert summary.mean_ranks.tolist() == [2.0, 2.0, 2.0]


def test_groups_are_the_longest_stretches_within_the_difference():
    ranks = pd.Series([1.0, 1.5, 2.4, 4.0])
    assert groups_without_difference(ranks, 1.0) == [(0, 1), (1, 2)]
    assert groups_without_difference(ranks, 3.0) == [(0, 3)]
    assert groups_without_difference(ranks, 0.1) == []


def test_scores_by_corpus_are_means_over_finished_runs(made_up_sweep):
    folder = made_up_sweep(
        {"right": 0.4},
        {"right": 0.6, "seed": 2},
        {"seed": 3, "status": "failed"},
        {"corpus": "recanvo", "right": 0.8, "method": "lora"},
    )
    table = with_systems(collect_results(folder), rows=("backbone",), columns=("method",))
    scores = scores_by_corpus(table, "test_accuracy")
    assert scores.index.tolist() == ["whisper-tiny, frozen", "whisper-tiny, lora"]
    assert scores.columns.tolist() == ["vivae", "recanvo"]
    assert scores.loc["whisper-tiny, frozen", "vivae"] == pytest.approx(0.5)
    assert math.isnan(scores.loc["whisper-tiny, lora", "vivae"])
    assert scores_by_corpus(table, "train_uar").empty
