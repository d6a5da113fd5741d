"""Markdown tables of a dataset card: what the parts of a split hold, and long lists kept short. Own work.

The numbers are ``nvv.hub.dataset_summary``'s, the text around the tables ``nvv.hub.dataset_card``'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from .dataset_summary import ProtocolSummary, TargetSummary

__all__ = ["class_table", "counted", "fold_table", "limited_table", "markdown_table", "target_table"]

_MAX_ROWS = 25  # a longer list stands in a file of its own
_MAX_OPEN_TARGETS = 12  # more are folded away, to be opened by who wants them


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay out a table, the first column to the left, the others to the right; ``|`` in a cell is escaped."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1)]
    lines += [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def limited_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out the first rows of a long list, and say how many more there are."""
    table = markdown_table(header, rows[:_MAX_ROWS])
    return table if len(rows) <= _MAX_ROWS else f"{table}\n\n… and {len(rows) - _MAX_ROWS:,} more."


def class_table(protocol: ProtocolSummary, labels: Sequence[str] | None) -> str:
    """Lay out classes by splits, with clips and speakers below."""
    return _counts(protocol, labels, list(protocol.num_clips))


def fold_table(protocol: ProtocolSummary, labels: Sequence[str] | None) -> str:
    """Lay out classes by the parts of folds, with clips and speakers below."""
    return _counts(protocol, labels, [f"part {part}" for part in protocol.num_clips])


def target_table(protocol: ProtocolSummary, targets: Sequence[str]) -> str:
    """Lay out targets by splits: mean, range and what is missing; empty where there are none."""
    if not protocol.targets:
        return ""
    parts = list(protocol.num_clips)
    rows = [(f"`{target}`", *(_target_cell(protocol.targets[target, part]) for part in parts)) for target in targets]
    table = markdown_table(("target: mean (lowest to highest)", *(str(part) for part in parts)), rows)
    if len(targets) <= _MAX_OPEN_TARGETS:
        return table
    return f"<details>\n<summary>{len(targets)} targets</summary>\n\n{table}\n\n</details>"


def counted(numbers: Mapping[str, int]) -> str:
    """Name values, the most frequent first, with their numbers of clips where there are several."""
    if len(numbers) == 1:
        return next(iter(numbers))
    ranked = sorted(numbers.items(), key=lambda item: (-item[1], item[0]))
    text = ", ".join(f"{value} ({number:,} clips)" for value, number in ranked[:_MAX_ROWS])
    return text if len(ranked) <= _MAX_ROWS else f"{text} and {len(ranked) - _MAX_ROWS} others"


def _counts(protocol: ProtocolSummary, labels: Sequence[str] | None, header: Sequence[str]) -> str:
    parts = list(protocol.num_clips)
    names: list[tuple[str, str | None]] = [(label, label) for label in labels or ()]
    if labels and any(protocol.classes.get((None, part)) for part in parts):
        names.append(("not released", None))
    rows = [(name, *(f"{protocol.classes.get((label, part), 0):,}" for part in parts)) for name, label in names]
    rows.append(("**clips**", *(f"{protocol.num_clips[part]:,}" for part in parts)))
    if protocol.num_speakers:
        rows.append(("**speakers**", *(f"{protocol.num_speakers[part]:,}" for part in parts)))
    return markdown_table(("class" if labels else "", *header), rows)


def _target_cell(summary: TargetSummary) -> str:
    missing = f"{summary.num_missing:,} missing" if summary.num_missing else ""
    if summary.mean != summary.mean:  # NaN: no clip has a value
        return missing
    numbers = f"{summary.mean:.3g} ({summary.low:.3g} to {summary.high:.3g})"
    return f"{numbers}, {missing}" if missing else numbers
