from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification, Wav2Vec2FeatureExtractor, pipeline

from nvv.audio import AudioError
from nvv.inference import classify_clips
from nvv.training.dataset import ClipDataset

STOCK = ("whisper", "wav2vec2", "hubert", "wavlm", "unispeech-sat", "audio-spectrogram-transformer")


@pytest.fixture
def clips(tones):
    return ClipDataset(tones(), max_seconds=1.0)


def _extractor(normalise=True):
    return Wav2Vec2FeatureExtractor(do_normalize=normalise, return_attention_mask=True)


def _one_at_a_time(model, feature_extractor, clips):
    rows = []
    for at in range(len(clips)):
        inputs = feature_extractor(
            clips[at]["input_values"], sampling_rate=16_000, return_tensors="pt", return_attention_mask=True
        )
        with torch.no_grad():
            rows.append(model(**inputs).logits[0].numpy())
    return np.stack(rows)


@pytest.mark.parametrize("max_batch_seconds", [0.1, 2.5, 60.0])
def test_logits_equal_those_of_single_clips_in_every_family(
    every_backbone_config, tiny_model, clips, max_batch_seconds
):
    model = tiny_model(every_backbone_config)
    feature_extractor = _extractor(every_backbone_config.model_type != "whisper")
    logits = classify_clips(model, feature_extractor, clips, max_batch_seconds=max_batch_seconds, num_workers=2)
    expected = _one_at_a_time(model, feature_extractor, clips)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    assert np.abs(expected - expected[::-1]).max() > 1e-2  # the clips differ, so a wrong order would be seen


@pytest.mark.parametrize("pool_padding", [False, True])
def test_logits_equal_those_of_single_clips_when_silence_is_heard(
    tiny_backbone_config, tiny_model, clips, pool_padding
):
    model = tiny_model(tiny_backbone_config("wav2vec2"), padding="silence", pool_padding=pool_padding)
    logits = classify_clips(model, _extractor(), clips, max_batch_seconds=9.0, num_workers=0)
    np.testing.assert_allclose(logits, _one_at_a_time(model, _extractor(), clips), atol=1e-4)


def _batch_sizes(model, monkeypatch):
    """Record the number of clips and the samples of every batch that reaches the model."""
    seen, forward = [], model.forward

    def recording(**inputs):
        values = next(iter(inputs.values()))
        seen.append(tuple(values.shape[:2]))
        return forward(**inputs)

    monkeypatch.setattr(model, "forward", recording)
    return seen


def test_batches_keep_to_the_budget(tiny_backbone_config, tiny_model, clips, monkeypatch):
    model = tiny_model(tiny_backbone_config("whisper"))
    seen = _batch_sizes(model, monkeypatch)
    classify_clips(model, _extractor(False), clips, max_batch_seconds=2.5, num_workers=0)
    assert sum(count for count, _ in seen) == len(clips)
    assert all(count * samples <= 2.5 * 16_000 for count, samples in seen)
    assert 1 < len(seen) < len(clips)


def test_silence_counts_in_the_budget(tiny_backbone_config, tiny_model, clips, monkeypatch):
    model = tiny_model(tiny_backbone_config("whisper"), padding="silence")
    seen = _batch_sizes(model, monkeypatch)
    classify_clips(model, _extractor(False), clips, max_batch_seconds=9.0, num_workers=0)
    assert [count for count, _ in seen] == [3, 3, 3]  # 9 s hold three clips of 3 s


@pytest.mark.parametrize("kind", STOCK)
def test_probabilities_equal_the_stock_pipelines(stock_folder, clips, kind):
    folder = stock_folder(kind)
    model = AutoModelForAudioClassification.from_pretrained(folder)
    logits = classify_clips(model, AutoFeatureExtractor.from_pretrained(folder), clips, num_workers=2)
    probabilities = torch.from_numpy(logits).softmax(-1)
    classifier = pipeline("audio-classification", model=str(folder))
    for at, row in enumerate(probabilities):
        answers = classifier(clips[at]["input_values"], top_k=None)
        expected = {answer["label"]: answer["score"] for answer in answers}
        for index, label in model.config.id2label.items():
            assert row[index].item() == pytest.approx(expected[label], abs=1e-5)


