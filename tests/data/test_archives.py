import errno
import io
import logging
import os
import shutil
import tarfile
import threading
import zipfile
from collections import namedtuple

import pytest

from nvv.data import archives
from nvv.data.archives import open_raw, unpack
from nvv.data.rawfiles import CorpusError, list_files

MARKERS = ("full_set/*_*_*.wav",)
FILES = {
    "VIVAE/full_set/S01_anger_low_01.wav": b"one",
    "VIVAE/full_set/S02_fear_peak_02.wav": b"two",
    "VIVAE/a.csv": b",",
}


def zip_bytes(contents):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in contents.items():
            opened.writestr(name, content)
    return buffer.getvalue()


def tar_bytes(contents, mode="w"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def below(files, folder):
    return {name.removeprefix(folder): content for name, content in files.items()}


@pytest.fixture
def cache_dir(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def open_corpus(cache_dir):
    def open_corpus(path, markers=MARKERS):
        return open_raw(path, markers=markers, expected="VIVAE/full_set/*.wav.", cache_dir=cache_dir)

    return open_corpus


def read(root):
    return {name: (root / name).read_bytes() for name in list_files(root)}


VIVAE = below(FILES, "VIVAE/")


def left_over(cache_dir):
    """What the cache holds beside lock files."""
    return [path for path in cache_dir.rglob("*") if path.suffix != ".lock" and path.name != "extracted"]


@pytest.mark.parametrize("levels", [0, 1, 2])
def test_folder_is_taken_as_it_is_up_to_two_levels_down(tmp_path, open_corpus, cache_dir, levels):
    start = tmp_path / "raw"
    root = start.joinpath(*"ab"[:levels])
    for name, content in VIVAE.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    (start / "docs.zip").write_bytes(b"not even a zip")
    assert open_corpus(start) == root
    assert not cache_dir.exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("VIVAE.zip", zip_bytes(FILES)),
        ("VIVAE.ZIP", zip_bytes(FILES)),
        ("VIVAE.tar", tar_bytes(FILES)),
        ("VIVAE.tar.gz", tar_bytes(FILES, "w:gz")),
        ("VIVAE.tgz", tar_bytes(FILES, "w:gz")),
        ("VIVAE.tar.bz2", tar_bytes(FILES, "w:bz2")),
        ("VIVAE.TAR.XZ", tar_bytes(FILES, "w:xz")),
        ("VIVAE (1).zip.download", zip_bytes(FILES)),
        ("flat.zip", zip_bytes(VIVAE)),
        ("deeper.zip", zip_bytes({f"release/{name}": content for name, content in FILES.items()})),
    ],
)
def test_archive_gives_the_corpus_whatever_its_format(tmp_path, open_corpus, name, content):
    (tmp_path / name).write_bytes(content)
    root = open_corpus(tmp_path / name)
    assert read(root) == VIVAE


def test_archive_is_unpacked_once_until_it_changes(tmp_path, open_corpus, monkeypatch):
    path = tmp_path / "VIVAE.zip"
    path.write_bytes(zip_bytes(FILES))
    calls = []
    original = archives.unpack_into

    def count(*given, **options):
        calls.append(given)
        return original(*given, **options)

    monkeypatch.setattr(archives, "unpack_into", count)
    first = open_corpus(path)
    assert open_corpus(path) == first
    assert open_corpus(tmp_path) == first
    assert len(calls) == 1
    path.write_bytes(zip_bytes({**FILES, "VIVAE/full_set/S03_pain_low_1.wav": b"three"}))
    assert len(list_files(open_corpus(path))) == 4
    assert len(list_files(first)) == 3
    assert len(calls) == 2


def test_archive_is_unpacked_anew_when_only_its_time_changes(tmp_path, open_corpus):
    path = tmp_path / "VIVAE.zip"
    path.write_bytes(zip_bytes(FILES))
    first = open_corpus(path)
    os.utime(path, ns=(1, 1))
    assert open_corpus(path) != first


@pytest.mark.parametrize("place", ["downloads", "downloads/vivae"])
def test_folder_of_archives_gives_the_corpus_among_others(tmp_path, open_corpus, place):
    folder = tmp_path / place
    folder.mkdir(parents=True)
    (folder / "VIVAE.zip").write_bytes(zip_bytes(FILES))
    (folder / "other.zip").write_bytes(zip_bytes({"laugh/1.wav": b"x"}))
    (folder / "broken.zip").write_bytes(zip_bytes(FILES)[:80])
    (folder / "other.tar.gz").write_bytes(tar_bytes({"CNVVE/ahem/1.wav": b"x"}, "w:gz"))
    (folder / "._VIVAE.zip").write_bytes(b"macOS")
    root = open_corpus(tmp_path / "downloads")
    assert read(root) == VIVAE
    assert not list(root.parent.rglob("laugh"))


