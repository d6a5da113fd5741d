from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from audmetric import concordance_cc
from sklearn.metrics import f1_score, recall_score

from nvv.inference import ReportFacts, write_groups
from nvv.inference.group_columns import GroupColumn
from nvv.inference.group_report import group_report
from nvv.inference.group_tables import group_frame, group_markdown
from nvv.inference.open_answers import scores_without_last_class
from nvv.inference.resampled_scores import AnsweredTask
from nvv.metrics import confusion_matrix

LABELS = ("laugh", "sigh", "cough")
FACTS = ReportFacts(model="runs/tiny", corpus="Tones", protocol="speaker", is_random=True)
NUM = 120


@pytest.fixture
def sex():
    """Forty women, seventy men, and ten clips of whom it is not known."""
    groups = ["female"] * 40 + ["male"] * 70 + [None] * 10
    return GroupColumn(name="sex", groups={"test": groups}, order=["female", "male"])


@pytest.fixture
def classes():
    """Answers that are right more often for women."""
    generator = np.random.default_rng(8)
    true = generator.integers(0, 3, NUM)
    is_right = generator.random(NUM) < np.where(np.arange(NUM) < 40, 0.9, 0.4)
    return AnsweredTask(
        task="label",
        kind="classification",
        outputs=LABELS,
        references=true,
        predictions=np.where(is_right, true, (true + 1) % 3),
    )


@pytest.fixture
def numbers():
    """Numbers that are answered too high for men, by a half; of fear nothing is known for the first 20 clips."""
    generator = np.random.default_rng(9)
    true = generator.normal(size=(NUM, 2))
    predicted = true + 0.3 * generator.normal(size=(NUM, 2)) + np.where(np.arange(NUM) < 40, 0.0, 0.5)[:, None]
    true[:20, 1] = np.nan
    return AnsweredTask(
        task="feelings", kind="regression", outputs=("calm", "fear"), references=true, predictions=predicted
    )


def _report(answers, *columns, **options):
    return group_report([answers], columns, split="test", **{"num_resamples": 200, **options})


def test_scores_of_groups_are_those_of_their_clips(classes, sex):
    (one,) = _report(classes, sex)
    for group, clips in (("female", slice(0, 40)), ("male", slice(40, 110))):
        found = one.report["groups"][group]
        true, predicted = classes.references[clips], classes.predictions[clips]
        assert found["scores"]["macro_f1"]["value"] == pytest.approx(f1_score(true, predicted, average="macro"))
        assert found["scores"]["uar"]["value"] == pytest.approx(recall_score(true, predicted, average="macro"))
    gap = one.report["gaps"]["macro_f1"]
    assert gap["between"] == ("female", "male")
    assert gap["low"] > 0
    assert (one.report["num_without_group"], one.small, one.gaps_are_small) == (10, {}, False)


def test_numbers_are_scored_with_their_mean_shift(numbers, sex):
    (one,) = _report(numbers, sex)
    true, predicted = numbers.references[40:110], numbers.predictions[40:110]
    found = one.report["groups"]["male"]
    assert found["per_target"][0]["ccc"]["value"] == pytest.approx(concordance_cc(true[:, 0], predicted[:, 0]))
    assert found["scores"]["mean_shift"]["value"] == pytest.approx((predicted - true).mean())
    assert one.overall["mean_shift"] == pytest.approx(
        np.mean([np.nanmean(numbers.predictions[:, at] - numbers.references[:, at]) for at in (0, 1)])
    )
    assert one.report["gaps"]["mean_shift"]["between"] == ("male", "female")
    assert one.score_names[:2] == ("ccc", "mean_shift")


def test_small_groups_are_said_to_be_small_and_make_no_gaps(classes):
    groups = ["few"] * 29 + ["many"] * 45 + ["more"] * 46
    column = GroupColumn(name="room", groups={"test": groups}, order=["few", "many", "more"])
    speakers = [f"S{at % 10}" if at >= 29 else f"F{at % 4}" for at in range(NUM)]
    (one,) = _report(classes, column, speaker_ids=speakers)
    assert one.small == {"few": "fewer than 30 clips and fewer than 5 speakers"}
    assert set(one.report["gaps"]["macro_f1"]["between"]) == {"many", "more"}
    text = group_markdown({"test": [one]}, facts=FACTS)
    assert "| few | 29 | 4 |" in text
    (row,) = [line for line in text.splitlines() if line.startswith("| few |")]
    assert row.endswith("fewer than 30 clips and fewer than 5 speakers |")
    assert "**" not in row
    assert "Groups with a note take no part" in text
    two = GroupColumn(name="room", groups={"test": ["few"] * 29 + ["many"] * 91}, order=["few", "many"])
    (other,) = _report(classes, two)
    assert other.gaps_are_small
    assert "Small groups are among them" in group_markdown({"test": [other]}, facts=FACTS)


