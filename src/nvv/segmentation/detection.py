"""From scores over time to events: thresholds with hysteresis, rivals, gaps, ends.

Stretches of one label are counted in cells (see the neighbour `windows`); where an event begins and ends in those is
`levels`' business. Own work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..audio import SAMPLING_RATE
from .events import Event
from .levels import move_ends_to_sound
from .plan import SegmentationPlan

__all__ = ["Stretch", "active_cells", "find_events", "find_stretches"]


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Neighbouring cells of one label.

    Attributes:
        column: the label's column.
        first: the first cell.
        stop: the cell after the last one.
    """

    column: int
    first: int
    stop: int


def active_cells(
    scores: NDArray[np.floating],
    *,
    thresholds: Sequence[float],
    releases: Sequence[float],
    rivals: Sequence[Sequence[int]] = (),
) -> NDArray[np.bool_]:
    """Say in which cells a label is on.

    A label goes on where its score reaches its threshold, and stays on, before and after, as long as the score is at
    least its release threshold. Of rivals that are on in one cell, one that reached its threshold in this cell comes
    before one that only stays on, and then the higher score wins; what is left of a loser without a cell in which it
    reached its threshold goes off.

    Args:
        scores: (cells, labels), NaN where nothing was heard, which is off.
        thresholds: of each label (labels,).
        releases: of each label (labels,), at most its threshold.
        rivals: columns of labels that exclude each other, in any number of groups.

    Returns:
        (cells, labels).
    """
    reached = scores >= np.asarray(thresholds)
    held = scores >= np.asarray(releases)
    active = np.stack([_grown(reached[:, at], held[:, at]) for at in range(scores.shape[1])], axis=1)
    for group in rivals:
        columns = list(group)
        strength = np.where(active[:, columns], scores[:, columns] + 2.0 * reached[:, columns], -np.inf)
        wins = np.zeros_like(active[:, columns])
        wins[np.arange(len(wins)), strength.argmax(axis=1)] = True
        for place, column in enumerate(columns):
            active[:, column] = _grown(reached[:, column] & wins[:, place], active[:, column] & wins[:, place])
    return active


def find_stretches(
    active: NDArray[np.bool_],
    *,
    borders_s: NDArray[np.floating],
    max_gap_s: float,
    rivals: Sequence[Sequence[int]] = (),
) -> list[Stretch]:
    """Join the cells in which a label is on, and what no great gap parts.

    Args:
        active: (cells, labels).
        borders_s: where cells begin and the last one ends, in seconds (cells + 1,).
        max_gap_s: stretches of one label that are no further apart are joined, in seconds.
        rivals: as in `active_cells`: a gap in which a rival is on is not closed.

    Returns:
        The stretches, by first cell, then column.
    """
    found = []
    for column in range(active.shape[1]):
        others = [other for group in rivals if column in group for other in group if other != column]
        is_taken = active[:, others].any(axis=1)
        joined: list[tuple[int, int]] = []
        for first, stop in _runs(active[:, column]):
            if joined:
                before = joined[-1][1]
                # A hair's breadth: borders are sums of binary fractions.
                if borders_s[first] - borders_s[before] <= max_gap_s + 1e-9 and not is_taken[before:first].any():
                    joined[-1] = (joined[-1][0], stop)
                    continue
            joined.append((first, stop))
        found += [Stretch(column=column, first=first, stop=stop) for first, stop in joined]
    return sorted(found, key=lambda stretch: (stretch.first, stretch.column))


def find_events(
    plan: SegmentationPlan,
    scores: NDArray[np.floating],
    *,
    borders_s: NDArray[np.floating],
    levels: NDArray[np.float32],
) -> tuple[Event, ...]:
    """Make events of a table of scores.

    Args:
        plan: how.
        scores: (cells, labels), smoothed; NaN where nothing was heard.
        borders_s: where cells begin and the last one ends, in seconds (cells + 1,).
        levels: of the recording's frames (frames,), from a `LevelMeter`.

    Returns:
        The events, by start, then label.
    """
    settings = plan.settings
    active = active_cells(scores, thresholds=plan.thresholds, releases=plan.releases, rivals=plan.rivals)
    stretches = find_stretches(active, borders_s=borders_s, max_gap_s=settings.max_gap_seconds, rivals=plan.rivals)
    spans = [(float(borders_s[stretch.first]), float(borders_s[stretch.stop])) for stretch in stretches]
    if settings.refine_ends:
        spans = _refined(stretches, spans, plan=plan, levels=levels, duration_s=float(borders_s[-1]))
    events = [
        Event(
            start_s=start_s,
            end_s=end_s,
            label=plan.labels[stretch.column],
            score=float(np.nanmean(scores[stretch.first : stretch.stop, stretch.column])),
        )
        for stretch, (start_s, end_s) in zip(stretches, spans, strict=True)
        # A hair's breadth: borders are sums of binary fractions.
        if end_s - start_s >= settings.min_event_seconds - 1e-9
    ]
    return tuple(sorted(events, key=lambda event: (event.start_s, event.label)))


def _refined(
    stretches: Sequence[Stretch],
    spans: Sequence[tuple[float, float]],
    *,
    plan: SegmentationPlan,
    levels: NDArray[np.float32],
    duration_s: float,
) -> list[tuple[float, float]]:
    """Move the ends of stretches to where the sound is, without letting any overlap that may not."""
    window_s, hop_s = plan.window_samples / SAMPLING_RATE, plan.hop_samples / SAMPLING_RATE
    apart = [
        {column, *(other for group in plan.rivals if column in group for other in group)}
        for column in range(len(plan.labels))
    ]
    # Where the next of those begins that this one must not overlap, found from the end.
    latest_s, next_start_s = [], [duration_s] * len(plan.labels)
    for stretch, (start_s, _) in zip(reversed(stretches), reversed(spans), strict=True):
        latest_s.append(min(next_start_s[column] for column in apart[stretch.column]))
        next_start_s[stretch.column] = start_s
    refined, last_end_s = [], [0.0] * len(plan.labels)
    for stretch, (start_s, end_s), latest in zip(stretches, spans, reversed(latest_s), strict=True):
        moved = move_ends_to_sound(
            start_s,
            end_s,
            levels,
            limit_s=(window_s + hop_s) / 2,
            context_s=window_s,
            earliest_s=max(last_end_s[column] for column in apart[stretch.column]),
            latest_s=latest,
        )
        last_end_s[stretch.column] = moved[1]
        refined.append(moved)
    return refined


def _grown(seeds: NDArray[np.bool_], allowed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Keep those runs of allowed cells (cells,) that hold a seed."""
    grown = np.zeros(len(allowed), dtype=bool)
    for first, stop in _runs(allowed):
        grown[first:stop] = seeds[first:stop].any()
    return grown


def _runs(active: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """List the runs of true cells (cells,) as (first, stop)."""
    changes = np.flatnonzero(np.diff(np.concatenate([[False], active, [False]]).astype(np.int8)))
    return [(int(first), int(stop)) for first, stop in zip(changes[::2], changes[1::2], strict=True)]
