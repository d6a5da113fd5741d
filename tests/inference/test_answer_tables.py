from __future__ import annotations

import io
import json

import numpy as np
import pandas
import pytest

from nvv.inference.answer_tables import (
    FORMATS,
    Detection,
    FileAnswer,
    GroupAnswer,
    answer_format,
    read_answer,
)
from nvv.inference.readings import OutputGroup

CLASSES = OutputGroup(name=None, kind="classes", labels=("laugh", "sigh", "cough", "cry"), columns=slice(0, 4))
YES_NO = OutputGroup(name=None, kind="yes_no", labels=("laugh", "sigh", "cough", "cry"), columns=slice(0, 4))
TASKS = (
    OutputGroup(name="type", kind="classes", labels=("laugh", "sigh"), columns=slice(0, 2)),
    OutputGroup(name="feeling", kind="numbers", labels=("valence", "arousal"), columns=slice(2, 4)),
)
SCORES = np.array([0.2, 0.5, 0.25, 0.05])


def values(group, scores=SCORES, **options):
    (answer,) = read_answer([group], scores, **options)
    return answer.values


def test_labels_come_by_falling_score_three_by_default():
    assert values(CLASSES) == (("sigh", 0.5), ("cough", 0.25), ("laugh", 0.2))
    assert values(CLASSES, top_k=1) == (("sigh", 0.5),)
    assert len(values(CLASSES, top_k=0)) == len(values(CLASSES, top_k=9)) == 4


def test_labels_of_yes_are_shown_unless_a_number_is_asked_for():
    scores = np.array([0.5, 0.9, 0.4999, 0.7])
    assert values(YES_NO, scores) == (("sigh", 0.9), ("cry", 0.7), ("laugh", 0.5))
    assert values(YES_NO, scores / 2) == ()
    assert values(YES_NO, scores / 2, top_k=2) == (("sigh", 0.45), ("cry", 0.35))


def test_tasks_answer_each_for_itself_and_numbers_keep_their_order():
    kind, feeling = read_answer(TASKS, np.array([0.3, 0.7, -1.5, 123456.789]), top_k=1)
    assert kind == GroupAnswer(name="type", kind="classes", values=(("sigh", 0.7),))
    assert feeling == GroupAnswer(name="feeling", kind="numbers", values=(("valence", -1.5), ("arousal", 123457.0)))


def test_small_scores_keep_their_digits():
    assert values(CLASSES, np.array([0.123456789e-5, 0.9, 0, 0]))[1] == ("laugh", 1.23457e-06)


# ----------------------------------------------------------------------------------------------------------------------


def answer(file, scores=SCORES, groups=(CLASSES,), **fields):
    return FileAnswer(file=file, groups=read_answer(groups, np.asarray(scores), top_k=0), **fields)


def text(form, answers, groups=(CLASSES,), **options):
    shape = answer_format(form, groups, **options)
    return shape.header + "".join(shape.text(one) for one in answers)


def as_frame(content):
    return pandas.read_csv(io.StringIO(content))


def test_json_lines_hold_one_object_a_recording():
    content = text("jsonl", [answer("ü\n.wav"), FileAnswer(file="b.wav", error="cut off.")])
    assert "ü" in content
    first, second = [json.loads(line) for line in content.splitlines()]
    assert first == {
        "file": "ü\n.wav",
        "labels": [
            {"label": "sigh", "score": 0.5},
            {"label": "cough", "score": 0.25},
            {"label": "laugh", "score": 0.2},
            {"label": "cry", "score": 0.05},
        ],
    }
    assert second == {"file": "b.wav", "error": "cut off."}


def test_json_of_tasks_and_of_numbers():
    several = json.loads(text("jsonl", [answer("a", [0.3, 0.7, 1, 2], TASKS)], TASKS))
    assert several["tasks"] == {
        "type": {"labels": [{"label": "sigh", "score": 0.7}, {"label": "laugh", "score": 0.3}]},
        "feeling": {"numbers": {"valence": 1.0, "arousal": 2.0}},
    }
    only = OutputGroup(name="feeling", kind="numbers", labels=("valence",), columns=slice(0, 1))
    assert json.loads(text("jsonl", [answer("a", [3.5], [only])], [only])) == {"file": "a", "numbers": {"valence": 3.5}}


