from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from nvv.metrics import scores_with_intervals
from nvv.training.probe_heads import TrainedHead
from nvv.training.probe_layers import Probed, ScoredHead
from nvv.training.probe_results import (
    LAYER_SCORES_TABLE,
    PROBE_FILE,
    build_report,
    layer_table,
    read_report,
    write_layer_table,
    write_report,
)
from nvv.training.results import ResultsError

LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 1])
METRICS = {
    "backbone": {"id": "openai/whisper-tiny", "revision": None, "random_init": True},
    "corpus": {"name": "tones", "pretty_name": "Tones", "config": "speaker", "is_synthetic": True, "licence": "x"},
    "splits": {"test": {"chance": {"majority": {"macro_f1": 1 / 3}, "random": {"macro_f1": 0.4}}}},
}


def _head(predictions, *, seed=0, weight_decay=0.0, score=0.5, layer_weights=None):
    logits = np.eye(2)[predictions]
    of_head = SimpleNamespace(layer_weights=None if layer_weights is None else torch.tensor(layer_weights))
    trained = TrainedHead(
        head=of_head, seed=seed, weight_decay=weight_decay, best_score=score, best_step=1, best_epoch=1.0, history=[]
    )
    values = {name: entry["value"] for name, entry in scores_with_intervals(LABELS, predictions, num_labels=2).items()}
    return ScoredHead(
        trained=trained,
        logits={"validation": logits, "test": logits},
        scores={"validation": values, "test": values},
    )


def _probed(*heads, states=(0,), weighted=False):
    config = SimpleNamespace(summed_layers=list(states), use_weighted_layer_sum=weighted)
    return Probed(config=config, heads={0.0: heads}, weight_decay=0.0)


def _report(*probes, speakers=None, greater_is_better=True):
    clips = {"test": SimpleNamespace(labels=LABELS, speaker_ids=speakers)}
    return build_report(
        probes,
        METRICS,
        clips=clips,
        features={"num_clips": 8, "num_computed": 8, "num_cached": 0},
        timing={"features_s": 1.0},
        selection_metric="macro_f1",
        greater_is_better=greater_is_better,
        num_resamples=400,
    )


GOOD = np.array([0, 0, 0, 1, 1, 1, 1, 1])  # accuracy 7/8
POOR = np.array([0, 0, 1, 1, 0, 1, 1, 1])  # accuracy 5/8


def test_scores_are_means_over_seeds_with_their_deviation():
    main = _report(_probed(_head(GOOD, seed=3), _head(POOR, seed=4)))["main"]
    accuracy = main["test"]["accuracy"]
    assert accuracy["by_seed"] == [7 / 8, 5 / 8]
    assert accuracy["mean"] == 6 / 8
    assert accuracy["standard_deviation"] == pytest.approx(np.sqrt(2) / 8)  # two values 2/8 apart
    assert "low" not in main["validation"]["accuracy"]
    assert _report(_probed(_head(GOOD)))["main"]["test"]["accuracy"]["standard_deviation"] is None


def test_interval_is_that_of_the_mean_over_seeds_on_the_same_resamples():
    # Two heads that are right where the other is wrong: the mean accuracy is 1/2 on any clips, and has no spread.
    one = np.array([0, 0, 1, 1, 1, 1, 0, 0])
    score = _report(_probed(_head(one), _head(1 - one)))["main"]["test"]["accuracy"]
    assert (score["low"], score["high"]) == (0.5, 0.5)
    # Of a single head it is the bootstrap interval of its score.
    score = _report(_probed(_head(POOR)))["main"]["test"]["accuracy"]
    expected = scores_with_intervals(
        LABELS, POOR, num_labels=2, groups=np.arange(len(LABELS)), num_resamples=400, seed=0
    )["accuracy"]
    assert (score["low"], score["high"]) == (expected["low"], expected["high"])


def test_whole_speakers_are_drawn_where_they_are_known():
    # Speakers who are all right or all wrong: resampling speakers moves the score more than resampling clips.
    predictions = np.array([0, 0, 1, 1, 1, 1, 1, 1])
    speakers = ["a", "a", "b", "b", "c", "c", "c", "c"]
    by_clip, by_speaker = (_report(_probed(_head(predictions)), speakers=names) for names in (None, speakers))
    assert (by_clip["interval"]["unit"], by_speaker["interval"]["unit"]) == ("clip", "speaker")
    width = [report["main"]["test"]["accuracy"] for report in (by_clip, by_speaker)]
    assert width[0]["high"] - width[0]["low"] < width[1]["high"] - width[1]["low"]


def test_best_layer_is_the_first_best_on_validation_whatever_test_says():
    heads = [_head(GOOD, score=0.1), _head(POOR, score=0.9), _head(GOOD, score=0.9)]
    probes = [_probed(heads[0]), *(_probed(head, states=[at]) for at, head in enumerate(heads))]
    assert _report(*probes)["best_layer"] == 1
    assert _report(*probes, greater_is_better=False)["best_layer"] == 0
    assert _report(probes[0])["best_layer"] is None


def test_table_and_file_hold_the_report(tmp_path):
    main = _probed(
        _head(GOOD, layer_weights=[0.0, 0.0]), _head(POOR, layer_weights=[0.0, np.log(3)]), states=[0, 2], weighted=True
    )
    report = _report(main, *(_probed(_head(GOOD), _head(POOR), states=[at]) for at in range(3)))
    # softmax: (1/2, 1/2) and (1/4, 3/4)
    assert report["layer_weights"]["mean"] == pytest.approx([3 / 8, 5 / 8])
    assert report["layer_weights"]["standard_deviation"] == pytest.approx([np.sqrt(2) / 8] * 2)
    assert read_report(write_report(tmp_path / PROBE_FILE, report)) == report
    table = layer_table(report)
    assert table["probe"].tolist() == ["weighted sum", "hidden state 0", "hidden state 1", "hidden state 2"]
    assert table["layer_weight"].tolist()[1::2] == pytest.approx([3 / 8, 5 / 8])
    assert table["layer_weight"].isna().tolist() == [True, False, True, False]
    assert table["test_accuracy_mean"].tolist() == [6 / 8] * 4
    lines = write_layer_table(tmp_path / LAYER_SCORES_TABLE, report).read_text(encoding="utf-8").splitlines()
    assert len(lines) == 5
    assert lines[1].startswith("weighted sum,0 2,0.0,2,,")


def test_report_of_another_format_is_refused(tmp_path):
    (tmp_path / PROBE_FILE).write_text(json.dumps({"format_version": 99}), encoding="utf-8")
    with pytest.raises(ResultsError, match="expected format_version 1, found 99"):
        read_report(tmp_path / PROBE_FILE)
