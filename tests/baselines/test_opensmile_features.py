from __future__ import annotations

import sys

import numpy as np
import pytest
import soundfile

from nvv.baselines.opensmile_features import SHORTEST_SAMPLES, OpensmileFunctionals
from nvv.training.arguments import ArgumentsError


@pytest.fixture(scope="module")
def library():
    return pytest.importorskip("opensmile")


@pytest.fixture(scope="module")
def egemaps(library) -> OpensmileFunctionals:
    return OpensmileFunctionals("egemaps")


def humming(num_samples: int) -> np.ndarray:
    time = np.arange(num_samples) / 16_000
    noise = 0.01 * np.random.default_rng(0).standard_normal(num_samples)
    return (sum(0.2 / k * np.sin(2 * np.pi * 180 * k * time) for k in range(1, 9)) + noise).astype(np.float32)


@pytest.mark.parametrize(("name", "num_features"), [("egemaps", 88), ("compare", 6_373)])
def test_functionals_equal_those_that_the_library_reads_from_the_file(library, tmp_path, name, num_features):
    soundfile.write(tmp_path / "hum.wav", humming(16_000), 16_000, subtype="PCM_16")
    waveform, _ = soundfile.read(tmp_path / "hum.wav", dtype="float32")
    describe = OpensmileFunctionals(name)
    feature_set = {"egemaps": library.FeatureSet.eGeMAPSv02, "compare": library.FeatureSet.ComParE_2016}[name]
    expected = library.Smile(feature_set, library.FeatureLevel.Functionals).process_file(tmp_path / "hum.wav")
    assert len(describe.names) == num_features
    assert list(expected.columns) == list(describe.names)
    np.testing.assert_array_equal(describe(waveform), expected.to_numpy()[0])


def test_pitch_is_found(egemaps):
    found = dict(zip(egemaps.names, egemaps(humming(16_000)), strict=True))
    # 180 Hz in semitones above 27.5 Hz: 12 · log2(180 / 27.5) = 32.53
    assert found["F0semitoneFrom27.5Hz_sma3nz_amean"] == pytest.approx(32.53, abs=0.1)


def test_samples_beyond_full_scale_are_limited_instead_of_changing_their_sign(egemaps):
    waveform = 3 * humming(16_000)
    assert waveform.max() > 1
    np.testing.assert_array_equal(egemaps(waveform), egemaps(np.clip(waveform, -1, 32767 / 32768)))
    assert (egemaps._smile(waveform, 16_000).ravel() != egemaps(waveform)).any()  # what the library alone makes of it


@pytest.mark.parametrize("num_samples", [1, 959])
def test_clip_too_short_for_the_library_is_filled_up(library, egemaps, num_samples):
    assert np.isfinite(egemaps(humming(num_samples))).all()
    filled = np.pad(humming(num_samples), (0, SHORTEST_SAMPLES - num_samples))
    np.testing.assert_array_equal(egemaps(humming(num_samples)), egemaps(filled))
    with pytest.warns(UserWarning, match="too short"):
        assert np.isnan(egemaps._smile(humming(num_samples), 16_000)).all()


def test_missing_library_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "opensmile", None)
    with pytest.raises(ArgumentsError, match=r"features: egemaps .* Run `pip install nvv\[baselines\]`"):
        OpensmileFunctionals("egemaps")
