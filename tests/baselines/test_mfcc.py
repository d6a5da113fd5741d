from __future__ import annotations

import numpy as np
import pytest
import scipy.fft

from nvv.baselines.mfcc import FEATURE_NAMES, MfccStatistics


def mel_bands(num_bands: int = 40, num_bins: int = 201, highest: float = 8000.0) -> np.ndarray:
    """Triangles equally wide in mels (2595 · log10(1 + f / 700)) from 0 to 8 kHz."""
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + highest / 700), num_bands + 2) / 2595) - 1)
    bins = np.linspace(0, highest, num_bins)[:, None]
    rising = (bins - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - bins) / np.diff(edges)[1:]
    return np.maximum(0, np.minimum(rising, falling))  # (bins, bands)


def cepstrum(waveform: np.ndarray) -> np.ndarray:
    """Twenty coefficients of each whole frame of 400 samples, hop 160, by numpy and scipy alone."""
    starts = range(0, len(waveform) - 400 + 1, 160)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    power = np.abs(np.fft.rfft([window * waveform[at : at + 400] for at in starts])) ** 2
    return scipy.fft.dct(np.log(power @ mel_bands() + 1e-6), norm="ortho")[:, :20].T  # (coefficients, frames)


def slopes(tracks: np.ndarray) -> np.ndarray:
    """The slope of a line through 9 frames, the ends repeated."""
    padded = np.pad(tracks, ((0, 0), (4, 4)), mode="edge")
    weights = np.arange(-4, 5)
    return np.stack([padded[:, at : at + 9] @ weights / (weights**2).sum() for at in range(tracks.shape[1])], axis=1)


@pytest.fixture(scope="module")
def describe() -> MfccStatistics:
    return MfccStatistics()


def noise(num_samples: int, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(num_samples)).astype(np.float32)


def test_statistics_equal_an_independent_computation(describe):
    waveform = noise(5_321)
    first = slopes(coefficients := cepstrum(waveform.astype(np.float64)))
    tracks = np.concatenate([coefficients, first, slopes(first)])
    assert coefficients.shape == (20, 31)  # 1 + (5321 - 400) // 160 frames: the rest of the clip is no whole frame
    expected = [
        tracks.mean(1), tracks.std(1), tracks.min(1), tracks.max(1), *np.quantile(tracks, [0.25, 0.5, 0.75], axis=1)
    ]  # fmt: skip
    np.testing.assert_allclose(describe(waveform), np.concatenate(expected), atol=2e-4)


def test_names_tell_the_numbers_apart(describe):
    found = dict(zip(FEATURE_NAMES, describe(noise(8_000)), strict=True))
    assert len(found) == len(FEATURE_NAMES) == 7 * 3 * 20
    louder = dict(zip(FEATURE_NAMES, describe(2 * noise(8_000)), strict=True))
    # Twice the amplitude is 4 times the power: each of 40 log bands rises by log 4, of which c0 is the sum / √40.
    assert louder["mfcc0_mean"] - found["mfcc0_mean"] == pytest.approx(np.log(4) * np.sqrt(40), abs=1e-2)
    assert louder["mfcc1_mean"] == pytest.approx(found["mfcc1_mean"], abs=1e-2)
    assert louder["delta0_std"] == pytest.approx(found["delta0_std"], abs=1e-2)


@pytest.mark.parametrize("num_samples", [1, 160, 399, 400])
def test_clip_shorter_than_a_frame_is_one_frame(describe, num_samples):
    found = dict(zip(FEATURE_NAMES, describe(noise(num_samples)), strict=True))
    filled = np.pad(noise(num_samples).astype(np.float64), (0, 400 - num_samples))
    assert found["mfcc3_mean"] == pytest.approx(cepstrum(filled)[3, 0], abs=1e-3)
    assert [found["mfcc3_std"], found["delta3_max"]] == pytest.approx([0, 0], abs=1e-6)
    assert all(np.isfinite(list(found.values())))


def test_silence_has_finite_statistics(describe):
    assert np.isfinite(describe(np.zeros(16_000, dtype=np.float32))).all()


def test_waveform_is_left_as_it_is(describe):
    waveform = noise(1_000)
    before = waveform.copy()
    describe(waveform)
    np.testing.assert_array_equal(waveform, before)
