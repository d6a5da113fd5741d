"""What was found in a recording. Own work."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Event"]


@dataclass(frozen=True, kw_only=True, order=True)
class Event:
    """A stretch of a recording with one label.

    Attributes:
        start_s: Seconds from the recording's start, at least 0.
        end_s: Where it ends, in seconds, after the start.
        label: What it is.
        score: Mean score of the label over the event, from 0 to 1; NaN where nobody said (references).
    """

    start_s: float
    end_s: float
    label: str
    score: float = float("nan")
