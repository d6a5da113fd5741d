import shutil

import pytest

from nvv.data import CorpusError
from nvv.hub.dataset_folder import read_dataset_folder


def test_whole_folder_is_read(make_folder):
    folder = make_folder("vivae", num_files=3)
    read = read_dataset_folder(folder)
    assert read.corpus == "vivae"
    assert read.header["license"] == "cc-by-nc-4.0"
    assert "Citation" in read.text
    assert read.sizes == {
        file.relative_to(folder).as_posix(): file.stat().st_size for file in folder.rglob("*") if file.is_file()
    }
    assert len(read.sizes) == 4


def test_other_dataset_has_no_corpus(own_folder):
    assert read_dataset_folder(own_folder).corpus is None


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda header: header.pop("nvv_corpus"), "names no corpus .* are those of 'hume_vb'"),
        (lambda header: header.update(nvv_corpus="synthetic"), "is 'synthetic', but the columns .* of 'hume_vb'"),
        (lambda header: header.update(nvv_corpus="mine"), "is 'mine', but the columns .* of 'hume_vb'"),
    ],
)
def test_card_that_does_not_name_the_corpus_of_the_columns_is_an_error(edit, message, make_folder, change_card):
    folder = make_folder("hume_vb")
    change_card(folder, edit)
    with pytest.raises(CorpusError, match=message):
        read_dataset_folder(folder)


def test_own_dataset_that_claims_a_corpus_is_an_error(own_folder, change_card):
    change_card(own_folder, lambda header: header.update(nvv_corpus="synthetic"))
    with pytest.raises(CorpusError, match="are those of none that this version of nvv has"):
        read_dataset_folder(own_folder)


def test_file_of_another_corpus_among_the_others_is_an_error(make_folder):
    folder = make_folder("synthetic")
    hidden = make_folder("vocalsound") / "data" / "speaker_train-00000.parquet"
    shutil.copy(hidden, folder / "data" / "zzz.parquet")
    with pytest.raises(CorpusError, match=r"columns of data/zzz\.parquet are those of 'vocalsound'"):
        read_dataset_folder(folder)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, "no such folder"),
        (lambda folder: (folder / "README.md").unlink(), r"README\.md: no such file; a dataset needs a card"),
        (lambda folder: (folder / "README.md").write_text("---\n[\n---\n"), r"README\.md: its header cannot be read"),
        (lambda folder: (folder / "README.md").write_bytes(b"\xff"), r"README\.md: its header cannot be read"),
        (lambda folder: shutil.rmtree(folder / "data"), "holds no Parquet files"),
        (lambda folder: next((folder / "data").iterdir()).unlink(), "should have 2 rows, but its files hold 1"),
        (lambda folder: (folder / "raw.wav").write_bytes(b"RIFF"), r"raw\.wav: is no part of a dataset repository"),
        (
            lambda folder: (folder / "data" / "speaker_train-00000.parquet").write_bytes(b"PAR1"),
            r"speaker_train-00000\.parquet: is no complete Parquet file",
        ),
    ],
)
def test_folder_that_is_not_whole_is_an_error(damage, message, make_folder):
    folder = make_folder("synthetic")
    damage(folder)
    with pytest.raises(CorpusError, match=message):
        read_dataset_folder(folder)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            lambda config: config["data_files"][0].update(path="data/fold_0-*.parquet"),
            r"config 'speaker' names 'data/fold_0-\*\.parquet', but there is no such file",
        ),
        (
            lambda config: config["data_files"][0].update(path=["data/speaker_train-*.parquet", "data/no.parquet"]),
            r"config 'speaker' names 'data/no\.parquet', but there is no such file",
        ),
        (lambda config: config.update(data_files="test.parquet"), r"config 'speaker' names 'test\.parquet'"),
        (lambda config: config.pop("data_files"), "needs config_name and data_files with split and path"),
        (lambda config: config["data_files"][0].pop("split"), "needs config_name and data_files with split and path"),
    ],
)
def test_config_without_its_files_is_an_error(edit, message, make_folder, change_card):
    folder = make_folder("synthetic")
    change_card(folder, lambda header: edit(header["configs"][0]))
    with pytest.raises(CorpusError, match=message):
        read_dataset_folder(folder)


def test_hidden_files_are_left_aside(make_folder):
    folder = make_folder("synthetic")
    sizes = read_dataset_folder(folder).sizes
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "data" / "._speaker_train-00000.parquet").write_bytes(b"x")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "notes.txt").write_bytes(b"x")
    assert read_dataset_folder(folder).sizes == sizes
