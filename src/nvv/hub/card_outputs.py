"""The part of a model card on what the model answers, and how its labels are read.

Own work.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .card_format import names, setting

if TYPE_CHECKING:
    from .model_card import CardFacts

_AS_THEY_ARE = (
    "the model's outputs are read as they are, without softmax or sigmoid, and nothing keeps them within that scale."
)


def answers_in_words(facts: CardFacts) -> str:
    """Say in the card's first sentence what the model does with a recording."""
    tasks = facts.tasks
    if tasks is None:
        what = f"names the non-verbal vocalization in a short recording: one of {len(facts.metrics['labels'])} classes"
        if facts.model_config.get("head") == "embedding":
            what += ", by the nearest of their mean embeddings (supervised contrastive learning)"
        return what
    if len(tasks) == 1:
        return f"predicts {_count(tasks[0])} for a short recording of a voice"
    listed = ", ".join(f"`{task['name']}` ({_count(task)})" for task in tasks)
    return f"does {len(tasks)} tasks at once for a short recording of a voice: {listed}"


def _count(task: Mapping[str, Any]) -> str:
    number = len(task["outputs"])
    if task["kind"] == "classification":
        return f"one of {number} classes"
    return f"{number} numbers" if number > 1 else "a number"


def outputs_text(facts: CardFacts) -> str:
    """List what the model may answer, and say how the corpus's labels became that."""
    tasks = facts.tasks
    if tasks is None:
        return f"Classes: {names(facts.metrics['labels'])}." + _relabelled(facts)
    if len(tasks) == 1:
        return (
            f"{'Targets' if len(tasks[0]['outputs']) > 1 else 'Target'}: {names(tasks[0]['outputs'])}.\n\n"
            f"Each is a number on the scale of the corpus's column of that name: {_AS_THEY_ARE}"
        )
    lines = [f"- `{task['name']}`{_column(facts, task)}: {names(task['outputs'])}" for task in tasks]
    reading = []
    if any(task["kind"] == "regression" for task in tasks):
        reading.append(f"Numbers are on the scale of the corpus's columns of those names: {_AS_THEY_ARE}")
    if any(task["kind"] == "classification" for task in tasks):
        reading.append("Each classification is a softmax over its own outputs alone.")
    reading.append("`model.config.task_list` says which outputs belong to which task.")
    return "\n".join(lines) + "\n\n" + " ".join(reading)


def _column(facts: CardFacts, task: Mapping[str, Any]) -> str:
    """Name the column that a classification was learned from, where the run recorded it under another name."""
    if task["kind"] == "regression":
        return " (numbers)"
    described = setting(facts.metrics["provenance"].get("config"), "tasks")
    column = described.get(task["name"], {}).get("label") if isinstance(described, Mapping) else None
    return f" (classes, the corpus's column `{column}`)" if column and column != task["name"] else " (classes)"


def _relabelled(facts: CardFacts) -> str:
    """Say which classes of the corpus were put together."""
    positive = setting(facts.metrics["provenance"].get("config"), "positive_labels")
    labels = facts.metrics["labels"]
    if not positive or len(labels) != 2:
        return ""
    other, joined = labels
    noun = "class" if len(positive) == 1 else "classes"
    return f" `{joined}` stands for the corpus's {noun} {names(positive)}, `{other}` for all others."
