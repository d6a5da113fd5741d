"""How well events were found: event-based and segment-based scores, as the DCASE challenges count them.

Event-based: an estimate is correct where its label is the reference's, it starts within a collar of the reference's
start and ends within a collar, or a share of the reference's length, of its end. Which estimate answers which reference
is an optimal matching (the most pairs there can be), which is sed_eval's default; its greedy one is not offered.
Segment-based: recordings are cut into segments of equal length, and a label is active in every segment that an event
touches. Counts are summed over all recordings before scores are made of them; the macro average is that of the labels.

Scores equal sed_eval's with `empty_system_output_handling="zero_score"`, as the DCASE challenges use it: a label that
has references and was never found has precision 0, instead of being left out of the average. Undefined numbers are None
and left out of averages: recall and F1 of a label without references (as sed_eval's NaN), its error rate, where
sed_eval divides by 2e-16, and everything of a label that neither has references nor was found. Reading files of events
is `event_files`' business.

Source: Mesaros, Heittola, Virtanen, Metrics for Polyphonic Sound Event Detection, Applied Sciences 6(6), 2016; the
behaviour of sed_eval 0.2.1. Own work.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .events import Event
from .matching import maximum_matching

__all__ = ["EventScoreError", "event_scores", "scores_table"]

_AVERAGED = ("precision", "recall", "f1", "error_rate")


class EventScoreError(ValueError):
    """Events cannot be scored; the message says which, what was expected and what was found."""


def event_scores(
    references: Mapping[str, Sequence[Event]],
    estimates: Mapping[str, Sequence[Event]],
    *,
    collar_s: float = 0.2,
    offset_share: float | None = 0.2,
    segment_s: float = 1.0,
    labels: Sequence[str] | None = None,
    durations: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Score estimated events against references.

    Events are put in order of time first, so that the order in which they are given does not matter.

    Args:
        references: By recording, what there is; an empty sequence for a recording with nothing in it.
        estimates: By recording, what was found; recordings that are missing here have none.
        collar_s: How far from the reference's start an estimate may start, in seconds, > 0. The same for its end.
        offset_share: An estimate may also end this share of the reference's length from its end, in [0, 1]; None does
            not look at ends.
        segment_s: Length of a segment in seconds, > 0.
        labels: What is scored; events with other labels are left out. None: all labels that occur.
        durations: By recording, its length in seconds: segments after it do not count. Recordings that are missing
            here end with their last event.

    Returns:
        ``{"settings", "event_based", "segment_based"}``; each of the latter two is ``{"overall", "macro", "labels"}``,
        ``labels`` by label. All but ``macro`` hold `precision`, `recall`, `f1`, `error_rate`, `substitution_rate`
        (overall only), `deletion_rate`, `insertion_rate`, and the counts `num_references`, `num_estimates`,
        `num_correct`, `num_substitutions` (overall only), `num_deletions`, `num_insertions`; events in one, segments in
        the other. ``macro`` holds means of the labels' defined values. Undefined scores are None.

    Raises:
        EventScoreError: For estimates of a recording that has no references, no label to score, a setting out of range,
            or an event whose times are no times.

    Example:
        >>> said = {"a.wav": [Event(start_s=1.0, end_s=2.0, label="laugh")]}
        >>> heard = {"a.wav": [Event(start_s=1.1, end_s=2.3, label="laugh")]}
        >>> scores = event_scores(said, heard)
        >>> scores["event_based"]["overall"]["f1"]  # the end is 0.3 s late
        0.0
        >>> round(scores["segment_based"]["overall"]["f1"], 3)  # segments 1 and 2 were said, 1 only is
        0.667
    """
    _check_settings(collar_s, offset_share, segment_s)
    unknown = sorted(set(estimates) - set(references))
    if unknown:
        raise EventScoreError(
            f"estimates: no references for {', '.join(unknown[:3])}{' …' if unknown[3:] else ''}; there are references "
            f"for {', '.join(sorted(references)[:3]) or 'no recording'}{' …' if len(references) > 3 else ''}. A "
            "recording without events needs an empty list."
        )
    scored = _labels_in_order(labels, [*references.values(), *estimates.values()])
    place = {label: at for at, label in enumerate(scored)}
    event_counts, segment_counts = _Counts.zeros(len(scored)), _Counts.zeros(len(scored))
    for file in references:
        said = _Times.of(references[file], place, file=file, what="references")
        heard = _Times.of(estimates.get(file, ()), place, file=file, what="estimates")
        event_counts += _count_events(said, heard, collar_s=collar_s, offset_share=offset_share, num=len(scored))
        duration = None if durations is None else durations.get(file)
        segment_counts += _count_segments(said, heard, segment_s=segment_s, duration_s=duration, num=len(scored))
    settings = {"collar_s": collar_s, "offset_share": offset_share, "segment_s": segment_s, "matching": "optimal"}
    return {
        "settings": settings | {"num_recordings": len(references)},
        "event_based": event_counts.scores(scored),
        "segment_based": segment_counts.scores(scored),
    }


