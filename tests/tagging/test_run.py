"""Tagging whole datasets, in one process."""

import json

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest

from nvv.audio import decode_audio
from nvv.data import CorpusError
from nvv.hub.push_dataset import check_dataset
from nvv.inference.load import load_classifier
from nvv.inference.readings import output_groups, scores_of
from nvv.inference.streams import Sound, compute_stream
from nvv.tagging import run
from nvv.tagging.plan import TaggingFolder
from nvv.tagging.run import TaggingError, TaggingSettings, tag_dataset


@pytest.fixture
def tagged(model_folder, dataset_folder, tmp_path):
    """The function that tags the tones, or another dataset, in this process."""

    def tag(*, model=model_folder, dataset=dataset_folder, name="out", **fields):
        settings = TaggingSettings(**{"num_workers": 0, "audio_column": "audio", **fields})
        return tag_dataset(str(model), dataset, tmp_path / name, settings=settings)

    return tag


def loaded(folder, split="train"):
    return datasets.load_dataset(str(folder))[split]


@pytest.mark.parametrize("streaming", [False, True])
def test_tag_dataset_adds_what_the_model_answers_when_a_dataset_is_tagged(
    tagged, model_folder, dataset_folder, streaming
):
    result = tagged(streaming=streaming, num_shards=2)
    assert (result.num_rows, result.num_unreadable, result.num_found) == (15, 0, 0)
    rows, source = loaded(result.path), datasets.load_dataset(str(dataset_folder))["train"]
    new = ["nvv_label", "nvv_score", "nvv_scores", "nvv_error"]
    assert rows.column_names == [*source.column_names, *new]
    for name, feature in source.features.items():
        assert rows.features[name] == feature
    assert rows.remove_columns(new).with_format("arrow")[:] == source.with_format("arrow")[:]
    # Each clip by itself, without any batch.
    classifier = load_classifier(str(model_folder))
    for row in rows:
        sound = Sound(key=0, load=lambda row=row: decode_audio(row["audio"]))
        ((_, logits),) = compute_stream(classifier, [sound], num_workers=0)
        scores = scores_of(output_groups(classifier), logits)
        assert list(row["nvv_scores"].values()) == pytest.approx(scores, abs=1e-5)
        assert row["nvv_label"] == classifier.label_names[int(np.argmax(scores))]
        assert row["nvv_score"] == pytest.approx(max(scores), abs=1e-5)
        assert row["nvv_error"] is None


def test_tag_dataset_writes_a_repository_that_may_be_pushed(tagged):
    path = tagged().path
    assert sorted(file.relative_to(path).as_posix() for file in path.rglob("*.*") if ".tagging" not in file.parts) == [
        "README.md",
        "data/test-00000-of-00001.parquet",
        "data/train-00000-of-00001.parquet",
    ]
    checked = check_dataset(path)
    assert checked.facts.licence == "cc-by-nc-4.0"
    assert set(checked.folder.sizes) == {
        "README.md",
        "data/test-00000-of-00001.parquet",
        "data/train-00000-of-00001.parquet",
    }


def test_tag_dataset_may_not_be_public_when_the_source_names_no_licence(tagged, dataset_folder):
    card = dataset_folder / "README.md"
    card.write_text(card.read_text().replace("license: cc-by-nc-4.0\n", ""))
    with pytest.raises(CorpusError, match="may not be made public"):
        check_dataset(tagged().path, public=True)


@pytest.mark.parametrize("num_shards", [1, 5])
def test_tag_dataset_says_why_when_recordings_cannot_be_read(tagged, tones, with_bad_audio, tmp_path, num_shards):
    with_bad_audio(tones(7), [0, 4, 6]).to_parquet(tmp_path / "d.parquet")
    result = tagged(dataset=tmp_path / "d.parquet", num_shards=num_shards)
    assert (result.num_rows, result.num_unreadable) == (7, 3)
    rows = loaded(result.path)
    assert [row is None for row in rows["nvv_label"]] == [True, False, False, False, True, False, True]
    assert [row is None for row in rows["nvv_error"]] == [False, True, True, True, False, True, False]
    assert rows[4]["nvv_error"].startswith("not readable as audio")
    assert rows[4]["audio"]["bytes"] == b"no audio"
    assert "3 recordings could not be read" in result.describe()


