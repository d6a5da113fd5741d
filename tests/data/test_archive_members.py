import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from nvv.data.archive_members import (
    archive_errors,
    archive_stem,
    is_archive,
    list_members,
    read_members,
    unpacked_size,
)
from nvv.data.rawfiles import CorpusError


def write_tar(path, contents, mode="w"):
    with tarfile.open(path, mode) as tar:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def write_zip(path, contents):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in contents.items():
            opened.writestr(name, content)
    return path


def read_all(path):
    with archive_errors(str(path)):
        return {member.name: member.open().read() for member in read_members(path, shown=str(path))}


CONTENTS = {"VIVAE/a.wav": b"1" * 700, "VIVAE/b/c.wav": b"2" * 512, "empty.csv": b""}
TAR_MODES = {"tar": "w", "tar.gz": "w:gz", "TGZ": "w:gz", "tar.bz2": "w:bz2", "tar.xz": "w:xz"}


@pytest.mark.parametrize("ending", TAR_MODES)
def test_members_have_their_bytes_in_a_tar_of_each_compression(tmp_path, ending):
    path = write_tar(tmp_path / f"corpus.{ending}", CONTENTS, TAR_MODES[ending])
    assert read_all(path) == CONTENTS
    assert list_members(path) == list(CONTENTS)
    assert unpacked_size(path) == path.stat().st_size


def test_members_have_their_bytes_in_a_zip(tmp_path):
    path = write_zip(tmp_path / "corpus.zip", CONTENTS)
    assert read_all(path) == CONTENTS
    assert unpacked_size(path) == 1212


def test_archive_is_told_by_its_bytes_whatever_its_ending(tmp_path):
    zipped = write_zip(tmp_path / "download(1)", CONTENTS)
    tarred = write_tar(tmp_path / "corpus.zip", CONTENTS)
    assert not is_archive(zipped)
    assert is_archive(zipped, by_content=True)
    assert read_all(zipped) == read_all(tarred) == CONTENTS


@pytest.mark.parametrize("name", ["a.zip", "A.ZIP", "a.tar", "a.tar.gz", "a.Tgz", "a.tar.bz2", "a.tar.xz"])
def test_archive_is_known_by_each_ending(name):
    assert is_archive(Path(name))
    assert archive_stem(f"v1.2-{name}").lower() == "v1.2-a"


@pytest.mark.parametrize("name", ["a.wav", "zip", "a.zip.part", "a.gz"])
def test_file_is_no_archive_when_its_ending_is_another(name):
    assert not is_archive(Path(name))


def test_hidden_and_macos_files_are_left_out(tmp_path):
    names = ["VIVAE/a.wav", "__MACOSX/VIVAE/._a.wav", "VIVAE/._a.wav", "VIVAE/.DS_Store", ".git/config"]
    contents = dict.fromkeys(names, b"x")
    assert list_members(write_zip(tmp_path / "a.zip", contents)) == ["VIVAE/a.wav"]
    assert list_members(write_tar(tmp_path / "a.tar", contents)) == ["VIVAE/a.wav"]


def test_names_are_brought_to_normal_form(tmp_path):
    path = write_tar(tmp_path / "a.tar", {"./VIVAE//a.wav": b"x", "VIVAE/./b.wav": b"x"})
    assert list_members(path) == ["VIVAE/a.wav", "VIVAE/b.wav"]


UNSAFE = ["../a.wav", "VIVAE/../../a.wav", "/etc/a.wav", "C:/a.wav", "..", "VIVAE/.."]


@pytest.mark.parametrize("name", UNSAFE)
@pytest.mark.parametrize("write", [write_tar, write_zip])
def test_archive_is_refused_when_a_name_leads_outside(tmp_path, write, name):
    path = write(tmp_path / "bad.archive", {"good.wav": b"x", name: b"x"})
    with pytest.raises(CorpusError, match=rf"bad.archive: '{name}.* would be written outside"):
        list_members(path)