FOUND = Detection(label="laugh", score=0.2, threshold=0.15, detected=True)


def test_json_says_what_was_detected():
    found = json.loads(text("jsonl", [answer("a", detection=FOUND)], detects=True))
    assert found["detected"] is True
    assert found["detection"] == {"label": "laugh", "score": 0.2, "threshold": 0.15}


def test_csv_has_a_row_for_each_label_which_pandas_pivots():
    names = ['with, comma "and" quotes.wav', "b.wav"]
    content = text("csv", [answer(names[0]), answer(names[1], SCORES[::-1]), FileAnswer(file="c", error="cut off.")])
    frame = as_frame(content)
    assert list(frame.columns) == ["file", "rank", "label", "score", "error"]
    wide = frame.pivot(index="file", columns="label", values="score")
    assert wide.loc[names[0], list(CLASSES.labels)].tolist() == SCORES.tolist()
    assert wide.loc[names[1], list(CLASSES.labels)].tolist() == SCORES[::-1].tolist()
    assert frame[frame["rank"] == 1]["label"].tolist() == ["sigh", "cough"]
    assert frame[frame["file"] == "c"]["error"].tolist() == ["cut off."]
    assert "\r" not in content


def test_csv_names_the_task_where_there_are_some():
    frame = as_frame(text("csv", [answer("a", [0.3, 0.7, 1, 2], TASKS), FileAnswer(file="b", error="x")], TASKS))
    assert list(frame.columns) == ["file", "task", "rank", "label", "score", "error"]
    assert frame["task"].tolist()[:4] == ["type", "type", "feeling", "feeling"]
    assert frame["rank"].tolist()[:2] == [1, 2]
    assert frame["rank"].isna().tolist() == [False, False, True, True, True]
    assert frame["score"].tolist()[:4] == [0.7, 0.3, 1, 2]


def test_csv_says_what_was_detected_and_keeps_recordings_without_a_label():
    empty = FileAnswer(file="a", groups=read_answer([YES_NO], SCORES / 2), detection=FOUND)
    frame = as_frame(text("csv", [empty], [YES_NO], detects=True))
    assert list(frame.columns) == ["file", "rank", "label", "score", "detected", "error"]
    assert frame["file"].tolist() == ["a"]
    assert frame["detected"].tolist() == [True]
    assert frame["label"].isna().all()


def test_table_has_a_line_a_recording_aligned_where_names_are_known():
    answers = [
        FileAnswer(file="a.wav", groups=read_answer([CLASSES], SCORES, top_k=2)),
        FileAnswer(file="longer.wav", error="cut off."),
    ]
    assert text("table", answers, files=["a.wav", "longer.wav"]) == (
        "a.wav       sigh  0.500  cough 0.250\nlonger.wav  error\n"
    )
    assert text("table", answers).startswith("a.wav  sigh  0.500")


def test_table_of_tasks_and_detections():
    both = text("table", [answer("a", [0.3, 0.7, -1.5, 123.456], TASKS)], TASKS)
    assert both == "a  type: sigh    0.700  laugh   0.300 | feeling: valence -1.5  arousal 123.5\n"
    assert text("table", [answer("a", detection=FOUND)]).endswith(" | laugh: yes (0.200 at 0.150)\n")
    none = FileAnswer(file="a", groups=read_answer([YES_NO], SCORES / 2))
    assert text("table", [none], [YES_NO]) == "a  none\n"


def test_table_keeps_to_one_line_whatever_a_file_is_called():
    assert text("table", [FileAnswer(file="a\nb\x1b[31m.wav", error="x")]) == "a?b?[31m.wav  error\n"


@pytest.mark.parametrize("form", FORMATS)
def test_every_text_ends_its_line(form):
    for one in (answer("a"), FileAnswer(file="b", error="x")):
        assert answer_format(form, (CLASSES,)).text(one).endswith("\n")
