from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from transformers import Wav2Vec2FeatureExtractor

from nvv.inference.kept_passes import KeptPasses, clips_digest, model_digest
from nvv.training.dataset import ClipDataset

LOGITS = np.arange(6, dtype=np.float32).reshape(3, 2)


@pytest.fixture
def kept(tmp_path):
    passes = KeptPasses(tmp_path / "kept", settings={"model": "a", "seed": 0})
    passes.write("noise_10", {"heard": "x"}, LOGITS)
    return passes


def test_pass_is_read_back(kept):
    np.testing.assert_array_equal(kept.read("noise_10", {"heard": "x"}), LOGITS)
    assert kept.read("noise_5", {"heard": "x"}) is None


def test_pass_of_something_else_is_not_taken(kept, tmp_path):
    assert kept.read("noise_10", {"heard": "y"}) is None
    other = KeptPasses(tmp_path / "kept", settings={"model": "b", "seed": 0})
    assert other.read("noise_10", {"heard": "x"}) is None


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped"])
def test_damaged_file_is_not_taken(kept, tmp_path, damage):
    file = tmp_path / "kept" / "noise_10.safetensors"
    content = bytearray(file.read_bytes())
    if damage == "flipped":
        content[-1] ^= 1  # of the last number: the file can be read all the same
    file.write_bytes({"cut": content[:-5], "empty": b"", "flipped": bytes(content)}[damage])
    assert kept.read("noise_10", {"heard": "x"}) is None


def test_nothing_is_kept_without_a_folder(tmp_path):
    passes = KeptPasses(None, settings={})
    passes.write("noise_10", {}, LOGITS)
    assert passes.read("noise_10", {}) is None
    assert not list(tmp_path.iterdir())


def test_digest_of_a_model_follows_its_weights_and_settings(make_model):
    model, extractor = make_model(), Wav2Vec2FeatureExtractor(do_normalize=False)
    digest = model_digest(model, extractor)
    same = copy.deepcopy(model)
    same.config._name_or_path = "elsewhere"
    assert model_digest(same, extractor) == digest
    with torch.no_grad():
        same.head.classifier.bias[0] += 1e-6
    assert model_digest(same, extractor) != digest
    assert model_digest(model, Wav2Vec2FeatureExtractor(do_normalize=True)) != digest
    model.config.max_seconds = 2.0
    assert model_digest(model, extractor) != digest
    assert len(model_digest(copy.deepcopy(same).to(torch.bfloat16), extractor)) == 64


def test_digest_of_clips_follows_names_and_samples(tones):
    clips = tones()
    digest = clips_digest(ClipDataset(clips, max_seconds=1.0))
    assert clips_digest(ClipDataset(clips, max_seconds=1.0)) == digest
    assert clips_digest(ClipDataset(clips, max_seconds=0.9)) != digest
    assert clips_digest(ClipDataset(clips.select(range(8)), max_seconds=1.0)) != digest
