import os
from pathlib import Path

import pytest

from nvv.data.rawfiles import CorpusError, find_root, fingerprint, list_files, search_roots


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def test_list_is_sorted_by_code_point_and_relative(tmp_path):
    touch(tmp_path, "b/2.wav", "a.wav", "B/1.wav", "b/10.wav", "b.wav")
    assert list_files(tmp_path) == ["B/1.wav", "a.wav", "b.wav", "b/10.wav", "b/2.wav"]


def test_list_leaves_out_hidden_and_macos_files(tmp_path):
    touch(tmp_path, "a/1.wav", "a/._1.wav", ".hidden/2.wav", "__MACOSX/a/1.wav", "a/.DS_Store")
    assert list_files(tmp_path) == ["a/1.wav"]


def test_list_keeps_suffixes_without_regard_to_case(tmp_path):
    touch(tmp_path, "1.wav", "2.WAV", "3.mp3", "wav")
    assert list_files(tmp_path, suffixes={".wav"}) == ["1.wav", "2.WAV"]


def test_list_does_not_depend_on_the_order_of_the_directory(tmp_path, monkeypatch):
    touch(tmp_path, *(f"{folder}/{name}.wav" for folder in "xyz" for name in "abc"))
    expected = list_files(tmp_path)
    original = os.walk

    def reversed_walk(*arguments, **options):
        for folder, folders, names in original(*arguments, **options):
            folders.sort(reverse=True)
            yield folder, folders, sorted(names, reverse=True)

    monkeypatch.setattr(os, "walk", reversed_walk)
    assert list_files(tmp_path) == expected
    assert len(expected) == 9


def test_list_follows_links_once_when_they_form_a_circle(tmp_path):
    touch(tmp_path, "a/1.wav")
    (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert list_files(tmp_path) == ["a/1.wav"]


def test_root_is_found_at_each_of_three_levels(tmp_path):
    touch(tmp_path, "outer/inner/laugh/1.wav", "__MACOSX/inner/laugh/._1.wav", "outer/notes/readme.txt")
    for start in (tmp_path, tmp_path / "outer", tmp_path / "outer" / "inner"):
        found = find_root(start, markers=("laugh/*.wav",), expected="x")
        assert found == tmp_path / "outer" / "inner"


def test_root_error_says_what_was_expected_when_absent(tmp_path):
    touch(tmp_path, "laugh/._1.wav")
    with pytest.raises(CorpusError, match=r"not found in it.*expected folders of laughs"):
        find_root(tmp_path, markers=("laugh/*.wav",), expected="folders of laughs")
    with pytest.raises(CorpusError, match="no such folder"):
        find_root(tmp_path / "missing", markers=("laugh/*.wav",), expected="x")


def test_root_is_refused_when_there_are_two(tmp_path):
    touch(tmp_path, "copy1/laugh/1.wav", "copy2/laugh/1.wav")
    with pytest.raises(CorpusError, match="'copy1' and 'copy2'"):
        find_root(tmp_path, markers=("laugh/*.wav",), expected="x")


@pytest.mark.parametrize("name", ["Laugh/1.WAV", "laugh/1.wav", "LAUGH/x.Wav"])
def test_root_is_found_without_regard_to_case(tmp_path, name):
    touch(tmp_path, f"outer/{name}")
    for marker in ("laugh/*.wav", "Laugh/[x1].WAV", "l*/?.wav"):
        assert find_root(tmp_path, markers=(marker,), expected="x") == tmp_path / "outer"


def test_root_is_found_by_any_marker_also_a_folder(tmp_path):
    touch(tmp_path, "corpus/labels/high_info.csv")
    for markers in (("audio/*.wav", "labels/*_info.csv"), ("Labels",)):
        assert find_root(tmp_path, markers=markers, expected="x") == tmp_path / "corpus"


def test_root_is_not_found_by_a_part_of_a_name(tmp_path):
    touch(tmp_path, "laugh/1.wave", "laughs/1.wav", "x/y/z/laugh/1.wav")
    with pytest.raises(CorpusError, match="not found"):
        find_root(tmp_path, markers=("laugh/*.wav",), expected="x")


def test_root_is_the_shallowest_that_matches(tmp_path):
    touch(tmp_path, "laugh/1.wav", "laugh/laugh/1.wav")
    assert find_root(tmp_path, markers=("laugh/*.wav",), expected="x") == tmp_path


def test_root_is_found_through_a_link(tmp_path):
    touch(tmp_path, "elsewhere/laugh/1.wav")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "link").symlink_to(tmp_path / "elsewhere")
    assert find_root(tmp_path / "data", markers=("laugh/*.wav",), expected="x") == tmp_path / "data" / "link"


def test_root_error_names_the_archive_when_told(tmp_path):
    with pytest.raises(CorpusError, match=r"^VIVAE.zip: the corpus was not found in it"):
        find_root(tmp_path, markers=("*.wav",), expected="x", shown=Path("VIVAE.zip"))


def test_each_folder_is_listed_once_however_many_markers(tmp_path):
    tree = {"": (["a", "b"], []), "a": (["laugh"], []), "b": ([], []), "a/laugh": ([], ["1.wav"] * 60_000)}
    listed = []

    def list_folder(folder):
        listed.append(folder)
        return tree[folder]

    assert search_roots(list_folder, [f"{label}/*.wav" for label in ("cry", "sigh", "laugh", "moan")]) == ["a"]
    assert len(listed) == len(set(listed))


def test_fingerprint_describes_a_file(tmp_path):
    touch(tmp_path, "VIVAE.zip", "other.zip")
    first = fingerprint(tmp_path / "VIVAE.zip")
    assert len(first) == 64
    touch(tmp_path, "other.zip")
    assert fingerprint(tmp_path / "VIVAE.zip") == first
    os.utime(tmp_path / "VIVAE.zip", ns=(1, 1))
    touched = fingerprint(tmp_path / "VIVAE.zip")
    (tmp_path / "VIVAE.zip").write_text("longer than before")
    os.utime(tmp_path / "VIVAE.zip", ns=(1, 1))
    assert len({first, touched, fingerprint(tmp_path / "VIVAE.zip")}) == 3
    assert fingerprint(tmp_path / "missing.zip") == ""


def test_fingerprint_changes_with_name_size_and_time_only(tmp_path):
    touch(tmp_path, "a/1.wav", "a/2.wav")
    first = fingerprint(tmp_path)
    assert fingerprint(tmp_path) == first
    touch(tmp_path, "a/.hidden")
    assert fingerprint(tmp_path) == first
    status = (tmp_path / "a/1.wav").stat()
    os.utime(tmp_path / "a/1.wav", ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    touched = fingerprint(tmp_path)
    (tmp_path / "a/2.wav").rename(tmp_path / "a/3.wav")
    renamed = fingerprint(tmp_path)
    assert len({first, touched, renamed}) == 3
