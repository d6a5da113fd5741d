"""Writing what was found in a recording: JSON, CSV, Audacity labels, Praat TextGrid, RTTM, and a picture.

=============  ==================  =================================================================================
format         file                what it holds
=============  ==================  =================================================================================
``json``       ``STEM.json``       everything: recording, model, settings, thresholds, events; windows and their
                                   scores where asked
``csv``        ``STEM.csv``        file, start_s, end_s, label, score
``audacity``   ``STEM.txt``        a label track: start, end, label. Labels stand alone, without a score, so that they
                                   can be counted and read back; scores are in JSON, CSV and RTTM
``textgrid``   ``STEM.TextGrid``   Praat: a tier for each label (`textgrid`)
``rttm``       ``STEM.rttm``       SPEAKER lines of NIST's ten fields: the label is the speaker's name, the score its
                                   confidence
``picture``    ``STEM.png``        a timeline (`timeline`)
=============  ==================  =================================================================================

Times are seconds from the recording's start, rounded to the microsecond once and not added up; a TextGrid's are exact.
`event_files.read_events` reads all but the picture. Own work.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import os
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import write_text
from .event_files import EventFileError, read_events
from .events import Event
from .textgrid import TextGridError, text_grid

if TYPE_CHECKING:
    from .segment import Segmentation
    from .timeline import WaveformEnvelope

__all__ = [
    "FORMATS",
    "EventFileError",
    "FormatError",
    "TextGridError",
    "events_csv",
    "read_events",
    "to_audacity",
    "to_csv",
    "to_json",
    "to_rttm",
    "to_textgrid",
    "write_events",
]

FORMATS = {
    "json": ".json",
    "csv": ".csv",
    "audacity": ".txt",
    "textgrid": ".TextGrid",
    "rttm": ".rttm",
    "picture": ".png",
}
"""By format, what a file's name ends in."""

_DECIMALS = 6
_CSV_COLUMNS = ("file", "start_s", "end_s", "label", "score")
_BLANKS = re.compile(r"[\t\n\v\f\r]+")
_NOT_IN_RTTM = re.compile(r"[ \t\n\v\f\r%]")


class FormatError(ValueError):
    """There is no such format, or no such name for a file."""


def write_events(
    segmentation: Segmentation,
    folder: str | os.PathLike[str],
    stem: str,
    formats: Collection[str],
    *,
    with_scores: bool = False,
    envelope: WaveformEnvelope | None = None,
) -> list[Path]:
    """Write what was found in one recording, one file a format; each appears whole or not at all.

    Args:
        segmentation: What was found.
        folder: Where to write; made where it is missing.
        stem: The files' name without ending. Different recordings need different ones; that is the caller's business.
        formats: Some of `FORMATS`, at least one.
        with_scores: Also put every window's scores into the JSON.
        envelope: The waveform's outline, for the picture.

    Returns:
        The files, in the order of `FORMATS`.

    Raises:
        FormatError: For an unknown format, none at all, or a stem that leads elsewhere. Nothing is written then.
        TextGridError: If a label's events overlap, which no TextGrid can hold.
    """
    unknown = sorted(set(formats) - set(FORMATS))
    if unknown or not formats:
        raise FormatError(f"formats: expected some of {', '.join(FORMATS)}; found {', '.join(unknown) or 'none'}.")
    if not stem or stem in (".", "..") or Path(stem).name != stem:
        raise FormatError(f"stem: expected a file's name without ending and folder, found {stem!r}.")
    texts = {
        "json": lambda: to_json(segmentation, with_scores=with_scores),
        "csv": lambda: to_csv(segmentation),
        "audacity": lambda: to_audacity(segmentation),
        "textgrid": lambda: to_textgrid(segmentation),
        "rttm": lambda: to_rttm(segmentation),
    }
    written = []
    for name in (name for name in FORMATS if name in formats):
        path = Path(folder) / f"{stem}{FORMATS[name]}"
        if name == "picture":
            from .timeline import write_timeline  # here, because matplotlib takes time to load

            written.append(write_timeline(path, segmentation, waveform_envelope=envelope))
        else:
            written.append(write_text(path, texts[name]()))
    return written


