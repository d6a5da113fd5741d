"""Datasets as they are: what can be opened, in which parts, and what is refused."""

import datasets
import pyarrow as pa
import pytest

from nvv.audio import encode_wav
from nvv.data import CorpusError
from nvv.tagging.sources import open_corpus


def rows_of(split, num_shards):
    """All rows, shard after shard, as one table."""
    return pa.concat_tables([table for index in range(num_shards) for table in split.tables(num_shards, index)])


def test_open_corpus_keeps_every_column_when_a_dataset_repository_is_read(dataset_folder):
    corpus = open_corpus(dataset_folder, audio_column="take")
    stock = datasets.load_dataset(str(dataset_folder))
    assert list(corpus.splits) == ["train", "test"]
    assert corpus.splits["train"].features == stock["train"].features
    assert rows_of(corpus.splits["train"], 1).to_pylist() == stock["train"].with_format("arrow")[:].to_pylist()
    assert corpus.name == "tones"
    assert corpus.card.header["license"] == "cc-by-nc-4.0"
    assert corpus.card.text.startswith("# Tones")
    assert corpus.audio_column == "take"


@pytest.mark.parametrize(("wanted", "expected"), [(None, 1), (1, 1), (5, 5), (12, 12), (40, 12)])
def test_split_gives_each_row_once_in_order_when_it_is_cut_by_row_numbers(dataset_folder, wanted, expected):
    split = open_corpus(dataset_folder, audio_column="audio").splits["train"]
    assert split.num_shards(wanted) == expected  # at most one a row, of which there are 12
    names = rows_of(split, expected)["file"].to_pylist()
    assert names == [f"0_{at:03d}.wav" for at in range(12)]


def test_split_has_a_shard_for_each_thousand_rows_when_nobody_says_how_many(tmp_path):
    table = pa.table({"audio": [f"{at}.wav" for at in range(2001)]})
    datasets.Dataset(table).to_parquet(tmp_path / "many.parquet")
    assert open_corpus(tmp_path / "many.parquet").splits["train"].num_shards(None) == 3


def test_split_has_a_shard_for_each_file_when_it_is_streamed(dataset_folder):
    split = open_corpus(dataset_folder, streaming=True, audio_column="audio").splits["train"]
    assert split.num_rows is None
    assert split.num_shards(None) == 3
    assert split.num_shards(2) == 2
    whole = [split.tables(3, index) for index in range(3)]
    assert [[name for table in part for name in table["file"].to_pylist()] for part in whole] == [
        [f"0_{at:03d}.wav" for at in range(4 * part, 4 * part + 4)] for part in range(3)
    ]
    assert rows_of(split, 2)["file"].to_pylist() == [f"0_{at:03d}.wav" for at in range(12)]


def test_split_is_cut_by_row_groups_when_more_shards_than_files_are_wanted(dataset_folder):
    split = open_corpus(dataset_folder, streaming=True, audio_column="audio").splits["train"]
    # Files of four rows in groups of two, which datasets 3 cannot cut.
    expected = 6 if hasattr(datasets.IterableDataset, "reshard") else 3
    assert split.num_shards(40) == expected
    assert rows_of(split, expected)["file"].to_pylist() == [f"0_{at:03d}.wav" for at in range(12)]


def test_split_gives_the_same_rows_when_it_is_streamed(dataset_folder):
    streamed, whole = (open_corpus(dataset_folder, streaming=way, audio_column="audio") for way in (True, False))
    assert streamed.splits["train"].features == whole.splits["train"].features
    assert rows_of(streamed.splits["train"], 3).equals(rows_of(whole.splits["train"], 1))


def test_open_corpus_reads_what_save_to_disk_wrote(tones, tmp_path):
    datasets.DatasetDict({"a": tones(3), "b": tones(2)}).save_to_disk(tmp_path / "saved")
    corpus = open_corpus(tmp_path / "saved", splits=["b"], audio_column="audio")
    assert list(corpus.splits) == ["b"]
    assert rows_of(corpus.splits["b"], 2).num_rows == 2


def test_open_corpus_keeps_texts_as_they_are_when_a_table_of_paths_is_read(tmp_path):
    (tmp_path / "clips.csv").write_text("path;code\na.wav;007\nb.wav;NA\n")
    corpus = open_corpus(tmp_path / "clips.csv", audio_column="path")
    assert rows_of(corpus.splits["train"], 1).to_pydict() == {"path": ["a.wav", "b.wav"], "code": ["007", "NA"]}
    assert corpus.root == tmp_path


@pytest.mark.parametrize("streaming", [False, True])
def test_open_corpus_needs_no_decoder_when_a_folder_of_classes_is_read(tmp_path, streaming):
    for name in ("cough", "sigh"):
        (tmp_path / "clips" / name).mkdir(parents=True)
        (tmp_path / "clips" / name / "a.wav").write_bytes(encode_wav([0.1] * 50))
    corpus = open_corpus(tmp_path / "clips", streaming=streaming)
    assert corpus.audio_column == "audio"
    table = rows_of(corpus.splits["train"], corpus.splits["train"].num_shards(None))
    assert [cell["path"].endswith("a.wav") for cell in table["audio"].to_pylist()] == [True, True]
    assert table["label"].to_pylist() == [0, 1]


def test_open_corpus_changes_its_identity_when_a_file_changes(dataset_folder):
    first = open_corpus(dataset_folder, audio_column="audio").identity
    assert open_corpus(dataset_folder, audio_column="audio").identity == first
    (dataset_folder / "README.md").write_text((dataset_folder / "README.md").read_text() + "more\n")
    assert open_corpus(dataset_folder, audio_column="audio").identity != first


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"splits": ["dev"]}, "has train, test; found 'dev'"),
        ({"audio_column": "sound"}, "no column 'sound'; found audio, label"),
        ({"audio_column": "marks"}, "expected audio.* in column 'marks'.*Audio is in audio, take"),
        ({"config": "other"}, "other"),
        ({"revision": "main"}, "--revision main has no effect"),
        ({"data_dir": "."}, "--data-dir . has no effect"),
    ],
)
def test_open_corpus_says_what_there_is_when_an_option_does_not_fit(dataset_folder, options, message):
    with pytest.raises(CorpusError, match=message):
        open_corpus(dataset_folder, **options)


def test_open_corpus_says_where_to_look_when_there_is_no_such_source(tmp_path):
    with pytest.raises(CorpusError, match="no such file or folder"):
        open_corpus(tmp_path / "missing")
    with pytest.raises(CorpusError, match="nvv prepare vivae"):
        open_corpus("vivae")
    (tmp_path / "notes.txt").write_text("no table")
    with pytest.raises(CorpusError, match=r"found \.txt"):
        open_corpus(tmp_path / "notes.txt")


def test_open_corpus_refuses_streaming_when_the_source_has_no_files_to_stream(tones, tmp_path):
    tones(2).save_to_disk(tmp_path / "saved")
    with pytest.raises(CorpusError, match="--streaming has no effect"):
        open_corpus(tmp_path / "saved", streaming=True)


def test_split_says_so_when_later_rows_have_other_columns(tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    pa.parquet.write_table(pa.table({"audio": ["a.wav"], "age": [1]}), folder / "train-0.parquet")
    pa.parquet.write_table(pa.table({"audio": ["b.wav"], "age": ["old"]}), folder / "train-1.parquet")
    split = open_corpus(folder, streaming=True).splits["train"]
    with pytest.raises(CorpusError, match="other columns or types"):
        rows_of(split, 2)
