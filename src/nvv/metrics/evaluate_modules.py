"""The `evaluate` modules of this folder: which there are, what belongs to each, and loading them by path.

A module is one file, with the arithmetic in a sibling that `evaluate` copies along: each loads without `nvv`. Siblings
are what a module names in `from .sibling import`. `nvv.hub.push_metric` uploads them. Own work.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import evaluate

_FOLDER = Path(__file__).parent

# By name, as classes are called. A file may not be called like a function of `nvv.metrics`: importing it would put the
# module in the function's place.
_FILES = {
    "accuracy": "accuracy.py",
    "ccc": "ccc.py",
    "confusion_matrix": "confusion.py",
    "f1": "f1.py",
    "mae": "mae.py",
    "pearson": "pearson.py",
    "per_class": "per_class.py",
    "precision": "precision.py",
    "recall": "recall.py",
    "uar": "uar.py",
}
METRIC_NAMES = tuple(_FILES)


def metric_file(name: str) -> Path:
    """Return a module's file, which `evaluate.load` takes.

    Args:
        name: one of `METRIC_NAMES`.

    Returns:
        The file's path.

    Raises:
        ValueError: for another name.
    """
    if name not in _FILES:
        raise ValueError(f"metric: expected one of {', '.join(METRIC_NAMES)}, found {name!r}.")
    return _FOLDER / _FILES[name]


def metric_siblings(name: str) -> list[Path]:
    """Return the files that a module imports from beside itself.

    Args:
        name: one of `METRIC_NAMES`.

    Returns:
        Their paths, sorted.

    Raises:
        ValueError: for another name.
    """
    text = metric_file(name).read_text(encoding="utf-8")
    return sorted({_FOLDER / f"{sibling}.py" for sibling in re.findall(r"^from \.(\w+) import", text, re.MULTILINE)})


def load_metric(
    name: str,
    *,
    num_process: int = 1,
    process_id: int = 0,
    experiment_id: str | None = None,
    keep_in_memory: bool = False,
) -> evaluate.EvaluationModule:
    """Load a metric of this package as an `evaluate` module.

    Args:
        name: one of `METRIC_NAMES`.
        num_process: how many processes add to it.
        process_id: which of them this one is.
        experiment_id: keeps apart what several evaluations write at the same time.
        keep_in_memory: whether predictions wait in memory rather than in a file of the cache; for one process only.

    Returns:
        The module, with `add`, `add_batch` and `compute`.

    Raises:
        ValueError: for another name.

    Example:
        >>> load_metric("uar").compute(references=[0, 0, 1], predictions=[0, 1, 1])
        {'uar': 0.75}
    """
    import evaluate  # here: it takes seconds, and scores need it not

    return evaluate.load(
        str(metric_file(name)),
        num_process=num_process,
        process_id=process_id,
        experiment_id=experiment_id,
        keep_in_memory=keep_in_memory,
    )
