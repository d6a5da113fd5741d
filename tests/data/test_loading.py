from pathlib import Path

import datasets
import pytest
from huggingface_hub import DatasetCard

from nvv.audio import AudioError
from nvv.data import CorpusError, corpus_builder, corpus_facts, list_corpora, load_corpus, loading


@pytest.fixture
def known_birdsong(monkeypatch, birdsong_class):
    """Make the made-up corpus a known one."""
    monkeypatch.setattr(loading, "list_corpora", lambda: ["birdsong"])
    monkeypatch.setattr(loading, "corpus_builder", lambda name: birdsong_class)


@pytest.fixture
def repository(tmp_path, raw_birdsong, known_birdsong):
    """A dataset repository in a folder, as ``load_dataset`` understands it."""
    folder = tmp_path / "somebody" / "frogs"
    (folder / "data").mkdir(parents=True)
    dataset = load_corpus("birdsong", data_dir=raw_birdsong, cache_dir=tmp_path / "cache")
    for split, part in dataset.items():
        part.cast_column("audio", datasets.Audio()).to_parquet(folder / "data" / f"{split}.parquet")
    DatasetCard(
        "---\nlicense: cc-by-4.0\npretty_name: Frogs\ntags:\n- synthetic\n"
        "configs:\n- config_name: speaker\n  data_files:\n"
        + "".join(f"  - split: {split}\n    path: data/{split}.parquet\n" for split in dataset)
        + "---\n\n# Frogs\n\n```bibtex\n@misc{frogs}\n```\n"
    ).save(folder / "README.md")
    return folder


def test_corpora_are_those_with_a_script():
    assert {"nonverbal_vocalization", "synthetic"} <= set(list_corpora())
    for name in list_corpora():
        assert corpus_builder(name).FACTS.name == name
        assert corpus_facts(name) is corpus_builder(name).FACTS


def test_unknown_corpus_is_refused_with_the_known_ones():
    with pytest.raises(CorpusError, match=r"Unknown corpus 'nothing'.*nonverbal_vocalization.*synthetic"):
        corpus_builder("nothing")


def test_loaded_corpus_has_undecoded_audio_and_its_facts(known_birdsong, raw_birdsong, tmp_path):
    dataset = load_corpus("birdsong", data_dir=raw_birdsong, cache_dir=tmp_path / "cache")
    assert dataset.num_rows == {"train": 24, "validation": 3, "test": 3}
    assert dataset["train"].features["audio"].decode is False
    assert set(dataset["test"][0]["audio"]) == {"bytes", "path"}
    assert corpus_facts(dataset).pretty_name == "Birdsong"
    assert corpus_facts(dataset["test"]).licence == "cc-by-4.0"


def test_loaded_corpus_is_the_same_from_a_relative_folder(known_birdsong, raw_birdsong, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    load_corpus("birdsong", data_dir=raw_birdsong, cache_dir=cache)
    built = sorted(cache.rglob("*.arrow"))
    monkeypatch.chdir(raw_birdsong.parent)
    load_corpus("birdsong", data_dir=Path("raw"), cache_dir=cache)
    assert sorted(cache.rglob("*.arrow")) == built


def test_bad_clip_is_reported_as_it_is_and_nothing_is_cached(known_birdsong, raw_birdsong, tmp_path):
    (raw_birdsong / "call" / "bird7-2.wav").write_bytes(b"")
    with pytest.raises(AudioError, match=r"^call/bird7-2\.wav: empty file"):
        load_corpus("birdsong", data_dir=raw_birdsong, cache_dir=tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.arrow"))


def test_bad_name_is_reported_as_it_is(known_birdsong, raw_birdsong, tmp_path):
    (raw_birdsong / "call" / "bird.wav").write_bytes(b"")
    with pytest.raises(CorpusError, match=r"call/bird\.wav: no number"):
        load_corpus("birdsong", data_dir=raw_birdsong, cache_dir=tmp_path / "cache")


def test_folder_is_loaded_as_a_repository(repository, tmp_path):
    dataset = load_corpus(str(repository), cache_dir=tmp_path / "cache")
    assert dataset.num_rows == {"train": 24, "validation": 3, "test": 3}
    assert dataset["train"].features["audio"].decode is False
    assert dataset["train"].features["label"].names == ["trill", "call"]
    with pytest.raises(ValueError, match="stratified"):
        load_corpus(str(repository), config="stratified", cache_dir=tmp_path / "cache")


def test_data_dir_is_refused_for_a_repository(repository):
    with pytest.raises(CorpusError, match="none of the raw corpora birdsong"):
        load_corpus(str(repository), data_dir="raw")


def test_facts_of_a_repository_come_from_its_card(repository):
    facts = corpus_facts(str(repository))
    assert (facts.name, facts.pretty_name, facts.licence) == ("frogs", "Frogs", "cc-by-4.0")
    assert facts.citation == "@misc{frogs}"
    assert facts.is_synthetic is True


def test_facts_are_refused_when_there_is_no_card(tmp_path):
    with pytest.raises(CorpusError, match="licence is unknown"):
        corpus_facts(str(tmp_path))


def test_facts_of_an_unknown_dataset_say_so():
    dataset = datasets.Dataset.from_dict({"label": [0]})
    with pytest.raises(CorpusError, match="carries no name"):
        corpus_facts(dataset)
    dataset.info.dataset_name = "frogs"
    assert corpus_facts(dataset).licence == "unknown"
