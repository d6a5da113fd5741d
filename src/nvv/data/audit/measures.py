"""What one clip shows: rate, duration, level, clipping, silence and bandwidth, with its digests and its fingerprint.

Everything that the audit knows of a clip's sound is measured here, in one pass, and the audio is let go. What is a
finding is decided in the neighbour ``sound_checks``. Decoding is ``nvv.audio``'s. Levels are in dBFS (0 dB: full
scale), times in seconds, shares from 0 to 1.

Source: own work.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

import numpy as np
import soundfile
from scipy import fft

from ...audio import AudioError, check_audio, decode_audio
from .fingerprint import Fingerprint, fingerprint, to_8khz

__all__ = ["FULL_SCALE", "MIN_CLIPPED_RUN", "SILENT_BELOW_LOUDEST_DB", "SILENT_DBFS", "ClipMeasures", "measure_clip"]

FULL_SCALE = 0.999
"""Samples of at least this magnitude count as full scale."""

MIN_CLIPPED_RUN = 3
"""This many samples at full scale in a row count as clipped; a single one may be a normalised peak."""

SILENT_DBFS = -60.0
"""A clip whose peak is lower holds nothing."""

SILENT_BELOW_LOUDEST_DB = 40.0
"""A frame of 20 ms that is this much quieter than the clip's loudest is silent."""

_FRAME_SECONDS = 0.02
_NUM_SPECTRUM_BANDS = 80  # of 100 Hz in a file of 16 kHz
_SLOPE_BANDS = 6  # what a resampler's filter may take to fall
_MIN_FALL_DB = 15.0
_EMPTY_BELOW_LOUDEST_DB = 60.0
_EMPTY_ABOVE_ROUNDING_DB = (6.0, 18.0)
_ROUNDING_POWER = 2.0**-30 / 12  # of rounding to 16 bit, white noise of one twelfth of a step squared
_MAX_FILLED_SHARE = 0.85  # above it, a fall is the anti-aliasing filter of any recorder
_MAX_SPECTRA = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipMeasures:
    """What was measured of a clip.

    Attributes:
        error: Why it cannot be decoded; then nothing else is known. Empty for a good clip.
        samples_digest: SHA-256 of rate and decoded samples: equal for copies in any lossless container.
        duration_s: Seconds, > 0.
        sampling_rate: Of the file in Hz.
        num_channels: Before averaging.
        peak_dbfs: Of the largest sample of any channel; -200 for digital silence.
        clipped_share: Samples in runs of at least `MIN_CLIPPED_RUN` at full scale, as a share of all.
        num_clipped_runs: Such runs.
        is_silent: The peak lies below `SILENT_DBFS`.
        silence_share: Share of frames that are silent.
        leading_silence_s, trailing_silence_s: Silent frames at the start and at the end.
        filled_to_hz: Frequency above which the spectrum is empty, as in resampled audio of a lower rate; None where it
            is not.
        fingerprint: See the neighbour ``fingerprint``; None for a clip without sound.
    """

    error: str = ""
    samples_digest: str = ""
    duration_s: float = 0.0
    sampling_rate: int = 0
    num_channels: int = 0
    peak_dbfs: float = 0.0
    clipped_share: float = 0.0
    num_clipped_runs: int = 0
    is_silent: bool = False
    silence_share: float = 0.0
    leading_silence_s: float = 0.0
    trailing_silence_s: float = 0.0
    filled_to_hz: float | None = None
    fingerprint: Fingerprint | None = None


def measure_clip(content: bytes, *, name: str) -> ClipMeasures:
    """Decode a clip and measure it.

    Args:
        content: The bytes of its file.
        name: What to call it in errors.

    Returns:
        The measures; with ``error`` set where it cannot be decoded.
    """
    try:
        waveform, sampling_rate, channels = _decode(content, name)
    except AudioError as error:
        return ClipMeasures(error=str(error).removeprefix(f"{name}: "))
    peak = float(np.abs(channels).max())
    runs = [_clipped_runs(channel) for channel in channels.T]
    silence_share, leading_s, trailing_s = _silence(waveform, sampling_rate)
    is_silent = _decibel(peak**2) < SILENT_DBFS
    return ClipMeasures(
        samples_digest=_samples_digest(waveform, sampling_rate),
        duration_s=len(waveform) / sampling_rate,
        sampling_rate=sampling_rate,
        num_channels=channels.shape[1],
        peak_dbfs=_decibel(peak**2),
        clipped_share=sum(int(lengths.sum()) for lengths in runs) / channels.size,
        num_clipped_runs=sum(len(lengths) for lengths in runs),
        is_silent=is_silent,
        silence_share=1.0 if is_silent else silence_share,
        leading_silence_s=leading_s,
        trailing_silence_s=trailing_s,
        filled_to_hz=None if is_silent else _filled_to(waveform, sampling_rate),
        fingerprint=None if is_silent else fingerprint(to_8khz(waveform, sampling_rate)),
    )


