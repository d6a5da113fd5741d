import csv
import hashlib
import shutil
from pathlib import Path

import datasets
import numpy as np
import pytest

from nvv.audio import AudioError, encode_wav
from nvv.data import CorpusError, Excluded, SplitError, corpus_builder, corpus_facts, load_corpus, manifest_digest
from nvv.data.synthetic_hume_vb import MARKER
from nvv.hub.dataset_repository import prepare_corpus

CORPUS = "hume_vb"

# As printed in the competition's README, up to the one misspelt name; the order of the culture task is the code's.
HIGH = ["Awe", "Excitement", "Amusement", "Awkwardness", "Fear", "Horror", "Distress", "Triumph", "Sadness", "Surprise"]
_CULTURE_HEADER = (
    "China_Awe,China_Excitement,China_Amusement,China_Awkwardness,China_Fear,China_Horror,China_Distress,China_Triumph,"
    "China_Sadness,United States_Awe,United States_Excitement,United States_Amusement,United States_Awkwardness,"
    "United States_Fear,United States_Horror,United States_Distress,United States_Triumph,United States_Sadness,"
    "South Africa_Awe,South Africa_Excitement,South Africa_Amusement,South Africa_Awkwardness,South Africa_Fear,"
    "South Africa_Horror,South Africa_Distress,South Africa_Triumph,South Africa_Sadness,Venezuela_Awe,"
    "Venezuela_Excitement,Venezuela_Amusement,Venezuela_Awkwardness,Venezuela_Fear,Venezuela_Horror,Venezuela_Distress,"
    "Venezuela_Triumph,Venezuela_Sadness,China_Surprise,United States_Surprise,South Africa_Surprise,Venezuela_Surprise"
)
CULTURE = next(csv.reader([_CULTURE_HEADER]))
COLUMNS = {"high": HIGH, "two": ["Valence", "Arousal"], "culture": CULTURE, "type": ["Voc_Type"]}
KINDS = ("Gasp", "Laugh", "Cry", "Scream", "Grunt", "Groan", "Pant", "Other")
SPLITS = {"Train": range(100), "Val": range(100, 190), "Test": range(190, 270)}
NUM_ROWS = {"train": 100, "validation": 90, "test": 80}
TRAIN, TEST = "00000", "00190"  # a clip of either part


def file_ids() -> dict[str, str]:
    return {f"{number:05d}": split for split, numbers in SPLITS.items() for number in numbers}


def cells_of(task: str, file_id: str, split: str) -> list[str]:
    """Train and validation rows have values; test rows are empty, 0 or another word, as nobody outside knows."""
    if task == "type":
        return ["-1" if split == "Test" else KINDS[int(file_id) % 8]]
    if split == "Test":
        return {"high": [""] * 10, "two": ["0"] * 2, "culture": ["-1"] * 40}[task]
    return [f"{(int(file_id) + place) % 101 / 100:.2f}" for place in range(len(COLUMNS[task]))]