def test_parts_of_a_corpus_are_unpacked_together(tmp_path, open_corpus):
    for number, (name, content) in enumerate(FILES.items()):
        part = {name: content, "VIVAE/full_set/S00_pain_low_01.wav": b"in both", "VIVAE/LICENSE": b"in each"}
        (tmp_path / f"part{number}.zip").write_bytes(zip_bytes(part))
    root = open_corpus(tmp_path)
    assert read(root) == {**VIVAE, "full_set/S00_pain_low_01.wav": b"in both", "LICENSE": b"in each"}


def test_parts_are_refused_when_they_differ_on_a_file(tmp_path, open_corpus, cache_dir):
    (tmp_path / "new.zip").write_bytes(zip_bytes(FILES))
    (tmp_path / "old.zip").write_bytes(zip_bytes({**FILES, "VIVAE/full_set/S02_fear_peak_02.wav": b"TWO"}))
    with pytest.raises(CorpusError, match=r"old.zip: VIVAE/full_set/S02_fear_peak_02.wav: there twice"):
        open_corpus(tmp_path)
    assert left_over(cache_dir) == []


def test_archives_without_a_folder_get_one_of_their_own(tmp_path, open_corpus):
    (tmp_path / "ahem.zip").write_bytes(zip_bytes({"1.wav": b"ahem"}))
    (tmp_path / "hush.v2.tar.gz").write_bytes(tar_bytes({"1.wav": b"hush", "2.wav": b"hush"}, "w:gz"))
    root = open_corpus(tmp_path, markers=("ahem/*.wav", "hush.v2/*.wav"))
    assert read(root) == {"ahem/1.wav": b"ahem", "hush.v2/1.wav": b"hush", "hush.v2/2.wav": b"hush"}


@pytest.mark.parametrize("as_folder", [False, True])
def test_archive_of_archives_is_unpacked_too(tmp_path, open_corpus, as_folder):
    bundle = {
        "README.txt": b"by Dataverse",
        "audio.ZIP": zip_bytes({"full_set/S01_anger_low_01.wav": b"one", "__MACOSX/._x": b""}),
        "core_set.tar.gz": tar_bytes({"S01_anger_low_01.wav": b"one", "b.wav": b""}, "w:gz"),
    }
    (tmp_path / "dataverse_files.zip").write_bytes(zip_bytes(bundle))
    if as_folder:
        (tmp_path / "another.zip").write_bytes(zip_bytes({"x/1.wav": b"x"}))
    root = open_corpus(tmp_path if as_folder else tmp_path / "dataverse_files.zip")
    assert read(root) == {
        "README.txt": b"by Dataverse",
        "core_set/S01_anger_low_01.wav": b"one",
        "core_set/b.wav": b"",
        "full_set/S01_anger_low_01.wav": b"one",
    }


def test_damaged_inner_archive_is_named_with_the_outer(tmp_path, open_corpus, cache_dir):
    (tmp_path / "outer.zip").write_bytes(zip_bytes({"a/inner.zip": zip_bytes(FILES)[:99], "a/b.wav": b"x"}))
    with pytest.raises(CorpusError, match=r"outer.zip: a/inner.zip: damaged"):
        open_corpus(tmp_path / "outer.zip")
    assert left_over(cache_dir) == []


def test_nothing_is_left_when_an_archive_is_damaged_or_unsafe(tmp_path, open_corpus, cache_dir):
    tarred = tar_bytes({"VIVAE/full_set/S01_anger_low_01.wav": os.urandom(10_000)}, "w:gz")
    (tmp_path / "cut.tar.gz").write_bytes(tarred[:5000])
    (tmp_path / "evil.zip").write_bytes(zip_bytes({**FILES, "../../evil.wav": b"x"}))
    for name in ("cut.tar.gz", "evil.zip"):
        with pytest.raises(CorpusError, match=name):
            open_corpus(tmp_path / name)
    assert left_over(cache_dir) == []
    assert not list(tmp_path.rglob("evil.wav"))


def test_archive_without_the_corpus_is_refused_and_not_kept(tmp_path, open_corpus, cache_dir):
    (tmp_path / "other.zip").write_bytes(zip_bytes({"laugh/1.wav": b"x"}))
    for start in (tmp_path / "other.zip", tmp_path):
        with pytest.raises(CorpusError, match=rf"^{start}: the corpus was not found.*expected VIVAE/full_set"):
            open_corpus(start)
    assert left_over(cache_dir) == []


