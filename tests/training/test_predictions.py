import csv
import dataclasses

import numpy as np
import pytest
from scipy.special import softmax

from nvv.training.predictions import (
    RegressionPredictions,
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


def test_missing_references_are_empty_cells_and_read_back(splits, tmp_path):
    references = splits[1].references.copy()
    references[2] = -1
    item = dataclasses.replace(splits[1], references=references)
    path = write_predictions(tmp_path / "predictions.csv", [item], label_names=LABELS)
    with path.open(encoding="utf-8", newline="") as handle:
        labels = [row["label"] for row in csv.DictReader(handle)]
    assert labels[2] == ""
    assert "" not in labels[:2] + labels[3:]
    ((again,), _) = read_predictions(path)
    np.testing.assert_array_equal(again.references, references)


def test_ignored_labels_of_a_loss_are_missing_references():
    made = SplitPredictions.from_logits("test", np.zeros((3, 2)), files=list("abc"), references=[1, -100, 0])
    np.testing.assert_array_equal(made.references, [1, -1, 0])
    np.testing.assert_array_equal(made.has_reference, [True, False, True])


def test_scored_clips_are_those_with_a_reference():
    made = SplitPredictions(
        split="test",
        files=list("abc"),
        references=[-1, 1, -1],
        probabilities=[[0.5, 0.5], [0.2, 0.8], [1.0, 0.0]],
        speaker_ids=["S", "T", "U"],
    )
    scored = made.scored()
    assert (scored.files, scored.speaker_ids) == (["b"], ["T"])
    np.testing.assert_array_equal(scored.references, [1])
    np.testing.assert_array_equal(scored.probabilities, made.probabilities[1:2])
    assert dataclasses.replace(made, references=[-1, -1, -1]).scored() is None
    complete = dataclasses.replace(made, references=[0, 1, 0])
    assert complete.scored() is complete


@pytest.fixture
def numbers():
    """Answers with numbers: a target with a comma in its name, a missing value, a clip without any."""
    return [
        RegressionPredictions(
            split=split,
            files=[f"{split}/{index}.wav" for index in range(4)],
            references=[[0.1, 37.0], [np.nan, 1e-30], [np.nan, np.nan], [-0.0, 2 / 3]],
            predictions=np.random.default_rng(0).normal(size=(4, 2)) * [1, 1e20],
            target_names=["Awe, or wonder", "age"],
            speaker_ids=["A", "", "B", "B"] if split == "test" else None,
        )
        for split in ("validation", "test")
    ]


def test_numbers_read_back_equal_when_written(numbers, tmp_path):
    path = write_predictions(tmp_path / "predictions.csv", numbers)
    again, names = read_predictions(path)
    assert names == ["Awe, or wonder", "age"]
    for read, written in zip(again, numbers, strict=True):
        assert isinstance(read, RegressionPredictions)
        np.testing.assert_array_equal(read.references, written.references)
        np.testing.assert_array_equal(read.predictions, written.predictions)
        assert (read.split, read.files, read.speaker_ids) == (written.split, written.files, written.speaker_ids)
    with path.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert list(rows[0])[:3] == ["split", "file", "speaker_id"]
    assert list(rows[0])[3:5] == ["reference_Awe, or wonder", "reference_age"]
    assert list(rows[0])[5:] == ["prediction_Awe, or wonder", "prediction_age"]
    assert rows[0]["reference_Awe, or wonder"] == "0.1"
    assert rows[1]["reference_Awe, or wonder"] == ""
    np.testing.assert_array_equal(numbers[0].has_reference, [True, True, False, True])


def test_answers_of_another_kind_are_refused_when_written_together(numbers, splits, tmp_path):
    path = tmp_path / "predictions.csv"
    with pytest.raises(ResultsError, match="label_names: expected none for answers that are numbers, found cough"):
        write_predictions(path, numbers, label_names=LABELS)
    with pytest.raises(ResultsError, match="label_names: expected the class names, found none"):
        write_predictions(path, splits)
    with pytest.raises(ResultsError, match="test: expected the targets Awe, or wonder, age, found classes"):
        write_predictions(path, [numbers[0], splits[1]])
    with pytest.raises(ResultsError, match="test: expected the targets Awe, or wonder, age, found a, b"):
        write_predictions(path, [numbers[0], dataclasses.replace(numbers[1], target_names=["a", "b"])])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"files": ["a"]}, "test: 2 prediction rows, but 1 files"),
        ({"speaker_ids": ["S"]}, "test: 2 prediction rows, but 1 speaker_ids"),
        ({"references": [[0.5], [0.5]]}, r"expected references \(2, 2\), as the predictions, found \(2, 1\)"),
        ({"references": [[0.5, np.inf], [0.5, 0.5]]}, "the references of 1 clips, the first 'a', are not finite"),
        ({"predictions": [[0.5, 0.5], [np.nan, 0.5]]}, "the predictions of 1 clips, the first 'b', are not finite"),
        ({"predictions": [0.5, 0.5]}, r"found shape \(2,\)"),
        ({"target_names": ["x", "x"]}, "expected 2 different target names, found x, x"),
    ],
)
def test_numbers_name_the_fault_when_they_do_not_fit(changes, message):
    fields = {
        "split": "test",
        "files": ["a", "b"],
        "references": [[0.0, 1.0], [2.0, np.nan]],
        "predictions": [[0.0, 1.0], [2.0, 3.0]],
        "target_names": ["x", "y"],
    }
    with pytest.raises(ResultsError, match=message):
        RegressionPredictions(**{**fields, **changes})


@pytest.mark.parametrize(
    "text",
    [
        "split,file,speaker_id,reference_a,prediction_b\n",
        "split,file,speaker_id,reference_a,reference_b,prediction_a\n",
        "split,file,speaker_id\n",
        "split,file,speaker_id,label,reference_a,prediction_a\n",
    ],
)
def test_reading_numbers_refuses_other_columns(tmp_path, text):
    path = tmp_path / "predictions.csv"
    path.write_text(text)
    with pytest.raises(ResultsError, match="or split, file, speaker_id, reference_<target> and prediction_<target>"):
        read_predictions(path)


@pytest.mark.parametrize("row", ["test,f,s,0.5", "test,f,s,0.5,x", "test,f,s,0.5,0.5,0.5"])
def test_reading_numbers_names_the_line_of_a_broken_row(tmp_path, row):
    path = tmp_path / "predictions.csv"
    path.write_text(f"split,file,speaker_id,reference_a,prediction_a\ntest,f,s,,1\n{row}\n")
    with pytest.raises(ResultsError, match="line 3: cannot read"):
        read_predictions(path)


@pytest.mark.parametrize(
    ("speakers", "expected"),
    [(["A", "B", "A"], True), (None, False), (["A", "", "B"], False), (["A", "A"], False), ([], False)],
)
def test_speakers_can_be_drawn_when_all_are_known_and_there_are_two(speakers, expected):
    assert can_draw_speakers(speakers) is expected
