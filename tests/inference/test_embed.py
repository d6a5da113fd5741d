from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForAudioClassification, Wav2Vec2FeatureExtractor

from nvv import NvvForAudioClassification
from nvv.inference.embed import embed_clips, untuned_model
from nvv.inference.load import load_classifier
from nvv.training.dataset import ClipDataset

CONTRASTIVE = {"head": "embedding", "loss": "supervised_contrastive", "embedding_size": 6}


@pytest.fixture
def clips(tones):
    return ClipDataset(tones(), max_seconds=1.0)


def _extractor(normalise=True):
    return Wav2Vec2FeatureExtractor(do_normalize=normalise, return_attention_mask=True)


def _one_at_a_time(feature_extractor, clips, compute):
    rows = []
    for at in range(len(clips)):
        inputs = feature_extractor(
            clips[at]["input_values"], sampling_rate=16_000, return_tensors="pt", return_attention_mask=True
        )
        with torch.no_grad():
            rows.append(compute(**inputs)[0].numpy())
    return np.stack(rows)


@pytest.mark.parametrize(
    "fields", [CONTRASTIVE, {"head": "mlp"}, {"head": "linear", "pooling": "max"}, {"head": "lstm"}]
)
def test_embeddings_equal_those_of_single_clips(tiny_backbone_config, tiny_model, clips, fields):
    model = tiny_model(tiny_backbone_config("wav2vec2"), **fields)
    embeddings = embed_clips(model, _extractor(), clips, max_batch_seconds=2.5, num_workers=2)
    expected = _one_at_a_time(_extractor(), clips, model.embed)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(embeddings, expected, atol=1e-4)
    assert np.abs(expected - expected[::-1]).max() > 1e-3
    if fields is CONTRASTIVE:
        np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)


def test_embeddings_are_near_in_bf16_and_leave_the_model_as_it_was(tiny_backbone_config, tiny_model, clips):
    model = tiny_model(tiny_backbone_config("whisper"), **CONTRASTIVE)
    exact = embed_clips(model, _extractor(False), clips, num_workers=0)
    rounded = embed_clips(model, _extractor(False), clips, bf16=True, num_workers=0)
    assert 0 < np.abs(exact - rounded).max() < 0.1
    assert model.dtype == torch.float32


@pytest.mark.parametrize("family", ["whisper", "wav2vec2"])
def test_untuned_embeddings_are_the_mean_last_hidden_state_of_the_stock_encoder(
    tiny_backbone_config, randomise, clips, tmp_path, family
):
    stock = randomise(AutoModel.from_config(tiny_backbone_config(family))).eval()
    stock.save_pretrained(tmp_path / "backbone")
    _extractor(family != "whisper").save_pretrained(tmp_path / "backbone")
    model = NvvForAudioClassification.from_backbone(
        str(tmp_path / "backbone"), num_labels=3, use_weighted_layer_sum=False, max_seconds=1.0, **CONTRASTIVE
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1)  # tuned
    feature_extractor = _extractor(family != "whisper")
    found = embed_clips(untuned_model(model), feature_extractor, clips, untuned=True, num_workers=0)
    if family == "wav2vec2":  # Whisper's own encoder takes 30 s of log-mel only

        def mean_last_state(input_values, attention_mask):
            del attention_mask
            return stock(input_values).last_hidden_state.mean(dim=1)

        expected = _one_at_a_time(feature_extractor, clips, mean_last_state)
        np.testing.assert_allclose(found, expected, atol=1e-4)
    tuned = embed_clips(model, feature_extractor, clips, untuned=True, num_workers=0)
    assert np.abs(found - tuned).max() > 1e-2
    assert found.shape == (len(clips), model.config.hidden_size)


def test_untuned_embeddings_weigh_summed_layers_evenly(tiny_backbone_config, clips, tmp_path):
    AutoModel.from_config(tiny_backbone_config("wav2vec2")).save_pretrained(tmp_path / "backbone")
    _extractor().save_pretrained(tmp_path / "backbone")
    model = NvvForAudioClassification.from_backbone(
        str(tmp_path / "backbone"), num_labels=3, layers=[0, 2], max_seconds=1.0, pooling="max"
    )

    def by_hand(input_values, attention_mask):
        states, _ = model.encode(input_values, attention_mask)
        return ((states[0] + states[1]) / 2).amax(dim=1)

    expected = _one_at_a_time(_extractor(), clips, by_hand)
    found = embed_clips(untuned_model(model), _extractor(), clips, untuned=True, num_workers=0)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lora", "full"])
def test_untuned_model_is_the_backbone_that_a_saved_run_started_from(run_folder, backbone_folder, tones, method):
    folder = run_folder("--method", method, "--num_train_epochs", "1", "--learning_rate", "1e-2")
    classifier = load_classifier(str(folder))
    clips = ClipDataset(tones(), max_seconds=1.0)
    fresh = NvvForAudioClassification.from_backbone(str(backbone_folder), num_labels=3, max_seconds=2.0)
    options = {"untuned": True, "num_workers": 0}
    found = embed_clips(untuned_model(classifier.model), classifier.feature_extractor, clips, **options)
    np.testing.assert_allclose(found, embed_clips(fresh, classifier.feature_extractor, clips, **options), atol=1e-5)
    tuned = embed_clips(classifier.model, classifier.feature_extractor, clips, **options)
    assert np.abs(found - tuned).max() > 1e-4


def test_random_backbone_is_drawn_again(tiny_backbone_config, clips):
    model = NvvForAudioClassification.from_backbone(
        "somewhere", random_init=True, backbone_config=tiny_backbone_config("wav2vec2"), num_labels=3, max_seconds=1.0
    )
    options = {"untuned": True, "num_workers": 0}
    expected = embed_clips(model, _extractor(), clips, **options)
    np.testing.assert_array_equal(embed_clips(untuned_model(model), _extractor(), clips, **options), expected)


def test_models_of_transformers_are_refused(stock_folder, clips):
    model = AutoModelForAudioClassification.from_pretrained(stock_folder("wav2vec2"))
    with pytest.raises(TypeError, match="expected an NvvForAudioClassification"):
        embed_clips(model, _extractor(), clips)
