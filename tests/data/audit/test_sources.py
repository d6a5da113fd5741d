import dataclasses

import datasets
import pytest
from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCard

from nvv.audio import encode_wav
from nvv.data import CorpusError, load_own_data
from nvv.data.audit import Columns, audit
from nvv.data.audit import sources as sources_module

CARD = """---
tags:
- nvv
configs:
- config_name: speaker
  default: true
  data_files:
  - split: train
    path: data/train.parquet
  - split: test
    path: data/test.parquet
- config_name: everyone
  data_files:
  - split: train
    path: data/t*.parquet
  - split: test
    path: data/test.parquet
---
"""


@pytest.fixture
def repository(tmp_path, make_dataset, clean_sounds):
    """A prepared folder with two configs, one of which leaks."""
    folder = tmp_path / "repository"
    (folder / "data").mkdir(parents=True)
    dataset = make_dataset(clean_sounds)
    for split in ("train", "test"):
        dataset[split].to_parquet(folder / "data" / f"{split}.parquet")
    card = DatasetCard(CARD)
    features = dataset["train"].features
    infos = {name: datasets.DatasetInfo(features=features, config_name=name) for name in ("speaker", "everyone")}
    DatasetInfosDict(infos).to_dataset_card_data(card.data)
    card.save(folder / "README.md")
    return folder


@pytest.fixture
def run(tmp_path):
    def run_audit(source, **options):
        return audit(source, cache_dir=tmp_path / "cache", num_workers=1, **options)

    return run_audit


def test_default_config_is_audited_when_none_is_named(repository, run):
    report = run(repository)
    assert list(report.configs) == ["speaker"]
    assert report.dataset == str(repository)
    assert not report.leaks


def test_all_configs_are_audited_with_the_default_first(repository, run):
    report = run(repository, configs=["all"])
    assert list(report.configs) == ["speaker", "everyone"]
    assert [config.leaks for config in report.configs.values()] == [False, True]
    assert len(report.measures) == 40


def test_configs_are_audited_in_the_order_asked_for(repository, run):
    report = run(repository, configs=["everyone", "speaker", "everyone"])
    assert list(report.configs) == ["everyone", "speaker"]


def test_audio_of_a_prepared_folder_is_loaded_once(repository, run, monkeypatch):
    loaded = []
    load = sources_module.datasets.load_dataset

    def spy(*arguments, **options):
        loaded.append((arguments[1], "audio" in options.get("columns", ["audio"])))
        return load(*arguments, **options)

    monkeypatch.setattr(sources_module.datasets, "load_dataset", spy)
    run(repository, configs=["all"])
    assert loaded == [("speaker", True), ("everyone", False)]


def test_audio_is_loaded_again_when_a_config_has_more_clips(repository, run, monkeypatch):
    card = DatasetCard.load(repository / "README.md")
    card.data["configs"][0]["data_files"] = [{"split": "test", "path": "data/test.parquet"}]
    card.save(repository / "README.md")
    report = run(repository, configs=["all"])
    assert list(report.configs["speaker"].splits) == ["test"]
    assert report.configs["everyone"].splits["train"].num_clips == 40
    assert len(report.measures) == 40


def test_folder_of_another_origin_is_read_by_its_bytes(repository, run):
    card = DatasetCard.load(repository / "README.md")
    card.data["tags"] = ["other"]
    card.save(repository / "README.md")
    report = run(repository, configs=["all"])
    assert [config.leaks for config in report.configs.values()] == [False, True]
    assert len(report.measures) == 40


def test_table_of_paths_is_audited(tmp_path, run, voice, findings_of):
    rows = ["path,emotion,who"]
    for number in range(6):
        (tmp_path / f"{number}.wav").write_bytes(encode_wav(voice("laugh" if number % 2 else "cry", number)))
        rows.append(f"{number}.wav,{'laugh' if number % 2 else 'cry'},voice{number}")
    table = tmp_path / "clips.csv"
    table.write_text("\n".join(rows) + "\n")
    report = run(table, columns=Columns(audio="path", label="emotion", speaker="who"))
    (config,) = report.configs.values()
    assert {split: (one.num_clips, one.num_speakers) for split, one in config.splits.items()} == {"train": (6, 6)}
    assert config.label_names == ("cry", "laugh")
    assert config.rows[0].clip.file == "0.wav"
    assert findings_of(report, "undecodable") == []


