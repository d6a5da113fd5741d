"""Writing a folder that appears whole or not at all, and that an interrupted run leaves behind for the next to finish.

While ``NAME`` is written, everything stands in the hidden folder ``.NAME.incomplete`` beside it, which one process at a
time may hold. What is written there, and which of it can be used again, is the callers' business. Own work.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import filelock

__all__ = ["ResumableFolder", "resumable_folder"]


@dataclass(frozen=True)
class ResumableFolder:
    """The parts of the hidden folder.

    Attributes:
        path: The hidden folder, ``.NAME.incomplete``.
    """

    path: Path

    @property
    def content(self) -> Path:
        """What becomes the target."""
        return self.path / "content"

    @property
    def reports(self) -> Path:
        """Notes for the next run on what is complete; removed at the end."""
        return self.path / "reports"

    @property
    def scratch(self) -> Path:
        """Anything else that the next run may use; removed at the end."""
        return self.path / "scratch"

    @property
    def replaced(self) -> Path:
        """The earlier target, for the moment between two renames."""
        return self.path / "replaced"


@contextmanager
def resumable_folder(target: Path) -> Iterator[ResumableFolder]:
    """Give the hidden folder beside the target; its content becomes the target when the block ends without an error.

    - A `ValueError` in the block means that the input is bad: the hidden folder is removed.
    - Anything else (Ctrl-C, a full disk), and a process that is killed, leaves it as it is, and the next call gives it
      again, with what was written.

    An earlier target stays until it is replaced.

    Args:
        target: Absolute path of a folder, existing or not; missing parents are made.

    Yields:
        The hidden folder, with its parts made.

    Raises:
        BlockingIOError: If another process writes the same target.
    """
    made = _missing_parents(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = ResumableFolder(target.with_name(f".{target.name}.incomplete"))
    with _held(folder.path, target):
        if folder.replaced.exists() and not target.exists():  # killed between the two renames
            folder.replaced.rename(target)
        for part in (folder.content, folder.reports, folder.scratch):
            part.mkdir(exist_ok=True)
        try:
            yield folder
        except ValueError:
            _remove(folder.path)
            for parent in made:
                with suppress(OSError):  # not empty: somebody else uses it by now
                    parent.rmdir()
            raise
        _publish(folder, target)
        _remove(folder.path)


def _publish(folder: ResumableFolder, target: Path) -> None:
    shutil.rmtree(folder.replaced, ignore_errors=True)
    if target.exists():
        target.rename(folder.replaced)
    try:
        folder.content.rename(target)
    except OSError:
        if folder.replaced.exists():
            folder.replaced.rename(target)
        raise


@contextmanager
def _held(path: Path, target: Path) -> Iterator[None]:
    """Make the hidden folder and hold its lock, which ends with the process, however that ends."""
    while True:
        path.mkdir(exist_ok=True)
        lock = filelock.FileLock(path / "lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise BlockingIOError(
                f"{target}: another process is writing it; wait for it, or name another folder."
            ) from None
        except FileNotFoundError:  # the other process removed the folder just now, having finished
            continue
        break
    try:
        yield
    finally:
        lock.release()


def _remove(path: Path) -> None:
    """Remove the hidden folder, its lock last, so that nobody else begins in it meanwhile."""
    for entry in path.iterdir():
        if entry.name != "lock":
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    (path / "lock").unlink(missing_ok=True)
    with suppress(OSError):  # not empty: another process took it at this moment
        path.rmdir()


def _missing_parents(target: Path) -> list[Path]:
    """Name the parents that do not exist, the innermost first."""
    return [parent for parent in target.parents if not parent.exists()]
