"""Sounds for the transforms' tests."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def sound():
    """Make a sound of a length in samples that swells and fades: noise with a spectrum that falls, peak 0.5."""

    def make(num_samples: int = 16_000, seed: int = 0) -> np.ndarray:
        generator = np.random.default_rng(seed)
        noise = np.convolve(generator.standard_normal(num_samples), [0.3, 0.5, 0.2])[:num_samples]
        noise *= np.abs(np.sin(np.arange(num_samples) / 1_300 + 0.4)) + 0.01
        return (0.5 * noise / np.abs(noise).max()).astype(np.float32)

    return make


@pytest.fixture
def sine():
    """Make a sine of a frequency in Hz, 1 s at 16 kHz, amplitude 0.5."""
    return lambda hertz: (0.5 * np.sin(2 * np.pi * hertz * np.arange(16_000) / 16_000)).astype(np.float32)


@pytest.fixture
def level_db():
    """Measure the level of one frequency in Hz within 1 s, by the FFT under a Hann window, in dB of a full sine."""

    def measure(waveform: np.ndarray, hertz: int) -> float:
        spectrum = np.abs(np.fft.rfft(waveform.astype(np.float64) * np.hanning(len(waveform))))
        return 20 * np.log10(max(spectrum[hertz], 1e-12) / (len(waveform) / 4))

    return measure


@pytest.fixture
def lag():
    """Measure by how many samples a sound comes later than another, by the peak of their cross-correlation."""

    def measure(late: np.ndarray, early: np.ndarray) -> int:
        size = len(late) + len(early)
        product = np.fft.rfft(late, size) * np.conj(np.fft.rfft(early, size))
        peak = int(np.argmax(np.fft.irfft(product, size)))
        return peak if peak < size // 2 else peak - size

    return measure
