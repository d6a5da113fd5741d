"""How a model is scored while it trains, whatever it predicts.

Scores themselves are `nvv.metrics`'; intervals and what is written down are the neighbour `task_results`'. Own work.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..configuration_nvv import NvvConfig
from ..metrics import classification_scores, regression_scores
from ..metrics.joint import TASK_SCORES

__all__ = ["MAIN_SCORES", "MEAN_SCORE", "selection_metric", "task_scores"]

MEAN_SCORE = "mean_score"
"""Of several tasks: the mean of their main scores."""

MAIN_SCORES = TASK_SCORES
"""The score of a task that enters `mean_score`, as in the A-VB 2022 challenge."""


def selection_metric(config: NvvConfig) -> str:
    """Return the validation score that chooses the checkpoint unless another is named.

    Args:
        config: the model's.

    Returns:
        `macro_f1` for classes, `ccc` for numbers, `mean_score` for several tasks.
    """
    tasks = config.task_list
    if len(tasks) > 1:
        return MEAN_SCORE
    return "macro_f1" if tasks[0].kind == "classification" else "ccc"


def task_scores(config: NvvConfig, logits: NDArray[np.float32], labels: NDArray[np.generic]) -> dict[str, float]:
    """Score a model's outputs.

    Args:
        config: the model's, with its tasks.
        logits: (clips, outputs).
        labels: (clips,), or (clips, label columns) with NaN where missing.

    Returns:
        A single task's scores by their own names; of several `<task>_<score>`, and `mean_score`. A task without a
        single reference has none.
    """
    columns = labels[:, None] if labels.ndim == 1 else labels
    found = {
        task.name: _scores(task.kind, logits[:, task.logits], columns[:, task.labels]) for task in config.task_list
    }
    if len(found) == 1:
        return next(iter(found.values()))
    scores = {f"{name}_{score}": value for name, of_task in found.items() for score, value in of_task.items()}
    main = [found[task.name][MAIN_SCORES[task.kind]] for task in config.task_list if found[task.name]]
    return {**scores, MEAN_SCORE: float(np.mean(main))} if main else scores


def _scores(kind: str, logits: NDArray[np.float32], labels: NDArray[np.generic]) -> dict[str, float]:
    """Score one task from its own outputs and label columns."""
    if kind == "regression":
        if np.isnan(labels).all():
            return {}
        return {name: score["mean"] for name, score in regression_scores(labels, logits).items()}
    classes = labels[:, 0]
    known = ~np.isnan(classes) & (classes >= 0) if np.issubdtype(classes.dtype, np.floating) else classes >= 0
    if not known.any():
        return {}
    return classification_scores(
        classes[known].astype(np.int64), logits[known].argmax(axis=-1), num_labels=logits.shape[-1]
    )
