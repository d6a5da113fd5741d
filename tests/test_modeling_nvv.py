import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForAudioClassification,
    HubertForSequenceClassification,
    UniSpeechForSequenceClassification,
    UniSpeechSatForSequenceClassification,
    Wav2Vec2ForSequenceClassification,
    WavLMForSequenceClassification,
    WhisperFeatureExtractor,
    WhisperForAudioClassification,
)

from nvv import NvvConfig, NvvForAudioClassification

STOCK = {
    "whisper": WhisperForAudioClassification,
    "wav2vec2": Wav2Vec2ForSequenceClassification,
    "hubert": HubertForSequenceClassification,
    "wavlm": WavLMForSequenceClassification,
    "unispeech": UniSpeechForSequenceClassification,
    "unispeech-sat": UniSpeechSatForSequenceClassification,
}
NO_DROPOUT = dict.fromkeys(
    ("dropout", "hidden_dropout", "feat_proj_dropout", "activation_dropout", "attention_dropout"), 0.0
)


def logits_alone(model, clips):
    return torch.cat([model(clip.unsqueeze(0)).logits for clip in clips])


def stock_classifier(model, config, *, weighted):
    """The stock sequence classifier with the same weights."""
    config.use_weighted_layer_sum, config.classifier_proj_size, config.num_labels = weighted, 24, 5
    stock = STOCK[config.model_type](config).eval()
    encoder = stock.encoder if config.model_type == "whisper" else getattr(stock, stock.base_model_prefix)
    encoder.load_state_dict(model.backbone.state_dict())
    stock.projector.load_state_dict(model.head.projector.state_dict())
    stock.classifier.load_state_dict(model.head.classifier.state_dict())
    if weighted:
        stock.layer_weights.data.copy_(model.head.layer_weights.data)
    return stock


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_logits_do_not_depend_on_the_batch(
    tiny_model, tiny_backbone_config, family_variant, unequal_clips, pad, weighted, training
):
    config = tiny_backbone_config(*family_variant, **NO_DROPOUT)
    model = tiny_model(config, use_weighted_layer_sum=weighted).train(training)
    batch = pad(unequal_clips)
    with torch.no_grad():
        together = model(**batch).logits
        # Whatever stands in the padding is not read.
        noise = batch["input_values"] + 9 * torch.randn_like(batch["input_values"]) * (1 - batch["attention_mask"])
        beside_noise = model(noise, batch["attention_mask"]).logits
        alone = logits_alone(model, unequal_clips)
    assert model.backbone.training is training
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=0)
    torch.testing.assert_close(beside_noise, together, atol=1e-4, rtol=0)
    assert together.std(dim=0).mean() > 0.02  # the clips are told apart at all


@pytest.mark.parametrize("pooling", ["max", "first", "last"])
@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_logits_do_not_depend_on_the_batch_for_every_head(
    tiny_model, every_backbone_config, unequal_clips, pad, pooling, head
):
    model = tiny_model(every_backbone_config, pooling=pooling, head=head)
    with torch.no_grad():
        together = model(**pad(unequal_clips)).logits
        torch.testing.assert_close(together, logits_alone(model, unequal_clips), atol=1e-4, rtol=0)


