import numpy as np
import pytest

from nvv.data.audit.fingerprint import HOP_SECONDS, KEY_BITS, WEAK_BITS, fingerprint, to_8khz


def shared_bits(first, second) -> float:
    """Share of equal bits in the words that both have, aligned at the start."""
    length = min(len(first.words), len(second.words))
    differing = first.words[:length] ^ second.words[:length]
    return 1 - sum(bin(word).count("1") for word in differing.tolist()) / (32 * length)


@pytest.fixture
def laugh(voice):
    return to_8khz(voice("laugh"), 16_000)


def test_resampling_keeps_the_duration_and_a_low_tone():
    time = np.arange(44_100) / 44_100
    low = to_8khz(np.sin(2 * np.pi * 440 * time), 44_100)
    assert len(low) == 8_000
    expected = np.sin(2 * np.pi * 440 * np.arange(8_000) / 8_000)
    np.testing.assert_allclose(low[400:-400], expected[400:-400], atol=2e-3)


def test_waveform_stays_as_it_is_when_its_rate_is_8_khz():
    waveform = np.array([0.5, -0.5], dtype=np.float32)
    assert to_8khz(waveform, 8_000) is waveform


def test_words_do_not_depend_on_the_level(laugh):
    reference, soft = fingerprint(laugh), fingerprint(0.1 * laugh)
    np.testing.assert_array_equal(reference.words, soft.words)
    np.testing.assert_array_equal(reference.active, soft.active)


def test_there_is_a_word_for_every_16_ms_of_sound():
    noise = np.random.default_rng(0).standard_normal(8_000)
    assert HOP_SECONDS == 0.016
    # One second is 62.5 hops; the window of two hops reaches over both ends.
    assert len(fingerprint(noise).words) == pytest.approx(62.5, abs=3)


def test_silence_around_the_sound_is_left_out_and_counted(laugh):
    reference = fingerprint(laugh)
    moved = fingerprint(np.pad(laugh, (10 * 128, 30 * 128)))  # ten and thirty hops
    assert moved.start == reference.start + 10
    assert len(moved.words) == len(reference.words)
    assert shared_bits(reference, moved) > 0.97


def test_half_of_the_bits_agree_when_recordings_differ():
    rng = np.random.default_rng(0)
    first, second = (fingerprint(rng.standard_normal(80_000)) for _ in range(2))
    assert shared_bits(first, second) == pytest.approx(0.5, abs=0.03)


def test_weakest_bits_are_distinct_bits_of_the_key(laugh):
    weak = fingerprint(laugh).weak
    assert weak.shape[1] == WEAK_BITS
    assert weak.max() < KEY_BITS
    assert all(len(set(bits)) == WEAK_BITS for bits in weak.tolist())


def test_weakest_bits_turn_first_when_noise_is_added(laugh):
    reference = fingerprint(laugh)
    noisy = fingerprint(laugh + 1e-3 * np.random.default_rng(0).standard_normal(len(laugh)))
    assert len(noisy.words) == len(reference.words)
    turned = reference.words ^ noisy.words
    is_turned = (turned[:, None] >> np.arange(KEY_BITS)) & 1
    is_weak = np.zeros_like(is_turned)
    np.put_along_axis(is_weak, reference.weak.astype(int), 1, axis=1)
    assert is_turned[is_weak == 1].mean() > 3 * is_turned[is_weak == 0].mean() > 0


@pytest.mark.parametrize("waveform", [np.zeros(8_000), np.zeros(1)])
def test_there_is_no_fingerprint_when_there_is_no_sound(waveform):
    assert fingerprint(waveform) is None
