from __future__ import annotations

import dataclasses

import pytest

from nvv.baselines import BaselineArguments
from nvv.configuration_nvv import NvvConfig
from nvv.training.arguments import ArgumentsError, DataArguments, ModelArguments, NvvTrainingArguments
from nvv.training.config_files import parse_groups
from nvv.training.scores import selection_metric


def test_pairs_are_all_baselines_when_nothing_is_chosen():
    # two guesses, and four sets of features with two classifiers each
    assert len(BaselineArguments().pairs) == 2 + 4 * 2
    assert BaselineArguments().pairs[:3] == [
        (None, "majority"),
        (None, "random"),
        ("duration", "logistic_regression"),
    ]


def test_pairs_are_those_asked_for():
    chosen = BaselineArguments(features=["egemaps", "mfcc"], classifiers=["linear_svm", "random"])
    assert chosen.pairs == [(None, "random"), ("mfcc", "linear_svm"), ("egemaps", "linear_svm")]
    assert BaselineArguments(classifiers=["majority"]).pairs == [(None, "majority")]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"features": ["mfc"]}, r"features: expected some of duration, mfcc, egemaps, compare, each once; .*\['mfc'\]"),
        ({"features": ["mfcc", "mfcc"]}, "features: expected some of .*each once"),
        ({"classifiers": []}, "classifiers: expected some of majority"),
        ({"features": ["mfcc"], "classifiers": ["majority"]}, "features: mfcc would have no effect, because majority"),
        ({"c_values": [1.0, 0.0]}, r"c_values: expected different numbers above 0, found \[1.0, 0.0\]"),
        ({"c_values": [1.0, 1.0]}, "c_values: expected different numbers"),
        ({"metric_for_best_model": "f1"}, "metric_for_best_model: expected some of accuracy"),
        ({"max_seconds": 0}, "max_seconds: expected more than 0, found 0"),
        ({"num_workers": 0}, "num_workers: expected more than 0"),
    ],
)
def test_arguments_are_refused_when_they_cannot_be_used(fields, message):
    with pytest.raises(ArgumentsError, match=message):
        BaselineArguments(**fields)


def test_arguments_are_read_from_the_command_line():
    data, baseline = parse_groups(
        ["--features", "mfcc", "duration", "--c_values", "1e-3", "1", "--corpus", "birds", "--pool_folds", "true"],
        (DataArguments, BaselineArguments),
    )
    assert data.corpus == "birds"
    assert (baseline.features, baseline.c_values, baseline.pool_folds) == (["mfcc", "duration"], [1e-3, 1.0], True)


def test_shared_fields_have_the_defaults_that_training_has():
    baseline, training = BaselineArguments(), NvvTrainingArguments(output_dir="unused")
    for name in ("seed", "class_balanced_loss", "num_bootstrap_resamples"):
        assert getattr(baseline, name) == getattr(training, name), name
    # What `auto` means for classes, which is all that baselines learn.
    assert baseline.metric_for_best_model == selection_metric(NvvConfig())
    assert BaselineArguments(metric_for_best_model="auto").metric_for_best_model == selection_metric(NvvConfig())
    assert baseline.max_seconds == ModelArguments().max_seconds
    assert not {field.name for field in dataclasses.fields(BaselineArguments)} & set(vars(DataArguments()))
