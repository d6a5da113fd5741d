from __future__ import annotations

import numpy as np
import pytest

from nvv.inference import corruptions
from nvv.inference.corruptions import (
    CORRUPTIONS,
    CorruptedClips,
    available_corruptions,
    chosen_severities,
    severity_in_words,
)
from nvv.training.arguments import ArgumentsError
from nvv.training.dataset import ClipDataset


@pytest.fixture
def clips(tones):
    return ClipDataset(tones(), max_seconds=1.0, memory_mebibytes=10)


def _corrupted(clips, name, severity, **options):
    return CorruptedClips(clips, corruption=CORRUPTIONS[name], severity=severity, **options)


def _heard(clips, name, severity, index=0, **options):
    return _corrupted(clips, name, severity, **options)[index]["input_values"]


@pytest.mark.parametrize("name", list(CORRUPTIONS))
def test_every_corruption_changes_the_clip_and_nothing_else(clips, name):
    if available_corruptions()[name] is not None:
        pytest.skip(available_corruptions()[name])
    severity = CORRUPTIONS[name].severities[-1]
    before = clips.from_start(0).copy()
    heard = _heard(clips, name, severity)
    assert heard.dtype == np.float32
    assert np.isfinite(heard).all()
    assert len(heard) <= 16_000  # one second is what the model hears
    assert not np.array_equal(heard[: len(before)], before)
    np.testing.assert_array_equal(clips.from_start(0), before)
    np.testing.assert_array_equal(heard, _heard(clips, name, severity))


def test_severity_is_a_ratio_of_powers(clips):
    clean = clips.from_start(2)
    for ratio in (20.0, 0.0):
        noise = _heard(clips, "noise", ratio, 2) - clean
        assert 10 * np.log10((clean**2).mean() / (noise**2).mean()) == pytest.approx(ratio, abs=0.01)


def test_severer_noise_is_the_same_noise_louder(clips):
    clean = clips.from_start(1)
    mild, severe = (_heard(clips, "noise", ratio, 1) - clean for ratio in (20.0, 0.0))
    np.testing.assert_allclose(severe, 10 * mild, atol=1e-4)  # 20 dB: ten times the amplitude


@pytest.mark.parametrize("name", ["noise", "babble", "reverberation"])
def test_random_part_depends_on_the_file_and_the_seed_alone(tones, clips, name):
    severity = CORRUPTIONS[name].severities[0]
    turned = ClipDataset(tones().select(range(8, -1, -1)), max_seconds=1.0)
    assert turned.files[8] == clips.files[0]
    np.testing.assert_array_equal(_heard(clips, name, severity, 0), _heard(turned, name, severity, 8))
    some = ClipDataset(tones().select([0, 4]), max_seconds=1.0)
    np.testing.assert_array_equal(_heard(clips, name, severity, 4), _heard(some, name, severity, 1, babble_from=clips))
    assert not np.array_equal(_heard(clips, name, severity, 0), _heard(clips, name, severity, 0, seed=1))


def test_clips_of_equal_length_hear_different_noise(clips):
    assert len(clips.from_start(0)) == len(clips.from_start(4))
    noise = [_heard(clips, "noise", 0.0, at) - clips.from_start(at) for at in (0, 4)]
    scaled = [part / part.std() for part in noise]
    assert abs(np.mean(scaled[0] * scaled[1])) < 0.1


def test_babble_is_made_of_other_clips_only(clips, monkeypatch):
    voices = []
    monkeypatch.setattr(
        corruptions.augmentation,
        "add_babble",
        lambda clip, *, snr_db, others, generator: voices.append(others) or clip,
    )
    for index in range(len(clips)):
        _heard(clips, "babble", 10.0, index)
        assert len(voices[index]) == 4
        others = [clips.from_start(at) for at in range(len(clips)) if at != index]
        assert all(any(np.array_equal(other, voice) for other in others) for voice in voices[index])


def test_babble_needs_a_second_clip(tones):
    alone = ClipDataset(tones().select([0]), max_seconds=1.0)
    with pytest.raises(ArgumentsError, match="babble needs at least two clips in the split, found 1"):
        _corrupted(alone, "babble", 10.0)


def test_silence_before_the_sound_pushes_its_end_out_where_the_model_cuts(clips):
    longest = int(np.argmax(clips.lengths))
    assert clips.lengths[longest] > 8_000
    heard = _heard(clips, "shift", 0.5, longest)
    assert len(heard) == 16_000
    assert not heard[:8_000].any()
    np.testing.assert_array_equal(heard[8_000:], clips.from_start(longest)[:8_000])


def test_lengths_are_those_of_what_is_heard(clips):
    for name, severity in (("shift", 0.25), ("noise", 10.0), ("telephone", None)):
        corrupted = _corrupted(clips, name, severity)
        assert corrupted.lengths == [len(corrupted[at]["input_values"]) for at in range(len(corrupted))]


def test_all_that_can_be_had_is_chosen_unless_told_otherwise(monkeypatch):
    monkeypatch.setattr(corruptions.augmentation, "codecs_available", lambda: ("mp3",))
    assert list(chosen_severities()) == [name for name in CORRUPTIONS if name not in ("opus", "vorbis")]
    assert chosen_severities(["gain", "noise"], {"gain": [3]}) == {
        "noise": (30.0, 20.0, 10.0, 5.0, 0.0),
        "gain": (3.0,),
    }
    with pytest.raises(ArgumentsError, match="opus: the installed libsndfile does not write Opus"):
        chosen_severities(["opus"])


@pytest.mark.parametrize(
    ("conditions", "severities", "message"),
    [
        (["hiss"], None, r"robustness_conditions: expected some of noise, babble.*; found 'hiss'"),
        (["noise", "noise"], None, "expected each corruption once"),
        ([], None, "expected each corruption once"),
        (["noise"], {"gain": [3]}, r"'gain' has no effect: the corruptions are noise\."),
        (["telephone"], {"telephone": [1]}, "telephone: it is there or not and has no severities"),
        (["noise"], {"noise": 10}, "noise: expected a list of numbers, the signal-to-noise ratio"),
        (["noise"], {"noise": []}, "noise: expected a list of numbers"),
        (["noise"], {"noise": ["loud"]}, "noise: expected a list of numbers"),
        (["noise"], {"noise": [True]}, "noise: expected a list of numbers"),
        (["low_pass"], {"low_pass": [9000]}, "different numbers from 50 to 7900"),
        (["mp3"], {"mp3": [1]}, r"different numbers from 0 to 0\.99"),
        (["noise"], {"noise": [5, 5.0]}, "expected different numbers"),
        (["noise"], {"noise": [float("nan")]}, "expected different numbers"),
    ],
)
def test_what_cannot_be_tried_is_refused(conditions, severities, message):
    with pytest.raises(ArgumentsError, match=message):
        chosen_severities(conditions, severities)


def test_severities_are_written_with_their_unit():
    assert severity_in_words(CORRUPTIONS["noise"], 10.0) == "10 dB SNR"
    assert severity_in_words(CORRUPTIONS["gain"], -20.0) == "−20 dB"
    assert severity_in_words(CORRUPTIONS["telephone"], None) == ""
