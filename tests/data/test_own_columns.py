import hashlib
import json

import datasets
import numpy as np
import pyarrow as pa
import pytest

from nvv.audio import encode_wav
from nvv.data import CorpusError, load_own_data, open_own_data, speaker_split

NAMES = [f"clip_{number:02d}.wav" for number in range(30)]
ROWS = [
    {
        "path": name,
        "arousal": f"{number / 30:.4f}",
        "valence": "" if number % 3 else f"-{number}",
        "who": f"s{number % 10}",
    }
    for number, name in enumerate(NAMES)
]
WANTED = {"audio_column": "path", "label_column": None, "target_columns": ["arousal", "valence"]}


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def write_table(tmp_path):
    """Write rows beside their thirty clips, as CSV or JSON lines."""
    for number, name in enumerate(NAMES):
        (tmp_path / name).write_bytes(encode_wav(np.full(50 + number, 0.1)))

    def write(rows=ROWS, name="clips.csv"):
        path = tmp_path / name
        if path.suffix == ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        else:
            lines = [list(rows[0]), *(row.values() for row in rows)]
            path.write_text("\n".join(",".join(line) for line in lines), encoding="utf-8")
        return path

    return write


def _column(splits, name):
    pairs = [pair for split in splits.values() for pair in zip(split["file"][:], split[name][:], strict=True)]
    return dict(sorted(pairs))


def test_targets_are_numbers_and_may_be_missing_when_there_is_no_label(write_table):
    splits = load_own_data(write_table(), **WANTED)
    assert splits["train"].column_names == ["audio", "file", "arousal", "valence"]
    assert splits["train"].features["valence"] == datasets.Value("float64")
    assert _column(splits, "arousal")["clip_07.wav"] == 0.2333
    assert list(_column(splits, "valence").values()) == [None if number % 3 else -number for number in range(30)]


