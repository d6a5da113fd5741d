"""Praat's TextGrid files: events as interval tiers, and any TextGrid's intervals as events.

Written is the long text format: a tier for each label, gaps between its events filled with empty intervals, as Praat
demands it. Read are long and short ones, in UTF-8 or in UTF-16 (which is what Praat itself writes where a text is not
plain ASCII): as Praat does, the reader takes free-standing numbers, quoted texts and flags, and everything else is
commentary. Times are written with all their digits, so that they come back as they were.

Source: Praat manual, "TextGrid file formats". Own work.
"""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .events import Event

__all__ = ["TextGridError", "read_text_grid", "text_grid"]

_TOKEN = re.compile(
    r'"(?P<text>(?:[^"]|"")*)"(?!\S)'
    r"|(?P<flag><[^<>\s]+>)"
    r"|(?P<number>(?<!\S)[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?=[\s%]|$))"
    r"|(?P<comment>![^\n]*)"
    r"|[^\s\"]+"
)


class TextGridError(ValueError):
    """No usable TextGrid, or events that none can hold; the message says where and why."""


def text_grid(events_of: Mapping[str, Sequence[Event]], *, duration_s: float) -> str:
    """Write events as a TextGrid.

    Args:
        events_of: By label, its events. Each label makes a tier of that name, in this order, with its name as the
            intervals' text.
        duration_s: The recording's length in seconds, > 0. Events that end after it end with it.

    Returns:
        The file's text.

    Raises:
        TextGridError: If two events of one label overlap, or an event has no length, or there is no label or no
            duration: Praat reads no such tier.

    Example:
        >>> grid = text_grid({"laugh": [Event(start_s=0.5, end_s=1.0, label="laugh")]}, duration_s=2.0)
        >>> grid.count("intervals [")
        3
    """
    if not 0 < duration_s < math.inf:
        raise TextGridError(f"duration_s: expected seconds above 0, found {duration_s!r}.")
    if not events_of:
        raise TextGridError("A TextGrid needs at least one tier, found no label.")
    end = _number(duration_s)
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {end}"]
    lines += ["tiers? <exists>", f"size = {len(events_of)}", "item []:"]
    for at, (label, events) in enumerate(events_of.items(), start=1):
        intervals = list(_filled(label, events, duration_s=duration_s))
        lines += [f"    item [{at}]:", '        class = "IntervalTier"', f"        name = {_quoted(label)}"]
        lines += ["        xmin = 0", f"        xmax = {end}", f"        intervals: size = {len(intervals)}"]
        for number, (first, last, text) in enumerate(intervals, start=1):
            lines += [f"        intervals [{number}]:", f"            xmin = {_number(first)}"]
            lines += [f"            xmax = {_number(last)}", f"            text = {_quoted(text)}"]
    return "\n".join(lines) + "\n"


def _filled(label: str, events: Sequence[Event], *, duration_s: float) -> Iterator[tuple[float, float, str]]:
    """Put empty intervals between events, so that the tier is covered from 0 to the end."""
    reached = 0.0
    for event in sorted(events):
        start, end = event.start_s, min(event.end_s, duration_s)
        if not 0 <= start < end:
            raise TextGridError(
                f"{label}: expected an event within the recording's {duration_s:g} s that is longer than nothing, "
                f"found {event.start_s!r} to {event.end_s!r} s."
            )
        if start < reached:
            raise TextGridError(
                f"{label}: the event at {start:g} s begins before the one before it ends, at {reached:g} s; a tier "
                "holds no overlapping intervals. Write another format, or merge them."
            )
        if start > reached:
            yield reached, start, ""
        yield start, end, label
        reached = end
    if reached < duration_s:
        yield reached, duration_s, ""


def _number(value: float) -> str:
    """Write a number with all its digits and without an exponent, which some readers do not know."""
    text = repr(float(value))
    if "e" in text:
        text = f"{value:.17f}".rstrip("0")
    return text.removesuffix(".0").removesuffix(".")


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


