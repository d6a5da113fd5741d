from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from audmetric import concordance_cc
from sklearn.metrics import f1_score
from transformers import Wav2Vec2FeatureExtractor

from nvv.data import load_corpus
from nvv.hub.repository import save_repository
from nvv.inference import ReportFacts, robustness, robustness_report, robustness_tables, write_robustness
from nvv.inference.classify import classify_clips
from nvv.inference.corruptions import CORRUPTIONS, CorruptedClips
from nvv.training.arguments import ArgumentsError
from nvv.training.dataset import ClipDataset
from nvv.training.tasks import TaskSpec

FACTS = ReportFacts(model="runs/tiny", corpus="Tones", protocol="speaker", is_random=True, is_synthetic=True)
FEW = {"conditions": ["noise", "telephone"], "severities": {"noise": [20, -10]}}
RECIPE = Path(__file__).parents[2] / "recipes" / "evaluate.py"


@pytest.fixture
def clips(tones):
    return ClipDataset(tones(18), max_seconds=1.0, memory_mebibytes=10)


@pytest.fixture
def extractor():
    return Wav2Vec2FeatureExtractor(do_normalize=False)


@pytest.fixture
def model(tiny_model, tiny_backbone_config):
    labels = {0: "sigh", 1: "cough", 2: "laugh"}  # another order than the clips'
    return tiny_model(tiny_backbone_config("whisper"), id2label=labels)


@pytest.fixture
def report_of(model, extractor, clips):
    """Report on the tiny model with few conditions."""

    def make(**options):
        options = {**FEW, "num_resamples": 50, "num_workers": 0, "show_progress": False, **options}
        return robustness_report(model, extractor, clips, **options)

    return make


@pytest.fixture
def counted(monkeypatch):
    """Count the passes over the clips, and break off after as many as told."""
    passes = []

    def count(model, feature_extractor, clips, **options):
        if len(passes) == passes_at_most[0]:
            raise KeyboardInterrupt
        passes.append(getattr(clips, "_severity", "clean"))
        return classify_clips(model, feature_extractor, clips, **options)

    passes_at_most = [99]
    monkeypatch.setattr(robustness, "classify_clips", count)
    return passes, passes_at_most


def test_scores_are_those_of_the_corrupted_clips(report_of, model, extractor, clips):
    report = report_of()
    true = np.array([[2, 0, 1][label] for label in clips.labels])  # laugh, sigh, cough in the model's order

    def macro_f1(what):
        logits = classify_clips(model, extractor, what, num_workers=0, show_progress=False)
        return f1_score(true, logits.argmax(axis=1), average="macro")

    clean = macro_f1(clips)
    assert report.clean["macro_f1"]["value"] == pytest.approx(clean)
    assert [(one.corruption, one.severity) for one in report.conditions] == [
        ("noise", 20.0),
        ("noise", -10.0),
        ("telephone", None),
    ]
    for condition in report.conditions:
        what = CorruptedClips(clips, corruption=CORRUPTIONS[condition.corruption], severity=condition.severity)
        score = condition.scores["macro_f1"]
        assert score["value"] == pytest.approx(macro_f1(what))
        assert score["difference"] == pytest.approx(score["value"] - clean)
        assert score["difference_low"] <= score["difference"] <= score["difference_high"]
    assert any(condition.scores["accuracy"]["difference"] for condition in report.conditions)
    assert (report.num_clips, report.num_speakers, report.interval["unit"]) == (18, 4, "clip")


