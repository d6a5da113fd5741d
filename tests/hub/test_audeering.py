from __future__ import annotations

import json

import huggingface_hub
import pytest
import torch
from huggingface_hub import HfApi, ModelCard
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoFeatureExtractor, Wav2Vec2Config, Wav2Vec2Model

from nvv import NvvForAudioClassification
from nvv.hub.audeering import WeightsImportError, import_audeering

TARGETS = ("arousal", "dominance", "valence")


class Published(nn.Module):
    """The published architecture, from its description.

    Stock pre-norm encoder, mean of the last hidden states, dropout, linear, tanh, dropout, linear.
    """

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__()
        self.wav2vec2 = Wav2Vec2Model(config)
        self.classifier = nn.ModuleDict(
            {"dense": nn.Linear(config.hidden_size, config.hidden_size), "out_proj": nn.Linear(config.hidden_size, 3)}
        )
        self.dropout = nn.Dropout(config.final_dropout)

    def forward(self, input_values):
        pooled = self.wav2vec2(input_values).last_hidden_state.mean(dim=1)
        hidden = self.classifier["dense"](self.dropout(pooled)).tanh()
        return pooled, self.classifier["out_proj"](self.dropout(hidden))


@pytest.fixture
def published(tiny_backbone_config, randomise) -> Published:
    """The published model, tiny, with random weights."""
    return randomise(Published(tiny_backbone_config("wav2vec2", "pre_norm"))).eval()


def _write(
    model: Published, folder, *, kind="bin", card="license: cc-by-nc-sa-4.0\ndatasets: [msp-podcast]", **changes
):
    """Write a checkpoint as the published one is: a config of its day, and weights of the whole model."""
    folder.mkdir()
    fields = {
        **model.wav2vec2.config.to_dict(),
        "architectures": ["Wav2Vec2ForSpeechClassification"],
        "finetuning_task": "wav2vec2_reg",
        "id2label": dict(enumerate(TARGETS)),
        "label2id": {target: index for index, target in enumerate(TARGETS)},
        "pooling_mode": "mean",
        "problem_type": "regression",
        "vocab_size": None,
        **changes,
    }
    (folder / "config.json").write_text(json.dumps(fields))
    front_end = {"do_normalize": True, "feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": 16_000}
    (folder / "preprocessor_config.json").write_text(json.dumps({**front_end, "return_attention_mask": True}))
    weights = {name: weight.clone() for name, weight in model.state_dict().items()}
    if kind == "bin":  # of before torch's parametrisations
        for number, old in enumerate(("weight_g", "weight_v")):
            name = "wav2vec2.encoder.pos_conv_embed.conv."
            weights[name + old] = weights.pop(f"{name}parametrizations.weight.original{number}")
        torch.save(weights, folder / "pytorch_model.bin")
    else:
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    if card is not None:
        (folder / "README.md").write_text(f"---\n{card}\n---\n\n# A model\n")
    return folder


def _normalised(clip):
    return (clip - clip.mean()) / torch.sqrt(clip.var(correction=0) + 1e-7)


