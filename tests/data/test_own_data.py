import csv
import json
import shutil
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import datasets
import numpy as np
import pyarrow as pa
import pytest

from nvv.audio import decode_audio, encode_wav
from nvv.data import (
    CorpusError,
    SplitError,
    corpus_builder,
    fold_split,
    manifest_digest,
    random_folds,
    speaker_folds,
    speaker_split,
    stratified_split,
)
from nvv.data.own_data import load_own_data, open_own_data

# Ten speakers with a clip of each of three classes: by 8:1:1, every protocol gives 24, 3 and 3 clips, and every class
# is in every split. "NA" is a class like the others.
CLIPS = [
    {"path": f"s{number % 10}/{label}_{number}.wav", "emotion": label, "who": f"s{number % 10}", "take": str(number)}
    for number, label in enumerate(["laugh"] * 10 + ["NA"] * 10 + ["sigh"] * 10)
]
FILES = [clip["path"] for clip in CLIPS]
LABELS = {clip["path"]: clip["emotion"] for clip in CLIPS}
SPEAKERS = {clip["path"]: clip["who"] for clip in CLIPS}
NAMED = {"audio_column": "path", "label_column": "emotion", "speaker_column": "who"}
SIZES = {"train": 24, "validation": 3, "test": 3}


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def _samples(number):
    return 50 + number  # so that each clip is known by its length


@pytest.fixture
def folder(tmp_path):
    """The clips below `audio`, each of another length."""
    for number, file in enumerate(FILES):
        path = tmp_path / "audio" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_wav(np.full(_samples(number), 0.1)))
    return tmp_path


@pytest.fixture
def write_csv(folder):
    """Write a table beside the clips' folders."""

    def write(clips=CLIPS, name="clips.csv"):
        path = folder / "audio" / name
        with path.open("w", encoding="utf-8", newline="") as handle:
            writer = csv.DictWriter(handle, clips[0], delimiter="\t" if name.endswith("tsv") else ",")
            writer.writeheader()
            writer.writerows(clips)
        return path

    return write


@pytest.fixture
def dataset(folder):
    """The clips as `datasets` holds them, audio and all."""
    columns = {
        "sound": [{"bytes": (folder / "audio" / file).read_bytes(), "path": file} for file in FILES],
        "emotion": [clip["emotion"] for clip in CLIPS],
        "who": [clip["who"] for clip in CLIPS],
    }
    return datasets.Dataset(pa.table(columns)).cast_column("sound", datasets.Audio())


def _manifest(splits):
    return {file: split for split, clips in splits.items() for file in clips["file"][:]}


def _check_whole(splits):
    """Every clip is there once with its own audio, label and speaker."""
    number_of = {Path(file).name: number for number, file in enumerate(FILES)}
    seen = []
    for clips in splits.values():
        assert clips.features["audio"].decode is False
        assert clips.features["label"].names == ["NA", "laugh", "sigh"]
        assert clips["file"][:] == sorted(clips["file"][:])
        for clip in clips:
            number = number_of[Path(clip["file"]).name]
            seen.append(number)
            assert len(decode_audio(clip["audio"])) == _samples(number)
            assert clips.features["label"].int2str(clip["label"]) == CLIPS[number]["emotion"]
            assert clip.get("speaker_id", CLIPS[number]["who"]) == CLIPS[number]["who"]
    assert sorted(seen) == list(range(30))


def _label_sets(splits):
    return {split: set(clips["label"][:]) for split, clips in splits.items()}


# ----------------------------------------------------------------------------------------------------------------------
# Sources
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["clips.csv", "clips.tsv"])
def test_table_of_relative_paths_becomes_a_corpus(write_csv, name):
    splits = load_own_data(write_csv(name=name), **NAMED)
    assert splits.num_rows == SIZES
    assert set(splits["train"].column_names) == {"audio", "label", "file", "speaker_id"}
    _check_whole(splits)
    assert sorted(_manifest(splits)) == sorted(FILES)


def test_json_lines_become_a_corpus(folder):
    path = folder / "audio" / "clips.jsonl"
    path.write_text("".join(json.dumps({**clip, "notes": [1, {"a": None}]}) + "\n" for clip in CLIPS))
    _check_whole(load_own_data(str(path), **NAMED))


