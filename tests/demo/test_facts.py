"""What a page says of a model."""

import json
import math

import pytest
import torch
from transformers import WhisperForAudioClassification

from nvv.demo.facts import describe_model, layer_weights_of
from nvv.demo.models import model_names
from nvv.inference.load import load_classifier
from nvv.inference.report_facts import RANDOM_WEIGHTS


def described(folder):
    (name,) = model_names([str(folder)])
    return describe_model(load_classifier(str(folder)), name)


def test_layer_weights_are_the_softmax_of_the_head(make_model_folder):
    model = load_classifier(str(make_model_folder("lora"))).model
    with torch.no_grad():
        model.head.layer_weights.copy_(torch.tensor([0.0, 0.0, math.log(2), 0.0]))
    found = layer_weights_of(model)
    assert found.layers == (0, 1, 2, 3)
    # Softmax of (0, 0, ln 2, 0): 1/5, 1/5, 2/5, 1/5.
    assert found.weights == pytest.approx((0.2, 0.2, 0.4, 0.2), abs=1e-6)


def test_model_of_one_layer_has_no_layer_weights(make_model_folder):
    folder = make_model_folder("last", use_weighted_layer_sum=False)
    assert described(folder).layer_weights is None


@pytest.mark.parametrize("is_weighted", [True, False])
def test_stock_models_have_layer_weights_where_they_sum(tiny_backbone_config, is_weighted):
    model = WhisperForAudioClassification(
        tiny_backbone_config("whisper", use_weighted_layer_sum=is_weighted, num_labels=2)
    )
    found = layer_weights_of(model)
    assert (found is not None) == is_weighted
    if is_weighted:
        assert len(found.weights) == len(found.layers) == 4
        assert sum(found.weights) == pytest.approx(1)


def test_description_says_what_the_files_say(make_model_folder):
    folder = make_model_folder("lora")
    (folder / "README.md").write_text(
        "---\nlicense: other\nlicense_name: cc-by-nc-4.0\nlicense_link: https://example.org\n"
        "datasets: [nvv/vivae]\n---\n"
    )
    description = described(folder)
    facts = description.facts
    assert facts["Model"] == "lora"
    assert facts["Encoder"] == "tiny_whisper (random weights)"
    assert facts["Method"] == "lora"
    assert (facts["Licence"], facts["Licence in full"]) == ("cc-by-nc-4.0", "https://example.org")
    assert facts["Corpus"] == "nvv/vivae"
    assert facts["Labels"] == "laugh, sigh, cough"
    assert facts["Hears"] == "the first 3 s of a recording at once"
    assert description.warnings == (RANDOM_WEIGHTS,)
    assert not any(str(folder.parent) in value for value in facts.values())


def test_warning_says_that_sounds_were_computed(make_model_folder):
    metrics = {
        "format_version": 1,
        "corpus": {"name": "synthetic", "pretty_name": "Computed", "is_synthetic": True},
        "splits": {},
        "labels": [],
    }
    description = described(make_model_folder("lora", metrics=json.dumps(metrics)))
    assert "trained on computed sounds" in description.warnings[1]
    assert description.facts["Corpus"] == "Computed"


@pytest.mark.parametrize("card", ["---\n- a list\n---\n", "---\nlicense: [\n---\n", "no header"])
def test_card_is_left_out_when_its_header_cannot_be_read(make_model_folder, card):
    folder = make_model_folder("lora")
    (folder / "README.md").write_text(card)
    assert "Licence" not in described(folder).facts