def test_models_with_targets_are_scored_by_ccc(tiny_model, tiny_backbone_config, extractor, tones):
    split = tones(12)
    for at, name in enumerate(("calm", "fear")):
        split = split.add_column(name, np.random.default_rng(at).uniform(size=12).astype(np.float32))
    outputs = ("calm", "fear")
    task = {"name": "feelings", "kind": "regression", "loss": "ccc", "weight": 1.0, "class_weights": None}
    model = tiny_model(
        tiny_backbone_config("whisper"), tasks=[{**task, "outputs": list(outputs)}], id2label=dict(enumerate(outputs))
    )
    spec = TaskSpec(name="feelings", kind="regression", outputs=outputs, columns=outputs, loss="ccc")
    clips = ClipDataset(split, max_seconds=1.0, tasks=[spec])
    options = {"conditions": ["gain"], "num_resamples": 20, "show_progress": False, "num_workers": 0}
    report = robustness_report(model, extractor, clips, **options)
    assert list(report.score_names) == ["ccc", "pearson", "mae"]
    logits = classify_clips(model, extractor, clips, num_workers=0, show_progress=False)
    expected = [concordance_cc(split[name][:], logits[:, at]) for at, name in enumerate(outputs)]
    assert report.clean["ccc/fear"]["value"] == pytest.approx(expected[1], abs=1e-6)
    assert report.clean["ccc"]["value"] == pytest.approx(np.mean(expected), abs=1e-6)
    turned = TaskSpec(name="feelings", kind="regression", outputs=outputs[::-1], columns=outputs[::-1], loss="ccc")
    with pytest.raises(ArgumentsError, match=r"expected the model's tasks \(feelings: calm, fear\)"):
        robustness_report(model, extractor, ClipDataset(split, max_seconds=1.0, tasks=[turned]), **options)


def test_interrupted_report_goes_on_and_ends_alike(report_of, counted, tmp_path):
    passes, at_most = counted
    whole = report_of()
    passes.clear()
    at_most[0] = 2  # clean, and the first condition
    with pytest.raises(KeyboardInterrupt):
        report_of(keep_in=tmp_path / "kept")
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["noise_20.safetensors"]
    passes.clear()
    at_most[0] = 99
    again = report_of(keep_in=tmp_path / "kept")
    assert passes == ["clean", -10.0, None]
    assert again == whole


def test_finished_passes_of_another_model_or_seed_are_not_taken(report_of, counted, model, tmp_path):
    passes, _ = counted
    for change in ("nothing", "seed", "weights"):
        passes.clear()
        if change == "weights":
            with torch.no_grad():
                model.head.classifier.bias += 0.01
        report_of(keep_in=tmp_path / "kept", seed=int(change == "seed"))
        assert len(passes) == 4
    passes.clear()
    report_of(keep_in=tmp_path / "kept")
    assert passes == ["clean"]


def test_other_code_or_codecs_make_other_passes(report_of, counted, tmp_path, monkeypatch):
    passes, _ = counted
    report_of(keep_in=tmp_path / "kept")
    passes.clear()
    telephone = CORRUPTIONS["telephone"]
    other = dataclasses.replace(telephone, apply=lambda *arguments: 0.5 * telephone.apply(*arguments))
    monkeypatch.setitem(CORRUPTIONS, "telephone", other)
    report_of(keep_in=tmp_path / "kept")
    assert passes == ["clean", None]


def test_clean_clips_are_not_heard_again_where_their_logits_are_known(report_of, counted, model, extractor, clips):
    passes, _ = counted
    logits = classify_clips(model, extractor, clips, num_workers=0, show_progress=False)
    report = report_of(clean_logits=logits)
    assert passes == [20.0, -10.0, None]
    assert report == report_of()


