from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from nvv.data.augmentation import AugmentationError, reverberate, room_response


def _schroeder_rt60(response):
    """Twice the time from -5 to -35 dB of the backward-integrated energy (Schroeder 1965; T30 of ISO 3382-1)."""
    decay = 10 * np.log10(np.cumsum(response[::-1] ** 2)[::-1] / np.sum(response**2))
    chosen = (decay < -5) & (decay > -35)
    slope, _ = np.polyfit(np.arange(len(response))[chosen] / 16_000, decay[chosen], 1)
    return -60 / slope


@pytest.mark.parametrize("rt60", [0.2, 0.5, 1.0, 2.0])
def test_response_decays_by_60_db_in_the_time_asked_for(rt60):
    found = [
        _schroeder_rt60(
            room_response(rt60_seconds=rt60, max_samples=100_000, generator=np.random.default_rng(seed))[1:]
        )
        for seed in range(5)
    ]
    assert np.mean(found) == pytest.approx(rt60, rel=0.03)
    np.testing.assert_allclose(found, rt60, rtol=0.1)


def test_impulse_becomes_the_rooms_response_at_its_place():
    clip = np.zeros(32_000, dtype=np.float32)
    clip[700] = 0.5
    wet = reverberate(clip, rt60_seconds=0.6, generator=np.random.default_rng(1)).astype(np.float64)
    assert wet.shape == clip.shape
    assert np.abs(wet).argmax() == 700
    np.testing.assert_allclose(wet[:700], 0, atol=1e-7)
    assert _schroeder_rt60(wet[701:]) == pytest.approx(0.6, rel=0.1)


@pytest.mark.parametrize("rt60", [0.3, 1.0])
def test_direct_sound_is_to_the_tail_as_at_one_metre_in_a_room_of_100_cubic_metres(rt60):
    # Critical distance 0.1 · sqrt(100 / (π · 0.3)) = 1.03 m, ratio 20 · log10(1.03) = 0.26 dB; at 1 s 0.564 m, -4.97 dB
    ratios = []
    for seed in range(20):
        response = room_response(rt60_seconds=rt60, max_samples=100_000, generator=np.random.default_rng(seed))
        ratios.append(1 / np.sum(response[1:] ** 2))
    assert 10 * np.log10(np.mean(ratios)) == pytest.approx({0.3: 0.26, 1.0: -4.97}[rt60], abs=0.3)


def test_reverberation_is_the_convolution_at_the_clips_own_power(sound):
    clip = sound(5_000)
    response = room_response(rt60_seconds=0.4, max_samples=5_000, generator=np.random.default_rng(3))
    direct = signal.convolve(clip.astype(np.float64), response, method="direct")[:5_000]
    expected = direct * np.sqrt(np.mean(clip.astype(np.float64) ** 2) / np.mean(direct**2))
    wet = reverberate(clip, rt60_seconds=0.4, generator=np.random.default_rng(3))
    assert wet.dtype == np.float32
    np.testing.assert_allclose(wet, expected, atol=1e-6)


@pytest.mark.parametrize("num_samples", [1, 2, 60_000])
def test_reverberation_keeps_length_and_silence(sound, num_samples):
    generator = np.random.default_rng(0)
    assert reverberate(sound(num_samples), rt60_seconds=0.1, generator=generator).shape == (num_samples,)
    silence = np.zeros(num_samples, dtype=np.float32)
    np.testing.assert_array_equal(reverberate(silence, rt60_seconds=0.1, generator=generator), silence)


@pytest.mark.parametrize("rt60", [0.0, -1.0, 11.0, float("inf"), True])
def test_time_out_of_range_is_an_error(sound, rt60):
    with pytest.raises(AugmentationError, match=r"rt60_seconds: expected a number between 0\.01 and 10"):
        reverberate(sound(), rt60_seconds=rt60, generator=np.random.default_rng(0))
