import csv
import io
import json
import math

import numpy as np
import pytest
from PIL import Image

from nvv.segmentation.envelope import WaveformEnvelope
from nvv.segmentation.events import Event
from nvv.segmentation.formats import (
    FORMATS,
    FormatError,
    TextGridError,
    events_csv,
    read_events,
    to_audacity,
    to_csv,
    to_json,
    to_rttm,
    to_textgrid,
    write_events,
)
from nvv.segmentation.segment import Segmentation
from nvv.segmentation.settings import SegmentationSettings

AWKWARD = 'a "loud" laugh, 100 %20'
EVENTS = (
    Event(start_s=0.0, end_s=0.1 + 0.2, label="laugh", score=0.9),
    Event(start_s=1 / 3, end_s=2 / 3, label=AWKWARD, score=0.123456789),
    Event(start_s=1 / 3, end_s=1.0000625, label="sigh", score=1.0),
    Event(start_s=3599.999937, end_s=3600.5, label="laugh", score=0.5),
)


@pytest.fixture
def segmentation():
    """An hour and half a second with four events, one label hard to write, and a name with a blank and a letter ü."""
    return Segmentation(
        file="Gespräch Übung 1.wav",
        duration_s=3600.5,
        events=EVENTS,
        labels=("laugh", "sigh", AWKWARD, "cough"),
        window_starts_s=np.array([-0.5, -0.25, 0.0]),
        window_s=1.0,
        hop_s=0.25,
        scores=np.array([[0.9, 0.1, 0, 0], [0.8, 0.2, 0, 0], [np.nan] * 4], dtype=np.float32),
        thresholds={"laugh": 0.5, "sigh": 0.6, AWKWARD: 0.5, "cough": 0.5},
        model="runs/laughter",
        model_is_trained=False,
        settings=SegmentationSettings(window_seconds=1.0),
    )


def rounded(events, *, with_scores):
    """Events as a file of microseconds holds them."""
    return [
        (round(one.start_s, 6), round(one.end_s, 6), one.label, round(one.score, 6) if with_scores else None)
        for one in sorted(events)
    ]


def as_read(events):
    return [(one.start_s, one.end_s, one.label, None if math.isnan(one.score) else one.score) for one in events]


@pytest.mark.parametrize(
    ("kind", "names_the_recording", "with_scores"),
    [("json", True, True), ("csv", True, True), ("rttm", True, True), ("audacity", False, False)],
)
def test_events_come_back_when_a_file_is_read(kind, names_the_recording, with_scores, segmentation, tmp_path):
    (path,) = write_events(segmentation, tmp_path / "new", "my.talk", [kind])
    ((file, events),) = read_events(path).items()
    assert path == tmp_path / "new" / f"my.talk{FORMATS[kind]}"
    assert file == (segmentation.file if names_the_recording else "my.talk")
    assert as_read(events) == rounded(EVENTS, with_scores=with_scores)


def test_times_of_a_text_grid_come_back_exactly(segmentation, tmp_path):
    (path,) = write_events(segmentation, tmp_path, "talk", ["textgrid"])
    events = read_events(path)["talk"]
    assert [(one.start_s, one.end_s, one.label) for one in events] == [
        (one.start_s, one.end_s, one.label) for one in sorted(EVENTS)
    ]


def test_every_format_is_written_whole_and_nothing_else_stays_behind(segmentation, tmp_path):
    envelope = WaveformEnvelope()
    envelope.add(np.linspace(-1, 1, 16_000, dtype=np.float32))
    paths = write_events(segmentation, tmp_path, "talk", set(FORMATS), envelope=envelope)
    assert [path.name for path in paths] == [
        "talk.json",
        "talk.csv",
        "talk.txt",
        "talk.TextGrid",
        "talk.rttm",
        "talk.png",
    ]
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    assert Image.open(tmp_path / "talk.png").size[0] > 1000


def test_json_holds_everything_and_windows_where_asked(segmentation):
    document = json.loads(to_json(segmentation))
    assert document["duration_s"] == 3600.5
    assert document["model"] == "runs/laughter"
    assert document["model_is_trained"] is False
    assert document["thresholds"]["sigh"] == 0.6
    assert document["settings"]["window_seconds"] == 1.0
    assert document["events"][0] == {"start_s": 0.0, "end_s": 0.3, "label": "laugh", "score": 0.9}
    assert "scores" not in document

    whole = json.loads(to_json(segmentation, with_scores=True))
    assert whole["window_starts_s"] == [-0.5, -0.25, 0.0]
    assert whole["scores"] == [[0.9, 0.1, 0, 0], [0.8, 0.2, 0, 0], [None] * 4]
    assert {name: value for name, value in whole.items() if name not in ("scores", "window_starts_s")} == document


