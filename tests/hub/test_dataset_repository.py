import csv
import hashlib
import json
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest

from nvv.audio import AudioError, encode_wav
from nvv.data import CorpusError, corpus_facts, load_corpus
from nvv.hub import dataset_repository
from nvv.hub.dataset_repository import prepare_corpus

NAME = "nonverbal_vocalization"


@pytest.fixture
def raw_folder(tmp_path) -> Path:
    """Twelve speakers, two classes, one clip of each; no metadata file."""
    root = tmp_path / "raw"
    for number in range(12):
        for code, label in ((4, "coughing"), (12, "laughing")):
            path = root / "dataset" / label / f"AB{number:02d}_{code}_1_0_20_0_0_0.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_wav(np.full(100 + 10 * number + code, 0.1)))
    return root


@pytest.fixture
def prepare(raw_folder, tmp_path):
    def prepare(**options):
        return prepare_corpus(NAME, **{"data_dir": raw_folder, "output_dir": tmp_path / "nvv" / NAME, **options})

    return prepare


def load(folder, config, tmp_path) -> datasets.DatasetDict:
    return datasets.load_dataset(str(folder), config, cache_dir=str(tmp_path / "cache"))


def rows_of(dataset) -> dict[str, tuple[str, dict]]:
    dataset = dataset.cast_column("audio", datasets.Audio(decode=False))
    return {row["file"]: (split, row) for split in dataset for row in dataset[split]}


@pytest.mark.parametrize("config", ["speaker", "stratified"])
def test_repository_loads_as_the_corpus_itself(prepare, raw_folder, tmp_path, config):
    prepared = prepare()
    dataset = load(prepared.output_dir, config, tmp_path)
    direct = load_corpus(NAME, data_dir=raw_folder, config=config, cache_dir=tmp_path / "cache")
    assert list(dataset) == list(direct) == ["train", "validation", "test"]
    assert rows_of(dataset) == rows_of(direct)
    assert isinstance(dataset["train"].features["audio"], datasets.Audio)
    assert dataset["train"].features["label"] == direct["train"].features["label"]


def test_bytes_come_back_unchanged(prepare, raw_folder, tmp_path):
    rows = rows_of(load(prepare().output_dir, "speaker", tmp_path))
    assert len(rows) == 24
    for file, (_, row) in rows.items():
        raw = (raw_folder / "dataset" / file).read_bytes()
        assert hashlib.sha256(row["audio"]["bytes"]).digest() == hashlib.sha256(raw).digest()


def test_default_config_is_by_speaker(prepare, tmp_path):
    folder = prepare().output_dir
    assert rows_of(load(folder, None, tmp_path)) == rows_of(load(folder, "speaker", tmp_path))


def test_audio_is_stored_once(prepare):
    prepared = prepare()
    files = [
        file for path in (prepared.output_dir / "data").iterdir() for file in pq.read_table(path)["file"].to_pylist()
    ]
    assert len(files) == len(set(files)) == prepared.num_clips == 24


def test_shards_are_split_at_the_limit_and_load_the_same(prepare, tmp_path):
    whole = rows_of(load(prepare().output_dir, "speaker", tmp_path))
    folder = prepare(output_dir=tmp_path / "small", max_shard_bytes=600).output_dir
    for path in (folder / "data").iterdir():
        sizes = [len(cell["bytes"]) for cell in pq.read_table(path)["audio"].to_pylist()]
        assert sum(sizes) <= 600 or len(sizes) == 1
    assert rows_of(load(folder, "speaker", tmp_path)) == whole


def test_preparing_again_gives_the_same_bytes(prepare, tmp_path):
    def contents(folder):
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    assert contents(prepare().output_dir) == contents(prepare(output_dir=tmp_path / "again").output_dir)


def test_facts_of_the_repository_are_those_of_the_corpus(prepare):
    found, expected = corpus_facts(str(prepare().output_dir)), corpus_facts(NAME)
    for field in ("name", "pretty_name", "licence", "citation", "is_synthetic"):
        assert getattr(found, field) == getattr(expected, field)


def test_nothing_is_left_when_a_clip_is_bad(prepare, raw_folder, tmp_path):
    (raw_folder / "dataset" / "laughing" / "AB11_12_1_0_20_0_0_0.wav").write_bytes(b"")
    with pytest.raises(AudioError, match=r"laughing/AB11_12_1_0_20_0_0_0\.wav: empty file"):
        prepare()
    assert list((tmp_path / "nvv").iterdir()) == []


