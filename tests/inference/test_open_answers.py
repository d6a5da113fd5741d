from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score

from nvv.inference.open_answers import scores_without_last_class, without_other
from nvv.metrics import confusion_matrix
from nvv.training.results import RunFacts, SplitPredictions, build_metrics

NUM_CLASSES = 3  # and a fourth answer that is none of them


def _answers(seed):
    generator = np.random.default_rng(seed)
    return generator.integers(0, NUM_CLASSES, 40), generator.integers(0, NUM_CLASSES + 1, 40)


@pytest.mark.parametrize("seed", range(5))
def test_scores_equal_scikit_learns_over_the_classes(seed):
    true, predicted = _answers(seed)
    scores = scores_without_last_class(confusion_matrix(true, predicted, num_labels=NUM_CLASSES + 1))
    options = {"labels": range(NUM_CLASSES), "average": "macro", "zero_division": 0}
    assert scores["macro_f1"] == pytest.approx(f1_score(true, predicted, **options), abs=1e-12)
    assert scores["macro_precision"] == pytest.approx(precision_score(true, predicted, **options), abs=1e-12)
    assert scores["macro_recall"] == pytest.approx(recall_score(true, predicted, **options), abs=1e-12)


def _metrics(*, speakers):
    true, predicted = _answers(0)
    item = SplitPredictions(
        split="test",
        files=[f"{at}.wav" for at in range(len(true))],
        references=true,
        probabilities=np.eye(NUM_CLASSES + 1)[predicted],
        speaker_ids=[f"S{at % 5}" for at in range(len(true))] if speakers else None,
    )
    facts = RunFacts(
        corpus={"name": "tones"}, corpus_config="speaker", backbone_id="x", random_init=False, method="lora",
        total_parameters=1, trainable_parameters=1, seed=1, device="cpu",
    )  # fmt: skip
    metrics = build_metrics([item], facts, label_names=["a", "b", "c", "(other)"], num_resamples=200)
    return metrics, without_other(metrics, [item])


@pytest.mark.parametrize("speakers", [False, True])
def test_only_scores_that_average_over_what_occurs_change(speakers):
    before, after = (metrics["splits"]["test"] for metrics in _metrics(speakers=speakers))
    for name, score in before["scores"].items():
        if name in ("macro_f1", "macro_precision", "macro_recall"):
            # (other) was answered, so the mean was over four of which one is 0: 4 / 3 of it is over three.
            assert after["scores"][name]["value"] == pytest.approx(score["value"] * 4 / 3)
            # In every resample of 40 clips all four answers occur.
            for bound in set(score) - {"value"}:
                assert after["scores"][name][bound] == pytest.approx(score[bound] * 4 / 3)
        else:
            assert after["scores"][name] == score
    assert ("speaker_low" in after["scores"]["macro_f1"]) == speakers
    assert after["scores"]["macro_recall"]["value"] == pytest.approx(after["scores"]["uar"]["value"])
    assert {name: value for name, value in after.items() if name != "scores"} == {
        name: value for name, value in before.items() if name != "scores"
    }
