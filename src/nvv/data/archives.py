"""Raw corpora as they were downloaded: a folder, an archive, or a folder of archives; unpacked once and kept.

Nothing of an archive is trusted: names are checked, links are never created, and what is unpacked appears under its
final name only when all of it is there. How members are read is ``nvv.data.archive_members``'s business; where a corpus
begins is ``nvv.data.rawfiles``'s.
"""

from __future__ import annotations

import errno
import filecmp
import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from filelock import FileLock

from .archive_members import Member, archive_errors, archive_stem, is_archive, list_members, read_members, unpacked_size
from .rawfiles import CorpusError, ListFolder, find_root, list_folder_of, search_roots

__all__ = ["folder_when_complete", "open_raw", "unpack", "unpack_into"]

logger = logging.getLogger(__name__)

# Part of each folder's name: to be raised when the same archive would be laid out otherwise.
_LAYOUT_VERSION = 1


def open_raw(data_dir: Path, *, markers: Sequence[str], expected: str, cache_dir: Path) -> Path:
    """Find where a corpus begins in what the user has of it, and unpack it first where it is packed.

    Args:
        data_dir: The corpus's folder, up to two levels above where it begins; an archive of it (zip, tar, tar.gz,
            tar.bz2, tar.xz), which may hold further archives; or a folder of such archives, of which those that hold
            the corpus are taken.
        markers: Patterns that show where it begins, as for `nvv.data.rawfiles.find_root`.
        expected: The layout in words, for errors.
        cache_dir: Where archives are unpacked; each is unpacked once until it changes.

    Returns:
        The folder in which the corpus begins.

    Raises:
        CorpusError: If nothing is there, if the corpus is not found or found twice, or if an archive is damaged,
            encrypted, unsafe, or larger than the free disk space.
    """
    if data_dir.is_file():
        if not is_archive(data_dir, by_content=True):
            raise CorpusError(
                f"{data_dir}: neither a folder nor an archive that can be unpacked here (zip, tar, tar.gz, tar.bz2, "
                f"tar.xz); unpack it and name the folder; expected {expected}"
            )
        return _root_in_archives([data_dir], shown=data_dir, markers=markers, expected=expected, cache_dir=cache_dir)
    if data_dir.is_dir() and not search_roots(list_folder_of(data_dir), markers):
        archives = _archives_with_corpus(data_dir, markers, expected=expected)
        if archives:
            return _root_in_archives(archives, shown=data_dir, markers=markers, expected=expected, cache_dir=cache_dir)
    return find_root(data_dir, markers=markers, expected=expected)


def unpack(archives: Sequence[Path], *, cache_dir: Path, check: Callable[[Path], object] | None = None) -> Path:
    """Unpack archives side by side into a folder of the cache, or find them unpacked there.

    Args:
        archives: What to unpack. A single one is unpacked as it is; of several, one that does not hold everything in
            one folder gets a folder of its own name.
        cache_dir: The result is a folder below it, named after the archives' paths, sizes and times.
        check: Called with what was unpacked before it is kept; what it raises leaves nothing behind.

    Returns:
        The folder.

    Raises:
        CorpusError: As for `open_raw`.
    """
    folder = cache_dir / "extracted" / _digest(archives)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.is_dir():
            with folder_when_complete(folder) as temporary:
                for archive in archives:
                    unpack_into(temporary, archive, own_folder=len(archives) > 1)
                if check is not None:
                    check(temporary)
    return folder