def test_tag_dataset_gives_each_task_its_columns_when_the_model_has_several(tagged, save_model):
    tasks = [
        {"name": "kind", "kind": "classification", "outputs": ["laugh", "sigh", "cough"]},
        {"name": "mood", "kind": "regression", "outputs": ["valence"]},
    ]
    model = save_model(name="tasks", tasks=tasks)
    row = loaded(tagged(model=model, column="t").path)[0]
    assert [name for name in row if name.startswith("t_")] == [
        "t_kind_label",
        "t_kind_score",
        "t_kind_scores",
        "t_mood_numbers",
        "t_error",
    ]
    assert sum(row["t_kind_scores"].values()) == pytest.approx(1)
    assert list(row["t_mood_numbers"]) == ["valence"]


def test_tag_dataset_does_only_what_is_missing_when_it_is_called_again(tagged, content_of, monkeypatch):
    path = tagged(num_shards=4).path
    before = content_of(path)
    (path / "data" / "train-00002-of-00004.parquet").unlink()
    (path / "data" / "test-00001-of-00003.parquet").write_bytes(b"cut")
    (path / "data" / ".incomplete-1-train-00000-of-00004.parquet").write_bytes(b"half")
    (path / "README.md").unlink()
    written, write = [], run.write_tables

    def watched(tables, path, **options):
        written.append(path.name)
        return write(tables, path, **options)

    monkeypatch.setattr(run, "write_tables", watched)
    result = tagged(num_shards=4)
    assert written == ["train-00002-of-00004.parquet", "test-00001-of-00003.parquet"]
    assert result.num_found == 5
    assert content_of(path) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_shards": 2}, "shards.train: 4 there, 2 here"),
        ({"streaming": True}, "dataset.streaming: false there, true here"),
        ({"column": "mine"}, "columns: "),
        ({"dtype": "bfloat16"}, "settings.dtype"),
        ({"splits": ["test"]}, "shards.train: 4 there, null here"),
        ({"audio_column": "take"}, 'dataset.audio_column: "audio" there, "take" here'),
    ],
)
def test_tag_dataset_is_refused_when_the_folder_was_begun_with_something_else(tagged, content_of, change, message):
    path = tagged(num_shards=4).path
    before = content_of(path)
    with pytest.raises(CorpusError) as raised:
        tagged(**{"num_shards": 4, **change})
    assert message in str(raised.value)
    assert content_of(path) == before


def test_tag_dataset_is_refused_when_the_model_has_other_weights(tagged, save_model):
    tagged(num_shards=1)
    other = save_model("wav2vec2", "post_norm", projection_size=16, name="model")  # in the same folder
    with pytest.raises(CorpusError, match=r"model\.weights_digest"):
        tagged(model=other, num_shards=1)


def test_tag_dataset_is_refused_when_the_dataset_has_changed(tagged, tones, dataset_folder):
    tagged(num_shards=1)
    tones(4, seed=5).to_parquet(dataset_folder / "data" / "train-00000-of-00003.parquet")
    with pytest.raises(CorpusError, match=r"dataset\.identity"):
        tagged(num_shards=1)


def test_tag_dataset_is_refused_when_another_run_writes_the_folder(tagged, tmp_path):
    tagged()
    with TaggingFolder(tmp_path / "out").held(), pytest.raises(BlockingIOError, match="another run"):
        tagged()


