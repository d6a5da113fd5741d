"""The laughter detector from its recipe to plain transformers: on the real sample, with a small untrained encoder."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from nvv.inference.detect_arguments import DetectArguments
from nvv.inference.operating_points import choose_operating_point
from nvv.training.arguments import DataArguments
from nvv.training.config_files import parse_arguments
from nvv.training.run import train

RECIPE = Path(__file__).parents[2] / "recipes" / "nonverbal_vocalization" / "laughter.yaml"

# Runs with `nvv` made unimportable, as on a machine that never saw it.
PLAIN = """
import csv, json, sys
sys.modules["nvv"] = None
import soundfile, torch
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification, pipeline

folder, detections, recordings = sys.argv[1:]
settings = {"trust_remote_code": True, "apply_operating_point": "laughing"}
as_saved = AutoModelForAudioClassification.from_pretrained(folder, trust_remote_code=True)
applied = AutoModelForAudioClassification.from_pretrained(folder, **settings)
feature_extractor = AutoFeatureExtractor.from_pretrained(folder)
classify = pipeline("audio-classification", model=applied, feature_extractor=feature_extractor)
answers = []
with open(detections, encoding="utf-8", newline="") as file:
    files = [row["file"] for row in csv.DictReader(file)]
for name in files:
    waveform, sampling_rate = soundfile.read(f"{recordings}/{name}", dtype="float32")
    inputs = feature_extractor(waveform, sampling_rate=sampling_rate, return_tensors="pt")
    with torch.no_grad():
        detected = bool(as_saved.detect(**inputs))
        probability = applied(**inputs).logits.softmax(-1)[0, applied.config.label2id["laughing"]].item()
        score = as_saved(**inputs).logits.softmax(-1)[0, as_saved.config.label2id["laughing"]].item()
    scores = {one["label"]: one["score"] for one in classify({"array": waveform, "sampling_rate": sampling_rate})}
    answers.append([detected, probability >= 0.5, scores["laughing"] >= 0.5, score])
print(json.dumps(answers))
"""


def small_run(output_dir, **settings):
    options = {
        "random_init": "true",
        "max_seconds": "2",
        "projection_size": "16",
        "num_train_epochs": "2",
        "learning_rate": "1e-2",
        "num_bootstrap_resamples": "20",
        "disable_tqdm": "true",
        "cpu_threads": "1",
        "output_dir": str(output_dir),
        **settings,
    }
    return parse_arguments([str(RECIPE), *(word for name, value in options.items() for word in (f"--{name}", value))])


@pytest.fixture
def tiny_backbone(tiny_backbone_config, tmp_path):
    """The folder of a tiny Whisper's config, to be drawn at random."""
    tiny_backbone_config("whisper").save_pretrained(tmp_path / "tiny")
    return str(tmp_path / "tiny")


@pytest.mark.realdata
@pytest.mark.slow
def test_laughter_of_the_real_sample_is_decided_alike_in_plain_transformers(
    real_data, tiny_backbone, tmp_path, run_elsewhere
):
    raw = real_data / "nonverbal_vocalization"
    place = {"data_dir": str(raw), "data_cache_dir": str(tmp_path / "cache")}
    metrics = train(small_run(tmp_path / "run", backbone=tiny_backbone, **place)).metrics
    assert metrics["labels"] == ["other", "laughing"]
    assert metrics["backbone"]["random_init"]
    arguments = DetectArguments(
        model=str(tmp_path / "run"),
        label="laughing",
        wanted_recall=0.6,
        output_dir=str(tmp_path / "detector"),
        num_bootstrap_resamples=20,
        num_workers=0,
    )
    result = choose_operating_point(arguments, DataArguments(corpus="nonverbal_vocalization", **place))
    with (tmp_path / "detector" / "detections.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 72 + 73
    laughs = [row for row in rows if row["corpus_label"] == "laughing"]
    assert [row["is_positive"] == "True" for row in rows] == [row in laughs for row in rows]
    assert len(laughs) == 3 + 2
    files = (tmp_path / "run", tmp_path / "detector" / "detections.csv", raw / "dataset")
    answers = run_elsewhere(PLAIN, *files)
    for row, (*ways, score) in zip(rows, answers, strict=True):
        assert ways == [row["is_detected"] == "True"] * 3, row
        assert score == pytest.approx(float(row["score"]), abs=1e-4)
    for split in ("validation", "test"):
        detected = [row for row in rows if row["split"] == split and row["is_detected"] == "True"]
        counted = result.report["splits"][split]["operating_point"]
        assert counted["true_positives"] == sum(row in laughs for row in detected)
        assert counted["false_positives"] == sum(row not in laughs for row in detected)


@pytest.mark.slow
def test_recipe_trains_a_detector_of_any_class(corpus_folder, tiny_backbone, tmp_path):
    place = {"corpus": str(corpus_folder), "data_cache_dir": str(tmp_path / "cache")}
    run = small_run(
        tmp_path / "run", backbone=tiny_backbone, positive_labels="cough", split_protocol="speaker", **place
    )
    metrics = train(run).metrics
    assert metrics["labels"] == ["other", "cough"]
    # Eight of 24 training clips: n / (2 · n_c).
    config = json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8"))
    assert config["class_weights"] == [24 / 32, 24 / 16]
