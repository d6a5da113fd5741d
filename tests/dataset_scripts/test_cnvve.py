import itertools
import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from nvv.audio import AudioError, encode_wav
from nvv.data import SPLITS, CorpusError, corpus_facts, load_corpus

CORPUS = "cnvve"
LABELS = ("ahem", "confirm", "continuous", "decline", "hush", "psst")
SPEAKERS = [str(number) for number in range(1, 43)]
# 42 speakers x 6 classes, and a second take by every third speaker: 252 + 84 = 336 raw clips.
STEMS = [
    (label, f"{label}_{speaker}_{take}_0")
    for label, speaker, take in itertools.product(LABELS, SPEAKERS, (1, 2))
    if take == 1 or int(speaker) % 3 == 0
]
RAW = [f"raw/{label}/session{1 + number % 2}/{stem}.wav" for number, (label, stem) in enumerate(STEMS)]
CLEANED = [f"cleaned/{label}/{stem}.wav" for label, stem in STEMS if stem != "hush_7_1_0"]  # one was found silent


def wav(name: str) -> bytes:
    generator = random.Random(name)
    return encode_wav(np.array([generator.uniform(-0.5, 0.5) for _ in range(50)]))


def write(root: Path, names: list[str]) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(wav(name))
    return root


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> Path:
    """Both variants, as the authors' scripts lay them out, and what these and a Mac leave beside them."""
    root = write(
        tmp_path_factory.mktemp("release") / "data", RAW + CLEANED + ["padded_augmented/psst/psst_1_1_0_rir.wav"]
    )
    (root / "padded_metadata.csv").write_text("filename,classID,class,filepath\n")
    (root / "cleaned" / "ahem" / "._ahem_1_1_0.wav").write_bytes(b"resource fork")
    (root.parent / "__MACOSX" / "data" / "cleaned" / "ahem").mkdir(parents=True)
    (root.parent / "__MACOSX" / "data" / "cleaned" / "ahem" / "._ahem_1_1_0.wav").write_bytes(b"resource fork")
    return root


def test_prepared_corpus_holds_every_cleaned_clip_unchanged(load, rows_of, release):
    loaded = load("speaker")
    rows = rows_of(loaded)
    assert sorted(rows) == sorted(CLEANED)
    for file, row in rows.items():
        label, speaker = Path(file).stem.split("_")[:2]
        assert row == {
            "audio": {"bytes": (release / file).read_bytes(), "path": row["audio"]["path"]},
            "label": LABELS.index(label),
            "file": file,
            "speaker_id": speaker,
            "variant": "cleaned",
        }
    assert loaded["train"].features["label"].names == list(LABELS)


@pytest.mark.parametrize("config", ["speaker", "fold_0", "fold_9"])
def test_prepared_speakers_are_in_one_split_each(load, config):
    loaded = load(config)
    speakers = [set(loaded[split]["speaker_id"]) for split in SPLITS]
    assert sum(map(len, speakers)) == len(set.union(*speakers)) == 42
    assert all(set(loaded[split]["label"]) == set(range(6)) for split in SPLITS)


def test_raw_and_computed_clips_are_left_out_with_a_reason_when_cleaned_ones_are_there(build, release):
    builder = build(release)
    builder.collect_clips()
    reasons = {entry.file: entry.reason for entry in builder.excluded}
    assert reasons == {
        **dict.fromkeys(RAW, "raw recording (the cleaned clips are read)"),
        "padded_augmented/psst/psst_1_1_0_rir.wav": "outside the folders raw and cleaned",
    }


def test_raw_clips_are_read_when_they_are_all_there_is(build, tmp_path):
    builder = build(write(tmp_path / "release", RAW))
    clips = builder.collect_clips()
    assert [clip.file for clip in clips] == sorted(RAW)
    assert {clip.metadata["variant"] for clip in clips} == {"raw"}
    assert {clip.label for clip in clips} == set(LABELS)
    assert {clip.speaker_id for clip in clips} == set(SPEAKERS)
    assert builder.excluded == []


@pytest.mark.parametrize(("variant", "names"), [("raw", RAW), ("cleaned", CLEANED)])
def test_corpus_is_the_same_when_the_folder_of_a_variant_is_named_or_renamed(build, tmp_path, variant, names):
    root = write(tmp_path / "release", names)
    expected = build(root).collect_clips()
    (root / variant).rename(root / "CNVVE")
    for folder in (root, root / "CNVVE"):
        builder = build(folder)
        clips = builder.collect_clips()
        assert clips == expected
        assert builder.read_clip(clips[0]) == wav(clips[0].file)


