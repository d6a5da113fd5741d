"""The files in a zip or tar archive, under names that are safe to write, with damage told from everything else.

Only regular files come out, as bytes to copy: no permissions, no owners, and no links, so that nothing can be written
outside the folder that a caller chooses. (``tarfile``'s own filters are missing in early releases of Python 3.10 and
3.11, and ``zipfile`` has none.) Where the files go is ``nvv.data.archives``'s business.
"""

from __future__ import annotations

import lzma
import posixpath
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tqdm.auto import tqdm

from .rawfiles import CorpusError, is_ignored

__all__ = ["Member", "archive_errors", "archive_stem", "is_archive", "list_members", "read_members", "unpacked_size"]

_ENDING = re.compile(r"\.(zip|tar|tar\.gz|tgz|tar\.bz2|tbz2|tar\.xz|txz)$", re.IGNORECASE)
_SHOW_PROGRESS_FROM = 64 * 2**20  # bytes
_BLOCK = 512  # bytes, of which tar archives are made


@dataclass(frozen=True)
class Member:
    """A file of an archive.

    Attributes:
        name: Path in the archive: relative, forward slashes, no ``..``.
        size: Bytes, unpacked.
        open: Opens the content; valid until the next member is asked for.
        link: Name of the member whose bytes this one shares; None for a file with its own.
    """

    name: str
    size: int
    open: Callable[[], IO[bytes]]
    link: str | None = None


def is_archive(path: Path, *, by_content: bool = False) -> bool:
    """Say whether a file is an archive, by its name or, if asked for, by its first bytes too."""
    return bool(_ENDING.search(path.name)) or (by_content and (_is_zip(path) or tarfile.is_tarfile(path)))


def archive_stem(name: str) -> str:
    """Return an archive's name without its ending."""
    return _ENDING.sub("", name)


def list_members(archive: Path, *, shown: str = "") -> list[str]:
    """Return the names of an archive's files.

    Args:
        archive: Zip or tar file.
        shown: What errors name; by default ``archive``.

    Raises:
        CorpusError: As for `read_members`.
    """
    shown = shown or str(archive)
    with archive_errors(shown):
        return [member.name for member in _members(archive, shown, lambda _: None)]


def read_members(archive: Path, *, shown: str) -> Iterator[Member]:
    """Go through an archive's files, in its own order; what macOS added and hidden files are left out.

    Reading them is to happen within `archive_errors`.

    Args:
        archive: Zip or tar file, told apart by their first bytes.
        shown: What errors name.

    Raises:
        CorpusError: If a name or link would lead outside, if a member is neither file nor folder, or if the archive is
            encrypted.
    """
    total = unpacked_size(archive)
    name = archive.name
    with tqdm(
        total=total, unit="B", unit_scale=True, desc=f"Unpacking {name}", disable=total < _SHOW_PROGRESS_FROM
    ) as bar:
        yield from _members(archive, shown, lambda position: bar.update(position - bar.n))


def unpacked_size(archive: Path) -> int:
    """Return how many bytes an archive's files have; of a tar, which does not say, the archive's own size."""
    if not _is_zip(archive):
        return archive.stat().st_size
    with zipfile.ZipFile(archive) as opened:
        return sum(info.file_size for info in opened.infolist())


@contextmanager
def archive_errors(shown: str) -> Iterator[None]:
    """Turn what the standard library raises for a bad archive into a `CorpusError`; errors of the disk pass.

    Args:
        shown: The archive's name.
    """
    try:
        yield
    except NotImplementedError as error:
        raise CorpusError(
            f"{shown}: compressed in a way that Python cannot read ({error}); unpack it with another program and name "
            "the folder."
        ) from error
    except (EOFError, lzma.LZMAError, struct.error, tarfile.TarError, zipfile.BadZipFile, zlib.error) as error:
        raise _damaged(shown, error) from error
    except OSError as error:
        if error.errno is not None:  # gzip and bz2 raise OSError without a number
            raise
        raise _damaged(shown, error) from error