def test_tag_dataset_leaves_a_folder_alone_that_holds_something_else(tagged, tmp_path, dataset_folder):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(CorpusError, match="something else"):
        tagged()
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["notes.txt"]
    with pytest.raises(CorpusError, match="lies in the dataset"):
        tagged(name="tones/tagged")
    assert not (dataset_folder / "tagged").exists()


def test_tag_dataset_makes_no_folder_when_the_model_cannot_be_loaded(tagged, tmp_path):
    with pytest.raises(ValueError, match="no such folder"):
        tagged(model=tmp_path / "missing")
    assert not (tmp_path / "out").exists()


def test_tag_dataset_writes_the_other_files_when_one_fails(tagged, content_of, monkeypatch):
    write = run.write_tables

    def fail_once(tables, path, **options):
        if path.name.startswith("train-00001"):
            raise OSError(28, "No space left on device")
        return write(tables, path, **options)

    monkeypatch.setattr(run, "write_tables", fail_once)
    with pytest.raises(TaggingError, match=r"1 of 7 files .* train-00001-of-00004.parquet .*No space left"):
        tagged(num_shards=4)
    monkeypatch.setattr(run, "write_tables", write)
    result = tagged(num_shards=4)
    assert result.num_found == 6
    assert content_of(result.path) == content_of(tagged(num_shards=4, name="whole").path)


def test_tag_dataset_reads_paths_of_a_table_when_data_dir_says_where(tagged, tones, tmp_path):
    (tmp_path / "wavs").mkdir()
    for at, row in enumerate(tones(2)):
        (tmp_path / "wavs" / f"{at}.wav").write_bytes(row["audio"]["bytes"])
    (tmp_path / "clips.csv").write_text("path,who\n0.wav,a\n1.wav,b\n2.wav,c\n")
    result = tagged(dataset=tmp_path / "clips.csv", audio_column="path", data_dir=tmp_path / "wavs")
    assert result.num_unreadable == 1
    rows = loaded(result.path)
    assert list(rows["path"]) == ["0.wav", "1.wav", "2.wav"]  # as it was
    assert rows[2]["nvv_error"] == "no such file."


def test_tag_dataset_takes_the_audio_in_when_the_dataset_only_names_files(tagged, tones, tmp_path):
    contents = [row["audio"]["bytes"] for row in tones(2)]
    for name, content in zip(("cough", "sigh"), contents, strict=True):
        (tmp_path / "clips" / name).mkdir(parents=True)
        (tmp_path / "clips" / name / f"{name}.wav").write_bytes(content)
    path = tagged(dataset=tmp_path / "clips", audio_column=None).path
    table = pq.read_table(path / "data" / "train-00000-of-00001.parquet")
    assert table["audio"].to_pylist() == [
        {"bytes": content, "path": f"{name}.wav"} for name, content in zip(("cough", "sigh"), contents, strict=True)
    ]
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert features["audio"]["_type"] == "Audio"
    assert features["label"]["names"] == ["cough", "sigh"]
    assert str(tmp_path) not in (path / "README.md").read_text()


def test_tag_dataset_refuses_a_number_of_shards_below_one(tagged):
    with pytest.raises(CorpusError, match="num_shards: expected 1 or more, found 0"):
        tagged(num_shards=0)


def test_tag_dataset_changes_its_numbers_when_the_precision_changes(tagged):
    exact, rounded = (loaded(tagged(dtype=dtype, name=dtype).path)["nvv_score"] for dtype in ("float32", "bfloat16"))
    assert list(exact) != list(rounded)
    assert list(exact) == pytest.approx(list(rounded), abs=0.05)


def test_tagged_columns_are_written_in_small_row_groups_when_the_split_is_long(tagged, tones, tmp_path):
    tones(120).to_parquet(tmp_path / "d.parquet")
    path = tagged(dataset=tmp_path / "d.parquet").path / "data" / "train-00000-of-00001.parquet"
    metadata = pq.read_metadata(path)
    assert [metadata.row_group(at).num_rows for at in range(metadata.num_row_groups)] == [100, 20]
