"""Round trips through lossy codecs, in memory: what a clip is after it was stored or sent compressed.

Encoding and decoding are libsndfile's, through soundfile; which codecs there are depends on the installed libsndfile
(the wheels of soundfile bring MP3, Opus and Vorbis). Length and position are kept: MP3 files of the lowest bit rates
have no room for the header that tells a decoder the encoder's delay (1,105 samples), so they come back late and longer
and are put back in place here. Waveforms are float32 mono at 16 kHz, a rate that all three codecs take. Own work.
"""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
import soundfile
from scipy import signal

from ...audio import SAMPLING_RATE
from .checks import AugmentationError, checked_number, checked_waveform

__all__ = ["CODECS", "codecs_available", "coded"]

CODECS = {"mp3": ("MP3", "MPEG_LAYER_III"), "opus": ("OGG", "OPUS"), "vorbis": ("OGG", "VORBIS")}
"""By codec: libsndfile's container and subtype."""

_LARGEST_COMPRESSION = 0.99  # the encoder of MP3 refuses 1
_COMPRESSION_DIGITS = 2
_PROBE_SECONDS = 0.5


def coded(waveform: np.ndarray, *, codec: str = "mp3", compression: float = 0.8) -> np.ndarray:
    """Encode a clip and decode it again.

    Args:
        waveform: the clip (samples,); what leaves ±1 is cut, as in a file.
        codec: `mp3`, `opus` or `vorbis`.
        compression: in [0, 0.99], rounded to hundredths: from best to smallest. At 16 kHz mono the bit rate is about
            160 - 152 · compression kbit/s with MP3 (constant, the nearest of its steps of 8 and 16) and
            256 - 250 · compression with Opus; with Vorbis it varies, from about 47 down to 28.

    Returns:
        The clip (samples,), in its place.

    Raises:
        AugmentationError: for an unknown codec or one that the installed libsndfile lacks, a compression out of range,
            or no usable waveform.
    """
    clip = checked_waveform(waveform)
    if codec not in CODECS:
        raise AugmentationError(f"codec: expected one of {', '.join(CODECS)}; found {codec!r}.")
    compression = checked_number("compression", compression, low=0.0, high=_LARGEST_COMPRESSION)
    if codec not in codecs_available():
        raise AugmentationError(
            f"codec: libsndfile {soundfile.__libsndfile_version__} cannot write and read {codec}; it has "
            f"{', '.join(codecs_available()) or 'none'}. The wheels of soundfile 0.13 bring all."
        )
    compression = round(compression, _COMPRESSION_DIGITS)
    decoded = _round_trip(np.clip(clip, -1.0, 1.0), codec=codec, compression=compression)
    if len(decoded) != len(clip):
        # The file did not tell its delay and length.
        decoded = decoded[_delay(codec, compression) :][: len(clip)]
        decoded = np.pad(decoded, (0, len(clip) - len(decoded)))
    return decoded


@lru_cache(maxsize=1)
def codecs_available() -> tuple[str, ...]:
    """Return which of `CODECS` the installed libsndfile writes and reads, found by doing it once."""
    return tuple(codec for codec in CODECS if _works(codec))


def _works(codec: str) -> bool:
    container, subtype = CODECS[codec]
    if not soundfile.check_format(container, subtype):
        return False
    try:
        _round_trip(np.zeros(SAMPLING_RATE // 10, dtype=np.float32), codec=codec, compression=0.5)
    except soundfile.LibsndfileError:
        return False
    return True


def _round_trip(clip: np.ndarray, *, codec: str, compression: float) -> np.ndarray:
    """Write a clip into memory and read what comes back, of whatever length."""
    container, subtype = CODECS[codec]
    options = {"bitrate_mode": "CONSTANT"} if codec == "mp3" else {}
    stream = io.BytesIO()
    with soundfile.SoundFile(
        stream, "w", SAMPLING_RATE, 1, subtype=subtype, format=container, compression_level=compression, **options
    ) as file:
        file.write(clip)
    stream.seek(0)
    decoded, _ = soundfile.read(stream, dtype="float32")
    return decoded


@lru_cache(maxsize=512)
def _delay(codec: str, compression: float) -> int:
    """Measure in samples how late a codec's output comes, with noise that it can code."""
    generator = np.random.default_rng(0)
    probe = generator.standard_normal(round(_PROBE_SECONDS * SAMPLING_RATE))
    filters = signal.butter(4, (200.0, 2_000.0), btype="bandpass", fs=SAMPLING_RATE, output="sos")
    probe = 0.1 * signal.sosfilt(filters, probe).astype(np.float32)
    decoded = _round_trip(probe, codec=codec, compression=compression)
    lags = signal.correlation_lags(len(decoded), len(probe))
    return max(0, int(lags[np.argmax(signal.correlate(decoded, probe))]))
