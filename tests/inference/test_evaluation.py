from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
from sklearn.metrics import f1_score
from transformers import pipeline

from nvv.data import load_corpus
from nvv.inference import LabelMapError, ModelError, evaluation, evaluation_folder
from nvv.inference.label_map import OTHER
from nvv.training.arguments import ArgumentsError
from nvv.training.checkpoints import OutputFolderError
from nvv.training.dataset import ClipDataset
from nvv.training.results import ResultsError

METHODS = [
    *("frozen", "full", "lora"),
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("partial", "adapter", "prompt", "combined", "peft")),
]
LABELS = ("laugh", "sigh", "cough")


def _metrics(folder):
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


def _rows(folder, *splits):
    with (folder / "predictions.csv").open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if not splits or row["split"] in splits]


def _check_same_predictions(rows, expected):
    assert len(rows) == len(expected) > 0
    for row, other in zip(rows, expected, strict=True):
        assert row.keys() == other.keys()
        for name, value in row.items():
            if name.startswith("probability_"):
                assert float(value) == pytest.approx(float(other[name]), abs=1e-4)
            else:
                assert value == other[name]


def _check_same_splits(metrics, expected):
    assert metrics.keys() == expected.keys()
    for split, results in metrics.items():
        for score, numbers in results["scores"].items():
            assert numbers == pytest.approx(expected[split]["scores"][score], abs=1e-9)
        for name in set(results) - {"scores"}:
            assert results[name] == expected[split][name]


@pytest.mark.parametrize("method", METHODS)
def test_scores_are_those_of_the_run_for_every_method(run_folder, evaluated, method):
    options = ("--peft_config", '{"peft_type": "IA3"}') if method == "peft" else ()
    folder = run_folder("--method", method, *options)
    trained = _metrics(folder)
    result = evaluated(folder, splits=["validation", "test"])
    metrics = _metrics(result.output_dir)
    assert metrics == json.loads(json.dumps(result.metrics))
    _check_same_splits(metrics["splits"], trained["splits"])
    _check_same_predictions(_rows(result.output_dir), _rows(folder))
    for name in ("format_version", "corpus", "backbone", "tuning", "training", "labels"):
        assert metrics[name] == trained[name]
    assert metrics["evaluation"]["warnings"] == []
    # The run's best checkpoint is what its folder holds.
    checkpoint = folder / f"checkpoint-{trained['training']['best_step']}"
    result = evaluated(checkpoint, output_dir="of_checkpoint")
    _check_same_splits(result.metrics["splits"], {"test": trained["splits"]["test"]})
    _check_same_predictions(_rows(result.output_dir), _rows(folder, "test"))
    assert result.metrics["tuning"] == trained["tuning"]
    assert result.metrics["training"] == trained["training"]
    assert result.metrics["evaluation"]["model"]["id"] == f"run/{checkpoint.name}"


def test_files_are_those_of_a_run(run_folder, evaluated):
    folder = run_folder("--method", "frozen")
    result = evaluated(folder, splits=["train", "test"], draws=True)
    expected = {"metrics.json", "predictions.csv", "confusion_matrix.png", "confusion_matrix_train.png"}
    assert {path.name for path in result.output_dir.iterdir()} == {*expected, "config_resolved.yaml"}
    text = "".join((result.output_dir / name).read_text() for name in ("metrics.json", "config_resolved.yaml"))
    assert str(folder.parent) not in text  # where things lie on this machine
    assert [row["split"] for row in _rows(result.output_dir)] == ["train"] * 24 + ["test"] * 9


@pytest.mark.slow
def test_checkpoint_that_is_not_the_best_is_itself(run_folder, evaluated):
    folder = run_folder("--method", "lora", "--learning_rate", "3e-2")
    trained = _metrics(folder)
    (other,) = {3, 6} - {trained["training"]["best_step"]}
    result = evaluated(folder / f"checkpoint-{other}")
    assert result.metrics["training"]["best_step"] == other
    assert result.metrics["training"]["best_epoch"] == other / 3
    assert result.metrics["training"]["best_validation_score"] is None
    probabilities = [float(row["probability_laugh"]) for row in _rows(result.output_dir)]
    of_best = [float(row["probability_laugh"]) for row in _rows(folder, "test")]
    assert np.abs(np.subtract(probabilities, of_best)).max() > 1e-3


