from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from nvv.data.augmentation import TRANSFORMS, Augmentation, AugmentationError, augment, change_gain, codecs_available

SETTINGS = {
    "noise": {"snr_db": [5, 20]},
    "babble": {},
    "reverberation": {"rt60_seconds": 0.3},
    "gain": {},
    "low_pass": None,
    "telephone": {},
    "shift": {},
    "speed": {},
}


def _always(name, **values):
    return Augmentation({name: {"probability": 1, **values}})


def test_each_transform_changes_a_clip_when_it_is_asked_for(sound):
    clip, others = sound(4_000), [sound(3_000, 1), sound(100, 2)]
    kept = clip.copy()
    for name in TRANSFORMS:
        if name == "coded" and not {"mp3", "opus"} <= set(codecs_available()):
            continue
        changed = _always(name)(clip, generator=np.random.default_rng(0), others=others)
        assert changed.dtype == np.float32
        assert changed.shape != clip.shape or np.abs(changed - clip).max() > 1e-4, name
        np.testing.assert_array_equal(clip, kept)
        np.testing.assert_array_equal(others[1], sound(100, 2))


def test_clips_are_equal_when_the_generator_is_and_differ_otherwise(sound):
    augmentation = pickle.loads(pickle.dumps(Augmentation(SETTINGS)))
    again = Augmentation(SETTINGS)
    clip, others = sound(3_000), [sound(500, 1)]
    drawn = set()
    for seed in range(6):
        one = augmentation(clip, generator=np.random.default_rng(seed), others=others)
        np.testing.assert_array_equal(one, again(clip, generator=np.random.default_rng(seed), others=others))
        drawn.add(one.tobytes())
    assert len(drawn) == 6


def test_transforms_come_as_often_as_their_probability_says():
    augmentation = Augmentation({"gain": {"probability": 0.3, "gain_db": -6}})
    clip, generator = np.ones(2, dtype=np.float32), np.random.default_rng(0)
    softer = sum(augmentation(clip, generator=generator)[0] < 1 for _ in range(2_000))
    # Three standard deviations of a binomial draw: 3 · sqrt(0.3 · 0.7 / 2000) = 0.031
    assert softer / 2_000 == pytest.approx(0.3, abs=0.031)


def test_values_fill_their_range_evenly():
    augmentation = _always("gain", gain_db=[-20, -10])
    generator = np.random.default_rng(0)
    gains = [20 * np.log10(augmentation(np.ones(1, np.float32), generator=generator)[0]) for _ in range(2_000)]
    assert -20 <= min(gains) < -19.9 < -10.1 < max(gains) <= -10
    # Mean -15; three standard errors: 3 · 10 / sqrt(12 · 2000) = 0.19
    assert np.mean(gains) == pytest.approx(-15, abs=0.19)


def test_transforms_are_applied_as_a_sound_passes_the_world(sound):
    clip = sound(1_000)
    both = Augmentation({"gain": {"probability": 1, "gain_db": 6}, "shift": {"probability": 1, "seconds": 0.01}})
    assert list(both.describe()) == ["shift", "gain"]
    changed = both(clip, generator=np.random.default_rng(0))
    np.testing.assert_array_equal(changed, np.pad(change_gain(clip, gain_db=6), (160, 0)))


def test_only_the_clips_that_babble_are_fetched(sound):
    fetched = []

    class Others(list):
        def __getitem__(self, index):
            fetched.append(index)
            return sound(400, index)

    augmentation = _always("babble", num_clips=[2, 3])
    for seed in range(30):
        fetched.clear()
        augmentation(sound(500), generator=np.random.default_rng(seed), others=Others(range(50)))
        assert len(set(fetched)) == len(fetched) in (2, 3)
        assert all(0 <= index < 50 for index in fetched)
    assert augmentation.needs_others
    assert not Augmentation({"noise": {}}).needs_others


def test_description_names_every_value_and_is_understood_again():
    augmentation = Augmentation(SETTINGS)
    described = json.loads(json.dumps(augmentation.describe()))
    assert described["noise"] == {"probability": 0.5, "snr_db": [5.0, 20.0], "color": ["white", "pink", "brown"]}
    assert described["reverberation"]["rt60_seconds"] == [0.3, 0.3]
    assert described["telephone"] == {"probability": 0.5}
    assert Augmentation(described).describe() == described
    described["noise"]["snr_db"] = None
    assert augmentation.describe()["noise"]["snr_db"] == [5.0, 20.0]


def test_clip_comes_back_as_a_copy_when_nothing_is_drawn():
    augmentation, clip = Augmentation({"noise": {"probability": 1e-9}}), np.ones(4, np.float32)
    same = augmentation(clip, generator=np.random.default_rng(0))
    np.testing.assert_array_equal(same, clip)
    assert not np.shares_memory(same, clip)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, r"augment: expected at least one of speed, shift, .*, found? ?\{\}|found \{\}"),
        ("noise", "augment: expected at least one of"),
        ({"nose": {}}, "augment: no transform is called 'nose'. Did you mean 'noise'?"),
        ({"noise": {"snr": 5}}, "augment: noise: no field is called 'snr'. Did you mean 'snr_db'?"),
        ({"noise": 5}, r"augment: noise: expected settings such as \{probability: 0.5\} or \{\}, found 5"),
        ({"noise": {"snr_db": [20, 5]}}, r"augment: noise: snr_db: expected \[low, high\], found \[20, 5\], which"),
        ({"noise": {"snr_db": [1, 2, 3]}}, r"augment: noise: snr_db: expected a number or a pair \[low, high\]"),
        ({"noise": {"snr_db": 200}}, "augment: noise: snr_db: expected a number between -40 and 100, found 200"),
        ({"noise": {"snr_db": "1e1"}}, "found '1e1', which YAML reads as text: write 0.001, not 1e-3"),
        ({"noise": {"color": []}}, r"augment: noise: color: expected some of white, pink, brown; found \[\]"),
        ({"noise": {"probability": 1.5}}, "augment: noise: probability: expected a number between 0 and 1, found 1.5"),
        ({"gain": {"probability": 0}}, "augment: gain: probability 0 does nothing; leave gain out"),
        ({"babble": {"num_clips": 2.5}}, "augment: babble: num_clips: expected whole numbers, found 2.5"),
        ({"coded": {"codec": "aac"}}, "augment: coded: codec: expected some of mp3, opus, vorbis; found 'aac'"),
    ],
)
def test_settings_that_are_not_understood_are_one_clear_error(settings, message):
    with pytest.raises(AugmentationError, match=message):
        Augmentation(settings)


def test_codec_that_is_not_installed_is_an_error(monkeypatch):
    monkeypatch.setattr(augment, "codecs_available", lambda: ("vorbis",))
    with pytest.raises(AugmentationError, match="the installed libsndfile lacks mp3, opus; it has vorbis"):
        Augmentation({"coded": {}})
    Augmentation({"coded": {"codec": "vorbis"}})


def test_babble_without_other_clips_is_an_error(sound):
    with pytest.raises(AugmentationError, match="babble: needs other clips"):
        _always("babble")(sound(), generator=np.random.default_rng(0))