def test_error_names_what_was_looked_into_when_no_archive_has_the_corpus(tmp_path, open_corpus):
    (tmp_path / "a.zip").write_bytes(zip_bytes({"laugh/1.wav": b"x"}))
    (tmp_path / "b.zip").write_bytes(zip_bytes(FILES)[:99])
    with pytest.raises(CorpusError, match=r"nor in its 2 archives \(a.zip, …\); expected .*b.zip: damaged"):
        open_corpus(tmp_path)


def test_two_copies_are_refused_in_an_archive_as_in_a_folder(tmp_path, open_corpus):
    (tmp_path / "two.zip").write_bytes(zip_bytes({f"{copy}/{name}": b"x" for copy in "ab" for name in VIVAE}))
    with pytest.raises(CorpusError, match=r"two.zip: more than one copy of the corpus \('a' and 'b', …\)"):
        open_corpus(tmp_path / "two.zip")


def test_file_that_is_no_archive_is_refused(tmp_path, open_corpus):
    (tmp_path / "VIVAE.rar").write_bytes(b"Rar!")
    with pytest.raises(CorpusError, match=r"VIVAE.rar: neither a folder nor an archive.*unpack it"):
        open_corpus(tmp_path / "VIVAE.rar")
    with pytest.raises(CorpusError, match="no such folder"):
        open_corpus(tmp_path / "missing")


def test_links_get_the_bytes_that_they_lead_to(tmp_path, open_corpus, caplog):
    buffer = io.BytesIO()
    links = [
        ("full_set/S05_pain_low_1.wav", tarfile.SYMTYPE, "S04_pain_low_1.wav"),  # to a link that comes later
        ("full_set/S04_pain_low_1.wav", tarfile.SYMTYPE, "../full_set/S01_anger_low_01.wav"),
        ("core_set/S01_anger_low_01.wav", tarfile.LNKTYPE, "full_set/S01_anger_low_01.wav"),
        ("latest", tarfile.SYMTYPE, "full_set"),  # to a folder
    ]
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, kind, target in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            tar.addfile(info)
        info = tarfile.TarInfo("full_set/S01_anger_low_01.wav")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"one"))
    (tmp_path / "linked.tgz").write_bytes(buffer.getvalue())
    with caplog.at_level(logging.WARNING):
        root = open_corpus(tmp_path / "linked.tgz")
    assert set(read(root).values()) == {b"one"}
    assert len(read(root)) == 4
    assert not any(path.is_symlink() for path in root.rglob("*"))
    assert "left out latest, a link to full_set" in caplog.text


def test_error_says_so_when_the_disk_is_too_small(tmp_path, open_corpus, cache_dir, monkeypatch):
    (tmp_path / "VIVAE.zip").write_bytes(zip_bytes({"VIVAE/full_set/S01_anger_low_01.wav": bytes(2_000_000)}))
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 1_900_000))
    with pytest.raises(CorpusError, match=r"VIVAE.zip: not enough disk space .*\(0.0 GB free\); make room"):
        open_corpus(tmp_path / "VIVAE.zip")
    assert left_over(cache_dir) == []


def test_error_says_so_when_the_disk_fills_up(tmp_path, open_corpus, cache_dir, monkeypatch):
    (tmp_path / "VIVAE.tar").write_bytes(tar_bytes(FILES))

    def fail(source, target, length):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", fail)
    with pytest.raises(CorpusError, match=r"VIVAE.tar: not enough disk space"):
        open_corpus(tmp_path / "VIVAE.tar")
    assert left_over(cache_dir) == []


def test_what_a_killed_process_left_is_removed(tmp_path, open_corpus, cache_dir):
    (tmp_path / "VIVAE.zip").write_bytes(zip_bytes(FILES))
    folder = open_corpus(tmp_path / "VIVAE.zip").parent
    remains = folder.with_name(f".incomplete-{folder.name}")
    folder.rename(remains)
    (remains / "VIVAE/full_set/S09_pain_low_1.wav").write_bytes(b"half")
    assert read(open_corpus(tmp_path / "VIVAE.zip")) == VIVAE
    assert not remains.exists()


def test_archive_is_unpacked_once_when_two_ask_at_the_same_time(tmp_path, cache_dir):
    path = tmp_path / "VIVAE.zip"
    path.write_bytes(zip_bytes({f"full_set/{number}_a_b.wav": b"x" * number for number in range(200)}))
    calls, roots = [], []

    def run():
        roots.append(unpack([path], cache_dir=cache_dir, check=calls.append))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(roots)) == len(calls) == 1
    assert len(list_files(roots[0])) == 200
