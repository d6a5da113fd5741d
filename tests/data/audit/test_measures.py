import numpy as np
import pytest
from scipy import signal

from nvv.audio import encode_wav
from nvv.data.audit.measures import measure_clip


def noise(seconds: float, *, rate: int = 16_000, level: float = 0.1, seed: int = 0) -> np.ndarray:
    return level * np.random.default_rng(seed).standard_normal(round(seconds * rate))


def test_rate_duration_channels_and_peak_are_measured(encode_as):
    stereo = np.zeros((12_000, 2))
    stereo[100] = (0.0, -0.5)  # 20 log10 0.5 = -6.02 dB; the mean of both channels would be 6 dB less
    measures = measure_clip(encode_as(stereo, 24_000, container="WAV", subtype="PCM_16"), name="clip.wav")
    assert (measures.duration_s, measures.sampling_rate, measures.num_channels) == (0.5, 24_000, 2)
    assert measures.peak_dbfs == pytest.approx(-6.02, abs=0.01)
    assert measures.error == ""


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "empty file"), (b"no audio at all", "not readable"), (b"RIFF\0\0\0\0WAVE", "ends")]
)
def test_error_says_why_when_a_clip_cannot_be_decoded(content, reason):
    measures = measure_clip(content, name="clip.wav")
    assert reason in measures.error
    assert not measures.error.startswith("clip.wav")
    assert measures.fingerprint is None


def test_error_is_reported_when_a_file_is_cut_off():
    assert "cut off" in measure_clip(encode_wav(noise(1.0))[:-100], name="clip.wav").error


def test_samples_digest_is_equal_for_lossless_copies_only(encode_as):
    waveform = np.round(noise(0.5) * 32768) / 32768
    wav, flac, fine = (
        measure_clip(encode_as(waveform, container=container, subtype=subtype), name="clip").samples_digest
        for container, subtype in (("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("WAV", "PCM_24"))
    )
    assert wav == flac == fine
    other_rate = encode_as(waveform, 8_000, container="WAV", subtype="PCM_16")
    assert measure_clip(other_rate, name="clip").samples_digest != wav
    assert measure_clip(encode_wav(waveform * 0.5), name="clip").samples_digest != wav


def test_runs_at_full_scale_are_counted_from_three_samples_on():
    waveform = np.full(1_000, 0.5)
    waveform[10:13] = 1.0  # counts
    waveform[100:102] = 1.0  # two samples: a peak
    waveform[200:205] = -1.0  # counts
    waveform[300:302], waveform[302:304] = 1.0, -1.0  # four samples, two of each sign: no flat top
    measures = measure_clip(encode_wav(waveform), name="clip.wav")
    assert measures.num_clipped_runs == 2
    assert measures.clipped_share == pytest.approx(8 / 1_000)


def test_clipping_of_one_channel_is_seen(encode_as):
    stereo = np.full((1_000, 2), 0.1)
    stereo[10:20, 1] = 1.0
    measures = measure_clip(encode_as(stereo, container="WAV", subtype="PCM_16"), name="clip.wav")
    assert (measures.num_clipped_runs, measures.clipped_share) == (1, pytest.approx(10 / 2_000))


def test_silence_is_measured_in_frames_of_20_ms():
    waveform = np.concatenate([np.zeros(4_800), noise(0.5), np.zeros(1_600), noise(0.1), np.zeros(8_000)])
    measures = measure_clip(encode_wav(waveform), name="clip.wav")
    assert measures.leading_silence_s == pytest.approx(0.3)
    assert measures.trailing_silence_s == pytest.approx(0.5)
    assert measures.silence_share == pytest.approx(0.9 / 1.5)  # 0.3 + 0.1 + 0.5 of 1.5 s
    assert not measures.is_silent


def test_soft_frames_count_as_silent_from_40_db_below_the_loudest():
    loud = noise(0.5)
    for decibel, share in ((-35, 0.0), (-45, 0.5)):
        waveform = np.concatenate([loud, loud * 10 ** (decibel / 20)])
        assert measure_clip(encode_wav(waveform), name="clip.wav").silence_share == pytest.approx(share)


@pytest.mark.parametrize(("peak", "is_silent"), [(0.0, True), (0.0009, True), (0.002, False)])  # -60 dB is 0.001
def test_clip_is_silent_when_its_peak_is_below_60_db(peak, is_silent):
    measures = measure_clip(encode_wav(np.tile([peak, -peak], 4_000)), name="clip.wav")
    assert measures.is_silent == is_silent
    assert (measures.fingerprint is None) >= is_silent


@pytest.mark.parametrize(("rate", "content_rate"), [(16_000, 8_000), (44_100, 16_000), (48_000, 16_000)])
def test_upsampled_audio_is_empty_above_half_its_old_rate(rate, content_rate):
    upsampled = signal.resample(noise(1.0, rate=content_rate), rate)  # one second
    filled = measure_clip(encode_wav(upsampled, rate), name="clip.wav").filled_to_hz
    assert filled == pytest.approx(content_rate / 2, rel=0.1)
    assert filled >= content_rate / 2


def test_spectrum_is_not_empty_when_it_falls_off_gently():
    spectrum = np.fft.rfft(noise(2.0))
    frequency_hz = np.maximum(np.fft.rfftfreq(32_000, 1 / 16_000), 100)
    pink = np.fft.irfft(spectrum * (100 / frequency_hz) ** 1.5)  # 9 dB an octave
    for waveform in (noise(2.0), pink):
        assert measure_clip(encode_wav(waveform), name="clip.wav").filled_to_hz is None


def test_synthesized_voices_have_no_empty_band(voice):
    assert all(
        measure_clip(encode_wav(voice(label, number)), name="clip.wav").filled_to_hz is None
        for label in ("laugh", "moan", "hum")
        for number in range(4)
    )


@pytest.mark.parametrize("num_samples", [1, 2, 300])
def test_tiny_clips_are_measured(num_samples):
    measures = measure_clip(encode_wav(np.full(num_samples, 0.5)), name="clip.wav")
    assert measures.error == ""
    assert measures.duration_s == pytest.approx(num_samples / 16_000)