def test_corpus_is_the_same_one_level_higher_and_from_the_archive(build, release, tmp_path):
    expected = build(release).collect_clips()
    assert build(release.parent).collect_clips() == expected
    archive = shutil.make_archive(str(tmp_path / "CNVVE"), "zip", release.parent)
    assert build(Path(archive)).collect_clips() == expected


def test_folders_and_suffixes_may_be_in_capitals(build, tmp_path):
    names = [f"Cleaned/{label.title()}/{stem}.WAV" for label, stem in STEMS]
    builder = build(write(tmp_path / "release", names))
    clips = builder.collect_clips()
    assert [clip.label for clip in clips] == sorted(label for label, _ in STEMS)
    assert builder.read_clip(clips[0]) == wav(sorted(names)[0])


def test_splits_are_the_same_when_files_were_created_in_another_order(build, release, tmp_path):
    shuffled = RAW + CLEANED
    random.Random(0).shuffle(shuffled)
    first, second = build(release), build(write(tmp_path / "other", shuffled))
    clips = first.collect_clips()
    assert second.collect_clips() == clips
    for protocol in ("speaker", "stratified", "fold_4"):
        assert first.split_clips(clips, protocol) == second.split_clips(clips[::-1], protocol)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cleaned/ahem/ahem_3.wav", "the name is not <class>_<speaker>_<rest>.wav, so its speaker is unknown"),
        ("cleaned/ahem/ahem__3_0.wav", "the name is not"),  # no speaker
        ("cleaned/ahem/recording 7.wav", "the name is not"),
        ("cleaned/ahem/hush_3_1_0.wav", "the name says 'hush', but the folder is 'ahem'"),
        ("cleaned/cough/cough_3_1_0.wav", "expected in cleaned/<class> with one of the classes ahem, confirm"),
        ("cleaned/ahem/more/ahem_3_1_0.wav", "expected in cleaned/<class>"),
        ("cleaned/ahem_3_1_0.wav", "expected in cleaned/<class>"),
        ("raw/ahem/ahem_3_1_0.wav", "expected in raw/<class>/<sub-folder>"),
        ("raw/ahem/session1/more/ahem_3_1_0.wav", "expected in raw/<class>/<sub-folder>"),
    ],
)
def test_name_is_refused_and_named_when(build, tmp_path, name, message):
    names = RAW if name.startswith("raw/") else CLEANED
    root = write(tmp_path / "release", [*names, name])
    with pytest.raises(CorpusError) as caught:
        build(root).collect_clips()
    assert str(caught.value).startswith(f"{name}: {message}")


def test_depths_are_refused_when_mixed(build, tmp_path):
    root = write(tmp_path / "release", ["ahem/ahem_1_1_0.wav", "hush/hush_1_1_0.wav", "hush/deeper/hush_2_1_0.wav"])
    with pytest.raises(CorpusError, match=r"^hush/deeper/hush_2_1_0\.wav: expected all files in <class>/<file>"):
        build(root).collect_clips()


def test_clip_is_refused_and_named_when_cut_off(tmp_path):
    root = write(tmp_path / "release", CLEANED)
    (root / CLEANED[5]).write_bytes(wav("")[:-1])
    with pytest.raises(AudioError, match=rf"^{CLEANED[5]}: "):
        load_corpus("cnvve", data_dir=root, cache_dir=tmp_path / "cache")


def test_corpus_is_not_downloaded_and_says_where_to_get_it(tmp_path):
    with pytest.raises(CorpusError) as caught:
        load_corpus("cnvve", cache_dir=tmp_path / "cache")
    assert "https://doi.org/10.18419/darus-3898" in str(caught.value)
    assert "The licence of the recordings was not seen" in str(caught.value)


def test_facts_forbid_public_copies_since_the_licence_was_not_seen():
    facts = corpus_facts("cnvve")
    assert facts.licence == "unknown"
    assert "not seen" in facts.no_public_copies


def test_script_loads_the_classic_way(release, load_classically):
    loaded = load_classically(CORPUS, release)
    assert sum(loaded.num_rows.values()) == len(CLEANED)