@contextmanager
def folder_when_complete(folder: Path) -> Iterator[Path]:
    """Give an empty folder beside ``folder``, renamed to it when the block ends without an error, removed otherwise.

    The caller holds the lock on ``folder``, so what a killed process left under the temporary name is removed first.
    """
    temporary = folder.with_name(f".incomplete-{folder.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def unpack_into(folder: Path, archive: Path, *, own_folder: bool, name: str = "") -> list[Path]:
    """Unpack an archive, and the archives that are in it (one level), into an existing folder.

    Args:
        folder: Where to; what is there already may be met again only with the same bytes.
        archive: What to unpack.
        own_folder: Give it a folder of its own name there, unless all it holds is in one folder anyway.
        name: What it is called where ``archive`` has a name of the cache's.

    Returns:
        The files.

    Raises:
        CorpusError: As for `open_raw`.
    """
    shown = name or str(archive)
    own_name = (name or archive.name) if own_folder else ""
    files = []
    with _disk_errors(shown, folder):
        for path in _write_members(folder, archive, shown=shown, own_name=own_name):
            if is_archive(path):
                inner = f"{shown}: {path.relative_to(folder).as_posix()}"
                files += _write_members(path.parent, path, shown=inner, own_name=path.name)
                path.unlink()
            else:
                files.append(path)
    return files


def _root_in_archives(
    archives: Sequence[Path], *, shown: Path, markers: Sequence[str], expected: str, cache_dir: Path
) -> Path:
    def find(folder: Path) -> Path:
        return find_root(folder, markers=markers, expected=expected, shown=shown)

    # Found before it is kept: an archive without the corpus leaves nothing in the cache.
    return find(unpack(archives, cache_dir=cache_dir, check=find))


def _archives_with_corpus(folder: Path, markers: Sequence[str], *, expected: str) -> list[Path]:
    """Return the archives in a folder, or one level down, that hold the corpus; only what belongs to it is unpacked."""
    list_folder = list_folder_of(folder)
    archives = [folder / name for name in list_folder("")[1] if is_archive(folder / name)]
    if not archives:
        archives = [
            folder / child / name
            for child in list_folder("")[0]
            for name in list_folder(child)[1]
            if is_archive(folder / child / name)
        ]
    if len(archives) < 2:
        return archives  # no need to list it first, which takes long for a compressed tar
    names: dict[Path, list[str]] = {}
    unreadable = []
    for archive in sorted(archives):
        try:
            names[archive] = list_members(archive)
        except CorpusError as error:  # it may be any other archive
            unreadable.append(str(error))
    holders = [path for path in names if search_roots(_list_names(names[path], path.name), markers)]
    holders = holders or [path for path in names if any(is_archive(Path(name)) for name in names[path])]
    if not holders:
        raise CorpusError(
            " ".join(
                [
                    f"{folder}: the corpus was not found in it, nor in its {len(archives)} archives "
                    f"({min(archives).name}, …); expected {expected}",
                    *unreadable,
                ]
            )
        )
    return holders


def _list_names(names: Sequence[str], own_name: str) -> ListFolder:
    """Return the function that lists folders of an archive as they would lie once it is unpacked beside others."""
    prefix = _own_folder(names, own_name)
    tree: dict[str, tuple[set[str], set[str]]] = {"": (set(), set())}
    for name in names:
        *parents, last = (prefix + name).split("/")
        folder = ""
        for parent in parents:
            tree[folder][0].add(parent)
            folder = f"{folder}/{parent}" if folder else parent
            tree.setdefault(folder, (set(), set()))
        tree[folder][1].add(last)
    return lambda folder: (sorted(tree[folder][0]), sorted(tree[folder][1]))


def _own_folder(names: Sequence[str], own_name: str) -> str:
    """Return the folder an archive gets among others: none where all it holds is in one folder anyway."""
    tops = {name.split("/", 1)[0] if "/" in name else "" for name in names}
    return "" if len(tops) == 1 and "" not in tops else f"{archive_stem(own_name)}/"


def _write_members(folder: Path, archive: Path, *, shown: str, own_name: str) -> list[Path]:
    """Write an archive's files below a folder, in one of their own if it has a name, and return their paths."""
    with archive_errors(shown):
        base = folder / _own_folder(list_members(archive, shown=shown), own_name) if own_name else folder
        if unpacked_size(archive) > shutil.disk_usage(folder).free:
            raise _no_space(shown, folder)
        written: dict[str, Path] = {}
        links: list[Member] = []
        for member in read_members(archive, shown=shown):
            if member.link is None:
                with member.open() as content:
                    _write_file(base / member.name, content, shown=f"{shown}: {member.name}")
                written[member.name] = base / member.name
            else:
                links.append(member)
    _copy_linked(base, links, written, shown=shown)
    return list(written.values())


def _copy_linked(base: Path, links: list[Member], written: dict[str, Path], *, shown: str) -> None:
    """Give each link the bytes of the file it leads to; a link to a link waits until that one has them."""
    while ready := [member for member in links if member.link in written]:
        for member in ready:
            with written[member.link].open("rb") as content:
                _write_file(base / member.name, content, shown=f"{shown}: {member.name}")
            written[member.name] = base / member.name
        links = [member for member in links if member.name not in written]
    for member in links:
        logger.warning(
            "%s: left out %s, a link to %s, which is no file of the archive.", shown, member.name, member.link
        )


def _write_file(path: Path, content: IO[bytes], *, shown: str) -> None:
    """Write a new file; where one is already, check that it is the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    again = path.with_name(f".again-{path.name}")
    try:
        file = path.open("xb")
    except FileExistsError:
        file = again.open("xb")
    with file:
        shutil.copyfileobj(content, file, 2**20)
    if Path(file.name) == again:
        if not filecmp.cmp(path, again, shallow=False):
            raise CorpusError(f"{shown}: there twice, with different content; name the archive to use.")
        again.unlink()


@contextmanager
def _disk_errors(shown: str, folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _no_space(shown, folder) from error
        raise CorpusError(f"{shown}: cannot be unpacked ({error}).") from error


def _no_space(shown: str, folder: Path) -> CorpusError:
    free = shutil.disk_usage(folder).free / 1e9
    return CorpusError(
        f"{shown}: not enough disk space to unpack it below {folder.parent} ({free:.1f} GB free); make room, choose "
        "another cache_dir, or unpack it elsewhere and name the folder."
    )


def _digest(archives: Sequence[Path]) -> str:
    digest = hashlib.sha256(f"{_LAYOUT_VERSION}\n".encode())
    for archive in archives:
        status = archive.stat()
        line = f"{archive.resolve()}\0{status.st_size}\0{status.st_mtime_ns}\n"
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:32]