def write_csv(path: Path, header: list[str], rows: list[list[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *rows])


def edit(path: Path, file_id: str, column: str, value: str) -> None:
    """Change one cell of a label file."""
    with path.open(newline="", encoding="utf-8") as stream:
        header, *rows = csv.reader(stream)
    for row in rows:
        if row[0] == f"[{file_id}]":
            row[header.index(column)] = value
    write_csv(path, header, rows)


def build_release(root: Path, *, reverse: bool = False, ending: str = ".wav") -> Path:
    (root / "audio" / "wav").mkdir(parents=True)
    for file_id in sorted(file_ids(), reverse=reverse):
        (root / "audio" / "wav" / f"{file_id}{ending}").write_bytes(encode_wav(np.full(50, int(file_id) / 1000)))
    for task, columns in COLUMNS.items():
        rows = [[f"[{i}]", split, *cells_of(task, i, split)] for i, split in file_ids().items()]
        write_csv(root / "labels" / f"{task}_info.csv", ["File_ID", "Split", *columns], rows[::-1] if reverse else rows)
    write_csv(root / "features" / "eGeMAPS" / "00000.csv", ["name", "F0"], [["00000", "1"]])
    return root


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> Path:
    """The release's layout in small; not to be changed."""
    return build_release(tmp_path_factory.mktemp("raw") / "A-VB")


@pytest.fixture
def collect(build):
    def collect(folder):
        builder = build(folder)
        return builder, {Path(clip.file).stem: clip for clip in builder.collect_clips()}

    return collect


def row_of(dataset, file_id: str) -> dict:
    return next(row for split in dataset.values() for row in split if row["file"] == f"audio/wav/{file_id}.wav")


def test_columns_are_the_competitions_in_its_order():
    builder = corpus_builder("hume_vb")
    assert list(builder.TARGETS) == COLUMNS["high"] + COLUMNS["two"] + COLUMNS["culture"]
    assert len(builder.TARGETS) == 52
    assert builder.LABELS == ("Cry", "Gasp", "Groan", "Grunt", "Laugh", "Other", "Pant", "Scream")
    assert set(builder.LABELS) == set(KINDS)


@pytest.mark.parametrize("config", [None, "high", "two", "culture"])
def test_regression_config_has_its_targets_and_no_label(load, config):
    loaded = load(config)
    task = config or "high"  # the default
    assert loaded.num_rows == NUM_ROWS
    expected = ["audio", *COLUMNS[task], "file", "speaker_id", "split", "country", "age"]
    assert list(loaded["train"].features) == expected
    # Cell of clip 98, column k: (98 + k) % 101 / 100, so the first five are 0.98 0.99 1.00 0.00 0.01.
    row = row_of(loaded, "00098")
    wanted = [0.98, 0.99, 1.0, 0.0, 0.01][: len(COLUMNS[task])]
    assert [row[column] for column in COLUMNS[task]][:5] == pytest.approx(wanted)
    assert row["split"] == "Train"


def test_type_config_has_a_label_and_no_targets(load):
    loaded = load("type")
    assert loaded.num_rows == NUM_ROWS
    assert list(loaded["train"].features) == ["audio", "label", "file", "speaker_id", "split", "country", "age"]
    names = loaded["train"].features["label"].names
    assert names == sorted(KINDS)
    # Clip 8 k + j has the j-th kind of the paper's list: Gasp, Laugh, Cry, Scream, Grunt, Groan, Pant, Other.
    assert names[row_of(loaded, "00010")["label"]] == "Cry"  # 10 = 8 + 2
    assert names[row_of(loaded, "00187")["label"]] == "Scream"  # 187 = 8 * 23 + 3


def test_joint_config_has_the_columns_of_every_task_on_the_same_split(load):
    loaded = load("joint")
    targets = COLUMNS["high"] + COLUMNS["two"] + COLUMNS["culture"]
    assert list(loaded["train"].features) == [
        "audio",
        "label",
        *targets,
        "file",
        "speaker_id",
        "split",
        "country",
        "age",
    ]
    assert {split: rows["file"][:] for split, rows in loaded.items()} == {
        split: rows["file"][:] for split, rows in load("high").items()
    }
    row = row_of(loaded, "00098")
    for task in ("high", "two", "culture"):
        expected = row_of(load(task), "00098")
        assert {column: row[column] for column in COLUMNS[task]} == {c: expected[c] for c in COLUMNS[task]}
    assert row["label"] == row_of(load("type"), "00098")["label"]


def test_joint_config_has_nulls_where_label_files_are_missing(changed, tmp_path):
    (changed / "labels" / "culture_info.csv").unlink()
    (changed / "labels" / "type_info.csv").unlink()
    direct = load_corpus("hume_vb", data_dir=changed, config="joint", cache_dir=tmp_path / "cache")
    written = prepare_corpus("hume_vb", data_dir=changed, output_dir=tmp_path / "out")
    assert set(written.configs) == {"high", "two", "joint"}
    prepared = datasets.load_dataset(str(tmp_path / "out"), "joint", cache_dir=str(tmp_path / "cache"))
    for loaded in (direct, prepared):
        rows = loaded["train"].remove_columns("audio")
        assert loaded.num_rows == NUM_ROWS
        assert rows.features["label"].names == sorted(KINDS)
        assert {value for column in ["label", *COLUMNS["culture"]] for value in rows[column]} == {None}
        assert None not in {value for column in COLUMNS["high"] + COLUMNS["two"] for value in rows[column]}


def test_computed_tree_is_said_to_be_one(changed, tmp_path):
    (changed / MARKER).write_text("computed")
    prepare_corpus("hume_vb", data_dir=changed, output_dir=tmp_path / "computed")
    assert corpus_facts(str(tmp_path / "computed")).is_synthetic
    assert "No person was recorded" in (tmp_path / "computed" / "README.md").read_text(encoding="utf-8")
    (changed / MARKER).unlink()
    prepare_corpus("hume_vb", data_dir=changed, output_dir=tmp_path / "recorded")
    assert not corpus_facts(str(tmp_path / "recorded")).is_synthetic
    assert not corpus_facts("hume_vb").is_synthetic


@pytest.mark.parametrize("task", list(COLUMNS))
def test_what_all_test_rows_share_is_a_placeholder(load, task):
    columns = ["label"] if task == "type" else COLUMNS[task]
    test = load(task)["test"].select_columns(columns)
    assert {value for row in test for value in row.values()} == {None}


def test_targets_of_test_rows_are_kept_where_they_were_released(collect, changed):
    edit(changed / "labels" / "two_info.csv", TEST, "Arousal", "0.25")
    targets = collect(changed)[1][TEST].targets
    assert (targets["Valence"], targets["Arousal"], targets["Awe"]) == (0.0, 0.25, None)


def test_bytes_are_unchanged(load, release):
    for split in load().values():
        for row in split:
            raw = (release / row["file"]).read_bytes()
            assert hashlib.sha256(row["audio"]["bytes"]).digest() == hashlib.sha256(raw).digest()


def test_ids_are_text_with_their_zeros(collect, changed):
    (changed / "audio" / "wav" / "7.wav").write_bytes(encode_wav(np.zeros(50)))  # is not 00007
    _, clips = collect(changed)
    assert clips["00007"].file == "audio/wav/00007.wav"
    assert "7" not in clips


def test_recording_without_a_row_is_left_out_for_a_reason(collect, changed):
    for name in ("10119.wav", "more/00000.wav"):
        path = changed / "audio" / "wav" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encode_wav(np.zeros(50)))
    builder, clips = collect(changed)
    assert len(clips) == 270
    assert builder.excluded == [
        Excluded(file="audio/wav/10119.wav", reason="no row in any label file"),
        Excluded(file="audio/wav/more/00000.wav", reason="no row in any label file"),
    ]


