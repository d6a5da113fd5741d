from __future__ import annotations

import datasets
import pytest

from nvv.inference.model_facts import ModelFacts
from nvv.inference.seen import training_corpus_of, what_was_seen
from nvv.training.arguments import DataArguments
from nvv.training.corpus import load_run_corpus

_CARD = """---
license: cc-by-4.0
pretty_name: Tones
configs:
- config_name: speaker
  data_files:
  - {split: train, path: a.parquet}
  - {split: validation, path: b.parquet}
  - {split: test, path: c.parquet}
- config_name: stratified
  data_files:
  - {split: train, path: [b.parquet, c.parquet]}
  - {split: validation, path: a1.parquet}
  - {split: test, path: a2.parquet}
---
"""


@pytest.fixture
def corpus_folder(make_split, tmp_path):
    """Twelve clips in two protocols: 6, 3 and 3 of them, and 6 (both other splits of the first), 3 and 3.

    The speakers of a and b are S0 and S1, those of c S2 and S3.
    """
    clips = make_split([0.2] * 12)
    speakers = ["S0", "S1"] * 4 + ["S0"] + ["S2", "S3", "S2"]
    clips = clips.remove_columns("speaker_id").add_column("speaker_id", speakers)
    folder = tmp_path / "tones"
    folder.mkdir()
    parts = {"a": range(6), "a1": range(3), "a2": range(3, 6), "b": range(6, 9), "c": range(9, 12)}
    for name, rows in parts.items():
        clips.select(rows).to_parquet(folder / f"{name}.parquet")
    (folder / "README.md").write_text(_CARD)
    return folder


def _facts(*, metrics=None, config=None):
    return ModelFacts(
        id="x", kind="full", architecture="X", revision=None, weights_digest=None, checkpoint_step=None,
        checkpoint_epoch=None, backbone_id="x", backbone_revision=None, random_init=False, method="full",
        tuned_layers=None, total_parameters=1, trained_parameters=1, metrics=metrics, config=config,
    )  # fmt: skip


@pytest.fixture
def look(corpus_folder, tmp_path):
    """Compare splits of a protocol with what a model was trained on."""

    def make(facts, protocol, *splits):
        data = DataArguments(corpus=str(corpus_folder), split_protocol=protocol, data_cache_dir=str(tmp_path / "cache"))
        corpus = load_run_corpus(data)
        return what_was_seen(facts, corpus=corpus, data=data, clips={split: corpus.splits[split] for split in splits})

    return make


@pytest.fixture
def trained_on(corpus_folder, tmp_path):
    """What a run on a protocol records."""

    def make(protocol, **changes):
        data = DataArguments(corpus=str(corpus_folder), split_protocol=protocol, data_cache_dir=str(tmp_path / "cache"))
        corpus = load_run_corpus(data)
        return _facts(metrics={"corpus": {**corpus.facts, "config": corpus.protocol, **changes}})

    return make


def test_test_split_of_the_same_protocol_was_not_seen(trained_on, look):
    seen, warnings = look(trained_on("speaker"), "speaker", "test", "validation")
    assert seen["is_same_corpus"]
    assert seen["is_same_split"]
    assert seen["splits"]["test"] == {"num_trained_on": 0, "num_validated_on": 0, "num_of_trained_speakers": 0}
    assert seen["splits"]["validation"]["num_validated_on"] == 3
    assert warnings == []


def test_training_split_is_marked(trained_on, look):
    seen, warnings = look(trained_on("speaker"), "speaker", "train", "test")
    assert seen["splits"]["train"]["num_trained_on"] == 6
    (warning,) = warnings
    assert warning.startswith("train: the model was trained on 6 of these 6 clips")


def test_test_split_of_another_protocol_is_marked(trained_on, look):
    seen, warnings = look(trained_on("speaker"), "stratified", "test", "train")
    assert seen["is_same_split"] is False
    assert seen["splits"]["test"]["num_trained_on"] == 3
    # Of b and c, which train here, b chose the checkpoint, and its speakers are those of a.
    assert seen["splits"]["train"] == {"num_trained_on": 0, "num_validated_on": 3, "num_of_trained_speakers": 3}
    assert [warning.split(" (")[0] for warning in warnings] == [
        "test: the model was trained on 3 of these 3 clips",
        "train: 3 of these 6 clips chose the model's checkpoint",
        "train: 3 of these 6 clips are by speakers that the model was trained on",
    ]


def test_speakers_that_are_not_known_are_not_counted(trained_on, look, corpus_folder, tmp_path):
    for file in corpus_folder.glob("*.parquet"):
        clips = datasets.Dataset.from_parquet(str(file), cache_dir=str(tmp_path / "rewriting"))
        clips.remove_columns("speaker_id").to_parquet(file)
    seen, _ = look(trained_on("speaker"), "stratified", "train")
    assert seen["splits"]["train"] == {"num_trained_on": 0, "num_validated_on": 3, "num_of_trained_speakers": None}


def test_other_files_than_trained_on_are_told(trained_on, look):
    seen, warnings = look(trained_on("speaker", manifest_digest="0" * 64), "speaker", "test")
    assert seen["splits"]["test"]["num_trained_on"] == 0
    assert seen["is_same_split"] is False
    assert "are not those that the model was trained on" in warnings[0]


def test_protocol_that_cannot_be_made_is_told(trained_on, look):
    facts = trained_on("speaker", config="fold_99", manifest_digest="0" * 64)
    seen, warnings = look(facts, "speaker", "test")
    assert seen["splits"] is None
    assert "its split fold_99 cannot be made here" in warnings[0]


def test_another_corpus_and_an_unknown_one_are_not_marked(trained_on, look):
    seen, warnings = look(trained_on("speaker", name="bells"), "speaker", "train")
    assert (seen["is_same_corpus"], seen["splits"], warnings) == (False, None, [])
    seen, warnings = look(_facts(), "speaker", "train")
    assert (seen["training_corpus"], seen["is_same_corpus"], warnings) == (None, None, [])


def test_unfinished_run_says_its_corpus_by_its_configuration(look):
    facts = _facts(config={"corpus": "nvv/tones", "split_protocol": "stratified", "seed": 1})
    assert training_corpus_of(facts) == {"name": "tones", "config": "stratified", "manifest_digest": None}
    seen, warnings = look(facts, "speaker", "train")
    assert seen["splits"]["train"] == {"num_trained_on": 0, "num_validated_on": 3, "num_of_trained_speakers": 6}
    assert len(warnings) == 2
