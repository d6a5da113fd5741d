"""The part of a model card on how well a regression did, or a model of several tasks.

CCC, correlation and recall are written as numbers up to 1 with three decimals, errors in the units of the targets; so
are the scores of a classification beside them. Own work.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..files import task_file
from .card_format import number, table, with_intervals
from .card_results import (
    CONFUSION_MATRIX,
    OTHER_SCORES,
    SCORES,
    ResultSection,
    class_table,
    confusion_description,
    is_scored,
    results_caption,
    results_notes,
    shown_split,
)

if TYPE_CHECKING:
    from .model_card import CardFacts

REGRESSION_PLOT = "regression.png"

_TASK_SCORES = {"regression": ("ccc", "pearson", "mae"), "classification": ("uar", "macro_f1", "accuracy")}


def task_caption(facts: CardFacts) -> str:
    """Say what was tested on, and how scores are written."""
    kinds = {task["kind"] for task in facts.tasks}
    named = "CCC (Lin's concordance correlation) and Pearson's correlation"
    named += "" if kinds == {"regression"} else ", UAR, macro-F1 and accuracy"
    return results_caption(facts, unit=f"{named}: at most 1; errors: in the units of the targets")


def task_table(facts: CardFacts) -> str:
    """Write the scores of every task on every split."""
    splits, tasks = facts.metrics["splits"], facts.tasks
    has_test = "test" in splits
    header = ["score", *splits, *(["without listening (test)"] if has_test else [])]
    rows = []
    if len(tasks) > 1:
        scores = [with_intervals(result["scores"].get("mean_score"), write=number) for result in splits.values()]
        rows.append([OTHER_SCORES["mean_score"], *scores, *(["-"] if has_test else [])])
    for task in tasks:
        results = [result["tasks"][task["name"]] for result in splits.values()]
        for name in _TASK_SCORES[task["kind"]]:
            row = [score_name(facts, task, name)]
            row += [with_intervals(result["scores"].get(name), write=number) for result in results]
            if has_test:
                row.append(number(_chance(splits["test"]["tasks"][task["name"]], name)))
            rows.append(row)
    return table(header, rows)


def score_name(facts: CardFacts, task: Mapping[str, Any], name: str) -> str:
    """Name a task's score, with the task where there are several."""
    title = SCORES.get(name) or OTHER_SCORES[name]
    num_targets = len(task["outputs"])
    if task["kind"] == "regression" and num_targets > 1:
        title += f", mean over {num_targets} targets"
    return title if len(facts.tasks) == 1 else f"{task['name']}: {title}"


def _chance(result: Mapping[str, Any], name: str) -> float | None:
    """Return what the best of the answers without listening scores."""
    return max((level[name] for level in result.get("chance", {}).values() if name in level), default=None)


def task_notes(facts: CardFacts) -> str:
    """Say how far the scores can be trusted, and what they were compared with."""
    kinds = {task["kind"] for task in facts.tasks}
    guesses = []
    if "regression" in kinds:
        guesses.append("for every clip the same number, the median of the target")
    if "classification" in kinds:
        guesses.append("the better of the most frequent class and random guesses")
    notes = [results_notes(facts), f"Without listening: {'; of classes '.join(guesses)}."]
    unscored = [
        f"`{task['name']}` on {split}"
        for task in facts.tasks
        for split, result in facts.metrics["splits"].items()
        if not is_scored(result["tasks"][task["name"]])
    ]
    if unscored:
        notes.append(f"Without a single reference, and so not scored: {', '.join(unscored)}.")
    return " ".join(notes)


def task_sections(facts: CardFacts) -> list[ResultSection]:
    """Write each task's scores by target or class, on the test split or the last one that has references."""
    sections = []
    for task in facts.tasks:
        name = task["name"]
        results = {split: result["tasks"][name] for split, result in facts.metrics["splits"].items()}
        split = shown_split(results)
        if split is None:
            continue
        is_regression = task["kind"] == "regression"
        of_task = "By" if len(facts.tasks) == 1 else f"{name}, by"
        plot = task_file(REGRESSION_PLOT if is_regression else CONFUSION_MATRIX, name, num_tasks=len(facts.tasks))
        sections.append(
            ResultSection(
                title=f"{of_task} {'target' if is_regression else 'class'} ({split})",
                table=_target_table(results[split])
                if is_regression
                else class_table(results[split]["per_class"], write=number),
                plot=plot if plot in facts.plots else None,
                plot_description=f"CCC of each target on the {split} clips"
                if is_regression
                else confusion_description(split),
            )
        )
    return sections


def _target_table(result: Mapping[str, Any]) -> str:
    """Write the scores of each target."""
    rows = [
        (
            target,
            *(with_intervals(scores.get(name), write=number) for name in _TASK_SCORES["regression"]),
            result["num_references_per_target"][target],
        )
        for target, scores in result["per_target"].items()
    ]
    return table(("target", *(OTHER_SCORES[name] for name in _TASK_SCORES["regression"]), "clips"), rows)