@pytest.mark.parametrize("method", ["lora", pytest.param("frozen", marks=pytest.mark.slow)])
def test_checkpoint_of_a_run_that_has_not_ended_is_evaluated(run_folder, evaluated, method):
    folder = run_folder("--method", method, "--max_seconds", "0.3", "--random_init", "true", "--seed", "7")
    best = folder / f"checkpoint-{_metrics(folder)['training']['best_step']}"
    expected, tuning = _rows(folder, "test"), _metrics(folder)["tuning"]
    for path in folder.iterdir():
        if path.is_file() and path.name != "config_resolved.yaml":
            path.unlink()
    result = evaluated(best)
    _check_same_predictions(_rows(result.output_dir), expected)
    assert result.metrics["tuning"] == tuning
    assert result.metrics["training"]["seed"] == 7
    assert result.metrics["backbone"]["random_init"]
    assert result.metrics["evaluation"]["seen_in_training"]["is_same_corpus"]
    with pytest.raises(ModelError, match=r"holds an unfinished run; name one of checkpoint-3, checkpoint-6 in it"):
        evaluated(folder)


def test_unfinished_adapter_on_another_corpus_says_what_is_missing(run_folder, evaluated, corpus_folder):
    folder = run_folder("--method", "lora")
    bells = shutil.copytree(corpus_folder, corpus_folder.with_name("bells"))
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"has not ended.*\(tones\) says which labels"):
        evaluated(folder / "checkpoint-3", corpus=str(bells))


@pytest.mark.parametrize("kind", ["whisper", "wav2vec2", "audio-spectrogram-transformer"])
def test_stock_model_answers_as_in_the_pipeline(stock_folder, evaluated, corpus_folder, tmp_path, kind):
    labels = ("cough", "laugh", "sigh")  # another order than the corpus's
    folder = stock_folder(kind, labels=labels)
    result = evaluated(folder)
    assert result.metrics["labels"] == list(LABELS)
    assert result.metrics["tuning"]["method"] == "not recorded"
    classifier = pipeline("audio-classification", model=str(folder))
    clips = ClipDataset(load_corpus(str(corpus_folder), cache_dir=tmp_path / "cache")["test"], max_seconds=9.0)
    for at, row in enumerate(_rows(result.output_dir)):
        answers = {one["label"]: one["score"] for one in classifier(clips[at]["input_values"], top_k=None)}
        for label in labels:
            assert float(row[f"probability_{label}"]) == pytest.approx(answers[label], abs=1e-5)
        assert row["predicted"] == max(answers, key=answers.get)
        assert row["label"] == LABELS[at % 3]


# ----------------------------------------------------------------------------------------------------------------------
# Labels
# ----------------------------------------------------------------------------------------------------------------------


MAP = {"giggle": "laugh", "guffaw": "laugh", "sneeze": None, "sigh": "sigh"}


def _by_hand(model, evaluated):
    """Probabilities (clips, model labels) of the model as it is, by mapping each label to a class of its own."""
    rows = _rows(evaluated(model, output_dir="as_it_is").output_dir)
    return np.array([[float(row[f"probability_{label}"]) for label in LABELS] for row in rows])


def test_unknown_labels_are_refused_with_the_map_to_write(stock_folder, evaluated, tmp_path):
    folder = stock_folder("wav2vec2", labels=tuple(MAP))
    with pytest.raises(LabelMapError, match=r"(?s)model:  giggle, guffaw, sneeze, sigh.*corpus: laugh, sigh, cough"):
        evaluated(folder)
    assert not (tmp_path / "evaluation").exists()


