import dataclasses
import json
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics

from nvv.metrics import bootstrap_intervals
from nvv.training.results import (
    ResultsError,
    RunFacts,
    SplitPredictions,
    build_metrics,
    comparable_metrics,
    read_metrics,
    split_results,
    to_plain,
    write_metrics,
)

LABELS = ["cough", "laugh", "sigh", "yawn"]


@dataclasses.dataclass
class Corpus:
    name: str = "tiny"
    licence: str = "mit"
    is_synthetic: bool = True


class Strategy(Enum):
    EPOCH = "epoch"


def make_split(split, size, *, seed):
    generator = np.random.default_rng(seed)
    references = generator.integers(0, 3, size)  # no clip is a yawn
    logits = generator.normal(size=(size, 4))
    logits[np.arange(size), references] += 1.5
    return SplitPredictions.from_logits(
        split,
        logits,
        files=[f"{index}.wav" for index in range(size)],
        references=references,
        speaker_ids=[f"S{index // 4}" for index in range(size)],
    )


@pytest.fixture
def splits():
    return [make_split("validation", 24, seed=0), make_split("test", 40, seed=1)]


@pytest.fixture
def facts():
    return RunFacts(
        corpus=Corpus(),
        corpus_config="speaker",
        backbone_id="openai/whisper-tiny",
        backbone_revision="abc",
        random_init=False,
        method="lora",
        tuned_layers=range(3),
        total_parameters=1000,
        trainable_parameters=10,
        seed=7,
        device="cpu",
        best_step=20,
        best_epoch=2.0,
        best_validation_score=0.5,
        config={"training": {"eval_strategy": Strategy.EPOCH, "output_dir": Path("runs/x"), "rate": np.float32(0.5)}},
        timing={"wall_time_s": 1.5},
    )


@pytest.fixture
def metrics(splits, facts):
    return build_metrics(splits, facts, label_names=LABELS, num_resamples=200)


def test_metrics_read_back_equal_when_written(metrics, tmp_path):
    path = write_metrics(tmp_path / "run" / "metrics.json", metrics)
    assert read_metrics(path) == metrics
    assert list(path.parent.iterdir()) == [path]


def test_metrics_hold_what_produced_them(metrics):
    assert metrics["corpus"] == {"name": "tiny", "licence": "mit", "is_synthetic": True, "config": "speaker"}
    assert metrics["backbone"] == {"id": "openai/whisper-tiny", "revision": "abc", "random_init": False}
    assert metrics["tuning"] == {
        "method": "lora",
        "layers": [0, 1, 2],
        "total_parameters": 1000,
        "trainable_parameters": 10,
    }
    assert metrics["training"]["seed"] == 7
    assert metrics["provenance"]["config"] == {
        "training": {"eval_strategy": "epoch", "output_dir": "runs/x", "rate": 0.5}
    }
    assert metrics["provenance"]["versions"]["torch"]
    assert metrics["timing"] == {"wall_time_s": 1.5}


def test_split_scores_equal_scikit_learn(splits, metrics):
    test = metrics["splits"]["test"]
    true, predicted = splits[1].references, splits[1].predictions
    macro_f1 = sklearn.metrics.f1_score(true, predicted, average="macro", zero_division=0)
    assert test["scores"]["macro_f1"]["value"] == pytest.approx(macro_f1)
    assert test["scores"]["macro_f1"]["low"] < macro_f1 < test["scores"]["macro_f1"]["high"]
    assert test["confusion_matrix"] == sklearn.metrics.confusion_matrix(true, predicted, labels=range(4)).tolist()
    assert test["num_clips"] == 40
    assert test["num_speakers"] == 10
    assert test["per_class"][3]["recall"] is None  # nobody yawns
    assert test["chance"]["majority"]["uar"] == pytest.approx(1 / 3)


def test_scores_have_intervals_over_clips_and_over_speakers(splits):
    results = split_results(splits[1], label_names=LABELS)
    arguments = {"num_labels": 4, "num_resamples": 1_000}
    true, predicted = splits[1].references, splits[1].predictions
    by_clip = bootstrap_intervals(true, predicted, **arguments)
    by_speaker = bootstrap_intervals(true, predicted, groups=splits[1].speaker_ids, **arguments)
    for name, score in results["scores"].items():
        assert (score["low"], score["high"]) == by_clip[name]
        assert (score["speaker_low"], score["speaker_high"]) == by_speaker[name]
    assert by_clip["uar"] != by_speaker["uar"]
    assert (results["interval"]["unit"], results["interval"]["units"]) == ("clip", ["clip", "speaker"])


