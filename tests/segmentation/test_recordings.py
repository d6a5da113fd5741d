from pathlib import Path

import pytest

from nvv.segmentation.events import Event
from nvv.segmentation.recordings import match_references, output_places
from nvv.training.arguments import ArgumentsError


def places(*paths):
    return [(str(folder), stem) for folder, stem in output_places([Path(path) for path in paths]).values()]


def test_folders_lie_to_each_other_as_those_of_the_recordings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert places("a.wav") == [(".", "a")]
    assert places("deep/down/a.wav") == [(".", "a")]
    assert places("x/a.wav", "x/b.flac") == [(".", "a"), (".", "b")]
    assert places("x/1/a.wav", "x/2/a.wav", "x/b.wav") == [("1", "a"), ("2", "a"), (".", "b")]
    assert places("x/a.wav", str(tmp_path / "y" / "a.wav")) == [("x", "a"), ("y", "a")]
    assert output_places([]) == {}


def test_recordings_that_would_be_called_the_same_keep_their_endings():
    assert places("a.wav", "a.flac", "b.wav") == [(".", "a.wav"), (".", "a.flac"), (".", "b")]
    assert places("A.wav", "a.ogg") == [(".", "A.wav"), (".", "a.ogg")]


EVENTS = [Event(start_s=0.0, end_s=1.0, label="low")]


@pytest.mark.parametrize(
    "key", ["day/talk.wav", "./day/talk.wav", "talk.wav", "talk", "elsewhere/talk.flac", "C:\\x\\talk.wav"]
)
def test_references_are_matched_by_path_name_or_stem(key):
    assert match_references([Path("day/talk.wav"), Path("day/other.wav")], {key: EVENTS}) == {
        Path("day/talk.wav"): EVENTS
    }


def test_path_comes_before_name():
    references = {"1/a.wav": EVENTS, "2/a.wav": []}
    assert match_references([Path("2/a.wav"), Path("1/a.wav")], references) == {
        Path("2/a.wav"): [],
        Path("1/a.wav"): EVENTS,
    }


def test_name_that_stands_for_several_recordings_is_an_error():
    with pytest.raises(ArgumentsError, match=r"reference: 'a.wav' may be any of 2 recordings called so"):
        match_references([Path("1/a.wav"), Path("2/a.wav")], {"a.wav": EVENTS})


def test_references_of_other_recordings_are_an_error():
    with pytest.raises(
        ArgumentsError, match=r"reference: is about b.wav, and none of the recordings is called so: a.wav"
    ):
        match_references([Path("a.wav")], {"b.wav": EVENTS})
    with pytest.raises(ArgumentsError, match="reference: is about no recording"):
        match_references([Path("a.wav")], {})
