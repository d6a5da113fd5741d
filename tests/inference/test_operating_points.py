"""Thresholds chosen on validation and stored with the model: for every kind of repository, in transformers too."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
import sklearn.metrics
import torch
from scipy.special import softmax

from nvv import NvvConfig, NvvForAudioClassification
from nvv.data import load_corpus
from nvv.inference import ModelError, detection_report, load_classifier
from nvv.inference.classify import classify_clips
from nvv.inference.detect_arguments import DetectArguments
from nvv.inference.operating_points import choose_operating_point, default_output_dir, store_operating_point
from nvv.metrics.calibration import expected_calibration_error, fit_temperature
from nvv.metrics.thresholds import FIXED_THRESHOLDS, ThresholdError
from nvv.training.arguments import ArgumentsError, DataArguments
from nvv.training.checkpoints import OutputFolderError
from nvv.training.dataset import ClipDataset

METHODS = ("frozen", "full", "lora")
CARD = "README.md"

# Runs with `nvv` made unimportable, as on a machine that never saw it.
PLAIN = """
import json, sys
sys.modules["nvv"] = None
import torch
from transformers import AutoModelForAudioClassification, pipeline

results = {}
clips = torch.load(sys.argv[1])
for folder in sys.argv[2:]:
    name = AutoModelForAudioClassification
    as_saved = name.from_pretrained(folder, trust_remote_code=True)
    applied = name.from_pretrained(folder, trust_remote_code=True, apply_operating_point="laugh")
    at = applied.config.label2id["laugh"]
    with torch.no_grad():
        detected = [bool(as_saved.detect(clip[None])) for clip in clips]
        logits = [applied(clip[None]).logits[0] for clip in clips]
        scores = [as_saved(clip[None]).logits[0].softmax(-1)[at].item() for clip in clips]
    settings = {"trust_remote_code": True, "model_kwargs": {"apply_operating_point": "laugh"}}
    classify = pipeline("audio-classification", model=folder, **settings)
    answers = [classify({"array": clip.numpy(), "sampling_rate": 16_000}, top_k=None) for clip in clips]
    results[folder] = {
        "detect": detected,
        "forward": [bool(row.softmax(-1)[at] >= 0.5) for row in logits],
        "most_probable": [int(row.argmax()) == at for row in logits],
        "pipeline": [{a["label"]: a["score"] for a in answer}["laugh"] >= 0.5 for answer in answers],
        "first_answer": [answer[0]["label"] == "laugh" for answer in answers],
        "scores": scores,
    }