def _decode(content: bytes, name: str) -> tuple[np.ndarray, int, np.ndarray]:
    """Return the mono waveform (samples,), its rate, and all channels (samples, channels), nothing resampled."""
    try:
        header = soundfile.info(io.BytesIO(content))
    except (soundfile.LibsndfileError, TypeError):
        check_audio(content, name=name)  # raises the error that says what is wrong
        raise AudioError(f"{name}: not readable as audio.") from None
    waveform = decode_audio(content, sampling_rate=header.samplerate, name=name)
    if header.channels == 1:
        return waveform, header.samplerate, waveform[:, None]
    channels, _ = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    return waveform, header.samplerate, channels


def _samples_digest(waveform: np.ndarray, sampling_rate: int) -> str:
    digest = hashlib.sha256(str(sampling_rate).encode())
    digest.update(np.ascontiguousarray(waveform + np.float32(0), dtype="<f4").tobytes())  # + 0: no negative zeros
    return digest.hexdigest()


def _decibel(power: float | np.ndarray) -> float | np.ndarray:
    return 10 * np.log10(np.maximum(power, 1e-20))


def _clipped_runs(samples: np.ndarray) -> np.ndarray:
    """Lengths of the runs at full scale of one sign, shape (runs,)."""
    sign = np.where(np.abs(samples) >= FULL_SCALE, np.sign(samples), 0).astype(np.int8)
    edges = np.flatnonzero(np.diff(sign, prepend=0, append=0))
    begins, lengths = edges[:-1], np.diff(edges)
    return lengths[(sign[begins] != 0) & (lengths >= MIN_CLIPPED_RUN)]


def _silence(waveform: np.ndarray, sampling_rate: int) -> tuple[float, float, float]:
    """Share of silent frames, and seconds of them at the start and at the end."""
    frame = min(len(waveform), max(1, round(_FRAME_SECONDS * sampling_rate)))
    num_frames = len(waveform) // frame
    power = np.square(waveform[: num_frames * frame].reshape(num_frames, frame), dtype=np.float64).mean(axis=1)
    sounding = np.flatnonzero(power > power.max() * 10 ** (-SILENT_BELOW_LOUDEST_DB / 10))
    if not len(sounding):
        return 1.0, 0.0, 0.0
    seconds = frame / sampling_rate
    return (
        1 - len(sounding) / num_frames,
        int(sounding[0]) * seconds,
        (num_frames - 1 - int(sounding[-1])) * seconds,
    )


def _filled_to(waveform: np.ndarray, sampling_rate: int) -> float | None:
    """Frequency in Hz above which the spectrum holds no more than rounding noise, and below which it plainly does.

    In the median spectrum of the frames that sound, every band above lies 60 dB below the loudest band, or 6 dB above
    the noise of rounding to 16 bit if that is higher, and at most 18 dB above it: room noise is no emptiness. The six
    bands that lie six bands lower exceed that limit by 15 dB (median): a voice fades into the noise more gently than a
    resampler's filter.
    """
    size = 1 << max(8, round(np.log2(0.032 * sampling_rate)))  # about 32 ms
    if len(waveform) < size:
        return None
    frames = np.lib.stride_tricks.sliding_window_view(waveform, size)[:: size // 2]
    frames = frames[:: -(-len(frames) // _MAX_SPECTRA)]
    window = np.hanning(size).astype(np.float32)
    power = np.square(np.abs(fft.rfft(frames * window, axis=1))) / np.square(window).sum()
    edges = np.linspace(1, power.shape[1], _NUM_SPECTRUM_BANDS + 1).astype(int)
    bands = np.add.reduceat(power, edges[:-1], axis=1) / np.diff(edges)  # (frames, bands), power of a bin
    loudness = bands.sum(axis=1)
    levels = _decibel(np.median(bands[loudness > 1e-4 * loudness.max()], axis=0))
    lowest, highest = (_decibel(_ROUNDING_POWER) + excess for excess in _EMPTY_ABOVE_ROUNDING_DB)
    limit = np.clip(levels.max() - _EMPTY_BELOW_LOUDEST_DB, lowest, highest)
    filled = np.flatnonzero(levels > limit)
    if not len(filled):
        return None
    end = int(filled[-1]) + 1
    if not 2 * _SLOPE_BANDS < end <= _MAX_FILLED_SHARE * _NUM_SPECTRUM_BANDS:
        return None
    if np.median(levels[end - 2 * _SLOPE_BANDS : end - _SLOPE_BANDS]) < limit + _MIN_FALL_DB:
        return None
    return end / _NUM_SPECTRUM_BANDS * sampling_rate / 2
