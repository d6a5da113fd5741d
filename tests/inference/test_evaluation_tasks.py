from __future__ import annotations

import csv
import json

import datasets
import numpy as np
import pytest
from audmetric import concordance_cc
from sklearn.metrics import recall_score
from transformers import Wav2Vec2FeatureExtractor

from nvv.data import load_corpus
from nvv.hub.repository import save_repository
from nvv.inference import ModelError, classify_clips, load_classifier
from nvv.training.arguments import ArgumentsError
from nvv.training.dataset import ClipDataset

FEELINGS = {"name": "feelings", "kind": "regression", "outputs": ["Calm", "Fear"], "loss": "ccc", "weight": 1.0}
KIND = {"name": "kind", "kind": "classification", "outputs": ["sigh", "cough", "laugh"], "loss": "cross_entropy"}


@pytest.fixture
def model_with(tiny_model, tiny_backbone_config, tmp_path):
    """Save a tiny model with these tasks and return its folder."""

    def make(*tasks, name="tasked"):
        tasks = [{"weight": 1.0, "class_weights": None, **task} for task in tasks]
        names = [
            output if len(tasks) == 1 else f"{task['name']}/{output}" for task in tasks for output in task["outputs"]
        ]
        model = tiny_model(tiny_backbone_config("whisper"), tasks=tasks, id2label=dict(enumerate(names)))
        save_repository(model, Wav2Vec2FeatureExtractor(do_normalize=False), tmp_path / name)
        return tmp_path / name

    return make


@pytest.fixture
def with_columns(corpus_folder):
    """Add columns to every split of the tones' corpus."""

    def add(**columns):
        for split in ("train", "validation", "test"):
            clips = datasets.Dataset.from_parquet(str(corpus_folder / f"{split}.parquet"), keep_in_memory=True)
            for name, make in columns.items():
                clips = clips.add_column(name, make(len(clips)))
            clips.to_parquet(corpus_folder / f"{split}.parquet")
        return corpus_folder

    return add


def _numbers(seed):
    return lambda num: np.random.default_rng(seed).uniform(size=num).astype(np.float32)


def _rows(file):
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_targets_are_matched_by_name_in_any_order(model_with, with_columns, evaluated, tmp_path):
    corpus = with_columns(Fear=_numbers(1), calm=_numbers(2), Anger=_numbers(3))
    folder = model_with(FEELINGS)
    result = evaluated(folder, draws=True)
    results = result.metrics["splits"]["test"]
    rows = _rows(result.output_dir / "predictions.csv")
    clips = load_corpus(str(corpus), cache_dir=tmp_path / "cache")["test"]
    assert result.metrics["evaluation"]["columns"] == {"feelings": {"Calm": "calm", "Fear": "Fear"}}
    expected = []
    for target, column in (("Calm", "calm"), ("Fear", "Fear")):
        true = np.array([float(row[f"reference_{target}"]) for row in rows])
        np.testing.assert_allclose(true, clips[column][:])
        expected.append(concordance_cc(true, [float(row[f"prediction_{target}"]) for row in rows]))
    # audmetric: an outside implementation of CCC; the score is the mean over targets
    assert results["scores"]["ccc"]["value"] == pytest.approx(np.mean(expected), abs=1e-6)
    assert (result.output_dir / "regression.png").is_file()
    assert not list(result.output_dir.glob("confusion_matrix*"))


def test_classes_of_a_task_are_renumbered_when_their_order_differs(model_with, evaluated, tmp_path):
    folder = model_with(KIND)
    result = evaluated(folder)
    rows = _rows(result.output_dir / "predictions.csv")
    true = ["laugh", "sigh", "cough"] * 3  # the test split's, in its order
    assert [row["label"] for row in rows] == true
    uar = recall_score(true, [row["predicted"] for row in rows], average="macro")
    assert result.metrics["splits"]["test"]["scores"]["uar"]["value"] == pytest.approx(uar)
    classifier = load_classifier(str(folder), allows_tasks=True)
    clips = ClipDataset(load_corpus(str(tmp_path / "tones"), cache_dir=tmp_path / "cache")["test"], max_seconds=3.0)
    logits = classify_clips(classifier.model, classifier.feature_extractor, clips, num_workers=0)
    assert [row["predicted"] for row in rows] == [KIND["outputs"][at] for at in logits.argmax(axis=1)]


