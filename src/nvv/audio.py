"""One clip in, float32 mono at the model's sampling rate out: decoding, resampling and cropping.

This module knows nothing of corpora (``nvv.data``) or of batches (``nvv.training.collator``). Containers are read by
libsndfile through ``soundfile`` (WAV, FLAC, OGG, MP3 and whatever else the installed libsndfile reads), resampling is
torchaudio's.

What is checked, because libsndfile reads damaged files as shorter ones without a word:

==========  ====================================================================================================
container   how a file that was cut off is noticed
==========  ====================================================================================================
WAV, RF64   the data chunk promises more bytes than the file holds (a size of 0xFFFFFFFF means "unknown", as
            programs that write to a pipe leave it, and is accepted)
FLAC        the decoder loses its place, or fewer samples come than the header promises
OGG         the last page lacks the end-of-stream flag or is itself cut (Vorbis and Opus carry no length)
MP3         fewer samples come than the Xing, Info or VBRI frame promises; without such a frame an MP3 file says
            nothing of its length, and a cut one is indistinguishable from a shorter recording: it is accepted
==========  ====================================================================================================

Source: RIFF/WAVE and RF64 (EBU Tech 3306), Ogg framing (RFC 3533), ID3v2.4; the code is own work.
"""

from __future__ import annotations

import functools
import io
import math
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import soundfile

if TYPE_CHECKING:
    from torchaudio.transforms import Resample

__all__ = [
    "SAMPLING_RATE",
    "AudioError",
    "AudioProperties",
    "audio_duration",
    "check_audio",
    "crop",
    "decode_audio",
    "encode_wav",
    "resample",
]

SAMPLING_RATE = 16_000
"""Samples per second that every supported backbone was pretrained at."""

_UNKNOWN_SIZE = 0xFFFFFFFF
_MAX_ARRAY_CHANNELS = 64
_MAX_FILTER_VALUES = (
    50_000_000  # 200 MB of float32; reached only by rates that share no factor, such as 44099 and 16000
)
_FULL_SCALE = {np.dtype(np.int16): 2.0**15, np.dtype(np.int32): 2.0**31}


class AudioError(ValueError):
    """A clip that cannot be used; the message names the clip, the reason and, where there is one, the next step."""


def decode_audio(
    source: Any,
    *,
    sampling_rate: int = SAMPLING_RATE,
    source_sampling_rate: int | None = None,
    name: str | None = None,
) -> np.ndarray:
    """Decode one clip to mono at the given rate.

    Channels are averaged. A silent clip and a clip of one sample are valid. Values beyond ±1 (float files) are kept.

    Args:
        source: A path; the bytes of a file; a mapping ``{"bytes", "path"}`` (an undecoded cell of ``datasets.Audio``)
            or ``{"array", "sampling_rate"}``; or an array of float, int16 or int32 samples with shape ``(samples,)`` or
            ``(channels, samples)``.
        sampling_rate: Rate of the result in Hz, > 0.
        source_sampling_rate: Rate of ``source`` in Hz, > 0. Required for a bare array, refused for anything else.
        name: What to call the clip in errors; by default its path.

    Returns:
        Float32 array of shape ``(samples,)`` with at least one sample.

    Raises:
        AudioError: If the file is missing, empty, no audio, cut off (see the module's table), has no samples, or holds
            NaN or infinite samples; if a rate is not positive; if an array's shape or type is none of the above.
        TypeError: If ``source`` is of another type.

    Example:
        >>> decode_audio(np.zeros(8000), source_sampling_rate=8000).shape
        (16000,)
    """
    if isinstance(source, Mapping):
        source, source_sampling_rate, name = _open_mapping(source, source_sampling_rate, name)
    if isinstance(source, np.ndarray | list | tuple):
        name = name or "<array>"
        waveform, source_rate = _mono_of_array(source, source_sampling_rate, name=name)
    else:
        if source_sampling_rate is not None:
            raise AudioError(
                f"{name or source!r}: source_sampling_rate={source_sampling_rate} was given for an audio file, "
                "which states its own rate; leave it out."
            )
        name = name or _name_of(source)
        waveform, source_rate, _ = _read_file(source, name)
    _check_finite(waveform, name)
    return resample(waveform, source_rate, sampling_rate=sampling_rate, name=name)


@dataclass(frozen=True)
class AudioProperties:
    """What decoding a file found.

    Attributes:
        duration_s: Duration in seconds, > 0.
        sampling_rate: The file's own rate in Hz.
        num_channels: Channels before averaging.
    """

    duration_s: float
    sampling_rate: int
    num_channels: int


