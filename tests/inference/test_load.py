from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import WhisperForAudioClassification, WhisperModel

from nvv import NvvForAudioClassification
from nvv.hub.repository import save_repository
from nvv.inference import ModelError, load_classifier
from nvv.inference.load import load_beside
from nvv.loading_nvv import load_feature_extractor
from nvv.training.tuning import TuningArguments, apply_tuning, trainable_parameters


@pytest.fixture
def repository(backbone_folder, tmp_path):
    """Save an untrained repository of a tuning method, and return the model and its folder."""

    def make(method, **fields):
        labels = {"id2label": {0: "laugh", 1: "sigh", 2: "cough"}, "max_seconds": 2.0}
        model = NvvForAudioClassification.from_backbone(str(backbone_folder), **labels, **fields)
        model = apply_tuning(model, TuningArguments(method=method)).eval()
        save_repository(model, load_feature_extractor(str(backbone_folder)), tmp_path / method)
        return model, tmp_path / method

    return make


@pytest.mark.parametrize(
    ("method", "kind"),
    [("lora", "adapter"), ("adapter", "adapter"), ("prompt", "adapter"), ("combined", "adapter"), ("frozen", "head"),
     ("full", "full")],
)  # fmt: skip
def test_repository_says_what_it_is_without_its_run(repository, method, kind):
    model, folder = repository(method)
    classifier = load_classifier(str(folder))
    facts = classifier.facts
    assert (facts.id, facts.kind, facts.random_init) == (method, kind, False)
    # What a full model was trained in does not show: all of it, or all but the front-end.
    assert facts.method == ("full or partial" if kind == "full" else method)
    assert facts.backbone_id == "tiny_whisper"  # not where it lies on this machine
    counts = trainable_parameters(model)
    assert facts.total_parameters == counts.total
    assert facts.trained_parameters == (None if kind == "full" else counts.trainable)
    assert facts.metrics is None
    assert classifier.label_names == ["laugh", "sigh", "cough"]
    assert classifier.max_seconds == 2.0
    clip = torch.randn(1, 8000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(classifier.model(clip).logits, model(clip).logits, atol=1e-5, rtol=0)
    assert not classifier.model.training


def test_digest_changes_with_the_weights_and_with_nothing_else(repository):
    _, folder = repository("frozen")
    before = load_classifier(str(folder)).facts.weights_digest
    (folder / "README.md").write_text("changed")
    assert load_classifier(str(folder)).facts.weights_digest == before
    weights = load_file(folder / "model.safetensors")
    weights["head.classifier.bias"] += 1e-6
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert load_classifier(str(folder)).facts.weights_digest != before


def test_code_beside_our_models_is_never_run(repository):
    _, folder = repository("lora")
    (folder / "modeling_nvv.py").write_text("raise SystemExit('remote code was run')\n")
    for trust_remote_code in (False, True):
        load_classifier(str(folder), trust_remote_code=trust_remote_code)


_CUSTOM = """
from transformers import Wav2Vec2Config, Wav2Vec2ForSequenceClassification
class CustomConfig(Wav2Vec2Config):
    model_type = "custom"
class CustomModel(Wav2Vec2ForSequenceClassification):
    config_class = CustomConfig
"""


def test_code_of_other_models_is_run_only_when_told_so(stock_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder = stock_folder("wav2vec2")
    config = json.loads((folder / "config.json").read_text())
    modules = {"AutoConfig": "custom.CustomConfig", "AutoModelForAudioClassification": "custom.CustomModel"}
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "custom", "auto_map": modules}))
    (folder / "custom.py").write_text(_CUSTOM)
    with pytest.raises(ModelError, match="trust_remote_code"):
        load_classifier(str(folder))
    assert type(load_classifier(str(folder), trust_remote_code=True).model).__name__ == "CustomModel"