def scores_table(scores: Mapping[str, Any], *, notes: Sequence[str] = ()) -> str:
    """Lay the scores of `event_scores` out as text for a terminal.

    Args:
        scores: From `event_scores`.
        notes: What has to be said of them, such as that weights are random; above the tables, a line each.

    Returns:
        Two tables of equal columns, one row a label, then the macro average and everything together.
    """
    settings = scores["settings"]
    ends = "ends not looked at"
    if settings["offset_share"] is not None:
        ends = f"ends within this or {100 * settings['offset_share']:g} % of the event"
    headings = {
        "event_based": f"events (starts within {settings['collar_s']:g} s, {ends}; optimal matching)",
        "segment_based": f"segments of {settings['segment_s']:g} s",
    }
    parts = ["\n".join(notes)] if notes else []
    for kind, heading in headings.items():
        result = scores[kind]
        rows = [(label, values) for label, values in result["labels"].items()]
        rows += [("macro average", result["macro"]), ("overall", result["overall"])]
        table = [("", "there", "found", "correct", "precision", "recall", "F1", "error rate")]
        table += [_row(name, values) for name, values in rows]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            "  ".join(cell.rjust(width) if at else cell.ljust(width) for at, (cell, width) in enumerate(pairs))
            for pairs in (zip(row, widths, strict=True) for row in table)
        ]
        parts.append("\n".join([heading, *lines]))
    return "\n\n".join(parts)


def _row(name: str, values: Mapping[str, Any]) -> tuple[str, ...]:
    counts = (values.get(f"num_{count}") for count in ("references", "estimates", "correct"))
    numbers = (values[score] for score in _AVERAGED)
    return (
        name,
        *("" if count is None else str(count) for count in counts),
        *("–" if number is None else f"{number:.3f}" for number in numbers),
    )


@dataclass(frozen=True)
class _Times:
    """Events of one recording in order of time: onsets and offsets in seconds, and the places of their labels."""

    starts: NDArray[np.float64]
    ends: NDArray[np.float64]
    labels: NDArray[np.int64]

    @classmethod
    def of(cls, events: Iterable[Event], place: Mapping[str, int], *, file: str, what: str) -> _Times:
        kept = []
        for event in events:
            if not (0 <= event.start_s <= event.end_s < math.inf):
                raise EventScoreError(
                    f"{what}, {file}: expected 0 <= start <= end in seconds, found {event.start_s!r} to "
                    f"{event.end_s!r} for {event.label!r}."
                )
            if event.label in place:
                kept.append((event.start_s, event.end_s, place[event.label]))
        table = np.array(sorted(kept), dtype=np.float64).reshape(-1, 3)
        return cls(table[:, 0], table[:, 1], table[:, 2].astype(np.int64))


@dataclass
class _Counts:
    """What all scores are made of. Arrays are by label (labels,); the other two count the confusions among labels."""

    references: NDArray[np.int64]
    estimates: NDArray[np.int64]
    correct: NDArray[np.int64]
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @classmethod
    def zeros(cls, num_labels: int) -> _Counts:
        return cls(*np.zeros((3, num_labels), dtype=np.int64))

    def __iadd__(self, other: _Counts) -> _Counts:
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))
        return self

    def scores(self, labels: Sequence[str]) -> dict[str, Any]:
        by_label = {}
        for label, said, heard, correct in zip(labels, self.references, self.estimates, self.correct, strict=True):
            by_label[label] = _scores(
                int(said), int(heard), int(correct), deletions=said - correct, insertions=heard - correct
            )
        overall = _scores(
            int(self.references.sum()),
            int(self.estimates.sum()),
            int(self.correct.sum()),
            deletions=self.deletions,
            insertions=self.insertions,
            substitutions=self.substitutions,
        )
        macro = {name: _mean(values[name] for values in by_label.values()) for name in _AVERAGED}
        return {"overall": overall, "macro": macro, "labels": by_label}


def _scores(
    references: int, estimates: int, correct: int, *, deletions: int, insertions: int, substitutions: int | None = None
) -> dict[str, Any]:
    """Make scores of counts; substitutions are None where a single label leaves nothing to confuse it with."""
    precision = recall = f1 = None
    if estimates or references:
        precision = correct / estimates if estimates else 0.0
    if references:
        recall = correct / references
        f1 = 2 * correct / (references + estimates)
    errors = {"substitution": substitutions, "deletion": int(deletions), "insertion": int(insertions)}
    errors = {kind: count for kind, count in errors.items() if count is not None}
    return {
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "error_rate": sum(errors.values()) / references if references else None,
        **{f"{kind}_rate": count / references if references else None for kind, count in errors.items()},
        "num_references": references,
        "num_estimates": estimates,
        "num_correct": correct,
        **{f"num_{kind}s": count for kind, count in errors.items()},
    }