def test_missing_columns_are_named_and_left_out_only_when_told_so(model_with, with_columns, evaluated):
    with_columns(Fear=_numbers(1))
    folder = model_with(FEELINGS, KIND)
    with pytest.raises(ArgumentsError, match=r"Missing are feelings: numbers Calm; it has .*--only_present_targets"):
        evaluated(folder)
    result = evaluated(folder, only_present_targets=True)
    scores = result.metrics["splits"]["test"]["scores"]
    of_tasks = result.metrics["splits"]["test"]["tasks"]
    assert of_tasks["feelings"]["num_references"] == 9
    assert not of_tasks["feelings"]["per_target"]["Calm"]  # no reference, no score
    assert of_tasks["feelings"]["scores"]["ccc"] == of_tasks["feelings"]["per_target"]["Fear"]["ccc"]
    assert scores["mean_score"]["value"] == pytest.approx(
        np.mean([scores["feelings_ccc"]["value"], scores["kind_uar"]["value"]])
    )
    assert result.warnings[-1] == (
        "The corpus has no column for feelings (Calm), which the model predicts: not scored."
    )
    assert {path.name for path in result.output_dir.glob("predictions*")} == {
        "predictions_feelings.csv",
        "predictions_kind.csv",
    }


def test_corpus_without_any_target_is_refused(model_with, evaluated):
    folder = model_with(FEELINGS)
    for options in ({}, {"only_present_targets": True}):
        with pytest.raises(ArgumentsError, match=r"lacks columns for what the model predicts\. Missing are feelings"):
            evaluated(folder, **options)


def test_options_without_effect_are_refused(model_with, with_columns, evaluated, run_folder):
    with_columns(Fear=_numbers(1), Calm=_numbers(2))
    folder = model_with(FEELINGS)
    with pytest.raises(ArgumentsError, match="only_present_targets: has no effect: the corpus has all"):
        evaluated(folder, only_present_targets=True)
    with pytest.raises(ArgumentsError, match="label_map: has no effect"):
        evaluated(folder, label_map={"Calm": "laugh"})
    with pytest.raises(ArgumentsError, match="mixup_alpha: has no effect in an evaluation"):
        evaluated(folder, mixup_alpha=0.4)
    classifier = run_folder("--method", "frozen")
    for name, value in (("only_present_targets", True), ("target_columns", ["Fear"])):
        with pytest.raises(ArgumentsError, match=rf"{name}: has no effect: the model answers with one of its classes"):
            evaluated(classifier, **{name: value})


def test_models_with_tasks_are_loaded_only_where_they_are_understood(model_with):
    with pytest.raises(ModelError, match="expected a classifier of two or more classes"):
        load_classifier(str(model_with(FEELINGS)))


@pytest.mark.slow
def test_a_run_on_targets_and_its_evaluation_agree(run_folder, with_columns, evaluated):
    with_columns(Fear=_numbers(1), Calm=_numbers(2))
    folder = run_folder("--target_columns", "Calm", "Fear", "--method", "lora")
    run = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    for model, output in ((folder, "whole"), (folder / "checkpoint-6", "checkpoint")):
        result = evaluated(model, output_dir=output)
        if output == "whole":
            found, expected = (one["splits"]["test"]["scores"]["ccc"] for one in (result.metrics, run))
            assert found["value"] == pytest.approx(expected["value"], abs=1e-4)
    (folder / "config.json").unlink()  # as in a run that has not ended: only its settings say what it predicts
    unfinished = evaluated(folder / "checkpoint-6", output_dir="unfinished")
    assert unfinished.metrics["tasks"][0]["outputs"] == ["Calm", "Fear"]


def test_table_of_ones_own_is_read_by_the_models_targets(model_with, corpus_folder, evaluated, tmp_path):
    folder = model_with(FEELINGS)
    clips = load_corpus(str(corpus_folder), cache_dir=tmp_path / "cache")
    lines = ["path,split,Calm,Fear,age"]
    audio = tmp_path / "sounds"
    audio.mkdir()
    for split, rows in clips.items():
        for at, cell in enumerate(rows.cast_column("audio", datasets.Audio(decode=False))["audio"]):
            name = f"{split}_{at}.wav"
            (audio / name).write_bytes(cell["bytes"])
            lines.append(f"sounds/{name},{split},{at / 10},{1 - at / 10},{20 + 7 * at}")
    (tmp_path / "feelings.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    options = {"corpus": str(tmp_path / "feelings.csv"), "audio_column": "path", "split_column": "split"}
    result = evaluated(folder, by=["age_band"], **options)
    references = [float(row["reference_Calm"]) for row in _rows(result.output_dir / "predictions.csv")]
    assert references == pytest.approx([at / 10 for at in range(9)])
    assert {row["group"] for row in _rows(result.output_dir / "groups.csv")} == {"18–29", "30–44", "45–59", "60+"}