@pytest.mark.parametrize("kind", ["bin", "safetensors"])
def test_imported_weights_give_the_published_numbers(published, unequal_clips, kind, tmp_path):
    checkpoint = _write(published, tmp_path / "published", kind=kind)
    folder = import_audeering(str(checkpoint), tmp_path / "ours")
    model = NvvForAudioClassification.from_pretrained(folder)
    extractor = AutoFeatureExtractor.from_pretrained(folder)
    assert [model.config.id2label[index] for index in range(3)] == list(TARGETS)
    clips = unequal_clips[:4]
    batch = extractor([clip.numpy() for clip in clips], sampling_rate=16_000, padding=True, return_tensors="pt")
    with torch.no_grad():
        logits, embeddings = model(**batch).logits, model.embed(**batch)
        for number, clip in enumerate(clips):  # one by one, as the published code hears them
            pooled, expected = published(_normalised(clip)[None])
            torch.testing.assert_close(logits[number], expected[0], atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(embeddings[number], pooled[0], atol=1e-4, rtol=1e-4)
    assert logits.std(dim=0).min() > 1e-3


def test_repository_says_what_it_is_and_under_which_licence(published, tmp_path):
    checkpoint = _write(published, tmp_path / "published", final_dropout=0.25)
    folder = import_audeering(str(checkpoint), tmp_path / "ours", max_seconds=12.0)
    config = NvvForAudioClassification.from_pretrained(folder).config
    assert (config.head, config.pooling, config.use_weighted_layer_sum) == ("mlp", "mean", False)
    assert (config.head_dropout, config.max_seconds, config.projection_size) == (0.25, 12.0, 32)
    assert [task.kind for task in config.task_list] == ["regression"]
    assert config.normalize_cut_clips
    card = ModelCard.load(folder / "README.md")
    assert card.data.license == "cc-by-nc-sa-4.0"
    assert card.data.datasets == ["msp-podcast"]
    assert card.data.base_model is None
    assert "CC BY-NC-SA 4.0" in card.text
    assert str(tmp_path) not in card.text
    assert (folder / "modeling_nvv.py").is_file()


@pytest.mark.parametrize(
    ("card", "licence", "said"),
    [
        ("license: mit", "mit", "MIT"),
        ("tags: [speech]", "other", "under an unknown licence"),
        (None, "other", "under an unknown licence"),
    ],
)
def test_licence_is_the_checkpoints_own(published, card, licence, said, tmp_path):
    folder = import_audeering(str(_write(published, tmp_path / "published", card=card)), tmp_path / "ours")
    written = ModelCard.load(folder / "README.md")
    assert written.data.license == licence
    assert said in written.text


def test_checkpoint_is_imported_from_the_hub_at_its_commit(published, hub, tmp_path, monkeypatch):
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(huggingface_hub.file_download, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
    checkpoint = _write(published, tmp_path / "published")
    api = HfApi()
    api.create_repo("ada/adv")
    api.upload_folder(repo_id="ada/adv", folder_path=checkpoint)
    commit = api.model_info("ada/adv").sha
    folder = import_audeering("ada/adv", tmp_path / "ours", cache_dir=str(tmp_path / "cache"))
    model = NvvForAudioClassification.from_pretrained(folder)
    assert (model.config.backbone_id, model.config.backbone_revision) == ("ada/adv", commit)
    card = ModelCard.load(folder / "README.md")
    assert (card.data.base_model, card.data.license) == ("ada/adv", "cc-by-nc-sa-4.0")
    assert commit in card.text
    with torch.no_grad():
        waveform = torch.randn(1, 8_000, generator=torch.Generator().manual_seed(1))
        torch.testing.assert_close(model(waveform).logits, published(waveform)[1], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "config", "message"),
    [
        (lambda weights: weights.pop("classifier.dense.bias"), {}, r"missing: classifier\.dense\.bias"),
        (lambda weights: weights.update(lm_head=torch.zeros(2)), {}, r"found lm_head; missing: none"),
        (lambda weights: None, {"pooling_mode": "max"}, "expected pooling_mode mean .* found 'max'"),
        (lambda weights: None, {"id2label": {"0": "a", "1": "b"}}, r"names 2 outputs \(a, b\), the head has 3"),
        (
            lambda weights: weights.pop("wav2vec2.encoder.layers.2.final_layer_norm.bias"),
            {},
            "1 weights .* uninitialised",
        ),
    ],
)
def test_other_layouts_are_refused(published, change, config, message, tmp_path):
    checkpoint = _write(published, tmp_path / "published", **config)
    weights = torch.load(checkpoint / "pytorch_model.bin")
    change(weights)
    torch.save(weights, checkpoint / "pytorch_model.bin")
    with pytest.raises(ValueError, match=message):
        import_audeering(str(checkpoint), tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


def test_checkpoint_without_weights_is_refused(published, tmp_path):
    checkpoint = _write(published, tmp_path / "published")
    (checkpoint / "pytorch_model.bin").unlink()
    with pytest.raises(WeightsImportError, match=r"expected model\.safetensors or pytorch_model\.bin, found neither"):
        import_audeering(str(checkpoint), tmp_path / "ours")


@pytest.mark.parametrize("num_layers", [None, 2])
def test_encoder_of_such_a_checkpoint_is_a_backbone(published, num_layers, tmp_path):
    checkpoint = _write(published, tmp_path / "published")
    model = NvvForAudioClassification.from_backbone(str(checkpoint), num_labels=4, num_backbone_layers=num_layers)
    kept = model.backbone.state_dict()
    own = published.wav2vec2.state_dict()
    assert len(model.backbone.encoder.layers) == (num_layers or 3)
    assert kept.keys() <= own.keys()
    for name, weight in kept.items():
        assert torch.equal(weight, own[name]), name


def test_twelve_of_twenty_four_layers_are_kept_saved_and_loaded(
    tiny_backbone_config, randomise, unequal_clips, tmp_path
):
    config = tiny_backbone_config("wav2vec2", "pre_norm", num_hidden_layers=24)
    whole = randomise(Wav2Vec2Model(config)).eval()
    whole.save_pretrained(tmp_path / "whole")
    front_end = {"do_normalize": True, "feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": 16_000}
    (tmp_path / "whole" / "preprocessor_config.json").write_text(json.dumps(front_end))
    model = NvvForAudioClassification.from_backbone(
        str(tmp_path / "whole"),
        num_backbone_layers=12,
        use_weighted_layer_sum=False,
        head="mlp",
        projection_size=32,
        tasks=[{"name": "targets", "kind": "regression", "outputs": list(TARGETS), "loss": "ccc"}],
    )
    model.save_pretrained(tmp_path / "ours")
    names = load_file(tmp_path / "ours" / "model.safetensors")
    assert {int(name.split(".")[3]) for name in names if ".encoder.layers." in name} == set(range(12))
    saved = json.loads((tmp_path / "ours" / "config.json").read_text())
    assert (saved["num_backbone_layers"], saved["backbone_config"]["num_hidden_layers"]) == (12, 12)
    loaded = NvvForAudioClassification.from_pretrained(tmp_path / "ours")

    # The published way of cutting: drop the layers, keep the final norm.
    reference = Published(config)
    reference.wav2vec2 = whole
    whole.encoder.layers = whole.encoder.layers[:12]
    reference.classifier["dense"].load_state_dict(loaded.head.projector.state_dict())
    reference.classifier["out_proj"].load_state_dict(loaded.head.classifier.state_dict())
    clip = unequal_clips[2][None]
    with torch.no_grad():
        pooled, expected = reference.eval()(clip)
        torch.testing.assert_close(loaded(clip).logits, expected, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(loaded.embed(clip), pooled, atol=1e-5, rtol=1e-4)
