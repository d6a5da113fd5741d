"""What is pushed loads where nvv is not installed: each kind of head and task, whole or what was trained only."""

import json

import pytest
import torch
from transformers import AutoModel, Wav2Vec2FeatureExtractor

from nvv import NvvForAudioClassification
from nvv.hub.repository import save_repository
from nvv.training.tuning import TuningArguments, apply_tuning

LABELS = {0: "other", 1: "laughing"}
AFFECT = {"name": "affect", "kind": "regression", "outputs": ["arousal", "dominance", "valence"]}
TYPE = {"name": "type", "kind": "classification", "outputs": ["cry", "laugh"], "loss": "focal"}
KINDS = {
    "lstm": {"head": "lstm", "lstm_hidden_size": 8, "pooling": "last", "id2label": LABELS},
    "embedding": {
        "head": "embedding",
        "loss": "supervised_contrastive",
        "embedding_size": 6,
        "id2label": LABELS,
    },
    "tasks": {"tasks": [AFFECT, TYPE], "task_weighting": "uncertainty"},
    # audEERING's: cut before tuning, the last hidden states alone, two layers
    "regression": {"head": "mlp", "num_backbone_layers": 2, "use_weighted_layer_sum": False, "tasks": [AFFECT]},
    "detector": {"id2label": LABELS, "calibration_temperature": 1.5},
}
FAMILIES = {
    "lstm": "wav2vec2",
    "embedding": "hubert",
    "tasks": "whisper",
    "regression": "wav2vec2",
    "detector": "wavlm",
}
METHODS = ("frozen", "full", "lora")

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
        answers = [model(clip[None], output_embeddings=True) for clip in clips]
    classify = pipeline("audio-classification", model=folder, trust_remote_code=True)
    inputs = [{"array": clip.numpy(), "sampling_rate": 16_000} for clip in clips]
    results[folder] = {
        "logits": [answer.logits[0].tolist() for answer in answers],
        "embeddings": [answer.embeddings[0].tolist() for answer in answers],
        "pipeline": [classify(dict(one), top_k=None) for one in inputs],
        "layers": len(model.backbone.encoder.layers) if hasattr(model.backbone, "encoder") else None,
    }
    if model.config.operating_points:
        asked = {"apply_operating_point": "laughing"}
        decided = AutoModelForAudioClassification.from_pretrained(folder, trust_remote_code=True, **asked)
        classify = pipeline("audio-classification", model=folder, trust_remote_code=True, model_kwargs=asked)
        with torch.no_grad():
            results[folder] |= {
                "detected": [model.detect(clip[None], label="laughing").item() for clip in clips],
                "decided": [decided(clip[None]).logits[0].tolist() for clip in clips],
                "decided_by_pipeline": [classify(dict(one), top_k=None) for one in inputs],
            }
assert not any(name.startswith("nvv") for name, module in sys.modules.items() if module is not None)
print(json.dumps(results))
"""


@pytest.fixture
def clips():
    generator = torch.Generator().manual_seed(1)
    return [0.1 * torch.randn(n, generator=generator) for n in (16_000, 5_000)]


def build(folder, backbone, kind, method, clips):
    """A tuned model whose weights and buffers are all off their start, saved."""
    model = NvvForAudioClassification.from_backbone(str(backbone), max_seconds=3.0, projection_size=8, **KINDS[kind])
    model = apply_tuning(model, TuningArguments(method=method)).eval()
    generator = torch.Generator().manual_seed(3)
    classifier = model.get_base_model() if method == "lora" else model
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
        if kind == "embedding":
            classifier.head.centroids.copy_(torch.randn(2, 6, generator=generator))
        if kind == "detector":
            probabilities = [model(clip[None]).logits.softmax(-1)[0, 1].item() for clip in clips]
            classifier.config.operating_points = {"laughing": {"threshold": sum(probabilities) / 2}}
    save_repository(model, Wav2Vec2FeatureExtractor(return_attention_mask=True, do_normalize=False), folder)
    return model


@pytest.fixture
def load_elsewhere(run_elsewhere, tmp_path):
    def load(clips, folders) -> dict:
        torch.save(clips, tmp_path / "clips.pt")
        return run_elsewhere(LOAD, tmp_path / "clips.pt", *folders)

    return load


@pytest.mark.slow
def test_repositories_of_each_kind_of_head_load_without_nvv(
    tiny_backbone_config, randomise, clips, tmp_path, load_elsewhere
):
    models = {}
    for kind, family in FAMILIES.items():
        backbone = tmp_path / f"backbone-{kind}"
        randomise(AutoModel.from_config(tiny_backbone_config(family))).save_pretrained(backbone)
        for method in METHODS:
            folder = tmp_path / f"{kind}-{method}"
            models[str(folder)] = kind, build(folder, backbone, kind, method, clips)
            files = {path.name for path in folder.iterdir()}
            assert {"tasks_nvv.py", "contrastive_nvv.py", "decisions_nvv.py"} <= files
            assert ("adapter_model.safetensors" in files) == (method == "lora")
            saved = json.loads((folder / "config.json").read_text(encoding="utf-8"))["saved_weights"]
            assert saved == ("head" if method == "frozen" else "all")
    results = load_elsewhere(clips, models)
    for folder, (kind, model) in models.items():
        check(kind, model, results[folder], clips)


def check(kind, model, result, clips):
    with torch.no_grad():
        answers = [model(clip[None], output_embeddings=True) for clip in clips]
    logits = torch.cat([answer.logits for answer in answers])
    torch.testing.assert_close(torch.tensor(result["logits"]), logits, atol=1e-5, rtol=0)
    assert (logits[0] - logits[1]).abs().max() > 1e-3  # the clips are told apart
    embeddings = torch.cat([answer.embeddings for answer in answers])
    torch.testing.assert_close(torch.tensor(result["embeddings"]), embeddings, atol=1e-5, rtol=0)
    labels = model.config.id2label
    is_regression = kind in ("tasks", "regression")
    shown = logits if is_regression else logits.softmax(dim=-1)
    for row, answer in zip(shown.tolist(), result["pipeline"], strict=True):
        scores = {entry["label"]: entry["score"] for entry in answer}
        assert scores == pytest.approx({labels[index]: value for index, value in enumerate(row)}, abs=1e-4)
    if kind == "regression":
        assert result["layers"] == 2
        assert list(labels.values()) == ["arousal", "dominance", "valence"]
    if kind == "detector":
        threshold = model.config.operating_points["laughing"]["threshold"]
        expected = [row[1] >= threshold for row in shown.tolist()]
        assert sorted(expected) == [False, True]
        assert result["detected"] == expected
        assert [row[1] >= row[0] for row in result["decided"]] == expected
        tops = [max(answer, key=lambda entry: entry["score"])["label"] for answer in result["decided_by_pipeline"]]
        assert tops == ["laughing" if is_one else "other" for is_one in expected]