def test_absolute_paths_and_another_folder_give_the_same_split(write_csv, folder):
    expected = open_own_data(write_csv(), **NAMED).manifest_digest
    absolute = [{**clip, "path": str(folder / "audio" / clip["path"])} for clip in CLIPS]
    assert open_own_data(write_csv(absolute), **NAMED).manifest_digest == expected
    elsewhere = shutil.copy(write_csv(), folder / "clips.csv")
    assert open_own_data(elsewhere, **NAMED, data_dir=folder / "audio").manifest_digest == expected
    shutil.copytree(folder / "audio", folder / "moved")
    assert open_own_data(folder / "moved" / "clips.csv", **NAMED).manifest_digest == expected


def test_backslashes_are_read_as_folders_when_a_table_comes_from_windows(write_csv):
    splits = load_own_data(write_csv([{**clip, "path": clip["path"].replace("/", "\\")} for clip in CLIPS]), **NAMED)
    _check_whole(splits)


def test_order_of_rows_changes_nothing(write_csv):
    one, other = (open_own_data(write_csv(clips), **NAMED) for clips in (CLIPS, CLIPS[::-1]))
    assert one.manifest_digest == other.manifest_digest
    assert [clip["file"] for clip in one.splits["train"]] == [clip["file"] for clip in other.splits["train"]]


def test_folder_of_class_folders_becomes_a_corpus(folder):
    for clip in CLIPS:
        path = folder / "classes" / clip["emotion"] / Path(clip["path"]).name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "audio" / clip["path"], path)
    own = open_own_data(str(folder / "classes"))
    assert own.protocol == "stratified"
    assert own.splits.num_rows == SIZES
    _check_whole(own.splits)
    assert sorted(_manifest(own.splits)) == sorted(f"{LABELS[file]}/{Path(file).name}" for file in FILES)


def test_folder_with_metadata_becomes_a_corpus(folder):
    rows = "".join(f"{clip['path']},{clip['emotion']},{clip['who']}\n" for clip in CLIPS)
    (folder / "audio" / "metadata.csv").write_text("file_name,emotion,who\n" + rows)
    _check_whole(load_own_data(folder / "audio", label_column="emotion", speaker_column="who"))


def test_folder_of_a_table_for_each_split_becomes_a_corpus(write_csv, folder):
    for name, clips in (("train", CLIPS[::3] + CLIPS[1::3]), ("dev", CLIPS[2::6]), ("test", CLIPS[5::6])):
        write_csv(clips, name=f"{name}.csv")
    own = open_own_data(folder / "audio", **NAMED)
    assert own.protocol == "given"
    assert own.splits.num_rows == {"train": 20, "validation": 5, "test": 5}
    _check_whole(own.splits)


def test_parquet_with_other_column_names_becomes_a_corpus(dataset, tmp_path):
    dataset.to_parquet(tmp_path / "p.parquet")
    own = open_own_data(tmp_path / "p.parquet", audio_column="sound", label_column="emotion", speaker_column="who")
    assert own.columns == {"audio": "sound", "label": "emotion", "speaker": "who"}
    assert own.protocol == "speaker"
    _check_whole(own.splits)


def test_repository_of_parquet_files_keeps_its_splits(dataset, tmp_path):
    (tmp_path / "repo" / "data").mkdir(parents=True)
    dataset.select(range(0, 30, 2)).to_parquet(tmp_path / "repo" / "data" / "train-0.parquet")
    dataset.select(range(1, 30, 4)).to_parquet(tmp_path / "repo" / "data" / "validation-0.parquet")
    dataset.select(range(3, 30, 4)).to_parquet(tmp_path / "repo" / "data" / "test-0.parquet")
    splits = load_own_data(str(tmp_path / "repo"), audio_column="sound", label_column="emotion", speaker_column="who")
    assert splits.num_rows == {"train": 15, "validation": 8, "test": 7}
    _check_whole(splits)