def to_json(segmentation: Segmentation, *, with_scores: bool = False) -> str:
    """Write everything that is known of a recording.

    Args:
        segmentation: What was found.
        with_scores: Also `window_starts_s` and `scores`, a row a window; null where nothing was heard.

    Returns:
        A JSON document with a line end.
    """
    document: dict[str, Any] = {
        "file": segmentation.file,
        "duration_s": _rounded(segmentation.duration_s),
        "model": segmentation.model,
        "model_is_trained": segmentation.model_is_trained,
        "labels": list(segmentation.labels),
        "window_s": segmentation.window_s,
        "hop_s": segmentation.hop_s,
        "thresholds": {label: float(value) for label, value in segmentation.thresholds.items()},
        "settings": dataclasses.asdict(segmentation.settings),
    }
    document["events"] = [
        {
            "start_s": _rounded(event.start_s),
            "end_s": _rounded(event.end_s),
            "label": event.label,
            "score": _rounded(event.score),
        }
        for event in segmentation.events
    ]
    text = json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False)
    if with_scores:
        # A line a window, where json's own indentation would write one a number.
        starts = json.dumps([_rounded(value) for value in segmentation.window_starts_s])
        rows = (json.dumps([_rounded(value) for value in row]) for row in segmentation.scores)
        scores = ",\n    ".join(rows)
        text = f'{text[:-2]},\n  "window_starts_s": {starts},\n  "scores": [\n    {scores}\n  ]\n}}'
    return text + "\n"


def to_csv(segmentation: Segmentation, *, header: bool = True) -> str:
    """Write events as rows: file, start_s, end_s, label, score.

    Args:
        segmentation: What was found.
        header: Write the columns' names first; not for the second of several recordings in one table.
    """
    return events_csv({segmentation.file: segmentation.events}, header=header)


def events_csv(events_of: Mapping[str, Iterable[Event]], *, header: bool = True) -> str:
    """Write events of any number of recordings, such as references, as one table.

    Args:
        events_of: By recording, its events. The score's cell is empty where it is NaN.
        header: Write the columns' names first.

    Returns:
        Lines of a CSV table. A recording without events has no row.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if header:
        writer.writerow(_CSV_COLUMNS)
    for file, events in events_of.items():
        for event in events:
            score = "" if math.isnan(event.score) else _fixed(event.score)
            writer.writerow([file, _fixed(event.start_s), _fixed(event.end_s), event.label, score])
    return text.getvalue()


def to_audacity(segmentation: Segmentation) -> str:
    """Write events as an Audacity label track; tabs and line ends in labels become blanks."""
    return "".join(
        f"{_fixed(event.start_s)}\t{_fixed(event.end_s)}\t{_BLANKS.sub(' ', event.label)}\n"
        for event in segmentation.events
    )


def to_textgrid(segmentation: Segmentation) -> str:
    """Write events as a Praat TextGrid, with a tier for each of the model's labels, empty or not.

    Raises:
        TextGridError: If a label's events overlap.
    """
    events_of: dict[str, list[Event]] = {label: [] for label in segmentation.labels}
    for event in segmentation.events:
        events_of.setdefault(event.label, []).append(event)
    return text_grid(events_of, duration_s=segmentation.duration_s)


def to_rttm(segmentation: Segmentation) -> str:
    """Write events as RTTM; blanks in names, which separate fields there, are written as in addresses (`%20`)."""
    file = _without_blanks(segmentation.file)
    lines = []
    for event in segmentation.events:
        # The difference of the rounded times, so that start and length add up to the rounded end.
        length = round(_rounded(event.end_s) - _rounded(event.start_s), _DECIMALS)
        score = "<NA>" if math.isnan(event.score) else _fixed(event.score)
        label = _without_blanks(event.label)
        lines.append(f"SPEAKER {file} 1 {_fixed(event.start_s)} {_fixed(length)} <NA> <NA> {label} {score} <NA>\n")
    return "".join(lines)


def _without_blanks(name: str) -> str:
    return _NOT_IN_RTTM.sub(lambda match: f"%{ord(match[0]):02X}", name)


def _rounded(value: float) -> Any:
    """Round to the microsecond; None for a number that is none."""
    return None if math.isnan(value) else round(float(value), _DECIMALS)


def _fixed(value: float) -> str:
    return f"{value:.{_DECIMALS}f}"
