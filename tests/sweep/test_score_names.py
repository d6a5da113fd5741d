import pandas as pd
import pytest

from nvv.sweep.score_names import REPORT_SCORES, metric_of, predicts, score_label, score_title, score_unit


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ({"labels": ["a", "b"]}, "classes"),
        ({"tasks": [{"kind": "classification"}]}, "classes"),
        ({"tasks": [{"kind": "regression"}]}, "numbers"),
        ({"tasks": [{"kind": "regression"}, {"kind": "regression"}]}, "several tasks"),
    ],
)
def test_a_run_says_what_it_predicts(metrics, expected):
    assert predicts(metrics) == expected


@pytest.mark.parametrize(
    ("kinds", "metric", "expected"),
    [
        (["numbers", "numbers"], "mean_score", "ccc"),
        (["classes"], "mean_score", "uar"),
        (["several tasks"], "mean_score", "mean_score"),
        (["numbers", "classes"], "mean_score", "mean_score"),
        ([], "mean_score", "mean_score"),
        (["numbers"], "pearson", "pearson"),
    ],
)
def test_mean_score_of_one_task_is_its_main_score(kinds, metric, expected):
    runs = pd.DataFrame({"status": [*(["done"] * len(kinds)), "failed"], "predicts": [*kinds, None]})
    assert metric_of(runs, metric) == expected


def test_every_score_has_a_title_and_a_unit():
    assert all(score_title(name) for name in REPORT_SCORES)
    assert {score_unit(name) for name in ("uar", "macro_f1")} == {"in per cent"}
    assert {score_unit(name) for name in ("ccc", "mean_score")} == {"times 100"}
    assert [score_label(name) for name in ("uar", "ccc", "mean_score")] == ["UAR (%)", "CCC (× 100)", "score (× 100)"]
    assert "mae" not in REPORT_SCORES  # less is better: tables would mark the worst
