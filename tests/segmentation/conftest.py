"""Fixtures of the segmentation tests: a model that knows low tones from high ones, and recordings of both."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from transformers import Wav2Vec2FeatureExtractor

from nvv import NvvConfig, NvvForAudioClassification
from nvv.inference.load import load_classifier

TONE_LABELS = ("background", "low", "high")
TONE_HZ = {"low": 300.0, "high": 1400.0}
RATE = 16_000

_spec = importlib.util.spec_from_file_location("_shared_fixtures", Path(__file__).parents[1] / "conftest.py")
_shared = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_shared)


def tone(label, seconds, *, rate=RATE, amplitude=0.2):
    """A steady tone of a label (samples,)."""
    return (amplitude * np.sin(2 * np.pi * TONE_HZ[label] * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def noise(seconds, *, rate=RATE, seed=0, rms=0.003):
    """White noise (samples,), -50 dB below full scale."""
    return (rms * np.random.default_rng(seed).standard_normal(round(seconds * rate))).astype(np.float32)


@pytest.fixture(autouse=True)
def _one_thread(one_thread):
    """Every test here computes in one thread."""


def make_tone_detector(**fields):
    """A tiny Whisper with random weights whose head is fitted, without chance, to hear which tone fills most of a clip.

    A linear head on the mean of the frames: logistic regression on the mean hidden states of noise with and without
    tones is exactly its training.
    """
    config = NvvConfig(
        backbone_config=_shared.make_tiny_backbone_config("whisper"),
        id2label=dict(enumerate(TONE_LABELS)),
        label2id={label: at for at, label in enumerate(TONE_LABELS)},
        projection_size=32,
        max_seconds=3.0,
        random_init_seed=0,
        **fields,
    )
    model = _shared.randomise_weights(NvvForAudioClassification(config)).eval()
    generator = np.random.default_rng(1)
    clips, labels = [], []
    for number in range(240):
        label = number % 3
        clip = noise(1.0, seed=number, rms=10 ** generator.uniform(-3.2, -2.2))
        # Half a second of tone is the border: less of it is still background.
        seconds = generator.uniform(0.0, 0.45) if label == 0 else generator.uniform(0.55, 1.0)
        start = 0 if generator.random() < 0.5 else len(clip) - round(seconds * RATE)
        sound = tone(("low", "high")[number // 3 % 2] if label == 0 else TONE_LABELS[label], seconds)
        clip[start : start + len(sound)] += sound * generator.uniform(0.5, 1.5)
        clips.append(torch.from_numpy(clip))
        labels.append(label)
    with torch.no_grad():
        model.head.projector.weight.copy_(torch.eye(32))
        model.head.projector.bias.zero_()
        inputs = torch.stack(clips)
        features = model.embed(input_values=inputs, attention_mask=torch.ones_like(inputs, dtype=torch.long)).numpy()
        scaler = StandardScaler().fit(features)
        fitted = LogisticRegression(C=30.0, max_iter=2000).fit(scaler.transform(features), labels)
        weight = fitted.coef_ / scaler.scale_
        model.head.classifier.weight.copy_(torch.from_numpy(weight))
        model.head.classifier.bias.copy_(torch.from_numpy(fitted.intercept_ - weight @ scaler.mean_))
    return model


@pytest.fixture(scope="session")
def tone_detector_folder(tmp_path_factory):
    """The repository of a model of background, low and high."""
    folder = tmp_path_factory.mktemp("models") / "tones"
    make_tone_detector().save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True).save_pretrained(folder)
    return folder


@pytest.fixture
def tone_detector(tone_detector_folder):
    """The same, loaded."""
    return load_classifier(str(tone_detector_folder))


@pytest.fixture
def tone_recording(tmp_path):
    """Write a recording of noise with tones (label, start_s, end_s), and return its path."""

    def make(tones, *, seconds, name="recording.wav", rate=RATE, channels=1, noise_rms=0.003):
        waveform = noise(seconds, rate=rate, rms=noise_rms)
        for label, start, end in tones:
            at = round(start * rate)
            sound = tone(label, end - start, rate=rate)
            waveform[at : at + len(sound)] += sound
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.stack([waveform] * channels, axis=1), rate)
        return path

    return make
