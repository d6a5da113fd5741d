import csv
import hashlib
import importlib.metadata
import itertools
from pathlib import Path

import datasets
import numpy as np
import pytest
from scipy.signal import find_peaks
from scipy.stats import spearmanr

from nvv.audio import decode_audio
from nvv.data import corpus_builder, load_corpus
from nvv.data.synthetic_hume_vb import (
    COUNTRIES,
    MARKER,
    TASKS,
    Burst,
    burst_targets,
    draw_bursts,
    kind_of_burst,
    synthesize_burst,
    write_synthetic_hume_vb,
)

SMALL = (24, 12, 12)


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """A small tree with every file; not to be changed."""
    return write_synthetic_hume_vb(tmp_path_factory.mktemp("tree") / "A-VB", num_clips=SMALL, seed=7)


@pytest.fixture(scope="module")
def sounds() -> list[tuple[Burst, np.ndarray]]:
    generator = np.random.Generator(np.random.PCG64(5))
    return [(burst, synthesize_burst(burst, generator=generator)) for burst in draw_bursts(120, generator=generator)]


@pytest.fixture(scope="module")
def measured(sounds) -> list[dict[str, float]]:
    return [acoustics(sound) for _, sound in sounds]


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def digests(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def middle_burst(**traits: float) -> Burst:
    neutral = {"pitch": 0.4, "glide": 0.4, "brightness": 0.4, "noise": 0.4, "modulation": 0.4}
    return Burst(seconds=0.5, beat_hz=6.0, formants_hz=(600.0, 1500.0), **{**neutral, **traits})


def test_tree_has_the_official_layout(tree):
    assert sorted(path.name for path in tree.iterdir()) == [MARKER, "audio", "labels"]
    assert sorted(path.name for path in (tree / "labels").iterdir()) == sorted(
        ["data_info.csv", *(f"{task}_info.csv" for task in TASKS)]
    )
    ids = {path.stem for path in (tree / "audio" / "wav").iterdir()}
    assert len(ids) == 48
    for task, num_columns in (("high", 10), ("two", 2), ("culture", 40), ("type", 1)):
        rows = read_csv(tree / "labels" / f"{task}_info.csv")
        assert {row["File_ID"] for row in rows} == {f"[{name}]" for name in ids}
        assert [[row["Split"] for row in rows].count(split) for split in ("Train", "Val", "Test")] == list(SMALL)
        assert len(rows[0]) == 2 + num_columns


def test_tree_loads_as_the_corpus_in_every_config(tree, tmp_path):
    for config, num_targets in (("high", 10), ("two", 2), ("culture", 40), ("type", 0), ("joint", 52)):
        loaded = load_corpus("hume_vb", data_dir=tree, config=config, cache_dir=tmp_path / "cache")
        assert loaded.num_rows == dict(zip(("train", "validation", "test"), SMALL, strict=True))
        targets = corpus_builder("hume_vb").builder_configs[config].targets
        assert len(targets) == num_targets
        for split, column in itertools.product(loaded, targets):
            assert 0 <= min(loaded[split][column]) <= max(loaded[split][column]) <= 1


def test_tree_loads_the_classic_way_in_datasets_3(tree, tmp_path):
    if int(importlib.metadata.version("datasets").split(".")[0]) > 3:
        pytest.skip("datasets 4 and later refuse loading scripts")
    script = Path(importlib.resources.files("nvv.dataset_scripts") / "hume_vb" / "hume_vb.py")
    copy = tmp_path / "hume_vb" / "hume_vb.py"
    copy.parent.mkdir()
    copy.write_bytes(script.read_bytes())
    loaded = datasets.load_dataset(
        str(copy.parent), "joint", data_dir=str(tree), trust_remote_code=True, cache_dir=str(tmp_path / "cache")
    )
    assert sum(loaded.num_rows.values()) == sum(SMALL)


def test_sounds_are_as_long_and_as_loud_as_stated(tree):
    for path in (tree / "audio" / "wav").iterdir():
        sound = decode_audio(path)
        assert 0.3 * 16_000 <= len(sound) <= 1.5 * 16_000
        # Peak at -3 dB: 10 ** (-3 / 20) = 0.708, to a 16-bit step.
        assert np.max(np.abs(sound)) == pytest.approx(0.7079, abs=1e-4)


def test_parts_share_no_speaker_and_have_all_countries(tree, tmp_path):
    loaded = load_corpus("hume_vb", data_dir=tree, config="two", cache_dir=tmp_path / "cache")
    speakers = {split: set(rows["speaker_id"]) for split, rows in loaded.items()}
    assert {split: len(names) for split, names in speakers.items()} == {"train": 4, "validation": 2, "test": 2}
    assert not speakers["train"] & (speakers["validation"] | speakers["test"])
    assert set(loaded["train"]["country"]) == set(COUNTRIES)
    assert all(18 <= age < 75 for age in loaded["test"]["age"])


def test_same_seed_gives_the_same_bytes_and_another_seed_others(tree, tmp_path):
    again = write_synthetic_hume_vb(tmp_path / "again", num_clips=SMALL, seed=7)
    assert digests(again) == digests(tree)
    other = write_synthetic_hume_vb(tmp_path / "other", num_clips=SMALL, seed=8)
    same = {name for name, digest in digests(other).items() if digest == digests(tree).get(name)}
    assert same == set()


def test_options_change_the_labels_and_not_the_sounds(tree, tmp_path):
    other = write_synthetic_hume_vb(
        tmp_path / "other", num_clips=SMALL, seed=7, tasks=("two",), with_speakers=False, withhold_test=True
    )
    assert [path.name for path in (other / "labels").iterdir()] == ["two_info.csv"]
    audio = {name: digest for name, digest in digests(tree).items() if name.startswith("audio")}
    assert {name: digest for name, digest in digests(other).items() if name.startswith("audio")} == audio
    before = {row["File_ID"]: row for row in read_csv(tree / "labels" / "two_info.csv")}
    for row in read_csv(other / "labels" / "two_info.csv"):
        withheld = {"Valence": "-1", "Arousal": "-1"} if row["Split"] == "Test" else {}
        assert row == before[row["File_ID"]] | withheld


def test_withheld_test_targets_are_null_in_the_corpus(tmp_path):
    tree = write_synthetic_hume_vb(tmp_path / "tree", num_clips=(6, 6, 6), withhold_test=True)
    loaded = load_corpus("hume_vb", data_dir=tree, config="joint", cache_dir=tmp_path / "cache")
    for column in ("Awe", "Arousal", "China_Fear", "label"):
        assert set(loaded["test"][column]) == {None}
        assert None not in loaded["validation"][column]


def test_holes_are_null_in_the_corpus_and_nothing_else_changes(tree, tmp_path):
    holed = write_synthetic_hume_vb(tmp_path / "holed", num_clips=SMALL, seed=7, missing_share=0.25)
    whole = load_corpus("hume_vb", data_dir=tree, config="joint", cache_dir=tmp_path / "cache")
    loaded = load_corpus("hume_vb", data_dir=holed, config="joint", cache_dir=tmp_path / "cache")
    columns = ["label", *corpus_builder("hume_vb").TARGETS]
    for split in ("train", "validation", "test"):
        pairs = [
            (after, before)
            for column in columns
            for after, before in zip(loaded[split][column], whole[split][column], strict=True)
        ]
        share = sum(after is None for after, _ in pairs) / len(pairs)
        # 24 or 12 clips of 53 columns: the standard deviation of the share is at most 0.017.
        assert share == pytest.approx(0 if split == "test" else 0.25, abs=0.07)
        assert all(after == before for after, before in pairs if after is not None)


def acoustics(sound: np.ndarray) -> dict[str, float]:
    """Measure a sound without knowing how it was made: pitch and its course, centroid, periodicity, beats."""
    size, hop = 800, 160  # 50 ms, 10 ms
    starts = range(0, len(sound) - size, hop)
    of_window = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(size), 2 * size)) ** 2)[:size]
    lags = slice(16_000 // 1000, 16_000 // 62)
    pitches, peaks, loudness, centroids = [], [], [], []
    for start in starts:
        frame = sound[start : start + size] * np.hanning(size)
        spectrum = np.abs(np.fft.rfft(frame, 2 * size)) ** 2
        correlation = np.fft.irfft(spectrum)[:size] / of_window
        correlation = correlation / correlation[0]
        found, _ = find_peaks(correlation[lags])
        height = correlation[lags][found].max(initial=0.0)
        lag = next((lags.start + at for at in found if correlation[lags][at] > 0.9 * height), np.nan)
        pitches.append(np.log2(16_000 / lag))
        peaks.append(height)
        loudness.append(np.sqrt(np.mean(frame**2)))
        centroids.append(np.log2(np.sum(spectrum * np.arange(size + 1)) / np.sum(spectrum)))
    times = np.array(starts) - np.mean(starts)
    loud = np.array(loudness)
    heard = loud > 0.3 * loud.max()
    return {
        "pitch": float(np.nanmedian(np.array(pitches)[heard])),
        "course": float(np.polyfit(times[heard], np.array(pitches)[heard], 1)[0] * len(sound)),
        "centroid": float(np.mean(np.array(centroids)[heard])),
        "periodicity": float(np.mean(np.array(peaks)[heard])),
        "beats": float(loud[4:-4].std() / loud[4:-4].mean()),
    }


def test_traits_can_be_measured_in_the_sound(sounds, measured):
    voiced = [at for at, (burst, _) in enumerate(sounds) if burst.noise < 0.5]

    def correlation(trait: str, measure: str, which) -> float:
        return spearmanr([getattr(sounds[at][0], trait) for at in which], [measured[at][measure] for at in which])[0]

    everything = range(len(sounds))
    assert correlation("pitch", "pitch", voiced) > 0.7
    assert correlation("glide", "course", voiced) > 0.6
    assert correlation("brightness", "centroid", everything) > 0.6
    assert correlation("noise", "periodicity", everything) < -0.6
    assert correlation("modulation", "beats", everything) > 0.7


def test_targets_can_be_told_from_measured_sounds_of_other_clips(sounds, measured):
    table = np.array([list(values.values()) for values in measured])
    table = np.nan_to_num((table - np.nanmean(table, 0)) / np.nanstd(table, 0))
    inputs = np.column_stack([table, np.ones(len(table))])
    targets = [burst_targets(burst) for burst, _ in sounds]
    outcomes = np.array([list(values.values()) for values in targets])
    # Least squares on the first 80 clips, the 40 others predicted: every target must follow the sound.
    predicted = inputs[80:] @ np.linalg.lstsq(inputs[:80], outcomes[:80], rcond=None)[0]
    for at, name in enumerate(targets[0]):
        assert np.corrcoef(predicted[:, at], outcomes[80:, at])[0, 1] > 0.3, name


def test_targets_are_the_corpus_columns_and_vary(sounds):
    table = [burst_targets(burst) for burst, _ in sounds]
    assert set(table[0]) == set(corpus_builder("hume_vb").TARGETS)
    for name in table[0]:
        values = [row[name] for row in table]
        assert 0 <= min(values) <= max(values) <= 1
        assert np.std(values) > 0.1


def test_targets_follow_their_rules():
    # Arousal weighs pitch and brightness by 0.7 each: both at 1 lean by 1.4, and 1 / (1 + exp(-3 * 1.4 / 2)) = 0.891.
    loud = burst_targets(middle_burst(pitch=1.0, brightness=1.0))
    assert loud["Arousal"] == pytest.approx(0.8909, abs=1e-4)
    neutral = burst_targets(middle_burst(pitch=0.5, glide=0.5, brightness=0.5, noise=0.5, modulation=0.5))
    assert {neutral[name] for name in ("Awe", "Fear", "Valence", "Arousal", "United States_Awe")} == {0.5}
    # A country is the emotion stretched about 0.5 and shifted: 0.5 - 0.10 and 0.5 + 0.12.
    assert (neutral["China_Awe"], neutral["Venezuela_Surprise"]) == (pytest.approx(0.4), pytest.approx(0.62))


@pytest.mark.parametrize(
    ("traits", "kind"),
    [
        ({"noise": 0.9, "modulation": 0.9}, "Pant"),
        ({"noise": 0.9, "brightness": 0.9}, "Gasp"),
        ({"noise": 0.9}, "Other"),
        ({"modulation": 0.9, "pitch": 0.9}, "Laugh"),
        ({"modulation": 0.9}, "Cry"),
        ({"pitch": 0.9}, "Scream"),
        ({"glide": 0.9}, "Grunt"),
        ({}, "Groan"),
    ],
)
def test_kind_follows_its_rule(traits, kind):
    assert kind_of_burst(middle_burst(**traits)) == kind
    assert kind in corpus_builder("hume_vb").LABELS


def test_marker_says_what_the_tree_is(tree):
    text = (tree / MARKER).read_text(encoding="utf-8")
    assert "no recordings" in text
    assert "seed 7: 24 Train, 12 Val, 12 Test" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_clips": (4, 0, 4)}, r"num_clips: expected three numbers from 1"),
        ({"num_clips": (4, 4)}, r"num_clips: expected three numbers from 1"),
        ({"num_clips": (100_000, 1, 1)}, r"num_clips: expected at most 100,000"),
        ({"tasks": ("two", "three")}, r"tasks: expected some of high, two, culture, type; found three"),
        ({"tasks": ()}, r"tasks: expected some of .*; found none"),
        ({"missing_share": 1.0}, r"missing_share: expected a number in \[0, 1\), found 1.0"),
        ({"seed": -1}, r"seed: expected at least 0, found -1"),
    ],
)
def test_option_is_refused_and_named_when(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        write_synthetic_hume_vb(tmp_path / "tree", **options)
    assert list(tmp_path.iterdir()) == []


def test_folder_with_anything_in_it_is_left_alone(tmp_path):
    (tmp_path / "labels").mkdir()
    with pytest.raises(FileExistsError, match="is there already; name a new or empty folder"):
        write_synthetic_hume_vb(tmp_path, num_clips=(1, 1, 1))
    assert [path.name for path in tmp_path.iterdir()] == ["labels"]


def test_empty_folder_is_used_and_nothing_half_written_stays(tmp_path, monkeypatch):
    empty = tmp_path / "empty"
    empty.mkdir()
    write_synthetic_hume_vb(empty, num_clips=(1, 1, 1))
    assert (empty / MARKER).is_file()

    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr("nvv.data.synthetic_hume_vb._write_csv", fail)
    with pytest.raises(OSError, match="disk full"):
        write_synthetic_hume_vb(tmp_path / "second", num_clips=(1, 1, 1))
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