def test_stock_clips_share_a_batch_only_when_their_shapes_are_equal(stock_folder, clips, monkeypatch):
    for kind, expected in (("wav2vec2", [1, 1, 1, 1, 1, 1, 1, 2]), ("whisper", [4, 4, 1])):
        folder = stock_folder(kind)
        model = AutoModelForAudioClassification.from_pretrained(folder)
        seen = _batch_sizes(model, monkeypatch)
        # 12 s hold four of the 3 s that this Whisper's extractor pads to.
        classify_clips(
            model, AutoFeatureExtractor.from_pretrained(folder), clips, max_batch_seconds=12.0, num_workers=0
        )
        counts = [count for count, _ in seen]
        assert (sorted(counts) if kind == "wav2vec2" else counts) == expected


def test_bf16_is_near_and_leaves_the_model_as_it_was(tiny_backbone_config, tiny_model, clips):
    for family in ("whisper", "wav2vec2"):
        model = tiny_model(tiny_backbone_config(family))
        before = {name: value.clone() for name, value in model.state_dict().items()}
        exact = classify_clips(model, _extractor(), clips, num_workers=0)
        rounded = classify_clips(model, _extractor(), clips, bf16=True, num_workers=0)
        assert 0 < np.abs(exact - rounded).max() < 0.1 * np.abs(exact).max()
        assert model.dtype == torch.float32
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_stock_model_computes_in_bf16(stock_folder, clips):
    folder = stock_folder("whisper")
    model = AutoModelForAudioClassification.from_pretrained(folder)
    feature_extractor = AutoFeatureExtractor.from_pretrained(folder)
    exact = classify_clips(model, feature_extractor, clips, num_workers=0)
    rounded = classify_clips(model, feature_extractor, clips, bf16=True, num_workers=0)
    assert 0 < np.abs(exact - rounded).max() < 0.1 * np.abs(exact).max()


def test_model_in_training_mode_is_evaluated_without_dropout(tiny_backbone_config, tiny_model, clips):
    model = tiny_model(tiny_backbone_config("hubert"), head="mlp", head_dropout=0.5)
    expected = classify_clips(model, _extractor(), clips, num_workers=0)
    np.testing.assert_array_equal(classify_clips(model.train(), _extractor(), clips, num_workers=0), expected)


def test_damaged_clip_is_named(tiny_backbone_config, tiny_model, tones, tmp_path):
    split = tones()
    soundfile.write(tmp_path / "whole.wav", np.zeros(8000), 16_000)
    cut = (tmp_path / "whole.wav").read_bytes()[:3000]
    rows = split.with_format("arrow")[:].to_pylist()
    rows[4]["audio"] = {"bytes": cut, "path": None}
    table = type(split.data.table).from_pylist(rows, schema=split.features.arrow_schema)
    clips = ClipDataset(type(split)(table, info=split.info), max_seconds=1.0)
    with pytest.raises(AudioError, match=r"004\.wav"):
        classify_clips(tiny_model(tiny_backbone_config("whisper")), _extractor(False), clips, num_workers=2)


def test_extractor_of_another_rate_is_refused(tiny_backbone_config, tiny_model, clips):
    model = tiny_model(tiny_backbone_config("wav2vec2"))
    with pytest.raises(ValueError, match="16000 Hz, found 8000 Hz"):
        classify_clips(model, Wav2Vec2FeatureExtractor(sampling_rate=8_000), clips)


def test_budget_that_is_not_positive_is_refused(tiny_backbone_config, tiny_model, clips):
    with pytest.raises(ValueError, match="max_batch_seconds: expected more than 0"):
        classify_clips(tiny_model(tiny_backbone_config("wav2vec2")), _extractor(), clips, max_batch_seconds=0)
