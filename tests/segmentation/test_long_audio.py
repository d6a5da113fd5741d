import io
import threading

import numpy as np
import pytest
import soundfile
import torch

from nvv.audio import AudioError, decode_audio, filter_geometry, mono_blocks, resample
from nvv.segmentation.long_audio import BlockResampler, decode_blocks, decode_blocks_ahead


def make_file(path, *, rate, samples, channels=1, subtype="PCM_16", container=None, seed=0):
    generator = np.random.default_rng(seed)
    # Something with low and high frequencies that is not alike anywhere.
    waveform = np.cumsum(generator.uniform(-0.5, 0.5, (samples, channels)), axis=0) * 0.02
    waveform += generator.uniform(-0.2, 0.2, (samples, channels))
    soundfile.write(path, np.clip(waveform, -1, 1), rate, subtype=subtype, format=container)
    return path


def joined(path, **options):
    return np.concatenate(list(decode_blocks(path, **options)))


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("samples", [1, 2, 97, 44_099])
@pytest.mark.parametrize("block_seconds", [0.0213, 0.5])
def test_blocks_equal_the_whole_file_at_every_rate_and_length(tmp_path, rate, samples, block_seconds):
    path = make_file(tmp_path / "a.wav", rate=rate, samples=samples, channels=2)
    whole = decode_audio(path)
    blocks = joined(path, block_seconds=block_seconds)
    assert len(blocks) == len(whole)
    np.testing.assert_allclose(blocks, whole, rtol=0, atol=1e-6)
    assert blocks.dtype == np.float32


@pytest.mark.parametrize(
    ("name", "subtype"),
    [("a.flac", "PCM_16"), ("a.ogg", "VORBIS"), ("a.mp3", "MPEG_LAYER_III"), ("a.wav", "PCM_24"), ("a.wav", "FLOAT")],
)
def test_blocks_equal_the_whole_file_in_every_format(tmp_path, name, subtype):
    # A long one: MP3 decoders lose the overlap with the frame before when soundfile seeks to where it already is, which
    # is heard now and then only.
    path = make_file(tmp_path / name, rate=48_000, samples=400_001, channels=2, subtype=subtype)
    np.testing.assert_allclose(joined(path, block_seconds=0.3), decode_audio(path), rtol=0, atol=1e-6)


def test_resampler_equals_resampling_the_whole_when_pieces_are_of_any_size():
    waveform = np.random.default_rng(0).uniform(-1, 1, 20_000).astype(np.float32)
    sizes = [1, 1, 440, 2, 7000, 0, 441, 12_115]
    assert sum(sizes) == len(waveform)
    resampler = BlockResampler(44_100)
    pieces = [resampler.push(piece) for piece in np.split(waveform, np.cumsum(sizes)[:-1])]
    result = np.concatenate([*pieces, resampler.finish()])
    np.testing.assert_allclose(result, resample(waveform, 44_100), rtol=0, atol=1e-6)
    assert len(resampler.finish()) == 0


def test_resampler_keeps_only_what_the_filter_reaches():
    resampler = BlockResampler(44_100)
    for _ in range(50):
        resampler.push(np.ones(44_100, np.float32))
    _, step, width = filter_geometry(44_100)
    # One step's neighbours on either side, and less than one step that is not whole yet.
    assert resampler._kept.size < 2 * (width + step) + step


def test_filter_geometry_is_that_of_torchaudio():
    from torchaudio.transforms import Resample

    for rate in (8_000, 22_050, 44_100, 48_000):
        phases, step, width = filter_geometry(rate)
        filters = Resample(rate, 16_000)
        assert filters.width == width
        assert filters.kernel.shape == (phases, 1, 2 * width + step)


def test_number_of_samples_is_exact_when_float32_cannot_count_them():
    # torchaudio computes the length of the whole in float32, which above 2**24 knows no odd numbers.
    resampler = BlockResampler(8_000, 24_000)
    count = sum(len(resampler.push(np.zeros(800_001, np.float32))) for _ in range(7)) + len(resampler.finish())
    assert count == 3 * 7 * 800_001 > 2**24
    assert torch.tensor(float(count)).item() != count


@pytest.mark.parametrize("ending", [".wav", ".flac", ".ogg"])
def test_file_that_was_cut_off_is_an_error(tmp_path, ending):
    subtype = "VORBIS" if ending == ".ogg" else "PCM_16"
    whole = make_file(tmp_path / f"whole{ending}", rate=16_000, samples=80_000, subtype=subtype).read_bytes()
    path = tmp_path / f"cut{ending}"
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(AudioError, match=f"cut{ending}: .*cut off"):
        joined(path, block_seconds=0.5)


def test_blocks_before_the_damage_come_first(tmp_path):
    whole = make_file(tmp_path / "whole.flac", rate=16_000, samples=160_000).read_bytes()
    path = tmp_path / "cut.flac"
    path.write_bytes(whole[: len(whole) // 2])
    blocks = decode_blocks(path, block_seconds=1.0)
    assert len(next(blocks)) == 16_000
    with pytest.raises(AudioError):
        list(blocks)


def test_samples_that_are_no_numbers_are_an_error_that_says_where(tmp_path):
    waveform = np.zeros(50_000, np.float32)
    waveform[40_000:40_003] = [np.nan, np.inf, -np.inf]
    soundfile.write(tmp_path / "a.wav", waveform, 16_000, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"a.wav: from 2.0 s: 3 of 16000 samples are NaN or infinite"):
        joined(tmp_path / "a.wav", block_seconds=1.0)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "empty file"), (b"not audio at all", "not readable as audio"), (None, "no such file")],
)
def test_what_is_no_audio_is_an_error(tmp_path, content, message):
    if content is not None:
        (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(AudioError, match=f"a.wav: {message}"):
        list(decode_blocks_ahead(tmp_path / "a.wav"))


def test_header_without_samples_is_an_error(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(0), 16_000)
    with pytest.raises(AudioError, match="a header without samples"):
        list(decode_blocks(tmp_path / "a.wav"))


def test_rates_without_a_filter_are_an_error(tmp_path):
    make_file(tmp_path / "a.wav", rate=44_099, samples=100)
    with pytest.raises(AudioError, match="no practical filter"):
        list(decode_blocks(tmp_path / "a.wav"))


def test_bytes_are_read_and_the_block_length_is_checked(tmp_path):
    stream = io.BytesIO()
    soundfile.write(stream, np.full(10, 0.5), 8_000, format="WAV")
    ((samples, rate),) = mono_blocks(stream.getvalue(), block_seconds=1.0)
    assert rate == 8_000
    np.testing.assert_allclose(samples, 0.5, atol=1e-4)
    with pytest.raises(ValueError, match="block_seconds: expected more than 0, found 0"):
        next(mono_blocks(stream.getvalue(), block_seconds=0))


def test_decoding_ahead_gives_the_same_and_ends_its_thread_when_stopped_early(tmp_path):
    path = make_file(tmp_path / "a.flac", rate=44_100, samples=200_000)
    ahead = list(decode_blocks_ahead(path, block_seconds=0.5))
    for one, other in zip(ahead, decode_blocks(path, block_seconds=0.5), strict=True):
        np.testing.assert_array_equal(one, other)
    before = threading.active_count()
    blocks = decode_blocks_ahead(path, block_seconds=0.1)
    next(blocks)
    assert threading.active_count() == before + 1
    blocks.close()
    assert threading.active_count() == before