def test_mapped_model_is_scored_on_the_classes_it_has(stock_folder, evaluated, tmp_path):
    # The same weights under the corpus's three names and under three others: the first is the hand calculation's input.
    as_it_is = _by_hand(stock_folder("wav2vec2"), evaluated)  # laugh, sigh, cough
    renamed = stock_folder("wav2vec2", labels=("sneeze", "giggle", "guffaw"), name="renamed")
    (tmp_path / "map.yaml").write_text("giggle: cough\nguffaw: sigh\nsneeze: null\n")
    result = evaluated(renamed, label_map=str(tmp_path / "map.yaml"))
    rows, metrics = _rows(result.output_dir), result.metrics
    true = np.arange(9) % 3  # nine clips of laugh, sigh, cough in turn; no label stands for laugh
    kept = true > 0
    assert [row["label"] for row in rows] == [LABELS[label] for label in true[kept]]
    assert metrics["labels"] == ["sigh", "cough", OTHER]
    assert metrics["splits"]["test"]["num_clips"] == 6
    assert metrics["evaluation"]["left_out"] == {"test": {"laugh": 3}}
    assert metrics["evaluation"]["label_map"] == {
        "targets": {"giggle": "cough", "guffaw": "sigh", "sneeze": None},
        "unmapped_model_labels": ["sneeze"],
        "unmapped_answers": "wrong",
        "unmapped_corpus_labels": ["laugh"],
        "unmapped_clips": "drop",
    }
    expected = as_it_is[kept][:, [2, 1, 0]]  # guffaw, giggle, sneeze
    names = ["probability_sigh", "probability_cough", f"probability_{OTHER}"]
    np.testing.assert_allclose([[float(row[name]) for name in names] for row in rows], expected, atol=1e-5)
    answers = expected.argmax(axis=1)
    right = answers == true[kept] - 1
    scores = metrics["splits"]["test"]["scores"]
    assert scores["accuracy"]["value"] == pytest.approx(right.mean())
    recalls = [right[true[kept] == label].mean() for label in (1, 2)]
    assert scores["uar"]["value"] == scores["macro_recall"]["value"] == pytest.approx(np.mean(recalls))
    assert 0 < (answers == 2).sum() < 6  # (other) is answered, and is no class to average over:
    macro_f1 = f1_score(true[kept] - 1, answers, labels=[0, 1], average="macro")
    assert scores["macro_f1"]["value"] == pytest.approx(macro_f1)


def test_classes_without_a_label_stay_and_cost_when_told_so(stock_folder, evaluated):
    folder = stock_folder("wav2vec2", labels=("giggle", "sneeze", "guffaw"))
    mapping = {"giggle": "sigh", "guffaw": "cough", "sneeze": None}
    options = {"label_map": mapping, "unmapped_clips": "wrong", "unmapped_answers": "renormalise"}
    result = evaluated(folder, **options)
    results = result.metrics["splits"]["test"]
    assert result.metrics["labels"] == list(LABELS)
    assert results["num_clips"] == 9
    assert results["per_class"][0]["recall"] == 0
    assert all(float(row["probability_laugh"]) == 0 for row in _rows(result.output_dir))
    assert results["scores"]["uar"]["value"] <= 2 / 3
    with pytest.raises(LabelMapError, match="no label of the model stands for laugh"):
        evaluated(folder, output_dir="other", **{**options, "unmapped_clips": "error"})


def test_multi_label_model_answers_with_its_highest_label(stock_folder, evaluated):
    one = _rows(evaluated(stock_folder("wav2vec2")).output_dir)
    folder = stock_folder("wav2vec2", name="many", problem_type="multi_label_classification")
    rows = _rows(evaluated(folder, output_dir="many_labels").output_dir)
    for row, other in zip(rows, one, strict=True):
        assert row["predicted"] == other["predicted"]
        assert row != other


# ----------------------------------------------------------------------------------------------------------------------
# The Hub
# ----------------------------------------------------------------------------------------------------------------------


