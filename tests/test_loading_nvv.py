import re

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModel,
    HubertForCTC,
    UniSpeechForCTC,
    UniSpeechSatForCTC,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    WavLMForCTC,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperModel,
)

from nvv import NvvConfig, NvvForAudioClassification
from nvv.hub.repository import save_repository
from nvv.loading_nvv import load_backbone, load_backbone_config, load_feature_extractor

WITH_HEAD = {
    "whisper": WhisperForConditionalGeneration,
    "wav2vec2": Wav2Vec2ForCTC,
    "hubert": HubertForCTC,
    "wavlm": WavLMForCTC,
    "unispeech": UniSpeechForCTC,
    "unispeech-sat": UniSpeechSatForCTC,
}


def encoder_weights(model) -> dict[str, torch.Tensor]:
    """Of a stock model, by their names inside the encoder."""
    if model.config.model_type == "whisper":
        return model.get_encoder().state_dict() if hasattr(model, "get_encoder") else model.encoder.state_dict()
    return model.base_model.state_dict()


def from_checkpoint(path, **fields) -> NvvForAudioClassification:
    return NvvForAudioClassification.from_backbone(str(path), max_seconds=3.0, **fields)


@pytest.mark.parametrize("kind", ["bare", "with_head"])
def test_backbone_weights_are_those_of_the_checkpoint(every_backbone_config, randomise, tmp_path, kind):
    config = every_backbone_config
    stock = AutoModel.from_config(config) if kind == "bare" else WITH_HEAD[config.model_type](config)
    randomise(stock).save_pretrained(tmp_path)
    model = from_checkpoint(tmp_path, num_labels=3)
    weights, expected = model.backbone.state_dict(), encoder_weights(stock)
    assert weights.keys() == expected.keys()
    for name, weight in weights.items():
        assert torch.equal(weight, expected[name]), name
    assert not model.training
    assert (model.config.backbone_id, model.config.random_init) == (str(tmp_path), False)


def test_backbone_in_half_precision_is_loaded_in_fp32(tiny_backbone_config, tmp_path):
    WhisperModel(tiny_backbone_config("whisper")).half().save_pretrained(tmp_path)
    assert {p.dtype for p in from_checkpoint(tmp_path).parameters()} == {torch.float32}


def test_backbone_with_weight_norm_under_its_old_names_is_loaded(tiny_backbone_config, randomise, tmp_path):
    stock = randomise(Wav2Vec2ForCTC(tiny_backbone_config("wav2vec2")))
    stock.save_pretrained(tmp_path)
    names = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    weights = {}
    for name, weight in load_file(tmp_path / "model.safetensors").items():
        for new, old in names.items():
            name = name.replace(new, old)
        weights[name] = weight
    assert sum(name.endswith(("weight_g", "weight_v")) for name in weights) == 2
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    conv = from_checkpoint(tmp_path).backbone.encoder.pos_conv_embed.conv
    torch.testing.assert_close(conv.weight, stock.wav2vec2.encoder.pos_conv_embed.conv.weight)


def test_backbone_is_cut_to_its_first_layers(every_backbone_config, randomise, tmp_path):
    stock = randomise(AutoModel.from_config(every_backbone_config))
    stock.save_pretrained(tmp_path / "stock")
    model = from_checkpoint(tmp_path / "stock", num_backbone_layers=2)
    kept = {
        name.split("layers.")[1][0] for name in model.backbone.state_dict() if re.match(r"(encoder\.)?layers", name)
    }
    assert kept == {"0", "1"}
    model.save_pretrained(tmp_path / "cut")
    loaded = NvvForAudioClassification.from_pretrained(tmp_path / "cut")
    clip = torch.randn(1, 16_000)
    with torch.no_grad():
        output = loaded(clip, output_hidden_states=True)
        assert len(output.hidden_states) == 3
        torch.testing.assert_close(output.logits, model(clip).logits, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("kind", "asked"), [("unispeech-sat", "unispeech"), ("unispeech-sat", "wav2vec2")])
def test_checkpoint_of_another_family_is_an_error(tiny_backbone_config, tmp_path, kind, asked):
    AutoModel.from_config(tiny_backbone_config(kind)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=rf"is a '{kind}' checkpoint, not '{asked}'"):
        from_checkpoint(tmp_path, family=asked)


def test_checkpoint_of_no_speech_encoder_is_an_error(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match="is a 'bert' checkpoint; supported are whisper, wav2vec2"):
        from_checkpoint(tmp_path)


@pytest.mark.parametrize("damage", ["one weight missing", "another model's names"])
def test_incomplete_checkpoint_is_an_error(every_backbone_config, tmp_path, damage):
    stock = AutoModel.from_config(every_backbone_config)
    stock.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    if damage == "one weight missing":
        del weights[next(name for name in weights if name.endswith("layers.1.final_layer_norm.weight"))]
    else:
        weights = {f"speech.{name}": weight for name, weight in weights.items()}
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"leaves \d+ weights of the .* encoder uninitialised"):
        from_checkpoint(tmp_path)