assert not any(name.startswith("nvv") for name, module in sys.modules.items() if module is not None)
print(json.dumps(results))
"""


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def read_rows(path, split=None):
    with path.open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if split in (None, row.get("split"))]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture
def chosen(corpus_folder, tmp_path, monkeypatch):
    """Choose an operating point for a model on the tones; fields of both groups. Draws pictures only when asked to."""

    def make(model, *, output_dir="detector", draws=False, **fields):
        if not draws:
            monkeypatch.setattr(detection_report, "write_detection_plots", lambda *args, **settings: [])
        names = DataArguments.__dataclass_fields__
        data = {name: fields.pop(name) for name in list(fields) if name in names}
        data = {"corpus": str(corpus_folder), "data_cache_dir": str(tmp_path / "cache"), **data}
        settings = {"label": "laugh", "num_bootstrap_resamples": 20, "num_workers": 0, **fields}
        arguments = DetectArguments(model=str(model), output_dir=str(tmp_path / output_dir), **settings)
        return choose_operating_point(arguments, DataArguments(**data))

    return make


@pytest.fixture
def clips_of(corpus_folder, tmp_path):
    """The clips of a split, as the model is given them."""

    def make(split):
        corpus = load_corpus(str(corpus_folder), cache_dir=tmp_path / "cache")
        return ClipDataset(corpus[split], max_seconds=2.0)

    return make


@pytest.fixture
def run(run_folder):
    """Train a tiny run far enough that its classes differ, with a method and other options."""

    def make(method="lora", *options, name="run"):
        return run_folder("--method", method, "--learning_rate", "1e-2", *options, name=name)

    return make


def decide(model, clips):
    with torch.no_grad():
        return [model.detect(torch.from_numpy(clips[at]["input_values"])[None]).item() for at in range(len(clips))]


@pytest.mark.parametrize("method", ["lora", *(pytest.param(name, marks=pytest.mark.slow) for name in METHODS[:2])])
def test_stored_point_decides_every_clip_as_the_table_counted(run, chosen, clips_of, method):
    folder = run(method)
    before = contents(folder)
    result = chosen(folder, wanted_recall=0.6)
    assert result.stored_in == folder
    after = contents(folder)
    assert {name for name in after if after[name] != before.get(name)} == {"config.json", CARD}
    assert after.keys() == before.keys()
    changed = json.loads(after["config.json"])
    original = json.loads(before["config.json"])
    assert {name for name in changed if changed[name] != original.get(name)} == {
        "calibration_temperature",
        "operating_points",
    }
    model = NvvForAudioClassification.from_pretrained(folder)
    for split in ("validation", "test"):
        rows = read_rows(result.output_dir / "detections.csv", split)
        is_detected = decide(model, clips_of(split))
        assert [str(value) for value in is_detected] == [row["is_detected"] for row in rows]
        row = result.report["splits"][split]["operating_point"]
        is_laugh = clips_of(split).labels == 0
        assert row["true_positives"] == sum(np.array(is_detected) & is_laugh)
        assert row["false_positives"] == sum(np.array(is_detected) & ~is_laugh)
    validation = result.report["splits"]["validation"]["operating_point"]
    assert validation["recall"] >= 0.6


def test_tables_are_those_of_scikit_learn(run, chosen):
    result = chosen(run())
    for split in ("validation", "test"):
        detections = read_rows(result.output_dir / "detections.csv", split)
        is_laugh = np.array([row["corpus_label"] == "laugh" for row in detections])
        assert [row["is_positive"] for row in detections] == [str(value) for value in is_laugh]
        scores = np.array([float(row["score"]) for row in detections])
        table = read_rows(result.output_dir / f"thresholds_{split}.csv")
        assert [float(row["threshold"]) for row in table] == list(FIXED_THRESHOLDS)
        for row in table:
            answers = scores >= float(row["threshold"])
            assert float(row["accuracy"]) == sklearn.metrics.accuracy_score(is_laugh, answers)
            assert float(row["recall"]) == pytest.approx(sklearn.metrics.recall_score(is_laugh, answers))
            assert int(row["false_positives"]) == sum(answers & ~is_laugh)
            assert int(row["false_negatives"]) == sum(~answers & is_laugh)
            if answers.any():
                assert float(row["precision"]) == pytest.approx(sklearn.metrics.precision_score(is_laugh, answers))
                assert float(row["f1"]) == pytest.approx(sklearn.metrics.f1_score(is_laugh, answers))
            else:
                assert row["precision"] == ""
        precision, recall, thresholds = sklearn.metrics.precision_recall_curve(is_laugh, scores)
        curve = read_rows(result.output_dir / f"curve_{split}.csv")
        assert [float(row["threshold"]) for row in curve] == thresholds.tolist()
        assert [float(row["precision"]) for row in curve] == pytest.approx(precision[:-1])
        assert [float(row["recall"]) for row in curve] == pytest.approx(recall[:-1])
        ranking = result.report["splits"][split]["scores"]
        assert ranking["roc_auc"]["value"] == pytest.approx(sklearn.metrics.roc_auc_score(is_laugh, scores))
        assert ranking["roc_auc"]["speaker_low"] <= ranking["roc_auc"]["value"]


def test_temperature_and_errors_are_those_of_the_logits(run, chosen, clips_of):
    folder = run()
    classifier = load_classifier(str(folder))
    clips = clips_of("validation")
    logits = classify_clips(classifier.model, classifier.feature_extractor, clips, num_workers=0, show_progress=False)
    result = chosen(folder)
    fit = fit_temperature(logits, clips.labels)
    calibration = result.report["calibration"]
    assert calibration["temperature"] == pytest.approx(1.0 if fit.is_at_limit else fit.temperature, rel=1e-4)
    assert calibration["is_fitted"] is not fit.is_at_limit
    for name, temperature in (("before", 1.0), ("after", calibration["temperature"])):
        probabilities = softmax(logits.astype(np.float64) / temperature, axis=1)
        expected = expected_calibration_error(probabilities[:, 0], clips.labels == 0)
        found = calibration["splits"]["validation"]
        assert found["label"]["equal_width"][name] == pytest.approx(expected, abs=1e-5)
        likelihood = sklearn.metrics.log_loss(clips.labels, probabilities, labels=[0, 1, 2])
        assert found["nll"][name] == pytest.approx(likelihood, abs=1e-5)
    stored = NvvForAudioClassification.from_pretrained(folder)
    with torch.no_grad():
        divided = stored(torch.from_numpy(clips[0]["input_values"])[None]).logits[0]
    assert divided.tolist() == pytest.approx(logits[0] / calibration["temperature"], abs=1e-5)


def test_files_hold_the_report_and_say_what_it_is_worth(run, chosen, tmp_path):
    result = chosen(run(), draws=True)
    assert {path.name for path in result.output_dir.iterdir()} == {
        *("operating_point.json", "operating_point.md", "detections.csv"),
        *(f"{kind}_{split}.csv" for kind in ("thresholds", "curve") for split in ("validation", "test")),
        *("precision_recall.png", "roc.png", "reliability.png"),
    }
    assert read_json(result.output_dir / "operating_point.json") == json.loads(json.dumps(result.report))
    text = (result.output_dir / "operating_point.md").read_text(encoding="utf-8")
    assert "**Computed sounds: no evidence about people's voices.**" in text
    model = {**result.report["model"], "random_init": True}
    assert "The encoder has random weights: no evidence" in detection_report.render_report(
        {**result.report, "model": model}
    )
    assert f"**{result.report['threshold']}**" in text
    assert "chosen on 3 clips to be detected" in text
    everything = text + json.dumps(result.report)
    assert str(tmp_path) not in everything  # where things lie on this machine
    assert result.report["front_end"]["max_seconds"] == 2.0
    assert result.report["front_end"]["precision"] == "fp32"


def test_nothing_is_stored_when_only_the_report_is_wanted(run, chosen):
    folder = run()
    before = contents(folder)
    result = chosen(folder, store_in_model=False)
    assert contents(folder) == before
    assert result.stored_in is None
    assert "Not stored in the model" in (result.output_dir / "operating_point.md").read_text(encoding="utf-8")
    checkpoint = next(folder.glob("checkpoint-*"))
    chosen(checkpoint, output_dir="of_checkpoint", store_in_model=False)
    with pytest.raises(ModelError, match=r"has no config.json to store in"):
        chosen(checkpoint, output_dir="other")


def test_second_label_keeps_the_temperature_of_the_first(run, chosen):
    folder = run()
    chosen(folder)
    first = NvvConfig.from_pretrained(folder)
    first.calibration_temperature = 1.7  # so that a fit would be seen
    first.operating_points["laugh"]["temperature"] = 1.7
    first.save_pretrained(folder)
    result = chosen(folder, label="sigh", output_dir="sigh")
    assert "with which the operating points of laugh were chosen" in result.report["calibration"]["note"]
    both = NvvConfig.from_pretrained(folder)
    assert both.calibration_temperature == 1.7
    assert both.operating_points["laugh"] == first.operating_points["laugh"]
    assert both.operating_points["sigh"]["temperature"] == 1.7
    chosen(folder, label="sigh", output_dir="sigh", replace_operating_points=True)
    alone = NvvConfig.from_pretrained(folder)
    assert list(alone.operating_points) == ["sigh"]
    assert alone.calibration_temperature != 1.7
    stale = {**result.report, "label": "cough", "calibration": {**result.report["calibration"], "temperature": 3.0}}
    with pytest.raises(ModelError, match="operating points of sigh were chosen at another temperature"):
        store_operating_point(folder, stale)
    assert NvvConfig.from_pretrained(folder).operating_points == alone.operating_points


def test_calibration_of_the_same_model_is_the_same_again(run, chosen):
    folder = run()
    first = chosen(folder).report
    again = chosen(folder).report  # from a model that has a temperature and an operating point
    assert again == first


def test_rule_and_thresholds_are_those_asked_for(run, chosen):
    folder = run()
    result = chosen(folder, max_false_positives=3, thresholds=[0.4, 0.2], calibrate=False)
    assert result.report["rule"] == "false positives <= 3"
    assert result.report["splits"]["validation"]["operating_point"]["false_positives"] <= 3
    assert [row["threshold"] for row in result.report["splits"]["test"]["table"]] == [0.4, 0.2]
    assert result.report["calibration"]["temperature"] == 1
    assert NvvConfig.from_pretrained(folder).operating_points["laugh"]["rule"] == "false positives <= 3"


def test_precision_of_bfloat16_is_stored_with_the_point(run, chosen):
    folder = run()
    chosen(folder, bf16=True)
    assert NvvConfig.from_pretrained(folder).operating_points["laugh"]["front_end"]["precision"] == "bf16"


@pytest.mark.slow
def test_detector_of_two_classes_is_held_against_the_corpus_with_all(run, chosen):
    folder = run("lora", "--positive_labels", "laugh", "cough")
    result = chosen(folder, label="laugh+cough")
    assert result.report["corpus"]["positive_labels"] == ["laugh", "cough"]
    test = result.report["splits"]["test"]
    assert test["num_positives"] == 6  # of nine clips of three classes
    relabelled = chosen(folder, label="laugh+cough", output_dir="other", positive_labels=["laugh", "cough"])
    assert relabelled.report["splits"]["test"] == test
    assert relabelled.report["corpus"]["positive_labels"] == ["laugh", "cough"]


def test_stock_model_has_a_report_only(stock_folder, chosen):
    folder = stock_folder("wav2vec2", labels=("giggle", "breath", "sneeze"))
    with pytest.raises(ModelError, match="is no repository of nvv"):
        chosen(folder, label="giggle")
    settings = {"label": "giggle", "store_in_model": False}
    with pytest.raises(ArgumentsError, match=r"'giggle' is no class.*laugh, sigh, cough.*--positive_labels"):
        chosen(folder, **settings)
    with pytest.raises(ArgumentsError, match=r"the corpus has others\. Pass --calibrate false"):
        chosen(folder, **settings, positive_labels=["laugh"])
    result = chosen(folder, **settings, positive_labels=["laugh"], calibrate=False)
    assert result.report["splits"]["test"]["num_positives"] == 3
    assert result.report["calibration"]["splits"]["test"]["nll"] is None
    assert result.report["front_end"] == {"sampling_rate": 16_000, "max_seconds": None, "precision": "fp32"}


def test_other_front_end_than_the_stored_one_is_refused(run, chosen, clips_of):
    folder = run()
    chosen(folder)
    model = NvvForAudioClassification.from_pretrained(folder, max_seconds=1.0)
    with pytest.raises(ValueError, match=r"max_seconds 1\.0 instead of 2\.0"):
        decide(model, clips_of("test"))


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"label": "giggle"}, ArgumentsError, "expected one of the model's, laugh, sigh, cough; found 'giggle'"),
        ({"wanted_precision": 1.5}, ArgumentsError, "wanted_precision: expected a share"),
        ({"wanted_precision": 0.5, "wanted_recall": 0.5}, ArgumentsError, "one of these at most"),
        ({"thresholds": [0.5, 1.0]}, ArgumentsError, "thresholds: expected numbers between 0 and 1"),
        ({"replace_operating_points": True, "calibrate": False}, ArgumentsError, "has no effect without calibrate"),
        ({"num_bootstrap_resamples": 0}, ArgumentsError, "at least 1"),
        ({"num_workers": -1}, ArgumentsError, "num_workers: expected 0 or more"),
        ({"max_batch_seconds": 0}, ArgumentsError, "max_batch_seconds: expected more than 0"),
        ({"device": "tpu"}, ArgumentsError, "device: 'tpu' cannot be used here"),
        ({"max_train_clips": 3}, ArgumentsError, "max_train_clips: 3 has no effect"),
        ({"mixup_alpha": 0.4}, ArgumentsError, "mixup_alpha: 0.4 is for training"),
        ({"target_columns": ["label"]}, ArgumentsError, "has no effect on a detector"),
        ({"model": "nobody/laughter"}, ModelError, r"Download a model that is on the Hub first.*nobody/laughter"),
        ({"max_evaluation_clips": 1}, ThresholdError, "laugh on validation: .* found [01] of the class among 1"),
    ],
)
def test_error_says_what_to_mend_and_nothing_is_written(run, chosen, tmp_path, fields, error, message):
    folder = run()
    before = contents(folder)
    with pytest.raises(error, match=message):
        chosen(**{"model": folder, **fields})
    assert contents(folder) == before
    assert not (tmp_path / "detector").exists()


def test_folder_of_something_else_is_not_written_over(run, chosen, tmp_path):
    folder = run()
    for occupied in ("run", "cache_of_run"):
        if occupied != "run":
            shutil.copytree(folder, tmp_path / occupied)
            (tmp_path / occupied / "config.json").unlink()
        with pytest.raises(OutputFolderError, match="holds a model, a run or an evaluation"):
            chosen(folder, output_dir=occupied, overwrite_output_dir=True)
    chosen(folder)
    with pytest.raises(OutputFolderError, match="another operating point, which differs in: label, corpus"):
        chosen(folder, label="sigh")
    chosen(folder, label="sigh", overwrite_output_dir=True)
    assert read_json(tmp_path / "detector" / "operating_point.json")["label"] == "sigh"
    (tmp_path / "detector" / "operating_point.json").write_text("{")
    with pytest.raises(OutputFolderError, match="differs in: format"):
        chosen(folder)


def test_failure_leaves_the_report_and_the_model_as_they_were(run, chosen, monkeypatch, tmp_path):
    folder = run()
    chosen(folder)
    before = contents(folder), contents(tmp_path / "detector")

    def fail(*args, **settings):
        raise OSError("the disk is full")

    monkeypatch.setattr(detection_report, "render_report", fail)
    with pytest.raises(OSError, match="disk is full"):
        chosen(folder, wanted_recall=1.0)
    assert (contents(folder), contents(tmp_path / "detector")) == before
    assert not list((tmp_path / "detector").glob(".incomplete*"))


def test_output_folder_is_named_after_label_model_and_corpus():
    values = {"model": "runs/evaluate/checkpoint-3", "label": "laugh + cough", "corpus": "nvv/vivae"}
    assert default_output_dir(values) == "runs/detect_laugh___cough_evaluate_checkpoint-3_vivae"


@pytest.mark.slow
def test_plain_transformers_applies_the_stored_point_when_asked(run, chosen, clips_of, tmp_path, run_elsewhere):
    expected, folders = {}, []
    for method in METHODS:
        folder = run(method, name=f"run_{method}")
        result = chosen(folder, output_dir=f"detector_{method}")
        expected[str(folder)] = read_rows(result.output_dir / "detections.csv")
        folders.append(str(folder))
    clips = [
        torch.from_numpy(part[at]["input_values"])
        for part in (clips_of("validation"), clips_of("test"))
        for at in range(len(part))
    ]
    torch.save(clips, tmp_path / "clips.pt")
    answers = run_elsewhere(PLAIN, tmp_path / "clips.pt", *folders)
    for folder, found in answers.items():
        rows = expected[folder]
        is_detected = [row["is_detected"] == "True" for row in rows]
        assert 0 < sum(is_detected) < len(rows)
        for way in ("detect", "forward", "most_probable", "pipeline", "first_answer"):
            assert found[way] == is_detected, (folder, way)
        assert found["scores"] == pytest.approx([float(row["score"]) for row in rows], abs=1e-4)