def check_audio(source: Any, *, name: str | None = None) -> AudioProperties:
    """Decode a file completely, without resampling, to be sure that it can be.

    Args:
        source: A path or the bytes of a file.
        name: What to call the clip in errors; by default its path.

    Returns:
        Duration, rate and channels as decoded.

    Raises:
        AudioError: As `decode_audio`.
        TypeError: If ``source`` is of another type.
    """
    name = name or _name_of(source)
    waveform, sampling_rate, num_channels = _read_file(source, name)
    _check_finite(waveform, name)
    return AudioProperties(len(waveform) / sampling_rate, sampling_rate, num_channels)


def resample(
    waveform: np.ndarray, source_sampling_rate: int, *, sampling_rate: int = SAMPLING_RATE, name: str = "<array>"
) -> np.ndarray:
    """Change the rate of a mono waveform with torchaudio's windowed-sinc filter, built once per pair of rates.

    Args:
        waveform: Float32 array of shape ``(samples,)``.
        source_sampling_rate: Its rate in Hz, > 0.
        sampling_rate: Rate of the result in Hz, > 0.
        name: What to call the clip in errors.

    Returns:
        Float32 array of shape ``(ceil(samples * sampling_rate / source_sampling_rate),)``; the input itself where the
        rates agree.

    Raises:
        AudioError: If a rate is not a positive whole number, or the two share so small a factor that the filter would
            not fit.
    """
    source_rate = _positive_rate(source_sampling_rate, "source_sampling_rate", name)
    target_rate = _positive_rate(sampling_rate, "sampling_rate", name)
    if source_rate == target_rate:
        return waveform
    divisor = math.gcd(source_rate, target_rate)
    # Phases of the polyphase filter times its width (torchaudio's default: six zero crossings a side).
    phases, step = target_rate // divisor, source_rate // divisor
    width = math.ceil(6 * step / (0.99 * min(phases, step)))
    if phases * (2 * width + step) > _MAX_FILTER_VALUES:
        raise AudioError(
            f"{name}: no practical filter leads from {source_rate} Hz to {target_rate} Hz (common factor {divisor}); "
            "convert the file to a usual rate first."
        )
    import torch  # here, so that reading a corpus without resampling does not load it

    with torch.no_grad():
        resampled = _resampler(source_rate, target_rate)(torch.from_numpy(np.ascontiguousarray(waveform)))
    return resampled.numpy()


def crop(
    waveform: np.ndarray,
    *,
    max_seconds: float,
    sampling_rate: int = SAMPLING_RATE,
    generator: np.random.Generator | None = None,
) -> np.ndarray:
    """Cut a waveform to a maximum length.

    Args:
        waveform: Array of shape ``(samples,)``.
        max_seconds: Longest result in seconds, > 0.
        sampling_rate: Rate of the waveform in Hz, > 0.
        generator: Source of the random start (training). None cuts from the start (evaluation).

    Returns:
        A view of shape ``(min(samples, round(max_seconds * sampling_rate)),)``; at least one sample of a non-empty
        waveform.

    Raises:
        ValueError: If ``max_seconds`` or the rate is not positive.

    Example:
        >>> crop(np.arange(4), max_seconds=0.5, sampling_rate=4)
        array([0, 1])
    """
    if not (math.isfinite(max_seconds) and max_seconds > 0):
        raise ValueError(f"max_seconds must be a positive number of seconds, got {max_seconds!r}.")
    rate = _positive_rate(sampling_rate, "sampling_rate", "crop")
    num_samples = max(1, round(max_seconds * rate))
    surplus = len(waveform) - num_samples
    if surplus <= 0:
        return waveform
    start = 0 if generator is None else int(generator.integers(0, surplus + 1))
    return waveform[start : start + num_samples]


def audio_duration(source: Any, *, name: str | None = None) -> float:
    """Return a clip's duration from its header, without decoding it.

    Args:
        source: As for `decode_audio`, but no bare array.
        name: What to call the clip in errors; by default its path.

    Returns:
        Duration in seconds, > 0.

    Raises:
        AudioError: If the file is missing, empty, no audio, has no samples, or is visibly cut off (FLAC and MP3 show
            that only when decoded).
        TypeError: If ``source`` is of another type.
    """
    if isinstance(source, Mapping):
        source, source_rate, name = _open_mapping(source, None, name)
        if source_rate is not None:
            waveform, rate = _mono_of_array(source, source_rate, name=name)
            return len(waveform) / rate
    name = name or _name_of(source)
    with _open_binary(source, name) as stream, _open_sound(stream, name) as sound:
        return sound.frames / sound.samplerate


