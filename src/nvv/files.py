"""Writing files so that nothing half-written is ever left under its final name.

A file is written beside its target under a temporary name and renamed when it is complete. What is written is the
callers' business. Own work.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replaced_when_complete(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside `path`, and rename it to `path` when the block ends without an error.

    Args:
        path: the final file; its folder is created if missing. An existing file is replaced only at the end.

    Yields:
        The path to write to, with the same suffix as `path`, in the same folder.

    Raises:
        FileNotFoundError: if the block ends without having written the file.

    Example:
        >>> with replaced_when_complete("notes.txt") as temporary:  # doctest: +SKIP
        ...     temporary.write_text("complete")
    """
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = final.with_name(f".incomplete-{os.getpid()}-{final.name}")
    try:
        yield temporary
        os.replace(temporary, final)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write `text` as UTF-8 with Unix line ends, all of it or nothing.

    Args:
        path: the file to write or replace.
        text: its whole content.

    Returns:
        `path` as a `Path`.
    """
    with replaced_when_complete(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    return Path(path)


_NOT_IN_FILES = re.compile(r"[^\w.+-]+")


def task_file(file: str, task_name: str, *, num_tasks: int) -> str:
    """Name the file of one task.

    Args:
        file: the name of a model's file that has one task, such as `predictions.csv`.
        task_name: the task.
        num_tasks: how many tasks the model has.

    Returns:
        The same name for a single task; of several one with the task's name before the ending, `_` in place of what is
        no letter, digit, '.', '+' or '-'.

    Example:
        >>> task_file("predictions.csv", "high", num_tasks=2)
        'predictions_high.csv'
    """
    if num_tasks == 1:
        return file
    stem, ending = os.path.splitext(file)
    return f"{stem}_{_NOT_IN_FILES.sub('_', task_name)}{ending}"
