import math

import pytest

from nvv.segmentation.event_files import EventFileError, read_events


@pytest.fixture
def read(tmp_path):
    """Write a file and read its events as tuples, by recording."""

    def reader(name, content):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        found = read_events(tmp_path / name)
        return {
            file: [(one.start_s, one.end_s, one.label, None if math.isnan(one.score) else one.score) for one in events]
            for file, events in found.items()
        }

    return reader


def test_table_of_dcase_is_read_with_tabs_its_own_names_and_empty_recordings(read):
    header = "filename\tonset\toffset\tevent_label\n"
    table = f"{header}b.wav\t1.5\t2\tSpeech\na.wav\t0.5\t1\tLaugh\na.wav\t0\t1\tCry\nc.wav\t\t\t\n"
    assert read("truth.tsv", table) == {
        "b.wav": [(1.5, 2.0, "Speech", None)],
        "a.wav": [(0.0, 1.0, "Cry", None), (0.5, 1.0, "Laugh", None)],
        "c.wav": [],
    }


def test_table_without_a_column_of_files_is_of_the_recording_of_its_name(read):
    assert read("talk.csv", "\ufefflabel,end_s,start_s,score\r\nlaugh,2,1,0.5\r\n\r\n") == {
        "talk": [(1.0, 2.0, "laugh", 0.5)]
    }


def test_label_track_is_read_with_frequencies_points_and_tabs_in_labels(read):
    track = "1.000000\t2.500000\tlaugh\tloud\n\\\t120.000000\t3000.000000\n3.000000\t3.000000\tclick\n\n"
    assert read("talk.txt", track) == {"talk": [(1.0, 2.5, "laugh\tloud", None), (3.0, 3.0, "click", None)]}


def test_rttm_of_others_is_read_with_nine_fields_comments_and_other_types(read):
    lines = [
        ";; a comment",
        "SPKR-INFO talk 1 <NA> <NA> <NA> unknown spk1 <NA>",
        "SPEAKER talk 1 10.1 0.2 <NA> <NA> spk1 <NA>",
        "NON-LEX   talk  1  5.00 0.50 <NA> laugh spk1 0.75 <NA>",
        "SPEAKER other 1 0 1 <NA> <NA> spk2 <NA> <NA>",
    ]
    # 10.1 + 0.2 is 10.299999999999999 in binary.
    assert read("talk.rttm", "\r\n".join(lines)) == {
        "talk": [(5.0, 5.5, "laugh", 0.75), (10.1, 10.3, "spk1", None)],
        "other": [(0.0, 1.0, "spk2", None)],
    }


@pytest.mark.parametrize("name", ["talk.txt", "talk.TEXTGRID"])
def test_recording_without_events_is_known_from_its_file(name, read):
    grid = b'File type = "ooTextFile" Object class = "TextGrid" 0 1 <exists> 1 "IntervalTier" "a" 0 1 1 0 1 ""'
    assert read(name, grid if name.endswith("GRID") else b"") == {"talk": []}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.doc", "", r"a.doc: expected a file that ends in .json, .csv, .*found '.doc'"),
        ("a.csv", "", "a.csv, line 1: expected a header with start_s, end_s, label"),
        ("a.csv", "start_s,label\n", "no end_s among start_s, label"),
        ("a.csv", "start_s,end_s,label\n1,2,laugh\n1,2\n", "a.csv, line 3: expected 3 columns, found 2"),
        ("a.csv", "start_s,end_s,label\n1,x,laugh\n", "a.csv, line 2: expected a number for end, found 'x'"),
        ("a.csv", "start_s,end_s,label\n1,inf,laugh\n", "expected a number for end, found 'inf'"),
        ("a.csv", "start_s,end_s,label\n2,1,laugh\n", "expected an end after the start, found 2 to 1 s"),
        ("a.csv", "start_s,end_s,label\n-1,1,laugh\n", "expected a start of at least 0 s, found -1"),
        ("a.csv", "start_s,end_s,label\n1,2,\n", "a.csv, line 2: the event at 1 s has no label"),
        ("a.csv", "start_s,end_s,label,score\n1,2,laugh,high\n", "expected a number for score, found 'high'"),
        ("a.csv", b"start_s,end_s,label\n1,2,\xff\n", "a.csv: expected UTF-8"),
        ("a.txt", "1 2 laugh\n", "a.txt, line 1: expected start, end and label with tabs"),
        ("a.txt", "1\t2\tlaugh\n3\t4\t\n", "a.txt, line 2: the event at 3 s has no label"),
        ("a.rttm", "SPEAKER a 1 0 1 <NA>\n", "a.rttm, line 1: expected 9 or 10 fields, found 6"),
        ("a.rttm", "SPEAKER a 1 0 -1 <NA> <NA> b <NA>\n", "expected a length of at least 0 s"),
        ("a.json", "{", "a.json: expected JSON; "),
        ("a.json", "[]", "expected an object with file and events"),
        ("a.json", '{"file": "a", "events": [{"start_s": 1}]}', "a.json, event 1: expected start_s, end_s, label"),
        ("a.TextGrid", "", 'a.TextGrid: expected "ooTextFile"'),
    ],
)
def test_file_and_line_are_named_when_it_cannot_be_read(name, content, words, read):
    with pytest.raises(EventFileError, match=words):
        read(name, content)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(EventFileError, match=r"none.csv: No such file"):
        read_events(tmp_path / "none.csv")
