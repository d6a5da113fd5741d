import pytest

from nvv.hub.card_decisions import decisions_text, is_calibrated
from nvv.hub.model_card import CardFacts


@pytest.fixture
def point():
    """An operating point as `nvv.inference.operating_points` stores it."""
    scores = {
        "num_clips": 72,
        "num_positives": 30,
        "accuracy": 0.9,
        "precision": 0.925,
        "recall": 0.5,
        "f1": 0.65,
        "false_positives": 3,
        "false_negatives": 15,
    }
    return {
        "threshold": 0.73125,
        "rule": "precision >= 0.9",
        "temperature": 1.25,
        "corpus": "/home/somebody/laughs",
        "corpus_config": "speaker",
        "validation": scores,
        "test": {**scores, "precision": None, "false_positives": 0},
        "calibration": {"test": {"before": 0.125, "after": 0.04}, "validation": None},
    }


def make_facts(**config):
    return CardFacts(metrics={"labels": ["other", "laughing"]}, model_config=config)


def test_model_without_operating_points_and_temperature_has_no_section():
    for config in ({}, {"operating_points": None, "calibration_temperature": 1.0, "apply_operating_point": None}):
        assert decisions_text(make_facts(**config)) == ""
        assert not is_calibrated(make_facts(**config))


def test_operating_points_are_listed_with_their_scores_on_both_splits(point):
    text = decisions_text(make_facts(operating_points={"laughing": point}))
    rows = [line for line in text.splitlines() if line.startswith("| laughing")]
    assert rows == [
        "| laughing | precision >= 0.9 | 0.7312 | validation | 92.5 | 50.0 | 65.0 | 3 | 15 | 72, 30 of the class |",
        "| laughing | precision >= 0.9 | 0.7312 | test | - | 50.0 | 65.0 | 0 | 15 | 72, 30 of the class |",
    ]
    assert "on the validation split of `laughs` (`speaker`)," in text
    assert "somebody" not in text
    assert 'apply_operating_point="laughing"' in text
    assert "are applied when asked for" in text
    assert "## Calibration" not in text


def test_point_that_the_config_applies_is_said_to_be_applied(point):
    other = {"threshold": 0.5}
    config = {"operating_points": {"other": other, "laughing": point}, "apply_operating_point": "laughing"}
    text = decisions_text(make_facts(**config))
    assert "The operating point of `laughing` is applied as the model is loaded" in text
    assert 'apply_operating_point="laughing"' in text
    assert "| other | - | 0.5 | - | - | - | - | - | - | - |" in text


def test_calibration_says_its_temperature_and_the_error_before_and_after(point):
    facts = make_facts(operating_points={"laughing": point}, calibration_temperature=1.25)
    text = decisions_text(facts)
    assert is_calibrated(facts)
    assert "divided by a temperature of 1.25, fitted on the validation split" in text
    assert "| laughing | test | 12.5 | 4.0 |" in text
    assert "| laughing | validation | 12.5" not in text
    alone = decisions_text(make_facts(calibration_temperature=0.5))
    assert alone.startswith("## Calibration")
    assert "|" not in alone
