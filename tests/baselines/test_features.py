from __future__ import annotations

import dataclasses

import huggingface_hub
import numpy as np
import pytest

from nvv.baselines.features import compute_features, default_cache_dir, feature_extractor
from nvv.training.dataset import ClipDataset

LENGTHS = [0.31, 0.02, 0.5, 0.12]


@pytest.fixture
def mfcc():
    return feature_extractor("mfcc")


@pytest.fixture
def counted(mfcc):
    """MFCC statistics, and the lengths of the clips that they were computed for."""
    seen = []
    describe = lambda waveform: seen.append(len(waveform)) or mfcc.describe(waveform)  # noqa: E731
    return dataclasses.replace(mfcc, describe=describe), seen


def test_features_are_those_of_each_clip_alone(make_clips, mfcc, tmp_path):
    clips = make_clips(LENGTHS)
    [together] = compute_features([clips], mfcc, cache_dir=tmp_path)
    assert together.shape == (4, 420)
    for at in range(4):
        np.testing.assert_array_equal(together[at], mfcc.describe(clips[at]["input_values"]))
    [one] = compute_features([clips], mfcc, cache_dir=tmp_path / "other", num_workers=1)
    np.testing.assert_array_equal(one, together)


def test_cropping_changes_the_features(make_clips, mfcc, tmp_path):
    [whole] = compute_features([make_clips(LENGTHS)], mfcc, cache_dir=tmp_path)
    [cropped] = compute_features([make_clips(LENGTHS, max_seconds=0.3)], mfcc, cache_dir=tmp_path)
    assert [(a != b).any() for a, b in zip(whole, cropped, strict=True)] == [True, False, True, False]


def test_duration_is_the_logarithm_of_the_seconds(make_clips, tmp_path):
    [found] = compute_features([make_clips(LENGTHS)], feature_extractor("duration"), cache_dir=tmp_path)
    np.testing.assert_allclose(found[:, 0], np.log(LENGTHS), rtol=1e-6)
    [found] = compute_features(
        [make_clips(LENGTHS, max_seconds=0.2)], feature_extractor("duration"), cache_dir=tmp_path
    )
    np.testing.assert_allclose(found[:, 0], np.log([0.2, 0.02, 0.2, 0.12]), rtol=1e-6)


def test_kept_features_serve_another_division_of_the_same_clips(make_split, counted, tmp_path):
    extractor, seen = counted
    split = make_split(LENGTHS)
    parts = [ClipDataset(split.select(rows), max_seconds=7.0) for rows in ([0, 1, 2], [3])]
    first = compute_features(parts, extractor, cache_dir=tmp_path)
    assert len(seen) == 4
    other = [ClipDataset(split.select(rows), max_seconds=7.0) for rows in ([3, 0], [1, 2], [3, 0])]
    second = compute_features(other, extractor, cache_dir=tmp_path)
    assert len(seen) == 4
    np.testing.assert_array_equal(second[0], [first[1][0], first[0][0]])
    np.testing.assert_array_equal(second[1], first[0][1:])
    np.testing.assert_array_equal(second[2], second[0])
    assert len(list(tmp_path.rglob("*.safetensors"))) == len(list(tmp_path.rglob("*.*"))) == 1


def test_kept_features_are_left_alone_when_clips_or_settings_are_others(make_clips, counted, tmp_path):
    extractor, seen = counted
    compute_features([make_clips(LENGTHS)], extractor, cache_dir=tmp_path)
    compute_features([make_clips(LENGTHS, seed=1)], extractor, cache_dir=tmp_path)
    assert len(seen) == 8
    changed = dataclasses.replace(extractor, settings={**extractor.settings, "torchaudio": "9.9"})
    compute_features([make_clips(LENGTHS)], changed, cache_dir=tmp_path)
    assert len(seen) == 12


@pytest.mark.parametrize("content", [b"", b"half of it", None])
def test_damaged_file_is_computed_again(make_clips, counted, tmp_path, content):
    extractor, seen = counted
    [first] = compute_features([make_clips(LENGTHS)], extractor, cache_dir=tmp_path)
    [kept] = tmp_path.rglob("*.safetensors")
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-100] if content is None else content)
    [again] = compute_features([make_clips(LENGTHS)], extractor, cache_dir=tmp_path)
    assert len(seen) == 8
    np.testing.assert_array_equal(again, first)
    assert kept.read_bytes() == whole


def test_feature_that_is_not_finite_names_clip_and_feature(make_clips, mfcc, tmp_path):
    def describe(waveform):
        features = mfcc.describe(waveform)
        features[1] = np.nan if len(waveform) == 8_000 else 0  # the third clip, of 0.5 s
        return features

    broken = dataclasses.replace(mfcc, describe=describe)
    with pytest.raises(ValueError, match=r"^002.wav: the feature mfcc1_mean of mfcc is not finite"):
        compute_features([make_clips(LENGTHS)], broken, cache_dir=tmp_path)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_features_are_kept_in_the_home_of_hugging_face(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / "nvv" / "baseline_features"


def test_threads_do_not_disturb_each_other_in_opensmile(make_clips, tmp_path):
    pytest.importorskip("opensmile")
    egemaps = feature_extractor("egemaps")
    clips = make_clips([0.1 + 0.02 * at for at in range(12)])
    [alone] = compute_features([clips], egemaps, cache_dir=tmp_path / "1", num_workers=1)
    [threads] = compute_features([clips], egemaps, cache_dir=tmp_path / "4", num_workers=4)
    np.testing.assert_array_equal(threads, alone)
