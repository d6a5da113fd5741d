from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from transformers import Wav2Vec2FeatureExtractor

from nvv.decisions_nvv import front_end_of
from nvv.inference import load_classifier
from nvv.inference.load import Classifier
from nvv.inference.model_facts import ModelFacts
from nvv.inference.readings import (
    OutputGroup,
    give_calibrated_scores,
    is_trained,
    output_groups,
    scores_of,
    thresholds_of,
    why_no_result,
)
from nvv.tasks_nvv import output_names

LABELS = {0: "laugh", 1: "sigh", 2: "cough"}
FACTS = dict.fromkeys(field.name for field in dataclasses.fields(ModelFacts)) | {"random_init": False}


@pytest.fixture
def make_classifier(tiny_backbone_config, tiny_model):
    def make(*, facts=None, **fields):
        labels = dict(enumerate(output_names(fields["tasks"]))) if "tasks" in fields else LABELS
        fields = {"id2label": labels, **fields}
        model = tiny_model(tiny_backbone_config("whisper"), **fields)
        return Classifier(
            model=model,
            feature_extractor=Wav2Vec2FeatureExtractor(do_normalize=False),
            label_names=list(model.config.id2label.values()),
            is_multi_label=False,
            max_seconds=3.0,
            facts=ModelFacts(**{**FACTS, **(facts or {})}),
            has_tasks=model.config.tasks is not None,
        )

    return make


@pytest.fixture
def with_points(make_classifier):
    """Make a classifier with operating points for two of its labels."""

    def make(**fields):
        front_end = front_end_of(make_classifier().model.config)
        points = {
            label: {"threshold": threshold, "temperature": 2.0, "front_end": {**front_end, "precision": "fp32"}}
            for label, threshold in (("laugh", 0.7), ("cough", 0.2))
        }
        return make_classifier(operating_points=points, calibration_temperature=2.0, **fields)

    return make


def test_classes_are_one_group_without_a_name(make_classifier):
    (group,) = output_groups(make_classifier())
    assert group == OutputGroup(name=None, kind="classes", labels=("laugh", "sigh", "cough"), columns=slice(0, 3))


def test_tasks_are_groups_in_the_order_of_their_columns(make_classifier):
    tasks = [
        {"name": "type", "kind": "classification", "outputs": ["laugh", "sigh"]},
        {"name": "feeling", "kind": "regression", "outputs": ["valence", "arousal"]},
    ]
    kind, feeling = output_groups(make_classifier(tasks=tasks))
    assert kind == OutputGroup(name="type", kind="classes", labels=("laugh", "sigh"), columns=slice(0, 2))
    assert feeling == OutputGroup(name="feeling", kind="numbers", labels=("valence", "arousal"), columns=slice(2, 4))
    (only,) = output_groups(make_classifier(tasks=tasks[1:]))
    assert (only.name, only.kind, only.labels) == ("feeling", "numbers", ("valence", "arousal"))


def test_stock_model_that_says_yes_or_no_is_such_a_group(stock_folder):
    folder = stock_folder("wav2vec2", problem_type="multi_label_classification")
    (group,) = output_groups(load_classifier(str(folder)))
    assert (group.name, group.kind, group.labels) == (None, "yes_no", ("laugh", "sigh", "cough"))


def test_scores_are_softmax_sigmoid_and_the_number_itself():
    groups = [
        OutputGroup(name="a", kind="classes", labels=("x", "y"), columns=slice(0, 2)),
        OutputGroup(name="b", kind="yes_no", labels=("z",), columns=slice(2, 3)),
        OutputGroup(name="c", kind="numbers", labels=("v",), columns=slice(3, 4)),
    ]
    logits = np.array([[0.0, math.log(3), math.log(4), -7.5], [800.0, -800.0, -800.0, 1e6]], dtype=np.float32)
    before = logits.copy()
    scores = scores_of(groups, logits)
    # 1 : 3 are a quarter and three quarters; odds of 4 to 1 are four fifths.
    np.testing.assert_allclose(scores, [[0.25, 0.75, 0.8, -7.5], [1.0, 0.0, 0.0, 1e6]], atol=1e-7)
    assert scores.dtype == np.float64
    exact = logits.astype(np.float64)
    scores_of(groups, exact)
    for untouched in (logits, exact):
        np.testing.assert_array_equal(untouched, before)
    np.testing.assert_allclose(scores_of(groups, logits[0]), scores[0])
    assert scores_of(groups, np.zeros((2, 5, 4))).shape == (2, 5, 4)


@pytest.mark.parametrize("logits", [np.zeros((2, 3)), np.zeros(5), 0.0])
def test_logits_of_another_width_are_refused(logits):
    groups = [OutputGroup(name=None, kind="classes", labels=tuple("abcd"), columns=slice(0, 4))]
    with pytest.raises(ValueError, match=r"logits: expected \(…, 4\)"):
        scores_of(groups, logits)


def test_thresholds_are_those_that_the_config_stores(with_points, make_classifier, stock_folder):
    assert thresholds_of(with_points()) == {"laugh": 0.7, "cough": 0.2}
    assert thresholds_of(make_classifier()) == {}
    assert thresholds_of(load_classifier(str(stock_folder("wav2vec2")))) == {}


def test_thresholds_decide_as_the_model_does(with_points):
    applied, plain = with_points(apply_operating_point="laugh"), with_points()
    torch.manual_seed(0)
    clips = torch.randn(12, 8_000) * torch.linspace(0.01, 3, 12)[:, None]
    with torch.no_grad():
        expected = plain.model.detect(clips, label="laugh").numpy()
        moved = scores_of(output_groups(applied), applied.model(clips).logits.numpy())
        assert thresholds_of(applied) == {"laugh": 0.5}
        np.testing.assert_array_equal(moved[:, 0] >= 0.5, expected)
        give_calibrated_scores(applied)
        assert thresholds_of(applied) == {"laugh": 0.7, "cough": 0.2}
        calibrated = scores_of(output_groups(applied), applied.model(clips).logits.numpy())
        np.testing.assert_array_equal(calibrated[:, 0] >= 0.7, expected)


def test_thresholds_of_another_front_end_are_refused(with_points):
    classifier = with_points()
    classifier.model.config.max_seconds = 1.0
    with pytest.raises(
        ValueError, match=r"'laugh' was chosen with another front-end; .* max_seconds 1\.0 instead of 3"
    ):
        thresholds_of(classifier)


def test_scores_of_random_weights_or_computed_sounds_are_no_result(make_classifier):
    assert why_no_result(make_classifier()) == []
    assert is_trained(make_classifier()) is None  # nothing is recorded
    assert is_trained(make_classifier(facts={"metrics": {"corpus": {"is_synthetic": False}}})) is True
    random = make_classifier(facts={"random_init": True, "metrics": {"corpus": {}}})
    assert is_trained(random) is False
    assert "random weights" in why_no_result(random)[0]
    synthetic = make_classifier(facts={"metrics": {"corpus": {"is_synthetic": True}}})
    assert is_trained(synthetic) is False
    assert "trained on computed sounds: these scores say nothing" in why_no_result(synthetic)[0]
