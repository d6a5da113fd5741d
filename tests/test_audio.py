import io
import struct
import warnings

import numpy as np
import pytest
import soundfile
import torch
import torchaudio

from nvv import audio
from nvv.audio import AudioError, audio_duration, check_audio, crop, decode_audio, encode_wav, resample

RATE = 16_000
FORMATS = [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None)]


def tone(seconds: float = 1.0, rate: int = RATE, hertz: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def encode(samples: np.ndarray, rate: int = RATE, container: str = "WAV", subtype: str | None = "PCM_16") -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, format=container, subtype=subtype)
    return stream.getvalue()


def noise(seconds: float = 2.0) -> np.ndarray:
    return 0.1 * np.random.default_rng(0).standard_normal(round(seconds * RATE))


# Decoding what is whole.


@pytest.mark.parametrize(("container", "subtype"), FORMATS)
def test_decode_returns_the_recorded_samples_when_format_is(container, subtype):
    samples = tone()
    decoded = decode_audio(encode(samples, container=container, subtype=subtype))
    assert decoded.dtype == np.float32
    assert decoded.shape == (RATE,)
    # Lossless: within half a step of 16 bits. Lossy: nearly the same wave.
    if container in ("WAV", "FLAC"):
        np.testing.assert_allclose(decoded, samples, atol=1 / 32768)
    else:
        assert np.corrcoef(decoded, samples)[0, 1] > 0.99


@pytest.mark.parametrize("container", ["WAV", "FLAC", "AIFF"])
def test_decode_gives_libsndfiles_own_numbers_when_samples_are_16_bit(container):
    extremes = np.array([[-1.0, 1.0], [0.0, -1 / 32768], [1 / 32768, 0.3], [0.5, -0.7]])
    content = encode(extremes, container=container)
    expected = soundfile.read(io.BytesIO(content), dtype="float32")[0].mean(axis=1)
    np.testing.assert_array_equal(decode_audio(content), expected)


def test_decode_gives_the_same_when_source_is_path_bytes_or_cell(tmp_path):
    content = encode(tone())
    path = tmp_path / "clip.wav"
    path.write_bytes(content)
    expected = decode_audio(content)
    samples, _ = soundfile.read(io.BytesIO(content))
    for source in (
        path,
        str(path),
        bytearray(content),
        {"bytes": content, "path": "elsewhere.wav"},
        {"bytes": None, "path": str(path)},
        {"array": samples, "sampling_rate": RATE},
    ):
        np.testing.assert_array_equal(decode_audio(source), expected)
    np.testing.assert_array_equal(decode_audio(samples, source_sampling_rate=RATE), expected)


def test_decode_averages_channels_when_there_are_eight():
    # Channel k holds the constant k / 16; the mean of 0..7 is 3.5, so every sample is 3.5 / 16.
    samples = np.tile(np.arange(8) / 16, (100, 1))
    np.testing.assert_allclose(decode_audio(encode(samples, subtype="FLOAT")), np.full(100, 3.5 / 16), atol=1e-7)
    np.testing.assert_allclose(decode_audio(samples.T, source_sampling_rate=RATE), np.full(100, 3.5 / 16), atol=1e-7)


def test_decode_scales_integer_arrays_by_their_full_scale():
    array = np.array([-32768, 0, 16384], dtype=np.int16)
    np.testing.assert_array_equal(decode_audio(array, source_sampling_rate=RATE), [-1.0, 0.0, 0.5])


def test_decode_keeps_values_beyond_one_when_file_is_float():
    np.testing.assert_array_equal(decode_audio(encode(np.array([2.0, -3.0]), subtype="FLOAT")), [2.0, -3.0])


def test_decode_accepts_a_silent_clip():
    np.testing.assert_array_equal(decode_audio(encode(np.zeros(50))), np.zeros(50))


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_decode_returns_something_when_clip_is_one_sample(rate):
    # ceil(1 * 16000 / rate): 2 samples from 8 kHz, 1 from the others.
    assert decode_audio(encode(np.array([0.25]), rate)).shape == (2 if rate == 8_000 else 1,)