def encode_wav(waveform: np.ndarray, sampling_rate: int = SAMPLING_RATE) -> bytes:
    """Encode a mono waveform as a 16-bit PCM WAV file; values beyond ±1 are clipped.

    Args:
        waveform: Float array of shape ``(samples,)``.
        sampling_rate: Its rate in Hz.

    Returns:
        The bytes of the file.
    """
    stream = io.BytesIO()
    samples = np.clip(np.rint(np.asarray(waveform) * 32767.0), -32768, 32767).astype(np.int16)
    soundfile.write(stream, samples, sampling_rate, format="WAV", subtype="PCM_16")
    return stream.getvalue()


@functools.lru_cache(maxsize=32)
def _resampler(source_rate: int, target_rate: int) -> Resample:
    from torchaudio.transforms import Resample

    return Resample(source_rate, target_rate)


def _positive_rate(rate: Any, field: str, name: str) -> int:
    is_number = isinstance(rate, int | float | np.integer | np.floating) and not isinstance(rate, bool)
    if not (is_number and math.isfinite(rate) and rate > 0 and rate == int(rate)):
        raise AudioError(f"{name}: {field} must be a positive whole number of Hz, got {rate!r}.")
    return int(rate)


def _open_mapping(
    cell: Mapping[str, Any], source_rate: int | None, name: str | None
) -> tuple[Any, int | None, str | None]:
    """Reduce a mapping to (source, source_sampling_rate, name)."""
    if cell.get("array") is not None:
        return np.asarray(cell["array"]), cell.get("sampling_rate", source_rate), name or cell.get("path")
    path = cell.get("path")
    if cell.get("bytes") is not None:
        return cell["bytes"], source_rate, name or path
    if path is not None:
        return path, source_rate, name
    raise AudioError(
        f"{name or '<cell>'}: an audio cell needs a value in 'bytes', 'path' or 'array'; found the keys {sorted(cell)}."
    )


def _mono_of_array(samples: Any, source_rate: int | None, *, name: str) -> tuple[np.ndarray, int]:
    if source_rate is None:
        raise AudioError(f"{name}: an array does not state its rate; pass source_sampling_rate in Hz.")
    array = np.asarray(samples)
    if array.ndim not in (1, 2) or array.size == 0:
        raise AudioError(f"{name}: expected samples of shape (samples,) or (channels, samples), found {array.shape}.")
    if array.ndim == 2 and array.shape[0] > _MAX_ARRAY_CHANNELS:
        raise AudioError(
            f"{name}: shape {array.shape} means {array.shape[0]} channels; put the samples on the last axis."
        )
    if array.dtype in _FULL_SCALE:
        array = array / _FULL_SCALE[array.dtype]
    elif not np.issubdtype(array.dtype, np.floating):
        raise AudioError(f"{name}: samples must be floating point, int16 or int32, found {array.dtype}.")
    array = array.mean(axis=0) if array.ndim == 2 else array
    with np.errstate(over="ignore"):  # what overflows becomes infinite, which the caller refuses by name
        return array.astype(np.float32), _positive_rate(source_rate, "source_sampling_rate", name)


def _check_finite(waveform: np.ndarray, name: str) -> None:
    bad = int(np.count_nonzero(~np.isfinite(waveform)))
    if bad:
        raise AudioError(f"{name}: {bad} of {waveform.size} samples are NaN or infinite; repair or leave out the file.")


def _read_file(source: Any, name: str) -> tuple[np.ndarray, int, int]:
    """Decode a file to (mono waveform, its rate, its number of channels)."""
    with _open_binary(source, name) as stream, _open_sound(stream, name) as sound:
        try:
            samples = _read_samples(sound)
        except soundfile.LibsndfileError as error:
            raise AudioError(f"{name}: damaged or cut off while decoding ({error}).") from error
        promised = sound.frames
        if len(samples) < promised and (sound.format != "MP3" or _mp3_states_length(stream)):
            raise AudioError(f"{name}: cut off, {len(samples)} samples where the header promises {promised}.")
        if not len(samples):
            raise AudioError(f"{name}: a header without samples.")
        mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1, dtype=np.float64).astype(np.float32)
        return mono, sound.samplerate, samples.shape[1]