def test_logits_do_not_depend_on_the_batch_under_autocast(tiny_model, every_backbone_config, unequal_clips, pad):
    model = tiny_model(every_backbone_config)
    with torch.no_grad():
        full = model(**pad(unequal_clips)).logits
        with torch.autocast("cpu", dtype=torch.bfloat16):
            together = model(**pad(unequal_clips)).logits
            alone = logits_alone(model, unequal_clips)
    assert torch.isfinite(together).all()
    # bfloat16 keeps 8 bits: kernels for other shapes round otherwise, by about 2^-8 of the activations.
    torch.testing.assert_close(together.float(), alone.float(), atol=0.03, rtol=0)
    torch.testing.assert_close(together.float(), full, atol=0.06, rtol=0)


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_gradients_are_the_same_with_checkpointing(
    tiny_model, tiny_backbone_config, family_variant, unequal_clips, pad, use_reentrant
):
    config = tiny_backbone_config(*family_variant, **NO_DROPOUT)
    batch = {**pad(unequal_clips), "labels": torch.tensor([0, 1, 2, 3, 4])}
    gradients = []
    for checkpointing in (False, True):
        model = tiny_model(config).train()
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
        model(**batch).loss.backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    plain, checkpointed = gradients
    assert plain.keys() == checkpointed.keys()
    assert any(name.startswith("backbone") for name in plain)
    for name, gradient in plain.items():
        torch.testing.assert_close(checkpointed[name], gradient, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("weighted", [True, False])
def test_logits_equal_the_stock_classifiers_when_unpadded(tiny_model, every_backbone_config, weighted):
    config = every_backbone_config
    whisper = config.model_type == "whisper"
    # Stock Whisper hears a fixed length and pools over all of it.
    heard = {"padding": "silence", "pool_padding": True} if whisper else {}
    model = tiny_model(config, use_weighted_layer_sum=weighted, **heard)
    stock = stock_classifier(model, config, weighted=weighted)
    clips = 0.1 * torch.randn(2, 30_000)
    inputs = clips
    if whisper:
        extractor = WhisperFeatureExtractor(feature_size=16, chunk_length=3)
        inputs = extractor(list(clips.numpy()), sampling_rate=16_000, return_tensors="pt").input_features
    labels = torch.tensor([4, 1])
    with torch.no_grad():
        expected = stock(inputs, labels=labels)
        output = model(clips, labels=labels)
    torch.testing.assert_close(output.logits, expected.logits, atol=1e-4, rtol=0)
    torch.testing.assert_close(output.loss, expected.loss, atol=1e-4, rtol=0)


@pytest.mark.parametrize("variant", ["post_norm", "pre_norm"])
@pytest.mark.parametrize("family", [name for name in STOCK if name != "whisper"])  # its unpadded case is padded so
def test_logits_equal_the_stock_classifiers_on_padding_heard_as_silence(
    tiny_model, tiny_backbone_config, family, variant
):
    config = tiny_backbone_config(family, variant)
    model = tiny_model(config, padding="silence", padding_seconds=2.0, max_seconds=2.0, pool_padding=True)
    stock = stock_classifier(model, config, weighted=True)
    clip = 0.1 * torch.randn(1, 12_000)
    with torch.no_grad():
        expected = stock(torch.nn.functional.pad(clip, (0, 20_000))).logits
        torch.testing.assert_close(model(clip).logits, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("pool_padding", [True, False])
def test_silence_padding_is_the_same_in_any_batch(tiny_model, every_backbone_config, unequal_clips, pad, pool_padding):
    model = tiny_model(every_backbone_config, padding="silence", padding_seconds=2.5, max_seconds=2.5)
    model.config.pool_padding = pool_padding
    with torch.no_grad():
        together = model(**pad(unequal_clips)).logits
        torch.testing.assert_close(together, logits_alone(model, unequal_clips), atol=1e-4, rtol=0)


def test_padding_options_each_change_the_logits(tiny_model, every_backbone_config, unequal_clips, pad):
    batch = pad(unequal_clips)
    outcomes = []
    for fields in (
        {"padding": "mask"},
        {"padding": "silence", "pool_padding": False},
        {"padding": "silence", "pool_padding": True},
        {"padding": "silence", "pool_padding": True, "padding_seconds": 2.0, "max_seconds": 2.0},
    ):
        with torch.no_grad():
            outcomes.append(tiny_model(every_backbone_config, **fields)(**batch).logits)
    for index, first in enumerate(outcomes):
        for second in outcomes[index + 1 :]:
            assert not torch.allclose(first, second, atol=1e-3)


@pytest.mark.parametrize("num_samples", [0, 1, 159, 399, 400])
def test_shortest_clips_get_an_answer(tiny_model, every_backbone_config, num_samples):
    model = tiny_model(every_backbone_config)
    long = torch.randn(8_000)
    batch = torch.zeros(2, 8_000)
    batch[0], batch[1, :num_samples] = long, long[:num_samples]
    mask = torch.ones(2, 8_000, dtype=torch.long)
    mask[1, num_samples:] = 0
    with torch.no_grad():
        together = model(batch, mask).logits
        assert torch.isfinite(together).all()
        if num_samples:
            alone = model(long[None, :num_samples]).logits
            torch.testing.assert_close(together[1:], alone, atol=1e-4, rtol=0)


def test_clips_are_cut_to_max_seconds(tiny_model, every_backbone_config):
    model = tiny_model(every_backbone_config, max_seconds=0.5)
    clip = torch.randn(1, 16_000)
    with torch.no_grad():
        torch.testing.assert_close(model(clip).logits, model(clip[:, :8_000]).logits)
        assert not torch.allclose(model(clip).logits, model(clip[:, :7_000]).logits, atol=1e-4)


def test_saved_model_gives_identical_logits(tiny_model, every_backbone_config, unequal_clips, pad, tmp_path):
    model = tiny_model(every_backbone_config, layers=[1, 3], pooling="max", id2label=dict(enumerate("abcde")))
    model.save_pretrained(tmp_path)
    loaded = AutoModelForAudioClassification.from_pretrained(tmp_path)
    assert type(loaded) is NvvForAudioClassification
    assert not loaded.training
    assert loaded.config.id2label == {0: "a", 1: "b", 2: "c", 3: "d", 4: "e"}
    with torch.no_grad():
        torch.testing.assert_close(
            loaded(**pad(unequal_clips)).logits, model(**pad(unequal_clips)).logits, atol=1e-6, rtol=0
        )
        torch.testing.assert_close(
            loaded(**pad(unequal_clips)).logits, logits_alone(loaded, unequal_clips), atol=1e-4, rtol=0
        )


def test_registration_makes_the_auto_classes_know_the_model():
    assert AutoConfig.for_model("nvv").__class__ is NvvConfig
    assert AutoModelForAudioClassification._model_mapping[NvvConfig] is NvvForAudioClassification


def test_summed_layers_alone_reach_the_head(tiny_model, every_backbone_config):
    model = tiny_model(every_backbone_config, layers=[0, 2])
    assert model.head.layer_weights.shape == (2,)
    output = model(torch.randn(1, 16_000), output_hidden_states=True)
    assert len(output.hidden_states) == 4
    picked = [output.hidden_states[0], output.hidden_states[2]]
    torch.testing.assert_close(model.head(picked), output.logits)


def test_frozen_backbone_stays_in_evaluation_mode(tiny_model, every_backbone_config):
    model = tiny_model(every_backbone_config)
    assert model.train().backbone.training
    model.backbone.requires_grad_(False)
    model.train()
    assert model.head.training
    assert not any(module.training for module in model.backbone.modules())
    next(model.backbone.parameters()).requires_grad_(True)
    assert model.train().backbone.training


def test_live_logits_equal_those_from_cached_pooled_states(tiny_model, every_backbone_config, unequal_clips, pad):
    model = tiny_model(every_backbone_config)
    model.backbone.requires_grad_(False)
    model.train()
    with torch.no_grad():
        cached = torch.cat([model.head.pool(*model.encode(clip.unsqueeze(0))) for clip in unequal_clips])
        live = model(**pad(unequal_clips)).logits
        torch.testing.assert_close(model.head.forward_pooled(cached), live, atol=1e-4, rtol=0)


def test_spec_augment_acts_in_training_only_when_asked_for(tiny_model, tiny_backbone_config):
    config = tiny_backbone_config("wav2vec2", **NO_DROPOUT, mask_time_prob=0.5)
    clip = torch.randn(1, 32_000)
    for wanted in (False, True):
        model = tiny_model(config, apply_spec_augment=wanted)
        with torch.no_grad():
            quiet = model(clip).logits
            assert torch.allclose(model.train()(clip).logits, quiet, atol=1e-5) is not wanted
    model(torch.randn(1, 500))  # one frame, shorter than a masked span: left alone


def test_class_weights_and_label_smoothing_reach_the_loss(tiny_model, tiny_backbone_config):
    clips, labels = torch.randn(2, 8_000), torch.tensor([0, 1])
    losses = []
    for fields in ({}, {"class_weights": [4.0, 1.0, 1.0, 1.0, 1.0]}, {"label_smoothing": 0.3}):
        losses.append(tiny_model(tiny_backbone_config("hubert"), **fields)(clips, labels=labels).loss.item())
    assert len({round(loss, 4) for loss in losses}) == 3


def test_inputs_of_another_shape_are_errors(tiny_model, tiny_backbone_config):
    model = tiny_model(tiny_backbone_config("wav2vec2"))
    with pytest.raises(ValueError, match=r"must be \(batch, samples\), found the shape \(1, 1, 8000\)"):
        model(torch.zeros(1, 1, 8_000))
    with pytest.raises(ValueError, match="differ in shape; the mask counts samples, not frames"):
        model(torch.zeros(1, 8_000), torch.ones(1, 24))


@pytest.mark.parametrize("zeros", [slice(0, 100), slice(3_000, 3_100)], ids=["before", "inside"])
def test_padding_anywhere_but_after_the_clip_is_an_error(tiny_model, tiny_backbone_config, zeros):
    model = tiny_model(tiny_backbone_config("wavlm"))
    mask = torch.ones(2, 8_000, dtype=torch.long)
    mask[1, zeros] = 0
    with pytest.raises(ValueError, match="pad on the right"):
        model(torch.zeros(2, 8_000), mask)


def test_tuple_is_returned_when_asked_for(tiny_model, tiny_backbone_config):
    model = tiny_model(tiny_backbone_config("wav2vec2"))
    output = model(torch.zeros(1, 8_000), labels=torch.tensor([0]), return_dict=False)
    assert isinstance(output, tuple)
    assert [part.shape for part in output] == [(), (1, 5)]


def test_logits_are_the_same_with_eager_attention(tiny_model, every_backbone_config, unequal_clips, pad, tmp_path):
    model = tiny_model(every_backbone_config)
    model.save_pretrained(tmp_path)
    eager = AutoModelForAudioClassification.from_pretrained(tmp_path, attn_implementation="eager")
    assert eager.backbone.config._attn_implementation == "eager"
    with torch.no_grad():
        expected = model(**pad(unequal_clips)).logits
        torch.testing.assert_close(eager(**pad(unequal_clips)).logits, expected, atol=1e-4, rtol=0)


def test_model_runs_in_half_precision(tiny_model, every_backbone_config, unequal_clips, pad, tmp_path):
    model = tiny_model(every_backbone_config)
    model.save_pretrained(tmp_path)
    half = AutoModelForAudioClassification.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}
    with torch.no_grad():
        expected = model(**pad(unequal_clips)).logits
        # bfloat16 keeps 8 bits of each number
        torch.testing.assert_close(half(**pad(unequal_clips)).logits.float(), expected, atol=0.1, rtol=0)


def test_flash_attention_is_refused(tiny_model, tiny_backbone_config, tmp_path):
    tiny_model(tiny_backbone_config("whisper")).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="does not support Flash Attention 2"):
        AutoModelForAudioClassification.from_pretrained(tmp_path, attn_implementation="flash_attention_2")


@pytest.mark.slow
def test_model_compiles(tiny_model, tiny_backbone_config, unequal_clips, pad):
    model = tiny_model(tiny_backbone_config("whisper"))
    with torch.no_grad():
        expected = model(**pad(unequal_clips)).logits
        compiled = torch.compile(model, dynamic=True)
        torch.testing.assert_close(compiled(**pad(unequal_clips)).logits, expected, atol=1e-4, rtol=0)