def test_random_backbone_is_the_same_for_a_seed_and_leaves_the_random_state_alone(tiny_backbone_config):
    def draw(seed):
        config = tiny_backbone_config("hubert")
        return NvvForAudioClassification.from_backbone("x", random_init=True, seed=seed, backbone_config=config)

    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, second, other = draw(0), draw(0), draw(1)
    assert torch.equal(torch.rand(1), expected)
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, second.state_dict()[name])
    assert first.config.backbone_digest == second.config.backbone_digest != other.config.backbone_digest
    assert not torch.equal(first.head.projector.weight, other.head.projector.weight)
    assert first.config.random_init


def test_random_backbone_of_a_known_id_has_its_true_size():
    model = NvvForAudioClassification.from_backbone("openai/whisper-tiny", random_init=True, num_labels=6)
    assert (model.config.backbone_config.d_model, model.config.backbone_config.encoder_layers) == (384, 4)
    # The head's size in the published study's table for six classes: layers + 1, 256 d + 256, 256 · 6 + 6
    assert sum(p.numel() for p in model.head.parameters()) == 100_107


def test_unknown_config_field_is_an_error_naming_it(tiny_backbone_config):
    with pytest.raises(TypeError, match="NvvConfig has no field pooling_mode"):
        NvvForAudioClassification.from_backbone("openai/whisper-tiny", random_init=True, pooling_mode="mean")
    with pytest.raises(ValueError, match="backbone_config goes with random_init=True"):
        NvvForAudioClassification.from_backbone("x", backbone_config=tiny_backbone_config("wavlm"))


@pytest.mark.parametrize("normalise", [True, False])
def test_feature_extractor_normalises_as_the_checkpoint_says(tiny_backbone_config, tmp_path, normalise):
    tiny_backbone_config("wavlm").save_pretrained(tmp_path)
    Wav2Vec2FeatureExtractor(do_normalize=normalise, return_attention_mask=False).save_pretrained(tmp_path)
    extractor = load_feature_extractor(str(tmp_path))
    assert (extractor.do_normalize, extractor.return_attention_mask) == (normalise, True)


def test_feature_extractor_of_whisper_gives_the_plain_waveform(tiny_backbone_config, tmp_path):
    tiny_backbone_config("whisper").save_pretrained(tmp_path)
    WhisperFeatureExtractor().save_pretrained(tmp_path)
    extractor = load_feature_extractor(str(tmp_path))
    clip = torch.linspace(-0.5, 0.7, 800).numpy()
    batch = extractor([clip, clip[:300]], sampling_rate=16_000, padding=True, return_tensors="pt")
    torch.testing.assert_close(batch["input_values"][0], torch.from_numpy(clip))
    assert batch["attention_mask"].sum(dim=1).tolist() == [800, 300]


def test_random_init_of_an_unknown_id_is_an_error():
    with pytest.raises(ValueError, match="The architecture of 'someone/encoder' is not known offline"):
        load_backbone_config("someone/encoder", random_init=True)


def put_in_cache(model, cache, commit):
    """Lay a checkpoint out in the Hub client's cache, as the main branch at a commit."""
    repository = cache / "models--someone--encoder"
    model.save_pretrained(repository / "snapshots" / commit)
    Wav2Vec2FeatureExtractor().save_pretrained(repository / "snapshots" / commit)
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / "main").write_text(commit)


def test_backbone_of_the_hub_is_pinned_to_its_commit(tiny_backbone_config, randomise, tmp_path):
    cache, first, second = tmp_path / "cache", "a" * 40, "b" * 40
    stock = AutoModel.from_config(tiny_backbone_config("wav2vec2"))
    put_in_cache(randomise(stock, seed=1), cache, first)
    hub = {"cache_dir": str(cache), "local_files_only": True}
    model = NvvForAudioClassification.from_backbone("someone/encoder", **hub)
    assert (model.config.backbone_id, model.config.backbone_revision) == ("someone/encoder", first)
    model.backbone.requires_grad_(False)
    save_repository(model, load_feature_extractor("someone/encoder", **hub), tmp_path / "probe")

    put_in_cache(randomise(stock, seed=2), cache, second)
    moved = NvvForAudioClassification.from_backbone("someone/encoder", **hub)
    assert moved.config.backbone_revision == second
    clip = torch.randn(1, 8_000)
    with torch.no_grad():
        expected = model(clip).logits
        loaded = NvvForAudioClassification.from_pretrained(tmp_path / "probe", **hub)
        torch.testing.assert_close(loaded(clip).logits, expected, atol=1e-6, rtol=0)
        assert not torch.allclose(moved(clip).logits, expected, atol=1e-3)


def test_config_that_names_no_backbone_is_an_error(tiny_backbone_config):
    with pytest.raises(ValueError, match="backbone_id is not set"):
        load_backbone(NvvConfig(backbone_config=tiny_backbone_config("hubert")))