@pytest.mark.parametrize("name", ["..\\a.wav", "VIVAE\\..\\..\\a.wav", "\\\\server\\a.wav", "C:\\a.wav"])
def test_zip_is_refused_when_a_windows_name_leads_outside(tmp_path, name):
    path = write_zip(tmp_path / "bad.zip", {name: b"x"})
    with pytest.raises(CorpusError, match="outside the folder"):
        list_members(path)


def test_zip_name_with_backslashes_is_a_path(tmp_path):
    assert list_members(write_zip(tmp_path / "a.zip", {"VIVAE\\full_set\\a.wav": b"x"})) == ["VIVAE/full_set/a.wav"]


def write_raw_named_zip(path, raw_name):
    """A zip whose only name has these bytes and no flag for UTF-8, as macOS and old Windows write them."""
    stand_in = b"n" * len(raw_name)
    write_zip(path, {stand_in.decode(): b"x"})
    path.write_bytes(path.read_bytes().replace(stand_in, raw_name))
    return path


def test_zip_name_survives_in_utf8_without_flag(tmp_path):
    path = write_raw_named_zip(tmp_path / "a.zip", "웃음/café.wav".encode())
    assert list_members(path) == ["웃음/café.wav"]


def test_zip_name_survives_in_an_unknown_code_page(tmp_path):
    # 0x82 is é in code page 437, and no UTF-8.
    assert list_members(write_raw_named_zip(tmp_path / "a.zip", b"caf\x82.wav")) == ["café.wav"]


def test_tar_name_survives_in_latin1(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w", encoding="latin-1", format=tarfile.USTAR_FORMAT) as tar:
        tar.addfile(tarfile.TarInfo("café.wav"), io.BytesIO())
    (name,) = list_members(tmp_path / "a.tar")
    assert name == "café.wav"
    assert name.encode("utf-8")


def tar_with(path, name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    with tarfile.open(path, "w") as tar:
        tar.addfile(info)
    return path


@pytest.mark.parametrize(
    ("name", "target", "expected"),
    [("a/link.wav", "b.wav", "a/b.wav"), ("a/link.wav", "../b.wav", "b.wav"), ("link", "./a/x", "a/x")],
)
def test_tar_link_names_the_member_it_leads_to(tmp_path, name, target, expected):
    path = tar_with(tmp_path / "a.tar", name, tarfile.SYMTYPE, target)
    assert [member.link for member in read_members(path, shown="a")] == [expected]


@pytest.mark.parametrize("target", ["/etc/passwd", "../secret", "x/../../../secret", ".."])
def test_tar_is_refused_when_a_link_leads_outside(tmp_path, target):
    path = tar_with(tmp_path / "bad.tar", "link", tarfile.SYMTYPE, target)
    with pytest.raises(CorpusError, match=r"bad.tar: 'link' is a link to .*, outside it"):
        list_members(path)


def test_tar_is_refused_when_a_hard_link_leads_outside(tmp_path):
    path = tar_with(tmp_path / "bad.tar", "link", tarfile.LNKTYPE, "../../etc/passwd")
    with pytest.raises(CorpusError, match="outside"):
        list_members(path)


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_tar_is_refused_when_it_holds_a_device(tmp_path, kind):
    with pytest.raises(CorpusError, match=r"bad.tar: 'thing' is neither a file nor a folder"):
        list_members(tar_with(tmp_path / "bad.tar", "thing", kind))


def zip_with_link(path, target):
    info = zipfile.ZipInfo("VIVAE/link.wav")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr(info, target)
    return path


def test_zip_link_names_the_member_it_leads_to(tmp_path):
    path = zip_with_link(tmp_path / "a.zip", "a.wav")
    assert [member.link for member in read_members(path, shown="a")] == ["VIVAE/a.wav"]


def test_zip_is_refused_when_a_link_leads_outside(tmp_path):
    with pytest.raises(CorpusError, match=r"a.zip: 'VIVAE/link.wav' is a link to '../../x', outside it"):
        list_members(zip_with_link(tmp_path / "a.zip", "../../x"))


def test_zip_is_refused_when_it_is_encrypted(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"a.wav": b"x"})
    content = bytearray(path.read_bytes())
    # Bit 0 of the general purpose flags: 8 bytes into the central entry, 6 into the local one (APPNOTE 4.3.7, 4.3.12).
    content[content.index(b"PK\x01\x02") + 8] |= 1
    content[6] |= 1
    path.write_bytes(content)
    with pytest.raises(CorpusError, match=r"a.zip: encrypted; unpack it with the password"):
        list_members(path)


def test_zip_is_refused_when_its_compression_is_unknown(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"a.wav": b"x" * 99})
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 10] = content[8] = 9  # Deflate64, which Windows writes for large files
    path.write_bytes(content)
    with pytest.raises(CorpusError, match=r"a.zip: compressed in a way that Python cannot read.*name the folder"):
        read_all(path)