@dataclass(frozen=True)
class _Token:
    """A text, number or flag, and the line that it stands in."""

    kind: str
    value: Any
    line: int


class _Tokens:
    """The tokens of a file, taken one after the other."""

    def __init__(self, text: str, *, name: str) -> None:
        self._tokens = iter(_tokens(text))
        self._name = name
        self.line = 1

    def next(self, *kinds: str, what: str) -> Any:
        """Take the next token, which must be of one of these kinds."""
        token = next(self._tokens, None)
        if token is None:
            raise TextGridError(f"{self._name}: expected {what} after line {self.line}, found the file's end.")
        self.line = token.line
        if token.kind not in kinds:
            raise TextGridError(
                f"{self._name}, line {token.line}: expected {what}, found the {token.kind} {token.value!r}."
            )
        return token.value

    def count(self, what: str) -> int:
        """Take a number of things."""
        value = self.next("number", what=f"the number of {what}")
        if value != int(value) or value < 0:
            raise TextGridError(f"{self._name}, line {self.line}: expected the number of {what}, found {value:g}.")
        return int(value)


def _tokens(text: str) -> Iterator[_Token]:
    line, at = 1, 0
    for match in _TOKEN.finditer(text):
        line += text.count("\n", at, match.start())
        at = match.start()
        kind = match.lastgroup
        if kind == "text":
            yield _Token(kind, match["text"].replace('""', '"'), line)
        elif kind == "number":
            yield _Token(kind, float(match["number"]), line)
        elif kind == "flag":
            yield _Token(kind, match["flag"], line)


def read_text_grid(content: bytes, *, name: str) -> list[Event]:
    """Read the named intervals of all tiers of a TextGrid.

    Args:
        content: The file's bytes.
        name: What to call it in errors.

    Returns:
        An event for each interval that has a text, with the text, without blanks around it, as its label; and one
        without length for each named point of a point tier. In order of time.

    Raises:
        TextGridError: If this is no TextGrid, or ends too soon, or its times are out of order; file and line are named.
    """
    tokens = _Tokens(_decoded(content, name=name), name=name)
    found = [tokens.next("text", what='"ooTextFile"'), tokens.next("text", what='"TextGrid"')]
    if not found[0].startswith("ooTextFile") or found[1] != "TextGrid":
        raise TextGridError(f'{name}: expected a text file of Praat that holds a "TextGrid", found {found}.')
    _span(tokens, name=name)
    if tokens.next("flag", what="<exists> or <absent>") != "<exists>":
        return []
    events: list[Event] = []
    for _ in range(tokens.count("tiers")):
        kind = tokens.next("text", what="a tier's class")
        if kind not in ("IntervalTier", "TextTier"):
            raise TextGridError(f"{name}, line {tokens.line}: expected IntervalTier or TextTier, found {kind!r}.")
        tokens.next("text", what="a tier's name")
        _span(tokens, name=name)
        for _ in range(tokens.count("intervals" if kind == "IntervalTier" else "points")):
            if kind == "IntervalTier":
                start, end = _span(tokens, name=name)
            else:
                start = end = tokens.next("number", what="a point's time")
            label = tokens.next("text", what="a text").strip()
            if label:
                events.append(Event(start_s=start, end_s=end, label=label))
    return sorted(events)


def _span(tokens: _Tokens, *, name: str) -> tuple[float, float]:
    start, end = tokens.next("number", what="a start"), tokens.next("number", what="an end")
    if not 0 <= start <= end:
        raise TextGridError(f"{name}, line {tokens.line}: expected 0 <= start <= end, found {start:g} to {end:g} s.")
    return start, end


def _decoded(content: bytes, *, name: str) -> str:
    is_wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if is_wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise TextGridError(f"{name}: expected UTF-8 or UTF-16, found neither; save it as UTF-8 in Praat.") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")
