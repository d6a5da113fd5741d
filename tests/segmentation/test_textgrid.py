import itertools

import pytest
from praatio import textgrid as praat

from nvv.segmentation.events import Event
from nvv.segmentation.textgrid import TextGridError, read_text_grid, text_grid

QUOTED = 'she said "ha" and left'
EVENTS_OF = {
    "laugh": [Event(start_s=0.0, end_s=1 / 3, label="laugh"), Event(start_s=1 / 3, end_s=0.5, label="laugh")],
    QUOTED: [Event(start_s=1.25, end_s=7.0001, label=QUOTED)],
    "Übermut": [],
}
SHORT = """File type = "ooTextFile"
"TextGrid"

0
2.5
<exists>
2
"IntervalTier"
"voice"
0
2.5
3
0
0.5
""
0.5
1.5e0
" ""laugh"" "
1.5
2.5
""
"TextTier"
"clicks"
0
2.5
1
2
"click"
"""


@pytest.fixture
def praatio_reads(tmp_path):
    """Let praatio read a TextGrid."""

    def read(content, **options):
        path = tmp_path / "talk.TextGrid"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return praat.openTextgrid(str(path), **options)

    return read


def test_praatio_finds_the_same_intervals_and_no_gaps(praatio_reads):
    grid = praatio_reads(text_grid(EVENTS_OF, duration_s=7.0001), includeEmptyIntervals=True, reportingMode="error")
    assert grid.validate(reportingMode="error")
    assert grid.minTimestamp == 0
    assert grid.maxTimestamp == 7.0001
    assert grid.tierNames == ("laugh", QUOTED, "Übermut")
    intervals = [
        [tuple(entry) for entry in grid.getTier(name).entries if entry.label] for name in ("laugh", QUOTED, "Übermut")
    ]
    assert intervals == [[(0, 1 / 3, "laugh"), (1 / 3, 0.5, "laugh")], [(1.25, 7.0001, QUOTED)], []]
    for name in grid.tierNames:
        entries = grid.getTier(name).entries
        assert entries[0].start == 0
        assert entries[-1].end == 7.0001
        assert all(one.end == following.start for one, following in itertools.pairwise(entries))


@pytest.mark.parametrize("layout", ["long_textgrid", "short_textgrid"])
def test_events_come_back_when_praatio_writes_the_file(layout, praatio_reads, tmp_path):
    grid = praatio_reads(text_grid(EVENTS_OF, duration_s=7.0001), includeEmptyIntervals=False)
    grid.save(str(tmp_path / "again.TextGrid"), format=layout, includeBlankSpaces=True)
    events = read_text_grid((tmp_path / "again.TextGrid").read_bytes(), name="again")
    wanted = sorted(event for events in EVENTS_OF.values() for event in events)
    assert [event.label for event in events] == [event.label for event in wanted]
    for name in ("start_s", "end_s"):
        assert [getattr(one, name) for one in events] == pytest.approx([getattr(one, name) for one in wanted])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_short_layout_is_read_in_every_encoding_that_praat_writes(encoding, line_end):
    content = SHORT.replace("laugh", "Gelächter").replace("\n", line_end).encode(encoding)
    events = read_text_grid(content, name="short")
    assert [(event.start_s, event.end_s, event.label) for event in events] == [
        (0.5, 1.5, '"Gelächter"'),
        (2.0, 2.0, "click"),
    ]


def test_events_are_cut_at_the_recordings_end():
    grid = text_grid({"laugh": [Event(start_s=1.0, end_s=2.0000001, label="laugh")]}, duration_s=2.0)
    assert read_text_grid(grid.encode(), name="grid")[0].end_s == 2.0
    assert "e-" not in text_grid({"laugh": [Event(start_s=1e-7, end_s=1.0, label="laugh")]}, duration_s=2.0)


def test_text_of_several_lines_comes_back():
    label = 'one "1"\ntwo'
    grid = text_grid({label: [Event(start_s=0.5, end_s=1.0, label=label)]}, duration_s=2.0)
    assert [event.label for event in read_text_grid(grid.encode(), name="grid")] == [label]


def test_absent_tiers_are_no_events():
    content = b'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0\n1\ntiers? <absent>\n'
    assert read_text_grid(content, name="grid") == []


@pytest.mark.parametrize(
    ("events", "duration_s", "words"),
    [
        ([(1.0, 2.0), (1.5, 3.0)], 4.0, "laugh: the event at 1.5 s begins before the one before it ends, at 2 s"),
        ([(1.0, 1.0)], 4.0, "longer than nothing"),
        ([(4.5, 5.0)], 4.0, "within the recording's 4 s"),
        ([], 0.0, "duration_s: expected seconds above 0"),
    ],
)
def test_grid_is_refused_when_praat_could_not_read_it(events, duration_s, words):
    with pytest.raises(TextGridError, match=words):
        text_grid({"laugh": [Event(start_s=a, end_s=b, label="laugh") for a, b in events]}, duration_s=duration_s)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", 'talk: expected "ooTextFile" after line 1, found the file\'s end'),
        (b'"ooTextFile" "Sound"', 'expected a text file of Praat that holds a "TextGrid"'),
        (SHORT.replace('"IntervalTier"', '"PitchTier"').encode(), "talk, line 8: expected IntervalTier or TextTier"),
        (SHORT.replace("<exists>\n2", '<exists>\n"two"').encode(), "talk, line 7: expected the number of tiers"),
        (SHORT.replace("1.5e0", "0.25").encode(), "talk, line 17: expected 0 <= start <= end, found 0.5 to 0.25 s"),
        (SHORT.partition('"click"')[0].encode(), "talk: expected a text after line 27, found the file's end"),
        (b'"ooTextFile" \xff', "talk: expected UTF-8 or UTF-16"),
    ],
)
def test_file_and_line_are_named_when_a_grid_cannot_be_read(content, words):
    with pytest.raises(TextGridError, match=words):
        read_text_grid(content, name="talk")