# Resampling.


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_resample_equals_torchaudio_and_keeps_the_tone(rate):
    samples = tone(rate=rate).astype(np.float32)
    result = resample(samples, rate)
    reference = torchaudio.functional.resample(torch.from_numpy(samples), rate, RATE).numpy()
    np.testing.assert_allclose(result, reference, atol=2e-5)
    assert result.shape == (RATE,)
    assert np.argmax(np.abs(np.fft.rfft(result))) == 440  # one second: bin k is k Hz


def test_resampler_is_built_once_for_each_pair_of_rates(monkeypatch):
    built = []
    original = torchaudio.transforms.Resample

    def counting(*rates):
        built.append(rates)
        return original(*rates)

    monkeypatch.setattr(torchaudio.transforms, "Resample", counting)
    audio._resampler.cache_clear()
    for rate in (8_000, 8_000, 44_100, 8_000):
        decode_audio(np.ones(10), source_sampling_rate=rate)
    assert built == [(8_000, RATE), (44_100, RATE)]


@pytest.mark.parametrize("rate", [0, -1, 0.5, float("nan"), float("inf"), None, True, "16000"])
def test_rates_are_refused_when_not_positive_whole_numbers(rate):
    with pytest.raises(AudioError, match="Hz"):
        decode_audio(np.ones(10), source_sampling_rate=rate)
    if rate is not None:
        with pytest.raises(AudioError, match="positive whole number of Hz"):
            decode_audio(np.ones(10), source_sampling_rate=RATE, sampling_rate=rate)


def test_resample_is_refused_when_rates_share_no_factor():
    with pytest.raises(AudioError, match="44099 Hz to 16000 Hz"):
        resample(np.ones(10, dtype=np.float32), 44_099)


# Damage.


def test_decode_names_the_file_when_empty(tmp_path):
    path = tmp_path / "empty.wav"
    path.touch()
    with pytest.raises(AudioError, match=r"empty\.wav: empty file \(0 bytes\)"):
        decode_audio(path)


