import csv
import importlib.resources
import itertools
import random
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from nvv.audio import AudioError, encode_wav
from nvv.data import SPLITS, CorpusError, corpus_builder, corpus_facts, load_corpus, manifest_digest

CORPUS = "vivae"
EMOTIONS = ("achievement", "anger", "fear", "pain", "pleasure", "surprise")
INTENSITIES = ("low", "moderate", "strong", "peak")
SPEAKERS = [f"S{number:02d}" for number in range(1, 12)]

# 11 speakers x 6 emotions x 4 intensities x 1 item = 264, less 12 of S11 (the release has half as many of S11), plus
# the irregular items of the release: three digits, one digit, 99.
REGULAR = [
    f"{speaker}_{emotion}_{intensity}_01"
    for speaker, emotion, intensity in itertools.product(SPEAKERS, EMOTIONS, INTENSITIES)
    if speaker != "S11" or intensity in ("low", "peak")
]
IRREGULAR = ["S08_pleasure_strong_011", "S04_anger_strong_7", "S02_pain_peak_99", "S05_pain_peak_30"]
FULL_SET = [f"full_set/{name}.wav" for name in REGULAR + IRREGULAR]
CORE_SET = [f"core_set/{name}.wav" for name in REGULAR if not name.startswith("S11")]


def wav(name: str) -> bytes:
    """50 samples that differ from name to name; a core-set file has the bytes of its full-set file."""
    generator = random.Random(Path(name).name)
    return encode_wav(np.array([generator.uniform(-0.5, 0.5) for _ in range(50)]))


def write(root: Path, names: list[str]) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(wav(name))
    return root


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> Path:
    """Both sets, as the archive unpacks, with what the release and a Mac leave beside the audio."""
    root = write(tmp_path_factory.mktemp("raw") / "VIVAE", FULL_SET + CORE_SET)
    (root / "README.md").write_text("the release's own")
    (root / "ratings.csv").write_text("file,rating\nS01_achievement_low_01.wav,4\n")
    (root / "full_set" / ".DS_Store").write_bytes(b"resource fork")
    (root / "full_set" / "._S01_achievement_low_01.wav").write_bytes(b"resource fork")
    (root.parent / "__MACOSX" / "VIVAE" / "full_set").mkdir(parents=True)
    (root.parent / "__MACOSX" / "VIVAE" / "full_set" / "._S01_anger_low_01.wav").write_bytes(b"resource fork")
    return root


def test_prepared_corpus_holds_every_full_set_clip_unchanged(load, rows_of, release):
    loaded = load("speaker")
    rows = rows_of(loaded)
    assert sorted(rows) == sorted(FULL_SET)
    for file, row in rows.items():
        speaker, emotion, intensity, item = Path(file).stem.split("_")
        assert row == {
            "audio": {"bytes": (release / file).read_bytes(), "path": row["audio"]["path"]},
            "label": EMOTIONS.index(emotion),
            "file": file,
            "speaker_id": speaker,
            "intensity": intensity,
            "item": item,
            "subset": "full_set",
        }
    assert loaded["train"].features["label"].names == list(EMOTIONS)


@pytest.mark.parametrize("config", ["speaker", "fold_0", "fold_9"])
def test_prepared_speakers_are_in_one_split_each(load, config):
    loaded = load(config)
    speakers = [set(loaded[split]["speaker_id"]) for split in SPLITS]
    assert sum(map(len, speakers)) == len(set.union(*speakers)) == 11
    assert all(set(loaded[split]["label"]) == set(range(6)) for split in SPLITS)


def test_prepared_stratified_split_has_the_published_proportions(load):
    numbers = {split: part.num_rows for split, part in load("stratified").items()}
    # 42 clips of each of four emotions, 45 of pain (three irregular items less one), and so on: 256 in all.
    assert sum(numbers.values()) == 256
    assert numbers["train"] / 256 == pytest.approx(0.70, abs=0.02)
    assert numbers["test"] / 256 == pytest.approx(0.15, abs=0.02)


