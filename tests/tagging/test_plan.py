"""The plan of a tagging run and the folder it is kept in."""

import json
from dataclasses import replace

import pytest

from nvv.data import CorpusError
from nvv.tagging.plan import Plan, Shard, TaggingFolder

PLAN = Plan(
    model={"id": "nvv/tiny", "revision": "abc"},
    dataset={"id": "nvv/vivae", "config": None},
    shards={"train": 2, "test": 1},
    columns=["nvv_label"],
    settings={"dtype": "float32"},
    version="1.0",
)


@pytest.fixture
def folder(tmp_path):
    """A folder that a run has begun."""
    folder = TaggingFolder(tmp_path / "out")
    with folder.held():
        folder.agree(PLAN)
    return folder


def write(folder, shard, content=b"rows"):
    (folder.data / shard.name).write_bytes(content)


def test_plan_names_every_shard_as_datasets_does():
    assert [shard.name for shard in PLAN.all_shards()] == [
        "train-00000-of-00002.parquet",
        "train-00001-of-00002.parquet",
        "test-00000-of-00001.parquet",
    ]


def test_folder_agrees_when_the_plan_is_the_same(folder):
    before = folder.plan.read_bytes()
    folder.agree(PLAN)
    assert folder.plan.read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"id": "nvv/tiny", "revision": "def"}}, 'model.revision: "abc" there, "def" here'),
        ({"shards": {"train": 3, "test": 1}}, "shards.train: 2 there, 3 here"),
        ({"shards": {"train": 2}}, "shards.test: 1 there, null here"),
        ({"columns": ["mine_label"]}, "columns: "),
        ({"settings": {"dtype": "bfloat16"}}, 'settings.dtype: "float32" there, "bfloat16" here'),
        ({"version": "1.1"}, 'version: "1.0" there, "1.1" here'),
    ],
)
def test_folder_disagrees_and_says_how_when_the_plan_is_another(folder, changes, message):
    with pytest.raises(CorpusError) as raised:
        folder.agree(replace(PLAN, **changes))
    assert message in str(raised.value)
    assert json.loads(folder.plan.read_text())["model"]["revision"] == "abc"


def test_folder_disagrees_when_its_plan_is_damaged(folder):
    folder.plan.write_text("{")
    with pytest.raises(CorpusError, match="not readable"):
        folder.agree(PLAN)


def test_shard_is_finished_when_its_note_and_its_file_agree(folder):
    shard = Shard(split="train", index=1, num_shards=2)
    assert folder.note(shard) is None
    write(folder, shard)
    assert folder.note(shard) is None  # killed before the note
    folder.finish(shard, num_rows=7, num_unreadable=2)
    note = folder.note(shard)
    assert (note.num_rows, note.num_unreadable, note.file_size) == (7, 2, 4)
    write(folder, shard, b"cut")
    assert folder.note(shard) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"num_rows": 1}'])
def test_shard_is_not_finished_when_its_note_is_no_note(folder, text):
    shard = Shard(split="train", index=1, num_shards=2)
    write(folder, shard)
    (folder.notes / f"{shard.name}.json").write_text(text)
    assert folder.note(shard) is None


def test_clear_remains_removes_what_a_killed_run_left(folder):
    shards = PLAN.all_shards()
    write(folder, shards[0])
    (folder.data / f".incomplete-12-{shards[1].name}").write_bytes(b"half")
    folder.clear_remains(shards)
    assert [file.name for file in folder.data.iterdir()] == [shards[0].name]


def test_folder_is_refused_when_another_run_holds_it(folder):
    with folder.held(), pytest.raises(BlockingIOError, match="another run is writing it"), folder.held():
        pass
    with folder.held():  # free again
        pass


def test_folder_is_refused_when_it_holds_something_else(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(CorpusError, match="something else"):
        TaggingFolder(tmp_path).check()
    with pytest.raises(CorpusError, match="something else"):
        TaggingFolder(tmp_path / "notes.txt").check()
    (tmp_path / "empty").mkdir()
    TaggingFolder(tmp_path / "empty").check()
