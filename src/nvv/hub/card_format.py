"""How a model card writes values, tables and names.

Pure functions; what is written where is in the neighbours: `card_text` puts
the parts together. Own work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .model_card import CardFacts


def inline_code(text: str) -> str:
    """Set a text as code."""
    return f"`{text}`"


def cell(value: Any) -> str:
    """Write a value into a table's cell."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {cell(item)}" for name, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(str(item) for item in value)
    return str(value).replace("|", "\\|").replace("\n", " ")


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Write a Markdown table, numbers to the right of the first column."""
    lines = ["| " + " | ".join(header) + " |", "| --- |" + " ---: |" * (len(header) - 1)]
    lines += ["| " + " | ".join(cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines)


def facts_table(rows: Iterable[tuple[str, Any]]) -> str:
    """Write a table of names and values, leaving out what is not known."""
    known = [(name, value) for name, value in rows if value is not None and value != "" and value != []]
    lines = ["| | |", "| --- | --- |", *(f"| {name} | {cell(value)} |" for name, value in known)]
    return "\n".join(lines)


def percent(value: float | None) -> str:
    """Write a share in per cent."""
    return "-" if value is None else f"{100 * value:.1f}"


def number(value: float | None) -> str:
    """Write a score that is no share."""
    return "-" if value is None else f"{value:.3f}"


def with_intervals(score: Mapping[str, float] | None, *, write: Callable[[float], str]) -> str:
    """Write a score and its intervals, over clips and where there is one over speakers; "-" for no score."""
    if score is None:
        return "-"
    text = f"{write(score['value'])} [{write(score['low'])}, {write(score['high'])}]"
    if "speaker_low" in score:
        text += f" [{write(score['speaker_low'])}, {write(score['speaker_high'])}]"
    return text


def names(values: Iterable[str]) -> str:
    """List names as code."""
    return ", ".join(inline_code(value) for value in values)


def setting(config: Any, name: str) -> Any:
    """Return a field of the resolved configuration, at the top or in one of its groups; None where it is absent."""
    if not isinstance(config, Mapping):
        return None
    if name in config:
        return config[name]
    for group in config.values():
        if isinstance(group, Mapping) and name in group:
            return group[name]
    return None


def corpus_name(facts: CardFacts) -> str:
    """Name the corpus, as a link where it has a page."""
    corpus = facts.metrics["corpus"]
    name = corpus.get("pretty_name") or Path(corpus["name"]).name
    return f"[{name}]({corpus['homepage']})" if corpus.get("homepage") else name


def backbone_name(facts: CardFacts) -> str:
    """Name the backbone; of a folder only its last part, since where it stood on a machine says nothing."""
    name = facts.metrics["backbone"]["id"]
    return Path(name).name if Path(name).is_absolute() else name


def duration(seconds: float | None) -> str | None:
    """Write seconds as a person would."""
    if seconds is None:
        return None
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