def test_csv_is_read_by_pythons_own_reader_and_may_lack_its_header(segmentation):
    rows = list(csv.DictReader(io.StringIO(to_csv(segmentation))))
    assert rows[1] == {
        "file": "Gespräch Übung 1.wav",
        "start_s": "0.333333",
        "end_s": "0.666667",
        "label": AWKWARD,
        "score": "0.123457",
    }
    assert to_csv(segmentation).split("\n", 1)[1] == to_csv(segmentation, header=False)


def test_table_of_several_recordings_leaves_unknown_scores_empty(tmp_path):
    events = {"a.wav": [Event(start_s=1.0, end_s=2.0, label="laugh")], "b,c.wav": list(EVENTS[:1])}
    (tmp_path / "both.csv").write_text(events_csv(events), encoding="utf-8")
    assert events_csv(events).splitlines()[1] == "a.wav,1.000000,2.000000,laugh,"
    read = read_events(tmp_path / "both.csv")
    assert list(read) == ["a.wav", "b,c.wav"]
    assert math.isnan(read["a.wav"][0].score)


def test_audacity_labels_are_lines_of_three_fields(segmentation):
    lines = to_audacity(segmentation).splitlines()
    assert lines[0] == "0.000000\t0.300000\tlaugh"
    assert lines[3] == "3599.999937\t3600.500000\tlaugh"
    assert {line.count("\t") for line in lines} == {2}


def test_label_of_several_lines_stays_in_its_line_of_an_audacity_track(segmentation):
    event = Event(start_s=1.0, end_s=2.0, label="one\n\ttwo", score=0.5)
    assert to_audacity(type(segmentation)(**{**vars(segmentation), "events": (event,)})) == (
        "1.000000\t2.000000\tone two\n"
    )


def test_rttm_has_nists_ten_fields_and_lengths_that_add_up(segmentation):
    lines = to_rttm(segmentation).splitlines()
    rows = [line.split(" ") for line in lines]
    assert {len(row) for row in rows} == {10}
    assert lines[0] == "SPEAKER Gespräch%20Übung%201.wav 1 0.000000 0.300000 <NA> <NA> laugh 0.900000 <NA>"
    assert rows[1][7] == 'a%20"loud"%20laugh,%20100%20%2520'
    # 0.333333 + 0.333334, not 0.333333: the rounded end is 0.666667.
    assert rows[1][3:5] == ["0.333333", "0.333334"]


def test_text_grid_has_a_tier_for_each_label(segmentation):
    assert to_textgrid(segmentation).count('class = "IntervalTier"') == 4


def test_times_do_not_drift_when_an_hour_is_full_of_events(segmentation, tmp_path):
    hop = 1.1  # which no binary number is
    events = tuple(Event(start_s=at * hop, end_s=at * hop + 0.05, label="laugh", score=0.5) for at in range(3_000))
    hour = type(segmentation)(**{**vars(segmentation), "events": events})
    for path in write_events(hour, tmp_path, "hour", ["csv", "audacity", "rttm", "textgrid", "json"]):
        (read,) = read_events(path).values()
        assert max(abs(ours.start_s - one.start_s) for ours, one in zip(read, events, strict=True)) <= 5.1e-7
        assert max(abs(ours.end_s - one.end_s) for ours, one in zip(read, events, strict=True)) <= 5.1e-7


@pytest.mark.parametrize(
    ("formats", "stem", "words"),
    [
        (["csv", "xml"], "talk", "expected some of json, csv.*found xml"),
        ([], "talk", "found none"),
        (["csv"], "../talk", "stem: expected a file's name"),
        (["csv"], "", "stem: expected a file's name"),
    ],
)
def test_nothing_is_written_when_a_format_or_name_is_wrong(formats, stem, words, segmentation, tmp_path):
    with pytest.raises(FormatError, match=words):
        write_events(segmentation, tmp_path, stem, formats)
    assert list(tmp_path.iterdir()) == []


def test_old_file_stays_when_events_cannot_be_written(segmentation, tmp_path):
    (tmp_path / "talk.TextGrid").write_text("old")
    overlapping = (*EVENTS, Event(start_s=0.2, end_s=0.5, label="laugh", score=0.5))
    with pytest.raises(TextGridError, match=r"laugh: the event at 0.2 s begins before"):
        write_events(
            type(segmentation)(**{**vars(segmentation), "events": overlapping}), tmp_path, "talk", ["textgrid"]
        )
    assert (tmp_path / "talk.TextGrid").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1