def test_config_of_a_repository_is_chosen(dataset, tmp_path):
    repository = tmp_path / "repo"
    repository.mkdir()
    dataset.select(range(20)).to_parquet(repository / "a.parquet")
    dataset.to_parquet(repository / "b.parquet")
    configs = "".join(f"- {{config_name: {name}, data_files: {name}.parquet}}\n" for name in ("a", "b"))
    (repository / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    columns = {"audio_column": "sound", "label_column": "emotion"}
    assert sum(load_own_data(repository, config="b", **columns).num_rows.values()) == 30
    with pytest.raises(CorpusError, match=r"choose one with config \(--corpus_config\): a, b"):
        load_own_data(repository, **columns)


def test_audio_files_with_a_card_are_built_without_torchcodec(folder):
    for number, clip in enumerate(CLIPS):
        path = folder / "repo" / ("one" if number % 3 else "two") / clip["emotion"] / Path(clip["path"]).name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "audio" / clip["path"], path)
    (folder / "repo" / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n"
        '  - {split: train, path: "one/**"}\n  - {split: test, path: "two/**"}\n---\n'
    )
    own = open_own_data(folder / "repo")
    assert own.protocol == "given"
    assert own.splits.num_rows["test"] == 10
    test_file = own.splits["test"]["file"][0]
    assert (folder / "repo" / test_file).is_file()


def test_saved_and_in_memory_datasets_become_corpora(dataset, tmp_path):
    columns = {"audio_column": "sound", "label_column": "emotion", "speaker_column": "who"}
    parts = datasets.DatasetDict(train=dataset.select(range(20)), test=dataset.select(range(20, 30)))
    parts.save_to_disk(tmp_path / "saved")
    dataset.save_to_disk(tmp_path / "saved_one")
    for source, own in ((parts, "stratified"), (dataset, "speaker"), (tmp_path / "saved", "stratified"),
                        (str(tmp_path / "saved_one"), "speaker")):  # fmt: skip
        splits = load_own_data(source, **columns, split_protocol=own)
        assert splits.num_rows == SIZES
        _check_whole(splits)


@pytest.mark.parametrize("kind", ["paths", "bytes", "struct"])
def test_plain_columns_hold_audio_too(folder, kind):
    path_of = {"paths": lambda file: file, "bytes": lambda file: (folder / "audio" / file).read_bytes()}
    path_of["struct"] = lambda file: {"bytes": None, "path": file}
    columns = {"clip": [path_of[kind](file) for file in FILES], "label": [clip["emotion"] for clip in CLIPS]}
    columns["name"] = FILES
    source = datasets.Dataset(pa.table(columns))
    splits = load_own_data(source, audio_column="clip", file_column="name", data_dir=folder / "audio")
    _check_whole(splits)


def test_labels_are_left_out_when_not_wanted(write_csv):
    splits = load_own_data(write_csv(), audio_column="path", label_column=None)
    assert set(splits["train"].column_names) == {"audio", "file"}


def test_revision_is_the_commit_that_was_loaded(dataset, monkeypatch):
    # A real Hub stands in tests/hub/test_push_dataset.py; this is what `datasets` resolves there.
    class Builder:
        config = SimpleNamespace(data_files={"train": [f"hf://datasets/a/b@{'0af' * 13}1/data/train.parquet"]})

        def download_and_prepare(self):
            pass

        def as_dataset(self):
            return datasets.DatasetDict(train=dataset)

    asked = []
    monkeypatch.setattr(datasets, "load_dataset_builder", lambda *args, **options: asked.append(options) or Builder())
    own = open_own_data("a/b", audio_column="sound", label_column="emotion", revision="v1")
    assert asked[0]["revision"] == "v1"
    assert own.revision == "0af" * 13 + "1"
    assert not own.is_local
    assert own.facts.name == "a/b"
    assert own.facts.licence == "unknown"  # the Hub cannot be reached for a card


def test_licence_is_that_of_the_card_beside_the_data(write_csv, folder):
    table = write_csv()
    assert open_own_data(table, **NAMED).facts.licence == "unknown"
    (folder / "audio" / "README.md").write_text("---\nlicense: cc-by-nc-4.0\npretty_name: Ours\n---\n# Ours\n")
    own = open_own_data(table, **NAMED)
    assert (own.facts.name, own.facts.pretty_name, own.facts.licence) == ("clips", "Ours", "cc-by-nc-4.0")
    assert own.splits["test"].info.license == "cc-by-nc-4.0"
    assert own.is_local


