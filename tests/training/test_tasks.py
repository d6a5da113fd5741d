from __future__ import annotations

import datasets
import numpy as np
import pytest

from nvv.training.arguments import ArgumentsError, DataArguments, ModelArguments
from nvv.training.tasks import TaskSpec, config_tasks, label_matrix, make_tasks


def make_split(**columns):
    features = datasets.Features(
        {
            "file": datasets.Value("string"),
            "arousal": datasets.Value("float32"),
            "age": datasets.Value("int32"),
            "country": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["cry", "laugh"]),
        }
    )
    rows = {
        "file": ["a.wav", "b.wav", "c.wav"],
        "arousal": [0.5, None, 1.0],
        "age": [30, 40, None],
        "country": ["South Africa", "China", None],
        "label": [1, None, 0],
    }
    return datasets.Dataset.from_dict({**rows, **columns}, features=features)


def make_splits(**columns):
    split = make_split(**columns)
    return {"train": split, "validation": split, "test": split}


def test_tasks_are_none_when_nothing_but_classes_is_asked_for():
    assert make_tasks(DataArguments(), ModelArguments(), make_splits()) is None
    assert make_tasks(DataArguments(), ModelArguments(loss="focal"), make_splits()) is None


def test_target_columns_make_one_regression_by_ccc_or_the_loss_given():
    data = DataArguments(target_columns=["arousal", "age"])
    [task] = make_tasks(data, ModelArguments(), make_splits())
    assert (task.kind, task.outputs, task.columns, task.loss) == (
        "regression",
        ("arousal", "age"),
        ("arousal", "age"),
        "ccc",
    )
    [task] = make_tasks(data, ModelArguments(loss="mse"), make_splits())
    assert task.loss == "mse"


def test_tasks_take_classes_in_their_order_and_words_sorted():
    data = DataArguments(
        tasks={
            "affect": {"targets": ["arousal"], "weight": 2},
            "type": {"label": "label", "loss": "focal"},
            "country": {"label": "country"},
        }
    )
    affect, kind, country = make_tasks(data, ModelArguments(), make_splits())
    assert affect.weight == 2.0
    assert (kind.outputs, kind.loss) == (("cry", "laugh"), "focal")
    assert country.outputs == ("China", "South Africa")
    matrix = label_matrix(make_split(), [affect, kind, country])
    np.testing.assert_array_equal(matrix, [[0.5, 1, 1], [np.nan, np.nan, 0], [1.0, 0, np.nan]])
    assert matrix.dtype == np.float32


def test_config_tasks_carry_class_weights_of_their_task_only():
    specs = [
        TaskSpec(name="a", kind="regression", outputs=("x",), columns=("x",), loss="mse"),
        TaskSpec(name="b", kind="classification", outputs=("p", "q"), columns=("l",), loss="cross_entropy", weight=0.5),
    ]
    described = config_tasks(specs, class_weights={"b": [1.0, 3.0]})
    assert [task["class_weights"] for task in described] == [None, [1.0, 3.0]]
    assert described[1]["weight"] == 0.5


@pytest.mark.parametrize(
    ("data", "model", "named"),
    [
        ({"target_columns": ["valence"]}, {}, "no column 'valence'"),
        ({"target_columns": ["country"]}, {}, "expected numbers in the column 'country'"),
        ({"target_columns": ["label"]}, {}, "expected numbers in the column 'label'"),
        ({"target_columns": ["arousal"]}, {"loss": "cross_entropy"}, "loss: expected the loss ccc or mse"),
        ({}, {"loss": "ccc"}, "loss: expected the loss cross_entropy"),
        ({}, {"task_weighting": "uncertainty"}, "task_weighting"),
        ({"target_columns": ["arousal"]}, {"head": "embedding"}, "head: embedding"),
        ({"tasks": {"a": {"label": "label"}}}, {"loss": "focal"}, "each names its own loss"),
        ({"tasks": {"a": {"label": "age"}}}, {}, "expected classes or words in the column 'age'"),
        ({"tasks": {"a": {"label": "label", "targets": ["age"]}}}, {}, "tasks: a: expected {targets"),
        ({"tasks": {"a": {"label": "label", "wieght": 1}}}, {}, "'wieght'"),
        ({"tasks": {"a": {"label": "label", "weight": 0}}}, {}, "expected a weight of more than 0"),
        ({"tasks": {"a/b": {"label": "label"}}}, {}, "tasks: a/b: a task's name"),
        ({"tasks": {"a b": {"label": "label"}}}, {}, "tasks: a b: a task's name"),
        ({"tasks": {"a": {"targets": ["age", "age"]}}}, {}, "twice"),
    ],
)
def test_tasks_are_refused_when_they_do_not_fit(data, model, named):
    with pytest.raises(ArgumentsError) as error:
        make_tasks(DataArguments(**data), ModelArguments(**model), make_splits())
    assert named in str(error.value)


def test_tasks_are_refused_when_nothing_can_be_learned_of_them():
    with pytest.raises(ArgumentsError, match="'arousal' has no value in the train split"):
        make_tasks(DataArguments(target_columns=["arousal"]), ModelArguments(), make_splits(arousal=[None] * 3))


def test_targets_are_refused_when_infinite():
    with pytest.raises(ArgumentsError, match=r"arousal: expected finite numbers, found an infinite one .* b\.wav"):
        make_tasks(
            DataArguments(target_columns=["arousal"]), ModelArguments(), make_splits(arousal=[0.0, float("inf"), 1.0])
        )


def test_arguments_are_refused_when_they_say_twice_what_is_predicted():
    with pytest.raises(ArgumentsError, match="target_columns, tasks: expected one of these at most"):
        DataArguments(target_columns=["a"], tasks={"b": {"label": "label"}})
    with pytest.raises(ArgumentsError, match="positive_labels: expected at least one"):
        DataArguments(positive_labels=[])


def test_tasks_are_read_from_json_text_as_the_command_line_gives_it():
    assert DataArguments(tasks='{"a": {"label": "label"}}').tasks == {"a": {"label": "label"}}
    with pytest.raises(ArgumentsError, match="tasks: expected JSON text"):
        DataArguments(tasks="{a:")
