"""Embeddings of files and datasets as Parquet files."""

import json
from types import SimpleNamespace

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
from transformers import Wav2Vec2FeatureExtractor

from nvv.inference.load import Classifier, ModelError, load_classifier
from nvv.tagging.embed import Layers, embed_corpus, embed_files
from nvv.tagging.sources import open_corpus
from nvv.training.arguments import ArgumentsError


@pytest.fixture
def classifier_of():
    """The function that makes a loaded classifier of a model."""

    def make(model):
        facts = SimpleNamespace(id="nvv/tiny", revision="abc", weights_digest=None, random_init=True)
        return Classifier(
            model=model,
            feature_extractor=Wav2Vec2FeatureExtractor(return_attention_mask=True),
            label_names=["a", "b", "c", "d"],
            is_multi_label=False,
            max_seconds=model.config.max_seconds,
            facts=facts,
        )

    return make


@pytest.fixture
def clip_files(unequal_clips, tmp_path):
    """Five files of 1.93 to 0.01 s, and their waveforms as the feature extractor gives them: of mean 0, variance 1."""
    files, waveforms = [], []
    for at, clip in enumerate(unequal_clips):
        files.append(tmp_path / f"{at}.wav")
        soundfile.write(files[-1], clip.clamp(-1, 1).numpy(), 16_000, subtype="FLOAT")
        heard = clip.clamp(-1, 1)
        waveforms.append((heard - heard.mean()) / torch.sqrt(heard.var(correction=0) + 1e-7))
    return files, waveforms


def column(table, name):
    return table[name].to_pylist()


def by_hand(model, waveform, *, pooling="mean"):
    """Every hidden state of one clip alone, without any padding, pooled: (states, width)."""
    with torch.no_grad():
        states = model(waveform[None], output_hidden_states=True).hidden_states
    reduce = {"mean": lambda x: x.mean(0), "max": lambda x: x.amax(0), "first": lambda x: x[0], "last": lambda x: x[-1]}
    return torch.stack([reduce[pooling](state[0]) for state in states]).numpy()


def test_embed_files_equals_hidden_states_pooled_by_hand_when_clips_share_padded_batches(
    make_model, family_variant, classifier_of, clip_files, tmp_path
):
    model = make_model(*family_variant, projection_size=16)
    files, waveforms = clip_files
    classifier = classifier_of(model)
    layers = Layers.parse("all", pooling=None, classifier=classifier)
    # 8 s of padded audio: all five clips in one batch, padded to 1.93 s
    embed_files(classifier, files, tmp_path / "e.parquet", layers=layers, max_batch_seconds=20.0, num_workers=0)
    table = pq.read_table(tmp_path / "e.parquet")
    expected = np.stack([by_hand(model, waveform) for waveform in waveforms])  # (clips, states, width)
    assert expected.shape == (5, 4, 32)
    for number in range(4):
        found = np.array(column(table, f"layer_{number}"), dtype=np.float32)
        np.testing.assert_allclose(found, expected[:, number], atol=1e-5)


@pytest.mark.parametrize("pooling", ["max", "first", "last"])
def test_embed_files_pools_as_asked_when_another_pooling_is_named(
    make_model, classifier_of, clip_files, tmp_path, pooling
):
    model = make_model("hubert", "post_norm", projection_size=16)
    files, waveforms = clip_files
    classifier = classifier_of(model)
    layers = Layers.parse("2", pooling=pooling, classifier=classifier)
    embed_files(classifier, files, tmp_path / "e.parquet", layers=layers, num_workers=0)
    found = np.array(column(pq.read_table(tmp_path / "e.parquet"), "layer_2"), dtype=np.float32)
    expected = np.stack([by_hand(model, waveform, pooling=pooling)[2] for waveform in waveforms])
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("head", ["linear", "mlp", "embedding", "lstm"])
def test_embed_files_gives_the_models_own_embedding_when_no_layer_is_named(
    make_model, classifier_of, clip_files, tmp_path, head
):
    fields = {"embedding": {"embedding_size": 8, "loss": "supervised_contrastive"}, "lstm": {"lstm_hidden_size": 8}}
    model = make_model(projection_size=16, head=head, **fields.get(head, {}))
    files, waveforms = clip_files
    classifier = classifier_of(model)
    layers = Layers.parse("model,1", pooling=None, classifier=classifier)
    embed_files(classifier, files, tmp_path / "e.parquet", layers=layers, num_workers=0)
    table = pq.read_table(tmp_path / "e.parquet")
    with torch.no_grad():
        expected = np.stack([model.embed(waveform[None])[0].numpy() for waveform in waveforms])
    np.testing.assert_allclose(np.array(column(table, "embedding")), expected, atol=1e-5)
    layer_1 = np.stack([by_hand(model, waveform)[1] for waveform in waveforms])
    np.testing.assert_allclose(np.array(column(table, "layer_1")), layer_1, atol=1e-5)