@pytest.mark.parametrize(
    "speakers",
    [None, ["S0"] * 39 + [""], ["S0"] * 40],
    ids=["unknown", "one clip's unknown", "a single speaker"],
)
def test_scores_have_no_interval_over_speakers_when_they_cannot_be_drawn(splits, speakers):
    results = split_results(dataclasses.replace(splits[1], speaker_ids=speakers), label_names=LABELS)
    assert set(results["scores"]["uar"]) == {"value", "low", "high"}
    assert results["interval"]["units"] == ["clip"]


def test_intervals_are_other_ones_when_speakers_are_drawn(splits):
    clips = split_results(splits[1], label_names=LABELS)
    speakers = split_results(splits[1], label_names=LABELS, interval_unit="speaker")
    assert clips["scores"]["uar"]["value"] == speakers["scores"]["uar"]["value"]
    assert clips["scores"]["uar"]["low"] != speakers["scores"]["uar"]["low"]
    assert speakers["scores"]["uar"]["low"] == speakers["scores"]["uar"]["speaker_low"]
    assert (speakers["interval"]["unit"], speakers["interval"]["units"]) == ("speaker", ["speaker"])


def test_comparable_part_is_equal_when_only_time_and_place_differ(splits, facts, metrics):
    later = dataclasses.replace(facts, timing={"wall_time_s": 99.0}, device="cuda", config={"resume": "last"})
    again = build_metrics(splits, later, label_names=LABELS, num_resamples=200)
    assert again != metrics
    assert comparable_metrics(again) == comparable_metrics(metrics)


def test_comparable_part_differs_when_one_prediction_differs(splits, facts, metrics):
    other = [splits[0], make_split("test", 40, seed=2)]
    again = build_metrics(other, facts, label_names=LABELS, num_resamples=200)
    assert comparable_metrics(again) != comparable_metrics(metrics)


def test_number_of_speakers_is_null_when_unknown(splits):
    unknown = dataclasses.replace(splits[0], speaker_ids=None)
    assert split_results(unknown, label_names=LABELS)["num_speakers"] is None
    with pytest.raises(ResultsError, match="intervals over speakers need speaker_ids"):
        split_results(unknown, label_names=LABELS, interval_unit="speaker")


def test_other_label_names_are_refused(splits):
    with pytest.raises(ResultsError, match="validation: 4 probability columns, but 3 label names"):
        split_results(splits[0], label_names=LABELS[:3])
    with pytest.raises(ResultsError, match="interval_unit: expected 'clip' or 'speaker', found 'day'"):
        split_results(splits[0], label_names=LABELS, interval_unit="day")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32("nan")])
def test_metrics_with_nan_are_refused_by_name_and_the_old_file_stays(metrics, tmp_path, value):
    path = write_metrics(tmp_path / "metrics.json", metrics)
    before = path.read_bytes()
    metrics["timing"]["wall_time_s"] = value
    with pytest.raises(ResultsError, match=r"metrics.json.timing.wall_time_s: expected a finite number"):
        write_metrics(path, metrics)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_run_without_a_backbone_has_none_in_the_file(splits, facts, tmp_path):
    baseline = dataclasses.replace(facts, backbone_id=None, backbone_revision=None, method="majority")
    path = write_metrics(
        tmp_path / "metrics.json", build_metrics(splits, baseline, label_names=LABELS, num_resamples=20)
    )
    assert read_metrics(path)["backbone"] == {"id": None, "revision": None, "random_init": False}


def test_plain_values_refuse_what_json_cannot_hold():
    with pytest.raises(TypeError, match=r"config.model: cannot write a object to JSON"):
        to_plain({"model": object()}, name="config")
    assert to_plain({"b": {2, 1}, "a": (None, np.array([1, 2]))}, name="x") == {"b": [1, 2], "a": [None, [1, 2]]}


def test_reading_refuses_another_format(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps({"format_version": 99}))
    with pytest.raises(ResultsError, match="expected format_version 1, found 99"):
        read_metrics(path)
    path.write_text("{")
    with pytest.raises(ResultsError, match="not valid JSON"):
        read_metrics(path)
