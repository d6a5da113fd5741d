import pytest

from nvv.data import CorpusError
from nvv.data.own_folders import canonical_split, list_audio, read_audio_folder


@pytest.fixture
def make_folder(tmp_path):
    """Make a folder of empty files: these functions look at names only."""

    def make(*files, **texts):
        for file in files:
            path = tmp_path / "clips" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(texts.get(path.stem, ""), encoding="utf-8")
        return tmp_path / "clips"

    return make


def _read(folder):
    return read_audio_folder(folder, list_audio(folder))


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *[(name, "train") for name in ("train", "Training")],
        *[(name, "validation") for name in ("validation", "valid", "val", "dev", "devel", "eval", "EVAL")],
        *[(name, "test") for name in ("test", "testing")],
        *[(name, None) for name in ("all", "laugh", "test_clean", "")],
    ],
)
def test_splits_go_by_several_names(name, split):
    assert canonical_split(name) == split


def test_classes_are_the_folders_when_clips_lie_in_class_folders(make_folder):
    read = _read(make_folder("sigh/b.flac", "laugh/a.WAV", "laugh/._a.wav", "notes.txt"))
    assert read.files == ["laugh/a.WAV", "sigh/b.flac"]
    assert read.columns == {"label": ["laugh", "sigh"]}
    assert read.part_of == ["train", "train"]


def test_parts_are_the_topmost_folders_when_those_are_called_like_splits(make_folder):
    read = _read(make_folder("train/laugh/a.wav", "train/sigh/b.wav", "dev/laugh/c.wav", "test/sigh/d.wav"))
    assert dict(zip(read.files, read.part_of, strict=True)) == {
        "train/laugh/a.wav": "train", "train/sigh/b.wav": "train", "dev/laugh/c.wav": "dev", "test/sigh/d.wav": "test"
    }  # fmt: skip
    assert read.columns == {"label": ["laugh", "sigh", "laugh", "sigh"]}  # in the order dev, test, train


def test_topmost_folders_are_classes_when_one_of_them_is_no_split(make_folder):
    read = _read(make_folder("test/a.wav", "train/b.wav", "laugh/c.wav"))
    assert read.columns == {"label": ["laugh", "test", "train"]}
    assert read.part_of == ["train"] * 3


@pytest.mark.parametrize(
    "files",
    [
        ("a.wav", "b.wav"),
        ("laugh/a.wav", "laugh/b.wav"),
        ("laugh/a.wav", "sigh/s1/b.wav"),
        ("train/a.wav", "test/b.wav"),
    ],
    ids=["flat", "one class", "two levels", "splits only"],
)
def test_folder_has_no_labels_when_folders_do_not_say_them(make_folder, files):
    assert _read(make_folder(*files)).columns == {}


def test_metadata_names_files_relative_to_itself(make_folder, caplog):
    metadata = "file_name,emotion\na.wav,joy\nsub/b.wav,fear\n"
    read = _read(make_folder("x/a.wav", "x/sub/b.wav", "x/c.wav", "x/metadata.csv", metadata=metadata))
    assert read.files == ["x/a.wav", "x/sub/b.wav"]
    assert read.columns == {"file_name": ["a.wav", "sub/b.wav"], "emotion": ["joy", "fear"]}
    assert read.row_names == ["x/metadata.csv, line 2", "x/metadata.csv, line 3"]
    assert "1 audio files are in no metadata file and left out, the first is x/c.wav" in caplog.text


@pytest.mark.parametrize(
    ("files", "texts", "message"),
    [
        (("a.wav", "metadata.csv"), {"metadata": "name\na.wav\n"}, "no column 'file_name'; found name"),
        (("a.wav", "metadata.csv"), {"metadata": "file_name,b\n,1\n"}, "metadata.csv, line 2: no file_name"),
        (("notes.txt",), {}, "no audio files"),
        (("laugh/a.wav", "laugh/b.m4a", "sigh/c.M4A"), {}, r"2 files such as laugh/b\.m4a are in a format"),
    ],
)
def test_folder_is_refused_when_clips_would_be_lost(make_folder, files, texts, message):
    with pytest.raises(CorpusError, match=message):
        _read(make_folder(*files, **texts))
