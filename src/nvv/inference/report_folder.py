"""The folder of a report on a model: what it must not hold, and files that appear in it together.

What is in the files is made by the neighbours that write them, `detection_report` and `embedding_folder`. Own work.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..training.results import METRICS_FILE
from .model_facts import CONFIG

__all__ = ["holds_more_than_a_report", "written_together"]


def holds_more_than_a_report(folder: Path) -> bool:
    """Say whether a folder, which need not exist, holds a model, a run or an evaluation.

    These are worth more than a report on them, which is never written over them, whatever is asked for.
    """
    return any((folder / name).exists() for name in (CONFIG, METRICS_FILE)) or any(folder.glob("checkpoint-*"))


@contextmanager
def written_together(folder: Path, *, last: str, replaced: Sequence[str] = ()) -> Iterator[Path]:
    """Give a folder to write to, and put all its files in place when the block ends without an error.

    Args:
        folder: where they go, made if missing.
        last: the file that is put in place last: where it is, all are.
        replaced: files of an earlier report that are removed before, also where they are not written again.

    Yields:
        The folder to write to, within `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".incomplete-") as name:
        partial = Path(name)
        yield partial
        for file in sorted(replaced, key=lambda file: file != last):  # what says that all are there goes first
            (folder / file).unlink(missing_ok=True)
        for file in sorted(partial.iterdir(), key=lambda file: (file.name == last, file.name)):
            os.replace(file, folder / file.name)
