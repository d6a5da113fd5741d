"""The part of a model card on how well a classifier did; `card_tasks` words that of other models.

Scores are written in per cent with one decimal. Own work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .card_format import corpus_name, percent, table, with_intervals

if TYPE_CHECKING:
    from .model_card import CardFacts

CONFUSION_MATRIX = "confusion_matrix.png"

SCORES = {
    "macro_f1": "macro-F1",
    "uar": "UAR (balanced accuracy)",
    "accuracy": "accuracy",
    "weighted_f1": "weighted F1",
    "macro_precision": "macro precision",
}

OTHER_SCORES = {
    "ccc": "CCC",
    "pearson": "Pearson correlation",
    "mae": "mean absolute error",
    "mean_score": "mean over tasks of CCC or UAR",
}


@dataclass(frozen=True, kw_only=True)
class ResultSection:
    """A part of the results under a title of its own.

    Args:
        title: its title.
        table: its table.
        note: what stands before the table; may be empty.
        plot: the picture's file beside the card, or None.
        plot_description: what the picture shows.
    """

    title: str
    table: str
    note: str = ""
    plot: str | None = None
    plot_description: str = ""


def score_title(name: str | None) -> str | None:
    """Return what a score is called in a sentence."""
    return SCORES.get(name) or OTHER_SCORES.get(name) or name


def results_caption(facts: CardFacts, *, unit: str = "Scores in per cent") -> str:
    """Say what was tested on, and how scores are written."""
    parts = []
    for name, result in facts.metrics["splits"].items():
        speakers = f" by {result['num_speakers']} speakers" if result.get("num_speakers") else ""
        known = "" if facts.tasks is not None else _known_references(result)
        parts.append(f"{name} {result['num_clips']} clips{speakers}{known}")
    has_two = any(len(interval.get("units", ())) > 1 for interval in intervals(facts))
    brackets = "intervals" if has_two else "interval"
    return (
        f"{corpus_name(facts)}, split protocol `{facts.metrics['corpus']['config']}`: {', '.join(parts)}. "
        f"{unit}; in brackets the 95 % bootstrap {brackets}."
    )


def intervals(facts: CardFacts) -> list[Mapping[str, Any]]:
    """Return how the intervals of each split were made; a split without references has none."""
    return [result["interval"] for result in facts.metrics["splits"].values() if is_scored(result)]


def is_scored(result: Mapping[str, Any]) -> bool:
    """Say whether a split or a task of it has references, as all have that do not say otherwise."""
    return bool(result["scores"]) or result.get("num_references") != 0


def _known_references(result: Mapping[str, Any]) -> str:
    """Say how many clips have a label, where some have none."""
    known = result.get("num_references", result["num_clips"])
    if known == result["num_clips"]:
        return ""
    return f" ({known} of them labelled)" if known else " (none of them labelled)"


def results_table(facts: CardFacts) -> str:
    """Write the scores of every split."""
    splits = facts.metrics["splits"]
    header = ["score", *splits, *(["majority class (test)", "random guess (test)"] if "test" in splits else [])]
    rows = []
    for name, title in SCORES.items():
        row = [title]
        row += [
            with_intervals(result["scores"][name], write=percent) if is_scored(result) else "-"
            for result in splits.values()
        ]
        if "test" in splits:
            chance = splits["test"]["chance"] if is_scored(splits["test"]) else {"majority": {}, "random": {}}
            row += [percent(chance["majority"].get(name)), percent(chance["random"].get(name))]
        rows.append(row)
    return table(header, rows)


def results_notes(facts: CardFacts) -> str:
    """Say how far the scores can be trusted."""
    interval = next(iter(intervals(facts)), None)
    if interval is None:
        return "No clip has a reference, so nothing could be scored."
    training = facts.metrics["training"]
    chosen = score_title(training["selection_metric"])
    note = facts.metrics["corpus"].get("protocol_note")
    fairness = note or (
        f"The validation split chose the checkpoint (by {chosen}), so its scores are optimistic; the test split was "
        "only reported."
    )
    drawn = "whole speakers are" if interval["unit"] == "speaker" else "clips are"
    if len(interval.get("units", ())) > 1:
        drawn = "clips (first brackets) or whole speakers (second) are"
    return (
        f"{fairness} Intervals: {interval['method']}, {interval['num_resamples']:,} resamples in which {drawn} "
        "drawn. They cover the chance of which clips were tested, not that of another training run."
    )


def result_sections(facts: CardFacts) -> list[ResultSection]:
    """Write the scores of each class."""
    split = shown_split(facts.metrics["splits"])
    if split is None:
        return []
    return [
        ResultSection(
            title=f"By class ({split})",
            table=class_table(facts.metrics["splits"][split]["per_class"], write=percent),
            plot=CONFUSION_MATRIX if CONFUSION_MATRIX in facts.plots else None,
            plot_description=confusion_description(split),
        )
    ]


def shown_split(results: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Return the split to show of those by name: the test split, or the last one that has references; None: none."""
    scored = [name for name, result in results.items() if is_scored(result)]
    return "test" if "test" in scored else (scored[-1] if scored else None)


def class_table(per_class: Sequence[Mapping[str, Any]], *, write: Callable[[float | None], str]) -> str:
    """Write the scores of each class."""
    rows = [
        (row["label"], write(row["precision"]), write(row["recall"]), write(row["f1"]), row["num_references"])
        for row in per_class
    ]
    return table(("class", "precision", "recall", "F1", "clips"), rows)


def confusion_description(split: str) -> str:
    """Describe the picture for who cannot see it."""
    return f"Confusion matrix of the {split} clips: true classes by row, predicted classes by column"