def test_labels_are_in_the_order_of_the_logits(stock_folder):
    labels = [f"sound {at}" for at in range(12)]  # as text, 10 would come before 2
    assert load_classifier(str(stock_folder("wav2vec2", labels=labels))).label_names == labels


def test_half_precision_weights_are_computed_in_single(stock_folder):
    folder = stock_folder("wav2vec2")
    WhisperForAudioClassification.from_pretrained(stock_folder("whisper")).half().save_pretrained(folder)
    assert load_classifier(str(folder)).model.dtype == torch.float32


# ----------------------------------------------------------------------------------------------------------------------
# What is refused
# ----------------------------------------------------------------------------------------------------------------------


def test_encoder_without_a_trained_head_is_refused(tiny_backbone_config, stock_folder, tmp_path):
    folder = shutil.copytree(stock_folder("whisper"), tmp_path / "encoder")
    WhisperModel(tiny_backbone_config("whisper")).save_pretrained(folder)
    with pytest.raises(ModelError, match=r"leaves 4 weights of WhisperForAudioClassification untrained, classifier"):
        load_classifier(str(folder))


@pytest.mark.parametrize("fields", [{"problem_type": "regression"}, {"labels": ["arousal"]}])
def test_regression_model_is_refused(stock_folder, fields):
    with pytest.raises(ModelError, match="expected a classifier of two or more classes"):
        load_classifier(str(stock_folder("wav2vec2", **fields)))


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "preprocessor_config.json"])
@pytest.mark.parametrize("kind", ["stock", "ours"])
@pytest.mark.parametrize("damage", ["cut", "missing"])
def test_damaged_model_is_named(stock_folder, repository, kind, name, damage):
    folder = stock_folder("wav2vec2") if kind == "stock" else repository("frozen")[1]
    content = (folder / name).read_bytes()
    (folder / name).unlink()
    if damage == "cut":
        (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match=str(folder)):
        load_classifier(str(folder))


@pytest.mark.parametrize(
    ("name", "revision", "message"),
    [
        ("./absent", None, r"\./absent: no such folder"),
        ("runs/absent/checkpoint-1", None, "no such folder, and no Hub id either"),
        ("somebody/absent", None, r"somebody/absent cannot be loaded"),  # the tests run offline
    ],
)
def test_model_that_is_not_there_is_named(name, revision, message):
    with pytest.raises(ModelError, match=message):
        load_classifier(name, revision=revision)


def test_revision_of_a_folder_is_refused(repository):
    with pytest.raises(ModelError, match="model_revision: 'v1' has no effect on the folder"):
        load_classifier(str(repository("frozen")[1]), revision="v1")


def test_file_and_empty_folder_are_refused(tmp_path):
    (tmp_path / "model.bin").write_bytes(b"0")
    with pytest.raises(ModelError, match="expected a folder or a Hub id, found the file"):
        load_classifier(str(tmp_path / "model.bin"))
    with pytest.raises(ModelError, match=r"has neither config\.json nor adapter_config\.json"):
        load_classifier(str(tmp_path))


def test_adapter_apart_from_its_run_is_refused(repository, tmp_path):
    folder = repository("lora")[1]
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"an adapter and no config\.json, and is no checkpoint inside a run"):
        load_classifier(str(folder))
    (tmp_path / "elsewhere").mkdir()
    checkpoint = folder.rename(tmp_path / "elsewhere" / "checkpoint-3")
    with pytest.raises(ModelError, match=r"neither config\.json nor config_resolved\.yaml"):
        load_classifier(str(checkpoint))


def test_load_beside_refuses_a_checkpoint_of_an_adapter_which_says_nothing_of_its_labels(run_folder):
    folder = run_folder()
    classifier = load_classifier(str(folder))
    checkpoint = next(folder.glob("checkpoint-*"))
    with pytest.raises(ModelError, match="checkpoint of an adapter, which is loaded by itself"):
        load_beside(classifier, str(checkpoint), adapter_name="b")