def test_embed_files_says_what_it_holds_when_the_file_is_read_again(make_model, classifier_of, clip_files, tmp_path):
    classifier = classifier_of(make_model(projection_size=16))
    layers = Layers.parse("3, 0", pooling="max", classifier=classifier)
    embed_files(classifier, clip_files[0], tmp_path / "e.parquet", layers=layers, num_workers=0)
    schema = pq.read_schema(tmp_path / "e.parquet")
    said = json.loads(schema.metadata[b"nvv"])
    assert said["model"] == "nvv/tiny"
    assert said["revision"] == "abc"
    assert said["layers"] == [0, 3]
    assert said["pooling"] == "max"
    assert said["random_init"] is True
    assert said["nvv"]
    assert schema.names == ["file", "layer_0", "layer_3", "error"]
    assert str(schema.field("layer_0").type) == "list<element: float>"


def test_embed_files_writes_null_and_the_reason_when_a_file_is_no_audio(
    make_model, classifier_of, clip_files, tmp_path
):
    files = [clip_files[0][0], tmp_path / "text.wav", clip_files[0][1]]
    files[1].write_text("no audio")
    classifier = classifier_of(make_model(projection_size=16))
    layers = Layers.parse("model", pooling=None, classifier=classifier)
    embedded = embed_files(classifier, files, tmp_path / "e.parquet", layers=layers, num_workers=0)
    table = pq.read_table(tmp_path / "e.parquet")
    assert column(table, "file") == [str(file) for file in files]
    assert [row is None for row in column(table, "embedding")] == [False, True, False]
    assert [row is None for row in column(table, "error")] == [True, False, True]
    assert len(embedded.unreadable) == 1
    assert str(files[1]) in embedded.unreadable[0]


def test_embed_files_leaves_no_file_when_it_ends_early(make_model, classifier_of, clip_files, tmp_path, monkeypatch):
    classifier = classifier_of(make_model(projection_size=16))
    layers = Layers.parse("model", pooling=None, classifier=classifier)

    def fail(model, inputs):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(Layers, "compute", lambda self, model, inputs: fail(model, inputs))
    with pytest.raises(RuntimeError, match="out of memory"):
        embed_files(classifier, clip_files[0], tmp_path / "out" / "e.parquet", layers=layers, num_workers=0)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("text", "pooling", "message"),
    [
        ("4", None, "has 0 .* to 3"),
        ("-1", None, "found '-1'"),
        ("first", None, "found 'first'"),
        ("", None, "found ''"),
        ("model", "mean", "no effect"),
        ("0", "median", "mean, max, first, last"),
    ],
)
def test_layers_are_refused_when_the_model_does_not_have_them(make_model, classifier_of, text, pooling, message):
    classifier = classifier_of(make_model(projection_size=16))
    with pytest.raises(ArgumentsError, match=message):
        Layers.parse(text, pooling=pooling, classifier=classifier)


def test_layers_are_refused_when_the_model_is_a_stock_one(classifier_of, tiny_backbone_config):
    config = tiny_backbone_config("wav2vec2")
    model = SimpleNamespace(config=config)
    classifier = Classifier(
        model=model,
        feature_extractor=None,
        label_names=["a", "b"],
        is_multi_label=False,
        max_seconds=None,
        facts=SimpleNamespace(id="somebody/stock"),
    )
    with pytest.raises(ModelError, match="somebody/stock"):
        Layers.parse("0", pooling=None, classifier=classifier)


@pytest.mark.parametrize("streaming", [False, True])
def test_embed_corpus_keeps_the_other_columns_when_a_dataset_is_embedded(
    model_folder, dataset_folder, tmp_path, streaming
):
    classifier = load_classifier(str(model_folder))
    layers = Layers.parse("model", pooling=None, classifier=classifier)
    corpus = open_corpus(dataset_folder, streaming=streaming, audio_column="audio")
    embedded = embed_corpus(classifier, corpus, tmp_path / "e.parquet", layers=layers, num_workers=0)
    assert embedded.num_rows == 15
    loaded = datasets.load_dataset("parquet", data_files=str(tmp_path / "e.parquet"))["train"]
    names = ["split", "label", "file", "speaker_id", "marks", "who", "embedding", "error"]
    assert loaded.column_names == names
    assert loaded.features["label"].names == ["laugh", "sigh", "cough"]
    assert list(loaded["split"]) == ["train"] * 12 + ["test"] * 3
    assert list(loaded["file"])[11:13] == ["0_011.wav", "1_000.wav"]
    assert np.array(loaded["embedding"][:]).shape == (15, 16)


def test_embed_corpus_is_refused_when_a_column_is_already_called_so(model_folder, tones, tmp_path):
    classifier = load_classifier(str(model_folder))
    tones(3).rename_column("marks", "layer_1").to_parquet(tmp_path / "d.parquet")
    corpus = open_corpus(tmp_path / "d.parquet", audio_column="audio")
    layers = Layers.parse("1", pooling=None, classifier=classifier)
    with pytest.raises(ArgumentsError, match="'layer_1'"):
        embed_corpus(classifier, corpus, tmp_path / "e.parquet", layers=layers)
