from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from transformers import Wav2Vec2FeatureExtractor

from nvv.training.collator import ClipCollator


def _clips():
    return [
        {"input_values": np.array([0.5, -0.5, 0.25, 0.1], dtype=np.float32), "labels": 2},
        {"input_values": np.array([1.0, 3.0], dtype=np.float32), "labels": 0},
    ]


@pytest.mark.parametrize("do_normalize", [False, True])
def test_batch_is_padded_to_its_longest_clip_and_masked(do_normalize):
    batch = ClipCollator(Wav2Vec2FeatureExtractor(do_normalize=do_normalize, return_attention_mask=True))(_clips())
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert batch["labels"].tolist() == [2, 0]
    assert batch["labels"].dtype == torch.int64
    assert batch["input_values"].dtype == torch.float32
    # Zero mean and unit variance over the clip itself: (1, 3) becomes (-1, 1). Padding is 0 either way.
    expected = [-1.0, 1.0, 0.0, 0.0] if do_normalize else [1.0, 3.0, 0.0, 0.0]
    assert batch["input_values"][1].tolist() == pytest.approx(expected, abs=1e-4)


def test_mask_comes_when_the_extractor_would_leave_it_out():
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=False)
    assert "attention_mask" in ClipCollator(extractor)(_clips())


def test_collator_pickles_for_worker_processes():
    collator = pickle.loads(pickle.dumps(ClipCollator(Wav2Vec2FeatureExtractor(do_normalize=True))))
    assert collator(_clips())["input_values"].shape == (2, 4)


@pytest.mark.parametrize(
    ("targets", "dtype"),
    [([1, 2], torch.int64), ([np.array([0.5, np.nan], np.float32), np.array([1, 0], np.float32)], torch.float32)],
)
def test_mixtures_bring_their_partners_targets_and_shares(targets, dtype):
    clips = [
        {**clip, "labels": target, "mixed_targets": target, "mixing_weights": share}
        for clip, target, share in zip(_clips(), targets, (0.75, 1.0), strict=True)
    ]
    batch = ClipCollator(Wav2Vec2FeatureExtractor())(clips)
    assert batch["mixing_weights"].tolist() == [0.75, 1.0]
    assert batch["mixing_weights"].dtype == torch.float32
    assert batch["mixed_targets"].dtype == batch["labels"].dtype == dtype
    torch.testing.assert_close(batch["mixed_targets"], torch.from_numpy(np.asarray(targets)), equal_nan=True)
    assert not {"mixed_targets", "mixing_weights"} & ClipCollator(Wav2Vec2FeatureExtractor())(_clips()).keys()