# ----------------------------------------------------------------------------------------------------------------------
# Columns
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (["10", "9", "2"], ["2", "9", "10"]),
        (["010", "9", "2"], ["010", "2", "9"]),
        (["b", "a", "None"], ["None", "a", "b"]),
    ],
    ids=["numbers", "not all plain numbers", "texts"],
)
def test_classes_of_a_table_are_sorted(write_csv, values, names):
    clips = [{**clip, "emotion": values[number % 3]} for number, clip in enumerate(CLIPS)]
    features = load_own_data(write_csv(clips), **NAMED)["train"].features
    assert features["label"].names == names


@pytest.mark.parametrize(
    ("values", "feature", "names"),
    [
        ([3, 10, 1], datasets.Value("int64"), ["1", "3", "10"]),
        ([3.0, 10.0, 1.0], datasets.Value("float64"), ["1", "3", "10"]),
        ([True, False, True], datasets.Value("bool"), ["False", "True"]),
        ([2, 0, 1], datasets.ClassLabel(names=["z", "a", "m", "unused"]), ["z", "a", "m", "unused"]),
    ],
    ids=["int", "float", "bool", "ClassLabel"],
)
def test_classes_keep_their_order_when_they_have_one(dataset, values, feature, names):
    column = pa.table({"kind": pa.array([values[number % 3] for number in range(30)], type=feature.pa_type)})
    kinds = datasets.Dataset(column).cast_column("kind", feature)
    source = datasets.concatenate_datasets([dataset, kinds], axis=1)
    splits = load_own_data(source, audio_column="sound", label_column="kind")
    assert splits["train"].features["label"].names == names
    texts = {clip["file"]: names[clip["label"]] for clips in splits.values() for clip in clips}
    expected = names[values[0]] if isinstance(feature, datasets.ClassLabel) else str(type(values[0])(values[0]))
    assert texts[FILES[0]] == expected.removesuffix(".0")


def test_our_own_columns_are_taken_when_nothing_else_is_named(write_csv):
    clips = [{"audio": clip["path"], "label": clip["emotion"], "speaker_id": clip["who"], "file": f"{at:02d}.wav"}
             for at, clip in enumerate(CLIPS)]  # fmt: skip
    own = open_own_data(write_csv(clips))
    assert own.columns == {"audio": "audio", "label": "label", "speaker": "speaker_id", "file": "file"}
    assert own.protocol == "speaker"
    assert own.splits["test"]["file"][0] in {f"{at:02d}.wav" for at in range(30)}
    clips[3]["speaker_id"] = ""
    assert open_own_data(write_csv(clips)).protocol == "stratified"
    with pytest.raises(CorpusError, match=r"clips\.csv, line 5: no speaker in column 'speaker_id'"):
        open_own_data(write_csv(clips), speaker_column="speaker_id")


def test_clips_are_numbered_when_the_source_does_not_name_them(dataset, folder):
    bare = datasets.Dataset(pa.table({"audio": [(folder / "audio" / file).read_bytes() for file in FILES]}))
    source = datasets.concatenate_datasets([bare, dataset.select_columns(["emotion"])], axis=1)
    files = _manifest(load_own_data(source, label_column="emotion"))
    assert sorted(files) == [f"train/{number:08d}" for number in range(30)]


def test_split_stands_before_the_name_when_splits_share_names(dataset):
    names = [f"{number % 15:02d}.wav" for number in range(30)]
    source = dataset.add_column("name", names)
    parts = datasets.DatasetDict(train=source.select(range(15)), test=source.select(range(15, 30)))
    columns = {"audio_column": "sound", "label_column": "emotion", "file_column": "name"}
    files = _manifest(load_own_data(parts, **columns))
    assert sorted(files) == [f"test/{at:02d}.wav" for at in range(15)] + [f"train/{at:02d}.wav" for at in range(15)]
    with pytest.raises(CorpusError, match=r"'00\.wav' in column 'name' names 2 clips, the second is dataset, split tr"):
        load_own_data(source, **columns)


