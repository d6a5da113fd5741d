from __future__ import annotations

import datasets
import numpy as np
import pytest

from nvv import NvvConfig
from nvv.inference.task_fit import fit_tasks
from nvv.training.arguments import ArgumentsError

FEELINGS = {"name": "feelings", "kind": "regression", "outputs": ["arousal", "valence"], "loss": "ccc", "weight": 1.0}
KIND = {"name": "kind", "kind": "classification", "outputs": ["sigh", "laugh"], "loss": "cross_entropy", "weight": 1.0}


@pytest.fixture
def config_with(tiny_backbone_config):
    def make(*tasks):
        is_single = len(tasks) == 1
        names = [output if is_single else f"{task['name']}/{output}" for task in tasks for output in task["outputs"]]
        return NvvConfig(
            backbone_config=tiny_backbone_config("whisper"),
            tasks=[{"class_weights": None, **task} for task in tasks],
            id2label=dict(enumerate(names)),
            max_seconds=3.0,
        )

    return make


def _clips(**columns):
    values = {name: column for name, (column, _) in columns.items()}
    features = datasets.Features({name: feature for name, (_, feature) in columns.items()})
    return datasets.Dataset.from_dict(values, features=features)


FLOAT, WORD = datasets.Value("float32"), datasets.Value("string")
CLASSES = datasets.ClassLabel(names=["laugh", "sigh"])
OTHERS = datasets.ClassLabel(names=["laugh", "cough"])


def test_labels_are_in_the_models_order(config_with):
    clips = _clips(
        file=(["a", "b", "c"], WORD),
        Valence=([0.1, None, 0.3], FLOAT),
        arousal=([1.0, 2.0, 3.0], FLOAT),
        label=([0, 1, None], CLASSES),
    )
    fit = fit_tasks(config_with(FEELINGS, KIND), clips.features)
    nan = np.nan
    np.testing.assert_allclose(fit.labels(clips), [[1, 0.1, 1], [2, nan, 0], [3, 0.3, nan]], rtol=1e-6)
    assert fit.describe() == {"feelings": {"arousal": "arousal", "valence": "Valence"}, "kind": "label"}
    assert [spec.columns for spec in fit.specs] == [("arousal", "Valence"), ("label",)]


def test_exact_name_wins_and_two_alike_are_none(config_with):
    columns = {name: ([1.0], FLOAT) for name in ("AROUSAL", "arousal", "VALENCE", "Valence")}
    fit = fit_tasks(config_with(FEELINGS), _clips(**columns).features, only_present=True)
    assert fit.columns["feelings"] == ("arousal", None)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"label": OTHERS, "kind": CLASSES}, "kind"),
        ({"label": CLASSES, "kind": CLASSES}, "label"),
        ({"label": OTHERS, "sound": CLASSES}, "sound"),
        ({"first": CLASSES, "second": CLASSES, "kind": WORD}, None),
        ({"label": OTHERS, "kind": WORD}, "kind"),
        ({"label": OTHERS, "other": WORD}, None),
    ],
)
def test_classes_are_found_by_their_names(config_with, columns, expected):
    features = datasets.Features({**columns, "arousal": FLOAT, "valence": FLOAT})
    fit = fit_tasks(config_with(FEELINGS, KIND), features, only_present=expected is None)
    assert fit.columns["kind"] == (expected,)


def test_words_are_numbered_as_the_model_does_and_unknown_ones_refused(config_with):
    clips = _clips(file=(["a", "b", "c"], WORD), kind=(["laugh", None, "sigh"], WORD))
    fit = fit_tasks(config_with(KIND), clips.features)
    np.testing.assert_array_equal(fit.labels(clips)[:, 0], [1, np.nan, 0])
    with pytest.raises(ArgumentsError, match="kind: the model has no class 'cough'; it has sigh, laugh"):
        fit.labels(_clips(file=(["a"], WORD), kind=(["cough"], WORD)))


def test_words_and_infinities_are_no_targets(config_with):
    config = config_with(FEELINGS)
    with pytest.raises(ArgumentsError, match="Missing are feelings: numbers valence; it has arousal, valence"):
        fit_tasks(config, datasets.Features({"arousal": FLOAT, "valence": WORD}))
    clips = _clips(file=(["a", "b"], WORD), arousal=([0.0, np.inf], FLOAT), valence=([0.0, 0.0], FLOAT))
    with pytest.raises(ArgumentsError, match="arousal: expected finite numbers, found an infinite one for the clip b"):
        fit_tasks(config, clips.features).labels(clips)
