from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torchaudio.functional

from nvv.data.augmentation import AugmentationError, change_speed, shift


def test_shift_puts_silence_before_or_after(sound):
    clip = sound(1_000)
    before, after = shift(clip, seconds=0.25), shift(clip, seconds=-0.25)
    # 0.25 s · 16,000 Hz = 4,000 samples
    np.testing.assert_array_equal(before, np.concatenate([np.zeros(4_000, np.float32), clip]))
    np.testing.assert_array_equal(after, np.concatenate([clip, np.zeros(4_000, np.float32)]))
    assert before.dtype == np.float32
    assert shift(clip, seconds=0) is not clip


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.1, 1.37, 2.0])
def test_speed_is_that_of_torchaudio(sound, factor):
    clip = sound(9_001)
    expected, _ = torchaudio.functional.speed(torch.from_numpy(clip), 16_000, factor)
    changed = change_speed(clip, factor=factor)
    assert len(changed) == math.ceil(9_001 / factor)
    np.testing.assert_allclose(changed, expected.numpy(), atol=1e-5)


def test_speed_moves_the_pitch(sine, level_db):
    faster = change_speed(sine(1_000), factor=1.25)  # 0.8 s of 1250 Hz
    spectrum = np.abs(np.fft.rfft(faster))
    assert np.argmax(spectrum) * 16_000 / len(faster) == pytest.approx(1_250, abs=2)


def test_speed_of_one_returns_a_copy(sound):
    clip = sound(100)
    same = change_speed(clip, factor=1.0)
    np.testing.assert_array_equal(same, clip)
    assert not np.shares_memory(same, clip)


def test_values_out_of_range_are_errors(sound):
    with pytest.raises(AugmentationError, match=r"factor: expected a number between 0\.5 and 2, found 0\.4"):
        change_speed(sound(), factor=0.4)
    with pytest.raises(AugmentationError, match="seconds: expected a number between -30 and 30, found 31"):
        shift(sound(), seconds=31)