# ----------------------------------------------------------------------------------------------------------------------
# Splits
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("protocol", "speakers", "expected"),
    [
        ("speaker", True, lambda: speaker_split(FILES, labels=LABELS, speakers=SPEAKERS)),
        ("stratified", True, lambda: stratified_split(FILES, labels=LABELS)),
        ("fold_7", True, lambda: fold_split(speaker_folds(FILES, labels=LABELS, speakers=SPEAKERS), 7)),
        ("fold_7", False, lambda: fold_split(random_folds(FILES), 7)),
        (None, True, lambda: speaker_split(FILES, labels=LABELS, speakers=SPEAKERS)),
        (None, False, lambda: stratified_split(FILES, labels=LABELS)),
        ("given", False, lambda: stratified_split(FILES, labels=LABELS)),
    ],
)
def test_split_is_that_of_the_splitter(write_csv, protocol, speakers, expected):
    columns = NAMED if speakers else {**NAMED, "speaker_column": None}
    own = open_own_data(write_csv(), **columns, split_protocol=protocol)
    assert _manifest(own.splits) == expected()
    assert own.manifest_digest == manifest_digest(expected())
    if speakers and protocol != "stratified":
        assert own.num_shared_speakers == 0


def test_folds_test_every_clip_once(write_csv):
    table = write_csv()
    tested = [
        file
        for fold in range(10)
        for file in load_own_data(table, **NAMED, split_protocol=f"fold_{fold}")["test"]["file"]
    ]
    assert sorted(tested) == sorted(FILES)


@pytest.fixture
def with_splits(write_csv):
    """Write a table with a column `set`, filled from a name for each speaker."""

    def write(name_of):
        return write_csv([{**clip, "set": name_of(int(clip["who"][1:]))} for clip in CLIPS])

    return write


@pytest.mark.parametrize("protocol", [None, "given", "official"])
def test_given_splits_are_kept_under_other_names(with_splits, protocol):
    table = with_splits(lambda speaker: "TRAIN" if speaker < 5 else "dev" if speaker < 7 else "testing")
    own = open_own_data(table, **NAMED, split_column="set", split_protocol=protocol)
    assert own.protocol == "given"
    assert set(own.splits["validation"]["speaker_id"]) == {"s5", "s6"}
    assert own.splits.num_rows == {"train": 15, "validation": 6, "test": 9}


def test_validation_is_cut_from_train_by_speaker_when_there_is_none(with_splits, caplog):
    table = with_splits(lambda speaker: "train" if speaker < 8 else "test")
    own = open_own_data(table, **NAMED, split_column="set")
    assert own.protocol == "given"
    assert set(own.splits["test"]["speaker_id"]) == {"s8", "s9"}
    speakers = {split: set(clips["speaker_id"][:]) for split, clips in own.splits.items()}
    assert not speakers["train"] & speakers["validation"]
    # Eight speakers of three clips by 8:1:1: at least one of them validates.
    assert own.splits.num_rows["validation"] == 3
    assert "has no validation part; 3 of 24 clips of train, cut off by speaker, become it" in caplog.text
    assert set.union(*speakers.values()) == {f"s{at}" for at in range(10)}


def test_validation_is_cut_by_class_when_two_speakers_train(with_splits, caplog):
    table = with_splits(lambda speaker: "train" if speaker < 2 else "test")
    own = open_own_data(table, **NAMED, split_column="set")
    assert "too few speakers train" in caplog.text
    # Two clips of each class train: of two, the splitter gives one each to train and test, and none to validation.
    assert own.splits.num_rows == {"train": 3, "validation": 3, "test": 24}
    assert _label_sets(own.splits)["validation"] == {0, 1, 2}


def test_whole_is_split_anew_when_train_and_validation_are_all_there_is(with_splits, caplog):
    table = with_splits(lambda speaker: "train" if speaker < 8 else "dev")
    own = open_own_data(table, **NAMED, split_column="set")
    assert _manifest(own.splits) == speaker_split(FILES, labels=LABELS, speakers=SPEAKERS)
    assert "no test part; all of it is split by the protocol `speaker`" in caplog.text