@pytest.mark.parametrize(("container", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS")])
def test_decode_is_refused_when_there_are_no_samples(container, subtype):
    with pytest.raises(AudioError, match=r"^x:"):
        decode_audio(encode(np.zeros(0), container=container, subtype=subtype), name="x")


def test_decode_names_the_file_when_header_has_no_samples():
    with pytest.raises(AudioError, match="x: a header without samples"):
        decode_audio(encode(np.zeros(0)), name="x")


@pytest.mark.parametrize(("container", "subtype"), FORMATS)
@pytest.mark.parametrize("share", [0.25, 0.5, 0.9, 0.999])
def test_decode_is_refused_when_cut_off(container, subtype, share):
    content = encode(noise(), container=container, subtype=subtype)
    assert len(decode_audio(content)) == 2 * RATE
    with pytest.raises(AudioError, match=r"^clip: "):
        decode_audio(content[: int(len(content) * share)], name="clip")


@pytest.mark.parametrize(("container", "subtype"), FORMATS)
def test_decode_is_refused_when_one_byte_is_missing(container, subtype):
    content = encode(noise(), container=container, subtype=subtype)
    with pytest.raises(AudioError, match="cut off"):
        decode_audio(content[:-1])


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_ogg_is_refused_when_its_last_page_is_missing(subtype):
    # What is left ends with a whole page, so that only the missing end-of-stream flag tells.
    content = encode(noise(), container="OGG", subtype=subtype)
    with pytest.raises(AudioError, match="the last Ogg page does not end the stream"):
        decode_audio(content[: content.rfind(b"OggS")])


def test_decode_states_both_sizes_when_wav_is_cut_off():
    # 44 bytes of header, then 1,000 samples of two bytes; 1,044 bytes leave 1,000 of 2,000.
    with pytest.raises(AudioError, match="1000 bytes of samples where the header promises 2000"):
        decode_audio(encode(np.zeros(1_000))[:1_044])


def test_wav_is_accepted_when_its_size_is_unknown_as_pipes_leave_it():
    content = bytearray(encode(tone()))
    content[40:44] = b"\xff\xff\xff\xff"
    assert len(decode_audio(bytes(content))) == RATE


def test_wav_is_accepted_when_other_chunks_surround_the_samples():
    content = encode(tone())
    odd_chunk = b"junk" + struct.pack("<I", 3) + b"abc\0"
    surrounded = content[:12] + odd_chunk + content[12:] + odd_chunk
    np.testing.assert_array_equal(decode_audio(surrounded), decode_audio(content))


def test_rf64_is_read_when_whole_and_refused_when_cut_off():
    content = encode(tone(), container="RF64")
    assert len(decode_audio(content)) == RATE
    with pytest.raises(AudioError, match="cut off"):
        decode_audio(content[:-100])


def test_mp3_without_length_frame_is_accepted_when_cut_off():
    # libsndfile writes a Xing or Info frame first; without it nothing tells how long the recording was.
    stream = io.BytesIO()
    soundfile.write(stream, noise(), RATE, format="MP3", bitrate_mode="CONSTANT", compression_level=0.5)
    content = stream.getvalue()
    frame_length = content.find(content[:2], 2)
    assert b"Info" in content[:frame_length]
    bare = content[frame_length:]
    # Eight places, because libsndfile's guess at the length is right where a frame begins and a little high elsewhere.
    for cut in range(len(bare) // 2, len(bare) // 2 + 32, 4):
        assert 0 < len(decode_audio(bare[:cut])) < 2 * RATE
    with pytest.raises(AudioError, match="cut off"):
        decode_audio(content[: len(content) // 2])


def test_mp3_length_frame_is_found_behind_an_id3_tag():
    content = encode(noise(), container="MP3", subtype=None)
    tag = b"ID3\x04\x00\x00" + bytes((0, 0, 2, 0)) + bytes(256)  # 2 * 128 bytes of padding
    assert len(decode_audio(tag + content)) == 2 * RATE
    with pytest.raises(AudioError, match="cut off"):
        decode_audio((tag + content)[: len(content) // 2])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_decode_is_refused_when_samples_are_not_finite(value):
    samples = np.array([0.0, value, 0.0, value])
    for source, rate in ((encode(samples, subtype="FLOAT"), None), (samples, RATE)):
        with pytest.raises(AudioError, match="x: 2 of 4 samples are NaN or infinite"):
            decode_audio(source, source_sampling_rate=rate, name="x")
    with pytest.raises(AudioError, match="NaN or infinite"):
        check_audio(encode(samples, subtype="FLOAT"))


def test_decode_is_refused_when_array_overflows_float32():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(AudioError, match="NaN or infinite"):
            decode_audio(np.array([1e300]), source_sampling_rate=RATE)


@pytest.mark.parametrize("content", [b"hello", b"RIFF", b"OggS", b"fLaC" + bytes(100), bytes(1000)])
def test_decode_is_refused_when_not_audio(content, tmp_path):
    for suffix in (".wav", ".raw"):
        path = tmp_path / f"text{suffix}"
        path.write_bytes(content)
        with pytest.raises(AudioError, match=f"text{suffix}"):
            decode_audio(path)


def test_decode_is_refused_when_there_is_no_file(tmp_path):
    with pytest.raises(AudioError, match=r"missing\.wav: no such file"):
        decode_audio(tmp_path / "missing.wav")
    with pytest.raises(AudioError, match="not a file"):
        decode_audio(tmp_path)


def test_decode_explains_when_arguments_do_not_fit():
    with pytest.raises(AudioError, match="pass source_sampling_rate"):
        decode_audio(np.ones(4))
    with pytest.raises(AudioError, match="states its own rate"):
        decode_audio(encode(tone()), source_sampling_rate=RATE)
    with pytest.raises(AudioError, match="found the keys"):
        decode_audio({"bytes": None, "path": None})
    with pytest.raises(TypeError, match="got int"):
        decode_audio(3)


@pytest.mark.parametrize("array", [np.ones((2, 2, 2)), np.ones(0), np.ones((1000, 2)), np.ones(4, dtype=np.uint8)])
def test_decode_is_refused_when_array_is_ambiguous(array):
    with pytest.raises(AudioError, match="<array>"):
        decode_audio(array, source_sampling_rate=RATE)


# Cropping.


def test_crop_cuts_from_the_start_when_evaluating():
    np.testing.assert_array_equal(crop(np.arange(10), max_seconds=0.5, sampling_rate=8), [0, 1, 2, 3])


def test_crop_reaches_every_start_when_training():
    generator = np.random.default_rng(0)
    starts = {int(crop(np.arange(6), max_seconds=4, sampling_rate=1, generator=generator)[0]) for _ in range(100)}
    assert starts == {0, 1, 2}  # 6 - 4 = 2 samples of room


def test_crop_repeats_itself_when_generator_has_the_same_seed():
    first, second = (
        crop(np.arange(99), max_seconds=3, sampling_rate=1, generator=np.random.default_rng(5)) for _ in "ab"
    )
    np.testing.assert_array_equal(first, second)


def test_crop_returns_all_when_clip_is_short_enough():
    waveform = np.arange(4)
    assert crop(waveform, max_seconds=4, sampling_rate=1) is waveform
    assert len(crop(waveform, max_seconds=1e-9, sampling_rate=1)) == 1


@pytest.mark.parametrize("max_seconds", [0, -1, float("nan"), float("inf")])
def test_crop_is_refused_when_maximum_is_not_positive(max_seconds):
    with pytest.raises(ValueError, match="max_seconds"):
        crop(np.arange(4), max_seconds=max_seconds)


# Headers and encoding.


@pytest.mark.parametrize(("container", "subtype"), FORMATS)
def test_duration_is_read_from_the_header(container, subtype, tmp_path, monkeypatch):
    content = encode(tone(1.5), container=container, subtype=subtype)
    path = tmp_path / "clip"
    path.write_bytes(content)

    def refuse(*_, **__):
        raise AssertionError("decoded")

    monkeypatch.setattr(soundfile.SoundFile, "read", refuse)
    for source in (content, path, {"bytes": content, "path": None}):
        assert audio_duration(source) == pytest.approx(1.5)


def test_duration_of_an_array_cell_follows_its_rate():
    assert audio_duration({"array": np.ones(400), "sampling_rate": 800}) == 0.5


def test_duration_is_refused_when_cut_off_or_empty():
    with pytest.raises(AudioError, match="cut off"):
        audio_duration(encode(tone())[:-10])
    with pytest.raises(AudioError, match="without samples"):
        audio_duration(encode(np.zeros(0)))


def test_check_reports_the_file_as_it_is():
    found = check_audio(encode(np.zeros((4_000, 2)), 8_000))
    assert (found.duration_s, found.sampling_rate, found.num_channels) == (0.5, 8_000, 2)


def test_encoded_wav_comes_back_and_is_clipped_beyond_one():
    samples = np.array([0.0, 0.5, -0.5, 1.5, -1.5])
    np.testing.assert_allclose(decode_audio(encode_wav(samples)), [0.0, 0.5, -0.5, 1.0, -1.0], atol=1 / 16384)


@pytest.mark.parametrize(("container", "subtype"), FORMATS)
@pytest.mark.parametrize("rate", [16_000, 48_000, 8_000])
def test_start_equals_the_start_of_the_whole(container, subtype, rate):
    clip = encode(noise(4.0), rate, container, subtype)
    start = decode_audio(clip, max_seconds=0.7)
    assert len(start) == 0.7 * RATE
    np.testing.assert_allclose(start, decode_audio(clip)[: len(start)], atol=1e-5)
    np.testing.assert_array_equal(decode_audio(clip, max_seconds=60.0), decode_audio(clip))


def test_start_is_read_without_what_follows():
    damaged = np.concatenate([np.zeros(4 * RATE), [np.nan]])
    clip = encode(damaged, container="WAV", subtype="FLOAT")
    assert len(decode_audio(clip, max_seconds=1.0)) == RATE
    with pytest.raises(AudioError, match="1 of 64001 samples are NaN"):
        decode_audio(clip)
    with pytest.raises(AudioError, match="cut off"):
        decode_audio(clip[:-100], max_seconds=1.0)  # the header still tells
    array = np.arange(8.0) / 8
    assert decode_audio(array, source_sampling_rate=RATE, max_seconds=3 / RATE).tolist() == [0.0, 0.125, 0.25]
