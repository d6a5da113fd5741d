import pytest

from nvv.sweep.settings import ReportError, ReportSettings

CLAIM = {
    "name": "lora",
    "statement": "LoRA is best.",
    "source": "somebody",
    "better": {"method": "lora"},
    "than": {"method": "frozen"},
}


def test_a_grid_without_a_report_gets_the_defaults():
    settings = ReportSettings.from_mapping(None)
    assert (settings.metric, settings.splits, settings.columns) == ("uar", ("test",), ("method",))
    assert not settings.claims


def test_a_claim_takes_the_reports_score_unless_it_has_its_own():
    content = {"metric": "macro_f1", "claims": [CLAIM, {**CLAIM, "metric": "accuracy", "matched_by": ["backbone"]}]}
    claims = ReportSettings.from_mapping(content).claims
    assert [claim.metric for claim in claims] == ["macro_f1", "accuracy"]
    assert claims[1].matched_by == ("backbone",)
    assert claims[0].take == "each"


@pytest.mark.parametrize("metric", ["ccc", "pearson", "mean_score", "uar"])
def test_scores_of_numbers_and_of_several_tasks_can_be_reported(metric):
    assert ReportSettings.from_mapping({"metric": metric}).metric == metric


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"metrics": "uar"}, "no field is called 'metrics'"),
        ({"metric": "uaar"}, "metric: expected one of accuracy, uar"),
        ({"metric": "mae"}, "metric: expected one of .*, found 'mae'"),  # less is better
        ({"splits": "test"}, "splits: expected a list of names, found 'test'"),
        ({"columns": []}, "columns: expected at least one name"),
        ({"num_resamples": 0}, "num_resamples: expected at least 1, found 0"),
        ({"seen_in_pretraining": ["recanvo"]}, "seen_in_pretraining: expected `backbone"),
        ({"claims": CLAIM}, "claims: expected a list"),
        ({"claims": [{**CLAIM, "then": {}}]}, "claim 1: no field is called 'then'"),
        ({"claims": [CLAIM, {"name": "x"}]}, "claim 2: statement, source, better, than missing"),
        ({"claims": [{**CLAIM, "take": "best"}]}, r"claim 1 \(lora\): take: expected one of each, best_by_validation"),
        ({"claims": [{**CLAIM, "than": {}}]}, r"claim 1 \(lora\): than: expected columns and values"),
        ({"claims": [{**CLAIM, "metric": "loss"}]}, r"claim 1 \(lora\): metric: expected one of"),
        ("uar", "report: expected `field: value` lines, found 'uar'"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(content, message):
    with pytest.raises(ReportError, match=message):
        ReportSettings.from_mapping(content)
