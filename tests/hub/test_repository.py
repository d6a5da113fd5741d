"""What is pushed loads where nvv is not installed: each family, each kind of tuning, in a process of its own."""

import json
import os

import pytest
import torch
from peft import PeftModel
from transformers import AutoModel, Wav2Vec2FeatureExtractor

from nvv import NvvForAudioClassification, modeling_nvv
from nvv.hub.repository import save_repository, set_repository_id
from nvv.loading_nvv import load_feature_extractor
from nvv.training.tuning import TuningArguments, apply_tuning

LABELS = ("laugh", "sigh", "cough")
METHODS = ("frozen", "full", "lora", "adapter", "prompt", "combined")

# Runs with `nvv` made unimportable, as on a machine that never saw it.
LOAD = """
import json, sys
sys.modules["nvv"] = None
import torch
from transformers import AutoModelForAudioClassification, pipeline

results = {}
clips = torch.load(sys.argv[1])
for folder in sys.argv[2:]:
    model = AutoModelForAudioClassification.from_pretrained(folder, trust_remote_code=True)
    with torch.no_grad():
        logits = [model(clip[None]).logits[0].tolist() for clip in clips]
    classify = pipeline("audio-classification", model=folder, trust_remote_code=True)
    inputs = [{"array": clip.numpy(), "sampling_rate": 16_000} for clip in clips]
    results[folder] = {
        "logits": logits,
        "single": [classify(dict(one), top_k=None) for one in inputs],
        "batched": classify([dict(one) for one in inputs], batch_size=len(inputs), top_k=None),
        "trainable": sum(p.requires_grad for p in model.parameters()),
    }
assert not any(name.startswith("nvv") for name, module in sys.modules.items() if module is not None)
print(json.dumps(results))
"""


def build(folder, backbone, method, **fields) -> NvvForAudioClassification | PeftModel:
    """A classifier on a saved backbone, tuned in name, with weights moved off their start."""
    labels = {"id2label": dict(enumerate(LABELS)), "label2id": {name: i for i, name in enumerate(LABELS)}}
    model = NvvForAudioClassification.from_backbone(str(backbone), max_seconds=3.0, **labels, **fields)
    model = apply_tuning(model, TuningArguments(method=method)).eval()
    generator = torch.Generator().manual_seed(3)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    save_repository(model, Wav2Vec2FeatureExtractor(return_attention_mask=True, do_normalize=False), folder)
    return model


@pytest.fixture
def load_elsewhere(run_elsewhere, tmp_path):
    def load(clips, folders) -> dict:
        torch.save(clips, tmp_path / "clips.pt")
        return run_elsewhere(LOAD, tmp_path / "clips.pt", *folders)

    return load


@pytest.fixture
def clips():
    generator = torch.Generator().manual_seed(1)
    return [0.1 * torch.randn(n, generator=generator) for n in (16_000, 5_000)]


