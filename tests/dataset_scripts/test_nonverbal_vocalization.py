import hashlib
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest

from nvv.audio import AudioError
from nvv.data import SPLITS, CorpusError, corpus_builder, corpus_facts, load_corpus, manifest_digest


@pytest.fixture
def load(tmp_path):
    def load(folder, config="speaker"):
        return load_corpus("nonverbal_vocalization", data_dir=folder, config=config, cache_dir=tmp_path / "cache")

    return load


def test_file_name_becomes_columns(load, rows_of, raw_folder):
    rows = rows_of(load(raw_folder))
    assert len(rows) == 36
    file = "crying/AB03_11_4_1_23_1_0_1.wav"
    row = rows[file]
    assert row.pop("audio") == {"bytes": (raw_folder / "dataset" / file).read_bytes(), "path": file}
    assert row == {
        "label": 11,
        "file": file,
        "speaker_id": "AB03",
        "trial": 4,
        "sex": "male",  # code 1
        "age": 23,
        "location": "outdoor",
        "quality": "high",
        "noise": "noisy",
        "json_sex": "male",
        "json_age": 23,
    }


def test_disagreement_with_the_metadata_file_is_kept(load, rows_of, raw_folder):
    rows = rows_of(load(raw_folder))
    row = rows["crying/AB01_11_2_1_21_1_0_1.wav"]
    assert (row["sex"], row["json_sex"], row["age"], row["json_age"]) == ("male", "female", 21, 41)
    unknown = rows["crying/AB02_11_3_0_22_1_0_1.wav"]
    assert (unknown["sex"], unknown["json_sex"], unknown["json_age"]) == ("female", None, None)


def test_labels_are_in_the_order_of_the_codes():
    labels = corpus_builder("nonverbal_vocalization").LABELS
    assert (labels[0], labels[15]) == ("teeth-chattering", "screaming")
    assert (labels[4], labels[8], labels[12]) == ("coughing", "lip-popping", "laughing")
    assert len(set(labels)) == 16


def test_corpus_is_the_same_from_each_folder(load, rows_of, raw_folder, tmp_path):
    expected = rows_of(load(raw_folder))
    above = tmp_path / "above"
    above.mkdir()
    shutil.move(raw_folder, above / "release")
    for folder in (above, above / "release", above / "release" / "dataset"):
        assert rows_of(load(folder)) == expected


def test_macos_and_hidden_files_are_ignored(load, rows_of, raw_folder):
    before = rows_of(load(raw_folder))
    (raw_folder / "__MACOSX" / "dataset" / "coughing").mkdir(parents=True)
    for path in (
        raw_folder / "__MACOSX" / "dataset" / "coughing" / "._AB00_4_1_0_20_1_0_1.wav",
        raw_folder / "dataset" / "coughing" / "._AB00_4_1_0_20_1_0_1.wav",
        raw_folder / "dataset" / ".DS_Store",
    ):
        path.write_bytes(b"resource fork")
    assert rows_of(load(raw_folder)) == before


def test_metadata_file_may_be_missing_but_not_broken(load, rows_of, raw_folder):
    path = raw_folder / "dataset" / "Nonverbal_Vocalization_metadata.json"
    path.write_text("{", encoding="utf-8")
    with pytest.raises(CorpusError, match=r"Nonverbal_Vocalization_metadata\.json: not valid JSON"):
        load(raw_folder)
    path.unlink()
    assert {row["json_sex"] for row in rows_of(load(raw_folder)).values()} == {None}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("coughing/cough1.wav", "the name is not <speaker>_<class>"),
        ("coughing/ab00_4_1_0_20_1_0_1.wav", "the name is not"),  # lower case
        ("coughing/AB00_4_1_0_20_1_0.wav", "the name is not"),  # seven parts
        ("coughing/AB00_4_1_2_20_1_0_1.wav", "the name is not"),  # sex 2
        ("coughing/AB00_4_1_0_20_1_0_1 (1).wav", "the name is not"),
        ("coughing/AB00_16_1_0_20_1_0_1.wav", "class code 16, expected 0 to 15"),
        ("coughing/AB00_5_1_0_20_1_0_1.wav", "class code 5 means 'yawning', but the folder is 'coughing'"),
        ("coughing/more/AB00_4_1_0_20_1_0_1.wav", "means 'coughing', but the folder is 'coughing/more'"),
    ],
)
def test_name_is_refused_and_named_when(load, raw_folder, name, message):
    path = raw_folder / "dataset" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(next((raw_folder / "dataset" / "coughing").glob("*.wav")).read_bytes())
    with pytest.raises(CorpusError) as caught:
        load(raw_folder)
    assert str(caught.value).startswith(f"{name}: ")
    assert message in str(caught.value)


