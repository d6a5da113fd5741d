import dataclasses
from pathlib import Path

import datasets
import numpy as np
import pytest
from huggingface_hub import DatasetCard

from nvv.audio import AudioError, encode_wav
from nvv.data import (
    CorpusConfig,
    CorpusError,
    SplitError,
    corpus_builder,
    corpus_facts,
    list_corpora,
    load_corpus,
    loading,
)


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


# ----------------------------------------------------------------------------------------------------------------------
# One copy of the recordings for all configs
# ----------------------------------------------------------------------------------------------------------------------


def test_all_configs_share_one_copy_of_the_recordings(known_birdsong, raw_birdsong, tmp_path):
    cache = tmp_path / "cache"
    for config in ("speaker", "stratified", "fold_0", "fold_1"):
        load_corpus("birdsong", data_dir=raw_birdsong, config=config, cache_dir=cache)
    assert len(list(cache.rglob("*.arrow"))) == 1


@pytest.mark.parametrize("config", [None, "speaker", "stratified", "fold_0", "fold_9"])
def test_each_config_is_what_its_builder_makes(known_birdsong, build_birdsong, raw_birdsong, tmp_path, config):
    builder = build_birdsong(*([] if config is None else [config]), cache_dir=str(tmp_path / "built"))
    builder.download_and_prepare()
    expected = builder.as_dataset().cast_column("audio", datasets.Audio(decode=False))
    for _ in range(2):  # built, and from the cache
        dataset = load_corpus("birdsong", data_dir=raw_birdsong, config=config, cache_dir=tmp_path / "cache")
        assert list(dataset) == list(expected) == ["train", "validation", "test"]
        for split, part in dataset.items():
            assert part.features == expected[split].features
            assert list(part) == list(expected[split])
            assert (part.split, part.info.config_name) == (split, builder.config.name)
            assert {name: entry.num_examples for name, entry in part.info.splits.items()} == dataset.num_rows
            assert part.info.license == expected[split].info.license


def test_fingerprints_tell_configs_apart_and_stay(known_birdsong, raw_birdsong, tmp_path):
    def fingerprints(config):
        dataset = load_corpus("birdsong", data_dir=raw_birdsong, config=config, cache_dir=tmp_path / "cache")
        return [part._fingerprint for part in dataset.values()]

    first = fingerprints("speaker")
    assert fingerprints("speaker") == first
    assert len({*first, *fingerprints("stratified")}) == 6


def test_config_has_its_own_columns_and_may_leave_clips_out(birdsong_class, raw_birdsong, tmp_path, monkeypatch):
    class Rated(birdsong_class):
        SPEAKERS_ARE_KNOWN = False
        TARGETS = ("awe", "calm")
        BUILDER_CONFIGS = [  # noqa: RUF012
            CorpusConfig(name="feeling", protocol="official", with_label=False, targets=("awe",)),
            CorpusConfig(name="kind", protocol="official"),
            CorpusConfig(name="speaker"),
        ]
        DEFAULT_CONFIG_NAME = "feeling"

        def list_clips(self, root):
            for clip in super().list_clips(root):
                number = clip.metadata["number"]
                split = ("train", "test", None)[number]
                yield dataclasses.replace(clip, speaker_id=None, targets={"awe": number / 2, "calm": None}, split=split)

    monkeypatch.setattr(loading, "list_corpora", lambda: ["rated"])
    monkeypatch.setattr(loading, "corpus_builder", lambda name: Rated)
    options = {"data_dir": raw_birdsong, "cache_dir": tmp_path / "cache"}
    with pytest.raises(SplitError, match="does not say who made"):
        load_corpus("rated", config="speaker", **options)
    assert not list((tmp_path / "cache").rglob("*.arrow"))
    feeling = load_corpus("rated", **options)
    assert feeling.num_rows == {"train": 10, "test": 10}  # no clip validates; the third of each bird is in no split
    assert list(feeling["test"].features) == ["audio", "awe", "file", "speaker_id", "number"]
    assert feeling["test"]["awe"][:] == [0.5] * 10
    kind = load_corpus("rated", config="kind", **options)
    assert list(kind["train"].features) == ["audio", "label", "file", "speaker_id", "number"]
    with pytest.raises(SplitError, match="does not say who made"):  # also where the recordings are there already
        load_corpus("rated", config="speaker", **options)


def test_changed_file_is_read_anew_for_every_config(known_birdsong, raw_birdsong, tmp_path):
    options = {"data_dir": raw_birdsong, "cache_dir": tmp_path / "cache"}
    load_corpus("birdsong", **options)
    content = encode_wav(np.full(999, 0.2))
    (raw_birdsong / "call" / "bird0-2.wav").write_bytes(content)
    for config in ("speaker", "stratified"):
        rows = [row for part in load_corpus("birdsong", config=config, **options).values() for row in part]
        assert [row["audio"]["bytes"] for row in rows if row["file"] == "call/bird0-2.wav"] == [content]


def test_cached_corpus_needs_no_second_look_at_the_raw_files(known_birdsong, birdsong_class, raw_birdsong, tmp_path):
    options = {"data_dir": raw_birdsong, "cache_dir": tmp_path / "cache"}
    first = load_corpus("birdsong", **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(birdsong_class, "list_clips", lambda *_: pytest.fail("listed again"))
        patch.setattr(birdsong_class, "read_clip", lambda *_: pytest.fail("read again"))
        assert load_corpus("birdsong", **options)["test"]["file"][:] == first["test"]["file"][:]


def test_unknown_config_is_refused_with_the_known_ones(known_birdsong, raw_birdsong, tmp_path):
    with pytest.raises(ValueError, match=r"config: birdsong has speaker, stratified, fold_0.*found 'random'"):
        load_corpus("birdsong", data_dir=raw_birdsong, config="random", cache_dir=tmp_path / "cache")