def test_every_speaker_is_tested_in_one_fold(build, release):
    builder = build(release)
    clips = builder.collect_clips()
    splits = [builder.split_clips(clips, f"fold_{fold}") for fold in range(10)]
    tested = [{clip.speaker_id for clip in clips if split_of[clip.file] == "test"} for split_of in splits]
    assert sorted(speaker for fold in tested for speaker in fold) == SPEAKERS


def test_core_set_is_left_out_with_a_reason_when_the_full_set_is_there(build, release):
    builder = build(release)
    assert len(builder.collect_clips()) == len(FULL_SET)
    assert [entry.file for entry in builder.excluded] == sorted(CORE_SET)
    assert {entry.reason for entry in builder.excluded} == {"core set (it repeats recordings of the full set)"}


def test_core_set_is_read_when_it_is_all_there_is(build, tmp_path):
    builder = build(write(tmp_path / "raw", CORE_SET))
    clips = builder.collect_clips()
    assert [clip.file for clip in clips] == sorted(CORE_SET)
    assert {clip.metadata["subset"] for clip in clips} == {"core_set"}
    assert builder.excluded == []
    assert set(builder.fold_parts(clips).values()) == set(range(10))  # ten speakers


def test_splits_are_the_same_when_files_were_created_in_another_order(build, release, tmp_path):
    shuffled = FULL_SET + CORE_SET
    random.Random(0).shuffle(shuffled)
    other = write(tmp_path / "other", shuffled)
    first, second = build(release), build(other)
    assert first.collect_clips() == second.collect_clips()
    clips = first.collect_clips()
    for protocol in ("speaker", "stratified", "fold_4"):
        assert first.split_clips(clips, protocol) == second.split_clips(clips[::-1], protocol)


def test_corpus_is_the_same_one_level_higher_and_from_the_archive(build, release, tmp_path):
    expected = build(release).collect_clips()
    assert build(release.parent).collect_clips() == expected
    archive = shutil.make_archive(str(tmp_path / "VIVAE"), "zip", release.parent)
    assert build(Path(archive)).collect_clips() == expected


def test_suffix_may_be_in_capitals(build, tmp_path):
    root = write(tmp_path / "raw", [str(Path(file).with_suffix(".WAV")) for file in FULL_SET])
    clips = build(root).collect_clips()
    assert [Path(clip.file).stem for clip in clips] == sorted(REGULAR + IRREGULAR)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("full_set/S01_achievement_low.wav", "the name is not <speaker>_<emotion>_<intensity>_<item>.wav"),
        ("full_set/S01_achievement_low_01_02.wav", "the name is not"),
        ("full_set/S01_achievement_low_01 (1).wav", "the name is not"),  # a file manager's copy
        ("full_set/01_achievement_low_01.wav", "the name is not"),
        ("full_set/S001_achievement_low_01.wav", "the name is not"),
        ("full_set/S01_Anger_low_01.wav", "the name is not"),
        ("full_set/S01_joy_low_01.wav", "emotion 'joy', expected one of achievement, anger"),
        ("full_set/S01_anger_medium_01.wav", "intensity 'medium', expected one of low, moderate, strong, peak"),
        ("full_set/anger/S01_anger_low_01.wav", "not in full_set or core_set"),
        ("S01_anger_low_02.wav", "not in full_set or core_set"),
        ("other/S01_anger_low_02.wav", "not in full_set or core_set"),
    ],
)
def test_name_is_refused_and_named_when(build, tmp_path, name, message):
    root = write(tmp_path / "raw", [FULL_SET[0], name])
    with pytest.raises(CorpusError) as caught:
        build(root).collect_clips()
    assert str(caught.value).startswith(f"{name}: {message}")


def test_clip_is_refused_and_named_when_cut_off(tmp_path):
    root = write(tmp_path / "raw", FULL_SET)
    (root / FULL_SET[7]).write_bytes(wav("")[:-1])
    with pytest.raises(AudioError, match=rf"^{FULL_SET[7]}: "):
        load_corpus("vivae", data_dir=root, cache_dir=tmp_path / "cache")


def test_folder_is_refused_with_the_layout_when_it_holds_neither_set(build, tmp_path):
    root = write(tmp_path / "raw", FULL_SET[:3])
    with pytest.raises(CorpusError, match="expected a folder that holds full_set/"):
        build(root / "full_set").collect_clips()


