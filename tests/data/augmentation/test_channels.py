from __future__ import annotations

import numpy as np
import pytest

from nvv.data.augmentation import AugmentationError, change_gain, low_pass, telephone_band


def test_gain_is_in_decibels():
    clip = np.array([0.1, -0.2], dtype=np.float32)
    np.testing.assert_allclose(change_gain(clip, gain_db=20 * np.log10(3)), [0.3, -0.6], rtol=1e-6)
    np.testing.assert_allclose(change_gain(clip, gain_db=-20), [0.01, -0.02], rtol=1e-6)
    assert change_gain(clip, gain_db=0) is not clip


def test_gain_clips_only_when_told():
    clip = np.array([0.5, -0.5, 0.05], dtype=np.float32)
    np.testing.assert_allclose(change_gain(clip, gain_db=20), [1, -1, 0.5], rtol=1e-6)
    np.testing.assert_allclose(change_gain(clip, gain_db=20, clip=False), [5, -5, 0.5], rtol=1e-6)


@pytest.mark.parametrize("cutoff", [1_000, 4_000])
def test_low_pass_halves_the_cutoff_and_takes_what_is_above(sine, level_db, cutoff):
    def change_db(hertz):
        return level_db(low_pass(sine(hertz), cutoff_hz=cutoff), hertz) - level_db(sine(hertz), hertz)

    assert change_db(cutoff // 2) == pytest.approx(0, abs=0.05)
    assert change_db(cutoff) == pytest.approx(-6.02, abs=0.1)  # -3.01 dB of a Butterworth filter, twice
    assert change_db(round(1.8 * cutoff)) < -70


def test_low_pass_leaves_nothing_above_in_the_spectrum_of_noise(sound):
    before, after = (
        np.abs(np.fft.rfft(clip * np.hanning(16_000))) for clip in (sound(), low_pass(sound(), cutoff_hz=2_000))
    )
    assert np.linalg.norm(after[3_500:]) < 1e-4 * np.linalg.norm(before[3_500:])
    np.testing.assert_allclose(after[200:1_200], before[200:1_200], rtol=0.01, atol=0.01)


@pytest.mark.parametrize("transform", [lambda clip: low_pass(clip, cutoff_hz=3_000), telephone_band])
def test_filters_neither_delay_nor_lengthen(sound, lag, transform):
    for num_samples in (1, 2, 3, 57, 8_001):
        filtered = transform(sound(num_samples))
        assert (filtered.shape, filtered.dtype) == ((num_samples,), np.float32)
        assert np.isfinite(filtered).all()
    assert lag(transform(sound()), sound()) == 0
    silence = np.zeros(4_000, dtype=np.float32)
    np.testing.assert_allclose(transform(silence), 0, atol=1e-6)


def test_telephone_passes_its_band_only(sine, level_db):
    def change_db(hertz):
        return level_db(telephone_band(sine(hertz)), hertz) - level_db(sine(hertz), hertz)

    for hertz in (500, 1_000, 2_000, 3_000):
        assert change_db(hertz) == pytest.approx(0, abs=0.5)
    # Below and above the band, and above what 8 kHz can carry.
    for hertz in (100, 3_900, 5_000, 7_000):
        assert change_db(hertz) < -40


def test_telephone_leaves_no_mirror_images(sine, level_db):
    for hertz in (1_000, 3_000):  # of which resampling from 8 kHz would leave 7000 and 5000 Hz
        assert level_db(telephone_band(sine(hertz)), 8_000 - hertz) < level_db(sine(hertz), hertz) - 85


def test_telephone_quantises_as_mu_law_does(sine):
    # Mu-law with 256 levels keeps about 38 dB signal-to-noise ratio over a wide range of levels, which linear 8-bit
    # samples do only at full level (Jayant and Noll 1984, Digital Coding of Waveforms, section 5.3).
    for gain in (1.0, 0.1, 0.03):
        clip = gain * sine(1_000)
        part = slice(2_000, 14_000)
        error = telephone_band(clip)[part] - clip[part]
        snr_db = 10 * np.log10(np.mean(clip[part] ** 2) / np.mean(error**2))
        assert 30 < snr_db < 48


def test_telephone_cuts_what_is_beyond_full_scale():
    loud = 4 * np.sin(2 * np.pi * 1_000 * np.arange(16_000) / 16_000).astype(np.float32)
    assert np.abs(telephone_band(loud)).max() < 1.5


@pytest.mark.parametrize("cutoff", [0, 8_000, "4000"])
def test_cutoff_out_of_range_is_an_error(sound, cutoff):
    with pytest.raises(AugmentationError, match="cutoff_hz: expected a number between 50 and 7900, found"):
        low_pass(sound(), cutoff_hz=cutoff)