def test_answers_that_are_no_class_are_not_averaged_over(classes, sex):
    predicted = np.where(np.arange(NUM) % 5 == 0, 3, classes.predictions)
    fields = {"task": "label", "kind": "classification", "outputs": LABELS, "references": classes.references}
    (one,) = _report(AnsweredTask(predictions=predicted, has_other=True, **fields), sex)
    confusion = confusion_matrix(classes.references[:40], predicted[:40], num_labels=4)
    found = one.report["groups"]["female"]["scores"]["macro_f1"]["value"]
    assert found == pytest.approx(float(scores_without_last_class(confusion)["macro_f1"]))
    assert found == pytest.approx(f1_score(classes.references[:40], predicted[:40], labels=[0, 1, 2], average="macro"))


def test_clips_without_reference_count_nowhere(classes, sex):
    missing = classes.references.copy()
    missing[:15] = -1
    fields = {"task": "label", "kind": "classification", "outputs": LABELS, "predictions": classes.predictions}
    (one,) = _report(AnsweredTask(references=missing, **fields), sex)
    assert one.report["groups"]["female"]["num_clips"] == 25
    assert list(one.small) == ["female"]


def test_files_hold_every_group_and_score(classes, numbers, sex, tmp_path):
    reports = {"validation": _report(classes, sex), "test": group_report([classes, numbers], [sex], split="test")}
    files = write_groups(tmp_path / "report", reports, facts=FACTS)
    assert {file.name for file in files} == {path.name for path in (tmp_path / "report").iterdir()}
    assert {"groups.png", "groups_validation.png"} < {file.name for file in files}
    table = pd.read_csv(tmp_path / "report" / "groups.csv")
    read, written = (frame.drop(columns="note") for frame in (table, group_frame(reports)))
    pd.testing.assert_frame_equal(read, written, check_dtype=False)
    row = table.query("split == 'test' and group == 'male' and score == 'ccc' and target == 'fear'")
    assert len(row) == 1
    text = (tmp_path / "report" / "groups.md").read_text(encoding="utf-8")
    assert "> The model's encoder has random weights: these scores are no result." in text
    assert "### By sex: feelings" in text
    assert "10 clips without sex are left out." in text
    female, male = (
        next(line for line in text.splitlines() if line.startswith(f"| {name} |")) for name in ("female", "male")
    )
    assert female.count("**") == male.count("**") == 2  # the differences are clear
    content = json.loads((tmp_path / "report" / "groups.json").read_text(encoding="utf-8"))
    assert content["splits"]["test"][1]["gaps"]["mean_shift"]["between"] == ["male", "female"]


def test_of_many_groups_the_lowest_and_highest_are_shown(classes, tmp_path):
    speakers = [f"S{at % 40:02d}" for at in range(NUM)]
    column = GroupColumn(name="speaker", groups={"test": speakers}, order=sorted(set(speakers)))
    (one,) = _report(classes, column, speaker_ids=speakers)
    assert one.report["resampled"] == "clip"  # each group is one speaker
    assert set(one.small.values()) == {"fewer than 30 clips"}
    text = group_markdown({"test": [one]}, facts=FACTS)
    assert "Of 40 groups the 24 lowest and highest are shown" in text
    shown = [line.split(" | ")[0][2:] for line in text.splitlines() if line.startswith("| S")]
    values = {group: one.report["groups"][group]["scores"]["macro_f1"]["value"] for group in one.order}
    assert len(shown) == 24
    assert max(values[group] for group in shown[:12]) <= min(values[group] for group in shown[12:])
    assert {values[group] for group in shown} >= {min(values.values()), max(values.values())}
    assert len(group_frame({"test": [one]})["group"].unique()) == 40
    assert write_groups(tmp_path, {"test": [one]}, facts=FACTS)[-1].stat().st_size > 10_000
