import pytest

from nvv import NvvConfig
from nvv.tasks_nvv import complete_tasks, list_tasks, output_names

TASKS = [
    {"name": "high", "kind": "regression", "outputs": ["Awe", "Fear"], "weight": 2},
    {"name": "type", "kind": "classification", "outputs": ["Cry", "Gasp", "Laugh"], "class_weights": [1, 2, 3]},
    {"name": "two", "kind": "regression", "outputs": ["Valence", "Arousal"], "loss": "mse"},
]


def test_tasks_share_outputs_and_label_columns_in_their_order():
    high, kind, two = list_tasks(complete_tasks(TASKS))
    # Outputs: 2 targets, 3 classes, 2 targets. Label columns: 2 targets, 1 class index, 2 targets.
    assert [(task.logits, task.labels) for task in (high, kind, two)] == [
        (slice(0, 2), slice(0, 2)),
        (slice(2, 5), slice(2, 3)),
        (slice(5, 7), slice(3, 5)),
    ]
    assert (high.name, high.kind, high.outputs, high.loss, high.weight) == (
        "high",
        "regression",
        ("Awe", "Fear"),
        "ccc",
        2.0,
    )
    assert (kind.loss, kind.class_weights, high.class_weights) == ("cross_entropy", (1.0, 2.0, 3.0), None)
    assert two.loss == "mse"


def test_outputs_are_named_by_their_task_when_there_are_several():
    assert output_names(TASKS) == [
        "high/Awe",
        "high/Fear",
        "type/Cry",
        "type/Gasp",
        "type/Laugh",
        "two/Valence",
        "two/Arousal",
    ]
    assert output_names(TASKS[:1]) == ["Awe", "Fear"]


def test_a_config_without_tasks_has_one_classification_of_its_labels():
    config = NvvConfig(id2label={0: "laugh", 1: "sigh"}, class_weights=[1.0, 2.0], loss="focal")
    (task,) = config.task_list
    assert (task.name, task.kind, task.outputs, task.loss) == ("label", "classification", ("laugh", "sigh"), "focal")
    assert (task.logits, task.labels, task.class_weights) == (slice(0, 2), slice(0, 1), (1.0, 2.0))
    assert config.num_label_columns == 1
    assert config.is_classification


@pytest.mark.parametrize(
    ("tasks", "labels", "problem_type", "num_label_columns", "is_classification"),
    [
        (TASKS, output_names(TASKS), "regression", 5, False),
        (TASKS[:1], ["Awe", "Fear"], "regression", 2, False),
        (TASKS[1:2], ["Cry", "Gasp", "Laugh"], "single_label_classification", 1, True),
    ],
)
def test_labels_and_problem_type_follow_from_the_tasks(
    tmp_path, tasks, labels, problem_type, num_label_columns, is_classification
):
    NvvConfig(tasks=tasks).save_pretrained(tmp_path)
    for config in (NvvConfig(tasks=tasks), NvvConfig.from_pretrained(tmp_path)):
        assert config.id2label == dict(enumerate(labels))
        assert config.label2id == {name: index for index, name in enumerate(labels)}
        assert (config.num_labels, config.problem_type) == (len(labels), problem_type)
        assert (config.num_label_columns, config.is_classification) == (num_label_columns, is_classification)
        assert config.task_list == list_tasks(complete_tasks(tasks))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": "x"}, r"tasks\[0\] has unknown field 'target'; a task has name, kind, outputs, loss"),
        ({"kind": None}, r"tasks\[0\] \(high\): kind=None is not one of regression, classification"),
        ({"name": ""}, r"name='' has to be text without a slash"),
        ({"name": "a/b"}, r"name='a/b' has to be text without a slash"),
        ({"outputs": []}, r"outputs has to be a list of at least 1 names, found \[\]"),
        ({"outputs": "Awe"}, r"outputs has to be a list of at least 1 names, found 'Awe'"),
        ({"outputs": ["Awe", "Awe"]}, r"outputs=\['Awe', 'Awe'\] holds a name twice"),
        ({"outputs": ["Awe"], "kind": "classification"}, r"outputs has to be a list of at least 2 names"),
        ({"loss": "cross_entropy"}, r"loss='cross_entropy' does not go with a regression; choose ccc or mse"),
        ({"kind": "classification", "loss": "ccc"}, r"choose cross_entropy or focal"),
        ({"weight": 0}, r"weight=0 has to be a number above 0"),
        ({"weight": float("nan")}, r"weight=nan has to be a number above 0"),
        ({"class_weights": [1.0, 2.0]}, r"class_weights go with a classification"),
        ({"kind": "classification", "class_weights": [1.0]}, r"class_weights has 1 values for 2 labels"),
        ({"kind": "classification", "class_weights": [1.0, -1.0]}, r"class_weights must be positive, found -1.0"),
    ],
)
def test_a_task_that_contradicts_itself_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        complete_tasks([{**TASKS[0], **changes}])


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([], r"expected a list of at least one task, found \[\]"),
        ({"high": TASKS[0]}, r"expected a list of at least one task"),
        ([["high"]], r"tasks\[0\]: expected a dict with name, kind and outputs, found \['high'\]"),
        ([{"name": "high", "kind": "regression"}], r"tasks\[0\] has no 'outputs'"),
        ([TASKS[0], TASKS[0]], r"two are named 'high'"),
    ],
)
def test_lists_of_tasks_that_are_none_are_refused(tasks, message):
    with pytest.raises(ValueError, match=message):
        complete_tasks(tasks)