def check(model, result, clips):
    with torch.no_grad():
        expected = torch.cat([model(clip[None]).logits for clip in clips])
    torch.testing.assert_close(torch.tensor(result["logits"]), expected, atol=1e-5, rtol=0)
    probabilities = expected.softmax(dim=-1)
    for answers in (result["single"], result["batched"]):
        for row, answer in enumerate(answers):
            scores = {entry["label"]: entry["score"] for entry in answer}
            assert [scores[name] for name in LABELS] == pytest.approx(probabilities[row].tolist(), abs=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_repository_of_each_family_loads_without_nvv(
    tiny_backbone_config, randomise, clips, tmp_path, method, load_elsewhere
):
    models = {}
    for family in ("whisper", "wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat"):
        backbone = tmp_path / f"backbone-{family}"
        randomise(AutoModel.from_config(tiny_backbone_config(family))).save_pretrained(backbone)
        models[str(tmp_path / family)] = build(tmp_path / family, backbone, method)
    results = load_elsewhere(clips, models)
    for folder, model in models.items():
        check(model, results[folder], clips)


def test_repository_of_a_random_backbone_holds_what_was_trained_only(clips, tmp_path, load_elsewhere):
    sizes, models = {}, {}
    for method in METHODS:
        folder = tmp_path / method
        model = NvvForAudioClassification.from_backbone(
            "openai/whisper-tiny", random_init=True, id2label=dict(enumerate(LABELS))
        )
        models[str(folder)] = apply_tuning(model, TuningArguments(method=method)).eval()
        files = save_repository(
            models[str(folder)], load_feature_extractor("openai/whisper-tiny", random_init=True), folder
        )
        sizes[method] = sum(path.stat().st_size for path in files)
        assert not list(folder.glob(".partial*"))
        assert not (folder / "README.md").exists()
    assert sizes.pop("full") > 30e6
    assert max(sizes.values()) < 5e6
    results = load_elsewhere(clips, models)
    for folder, model in models.items():
        check(model, results[folder], clips)


def test_repository_is_refused_when_the_random_backbone_is_another(clips, tmp_path):
    model = NvvForAudioClassification.from_backbone("openai/whisper-tiny", random_init=True, num_labels=3)
    model.config.random_init_seed = 1
    save_repository(apply_tuning(model, TuningArguments(method="lora")), Wav2Vec2FeatureExtractor(), tmp_path)
    with pytest.raises(ValueError, match="is not the one this model was trained on"):
        NvvForAudioClassification.from_pretrained(tmp_path)


def test_loading_is_refused_when_the_adapter_lacks_a_weight(tmp_path):
    from safetensors.torch import load_file, save_file

    model = NvvForAudioClassification.from_backbone("openai/whisper-tiny", random_init=True, num_labels=3)
    save_repository(apply_tuning(model, TuningArguments(method="lora")), Wav2Vec2FeatureExtractor(), tmp_path)
    weights = load_file(tmp_path / "adapter_model.safetensors")
    weights.pop(next(name for name in weights if name.endswith("head.projector.weight")))
    save_file(weights, tmp_path / "adapter_model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"head.* is missing"):
        NvvForAudioClassification.from_pretrained(tmp_path)


def test_repository_changes_kind_when_saved_again(tmp_path):
    def model():
        return NvvForAudioClassification.from_backbone("openai/whisper-tiny", random_init=True, num_labels=3)

    extractor = Wav2Vec2FeatureExtractor(do_normalize=False)
    save_repository(model(), extractor, tmp_path)
    (tmp_path / "metrics.json").write_text("{}")
    save_repository(apply_tuning(model(), TuningArguments(method="lora")), extractor, tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert {"adapter_model.safetensors", "adapter_config.json", "metrics.json"} <= names
    assert "model.safetensors" not in names
    save_repository(model(), extractor, tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert "model.safetensors" in names
    assert "adapter_config.json" not in names


def test_adapter_names_its_own_repository_as_its_base(tmp_path):
    model = NvvForAudioClassification.from_backbone("openai/whisper-tiny", random_init=True, num_labels=3)
    tuned = apply_tuning(model, TuningArguments(method="lora"))
    save_repository(tuned, Wav2Vec2FeatureExtractor(), tmp_path, repository_id="someone/laughs")
    settings = json.loads((tmp_path / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == "someone/laughs"
    set_repository_id(tmp_path, "another/name")
    assert json.loads((tmp_path / "adapter_config.json").read_text()) == {
        **settings,
        "base_model_name_or_path": "another/name",
    }


def test_saved_model_goes_on_training_from_its_repository(tiny_backbone_config, tmp_path):
    AutoModel.from_config(tiny_backbone_config("wav2vec2")).save_pretrained(tmp_path / "backbone")
    build(tmp_path / "probe", tmp_path / "backbone", "frozen")
    loaded = NvvForAudioClassification.from_pretrained(tmp_path / "probe")
    assert loaded.config.saved_weights == "all"
    loaded.save_pretrained(tmp_path / "whole")
    again = NvvForAudioClassification.from_pretrained(tmp_path / "whole")
    clip = torch.randn(1, 8_000)
    torch.testing.assert_close(again(clip).logits, loaded(clip).logits, atol=1e-6, rtol=0)


def test_repository_files_can_be_read_by_whom_the_umask_says(tmp_path):
    model = NvvForAudioClassification.from_backbone("openai/whisper-tiny", random_init=True, num_labels=3)
    before = os.umask(0o027)
    try:
        files = save_repository(model, Wav2Vec2FeatureExtractor(), tmp_path)
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in files} == {0o640}


@pytest.mark.parametrize("normalise", [True, False])
def test_saved_model_gives_a_long_clip_the_logits_of_its_start(tiny_backbone_config, randomise, tmp_path, normalise):
    config = tiny_backbone_config("wav2vec2")
    model = NvvForAudioClassification.from_backbone("x", random_init=True, backbone_config=config, max_seconds=0.5)
    extractor = Wav2Vec2FeatureExtractor(return_attention_mask=True, do_normalize=normalise)
    save_repository(randomise(model), extractor, tmp_path)
    loaded = NvvForAudioClassification.from_pretrained(tmp_path)
    generator = torch.Generator().manual_seed(0)
    # Loud after the cut, so that the whole clip's mean and variance are not those of its start.
    clip = torch.cat([0.1 + 0.1 * torch.randn(8_000, generator=generator), torch.randn(8_000, generator=generator)])
    short = 0.2 * torch.randn(5_000, generator=generator)

    def logits(*clips):
        arrays = [one.numpy() for one in clips]
        batch = extractor(arrays, sampling_rate=16_000, padding=True, return_tensors="pt")
        with torch.no_grad():
            return loaded(**batch).logits

    together = logits(clip, short)
    torch.testing.assert_close(together[0], logits(clip[:8_000])[0], atol=1e-4, rtol=0)
    torch.testing.assert_close(together[0], logits(clip)[0], atol=1e-4, rtol=0)
    torch.testing.assert_close(together[1], logits(short)[0], atol=1e-4, rtol=0)


def test_adapter_without_peft_is_an_error_that_says_so_and_a_full_model_is_not(monkeypatch, tmp_path):
    model = NvvForAudioClassification.from_backbone("openai/whisper-tiny", random_init=True, num_labels=3)
    save_repository(model, Wav2Vec2FeatureExtractor(), tmp_path / "full")
    tuned = apply_tuning(model, TuningArguments(method="lora"))
    save_repository(tuned, Wav2Vec2FeatureExtractor(), tmp_path / "lora")
    monkeypatch.setattr(modeling_nvv, "is_peft_available", lambda: False)
    with pytest.raises(ImportError, match=r"holds an adapter.*pip install peft"):
        NvvForAudioClassification.from_pretrained(tmp_path / "lora")
    NvvForAudioClassification.from_pretrained(tmp_path / "full")