def test_bad_clips_are_left_out_and_listed_when_asked(prepare, raw_folder, tmp_path):
    before = {file: split for file, (split, _) in rows_of(load(prepare().output_dir, "speaker", tmp_path)).items()}
    bad = "laughing/AB11_12_1_0_20_0_0_0.wav"
    (raw_folder / "dataset" / bad).write_bytes(b"")
    prepared = prepare(skip_bad_audio=True)
    assert prepared.skipped == ((bad, "empty file (0 bytes)."),)
    with (prepared.output_dir / "skipped.csv").open(encoding="utf-8", newline="") as stream:
        assert list(csv.reader(stream)) == [["file", "reason"], [bad, "empty file (0 bytes)."]]
    assert f"| `{bad}` | empty file (0 bytes). |" in (prepared.output_dir / "README.md").read_text(encoding="utf-8")
    after = {file: split for file, (split, _) in rows_of(load(prepared.output_dir, "speaker", tmp_path)).items()}
    assert after == {file: split for file, split in before.items() if file != bad}


def test_there_is_no_list_of_bad_clips_when_all_are_good(prepare):
    prepared = prepare(skip_bad_audio=True)
    assert sorted(path.name for path in prepared.output_dir.iterdir()) == ["README.md", "data"]


def test_corpus_without_one_good_clip_is_refused(prepare, raw_folder, tmp_path):
    for path in raw_folder.rglob("*.wav"):
        path.write_bytes(b"")
    with pytest.raises(CorpusError, match="None of the 24 clips could be decoded"):
        prepare(skip_bad_audio=True)
    assert list((tmp_path / "nvv").iterdir()) == []


def test_earlier_repository_is_replaced(prepare, raw_folder, tmp_path):
    prepare(max_shard_bytes=600)
    (raw_folder / "dataset" / "laughing" / "AB11_12_1_0_20_0_0_0.wav").unlink()
    prepared = prepare()
    assert prepared.num_clips == 23
    assert len(rows_of(load(prepared.output_dir, "speaker", tmp_path))) == 23
    assert [path.name for path in (tmp_path / "nvv").iterdir()] == [NAME]


def test_earlier_repository_stays_when_a_clip_is_bad(prepare, raw_folder, tmp_path):
    prepared = prepare()
    before = (prepared.output_dir / "README.md").read_text(encoding="utf-8")
    (raw_folder / "dataset" / "laughing" / "AB11_12_1_0_20_0_0_0.wav").write_bytes(b"")
    with pytest.raises(AudioError):
        prepare()
    assert (prepared.output_dir / "README.md").read_text(encoding="utf-8") == before
    assert [path.name for path in (tmp_path / "nvv").iterdir()] == [NAME]


@pytest.mark.parametrize("entry", ["thesis.tex", "README.md", ".git/config"])
def test_foreign_folder_is_refused_and_kept(prepare, tmp_path, entry):
    target = tmp_path / "nvv" / NAME
    if entry.startswith(".git"):
        prepare()  # our own repository, but somebody pushes from it
    path = target / entry
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("---\ntags: [: mine\n---\n", encoding="utf-8")
    with pytest.raises(FileExistsError, match=f"holds '{entry.partition('/')[0]}', which nvv prepare did not write"):
        prepare()
    assert "mine" in path.read_text(encoding="utf-8")


def test_empty_folder_is_used_and_a_file_refused(prepare, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert prepare(output_dir=empty).num_clips == 24
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(FileExistsError, match="is a file"):
        prepare(output_dir=file)


def test_broken_rename_leaves_the_earlier_repository(prepare, monkeypatch, tmp_path):
    before = prepare().output_dir / "README.md"
    content = before.read_bytes()

    def refuse(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(dataset_repository, "render_dataset_card", refuse)
    with pytest.raises(OSError, match="disk full"):
        prepare()
    assert before.read_bytes() == content
    assert [path.name for path in (tmp_path / "nvv").iterdir()] == [NAME]


def test_limit_must_be_positive(prepare):
    with pytest.raises(ValueError, match="max_shard_bytes"):
        prepare(max_shard_bytes=0)


def test_clips_outside_a_protocol_are_in_none_of_its_splits(prepare, monkeypatch, tmp_path):
    # As an official split will have it, which leaves some clips out.
    builder_class = dataset_repository.corpus_builder(NAME)
    original = builder_class.split_clips

    def without_one_speaker(self, clips, protocol):
        split_of = original(self, clips, protocol)
        return {f: s for f, s in split_of.items() if protocol == "speaker" or "AB00" not in f}

    monkeypatch.setattr(builder_class, "split_clips", without_one_speaker)
    folder = prepare().output_dir
    assert len(rows_of(load(folder, "speaker", tmp_path))) == 24
    assert len(rows_of(load(folder, "stratified", tmp_path))) == 22


def test_label_names_are_in_the_parquet_files_too(prepare):
    path = next((prepare().output_dir / "data").iterdir())
    features = json.loads(pq.read_schema(path).metadata[b"huggingface"])["info"]["features"]
    assert features["label"]["names"][12] == "laughing"