def _mean(values: Iterable[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return math.fsum(defined) / len(defined) if defined else None


def _count_events(said: _Times, heard: _Times, *, collar_s: float, offset_share: float | None, num: int) -> _Counts:
    """Count pairs of one recording: first of equal labels, then, of what is left, of any labels (substitutions)."""
    near = _near_pairs(said, heard, collar_s=collar_s, offset_share=offset_share)  # (pairs, 2)
    is_same = said.labels[near[:, 0]] == heard.labels[near[:, 1]]
    candidates: dict[int, list[int]] = {}
    for reference, estimate in near[is_same].tolist():
        candidates.setdefault(estimate, []).append(reference)
    reference_of = maximum_matching(candidates)
    found, used = set(reference_of.values()), set(reference_of)
    # In order of time, each reference takes the first estimate that is left: so sed_eval counts substitutions.
    taken: set[int] = set()
    substituted: set[int] = set()
    for reference, estimate in near.tolist():
        if not (reference in found or reference in substituted or estimate in used or estimate in taken):
            substituted.add(reference)
            taken.add(estimate)
    num_pairs = len(reference_of)
    return _Counts(
        references=np.bincount(said.labels, minlength=num),
        estimates=np.bincount(heard.labels, minlength=num),
        correct=np.bincount(said.labels[sorted(found)], minlength=num),
        substitutions=len(taken),
        deletions=len(said.labels) - num_pairs - len(taken),
        insertions=len(heard.labels) - num_pairs - len(taken),
    )


def _near_pairs(said: _Times, heard: _Times, *, collar_s: float, offset_share: float | None) -> NDArray[np.int64]:
    """Find the pairs (reference, estimate) whose times agree, whatever their labels, in order (pairs, 2)."""
    # Starts are in order, so that candidates are neighbours; a little more than the collar, because the difference of
    # two rounded numbers decides and not their rounded sum.
    first = np.searchsorted(heard.starts, said.starts - collar_s - 1e-6, side="left")
    last = np.searchsorted(heard.starts, said.starts + collar_s + 1e-6, side="right")
    reference = np.repeat(np.arange(len(said.starts)), last - first)
    estimate = np.concatenate([np.arange(a, b) for a, b in zip(first, last, strict=True)] or [np.zeros(0)]).astype(int)
    agree = np.abs(said.starts[reference] - heard.starts[estimate]) <= collar_s
    if offset_share is not None:
        lengths = said.ends[reference] - said.starts[reference]
        agree &= np.abs(said.ends[reference] - heard.ends[estimate]) <= np.maximum(collar_s, offset_share * lengths)
    return np.stack([reference, estimate], axis=1)[agree]


def _count_segments(said: _Times, heard: _Times, *, segment_s: float, duration_s: float | None, num: int) -> _Counts:
    """Count the active segments of one recording."""
    if duration_s is None:
        duration_s = max([0.0, *said.ends.tolist(), *heard.ends.tolist()])
    elif not 0 <= duration_s < math.inf:
        raise EventScoreError(f"durations: expected seconds, found {duration_s!r}.")
    num_segments = math.ceil(duration_s / segment_s)
    there, found = (_active(times, segment_s=segment_s, shape=(num_segments, num)) for times in (said, heard))
    correct = there & found
    num_there, num_found = there.sum(axis=1), found.sum(axis=1)  # (segments,)
    return _Counts(
        references=there.sum(axis=0),
        estimates=found.sum(axis=0),
        correct=correct.sum(axis=0),
        substitutions=int((np.minimum(num_there, num_found) - correct.sum(axis=1)).sum()),
        deletions=int(np.maximum(0, num_there - num_found).sum()),
        insertions=int(np.maximum(0, num_found - num_there).sum()),
    )


def _active(times: _Times, *, segment_s: float, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Tell which labels are active in which segments (segments, labels)."""
    active = np.zeros(shape, dtype=bool)
    firsts, lasts = np.floor(times.starts / segment_s).astype(int), np.ceil(times.ends / segment_s).astype(int)
    for first, last, label in zip(firsts, lasts, times.labels, strict=True):
        active[first:last, label] = True
    return active


def _labels_in_order(labels: Sequence[str] | None, recordings: Iterable[Sequence[Event]]) -> list[str]:
    if labels is None:
        labels = sorted({event.label for events in recordings for event in events})
    repeated = sorted({label for label in labels if list(labels).count(label) > 1})
    if repeated:
        raise EventScoreError(f"labels: expected each one once, found {', '.join(repeated)} repeatedly.")
    if not labels:
        raise EventScoreError("labels: expected at least one, found none: there are no events to score.")
    return list(labels)


def _check_settings(collar_s: float, offset_share: float | None, segment_s: float) -> None:
    for name, value in (("collar_s", collar_s), ("segment_s", segment_s)):
        if not 0 < value < math.inf:
            raise EventScoreError(f"{name}: expected seconds above 0, found {value!r}.")
    if offset_share is not None and not 0 <= offset_share <= 1:
        raise EventScoreError(f"offset_share: expected a share between 0 and 1, or None, found {offset_share!r}.")
