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

Lengths are read from the containers in the neighbour ``audio_containers``. Own work.
"""

from __future__ import annotations

import functools
import io
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from .audio_containers import bytes_missing, mp3_states_length

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
    "filter_geometry",
    "mono_blocks",
    "resample",
]

SAMPLING_RATE = 16_000
"""Samples per second that every supported backbone was pretrained at."""

_MAX_ARRAY_CHANNELS = 64
_MAX_FILTER_VALUES = (
    50_000_000  # 200 MB of float32; reached only by rates that share no factor, such as 44099 and 16000
)
_RESAMPLING_MARGIN_S = 1.0  # beyond what is wanted: far more than any filter reaches
_FULL_SCALE = {np.dtype(np.int16): 2.0**15, np.dtype(np.int32): 2.0**31}


class AudioError(ValueError):
    """A clip that cannot be used; the message names the clip, the reason and, where there is one, the next step."""


def decode_audio(
    source: Any,
    *,
    sampling_rate: int = SAMPLING_RATE,
    source_sampling_rate: int | None = None,
    name: str | None = None,
    max_seconds: float | None = None,
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
        max_seconds: Only so much from the start, in seconds, > 0; the rest of a file is then neither read nor checked,
            but for what its header promises. None: all of it.

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
        waveform, source_rate, _ = _read_file(source, name, max_seconds=max_seconds)
    if max_seconds is not None:
        waveform = crop(waveform, max_seconds=max_seconds + _RESAMPLING_MARGIN_S, sampling_rate=source_rate)
    _check_finite(waveform, name)
    resampled = resample(waveform, source_rate, sampling_rate=sampling_rate, name=name)
    return resampled if max_seconds is None else crop(resampled, max_seconds=max_seconds, sampling_rate=sampling_rate)


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
    phases, step, width = filter_geometry(source_rate, target_rate)
    if phases * (2 * width + step) > _MAX_FILTER_VALUES:
        raise AudioError(
            f"{name}: no practical filter leads from {source_rate} Hz to {target_rate} Hz (common factor "
            f"{source_rate // step}); convert the file to a usual rate first."
        )
    import torch  # here, so that reading a corpus without resampling does not load it

    with torch.no_grad():
        resampled = _resampler(source_rate, target_rate)(torch.from_numpy(np.ascontiguousarray(waveform)))
    return resampled.numpy()


def filter_geometry(source_sampling_rate: int, sampling_rate: int = SAMPLING_RATE) -> tuple[int, int, int]:
    """Describe the filter that `resample` uses between two rates.

    Args:
        source_sampling_rate: Rate of the input in Hz, > 0.
        sampling_rate: Rate of the result in Hz, > 0.

    Returns:
        ``(phases, step, width)``: each ``step`` samples of the input give ``phases`` of the result, and those depend on
        ``width`` samples of the input before and after the step (torchaudio's default: six zero crossings a side).

    Example:
        >>> filter_geometry(48_000, 16_000)
        (1, 3, 19)
    """
    divisor = math.gcd(source_sampling_rate, sampling_rate)
    phases, step = sampling_rate // divisor, source_sampling_rate // divisor
    return phases, step, math.ceil(6 * step / (0.99 * min(phases, step)))


def mono_blocks(
    source: Any, *, block_seconds: float, name: str | None = None
) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Decode a file block by block, in constant memory.

    Args:
        source: A path or the bytes of a file.
        block_seconds: Seconds in a block, > 0.
        name: What to call the recording in errors; by default its path.

    Yields:
        ``(samples, sampling_rate)`` of each block: its channels' average and the file's own rate. The samples of all
        blocks together are those that `decode_audio` finds before it resamples.

    Raises:
        AudioError: As `decode_audio`: before the first block where the file cannot be opened, and as soon as that is
            seen where it is damaged. FLAC and MP3 files show only at their end that they were cut off.
        TypeError: If ``source`` is of another type.
        ValueError: If ``block_seconds`` is not positive.
    """
    if not block_seconds > 0:
        raise ValueError(f"block_seconds: expected more than 0, found {block_seconds!r}.")
    name = name or _name_of(source)
    with _open_binary(source, name) as stream, _open_sound(stream, name, kind=_SequentialSound) as sound:
        rate = sound.samplerate
        block_size = max(1, round(block_seconds * rate))
        num_read = 0
        while num_read < sound.frames:
            samples = _decoded(sound, name, num_frames=min(block_size, sound.frames - num_read))
            if not len(samples):
                break
            mono = _as_mono(samples)
            _check_finite(mono, f"{name}: from {num_read / rate:.1f} s")
            num_read += len(mono)
            yield mono, rate
        _check_complete(num_read, sound, stream, name)


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


def _read_file(source: Any, name: str, *, max_seconds: float | None = None) -> tuple[np.ndarray, int, int]:
    """Decode a file, or its start and what resampling needs beyond, to (mono waveform, its rate, its channels)."""
    with _open_binary(source, name) as stream, _open_sound(stream, name) as sound:
        wanted = math.inf if max_seconds is None else (max_seconds + _RESAMPLING_MARGIN_S) * sound.samplerate
        samples = _decoded(sound, name, num_frames=math.ceil(wanted) if wanted < sound.frames else -1)
        if len(samples) < wanted:
            _check_complete(len(samples), sound, stream, name)
        return _as_mono(samples), sound.samplerate, samples.shape[1]


class _SequentialSound(soundfile.SoundFile):
    """A file that is read from its start to its end.

    After each read ``soundfile`` seeks to the place where it already is, and there MP3 decoders lose the overlap with
    the frame before: blocks would differ from the whole.
    """

    def seekable(self) -> bool:
        """Say that there is no seeking."""
        return False


def _decoded(sound: soundfile.SoundFile, name: str, *, num_frames: int = -1) -> np.ndarray:
    """Read the next samples, by default all, float32 (samples, channels)."""
    try:
        return _read_samples(sound, num_frames)
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{name}: damaged or cut off while decoding ({error}).") from error


def _as_mono(samples: np.ndarray) -> np.ndarray:
    """Average the channels of samples (samples, channels)."""
    return samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1, dtype=np.float64).astype(np.float32)


def _check_complete(num_samples: int, sound: soundfile.SoundFile, stream: BinaryIO, name: str) -> None:
    """Refuse a file of which less was read than its header promises, or nothing."""
    promised = sound.frames
    if num_samples < promised and (sound.format != "MP3" or mp3_states_length(stream)):
        raise AudioError(f"{name}: cut off, {num_samples} samples where the header promises {promised}.")
    if not num_samples:
        raise AudioError(f"{name}: a header without samples.")


def _read_samples(sound: soundfile.SoundFile, num_frames: int) -> np.ndarray:
    """Read samples, float32 (samples, channels)."""
    if sound.subtype != "PCM_16":
        return sound.read(num_frames, dtype="float32", always_2d=True)
    # The same numbers as libsndfile's own conversion, which takes longer than all the rest of reading a file.
    samples = sound.read(num_frames, dtype="int16", always_2d=True)
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


def _open_sound(
    stream: BinaryIO, name: str, *, kind: type[soundfile.SoundFile] = soundfile.SoundFile
) -> soundfile.SoundFile:
    shortfall = bytes_missing(stream)
    if shortfall is not None:
        raise AudioError(f"{name}: cut off, {shortfall}.")
    try:
        sound = kind(stream)
    except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: a headerless .raw file
        reason = getattr(error, "error_string", str(error))
        raise AudioError(f"{name}: not readable as audio ({reason}).") from error
    if sound.frames <= 0:
        sound.close()
        raise AudioError(f"{name}: a header without samples.")
    return sound
