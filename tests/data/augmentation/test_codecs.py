from __future__ import annotations

import numpy as np
import pytest
import soundfile

from nvv.data.augmentation import CODECS, AugmentationError, codecs, codecs_available, coded

COMPRESSIONS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.99)


@pytest.fixture(params=sorted(CODECS))
def codec(request):
    if request.param not in codecs_available():
        pytest.skip(f"libsndfile {soundfile.__libsndfile_version__} has no {request.param}")
    return request.param


def _snr_db(clip, decoded):
    return 10 * np.log10(np.sum(clip**2) / np.sum((decoded - clip) ** 2))


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_sound_comes_back_in_its_place(sound, lag, codec, compression):
    clip = sound(12_345)
    decoded = coded(clip, codec=codec, compression=compression)
    assert (decoded.shape, decoded.dtype) == (clip.shape, np.float32)
    assert lag(decoded, clip) == 0
    # Shifted by one sample this sound would have a ratio of 2.6 dB to itself at best.
    assert _snr_db(clip, decoded) > (10 if compression <= 0.5 else 1)


def test_more_compression_loses_more(sound, codec):
    ratios = [_snr_db(sound(), coded(sound(), codec=codec, compression=level)) for level in (0.0, 0.8, 0.95)]
    assert ratios[0] > ratios[1] + 1 > ratios[2] + 1


@pytest.mark.parametrize("num_samples", [1, 2, 100, 5_000])
def test_clip_of_any_length_keeps_it(sound, codec, num_samples):
    decoded = coded(sound(num_samples), codec=codec, compression=0.9)
    assert decoded.shape == (num_samples,)
    assert np.isfinite(decoded).all()


def test_silence_stays_silent(codec):
    np.testing.assert_allclose(coded(np.zeros(8_000, np.float32), codec=codec), 0, atol=1e-3)


def test_result_is_the_same_each_time(sound, codec):
    clip = sound(6_000)
    kept = clip.copy()
    np.testing.assert_array_equal(coded(clip, codec=codec), coded(clip, codec=codec))
    np.testing.assert_array_equal(clip, kept)


def test_mp3_without_its_header_is_late_and_put_back(sound, lag):
    if "mp3" not in codecs_available():
        pytest.skip("libsndfile has no MP3")
    clip = sound(12_345)
    raw = codecs._round_trip(clip, codec="mp3", compression=0.95)
    assert (len(raw) > len(clip), lag(raw, clip)) == (True, 1_105)  # LAME's 576 and the decoder's 529
    assert lag(coded(clip, codec="mp3", compression=0.95), clip) == 0


# kbit/s as documented; a constant rate, so the bytes of 10 s tell it but for the headers.
@pytest.mark.parametrize(("codec", "compression", "kbps"), [("mp3", 0.8, 40), ("mp3", 0.5, 80), ("opus", 0.8, 56)])
def test_bit_rate_is_as_documented(sound, monkeypatch, codec, compression, kbps):
    if codec not in codecs_available():
        pytest.skip(f"libsndfile has no {codec}")
    sizes = []
    read = soundfile.read
    monkeypatch.setattr(
        soundfile, "read", lambda stream, **options: sizes.append(len(stream.getvalue())) or read(stream, **options)
    )
    coded(sound(160_000), codec=codec, compression=compression)
    assert sizes[0] * 8 / 10 / 1_000 == pytest.approx(kbps, rel=0.07)


def test_codec_that_is_not_there_is_an_error(sound, monkeypatch):
    with pytest.raises(AugmentationError, match="codec: expected one of mp3, opus, vorbis; found 'aac'"):
        coded(sound(), codec="aac")
    monkeypatch.setattr(codecs, "codecs_available", lambda: ("vorbis",))
    with pytest.raises(AugmentationError, match="cannot write and read opus; it has vorbis"):
        coded(sound(), codec="opus")


def test_compression_out_of_range_is_an_error(sound):
    with pytest.raises(AugmentationError, match=r"compression: expected a number between 0 and 0\.99, found 1"):
        coded(sound(), codec="vorbis", compression=1)
