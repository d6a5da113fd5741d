import json

import pytest
from huggingface_hub import ModelCard

from nvv.hub.card_metadata import card_data
from nvv.hub.model_card import CardFacts, render_model_card


@pytest.fixture
def data_of(make_run):
    """The function that gives a run's metadata after a change to what was recorded of its corpus."""

    def make(method="lora", **corpus):
        folder = make_run(method, name=f"run{len(corpus)}")
        metrics = json.loads((folder / "metrics.json").read_text())
        metrics["corpus"].update(corpus)
        (folder / "metrics.json").write_text(json.dumps(metrics))
        return card_data(CardFacts.from_directory(folder))

    return make


def test_corpus_and_protocol_are_tags(data_of):
    assert {"nvv", "non-verbal-vocalization", "lora", "vivae", "speaker-independent"} <= set(data_of().tags)


@pytest.mark.parametrize(
    ("corpus", "missing"),
    [
        ({"config": "stratified"}, "speaker-independent"),
        ({"num_shared_speakers": 3}, "speaker-independent"),
        ({"is_local": True}, "vivae"),
    ],
)
def test_tag_is_left_out_where_it_does_not_hold(corpus, missing, data_of):
    assert missing not in data_of(**corpus).tags


def test_dataset_is_named_by_the_id_that_the_run_recorded(data_of):
    data = data_of(dataset_id="lab/vivae")
    assert data.datasets == ["lab/vivae"]
    assert "vivae" in data.tags


@pytest.mark.parametrize("method", ["full", "lora", "frozen"])
@pytest.mark.parametrize("corpus", ["vivae", "cnvve"])
def test_card_is_what_the_hub_takes(method, corpus, make_run, hub):
    card = render_model_card(CardFacts.from_directory(make_run(method, corpus=corpus)))
    card.validate()
    data = ModelCard(str(card)).data
    assert data.pipeline_tag == "audio-classification"
    if data.license == "other":
        assert data.license_name
    assert len(hub.requests("POST", "/api/validate-yaml")) == 1