def test_corpus_is_the_same_in_every_order_and_layout(collect, release, tmp_path):
    builder, expected = collect(release)
    digest = manifest_digest(builder.split_clips(list(expected.values()), "high"))
    other = build_release(tmp_path / "above" / "release", reverse=True)
    (other / "__MACOSX").mkdir()
    for junk in ("__MACOSX/._00000.wav", "audio/wav/._00000.wav", "audio/.DS_Store", "audio/wav/00000.webm"):
        (other / junk).write_bytes(b"resource fork")
    (other / "audio" / "wav" / "stray.csv").write_text("file,label\n")
    for folder in (other.parent, other):
        found_builder, found = collect(folder)
        assert found == expected
        assert manifest_digest(found_builder.split_clips(list(found.values()), "high")) == digest


def test_corpus_is_the_same_from_an_archive(collect, release, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "A-VB"), "gztar", root_dir=release.parent, base_dir=release.name)
    builder, clips = collect(archive)
    assert clips == collect(release)[1]
    assert builder.split_clips(list(clips.values()), "culture")[f"audio/wav/{TEST}.wav"] == "test"


def test_upper_case_endings_are_read(collect, release, tmp_path):
    other = build_release(tmp_path / "release", ending=".WAV")
    for path in list((other / "labels").iterdir()):
        path.rename(path.with_name(path.name.upper()))
    _, clips = collect(other)
    assert {name: clip.targets for name, clip in clips.items()} == {
        name: clip.targets for name, clip in collect(release)[1].items()
    }


