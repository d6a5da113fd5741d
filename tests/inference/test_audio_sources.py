from __future__ import annotations

import io
import os
import threading

import numpy as np
import pytest
import soundfile

from nvv.audio import AudioError, decode_audio
from nvv.inference.audio_sources import (
    audio_files,
    file_sound,
    file_sounds,
    files_as_listed,
    listed_files,
    stream_sound,
)
from nvv.training.arguments import ArgumentsError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Files of all kinds, named from where the test runs."""
    monkeypatch.chdir(tmp_path)
    names = ("b.wav", "A.FLAC", "deep/er/c.Mp3", "deep/d.m4a", "notes.txt", ".hidden.wav", ".git/e.wav", "[1].wav")
    for name in names:
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path / "in"


def found(*sources):
    return [path.as_posix() for path in audio_files(sources)]


def test_folder_gives_its_audio_files_sorted_at_any_depth(folder):
    # What is in a format that is not read is reported when its turn comes, not left out.
    assert found("in") == ["in/A.FLAC", "in/[1].wav", "in/b.wav", "in/deep/d.m4a", "in/deep/er/c.Mp3"]


def test_files_are_taken_as_they_are_named_and_each_once(folder):
    assert found("in/notes.txt", "in/b.wav", "in/[1].wav", "in/b.wav") == ["in/notes.txt", "in/b.wav", "in/[1].wav"]
    assert found("in/deep/d.m4a", "in/deep") == ["in/deep/d.m4a", "in/deep/er/c.Mp3"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("in/*.wav", ["in/[1].wav", "in/b.wav"]),
        ("in/*", ["in/A.FLAC", "in/[1].wav", "in/b.wav", "in/deep/d.m4a", "in/deep/er/c.Mp3"]),
        ("in/**/*.[mM]p3", ["in/deep/er/c.Mp3"]),
        ("in/**", ["in/A.FLAC", "in/[1].wav", "in/b.wav", "in/deep/d.m4a", "in/deep/er/c.Mp3"]),
        ("in/de*", ["in/deep/d.m4a", "in/deep/er/c.Mp3"]),
    ],
)
def test_patterns_give_files_and_the_content_of_folders(folder, pattern, expected):
    assert found(pattern) == expected


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere", r"sources: nowhere: no such file or folder\."),
        ("in/*.ogg", r"sources: in/\*\.ogg: no audio files\."),
        ("in/*.txt", r"in/\*\.txt: no audio files among the 1 files and folders that match\."),
        ("in/empty", r"sources: in/empty holds no audio files \(.*\.flac, .*\.wav"),
    ],
)
def test_source_without_recordings_is_named(folder, source, message):
    (folder / "empty").mkdir()
    with pytest.raises(ArgumentsError, match=message):
        audio_files(["in/b.wav", source])


def test_home_is_expanded(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    assert audio_files(["~/b.wav", "~/*.FLAC"]) == [folder / "b.wav", folder / "A.FLAC"]


def test_lists_hold_paths_one_a_line_or_ended_by_null_bytes():
    text = "a b.wav\r\n\n ü.wav \n".encode() + b"\xff.wav\nlast.wav"
    assert [os.fsencode(path) for path in listed_files(io.BytesIO(text))] == [
        b"a b.wav",
        " ü.wav ".encode(),
        b"\xff.wav",
        b"last.wav",
    ]
    assert [path.name for path in listed_files(io.BytesIO(b"a.wav\0b.wav\0"))] == ["a.wav", "b.wav"]


def test_paths_come_while_their_program_is_still_finding_more():
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stream, os.fdopen(writing, "wb", buffering=0) as program:
        program.write(b"a.wav\n")
        paths = files_as_listed(stream)
        first = next(path for path in paths if path is not None)
        assert first.name == "a.wav"
        assert next(paths) is None  # nothing there yet, and that is said
        program.write(b"b.wav\n")
        assert next(path for path in paths if path is not None).name == "b.wav"
        program.close()
        assert [path for path in paths if path is not None] == []
    for thread in threading.enumerate():
        if thread.name == "listed files":
            thread.join(timeout=10)
            assert not thread.is_alive()


def test_list_that_cannot_be_read_is_an_error():
    class Broken(io.BytesIO):
        def readline(self, *_):
            raise OSError(5, "Input/output error")

        __next__ = readline

    with pytest.raises(OSError, match="Input/output error"):
        list(files_as_listed(Broken(b"")))


@pytest.mark.parametrize(("rate", "channels", "ending"), [(44_100, 2, "wav"), (16_000, 1, "flac"), (8_000, 1, "ogg")])
def test_start_of_a_file_equals_the_start_of_all_of_it(tmp_path, rate, channels, ending):
    path = tmp_path / f"long.{ending}"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, (rate * 5, channels)), rate)
    (sound,) = file_sounds([path], max_seconds=1.3)
    assert sound.key == path
    whole = decode_audio(path)
    start = sound.load()
    assert len(start) == round(1.3 * 16_000)
    np.testing.assert_allclose(start, whole[: len(start)], atol=1e-6)
    np.testing.assert_array_equal(file_sound(path).load(), whole)


def test_longer_recordings_are_told(tmp_path):
    paths = []
    for at, samples in enumerate((8_000, 15_999, 16_000, 16_001)):
        paths.append(tmp_path / f"{at}.wav")
        soundfile.write(paths[-1], np.zeros(samples), 16_000)
    longer = []
    for sound in file_sounds(paths, max_seconds=1.0, on_longer=longer.append):
        sound.load()
    assert longer == paths[3:]
    stream_sound(io.BytesIO(paths[3].read_bytes()), key="-", max_seconds=1.0, on_longer=longer.append).load()
    assert longer == [paths[3], "-"]


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "mp3"])
def test_bytes_give_what_a_file_gives(tmp_path, ending):
    path = tmp_path / f"clip.{ending}"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 24_000), 16_000)
    with path.open("rb") as stream:
        sound = stream_sound(stream, key="-")
        np.testing.assert_array_equal(sound.load(), decode_audio(path))


def test_damaged_bytes_are_called_by_their_key():
    with pytest.raises(AudioError, match=r"^-: not readable as audio"):
        stream_sound(io.BytesIO(b"not audio"), key="-").load()
    with pytest.raises(AudioError, match=r"^-: empty file"):
        stream_sound(io.BytesIO(b""), key="-").load()
