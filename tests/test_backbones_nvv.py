import pytest
import torch
from transformers import AutoModel, WhisperFeatureExtractor
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from nvv.backbones_nvv import BACKBONE_CLASSES, NvvWavLMAttention, PositionBias

SAMPLES = 20_000


def stock_hidden_states(config, weights, waveform):
    """All hidden states of the stock encoder on unpadded clips (3 s for Whisper, which takes nothing shorter)."""
    if config.model_type == "whisper":
        stock = WhisperEncoder(config).eval()
        extractor = WhisperFeatureExtractor(feature_size=config.num_mel_bins, chunk_length=3)
        inputs = extractor(list(waveform.numpy()), sampling_rate=16_000, return_tensors="pt").input_features
    else:
        config = type(config).from_dict(config.to_dict())  # without the attention our own class chose
        stock, inputs = AutoModel.from_config(config).eval(), waveform
    stock.load_state_dict(weights)
    with torch.no_grad():
        output = stock(inputs, output_hidden_states=True)
    return output.hidden_states, output.last_hidden_state


def make_backbone(config, randomise):
    return randomise(BACKBONE_CLASSES[config.model_type](config)).eval()


def test_backbone_equals_the_stock_encoder_when_unpadded(every_backbone_config, randomise):
    config = every_backbone_config
    backbone = make_backbone(config, randomise)
    waveform = 0.1 * torch.randn(2, 48_000 if config.model_type == "whisper" else SAMPLES)
    with torch.no_grad():
        states, mask = backbone(waveform, layers=[0, 1, 2, 3], normalise_last=False)
        (last,), _ = backbone(waveform, layers=[3], normalise_last=True)
    expected, expected_last = stock_hidden_states(config, backbone.state_dict(), waveform)
    assert mask is None
    assert len(states) == len(expected) == 4
    for state, stock_state in zip(states, expected, strict=True):
        torch.testing.assert_close(state, stock_state, atol=1e-4, rtol=0)
    torch.testing.assert_close(last, expected_last, atol=1e-4, rtol=0)


def test_backbone_gives_a_clips_frames_whatever_is_beside_it(every_backbone_config, randomise, unequal_clips, pad):
    backbone = make_backbone(every_backbone_config, randomise)
    batch = pad(unequal_clips)
    lengths = torch.tensor([len(clip) for clip in unequal_clips])
    with torch.no_grad():
        states, mask = backbone(batch["input_values"], lengths, layers=[0, 1, 2, 3])
        for row, clip in enumerate(unequal_clips):
            alone, _ = backbone(clip.unsqueeze(0), lengths[row : row + 1], layers=[0, 1, 2, 3])
            frames = int(mask[row].sum())
            assert frames == alone[0].shape[1] == int(backbone.num_frames(lengths[row : row + 1]))
            for together, by_itself in zip(states, alone, strict=True):
                torch.testing.assert_close(together[row, :frames], by_itself[0], atol=1e-4, rtol=0)


def test_backbone_computes_no_layer_after_the_last_one_wanted(every_backbone_config, randomise):
    backbone = make_backbone(every_backbone_config, randomise)
    layers = backbone.layers if every_backbone_config.model_type == "whisper" else backbone.encoder.layers
    called = []
    for number, layer in enumerate(layers, start=1):
        layer.register_forward_hook(lambda *_, number=number: called.append(number))
    states, _ = backbone(torch.randn(1, SAMPLES), layers=[2, 0])
    assert called == [1, 2]
    again, _ = backbone(torch.randn(1, SAMPLES), layers=[0])
    assert called == [1, 2]
    assert (len(states), len(again)) == (2, 1)


def test_backbone_returns_hidden_states_in_the_order_asked_for(every_backbone_config, randomise):
    backbone = make_backbone(every_backbone_config, randomise)
    waveform = torch.randn(1, SAMPLES)
    with torch.no_grad():
        ascending, _ = backbone(waveform, layers=[0, 2])
        descending, _ = backbone(waveform, layers=[2, 0])
    assert torch.equal(ascending[0], descending[1])
    assert torch.equal(ascending[1], descending[0])