def test_header_may_differ_in_case_blanks_and_further_columns(collect, changed, release):
    path = changed / "labels" / "culture_info.csv"
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    header = header.replace("South Africa_Sadness", "SouthAfrica_Sadness").replace("File_ID", "File_id ").lower()
    lines = [line.replace("Train", " TRAIN").replace("Test", "test") + ",more" for line in lines]
    path.write_text("\n".join([header + ",comment", *lines, ""]), encoding="utf-8-sig")
    assert collect(changed)[1] == collect(release)[1]


def test_empty_cells_and_missing_rows_are_missing_values(collect, changed):
    for value, column in (("", "Awe"), ("NaN", "Fear"), (" ", "Horror")):
        edit(changed / "labels" / "high_info.csv", TRAIN, column, value)
    edit(changed / "labels" / "type_info.csv", TRAIN, "Voc_Type", "")
    path = changed / "labels" / "culture_info.csv"
    path.write_text("".join(line for line in path.open(encoding="utf-8") if not line.startswith(f"[{TRAIN}]")))
    clip = collect(changed)[1][TRAIN]
    assert [clip.targets[name] for name in ("Awe", "Fear", "Horror", "China_Awe")] == [None] * 4
    assert (clip.targets["Excitement"], clip.targets["Arousal"]) == (0.01, 0.01)
    assert (clip.label, clip.split) == (None, "train")


def test_task_without_a_label_file_has_no_config(changed, tmp_path):
    (changed / "labels" / "culture_info.csv").unlink()
    (changed / "labels" / "type_info.csv").unlink()
    with pytest.raises(SplitError, match=r"labels/culture_info\.csv: no such file, so this copy has no config"):
        load_corpus("hume_vb", data_dir=changed, config="culture", cache_dir=tmp_path / "cache")
    loaded = load_corpus("hume_vb", data_dir=changed, config="two", cache_dir=tmp_path / "cache")
    assert loaded.num_rows == NUM_ROWS
    written = prepare_corpus("hume_vb", data_dir=changed, output_dir=tmp_path / "out")
    assert set(written.configs) == {"high", "two", "joint"}
    assert {name for name, _ in written.unavailable} == {"culture", "type"}


@pytest.mark.parametrize(
    ("folder", "header", "cells"),
    [
        ("labels", ["File_ID", "Split", "Subject_ID", "Country", "Age"], ["Speaker_12", "China", "31.0"]),
        ("", ["File_ID", "Split", "age", "COUNTRY", "subject"], ["31", "China", "Speaker_12"]),
        (
            "",
            ["File_ID", "Split", "Subject_ID", "Country", "Country_string", "Age"],
            ["Speaker_12", "2", "China", "31"],
        ),
    ],
)
def test_speaker_country_and_age_come_from_the_exvo_table(collect, changed, folder, header, cells):
    empty = [""] * len(cells)
    rows = [[f"[{TRAIN}]", "Train", *cells], [f"[{TEST}]", "Test", *empty], ["[99999]", "Val", *cells]]
    write_csv(changed / folder / "data_info.csv", header, rows)
    _, clips = collect(changed)
    assert (clips[TRAIN].speaker_id, clips[TRAIN].metadata) == (
        "Speaker_12",
        {"split": "Train", "country": "China", "age": 31.0},
    )
    for unknown in (clips[TEST], clips["00001"]):  # withheld, and not in the table
        assert (unknown.speaker_id, unknown.metadata["country"], unknown.metadata["age"]) == (None, None, None)


def test_missing_recording_is_named(collect, changed):
    (changed / "audio" / "wav" / "00042.wav").unlink()
    with pytest.raises(CorpusError, match=r"^audio/wav/00042\.wav: no such file, but labels/high_info\.csv has a row"):
        collect(changed)
    shutil.rmtree(changed / "audio")
    with pytest.raises(CorpusError, match=r"^audio/wav/00000\.wav: no such file, .* \(270 such rows in all\)"):
        collect(changed)