def test_files_hold_the_scores_and_say_that_they_are_no_result(report_of, tmp_path):
    report = report_of()
    files = write_robustness(tmp_path / "report", {"validation": report, "test": report}, facts=FACTS)
    assert {file.name for file in files} == {path.name for path in (tmp_path / "report").iterdir()}
    assert "robustness_validation.png" in {file.name for file in files}
    assert files[-1].read_bytes().startswith(b"\x89PNG")
    table = pd.read_csv(tmp_path / "report" / "robustness.csv").query("split == 'test' and score == 'uar'")
    assert list(table["condition"]) == ["clean", "noise", "noise", "telephone"]
    row = table.query("severity == -10").iloc[0]
    expected = report.conditions[1].scores["uar"]
    assert row[list(expected)].to_dict() == pytest.approx(expected)
    assert row["unit"] == "dB SNR"
    text = (tmp_path / "report" / "robustness.md").read_text(encoding="utf-8")
    assert "> The model's encoder has random weights: these scores are no result." in text
    assert "> The sounds are computed: these scores say nothing about people's voices." in text
    value = f"{100 * report.conditions[0].scores['macro_f1']['value']:.1f} ["
    assert f"| white noise | 20 dB SNR | {value}" in text
    content = json.loads((tmp_path / "report" / "robustness.json").read_text(encoding="utf-8"))
    assert content["notes"] == FACTS.notes
    assert content["splits"]["test"]["conditions"][2]["corruption"] == "telephone"


def test_change_is_bold_only_where_its_interval_leaves_out_zero(report_of):
    report = report_of()
    scores = {
        "macro_f1": {
            **dict.fromkeys(("value", "low", "high"), 0.4),
            "difference": -0.1,
            "difference_low": -0.2,
            "difference_high": -0.01,
        }
    }
    conditions = [robustness.ConditionScores(corruption="noise", severity=10.0, scores=scores)]
    scores = {"macro_f1": {**scores["macro_f1"], "difference_high": 0.0}}
    conditions.append(robustness.ConditionScores(corruption="noise", severity=5.0, scores=scores))
    fields = {**vars(report), "score_names": ["macro_f1"], "conditions": conditions}
    lines = robustness_tables.robustness_markdown({"test": type(report)(**fields)}, facts=FACTS).splitlines()
    assert lines[-2].endswith("| **−10.0 [−20.0, −1.0]** |")
    assert lines[-1].endswith("| −10.0 [−20.0, +0.0] |")


# ----------------------------------------------------------------------------------------------------------------------
# From the evaluation
# ----------------------------------------------------------------------------------------------------------------------


def test_evaluation_writes_both_reports_beside_its_results(run_folder, evaluated):
    folder = run_folder("--method", "lora")
    options = {"robustness_conditions": ["gain"], "robustness_severities": {"gain": [-30, 30]}}
    plain = evaluated(folder)
    result = evaluated(folder, robustness=True, by=["speaker"], draws=True, **options)
    table = pd.read_csv(result.output_dir / "robustness.csv")
    clean = table.query("condition == 'clean' and score == 'macro_f1'").iloc[0]
    assert clean["value"] == pytest.approx(result.metrics["splits"]["test"]["scores"]["macro_f1"]["value"])
    assert result.metrics["splits"] == plain.metrics["splits"]
    assert [str(path) for path in result.reports] == ["robustness.md", "groups.md"]
    names = {path.name for path in result.output_dir.iterdir()}
    assert {"robustness.png", "groups.png", "groups.csv", "confusion_matrix.png", "metrics.json"} <= names
    assert not any(name.startswith(".") for name in names)
    evaluated(folder)  # the same evaluation once more, without reports: they are still right
    assert (result.output_dir / "robustness.csv").is_file()
    evaluated(folder, splits=["validation"], overwrite_output_dir=True)
    assert not list(result.output_dir.glob("robustness*")) + list(result.output_dir.glob("groups*"))