def test_layerdrop_skips_layers_in_training_only(tiny_backbone_config, randomise, family_variant):
    family, variant = family_variant
    drop = {"encoder_layerdrop" if family == "whisper" else "layerdrop": 1.0}
    still = dict.fromkeys(("dropout", "hidden_dropout", "feat_proj_dropout", "activation_dropout"), 0.0)
    config = tiny_backbone_config(family, variant, mask_time_prob=0.0, **drop, **still)
    backbone = make_backbone(config, randomise)
    waveform = torch.randn(1, SAMPLES)
    with torch.no_grad():
        trained, _ = backbone.train()(waveform, layers=[0, 2])
        evaluated, _ = backbone.eval()(waveform, layers=[0, 2])
    assert torch.equal(trained[0], trained[1])
    assert not torch.allclose(evaluated[0], evaluated[1], atol=1e-2)


@pytest.mark.parametrize("variant", ["post_norm", "pre_norm"])
def test_front_end_gives_the_same_frames_one_by_one_and_together(
    tiny_backbone_config, randomise, unequal_clips, pad, variant
):
    # On a CPU clips pass the front-end one by one, elsewhere together.
    backbone = make_backbone(tiny_backbone_config("wav2vec2", variant), randomise)
    batch = pad(unequal_clips)
    num_samples = batch["attention_mask"].sum(dim=1).clamp(min=backbone.receptive_field)
    inputs = batch["input_values"].unsqueeze(1)
    with torch.no_grad():
        one_by_one = backbone._convolve_one_by_one(inputs, num_samples)
        together = backbone._convolve_together(inputs, num_samples)
        unpadded = backbone._convolve_one_by_one(inputs, None), backbone._convolve_together(inputs, None)
    assert one_by_one.shape == together.shape
    for index, frames in enumerate(backbone.num_frames(num_samples).tolist()):
        torch.testing.assert_close(one_by_one[index, :, :frames], together[index, :, :frames], atol=1e-5, rtol=1e-4)
        assert not one_by_one[index, :, frames:].any()
    torch.testing.assert_close(*unpadded, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", ["wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat"])
def test_receptive_field_is_that_of_the_published_front_end(tiny_backbone_config, family):
    backbone = BACKBONE_CLASSES[family](tiny_backbone_config(family))
    # 25 ms at 16 kHz and a hop of 20 ms (Baevski et al. 2020, section 4.2)
    assert backbone.receptive_field == 400
    frames = backbone.num_frames(torch.tensor([0, 399, 400, 719, 720, 16_000]))
    assert frames.tolist() == [1, 1, 1, 1, 2, 49]
    stock = backbone._get_feat_extract_output_lengths(torch.tensor([400, 719, 720, 16_000]))
    assert frames[2:].tolist() == stock.tolist()


def test_whisper_refuses_clips_beyond_its_position_table(tiny_backbone_config):
    backbone = BACKBONE_CLASSES["whisper"](tiny_backbone_config("whisper"))
    with pytest.raises(ValueError, match=r"A clip of 3\.02 s is longer than this Whisper encoder's 3 s"):
        backbone(torch.zeros(1, 48_320), layers=[0])


def test_hubert_with_batch_norm_is_refused(tiny_backbone_config):
    with pytest.raises(ValueError, match="conv_pos_batch_norm"):
        BACKBONE_CLASSES["hubert"](tiny_backbone_config("hubert", conv_pos_batch_norm=True))


def test_position_bias_of_wavlm_grows_with_the_sequence(tiny_backbone_config, randomise):
    backbone = make_backbone(tiny_backbone_config("wavlm"), randomise)
    attention = backbone.encoder.layers[0].attention
    assert isinstance(attention, NvvWavLMAttention)
    bias = PositionBias(attention, 10)
    # Relative: what two frames see of each other does not depend on the length.
    torch.testing.assert_close(bias(14)[:, :10, :10], bias(10))
    with pytest.raises(ValueError, match="need position_bias"):
        attention(torch.randn(1, 4, 32))


def test_wavlm_projections_act_when_something_is_wrapped_around_them(tiny_backbone_config, randomise):
    backbone = make_backbone(tiny_backbone_config("wavlm"), randomise)
    waveform = torch.randn(1, SAMPLES)
    before, _ = backbone(waveform, layers=[1])
    backbone.encoder.layers[0].attention.q_proj.register_forward_hook(lambda module, inputs, output: output * 2)
    after, _ = backbone(waveform, layers=[1])
    assert not torch.allclose(before[0], after[0], atol=1e-3)