@pytest.mark.parametrize(
    ("file", "column", "value", "message"),
    [
        ("high_info.csv", "Fear", "much", r"^labels/high_info\.csv: File_ID 00000, Fear: 'much' is not a number"),
        ("two_info.csv", "Valence", "inf", r"^labels/two_info\.csv: File_ID 00000, Valence: 'inf' is not a number"),
        ("type_info.csv", "Voc_Type", "Sigh", r"^labels/type_info\.csv: File_ID 00000, Voc_Type: 'Sigh', expected one"),
        ("high_info.csv", "Split", "Dev", r"^labels/high_info\.csv: File_ID 00000, Split: 'Dev', expected Train"),
        (
            "two_info.csv",
            "Split",
            "Val",
            r"^labels/two_info\.csv: File_ID 00000 is in split Val, but in Train in labels/high_info\.csv",
        ),
        ("high_info.csv", "File_ID", "[00001]", r"^labels/high_info\.csv: File_ID 00001 has two rows"),
    ],
)
def test_cell_is_refused_and_named_when(collect, changed, file, column, value, message):
    edit(changed / "labels" / file, TRAIN, column, value)
    with pytest.raises(CorpusError, match=message):
        collect(changed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("Horror", "Dread"), r"^labels/high_info\.csv: column 'Horror' missing"),
        (lambda text: text.replace("Horror", "awe"), r"^labels/high_info\.csv: column 'Awe' twice"),
        (lambda text: text.replace("File_ID", "Name"), r"^labels/high_info\.csv: column 'File_ID' missing"),
        (lambda text: "", r"^labels/high_info\.csv: column 'File_ID' missing"),
        (lambda text: text.rstrip()[:-20], r"^labels/high_info\.csv: line 271 has"),  # 1 + 270 rows, cut off
        (lambda text: text.replace("Train", "Tr\udcffin"), r"^labels/high_info\.csv: not a CSV file in UTF-8"),
    ],
)
def test_label_file_is_refused_and_named_when(collect, changed, change, message):
    path = changed / "labels" / "high_info.csv"
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8", errors="surrogateescape")
    with pytest.raises(CorpusError, match=message):
        collect(changed)


def test_copy_without_any_label_file_is_refused(collect, changed):
    shutil.rmtree(changed / "labels")
    with pytest.raises(CorpusError, match="labels: no label file; expected a folder with audio/wav"):
        collect(changed)


def test_clip_is_refused_and_named_when_cut_off(changed, tmp_path):
    path = changed / "audio" / "wav" / "00100.wav"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(AudioError, match=r"^audio/wav/00100\.wav: cut off"):
        load_corpus("hume_vb", data_dir=changed, config="high", cache_dir=tmp_path / "cache")


def test_unknown_protocol_is_refused(collect, release):
    builder, clips = collect(release)
    with pytest.raises(
        ValueError, match="Unknown split protocol 'fold_3'; hume_vb has high, two, culture, type, joint"
    ):
        builder.split_clips(list(clips.values()), "fold_3")


def test_facts_forbid_public_copies_and_state_the_agreement():
    facts = corpus_facts("hume_vb")
    assert facts.licence == "other"
    assert "no redistribution" in facts.no_public_copies
    assert "agreement" in facts.terms
    assert "on request" in facts.obtain
    assert corpus_builder("hume_vb").DOWNLOADS == ()


def test_script_loads_the_classic_way(release, load, load_classically):
    loaded = load_classically(CORPUS, release)
    assert loaded.num_rows == load().num_rows
    assert list(loaded["train"].features)[1:11] == COLUMNS["high"]


def test_joint_config_loads_the_classic_way(release, load, load_classically):
    loaded = load_classically(CORPUS, release, "joint")
    assert loaded.num_rows == NUM_ROWS
    assert list(loaded["train"].features) == list(load("joint")["train"].features)