def test_clips_are_corrupted_alike_for_models_with_fewer_labels(stock_folder, evaluated, monkeypatch):
    heard = {}

    def keep(clips, index, *, real=CorruptedClips.__getitem__):
        found = real(clips, index)
        heard.setdefault(clips.files[index], []).append(found["input_values"])
        return found

    monkeypatch.setattr(CorruptedClips, "__getitem__", keep)
    options = {"robustness": True, "robustness_conditions": ["babble"], "robustness_severities": {"babble": [0]}}
    evaluated(stock_folder("wav2vec2"), **options)
    some = stock_folder("wav2vec2", labels=("sigh", "laugh"), name="some")
    result = evaluated(some, label_map={"sigh": "sigh", "laugh": "laugh"}, output_dir="some_labels", **options)
    assert result.metrics["splits"]["test"]["num_clips"] == 6
    assert len(heard) == 9
    for waveforms in heard.values():
        for other in waveforms[1:]:
            np.testing.assert_array_equal(other, waveforms[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"robustness_conditions": ["noise"]},
            r"robustness_conditions: \['noise'\] has no effect without --robustness",
        ),
        ({"robustness_seed": 3}, "robustness_seed: 3 has no effect without --robustness"),
        ({"robustness_severities": {"noise": [3]}}, "robustness_severities: .* has no effect without --robustness"),
        ({"robustness": True, "robustness_conditions": ["hiss"]}, "expected some of noise, babble"),
        ({"robustness": True, "robustness_severities": "[3]"}, "robustness_severities: expected a JSON object"),
        ({"robustness": True, "robustness_seed": -1}, "robustness_seed: expected 0 or more"),
        ({"by": ["sex", "sex"]}, "by: expected columns, each once"),
        ({"by": ["speakr"]}, "by: the corpus has no column 'speakr'; there are speaker_id. Did you mean"),
        ({"by": ["label"]}, "by: 'label' makes no groups"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(stock_folder, evaluated, tmp_path, options, message):
    with pytest.raises(ArgumentsError, match=message):
        evaluated(stock_folder("wav2vec2"), **options)
    assert not (tmp_path / "evaluation").exists()


@pytest.mark.realdata
def test_reports_on_real_recordings_know_their_groups(tiny_model, tiny_backbone_config, real_data, evaluated, tmp_path):
    raw = str(real_data / "nonverbal_vocalization")
    corpus = load_corpus("nonverbal_vocalization", data_dir=raw, cache_dir=str(tmp_path / "cache"))
    labels = corpus["test"].features["label"].names
    model = tiny_model(tiny_backbone_config("whisper"), id2label=dict(enumerate(labels)))
    save_repository(model, Wav2Vec2FeatureExtractor(do_normalize=False), tmp_path / "model")
    corpus = {"corpus": "nonverbal_vocalization", "data_dir": raw}
    options = {"robustness_conditions": ["telephone"], "by": ["sex", "age_band"], "draws": True}
    result = evaluated(tmp_path / "model", robustness=True, **corpus, **options)
    table = pd.read_csv(result.output_dir / "groups.csv").query("score == 'uar'")
    assert list(table["group"]) == ["female", "male", "0–17", "18–29", "30–44"]
    # In the file names of the test split of the protocol `speaker`: 55 clips by women, 18 by men.
    assert list(table["num_clips"])[:2] == [55, 18]
    assert table["num_clips"].sum() == 2 * result.metrics["splits"]["test"]["num_clips"]
    assert len(pd.read_csv(result.output_dir / "robustness.csv")) == 2 * 3


@pytest.mark.slow
def test_killed_recipe_goes_on_where_it_was(run_folder, corpus_folder, tmp_path):
    folder = run_folder("--method", "lora")
    command = [
        *(sys.executable, str(RECIPE), "--model", str(folder), "--corpus", str(corpus_folder), "--robustness"),
        *("--data_cache_dir", str(tmp_path / "cache"), "--num_bootstrap_resamples", "20", "--by", "speaker"),
        *("--output_dir", str(tmp_path / "out"), "--robustness_conditions", "noise,babble,gain,low_pass,shift"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    kept = tmp_path / "out" / ".unfinished_robustness" / "test"
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and len(list(kept.glob("*.safetensors"))) < 2:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out" / "metrics.json").exists()
    finished = {path.name: path.stat().st_mtime_ns for path in kept.glob("noise_*.safetensors")}
    assert finished
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert f"robustness.md: {tmp_path / 'out' / 'robustness.md'}" in done.stdout
    assert not (tmp_path / "out" / ".unfinished_robustness").exists()
    assert len(pd.read_csv(tmp_path / "out" / "robustness.csv")) == 3 * (1 + 5 + 5 + 5 + 4 + 4)