def _read_samples(sound: soundfile.SoundFile) -> np.ndarray:
    """Read all samples, float32 (samples, channels)."""
    if sound.subtype != "PCM_16":
        return sound.read(dtype="float32", always_2d=True)
    # The same numbers as libsndfile's own conversion, which takes longer than all the rest of reading a file.
    samples = sound.read(dtype="int16", always_2d=True)
    return np.multiply(samples, np.float32(1 / _FULL_SCALE[np.dtype(np.int16)]), dtype=np.float32)


def _name_of(source: Any) -> str:
    return os.fspath(source) if isinstance(source, str | os.PathLike) else "<bytes>"


def _open_binary(source: Any, name: str) -> BinaryIO:
    if isinstance(source, bytes | bytearray | memoryview):
        stream: BinaryIO = io.BytesIO(source)
    elif isinstance(source, str | os.PathLike):
        path = Path(source)
        if not path.is_file():
            raise AudioError(f"{name}: no such file." if not path.exists() else f"{name}: not a file.")
        stream = path.open("rb")
    else:
        raise TypeError(f"{name}: expected a path, bytes, a mapping or an array, got {type(source).__name__}.")
    if not stream.read(1):
        stream.close()
        raise AudioError(f"{name}: empty file (0 bytes).")
    stream.seek(0)
    return stream


def _open_sound(stream: BinaryIO, name: str) -> soundfile.SoundFile:
    shortfall = _bytes_missing(stream)
    if shortfall is not None:
        raise AudioError(f"{name}: cut off, {shortfall}.")
    try:
        sound = soundfile.SoundFile(stream)
    except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: a headerless .raw file
        reason = getattr(error, "error_string", str(error))
        raise AudioError(f"{name}: not readable as audio ({reason}).") from error
    if sound.frames <= 0:
        sound.close()
        raise AudioError(f"{name}: a header without samples.")
    return sound


def _bytes_missing(stream: BinaryIO) -> str | None:
    """Say what a WAV or Ogg file lacks at its end, or None. Leaves the stream at its start."""
    stream.seek(0)
    magic = stream.read(4)
    if magic in (b"RIFF", b"RIFX", b"RF64", b"BW64"):
        reason = _wav_shortfall(stream, "big" if magic == b"RIFX" else "little")
    elif magic == b"OggS":
        reason = _ogg_shortfall(stream)
    else:
        reason = None
    stream.seek(0)
    return reason


def _wav_shortfall(stream: BinaryIO, byte_order: str) -> str | None:
    file_size = stream.seek(0, os.SEEK_END)
    stream.seek(8)
    if stream.read(4) != b"WAVE":
        return None  # another RIFF form; libsndfile will say what it is not
    size_from_ds64: int | None = None
    position = 12
    while position + 8 <= file_size:
        stream.seek(position)
        header = stream.read(8)
        kind, size = header[:4], int.from_bytes(header[4:], byte_order)
        if kind == b"ds64":  # RF64: the true sizes of RIFF and data, eight bytes each
            size_from_ds64 = int.from_bytes(stream.read(16)[8:16], "little")
        if kind == b"data":
            if size == _UNKNOWN_SIZE:
                if size_from_ds64 is None:
                    return None
                size = size_from_ds64
            available = file_size - position - 8
            return f"{available} bytes of samples where the header promises {size}" if available < size else None
        position += 8 + size + size % 2  # chunks are padded to even length
    return "the file ends before its samples"


def _ogg_shortfall(stream: BinaryIO) -> str | None:
    """Check the last page: an Ogg page is at most 65,307 bytes, and the last one of a stream carries flag 4."""
    file_size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, file_size - 2 * 65_307))
    tail = stream.read()
    start = tail.rfind(b"OggS")
    page = tail[start:]
    if start < 0 or len(page) < 27 or len(page) < 27 + page[26]:
        return "the last Ogg page is incomplete"
    promised = 27 + page[26] + sum(page[27 : 27 + page[26]])
    if len(page) < promised:
        return f"the last Ogg page holds {len(page)} of {promised} bytes"
    return None if page[5] & 4 else "the last Ogg page does not end the stream"


def _mp3_states_length(stream: BinaryIO) -> bool:
    """Tell whether the first frame of an MP3 file is a Xing, Info or VBRI frame, which states the number of frames."""
    stream.seek(0)
    header = stream.read(10)
    start = 0
    if header[:3] == b"ID3" and len(header) == 10:
        sizes = struct.unpack("4B", header[6:10])  # seven bits a byte
        start = 10 + sum(size << shift for size, shift in zip(sizes, (21, 14, 7, 0), strict=True))
    stream.seek(start)
    first_frame = stream.read(256)
    return any(tag in first_frame for tag in (b"Xing", b"Info", b"VBRI"))