def test_clip_is_refused_and_named_when_cut_off(load, raw_folder):
    path = raw_folder / "dataset" / "laughing" / "AB05_12_6_1_25_1_0_1.wav"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(AudioError, match=r"^laughing/AB05_12_6_1_25_1_0_1\.wav: cut off"):
        load(raw_folder)


def test_folder_without_the_corpus_is_refused_with_the_layout(load, tmp_path):
    (tmp_path / "other").mkdir()
    with pytest.raises(CorpusError, match=r"expected a folder dataset/ with one folder of WAV files per class"):
        load(tmp_path / "other")


# The real recordings.


@pytest.fixture(scope="module")
def real_folder() -> Path:
    home = os.environ.get("NVV_TEST_DATA", Path(__file__).parents[3] / "shared" / "data")
    folder = Path(home) / "nonverbal_vocalization"
    if not folder.is_dir():
        pytest.skip(f"the real recordings are not in {folder}; set NVV_TEST_DATA to the folder that holds them")
    return folder


DIGESTS = {
    "speaker": "485833b874d655133e2468266dabba81a59b41355845754141bfef80b555f849",
    "stratified": "a90526b2d122da57d7ee7952d1b89480c0c79e0f8f15875f24f765fc3240a336",
    "fold_0": "feeeac4eee1004714e6615a7621fcf1d5aa70f2219e90b7a605489650b987935",
}
FOLD_PARTS_DIGEST = "8f3b4488b6a0d18dc0e90f9c502bc4e1acf77771ae1b2b82803dd6518f8f80a5"


@pytest.mark.realdata
@pytest.mark.parametrize("config", DIGESTS)
def test_real_splits_hold_every_class_and_stay_as_pinned(load, real_folder, config):
    dataset = load(real_folder, config)
    assert sum(dataset.num_rows.values()) == 727
    for split in SPLITS:
        assert set(dataset[split]["label"]) == set(range(16))
    split_of = {row["file"]: split for split in SPLITS for row in dataset[split].remove_columns("audio")}
    assert manifest_digest(split_of) == DIGESTS[config]


@pytest.mark.realdata
@pytest.mark.parametrize("config", ["speaker", "fold_9"])
def test_real_speakers_are_in_one_split_each(load, real_folder, config):
    speakers = [set(part["speaker_id"]) for part in load(real_folder, config).values()]
    assert sum(map(len, speakers)) == len(set.union(*speakers)) == 410


@pytest.mark.realdata
def test_real_folds_are_even_and_lack_one_class_once(real_folder, tmp_path):
    builder = corpus_builder("nonverbal_vocalization")(data_dir=str(real_folder), cache_dir=str(tmp_path))
    clips = builder.collect_clips()
    parts = builder.fold_parts(clips)
    assert manifest_digest(parts) == FOLD_PARTS_DIGEST
    assert set(Counter(parts.values()).values()) == {72, 73}
    counts = Counter((clip.label, parts[clip.file]) for clip in clips)
    lacking = [(label, part) for label in builder.LABELS for part in range(10) if not counts[label, part]]
    # Nine speakers yawn, so one of ten parts must do without.
    assert lacking == [("yawning", 6)]
    assert len({clip.speaker_id for clip in clips if clip.label == "yawning"}) == 9


@pytest.mark.realdata
def test_real_facts_are_as_the_card_says(load, rows_of, real_folder):
    rows = rows_of(load(real_folder))
    labels = corpus_builder("nonverbal_vocalization").LABELS
    numbers = Counter(labels[row["label"]] for row in rows.values())
    assert (numbers["crying"], numbers["laughing"], numbers["throat-clearing"]) == (24, 25, 54)
    assert sum(row["sex"] != row["json_sex"] for row in rows.values()) == 7
    assert sum(row["age"] != row["json_age"] for row in rows.values()) == 32
    assert sum(row["location"] == "outdoor" for row in rows.values()) == 7
    assert {row["quality"] for row in rows.values()} == {"high"}
    for file, row in rows.items():
        raw = (real_folder / "dataset" / file).read_bytes()
        assert hashlib.sha256(row["audio"]["bytes"]).digest() == hashlib.sha256(raw).digest()


def test_facts_state_the_licence():
    facts = corpus_facts("nonverbal_vocalization")
    assert facts.licence == "cc-by-nc-nd-4.0"
    assert facts.is_synthetic is False
