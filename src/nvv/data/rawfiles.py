"""Raw folders: which files of a corpus folder count, where the corpus begins, and whether anything in it changed.

Which names are valid is each loading script's business; reading the audio is ``nvv.audio``'s, unpacking
``nvv.data.archives``'s.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
from collections.abc import Callable, Collection, Sequence
from functools import cache
from pathlib import Path

__all__ = ["CorpusError", "find_root", "fingerprint", "is_ignored", "list_files", "search_roots"]

# What a folder holds: the names of its folders and of its files. The argument is relative to where the search begins,
# with forward slashes; "" is that place itself.
ListFolder = Callable[[str], tuple[list[str], list[str]]]


class CorpusError(ValueError):
    """A raw folder that is not laid out as its corpus is; the message names the file or folder and the next step."""


def list_files(root: Path, *, suffixes: Collection[str] | None = None) -> list[str]:
    """List the files below a folder, in the same order on every machine.

    Hidden files and folders (a leading dot, which covers macOS's ``._*`` resource files) and ``__MACOSX`` are left out.
    Links are followed, each folder once.

    Args:
        root: Folder to walk.
        suffixes: Endings to keep, lower case with the dot, compared without regard to case; None keeps all.

    Returns:
        Paths relative to ``root`` with forward slashes, sorted by code point.
    """
    found = []
    visited = set()
    for folder, folders, names in os.walk(root, followlinks=True, onerror=_raise):
        real = os.path.realpath(folder)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        # Sorted, so that of two links to one folder the same one is followed everywhere.
        folders[:] = sorted(name for name in folders if not is_ignored(name))
        relative = Path(folder).relative_to(root).as_posix()
        prefix = "" if relative == "." else f"{relative}/"
        found += [
            prefix + name
            for name in names
            if not is_ignored(name) and (suffixes is None or os.path.splitext(name)[1].lower() in suffixes)
        ]
    return sorted(found)


def find_root(data_dir: Path, *, markers: Sequence[str], expected: str, shown: Path | None = None) -> Path:
    """Find where a corpus begins: the folder itself, a folder in it, or one more level down.

    Args:
        data_dir: Folder that the user named.
        markers: Patterns relative to the root, ``*``, ``?`` and ``[…]`` in any part, compared without regard to case;
            one match is enough to recognise it.
        expected: The layout in words, for the error.
        shown: What errors name instead of ``data_dir``: the archive that was unpacked there.

    Returns:
        The shallowest folder that matches.

    Raises:
        CorpusError: If the folder does not exist, if none matches, or if several at the same depth do.
    """
    shown = shown or data_dir
    if not data_dir.is_dir():
        raise CorpusError(f"{shown}: no such folder; expected {expected}")
    roots = search_roots(list_folder_of(data_dir), markers)
    if len(roots) > 1:
        raise CorpusError(
            f"{shown}: more than one copy of the corpus ({Path(roots[0]).name!r} and {Path(roots[1]).name!r}, …); "
            "name the one to use."
        )
    if not roots:
        raise CorpusError(f"{shown}: the corpus was not found in it, nor up to two levels down; expected {expected}")
    return data_dir / roots[0]


def search_roots(list_folder: ListFolder, markers: Sequence[str]) -> list[str]:
    """Find every place where a corpus begins, on the shallowest of three levels that has one.

    Args:
        list_folder: What a folder, on disk or in an archive, holds.
        markers: As for `find_root`.

    Returns:
        Relative paths, sorted; empty where no folder matches.
    """
    list_folder = cache(list_folder)
    patterns = [
        [re.compile(fnmatch.translate(part), re.IGNORECASE) for part in marker.split("/")] for marker in markers
    ]
    level = [""]
    for _ in range(3):
        roots = [folder for folder in level if any(_has_match(list_folder, folder, parts) for parts in patterns)]
        if roots:
            return roots
        level = [_join(folder, child) for folder in level for child in sorted(list_folder(folder)[0])]
    return []


def list_folder_of(root: Path) -> ListFolder:
    """Return the function that lists folders below ``root``, without what `list_files` leaves out."""

    def list_folder(folder: str) -> tuple[list[str], list[str]]:
        folders: list[str] = []
        files: list[str] = []
        try:
            with os.scandir(root / folder) as entries:
                for entry in entries:
                    if not is_ignored(entry.name):
                        (folders if entry.is_dir() else files).append(entry.name)
        except OSError as error:
            raise CorpusError(f"{root / folder}: cannot be read ({error.strerror}).") from error
        return folders, files

    return list_folder


def fingerprint(path: Path) -> str:
    """Digest of the names, sizes and modification times of files, which changes whenever one is replaced.

    Args:
        path: Folder whose files to describe, or one file, such as an archive.

    Returns:
        64 hexadecimal digits; empty where nothing is there.
    """
    if path.is_file():
        folder, names = path.parent, [path.name]
    elif path.is_dir():
        folder, names = path, list_files(path)
    else:
        return ""
    digest = hashlib.sha256()
    for name in names:
        status = (folder / name).stat()
        digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def is_ignored(name: str) -> bool:
    """Say whether a file or folder of this name is no part of any corpus: hidden, or made by macOS."""
    return name.startswith(".") or name == "__MACOSX"


def _raise(error: OSError) -> None:
    """Stop at a folder that cannot be read, where `os.walk` would go on without it."""
    raise error


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _has_match(list_folder: ListFolder, folder: str, parts: list[re.Pattern[str]]) -> bool:
    folders, files = list_folder(folder)
    part, *rest = parts
    if not rest:
        return any(map(part.match, files)) or any(map(part.match, folders))
    return any(_has_match(list_folder, _join(folder, name), rest) for name in folders if part.match(name))