@pytest.fixture
def table(tmp_path, voice):
    """Twelve clips by six voices, two a voice; the column ``part`` puts one voice into two parts."""
    rows = ["path,emotion,who,part"]
    for number in range(12):
        label, part = ("laugh", "cry")[number % 2], ("train", "train", "train", "train", "dev", "test")[number // 2]
        (tmp_path / f"{number}.wav").write_bytes(encode_wav(voice(label, number // 2)))
        rows.append(f"{number}.wav,{label},voice{number // 2},{'test' if number == 0 else part}")
    path = tmp_path / "clips.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


OWN_COLUMNS = Columns(audio="path", label="emotion", speaker="who")


def test_splits_in_a_column_of_a_table_are_audited(table, run, findings_of):
    report = run(table, columns=dataclasses.replace(OWN_COLUMNS, split="part"))
    (config,) = report.configs.values()
    assert {split: one.num_clips for split, one in config.splits.items()} == {"train": 7, "validation": 2, "test": 3}
    (finding,) = findings_of(report, "shared_speaker")
    assert finding.details["speaker_id"] == "voice0"


@pytest.mark.parametrize(("protocol", "leaks"), [("speaker", False), ("stratified", True), ("given", True)])
def test_table_is_audited_as_training_would_split_it(table, run, protocol, leaks):
    columns = dataclasses.replace(OWN_COLUMNS, split="part")
    report = run(table, columns=columns, split_protocol=protocol)
    expected = load_own_data(
        table, audio_column="path", label_column="emotion", speaker_column="who", split_column="part",
        split_protocol=protocol,
    )  # fmt: skip
    (config,) = report.configs.values()
    assert config.name == protocol
    assert {split: one.num_clips for split, one in config.splits.items()} == expected.num_rows
    assert report.leaks is leaks


@pytest.mark.parametrize("protocol", [None, "speaker"])
def test_paths_of_a_table_may_start_from_another_folder(table, run, tmp_path, protocol):
    (tmp_path / "tables").mkdir()
    moved = table.rename(tmp_path / "tables" / "clips.csv")
    options = {"columns": OWN_COLUMNS, "split_protocol": protocol}
    report = run(moved, data_dir=tmp_path, **options)
    assert len(report.measures) == 12
    assert not any(one.error for one in report.measures.values())


def test_folder_of_paths_is_refused_for_a_prepared_folder(repository, run, tmp_path):
    with pytest.raises(CorpusError, match="leave out data_dir"):
        run(repository, data_dir=tmp_path)


def test_protocol_of_a_prepared_folder_is_an_error_that_names_the_config(repository, run):
    with pytest.raises(CorpusError, match="its split protocols are configs; give --config speaker instead"):
        run(repository, split_protocol="speaker")


def test_class_folders_are_audited_as_they_are_split(tmp_path, run, voice):
    for number, split in enumerate(("train", "train", "test")):
        folder = tmp_path / "own" / split / ("laugh" if number % 2 else "cry")
        folder.mkdir(parents=True)
        (folder / f"{number}.wav").write_bytes(encode_wav(voice("laugh" if number % 2 else "cry", number)))
    (config,) = run(tmp_path / "own").configs.values()
    assert {split: dict(one.labels) for split, one in config.splits.items()} == {
        "train": {"cry": 1, "laugh": 1},
        "test": {"cry": 1, "laugh": 0},
    }


def test_unknown_config_is_an_error(repository, run):
    with pytest.raises(CorpusError, match="no config 'fold_3'; there are speaker, everyone"):
        run(repository, configs=["fold_3"])


def test_configs_of_a_table_are_an_error(tmp_path, run):
    (tmp_path / "clips.csv").write_text("audio,label\n")
    with pytest.raises(CorpusError, match="has no configs; leave out --config speaker"):
        run(tmp_path / "clips.csv", configs=["speaker"])


@pytest.mark.parametrize("source", ["synthetic", "/no/such/folder"])
def test_missing_folder_is_an_error_that_says_what_to_give(run, source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CorpusError, match=rf"{source}: no such folder. Give one that nvv prepare wrote"):
        run(source)


def test_folder_without_data_is_an_error(tmp_path, run):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match="empty"):
        run(tmp_path / "empty")