def test_model_on_the_hub_is_recorded_by_its_commit(hub, run_folder, evaluated, tmp_path):
    api = huggingface_hub.HfApi()
    commits = {}
    for method in ("lora", "frozen"):
        folder = run_folder("--method", method, "--learning_rate", "3e-2", name=method)
        api.create_repo("ada/tones", exist_ok=True)
        (folder / "modeling_nvv.py").write_text("raise SystemExit('remote code was run')\n")
        commits[method] = api.upload_folder(
            repo_id="ada/tones",
            folder_path=folder,
            ignore_patterns=["checkpoint-*"],
            delete_patterns=["*.safetensors", "adapter_config.json"],
        ).oid
    for method, revision in (("frozen", None), ("lora", commits["lora"])):
        result = evaluated("ada/tones", model_revision=revision, output_dir=f"hub_{method}")
        model = result.metrics["evaluation"]["model"]
        assert (model["id"], model["revision"]) == ("ada/tones", commits[method])
        assert result.metrics["tuning"]["method"] == method
        assert result.metrics["evaluation"]["seen_in_training"]["is_same_split"]
        _check_same_predictions(_rows(result.output_dir), _rows(tmp_path / method, "test"))
    with pytest.raises(ModelError, match=r"ada/absent cannot be loaded"):
        evaluated("ada/absent", output_dir="absent")


# ----------------------------------------------------------------------------------------------------------------------
# The folder
# ----------------------------------------------------------------------------------------------------------------------


def test_folder_of_another_evaluation_is_kept_unless_told_otherwise(stock_folder, evaluated):
    one, other = stock_folder("wav2vec2"), stock_folder("hubert")
    first = evaluated(one, splits=["test", "validation"])
    again = evaluated(one, splits=["test", "validation"])  # the same thing once more
    assert again.metrics["splits"] == first.metrics["splits"]
    before = (first.output_dir / "metrics.json").read_bytes()
    for changes, named in (
        ({"model": other, "splits": ["test", "validation"]}, "model"),
        ({"model": one}, "splits"),
        ({"model": one, "splits": ["test", "validation"], "bf16": True}, "precision"),
        ({"model": one, "splits": ["test", "validation"], "max_seconds": 0.2}, "max_seconds"),
    ):
        with pytest.raises(OutputFolderError, match=rf"differs in: {named}\. .*--overwrite_output_dir true"):
            evaluated(**changes)
    assert (first.output_dir / "metrics.json").read_bytes() == before
    result = evaluated(other, overwrite_output_dir=True)
    assert result.metrics["evaluation"]["model"]["architecture"] == "HubertForSequenceClassification"
    assert {path.name for path in result.output_dir.glob("*.png")} == {"confusion_matrix.png"}


def test_changed_weights_are_another_model(stock_folder, evaluated, randomise):
    folder = stock_folder("wav2vec2")
    evaluated(folder)
    shutil.copy(stock_folder("hubert") / "model.safetensors", folder / "model.safetensors")
    shutil.copy(folder.parent / "stock_hubert" / "config.json", folder / "config.json")
    with pytest.raises(OutputFolderError, match="differs in: model"):
        evaluated(folder)


def test_folder_of_a_run_is_never_written_to(run_folder, evaluated):
    folder = run_folder("--method", "frozen")
    before = (folder / "metrics.json").read_bytes()
    with pytest.raises(OutputFolderError, match="holds a model or a training run"):
        evaluated(folder, output_dir="run", overwrite_output_dir=True)
    assert (folder / "metrics.json").read_bytes() == before


@pytest.mark.parametrize(
    ("module", "failing"),
    [
        (evaluation_folder, "write_confusion_matrix"),
        pytest.param(evaluation_folder, "write_metrics", marks=pytest.mark.slow),
        pytest.param(evaluation, "classify_clips", marks=pytest.mark.slow),
    ],
)
def test_nothing_is_left_and_nothing_lost_when_it_breaks_off(
    stock_folder, evaluated, monkeypatch, tmp_path, module, failing
):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    folder = stock_folder("wav2vec2")
    with monkeypatch.context() as patched:
        patched.setattr(module, failing, interrupt)
        with pytest.raises(KeyboardInterrupt):
            evaluated(folder, draws=True)
    assert not list((tmp_path / "evaluation").glob("*"))
    evaluated(folder, draws=True)
    before = {path.name: path.read_bytes() for path in (tmp_path / "evaluation").iterdir()}
    monkeypatch.setattr(module, failing, interrupt)
    with pytest.raises(KeyboardInterrupt):
        evaluated(folder, draws=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "evaluation").iterdir()} == before


