from __future__ import annotations

import datasets
import pytest

from nvv.inference.group_columns import group_columns, metadata_columns
from nvv.training.arguments import ArgumentsError

AGES = [3, 17, 18, 29, 30, None, 44, 45, 59, 60, 88, 25]


@pytest.fixture
def clips():
    """Twelve clips in two splits."""

    def make(**columns):
        whole = datasets.Dataset.from_dict({"file": [f"{at}.wav" for at in range(12)], "label": [0] * 12, **columns})
        return {"validation": whole.select(range(6)), "test": whole.select(range(6, 12))}

    return make


def _groups(name, splits):
    return group_columns([name], splits)[0]


@pytest.mark.parametrize("as_text", [False, True])
def test_ages_come_into_the_usual_bands(clips, as_text):
    ages = [None if age is None else str(age) for age in AGES] if as_text else AGES
    column = _groups("age_band", clips(age=ages))
    assert column.groups["validation"] == ["0–17", "0–17", "18–29", "18–29", "30–44", None]
    assert column.groups["test"] == ["30–44", "45–59", "45–59", "60+", "60+", "18–29"]
    assert column.order == ["0–17", "18–29", "30–44", "45–59", "60+"]


def test_other_numbers_come_into_quarters_of_all_clips(clips):
    column = _groups("pitch_band", clips(pitch=[100.0 + 10 * at for at in range(12)]))
    assert column.order == ["100 to 120", "130 to 150", "160 to 180", "190 to 210"]
    assert column.groups["validation"] == ["100 to 120"] * 3 + ["130 to 150"] * 3


def test_equal_numbers_are_never_put_apart(clips):
    column = _groups("takes_band", clips(takes=[1] * 7 + [2, 2, 2, 3, 9]))
    assert column.order == ["1", "2 to 9"]  # the first three quarters begin with 1, the last one with 2


def test_words_and_classes_are_groups_and_missing_ones_are_none(clips):
    splits = clips(sex=["f", "m", "", None] * 3)
    assert _groups("sex", splits).groups["validation"] == ["f", "m", None, None, "f", "m"]
    feature = datasets.ClassLabel(names=["quiet", "noisy", "unused"])
    splits = {name: split.cast_column("noise", feature) for name, split in clips(noise=[1, 0] * 6).items()}
    column = _groups("noise", splits)
    assert column.order == ["quiet", "noisy"]
    assert column.groups["test"][0] == "noisy"


def test_few_whole_numbers_are_groups_in_their_order(clips):
    column = _groups("trial", clips(trial=[10, 9, 2] * 4))
    assert column.order == ["2", "9", "10"]


def test_speaker_stands_for_speaker_id(clips):
    assert _groups("speaker", clips(speaker_id=["b", "a"] * 6)).order == ["a", "b"]


def test_band_that_is_a_column_is_taken_as_it_is(clips):
    assert _groups("age_band", clips(age=list(range(12)), age_band=["young", "old"] * 6)).order == ["old", "young"]


def test_columns_that_make_no_groups_are_refused(clips):
    splits = clips(sex=["f"] * 12, age=AGES, name=["x", "y"] * 6, weight=[50 + 0.5 * at for at in range(12)])
    for name, message in (
        ("sx", r"no column 'sx'; there are sex, age, name, weight, age_band, weight_band\. Did you mean 'sex'"),
        ("sex", "'sex' has no effect: expected clips of two groups or more, found that all are 'f'"),
        ("label", "'label' makes no groups"),
        ("file", "'file' makes no groups"),
        ("name_band", "'name_band' needs numbers in the column 'name'"),
    ):
        with pytest.raises(ArgumentsError, match=f"by: .*{message}" if "no column" in message else message):
            group_columns([name], splits)
    many = clips(pitch=[float(at) for at in range(12)])
    joined = {
        "test": datasets.Dataset.from_dict({"pitch": [at / 7 for at in range(40)]}),
    }
    assert len(group_columns(["pitch"], many)[0].order) == 12
    with pytest.raises(ArgumentsError, match="'pitch' holds more than 20 numbers; name 'pitch_band' for bands"):
        group_columns(["pitch"], joined)
    with pytest.raises(ArgumentsError, match="needs ages in years"):
        group_columns(["age_band"], clips(age=[-1, *AGES[1:]]))


def test_columns_to_read_are_those_behind_the_bands():
    assert metadata_columns(["sex", "age_band", "speaker", "age"]) == ["sex", "age"]