@pytest.mark.parametrize(
    ("names", "protocol", "message"),
    [
        (("train", "dev"), "given", "has the parts train, dev; expected train and test"),
        (("dev", "test"), None, "has the parts dev, test; expected train and test"),
        (("english", "german"), None, "has the parts english, german; expected train and test.* split_protocol"),
    ],
)
def test_test_part_is_never_pooled_unless_told_to(with_splits, names, protocol, message):
    table = with_splits(lambda speaker: names[speaker >= 5])
    with pytest.raises(SplitError, match=message):
        load_own_data(table, **NAMED, split_column="set", split_protocol=protocol)
    pooled = load_own_data(table, **NAMED, split_column="set", split_protocol="speaker")
    assert _manifest(pooled) == speaker_split(FILES, labels=LABELS, speakers=SPEAKERS)


def test_speakers_in_two_given_splits_are_counted(write_csv, caplog):
    clips = [{**clip, "set": ("train", "test", "dev")[number // 10]} for number, clip in enumerate(CLIPS)]
    own = open_own_data(write_csv(clips), **NAMED, split_column="set")
    assert own.num_shared_speakers == 10
    assert "10 speakers are in more than one split" in caplog.text
    assert "nvv audit" in caplog.text


def test_classes_that_a_split_lacks_are_said(with_splits, write_csv, caplog):
    clips = [{**clip, "set": "test" if clip["emotion"] == "sigh" else "train"} for clip in CLIPS]
    load_own_data(write_csv(clips), **NAMED, split_column="set")
    assert "`train` and `validation` have no `sigh`" in caplog.text


# ----------------------------------------------------------------------------------------------------------------------
# Errors
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"audio_column": "audio"}, r"clips\.csv: no column 'audio'; found path, emotion, who, take.*--audio_column"),
        ({"label_column": "label"}, r"no column 'label'; found .*label_column \(--label_column\)"),
        ({"speaker_column": "speaker"}, r"no column 'speaker'; .*--speaker_column"),
        ({"split_column": "set"}, r"no column 'set'; .*--split_column"),
        ({"file_column": "id"}, r"no column 'id'; .*--file_column"),
        ({"config": "a"}, "config: 'a' has no effect on .*clips.csv"),
        ({"revision": "a"}, "revision: 'a' has no effect"),
        ({"data_dir": "/no/such/folder"}, "data_dir: /no/such/folder is no folder"),
    ],
)
def test_option_is_named_when_it_does_not_fit_the_source(write_csv, options, message):
    with pytest.raises(CorpusError, match=message):
        load_own_data(write_csv(), **{**NAMED, **options})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"path": "s0/none.wav"}, r"clips\.csv, line 4: no file s0/none\.wav in .*; 1 of 30 rows.*--data_dir"),
        ({"path": ""}, r"clips\.csv, line 4: no audio"),
        ({"path": "s1/laugh_1.wav"}, r"line 4: s1/laugh_1\.wav is also in clips\.csv, line 3"),
        ({"path": "./s0/../s1/laugh_1.wav"}, r"line 4: .* is also in clips\.csv, line 3"),
        ({"emotion": ""}, r"clips\.csv, line 4: no label in column 'emotion'\. Fill it in"),
        ({"who": ""}, r"clips\.csv, line 4: no speaker in column 'who'"),
    ],
)
def test_row_is_named_when_something_is_wrong_with_it(write_csv, changes, message):
    clips = [dict(clip) for clip in CLIPS]
    clips[2].update(changes)
    with pytest.raises(CorpusError, match=message):
        load_own_data(write_csv(clips), **NAMED)


def test_row_of_a_dataset_is_named_when_it_has_no_label(dataset):
    kinds = datasets.Dataset(pa.table({"kind": [0, 1, -1] * 10})).cast_column(
        "kind", datasets.ClassLabel(names=["a", "b"])
    )
    source = datasets.concatenate_datasets([dataset, kinds], axis=1)
    with pytest.raises(CorpusError, match=r"dataset, split train, row 2: no label in column 'kind'"):
        load_own_data(source, audio_column="sound", label_column="kind")


def test_numbers_are_refused_as_classes_when_they_are_not_whole(dataset):
    source = dataset.add_column("valence", [number / 4 for number in range(30)])
    with pytest.raises(CorpusError, match=r"expected classes in column 'valence' .* found 0\.0"):
        load_own_data(source, audio_column="sound", label_column="valence")