def test_folder_is_not_complete_while_files_are_put_in_place(stock_folder, evaluated, monkeypatch, tmp_path):
    def replace(source, target, *, real=evaluation_folder.os.replace):
        if Path(target) == tmp_path / "evaluation" / "predictions.csv":
            raise KeyboardInterrupt  # a kill at this moment
        real(source, target)

    folder = stock_folder("wav2vec2")
    evaluated(folder)
    monkeypatch.setattr(evaluation_folder.os, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        evaluated(folder)
    # Neither the old scores beside new predictions nor the new ones beside old predictions.
    assert not (tmp_path / "evaluation" / "metrics.json").exists()


def test_default_folder_is_named_after_model_and_corpus():
    for model, corpus, expected in (
        ("runs/lora", "synthetic", "runs/evaluate_lora_synthetic"),
        ("runs/lora/checkpoint-12/", "nvv/vivae", "runs/evaluate_lora_checkpoint-12_vivae"),
        ("ada/tones", "data/my clips.csv", "runs/evaluate_tones_my_clips.csv"),
    ):
        assert evaluation.default_output_dir({"model": model, "corpus": corpus}) == expected


# ----------------------------------------------------------------------------------------------------------------------
# Options
# ----------------------------------------------------------------------------------------------------------------------


def test_clips_are_cut_when_told_so(run_folder, stock_folder, evaluated):
    folder = stock_folder("wav2vec2")
    whole, cut = evaluated(folder), evaluated(folder, max_seconds=0.2, output_dir="cut")
    assert _rows(whole.output_dir) != _rows(cut.output_dir)
    with pytest.raises(ArgumentsError, match=r"max_seconds: 3\.0 has no effect: the model cuts clips .* 2\.0 s itself"):
        evaluated(run_folder("--method", "frozen"), max_seconds=3.0, output_dir="longer")


def test_fewer_clips_are_taken_when_told_so(stock_folder, evaluated):
    folder = stock_folder("wav2vec2")
    result = evaluated(folder, splits=["train", "test"], max_train_clips=6, max_evaluation_clips=3)
    assert {split: results["num_clips"] for split, results in result.metrics["splits"].items()} == {
        "train": 6,
        "test": 3,
    }
    with pytest.raises(ArgumentsError, match="max_train_clips: 6 has no effect"):
        evaluated(folder, max_train_clips=6, output_dir="other")
    with pytest.raises(ArgumentsError, match="max_evaluation_clips: 3 has no effect"):
        evaluated(folder, splits=["train"], max_evaluation_clips=3, output_dir="other")


def test_bf16_and_batch_size_change_little(run_folder, evaluated):
    folder = run_folder("--method", "lora")
    exact = evaluated(folder, max_batch_seconds=0.5)
    rounded = evaluated(folder, bf16=True, output_dir="bf16")
    assert rounded.metrics["evaluation"]["precision"] == "bf16"
    pairs = zip(_rows(exact.output_dir), _rows(rounded.output_dir), strict=True)
    differences = [abs(float(one["probability_sigh"]) - float(other["probability_sigh"])) for one, other in pairs]
    assert 0 < max(differences) < 0.05


def test_model_that_diverged_is_refused(run_folder, evaluated, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = run_folder("--method", "frozen")
    weights = load_file(folder / "model.safetensors")
    weights["head.classifier.bias"][0] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ResultsError, match="not finite"):
        evaluated(folder)
    assert not (tmp_path / "evaluation").exists()


def test_device_that_is_not_there_is_refused(stock_folder, evaluated):
    with pytest.raises(ArgumentsError, match="device: 'warp' cannot be used here"):
        evaluated(stock_folder("wav2vec2"), device="warp")
