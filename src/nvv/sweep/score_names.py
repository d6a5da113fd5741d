"""The scores that a report can be about: of classes, of numbers, and the one that holds for either.

`mean_score` is a run's main score, which lets runs with other tasks stand in one grid: CCC where numbers are predicted,
UAR where classes are, and the mean of these over a run's several tasks. A table holds runs that predict the same, so
there it is known which of them is meant: `metric_of` says. Scores with which less is better are not among them, as
tables and ranks take the highest for the best. Own work.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ..metrics import SCORE_NAMES
from ..training.plots import SCORE_TITLES
from ..training.scores import MAIN_SCORES, MEAN_SCORE

__all__ = [
    "CLASSES",
    "MEAN_SCORE",
    "NUMBERS",
    "NUMBER_SCORES",
    "REPORT_SCORES",
    "SEVERAL_TASKS",
    "metric_of",
    "predicts",
    "score_label",
    "score_title",
    "score_unit",
]

NUMBER_SCORES = ("ccc", "pearson")
"""Scores of runs that predict numbers, each the mean over targets; in [-1, 1]."""

REPORT_SCORES = (*SCORE_NAMES, *NUMBER_SCORES, MEAN_SCORE)
"""What `metric` of a report or claim may be."""

CLASSES, NUMBERS, SEVERAL_TASKS = "classes", "numbers", "several tasks"

_TITLES = {
    **SCORE_TITLES,
    "ccc": "CCC",
    "pearson": "Pearson's correlation",
    MEAN_SCORE: "mean of CCC and UAR over the tasks",
}


def predicts(metrics: Mapping[str, Any]) -> str:
    """Say what a run predicts: `classes`, `numbers` or `several tasks`.

    Args:
        metrics: the content of its `metrics.json`.
    """
    tasks = metrics.get("tasks") or []
    if len(tasks) > 1:
        return SEVERAL_TASKS
    return NUMBERS if tasks and tasks[0]["kind"] == "regression" else CLASSES


def metric_of(runs: pd.DataFrame, metric: str) -> str:
    """Return the score by which runs are compared.

    Args:
        runs: runs of one corpus and split protocol.
        metric: one of `REPORT_SCORES`.

    Returns:
        The metric; of `mean_score` what it is for what the finished runs predict, where all predict the same.
    """
    kinds = set(runs.loc[runs["status"] == "done", "predicts"].dropna()) if "predicts" in runs else {CLASSES}
    if metric != MEAN_SCORE or len(kinds) != 1:
        return metric
    main = {CLASSES: MAIN_SCORES["classification"], NUMBERS: MAIN_SCORES["regression"]}
    return main.get(kinds.pop(), MEAN_SCORE)


def score_title(metric: str) -> str:
    """Return a score's name for tables and pictures."""
    return _TITLES[metric]


def score_unit(metric: str) -> str:
    """Say how a score is written: all are multiplied by 100, but a correlation is no share of anything."""
    return "in per cent" if metric in SCORE_NAMES else "times 100"


def score_label(metric: str) -> str:
    """Return a score's name with its unit, short enough for the side of a picture."""
    if metric in SCORE_NAMES:
        return f"{_TITLES[metric]} (%)"
    return f"{'score' if metric == MEAN_SCORE else _TITLES[metric]} (× 100)"
