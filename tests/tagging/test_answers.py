"""Columns of a model's answers."""

from types import SimpleNamespace

import datasets
import numpy as np
import pyarrow as pa
import pytest

from nvv.audio import AudioError
from nvv.data import CorpusError
from nvv.inference.readings import OutputGroup
from nvv.tagging.answers import AnswerColumns


def columns_of(*groups, column="nvv"):
    return AnswerColumns(column=column, groups=groups)


CLASSES = OutputGroup(name=None, kind="classes", labels=("laugh", "sigh"), columns=slice(0, 2))


def values(columns, answers):
    """Column name to values, through a table of the stated kinds."""
    schema = datasets.Features(columns.features()).arrow_schema
    names = [f"{at}.wav" for at in range(len(answers))]
    return pa.table(columns.arrays(answers, names), schema=schema).to_pydict()


def test_answer_columns_hold_label_score_and_scores_when_classes_exclude_each_other():
    # softmax of (ln 3, 0) is (3/4, 1/4)
    answers = [np.array([np.log(3), 0], np.float32), np.array([0, np.log(3)], np.float32)]
    found = values(columns_of(CLASSES), answers)
    assert list(found) == ["nvv_label", "nvv_score", "nvv_scores", "nvv_error"]
    assert found["nvv_label"] == ["laugh", "sigh"]
    assert found["nvv_score"] == pytest.approx([0.75, 0.75])
    assert found["nvv_scores"][0] == pytest.approx({"laugh": 0.75, "sigh": 0.25})
    assert found["nvv_error"] == [None, None]


def test_answer_columns_are_null_with_the_reason_when_a_recording_has_no_answer():
    answers = [AudioError("0.wav: cut off."), np.zeros(2, np.float32)]
    found = values(columns_of(CLASSES), answers)
    assert found["nvv_label"][0] is None
    assert found["nvv_score"] == [None, pytest.approx(0.5)]
    assert found["nvv_scores"][0] is None
    assert found["nvv_error"] == ["cut off.", None]


def test_answer_columns_hold_a_score_for_each_label_by_itself_when_it_is_yes_or_no():
    group = OutputGroup(name=None, kind="yes_no", labels=("laugh", "sigh"), columns=slice(0, 2))
    found = values(columns_of(group), [np.array([np.log(3), np.log(3)], np.float32)])
    assert found["nvv_scores"][0] == pytest.approx({"laugh": 0.75, "sigh": 0.75})  # sigmoid of ln 3


def test_answer_columns_hold_numbers_as_they_are_when_the_model_predicts_numbers():
    group = OutputGroup(name="targets", kind="numbers", labels=("arousal", "valence"), columns=slice(0, 2))
    found = values(columns_of(group, column="affect"), [np.array([0.25, -2], np.float32)])
    assert found == {"affect_numbers": [{"arousal": 0.25, "valence": -2}], "affect_error": [None]}


def test_answer_columns_are_named_by_task_when_there_are_several():
    kind = OutputGroup(name="kind", kind="classes", labels=("laugh", "sigh"), columns=slice(0, 2))
    mood = OutputGroup(name="mood", kind="numbers", labels=("valence",), columns=slice(2, 3))
    columns = columns_of(kind, mood)
    found = values(columns, [np.array([5, 0, 7], np.float32)])
    assert list(found) == ["nvv_kind_label", "nvv_kind_score", "nvv_kind_scores", "nvv_mood_numbers", "nvv_error"]
    assert found["nvv_kind_label"] == ["laugh"]
    assert found["nvv_mood_numbers"] == [{"valence": 7}]
    assert list(columns.notes()) == list(columns.features())


def test_answer_columns_come_last_when_they_are_appended():
    features = datasets.Features({"audio": datasets.Audio(), "label": datasets.ClassLabel(names=["a"])})
    appended = columns_of(CLASSES).appended_to(features, name="d")
    assert list(appended) == ["audio", "label", "nvv_label", "nvv_score", "nvv_scores", "nvv_error"]
    assert appended["label"] == features["label"]


def test_answer_columns_are_refused_when_the_dataset_has_one_of_that_name():
    features = datasets.Features({"nvv_score": datasets.Value("string")})
    with pytest.raises(CorpusError, match="'nvv_score'; choose another beginning with --column"):
        columns_of(CLASSES).appended_to(features, name="d")


def test_answer_columns_are_refused_when_they_could_not_be_named(monkeypatch):
    with pytest.raises(CorpusError, match="found 'a b'"):
        AnswerColumns.of(SimpleNamespace(), "a b")
    config = SimpleNamespace(tasks=None)
    classifier = SimpleNamespace(
        model=SimpleNamespace(config=config), label_names=["laugh", "laugh"], is_multi_label=False
    )
    with pytest.raises(CorpusError, match="'laugh'"):
        AnswerColumns.of(classifier, "nvv")
