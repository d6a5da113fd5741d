import numpy as np
import pytest

from nvv.audio import decode_audio
from nvv.data.audit.duplicates import (
    MIN_CORRELATION,
    bit_error_rate,
    correlation,
    even_out,
    find_near_duplicates,
)
from nvv.data.audit.fingerprint import Fingerprint, fingerprint
from nvv.data.synthesis import VOCALIZATIONS


def near_duplicates(waveforms: list[np.ndarray]):
    return find_near_duplicates([fingerprint(waveform) for waveform in waveforms], lambda number: waveforms[number])


def at_8khz(content: bytes) -> np.ndarray:
    return decode_audio(content, sampling_rate=8_000)


def of_words(words: list[int], *, active: list[bool] | None = None, start: int = 0) -> Fingerprint:
    array = np.array(words, dtype=np.uint32)
    sounding = np.ones(len(words), dtype=bool) if active is None else np.array(active)
    return Fingerprint(array, np.zeros((len(words), 4), dtype=np.uint8), sounding, start)


def test_bit_error_rate_counts_bits_of_the_shared_frames():
    first, second = of_words([0, 0, 0b1111, 7]), of_words([0b1, 0b111, 7], start=1)
    # Frames 1 to 3 are shared: 1, then 0b1111 ^ 0b111 = 1, then 0 bits of 96 differ; all three frames of the second.
    assert bit_error_rate(first, second, lag=0) == (2 / 96, 1.0)


def test_bit_error_rate_shifts_by_the_lag():
    first, second = of_words([5, 6, 7, 8]), of_words([0, 0, 5, 6, 7, 8])
    assert bit_error_rate(first, second, lag=2) == (0.0, 1.0)
    assert bit_error_rate(second, first, lag=-2) == (0.0, 1.0)
    assert bit_error_rate(first, second, lag=0)[0] > 0


def test_bit_error_rate_leaves_silent_frames_out():
    first = of_words([1, 2, 3, 4])
    second = of_words([1, 2, 0xFFFFFFFF, 4], active=[True, False, False, True])
    assert bit_error_rate(first, second, lag=0) == (0.0, 1.0)


@pytest.mark.parametrize("lag", [3, -3, 100])
def test_bit_error_rate_is_one_when_nothing_is_shared(lag):
    assert bit_error_rate(of_words([1, 2, 3]), of_words([1, 2, 3]), lag=lag) == (1.0, 0.0)


def test_correlation_is_one_for_a_copy_and_small_for_another_sound(voice):
    laugh, other = even_out(at_8khz_of(voice("laugh"))), even_out(at_8khz_of(voice("laugh", 1)))
    assert correlation(laugh, laugh, lag=0) == pytest.approx(1)
    assert correlation(laugh, -laugh, lag=0) == pytest.approx(1)
    assert correlation(laugh, other, lag=0) < 0.3


def test_correlation_finds_half_a_sample_of_shift():
    rng = np.random.default_rng(0)
    spectrum = np.fft.rfft(rng.standard_normal(8_000))
    spectrum[3_400:] = 0
    whole = np.fft.irfft(spectrum)
    half = np.fft.irfft(spectrum * np.exp(-1j * np.pi * np.arange(len(spectrum)) / 8_000))
    assert correlation(whole, half, lag=0) > 0.99


def test_correlation_is_zero_when_too_little_is_shared():
    waveform = np.random.default_rng(0).standard_normal(1_000)
    assert correlation(waveform, waveform, lag=7) == 0  # 896 of 1,000 samples apart


def test_evening_out_makes_soft_and_loud_parts_alike():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(16_000)
    noise[8_000:] *= 0.1
    evened = even_out(noise)
    assert evened[8_500:15_500].std() == pytest.approx(evened[500:7_500].std(), rel=0.05)
    assert not even_out(np.zeros(1_000)).any()


def at_8khz_of(waveform: np.ndarray) -> np.ndarray:
    return decode_audio(waveform, sampling_rate=8_000, source_sampling_rate=16_000)


@pytest.fixture(scope="module")
def recordings(voice) -> list[np.ndarray]:
    """Each of the eight classes by three voices, two takes."""
    return [voice(label, number, take=take) for label in VOCALIZATIONS for number in range(3) for take in range(2)]


@pytest.fixture(scope="module")
def heard(recordings) -> list[np.ndarray]:
    return [at_8khz_of(waveform) for waveform in recordings]


def test_no_near_duplicates_among_different_recordings(heard):
    assert near_duplicates(heard) == []


@pytest.mark.parametrize("seconds", [None, 0.5, 0.3])
def test_copies_are_found_after_any_change(recordings, heard, change, seconds):
    originals = recordings[::7]  # seven of them
    if seconds is not None:
        originals = [loudest_part(waveform, seconds) for waveform in originals]
        waveforms = [at_8khz_of(waveform) for waveform in originals]
    else:
        waveforms = heard[::7]
    copies = [at_8khz(change(waveform)) for waveform in originals]
    found = near_duplicates(waveforms + copies)
    assert [(pair.first, pair.second) for pair in found] == [(number, number + 7) for number in range(7)]
    assert all(pair.correlation >= MIN_CORRELATION for pair in found)


def loudest_part(waveform: np.ndarray, seconds: float) -> np.ndarray:
    length = round(seconds * 16_000)
    if len(waveform) <= length:
        return waveform
    power = np.convolve(waveform**2, np.ones(length), "valid")
    return waveform[power.argmax() :][:length]


def test_lag_of_a_copy_is_reported_in_seconds(heard):
    late = np.pad(heard[0], (6_000, 0))  # 0.75 s
    (pair,) = near_duplicates([heard[0], late])
    assert pair.lag_s == pytest.approx(0.75, abs=0.017)
    assert pair.shared == pytest.approx(1, abs=0.02)


def test_waveforms_are_read_of_candidates_only(heard):
    read = []

    def read_waveform(number: int) -> np.ndarray:
        read.append(number)
        return heard[number]

    find_near_duplicates([fingerprint(waveform) for waveform in [*heard[:6], heard[2]]], lambda n: read_waveform(n % 6))
    assert set(read) <= {0, 2}  # the copy, number 6, is read as 6 % 6 = 0
