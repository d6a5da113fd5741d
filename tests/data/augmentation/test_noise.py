from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from nvv.data.augmentation import AugmentationError, add_babble, add_noise


def _snr_db(clip, noisy):
    """Of float64 energies."""
    noise = noisy.astype(np.float64) - clip
    return 10 * np.log10(np.sum(clip.astype(np.float64) ** 2) / np.sum(noise**2))


@pytest.mark.parametrize("color", ["white", "pink", "brown"])
@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 20.0])
@pytest.mark.parametrize("num_samples", [2, 401, 16_000])
def test_noise_has_exactly_the_ratio_asked_for(sound, color, snr_db, num_samples):
    clip = sound(num_samples)
    noisy = add_noise(clip, snr_db=snr_db, generator=np.random.default_rng(1), color=color)
    assert (noisy.dtype, noisy.shape) == (np.float32, clip.shape)
    assert _snr_db(clip, noisy) == pytest.approx(snr_db, abs=1e-3)


def test_ratio_is_that_of_torchaudio(sound):
    torch, functional = pytest.importorskip("torch"), pytest.importorskip("torchaudio.functional")
    clip = sound()
    white = np.random.default_rng(1).standard_normal(len(clip)).astype(np.float32)
    expected = functional.add_noise(torch.from_numpy(clip), torch.from_numpy(white), torch.tensor(7.0)).numpy()
    noisy = add_noise(clip, snr_db=7.0, generator=np.random.default_rng(1))
    np.testing.assert_allclose(noisy, expected, atol=1e-5)


# Power density by octave: equal, halved (-3.01 dB), quartered (-6.02 dB).
@pytest.mark.parametrize(("color", "slope"), [("white", 0.0), ("pink", -3.01), ("brown", -6.02)])
def test_noise_falls_by_its_colour(color, slope):
    clip = np.full(160_000, 0.1, dtype=np.float32)
    noise = add_noise(clip, snr_db=0.0, generator=np.random.default_rng(2), color=color) - clip
    frequencies, density = signal.welch(noise.astype(np.float64), fs=16_000, nperseg=4_096)
    chosen = (frequencies > 50) & (frequencies < 6_000)
    found, _ = np.polyfit(np.log2(frequencies[chosen]), 10 * np.log10(density[chosen]), 1)
    assert found == pytest.approx(slope, abs=0.1)


def test_noise_is_the_generators_alone(sound):
    clip = sound()
    kept = clip.copy()
    one, two, other = (add_noise(clip, snr_db=10, generator=np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)
    np.testing.assert_array_equal(clip, kept)


def test_silent_clip_stays_as_it_is(sound):
    silence = np.zeros(400, dtype=np.float32)
    noisy = add_noise(silence, snr_db=10, generator=np.random.default_rng(0))
    babbled = add_babble(silence, snr_db=10, others=[sound(100)], generator=np.random.default_rng(0))
    for result in (noisy, babbled):
        np.testing.assert_array_equal(result, silence)
        assert result is not silence


@pytest.mark.parametrize("snr_db", [-3.0, 15.0])
def test_babble_has_exactly_the_ratio_asked_for_when_clips_are_shorter_and_longer(sound, snr_db):
    clip = sound(8_000)
    others = [sound(1_234, 1), sound(40_000, 2), sound(1, 3)]
    babbled = add_babble(clip, snr_db=snr_db, others=others, generator=np.random.default_rng(0))
    assert _snr_db(clip, babbled) == pytest.approx(snr_db, abs=1e-3)


def test_voices_of_babble_are_equally_loud(sine, level_db):
    # Sines of 1000 and 3000 Hz, one a hundred times louder than the other: equal in the babble, whatever their place.
    clip = sine(2_000)
    others = [sine(1_000), 0.01 * sine(3_000)]
    babble = add_babble(clip, snr_db=0.0, others=others, generator=np.random.default_rng(0)) - clip
    assert level_db(babble, 1_000) == pytest.approx(level_db(babble, 3_000), abs=0.05)
    # Both together have the clip's power, so each is 3.01 dB softer than the clip, which has half the full amplitude.
    assert level_db(babble, 1_000) == pytest.approx(20 * np.log10(0.5) - 3.01, abs=0.05)


def test_short_voice_is_repeated_to_the_end(sound):
    clip = np.full(1_000, 0.5, dtype=np.float32)
    voice = sound(300)
    babble = add_babble(clip, snr_db=0.0, others=[voice], generator=np.random.default_rng(0)) - clip
    np.testing.assert_allclose(babble[300:600], babble[:300], atol=1e-6)
    np.testing.assert_allclose(babble[900:], babble[:100], atol=1e-6)


def test_long_voice_is_cut_at_a_random_place(sound):
    clip, voice = np.full(500, 0.5, dtype=np.float32), sound(20_000)
    windows = np.lib.stride_tricks.sliding_window_view(voice, 500).astype(np.float64)
    windows = windows / np.linalg.norm(windows, axis=1, keepdims=True)
    places = set()
    for seed in range(5):
        piece = add_babble(clip, snr_db=0.0, others=[voice], generator=np.random.default_rng(seed)) - clip
        similarity = windows @ (piece / np.linalg.norm(piece))
        assert similarity.max() == pytest.approx(1.0, abs=1e-4)
        places.add(int(similarity.argmax()))
    assert len(places) == 5


def test_silent_voices_are_left_out(sound):
    clip, voice = sound(2_000), sound(2_000, 1)
    alone = add_babble(clip, snr_db=5.0, others=[voice], generator=np.random.default_rng(0))
    silent = np.zeros(50, dtype=np.float32)
    np.testing.assert_array_equal(
        add_babble(clip, snr_db=5.0, others=[voice, silent], generator=np.random.default_rng(0)), alone
    )
    np.testing.assert_array_equal(
        add_babble(clip, snr_db=5.0, others=[silent], generator=np.random.default_rng(0)), clip
    )


def test_unusable_input_is_an_error(sound):
    generator = np.random.default_rng(0)
    with pytest.raises(AugmentationError, match="color: expected one of white, pink, brown; found 'blue'"):
        add_noise(sound(), snr_db=1, generator=generator, color="blue")
    with pytest.raises(AugmentationError, match="snr_db: expected a number, found nan"):
        add_noise(sound(), snr_db=float("nan"), generator=generator)
    with pytest.raises(AugmentationError, match="babble needs at least one other clip, found none"):
        add_babble(sound(), snr_db=1, others=[], generator=generator)
    for waveform in (np.zeros((2, 5), np.float32), np.zeros(0, np.float32), np.zeros(5, np.int16)):
        with pytest.raises(AugmentationError, match=r"expected floating point samples of shape \(samples,\)"):
            add_noise(waveform, snr_db=1, generator=generator)
    with pytest.raises(AugmentationError, match="expected finite samples"):
        add_noise(np.array([np.inf], np.float32), snr_db=1, generator=generator)