def test_split_without_labels_is_that_of_the_digests(write_table):
    own = open_own_data(write_table(), **WANTED)
    assert own.protocol == "stratified"
    order = sorted(NAMES, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    assert own.splits["train"]["file"][:] == sorted(order[:24])
    assert own.splits["validation"]["file"][:] == sorted(order[24:27])
    assert own.splits["test"]["file"][:] == sorted(order[27:])


def test_split_by_speaker_takes_no_labels(write_table):
    own = open_own_data(write_table(), **WANTED, speaker_column="who")
    expected = speaker_split(NAMES, labels=dict.fromkeys(NAMES), speakers={row["path"]: row["who"] for row in ROWS})
    assert own.protocol == "speaker"
    assert {file: split for split, clips in own.splits.items() for file in clips["file"][:]} == expected
    assert own.num_shared_speakers == 0


def test_targets_stand_beside_a_label_where_both_are_wanted(write_table):
    rows = [{**row, "label": "ab"[number % 2]} for number, row in enumerate(ROWS)]
    splits = load_own_data(write_table(rows), **{**WANTED, "label_column": "label"})
    assert splits["train"].features["label"].names == ["a", "b"]
    # fifteen clips of each class by 8:1:1 are 12, 1.5 and 1.5; the one left over validates
    assert splits["validation"]["label"][:].count(0) == 2
    assert splits.num_rows == {"train": 24, "validation": 4, "test": 2}
    assert "arousal" in splits["train"].column_names


def test_target_may_be_called_label(write_table):
    rows = [{"path": row["path"], "label": row["arousal"]} for row in ROWS]
    splits = load_own_data(write_table(rows), audio_column="path", label_column=None, target_columns=["label"])
    assert splits["train"].features["label"] == datasets.Value("float64")


def test_json_numbers_become_targets(write_table):
    rows = [{"path": name, "arousal": [1, 2.5, None][number % 3]} for number, name in enumerate(NAMES)]
    splits = load_own_data(write_table(rows, "clips.jsonl"), **{**WANTED, "target_columns": ["arousal"]})
    assert list(_column(splits, "arousal").values()) == [1.0, 2.5, None] * 10


def test_targets_of_a_dataset_in_memory_keep_gaps_and_nan_as_missing(write_table, tmp_path):
    write_table()
    columns = {
        "audio": [{"bytes": (tmp_path / name).read_bytes(), "path": name} for name in NAMES],
        "arousal": pa.array([0.5, None, float("nan")] * 10, type=pa.float32()),
        "age": pa.array([31, None, 4] * 10),
    }
    source = datasets.Dataset(pa.table(columns)).cast_column("audio", datasets.Audio(decode=False))
    splits = load_own_data(source, label_column=None, target_columns=["arousal"], metadata_columns=["age"])
    assert list(_column(splits, "arousal").values()) == [0.5, None, None] * 10
    assert list(_column(splits, "age").values()) == [31, None, 4] * 10
    assert splits["test"].features["age"] == datasets.Value("int64")


def test_nan_in_a_table_is_a_missing_value(write_table):
    rows = [{**row, "arousal": "NaN" if number == 2 else row["arousal"]} for number, row in enumerate(ROWS)]
    values = _column(load_own_data(write_table(rows), **WANTED), "arousal")
    assert [file for file, value in values.items() if value is None] == ["clip_02.wav"]


def test_metadata_is_kept_as_it_is(write_table):
    rows = [{**row, "sex": ["female", "male", ""][number % 3]} for number, row in enumerate(ROWS)]
    splits = load_own_data(write_table(rows), **WANTED, metadata_columns=["sex", "who"])
    assert list(_column(splits, "sex").values()) == ["female", "male", None] * 10
    assert _column(splits, "who")["clip_12.wav"] == "s2"


def test_classes_among_metadata_keep_their_names(write_table, tmp_path):
    write_table()
    columns = {"audio": [str(tmp_path / name) for name in NAMES], "kind": [0, 1, -1] * 10}
    source = datasets.Dataset(pa.table(columns)).cast_column("kind", datasets.ClassLabel(names=["b", "a"]))
    splits = load_own_data(source, label_column=None, metadata_columns=["kind"])
    assert splits["train"].features["kind"].names == ["b", "a"]
    assert list(_column(splits, "kind").values()) == [0, 1, None] * 10


def test_metadata_named_as_ours_is_kept_once_where_it_is_ours(write_table):
    rows = [{**row, "speaker_id": row["who"]} for row in ROWS]
    splits = load_own_data(write_table(rows), **WANTED, metadata_columns=["speaker_id"])
    assert splits["train"].column_names.count("speaker_id") == 1


@pytest.mark.parametrize("cell", ["high", "0,5", "1_000", "inf", "n/a"])
def test_row_is_named_when_a_cell_is_no_number(write_table, cell):
    rows = [dict(row) for row in ROWS]
    rows[4]["arousal"] = rows[9]["arousal"] = cell if "," not in cell else f'"{cell}"'
    message = (
        rf"clips\.csv, line 6: expected a number in column 'arousal', found '{cell}' \(and 1 more .*leave the cell"
    )
    with pytest.raises(CorpusError, match=message):
        load_own_data(write_table(rows), **WANTED)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target_columns": ["dominance"]}, r"no column 'dominance', one of target_columns; found path, arousal"),
        ({"metadata_columns": ["age"]}, r"no column 'age', one of metadata_columns"),
        ({"target_columns": ["empty"]}, r"no number in column 'empty'"),
        ({"label_column": "who", "metadata_columns": ["label"]}, r"column 'label' cannot be kept beside ours"),
    ],
)
def test_column_is_named_when_it_cannot_be_taken(write_table, changes, message):
    rows = [{**row, "empty": "", "label": "x"} for row in ROWS]
    with pytest.raises(CorpusError, match=message):
        load_own_data(write_table(rows), **{**WANTED, **changes})


def test_classes_are_refused_as_targets(write_table, tmp_path):
    write_table()
    columns = {"audio": [str(tmp_path / name) for name in NAMES], "kind": [0, 1] * 15}
    source = datasets.Dataset(pa.table(columns)).cast_column("kind", datasets.ClassLabel(names=["b", "a"]))
    with pytest.raises(CorpusError, match=r"column 'kind' holds classes \(b, a\), expected numbers"):
        load_own_data(source, label_column=None, target_columns=["kind"])