def _damaged(shown: str, reason: Exception | str) -> CorpusError:
    first_line = str(reason).partition("\n")[0].strip().rstrip(":.") or type(reason).__name__
    return CorpusError(f"{shown}: damaged, incomplete or no archive ({first_line}); download it again.")


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


def _members(archive: Path, shown: str, progress: Callable[[int], None]) -> Iterator[Member]:
    return (_zip_members if _is_zip(archive) else _tar_members)(archive, shown, progress)


def _zip_members(archive: Path, shown: str, progress: Callable[[int], None]) -> Iterator[Member]:
    position = 0
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            name = _safe_name(_zip_name(info), shown)
            if name is not None and not info.is_dir():
                if info.flag_bits & 0x1:
                    raise CorpusError(
                        f"{shown}: encrypted; unpack it with the password its owners gave you and name the folder."
                    )
                link = None
                if stat.S_ISLNK(info.external_attr >> 16):
                    link = _link_target(name, _text(opened.read(info)), shown)
                yield Member(name, info.file_size, lambda info=info: opened.open(info), link)
            position += info.file_size
            progress(position)


def _tar_members(archive: Path, shown: str, progress: Callable[[int], None]) -> Iterator[Member]:
    with archive.open("rb") as file, tarfile.open(fileobj=file, mode="r:*") as opened:
        for info in opened:
            name = _safe_name(_tar_text(info.name), shown)
            if name is not None and not info.isdir():
                yield _tar_member(opened, info, name, shown)
            progress(file.tell())
        _check_tar_end(opened, shown)


def _tar_member(opened: tarfile.TarFile, info: tarfile.TarInfo, name: str, shown: str) -> Member:
    link = None
    if info.issym():
        link = _link_target(name, _tar_text(info.linkname), shown)
    elif info.islnk():
        link = _safe_name(_tar_text(info.linkname), shown) or ""
    elif not info.isfile():
        raise CorpusError(f"{shown}: {name!r} is neither a file nor a folder; not unpacked.")

    def open_file() -> IO[bytes]:
        content = opened.extractfile(info)
        if content is None:
            raise tarfile.ReadError(f"{name} cannot be read")
        return content

    return Member(name, info.size, open_file, link)


def _check_tar_end(opened: tarfile.TarFile, shown: str) -> None:
    """Refuse a tar that stops before its end mark, or has more behind it: `tarfile` takes either for the end."""
    rest = opened.fileobj
    if rest.tell() - opened.offset < _BLOCK:
        raise _damaged(shown, "it ends in the middle")
    while chunk := rest.read(2**20):
        if chunk.strip(b"\0"):
            raise _damaged(shown, "a header cannot be read")


def _safe_name(name: str, shown: str) -> str | None:
    """Return a member's name in normal form; None for what is left out."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or re.match(r"[A-Za-z]:", name) or ".." in parts or "\0" in name:
        raise CorpusError(f"{shown}: {name!r} would be written outside the folder; the archive is not to be trusted.")
    return None if not parts or any(map(is_ignored, parts)) else "/".join(parts)


def _link_target(name: str, target: str, shown: str) -> str:
    resolved = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
    if resolved.startswith(("/", "../")) or resolved == "..":
        raise CorpusError(f"{shown}: {name!r} is a link to {target!r}, outside it; the archive is not to be trusted.")
    return resolved


def _zip_name(info: zipfile.ZipInfo) -> str:
    """Return a name as its writer meant it: zip has no encoding but code page 437 and flagged UTF-8, and few obey."""
    name = info.orig_filename
    if not info.flag_bits & 0x800:
        # Otherwise code page 437 after all, or one that nothing names: still a name that can be written.
        with suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return name.replace("\\", "/")


def _tar_text(text: str) -> str:
    """Return a name without the stand-ins that `tarfile` puts for bytes that are not UTF-8: tables cannot hold them."""
    return _text(text.encode("utf-8", "surrogateescape"))


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")
