import csv

import numpy as np
import pytest
from scipy.special import softmax

from nvv.training.predictions import (
    ResultsError,
    SplitPredictions,
    can_draw_speakers,
    read_predictions,
    write_predictions,
)

LABELS = ["cough", "laugh, nervous", "sigh"]


@pytest.fixture
def splits():
    generator = np.random.default_rng(0)
    return [
        SplitPredictions.from_logits(
            split,
            generator.normal(size=(size, 3)) * 30,  # some probabilities as small as 1e-40
            files=[f"{split}/clip, {index}.wav" for index in range(size)],
            references=generator.integers(0, 3, size),
            speaker_ids=[f"Ä{index % 2}" for index in range(size)] if split == "validation" else None,
        )
        for split, size in (("validation", 5), ("test", 7))
    ]


def test_predictions_read_back_equal_when_written(splits, tmp_path):
    path = write_predictions(tmp_path / "predictions.csv", splits, label_names=LABELS)
    again, label_names = read_predictions(path)
    assert label_names == LABELS
    assert [item.split for item in again] == ["validation", "test"]
    for read, written in zip(again, splits, strict=True):
        np.testing.assert_array_equal(read.probabilities, written.probabilities)
        np.testing.assert_array_equal(read.references, written.references)
        assert read.files == written.files
        assert read.speaker_ids == written.speaker_ids
    assert list(tmp_path.iterdir()) == [path]


def test_csv_rows_hold_label_names_when_read_by_another_program(splits, tmp_path):
    path = write_predictions(tmp_path / "predictions.csv", splits, label_names=LABELS)
    with path.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 12
    assert list(rows[0]) == [
        "split",
        "file",
        "speaker_id",
        "label",
        "predicted",
        "probability_cough",
        "probability_laugh, nervous",
        "probability_sigh",
    ]
    assert rows[0]["label"] == LABELS[splits[0].references[0]]
    assert rows[0]["predicted"] == max(LABELS, key=lambda name: float(rows[0][f"probability_{name}"]))
    assert rows[5]["speaker_id"] == ""


def test_probabilities_equal_scipy_softmax_when_logits_are_large():
    logits = np.array([[1000.0, 999.0, -1000.0]])
    made = SplitPredictions.from_logits("test", logits, files=["a"], references=[0])
    np.testing.assert_allclose(made.probabilities, softmax(logits, axis=1), rtol=1e-6)


def test_old_file_stays_when_writing_fails(splits, tmp_path):
    path = tmp_path / "predictions.csv"
    path.write_text("old")
    with pytest.raises(ResultsError, match="validation: 3 probability columns, but 2 label names"):
        write_predictions(path, splits, label_names=LABELS[:2])
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"files": ["a"]}, "test: 2 probability rows, but 1 files"),
        ({"speaker_ids": ["S"]}, "test: 2 probability rows, but 1 speaker_ids"),
        ({"references": [0, 2]}, "expected references that are integers from 0 to 1, found int64 from 0 to 2"),
        ({"references": [0.0, 1.0]}, "expected references that are integers"),
        ({"probabilities": [[np.nan, np.nan], [0.5, 0.5]]}, "1 clips, the first 'a', are not finite"),
        ({"probabilities": [[0.5, 0.5], [3.0, 1.0]]}, r"1 clips, the first 'b', .* \[3.0, 1.0\]"),
        ({"probabilities": [0.5, 0.5]}, r"found shape \(2,\)"),
    ],
)
def test_predictions_name_the_fault_when_they_do_not_fit(changes, message):
    fields = {
        "split": "test",
        "files": ["a", "b"],
        "references": [0, 1],
        "probabilities": [[0.5, 0.5], [0.1, 0.9]],
    }
    with pytest.raises(ResultsError, match=message):
        SplitPredictions(**{**fields, **changes})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found none"),
        ("file,label\n", "expected the columns split, file, speaker_id, label, predicted"),
        ("split,file,speaker_id,label,predicted,probability_a\ntest,f,s,b,a,1\n", "line 2: cannot read"),
        ("split,file,speaker_id,label,predicted,probability_a\ntest,f,s\n", "line 2: cannot read"),
    ],
)
def test_reading_names_file_and_line_when_the_table_is_another(tmp_path, text, message):
    path = tmp_path / "predictions.csv"
    path.write_text(text)
    with pytest.raises(ResultsError, match=message) as caught:
        read_predictions(path)
    assert "predictions.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("speakers", "expected"),
    [(["A", "B", "A"], True), (None, False), (["A", "", "B"], False), (["A", "A"], False), ([], False)],
)
def test_speakers_can_be_drawn_when_all_are_known_and_there_are_two(speakers, expected):
    assert can_draw_speakers(speakers) is expected
