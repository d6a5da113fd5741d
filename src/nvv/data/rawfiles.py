"""Raw folders: which files of a corpus folder count, where the corpus begins, and whether anything in it changed.

Which names are valid is each loading script's business; reading the audio is ``nvv.audio``'s.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

__all__ = ["CorpusError", "find_root", "fingerprint", "list_files"]


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
        folders[:] = sorted(name for name in folders if not _is_ignored(name))
        relative = Path(folder).relative_to(root)
        for name in names:
            if not _is_ignored(name) and (suffixes is None or os.path.splitext(name)[1].lower() in suffixes):
                found.append((relative / name).as_posix())
    return sorted(found)


def find_root(data_dir: Path, *, markers: Sequence[str], expected: str) -> Path:
    """Find where a corpus begins: the folder itself, a folder in it, or one more level down.

    Args:
        data_dir: Folder that the user named.
        markers: Glob patterns relative to the root; one match is enough to recognise it.
        expected: The layout in words, for the error.

    Returns:
        The shallowest folder that matches.

    Raises:
        CorpusError: If the folder does not exist, if none matches, or if several at the same depth do.
    """
    if not data_dir.is_dir():
        raise CorpusError(f"{data_dir}: no such folder; expected {expected}")
    level = [data_dir]
    for _ in range(3):
        matches = [folder for folder in level if any(_has_match(folder, marker) for marker in markers)]
        if len(matches) > 1:
            raise CorpusError(
                f"{data_dir}: more than one copy of the corpus ({matches[0].name!r} and {matches[1].name!r}, …); "
                "name the one to use."
            )
        if matches:
            return matches[0]
        level = [child for folder in level for child in _folders_in(folder)]
    raise CorpusError(f"{data_dir}: the corpus was not found in it, nor up to two levels down; expected {expected}")


def fingerprint(root: Path) -> str:
    """Digest of the names, sizes and modification times below a folder, which changes whenever a file is replaced.

    Args:
        root: Folder to describe. Where it does not exist, the result is empty.

    Returns:
        64 hexadecimal digits.
    """
    if not root.is_dir():
        return ""
    digest = hashlib.sha256()
    for name in list_files(root):
        status = (root / name).stat()
        digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _raise(error: OSError) -> None:
    """Stop at a folder that cannot be read, where `os.walk` would go on without it."""
    raise error


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _has_match(folder: Path, pattern: str) -> bool:
    return any(not any(_is_ignored(part) for part in match.relative_to(folder).parts) for match in folder.glob(pattern))


def _folders_in(folder: Path) -> Iterator[Path]:
    return (child for child in sorted(folder.iterdir()) if child.is_dir() and not _is_ignored(child.name))
