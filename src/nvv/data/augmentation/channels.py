"""What a recording channel does: gain, a low-pass, a telephone line.

Waveforms are float32 mono at 16 kHz (samples,), of the same length before and after and without delay: filters run
forwards and backwards. Own work on scipy's filters and torchaudio's companding and resampling.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import signal

from ...audio import SAMPLING_RATE, resample
from .checks import checked_number, checked_waveform

__all__ = ["TELEPHONE_BAND_HZ", "change_gain", "low_pass", "telephone_band"]

TELEPHONE_BAND_HZ = (300.0, 3_400.0)
_TELEPHONE_RATE = 8_000
_MU_LAW_LEVELS = 256
_LOW_PASS_ORDER = 8  # twice that with both passes: 96 dB an octave
_BAND_PASS_ORDER = 6
_IMAGE_ORDER, _IMAGE_CUTOFF_HZ = 10, 3_750.0


def change_gain(waveform: np.ndarray, *, gain_db: float, clip: bool = True) -> np.ndarray:
    """Make a clip louder or softer.

    Args:
        waveform: the clip (samples,).
        gain_db: in dB.
        clip: cut what leaves ±1, as a recorder with too high an input level does.

    Returns:
        The clip (samples,).

    Raises:
        AugmentationError: for a gain that is no finite number, or no usable waveform.
    """
    louder = checked_waveform(waveform) * np.float32(10 ** (checked_number("gain_db", gain_db) / 20))
    return np.clip(louder, -1.0, 1.0) if clip else louder


def low_pass(waveform: np.ndarray, *, cutoff_hz: float) -> np.ndarray:
    """Take high frequencies away, as a covered or cheap microphone does.

    Args:
        waveform: the clip (samples,).
        cutoff_hz: where the amplitude is halved (-6 dB), in [50, 7900]; beyond, it falls by 96 dB an octave and more.

    Returns:
        The clip (samples,).

    Raises:
        AugmentationError: for a frequency out of range, or no usable waveform.
    """
    cutoff_hz = checked_number("cutoff_hz", cutoff_hz, low=50.0, high=7_900.0)
    filters = signal.butter(_LOW_PASS_ORDER, cutoff_hz, fs=SAMPLING_RATE, output="sos")
    return _without_delay(filters, checked_waveform(waveform)).astype(np.float32)


def telephone_band(waveform: np.ndarray) -> np.ndarray:
    """Send a clip over a telephone line: 300 to 3400 Hz, 8 kHz, 8-bit mu-law samples.

    Band limits as in ITU-T G.712 and companding as in G.711, with the continuous mu-law of torchaudio rather than its
    piecewise-linear approximation. Samples beyond ±1 are cut, as the coder does.

    Args:
        waveform: the clip (samples,).

    Returns:
        The clip (samples,), again at 16 kHz.

    Raises:
        AugmentationError: for no usable waveform.
    """
    import torch  # here and not above: corpora are read without it
    from torchaudio.functional import mu_law_decoding, mu_law_encoding

    clip = checked_waveform(waveform)
    narrow = resample(clip, SAMPLING_RATE, sampling_rate=_TELEPHONE_RATE)
    sent = np.clip(_without_delay(_telephone_filters(), narrow), -1.0, 1.0).astype(np.float32)
    coded = mu_law_encoding(torch.from_numpy(sent), _MU_LAW_LEVELS)
    # The receiving side filters too; it also takes away the offset that an even number of levels gives to silence.
    received = _without_delay(_telephone_filters(), mu_law_decoding(coded, _MU_LAW_LEVELS).numpy())
    wide = resample(received.astype(np.float32), _TELEPHONE_RATE, sampling_rate=SAMPLING_RATE)[: len(clip)]
    # Resampling leaves mirror images above 4 kHz, 55 dB down: louder than what Whisper's log-mel frames still show.
    return _without_delay(_image_filters(), wide).astype(np.float32)


@lru_cache(maxsize=1)
def _telephone_filters() -> np.ndarray:
    return signal.butter(_BAND_PASS_ORDER, TELEPHONE_BAND_HZ, btype="bandpass", fs=_TELEPHONE_RATE, output="sos")


@lru_cache(maxsize=1)
def _image_filters() -> np.ndarray:
    return signal.butter(_IMAGE_ORDER, _IMAGE_CUTOFF_HZ, fs=SAMPLING_RATE, output="sos")


def _without_delay(filters: np.ndarray, waveform: np.ndarray) -> np.ndarray:
    """Filter forwards and backwards, in float64; a clip shorter than scipy's padding is padded with itself less."""
    padding = min(3 * (2 * len(filters) + 1), len(waveform) - 1)
    return signal.sosfiltfilt(filters, waveform.astype(np.float64), padlen=padding)
