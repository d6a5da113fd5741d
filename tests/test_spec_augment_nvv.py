from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2Model, _compute_mask_indices
from transformers.models.whisper.modeling_whisper import WhisperModel

from nvv import NvvConfig, NvvForAudioClassification
from nvv.backbones_nvv import BACKBONE_CLASSES
from nvv.frontend_nvv import log_mel_spectrogram
from nvv.spec_augment_nvv import mask_frames, span_mask

NO_DROPOUT = dict.fromkeys(
    ("dropout", "hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout", "layerdrop"), 0.0
)


def _no_dropout(family):
    names = ("dropout", "attention_dropout", "activation_dropout") if family == "whisper" else NO_DROPOUT
    return {name: NO_DROPOUT[name] for name in names}


def _runs(mask):
    """Lengths of the stretches of true values in a row."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(int), [0]])))
    return edges[1::2] - edges[::2]


@pytest.mark.parametrize(("probability", "span", "fewest"), [(0.05, 10, 2), (0.3, 5, 0), (0.65, 10, 0), (0.02, 3, 0)])
def test_spans_are_as_many_as_the_stock_models(probability, span, fewest):
    np.random.seed(0)  # noqa: NPY002 - the stock function draws from it
    shape = (400, 120)
    # One stock call a clip: within a call its probabilistic rounding is the same for all clips.
    stock = np.concatenate(
        [_compute_mask_indices((1, shape[1]), probability, span, min_masks=fewest) for _ in range(shape[0])]
    )
    seeds = list(range(shape[0]))
    ours = span_mask(
        [shape[1]] * shape[0], shape[1], seeds=seeds, probability=probability, span_length=span, min_spans=fewest
    )
    shares = [mask.mean(axis=1) for mask in (stock, ours.numpy())]
    error = np.sqrt(sum(share.var() / len(share) for share in shares))
    assert abs(shares[0].mean() - shares[1].mean()) < 4 * error + 1e-9
    assert min(_runs(row).min(initial=span) for row in ours.numpy()) >= span


def test_spans_of_a_clip_do_not_depend_on_the_clips_beside_it():
    def draw(lengths, size):
        seeds = [3, 5, 8][: len(lengths)]
        return span_mask(lengths, size, seeds=seeds, probability=0.3, span_length=4, min_spans=1)

    alone, beside = draw([50], 50), draw([50, 300, 20], 300)
    assert torch.equal(beside[0, :50], alone[0])
    assert torch.equal(draw([50, 100, 20], 100)[1], draw([7, 100], 100)[1])


def test_padding_is_never_masked():
    lengths = [1, 9, 10, 11, 40, 100]
    for seed in range(20):
        seeds = [seed * 10 + at for at in range(len(lengths))]
        mask = span_mask(lengths, 100, seeds=seeds, probability=0.9, span_length=10, min_spans=2)
        for row, length in zip(mask, lengths, strict=True):
            assert not row[length:].any()
            assert row.any() == (length >= 10)  # shorter clips have no room for a span


def test_half_second_clip_survives_only_without_the_checkpoints_minimum():
    # 0.5 s: 24 frames of 20 ms. Two spans of 10 frames: 10 to 20 masked, always; 5 per cent of 24 frames: 1.2.
    settings = {"seeds": list(range(500)), "probability": 0.05, "span_length": 10}
    published = span_mask([24] * 500, 24, min_spans=2, **settings).float().mean(dim=1)
    ours = span_mask([24] * 500, 24, min_spans=0, **settings).float().mean(dim=1)
    assert published.min() >= 10 / 24 - 1e-6
    assert published.mean() > 0.55
    assert ours.mean() == pytest.approx(0.05, abs=0.02)


def test_nothing_is_drawn_when_nothing_is_masked(tiny_backbone_config):
    frames, config = torch.ones(2, 50, 4), tiny_backbone_config("wav2vec2", apply_spec_augment=False)
    torch.manual_seed(0)
    assert mask_frames(frames, None, config=config) is frames
    unmoved = torch.rand(3)
    torch.manual_seed(0)
    assert torch.equal(unmoved, torch.rand(3))
    assert span_mask([50], 50, seeds=[1], probability=0.0, span_length=10, min_spans=2) is None


def test_masked_frames_become_the_replacement_and_masked_features_zero(tiny_backbone_config):
    config = tiny_backbone_config(
        "wav2vec2",
        apply_spec_augment=True,
        mask_time_prob=0.4,
        mask_time_length=3,
        mask_feature_prob=0.3,
        mask_feature_length=2,
    )
    frames, replacement = torch.rand(2, 60, 16) + 1, torch.full((16,), 7.0, requires_grad=True)
    kept = frames.clone()
    masked = mask_frames(frames, torch.tensor([60, 20]), config=config, replacement=replacement)
    assert torch.equal(frames, kept)
    in_features = (masked == 0).all(dim=1)
    assert in_features.any(dim=1).all()
    assert not torch.equal(in_features[0], in_features[1])
    for clip, clip_frames, zeroed in zip(masked, frames, in_features, strict=True):
        others = clip[:, ~zeroed]
        in_time = (others == 7).all(dim=1)
        assert 0 < in_time.sum() < 60
        assert torch.equal(others[~in_time], clip_frames[:, ~zeroed][~in_time])
    assert not (masked[1, 20:] == 7).any()
    masked.sum().backward()
    assert replacement.grad.sum() == (masked == 7).sum()


def test_spec_augment_acts_in_training_only_and_only_when_asked_for(
    family_variant, tiny_backbone_config, tiny_model, unequal_clips, pad
):
    family, variant = family_variant
    config = tiny_backbone_config(family, variant, **_no_dropout(family), mask_time_prob=0.5)
    batch = pad(unequal_clips)
    with torch.no_grad():
        quiet = tiny_model(config, head_dropout=0.0)(**batch).logits
        for wanted in (False, True):
            model = tiny_model(config, head_dropout=0.0, apply_spec_augment=wanted)
            torch.testing.assert_close(model(**batch).logits, quiet)
            changed = (model.train()(**batch).logits - quiet).abs().amax(dim=1) > 1e-4
            # The last two clips, 0.06 and 0.01 s, have no room for a span of 10 frames.
            assert changed.tolist() == [wanted] * 3 + [False] * 2


def test_masks_of_a_clip_are_the_same_beside_a_longer_one(
    family_variant, tiny_backbone_config, tiny_model, unequal_clips, pad
):
    family, variant = family_variant
    settings = {"mask_time_prob": 0.4, "mask_time_length": 4, "mask_feature_prob": 0.2, "mask_feature_length": 3}
    config = tiny_backbone_config(family, variant, **_no_dropout(family))
    model = tiny_model(config, apply_spec_augment=True, spec_augment=settings, head_dropout=0.0).train()
    short, long = unequal_clips[1], unequal_clips[0]
    with torch.no_grad():
        torch.manual_seed(5)
        alone = model(**pad([short])).logits
        torch.manual_seed(5)
        beside = model(**pad([short, long])).logits[:1]
        torch.manual_seed(6)
        otherwise = model(**pad([short])).logits
    torch.testing.assert_close(beside, alone, atol=1e-4, rtol=0)
    assert (otherwise - alone).abs().max() > 1e-3


def test_whisper_masks_its_log_mel_frames_as_the_stock_model(tiny_backbone_config, randomise):
    # Probability 1 and spans of one frame: all of them, in both.
    masks = {"apply_spec_augment": True, "mask_time_prob": 1.0, "mask_time_length": 1}
    config = tiny_backbone_config("whisper", **_no_dropout("whisper"), **masks)
    stock = randomise(WhisperModel(config))
    encoder = BACKBONE_CLASSES["whisper"](config)
    encoder.load_state_dict(stock.encoder.state_dict())
    waveform = torch.randn(1, 48_000)
    with torch.no_grad():
        features = log_mel_spectrogram(waveform, num_mel_bins=16, continue_with_silence=False)
        masked = stock.train()._mask_input_features(features.clone())
        assert not masked.any()
        expected = stock.encoder.train()(masked).last_hidden_state
        (found,), _ = encoder.train()(waveform, layers=[3])
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
        (heard,), _ = encoder.eval()(waveform, layers=[3])
    assert (found - heard).abs().max() > 1e-2


def test_wav2vec2_masks_its_projected_frames_as_the_stock_model(tiny_backbone_config, randomise):
    masks = {"apply_spec_augment": True, "mask_time_prob": 1.0, "mask_time_length": 1}
    config = tiny_backbone_config("wav2vec2", **NO_DROPOUT, **masks)
    stock = randomise(Wav2Vec2Model(config))
    encoder = BACKBONE_CLASSES["wav2vec2"](config)
    encoder.load_state_dict(stock.state_dict())
    waveform = torch.randn(1, 16_000)
    with torch.no_grad():
        expected = stock.train()(waveform).last_hidden_state
        (found,), _ = encoder.train()(waveform, layers=[3])
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("family", ["whisper", "hubert"])
def test_silence_that_is_heard_is_not_masked(tiny_backbone_config, tiny_model, unequal_clips, pad, family):
    config = tiny_backbone_config(family, **_no_dropout(family))
    settings = {"mask_time_prob": 1.0, "mask_time_length": 1}
    model = tiny_model(config, padding="silence", apply_spec_augment=True, spec_augment=settings, head_dropout=0.0)
    batch = pad([unequal_clips[1], unequal_clips[2]])
    with torch.no_grad():
        masked, frame_mask = model.train().encode(**batch, layers=[0])
        heard, _ = model.eval().encode(**batch, layers=[0])
    changed = (masked[0] - heard[0]).abs().amax(dim=-1) > 1e-4
    for clip, own in zip(changed, frame_mask, strict=True):
        assert clip[own].all()
        # Convolutions see a few frames (Whisper) or 16 positions (the others) beyond the clip's end.
        assert not clip[int(own.sum()) + 20 :].any()


def test_settings_replace_those_of_the_checkpoint_and_are_saved(tiny_backbone_config, tmp_path):
    settings = {"mask_time_prob": 0.1, "mask_time_length": 4.0, "mask_time_min_masks": 0, "mask_feature_prob": 0.2}
    config = NvvConfig(
        backbone_config=tiny_backbone_config("wavlm"), num_labels=3, apply_spec_augment=True, spec_augment=settings
    )
    config.save_pretrained(tmp_path)
    for read in (config, NvvConfig.from_pretrained(tmp_path)):
        assert read.spec_augment == settings
        assert {name: getattr(read.backbone_config, name) for name in settings} == settings
        assert isinstance(read.backbone_config.mask_time_length, int)
        assert read.backbone_config.mask_feature_length == 10  # as the checkpoint says


def test_vector_for_masked_frames_is_there_when_only_the_settings_mask(tiny_backbone_config):
    backbone = tiny_backbone_config("wav2vec2", mask_time_prob=0.0)
    config = NvvConfig(
        backbone_config=backbone, num_labels=2, apply_spec_augment=True, spec_augment={"mask_time_prob": 0.1}
    )
    assert NvvForAudioClassification(config).backbone.masked_spec_embed.shape == (32,)
    assert backbone.mask_time_prob == 0.0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"spec_augment": {"mask_time_prob": 0.1}}, "spec_augment has no effect with apply_spec_augment=False"),
        ({"apply_spec_augment": True, "spec_augment": {}}, "spec_augment is empty; name some of mask_time_prob"),
        ({"apply_spec_augment": True, "spec_augment": {"time": 1}}, "spec_augment: 'time' is not one of mask_time_p"),
        ({"apply_spec_augment": True, "spec_augment": {"mask_time_prob": 2}}, r"mask_time_prob=2 is not a number in"),
        ({"apply_spec_augment": True, "spec_augment": {"mask_time_prob": "0.1"}}, "mask_time_prob='0.1' is not a num"),
        ({"apply_spec_augment": True, "spec_augment": {"mask_time_length": 0}}, "mask_time_length=0 is not a whole"),
        ({"apply_spec_augment": True, "spec_augment": {"mask_time_min_masks": 0.5}}, "is not a whole number from 0"),
        ({"apply_spec_augment": True, "spec_augment": {"mask_time_prob": 0}}, "apply_spec_augment=True masks nothing"),
    ],
)
def test_settings_that_cannot_act_are_errors(tiny_backbone_config, fields, message):
    with pytest.raises(ValueError, match=message):
        NvvConfig(backbone_config=tiny_backbone_config("whisper"), num_labels=2, max_seconds=3.0, **fields)