BIG = {"a.wav": bytes(range(256)) * 40, "b.wav": bytes(range(255, -1, -1)) * 40}


@pytest.mark.parametrize("ending", [*TAR_MODES, "zip"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_archive_is_refused_when_it_is_cut(tmp_path, ending, share):
    path = tmp_path / f"cut.{ending}"
    write_zip(path, BIG) if ending == "zip" else write_tar(path, BIG, TAR_MODES[ending])
    content = path.read_bytes()
    # Of a plain tar the last blocks are padding: a fifth of 30 kB is well inside the first member.
    end = 512 + len(BIG["a.wav"]) if ending == "tar" and share == 0.8 else int(len(content) * share)
    path.write_bytes(content[:end])
    with pytest.raises(
        CorpusError, match=rf"cut.{ending}: damaged, incomplete or no archive \(.+\); download it again"
    ):
        read_all(path)


def test_plain_tar_is_refused_when_it_is_cut_between_two_members(tmp_path):
    # Members of 700 and 512 bytes: header and 2 blocks, header and 1 block. `tarfile` itself takes a cut as the end.
    path = write_tar(tmp_path / "cut.tar", CONTENTS)
    content = path.read_bytes()
    for end in (3 * 512, 5 * 512, 5 * 512 + 100):
        path.write_bytes(content[:end])
        with pytest.raises(CorpusError, match="it ends in the middle"):
            read_all(path)


def test_tar_is_refused_when_a_header_is_damaged(tmp_path):
    path = write_tar(tmp_path / "bad.tar", CONTENTS)
    content = bytearray(path.read_bytes())
    content[3 * 512 + 5] ^= 0xFF  # in the second member's name, so that the header's checksum is wrong
    path.write_bytes(content)
    with pytest.raises(CorpusError, match="a header cannot be read"):
        read_all(path)


def test_zip_is_refused_when_a_byte_is_wrong(tmp_path):
    path = tmp_path / "bad.zip"
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("a.wav", b"x" * 1000)
    path.write_bytes(path.read_bytes().replace(b"x" * 1000, b"x" * 500 + b"y" + b"x" * 499))
    with pytest.raises(CorpusError, match=r"bad.zip: damaged.*CRC"):
        read_all(path)


@pytest.mark.parametrize("content", [b"", b"<html>Please log in</html>" * 50, b"PK\x03\x04"])
def test_file_is_refused_when_it_is_no_archive(tmp_path, content):
    path = tmp_path / "page.zip"
    path.write_bytes(content)
    with pytest.raises(CorpusError, match=r"page.zip: damaged, incomplete or no archive"):
        list_members(path)


def test_errors_of_the_disk_pass(tmp_path):
    with pytest.raises(FileNotFoundError), archive_errors("x"):
        (tmp_path / "missing").open()
