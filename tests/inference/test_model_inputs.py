from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification, Wav2Vec2FeatureExtractor

from nvv.inference.model_inputs import batch_inputs, embeddings_of, forward_batch, logits_of, made_ready


@pytest.fixture
def stock(stock_folder):
    def load(kind):
        folder = stock_folder(kind)
        return AutoModelForAudioClassification.from_pretrained(folder), AutoFeatureExtractor.from_pretrained(folder)

    return load


@pytest.mark.parametrize("kind", ["wav2vec2", "audio-spectrogram-transformer"])
def test_fewest_samples_are_those_that_the_model_can_take(stock, kind):
    model, feature_extractor = stock(kind)
    inputs = batch_inputs(model, feature_extractor)
    fewest = inputs.min_samples()
    assert fewest == 400  # 25 ms, in wav2vec 2.0 as in its paper

    def compute(num_samples):
        ((_, names),) = inputs.prepare([np.full(num_samples, 0.1, np.float32)])
        return forward_batch(model.eval(), names, logits_of)

    assert np.isfinite(compute(fewest)).all()
    with pytest.raises((RuntimeError, AssertionError, ValueError)):
        compute(fewest - 1)


@pytest.mark.parametrize("kind", ["whisper", "audio-spectrogram-transformer"])
def test_most_samples_are_all_that_the_model_hears(stock, kind):
    model, feature_extractor = stock(kind)
    inputs = batch_inputs(model, feature_extractor)
    most = inputs.max_samples()
    waveform = np.random.default_rng(0).normal(0, 0.1, 4 * 16_000).astype(np.float32)

    def features(num_samples):
        ((_, names),) = inputs.prepare([waveform[:num_samples]])
        return next(iter(names.values()))

    torch.testing.assert_close(features(most), features(len(waveform)), rtol=0, atol=0)
    assert not torch.equal(features(most - 1), features(most))


def test_cost_is_what_the_encoder_takes(stock, tiny_backbone_config, tiny_model):
    ours = Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True)
    masked = batch_inputs(tiny_model(tiny_backbone_config("whisper"), max_seconds=2.0), ours)
    silent = batch_inputs(tiny_model(tiny_backbone_config("whisper"), padding="silence"), ours)
    assert (masked.cost(100), silent.cost(100)) == (100, 48_000)
    assert (masked.min_samples(), masked.max_samples()) == (1, 32_000)
    whisper, wav2vec2 = batch_inputs(*stock("whisper")), batch_inputs(*stock("wav2vec2"))
    assert (whisper.cost(100), wav2vec2.cost(100)) == (48_000, 100)
    assert (whisper.min_samples(), wav2vec2.max_samples()) == (1, None)


def test_model_is_copied_only_where_its_precision_changes(tiny_backbone_config, tiny_model):
    model = tiny_model(tiny_backbone_config("wav2vec2")).train()
    assert made_ready(model, dtype=torch.float32, device="cpu") is model
    assert not model.training
    rounded = made_ready(model, dtype=torch.bfloat16)
    assert (model.dtype, rounded.dtype) == (torch.float32, torch.bfloat16)


def test_embeddings_are_the_models_own(tiny_backbone_config, tiny_model):
    model = tiny_model(tiny_backbone_config("wav2vec2"))
    waveform = torch.randn(1, 8_000)
    with torch.no_grad():
        expected = model.embed(waveform).numpy()
    np.testing.assert_array_equal(forward_batch(model, {"input_values": waveform}, embeddings_of), expected)