def test_column_without_audio_is_refused_naming_the_one_with_it(dataset):
    source = dataset.add_column("level", list(range(30)))
    with pytest.raises(CorpusError, match=r"in column 'level', found Value.* Audio is in sound\."):
        load_own_data(source, audio_column="level", label_column="emotion")


def test_splits_with_other_classes_are_refused(dataset):
    parts = {}
    for part, names in (("train", ["NA", "laugh", "sigh"]), ("test", ["laugh", "NA", "sigh"])):
        parts[part] = dataset.cast_column("emotion", datasets.ClassLabel(names=names))
    with pytest.raises(CorpusError, match=r"the classes of 'emotion' are \['NA', .* in split train, but \['laugh', "):
        load_own_data(datasets.DatasetDict(parts), audio_column="sound", label_column="emotion")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("none.csv", r"none\.csv: no such file or folder"),
        ("./none", r"\./none: no such file or folder"),
        ("audio/s0/laugh_0.wav", r"expected a file that ends in \.csv, .*found \.wav"),
        ("audio/s0", r"s0: no labels\. Put the clips of each class into a folder"),
    ],
)
def test_source_is_refused_when_it_is_none(folder, monkeypatch, source, message):
    monkeypatch.chdir(folder)
    with pytest.raises(CorpusError, match=message):
        load_own_data(source)


def test_table_in_the_folder_is_named_when_folders_say_no_labels(write_csv, folder):
    write_csv()
    for path in (folder / "audio").glob("s*/*.wav"):
        path.rename(folder / "audio" / path.name)
    with pytest.raises(CorpusError, match=r"Or name the table itself as the source: clips\.csv"):
        load_own_data(folder / "audio")


def test_folder_takes_no_data_dir(folder):
    with pytest.raises(CorpusError, match=r"data_dir: .* has no effect"):
        load_own_data(folder / "audio", data_dir=folder)


def test_other_objects_are_refused():
    with pytest.raises(TypeError, match=r"expected a file, a folder, .* found list"):
        load_own_data([{"audio": "a.wav"}])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split_protocol": "random"}, "expected one of given, speaker, stratified, fold_0, .*found 'random'"),
        ({"split_protocol": "fold_10"}, "found 'fold_10'"),
        (
            {"split_protocol": "speaker", "speaker_column": None},
            r"needs to know who .*speaker_column \(--speaker_column\)",
        ),
    ],
)
def test_protocol_is_refused_when_the_data_cannot_have_it(write_csv, options, message):
    with pytest.raises(SplitError, match=message):
        load_own_data(write_csv(), **{**NAMED, **options})


def test_split_is_refused_when_there_are_too_few_clips_or_speakers(write_csv):
    with pytest.raises(SplitError, match="leaves validation without a clip; there are 2 clips"):
        load_own_data(write_csv(CLIPS[:2]), **{**NAMED, "speaker_column": None})
    with pytest.raises(SplitError, match="speakers"):
        load_own_data(write_csv(CLIPS[:2]), **NAMED)
    with pytest.raises(SplitError, match="10 parts need at least 10 speakers, found 9"):
        load_own_data(write_csv(CLIPS[:9]), **NAMED, split_protocol="fold_0")


def test_every_class_is_in_every_split_of_every_protocol(write_csv):
    table = write_csv()
    by_protocol = defaultdict(dict)
    for protocol in ("speaker", "stratified", "fold_0"):
        by_protocol[protocol] = _label_sets(load_own_data(table, **NAMED, split_protocol=protocol))
    assert all(labels == {0, 1, 2} for sets in by_protocol.values() for labels in sets.values())


@pytest.mark.realdata
def test_table_of_a_corpus_is_split_like_the_corpus(real_data, tmp_path):
    root = real_data / "nonverbal_vocalization"
    builder = corpus_builder("nonverbal_vocalization")(data_dir=str(root), cache_dir=str(tmp_path))
    clips = builder.collect_clips()
    with (tmp_path / "clips.csv").open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["path", "emotion", "who"])
        writer.writerows((clip.file, clip.label, clip.speaker_id) for clip in clips)
    for protocol in ("speaker", "stratified", "fold_4"):
        own = open_own_data(tmp_path / "clips.csv", **NAMED, data_dir=builder.root, split_protocol=protocol)
        assert own.manifest_digest == manifest_digest(builder.split_clips(clips, protocol))
