"""Reading events from files: what `formats` writes, and what annotation programs and challenges write.

=============  ====================================================================================================
ending         what is read
=============  ====================================================================================================
.json          what `nvv segment` wrote
.csv, .tsv     a table with a header, comma or tab between columns: `start_s`, `end_s`, `label`, and if there are any
               `file` and `score`; or DCASE's names `onset`, `offset`, `event_label`, `filename`
.txt           an Audacity label track: start, end, label, tabs between them; lines of frequencies are skipped
.TextGrid      Praat, long or short, UTF-8 or UTF-16: every named interval (`textgrid`)
.rttm          NIST's SPEAKER lines (the speaker's name is the label) and NON-LEX ones (their subtype is: laugh, breath,
               cough …); others and comments are skipped
=============  ====================================================================================================

Label tracks and TextGrids name no recording: their events stand under the file's own name without its ending, and so do
those of tables without the column `file`. Source: NIST, The 2009 (RT-09) Rich Transcription Evaluation Plan, appendix
A; Audacity manual, "Importing and Exporting Labels". Own work.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from .events import Event
from .textgrid import TextGridError, read_text_grid

__all__ = ["EventFileError", "read_events"]

EventsOf = dict[str, list[Event]]

_COLUMNS = {
    "file": ("file", "filename"),
    "start_s": ("start_s", "onset"),
    "end_s": ("end_s", "offset"),
    "label": ("label", "event_label"),
    "score": ("score",),
}
_REQUIRED = ("start_s", "end_s", "label")
# What formats.to_rttm writes for blanks, which separate fields there, and for the sign itself.
_ENCODED = re.compile("%(?:25|20|09|0A|0B|0C|0D)")
_RTTM_LABELS = {"SPEAKER": 7, "NON-LEX": 6}


class EventFileError(ValueError):
    """A file of events cannot be read; the message names file, line, what was expected and what was found."""


def read_events(path: str | os.PathLike[str]) -> EventsOf:
    """Read a file of events; its ending says what it is.

    Args:
        path: The file.

    Returns:
        By recording, its events in order of time; the score is NaN where the file has none. A recording without events
        is known from JSON, Audacity and Praat only.

    Raises:
        EventFileError: If there is no such file, its ending is unknown, or its content is not what the ending says;
            file and line are named.

    Example:
        >>> read_events("interview.csv")  # doctest: +SKIP
        {'interview.wav': [Event(start_s=1.25, end_s=2.5, label='laugh', score=0.97)]}
    """
    path = Path(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise EventFileError(f"{path}: expected a file that ends in {', '.join(_READERS)}; found {path.suffix!r}.")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise EventFileError(f"{path}: {error.strerror or error}.") from error
    return {file: sorted(events) for file, events in reader(content, path).items()}


def _read_text_grid(content: bytes, path: Path) -> EventsOf:
    try:
        return {path.stem: read_text_grid(content, name=str(path))}
    except TextGridError as error:
        raise EventFileError(str(error)) from error


def _read_json(content: bytes, path: Path) -> EventsOf:
    try:
        document = json.loads(content)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise EventFileError(f"{path}: expected JSON; {error}.") from error
    if not (isinstance(document, dict) and "file" in document and isinstance(document.get("events"), list)):
        raise EventFileError(f"{path}: expected an object with file and events, as nvv segment writes it.")
    events = []
    for number, row in enumerate(document["events"], start=1):
        where = f"{path}, event {number}"
        if not isinstance(row, dict) or any(name not in row for name in _REQUIRED):
            raise EventFileError(f"{where}: expected {', '.join(_REQUIRED)}; found {row!r}.")
        events.append(_event(row, where=where))
    return {str(document["file"]): events}


def _read_table(content: bytes, path: Path) -> EventsOf:
    text = _text(content, path)
    header = text.partition("\n")[0]
    rows = csv.reader(io.StringIO(text, newline=""), delimiter="\t" if "\t" in header else ",")
    names = [name.strip() for name in next(rows, [])]
    at = {column: names.index(name) for column, known in _COLUMNS.items() for name in known if name in names}
    missing = [column for column in _REQUIRED if column not in at]
    if missing:
        raise EventFileError(
            f"{path}, line 1: expected a header with {', '.join(_REQUIRED)} (or onset, offset, event_label); no "
            f"{', '.join(missing)} among {', '.join(names) or 'nothing'}."
        )
    events: EventsOf = {}
    for row in rows:
        if not row:
            continue
        where = f"{path}, line {rows.line_num}"
        if len(row) != len(names):
            raise EventFileError(f"{where}: expected {len(names)} columns, found {len(row)}.")
        values = {column: row[place] for column, place in at.items()}
        if "file" in at and not any(values[column].strip() for column in _REQUIRED):
            events.setdefault(values["file"], [])  # so challenges write a recording without events
            continue
        events.setdefault(values.get("file", path.stem), []).append(_event(values, where=where))
    return events


def _read_audacity(content: bytes, path: Path) -> EventsOf:
    events = []
    for number, line in enumerate(_text(content, path).split("\n"), start=1):
        if not line.strip() or line.startswith("\\"):  # a backslash begins the frequencies of the label before
            continue
        fields = line.split("\t", 2)
        if len(fields) != 3:
            raise EventFileError(
                f"{path}, line {number}: expected start, end and label with tabs between them, found {line!r}."
            )
        events.append(_event(dict(zip(_REQUIRED, fields, strict=True)), where=f"{path}, line {number}"))
    return {path.stem: events}


def _read_rttm(content: bytes, path: Path) -> EventsOf:
    events: EventsOf = {}
    for number, line in enumerate(_text(content, path).split("\n"), start=1):
        fields = re.split(r"[ \t]+", line.strip(" \t"))
        if fields[0] not in _RTTM_LABELS:
            continue
        where = f"{path}, line {number}"
        if len(fields) not in (9, 10):
            raise EventFileError(f"{where}: expected 9 or 10 fields, found {len(fields)}: {line!r}.")
        start, duration = (
            _seconds(fields[place], where=where, what=what) for place, what in ((3, "start"), (4, "length"))
        )
        score = "" if fields[8] == "<NA>" else fields[8]
        label = fields[_RTTM_LABELS[fields[0]]]
        # The sum of two decimal numbers, not of their nearest binary ones.
        values = {"start_s": start, "end_s": round(start + duration, 9), "label": _unescaped(label), "score": score}
        events.setdefault(_unescaped(fields[1]), []).append(_event(values, where=where))
    return events


def _unescaped(name: str) -> str:
    return _ENCODED.sub(lambda match: unquote(match[0]), name)


def _event(values: Mapping[str, Any], *, where: str) -> Event:
    start, end = (
        _seconds(values[name], where=where, what=what) for name, what in (("start_s", "start"), ("end_s", "end"))
    )
    if not start <= end:
        raise EventFileError(f"{where}: expected an end after the start, found {start:g} to {end:g} s.")
    label = str(values["label"]).strip()
    if not label:
        raise EventFileError(f"{where}: the event at {start:g} s has no label; give it one.")
    score = values.get("score")
    if score is None or score == "":
        return Event(start_s=start, end_s=end, label=label)
    return Event(start_s=start, end_s=end, label=label, score=_finite(score, where=where, what="score"))


def _seconds(value: Any, *, where: str, what: str) -> float:
    seconds = _finite(value, where=where, what=what)
    if seconds < 0:
        raise EventFileError(f"{where}: expected a {what} of at least 0 s, found {seconds:g}.")
    return seconds


def _finite(value: Any, *, where: str, what: str) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise EventFileError(f"{where}: expected a number for {what}, found {value!r}.")
    return number


def _text(content: bytes, path: Path) -> str:
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise EventFileError(f"{path}: expected UTF-8; {error.reason} at byte {error.start}.") from error


_READERS: Mapping[str, Callable[[bytes, Path], EventsOf]] = {
    ".json": _read_json,
    ".csv": _read_table,
    ".tsv": _read_table,
    ".txt": _read_audacity,
    ".textgrid": _read_text_grid,
    ".rttm": _read_rttm,
}