def test_facts_say_what_is_allowed_and_where_to_get_it():
    facts = corpus_facts("vivae")
    assert facts.licence == "cc-by-nc-4.0"
    assert "zenodo.4066235" in facts.obtain
    assert [record.record_id for record in corpus_builder("vivae").DOWNLOADS] == [4066235]


def test_script_loads_the_classic_way(release, load_classically):
    loaded = load_classically(CORPUS, release)
    assert sum(loaded.num_rows.values()) == len(FULL_SET)


# The release's file names.

REAL_DIGESTS = {
    "speaker": "121efa41dcfb4d5956b8f6b1a5c2ff1e0e2b083c5198073bb6947d9bec4c9ef0",
    "stratified": "aac92c709392be82c9322210965e460de264293d7c5c63c3f8a274dd00de4b86",
    "fold_0": "dc8a6d2f591674fab2831cb497e58e80c9bf24da3722405a1238dbb76c399b39",
    "all folds": "83cb2f149a23a9622e63db9df48b2179d7bf2ce703dcd48fc2575eaf5c0555e0",
}


@pytest.fixture(scope="module")
def real_names(real_data) -> list[str]:
    listing = real_data / "listings" / "vivae_full_set.csv"
    if not listing.is_file():
        pytest.skip(f"{listing} is missing")
    with listing.open(encoding="utf-8", newline="") as table:
        return [row["file"] for row in csv.DictReader(table)]


@pytest.fixture(scope="module")
def real_folder(real_names, tmp_path_factory) -> Path:
    """The release's names, empty: listing clips reads no audio."""
    root = tmp_path_factory.mktemp("listing")
    (root / "VIVAE" / "full_set").mkdir(parents=True)
    for name in real_names:
        (root / name).touch()
    return root


@pytest.mark.realdata
def test_real_names_are_all_clips(build, real_folder):
    builder = build(real_folder)
    clips = builder.collect_clips()
    assert builder.excluded == []
    assert len(clips) == 1085
    assert Counter(clip.label for clip in clips) == dict(zip(EMOTIONS, (161, 174, 176, 185, 202, 187), strict=True))
    assert Counter(clip.speaker_id for clip in clips) == dict(
        zip(SPEAKERS, (93, 101, 101, 108, 111, 111, 103, 108, 108, 87, 54), strict=True)
    )
    intensities = Counter(clip.metadata["intensity"] for clip in clips)
    assert intensities == dict(zip(INTENSITIES, (262, 269, 282, 272), strict=True))
    assert Counter(len(clip.metadata["item"]) for clip in clips) == {2: 967, 3: 117, 1: 1}
    assert sum(clip.metadata["item"] == "99" for clip in clips) == 6


@pytest.mark.realdata
@pytest.mark.parametrize("protocol", ["speaker", "stratified", "fold_0", "all folds"])
def test_real_splits_stay_as_pinned(build, real_folder, protocol):
    builder = build(real_folder)
    clips = builder.collect_clips()
    split_of = builder.fold_parts(clips) if protocol == "all folds" else builder.split_clips(clips, protocol)
    assert len(split_of) == 1085
    assert {(clip.label, split_of[clip.file]) for clip in clips} == set(
        itertools.product(EMOTIONS, set(split_of.values()))
    )
    assert manifest_digest(split_of) == REAL_DIGESTS[protocol]


@pytest.mark.realdata
def test_real_counts_are_those_of_the_card(build, real_folder):
    card = (importlib.resources.files("nvv.dataset_scripts") / "vivae" / "README.md").read_text(encoding="utf-8")
    builder = build(real_folder)
    clips = builder.collect_clips()
    for protocol in ("speaker", "stratified"):
        sizes = Counter(builder.split_clips(clips, protocol).values())
        assert f"| {sizes['train']:,} | {sizes['validation']} | {sizes['test']} |\n" in card
    numbers = Counter((clip.label, clip.metadata["intensity"]) for clip in clips)
    for label in EMOTIONS:
        columns = [numbers[label, value] for value in INTENSITIES]
        assert f"| {label} | {' | '.join(map(str, columns))} | {sum(columns)} |\n" in card
