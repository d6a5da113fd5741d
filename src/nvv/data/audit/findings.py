"""The kinds of findings of an audit, and what a finding is.

Each kind has one home here: its name in the JSON report, its weight, and the sentences that the report prints. The
checks themselves are in the neighbours ``split_checks`` and ``sound_checks``. Own work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from .measures import FULL_SCALE, MIN_CLIPPED_RUN, SILENT_BELOW_LOUDEST_DB, SILENT_DBFS

__all__ = ["KINDS", "ClipReference", "Finding", "FindingKind", "Severity"]


class Severity(str, Enum):
    """How much a finding weighs."""

    LEAK = "leak"
    """Scores on the split would be too good; the command's exit status is 1."""
    WARNING = "warning"
    """Something that will hurt training or testing, and that someone should look at."""
    NOTE = "note"
    """Something to know."""


@dataclass(frozen=True, slots=True)
class FindingKind:
    """A kind of finding.

    Attributes:
        title: Heading in the report.
        severity: Its weight; duplicates are a leak only across splits.
        rule: When it is reported, with the thresholds, and what it means.
    """

    title: str
    severity: Severity
    rule: str


@dataclass(frozen=True, slots=True)
class ClipReference:
    """How a report names a clip.

    Attributes:
        file: The clip's name in the dataset; its split and number where the dataset has no names.
        split: Where it lies.
        label: Its class; None where it has none.
        speaker_id: Who made the sound; None where unknown.
    """

    file: str
    split: str
    label: str | None
    speaker_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that an audit found.

    Attributes:
        kind: A key of `KINDS`.
        severity: Its weight.
        message: One sentence.
        clips: The clips that it is about.
        details: Numbers and names behind the message, as JSON types.
    """

    kind: str
    severity: Severity
    message: str
    clips: tuple[ClipReference, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


_SILENT_FRAME = f"a frame of 20 ms is silent when it lies {SILENT_BELOW_LOUDEST_DB:g} dB below the loudest"

KINDS: dict[str, FindingKind] = {
    "shared_speaker": FindingKind(
        "Speakers in more than one split",
        Severity.LEAK,
        "A model can recognise the voice instead of the class, and scores say nothing about new speakers. A config "
        "that ignores speakers by design, such as `stratified`, leaks on purpose, but it leaks.",
    ),
    "speakers_unknown": FindingKind(
        "Speakers unknown",
        Severity.WARNING,
        "Where the dataset does not say who made a sound, whether its splits are independent cannot be checked.",
    ),
    "identical_bytes": FindingKind(
        "Identical files",
        Severity.WARNING,
        "The same bytes (SHA-256) more than once. A leak where they lie in different splits.",
    ),
    "identical_samples": FindingKind(
        "Identical sound in different files",
        Severity.WARNING,
        "The same decoded samples at the same rate, stored differently. A leak where they lie in different splits.",
    ),
    "near_duplicate": FindingKind(
        "Near-duplicates",
        Severity.WARNING,
        "The same recording after a change of level, added or removed silence, cutting, re-encoding or resampling. A "
        "leak where copies lie in different splits.",
    ),
    "label_conflict": FindingKind(
        "One sound under two labels",
        Severity.WARNING,
        "Copies of one recording, found by any of the three means above, that have different labels.",
    ),
    "missing_class": FindingKind(
        "Classes missing from a split", Severity.WARNING, "A class of the dataset has no clip in a split."
    ),
    "missing_label": FindingKind("Clips without a label", Severity.WARNING, "The label is null, or -1."),
    "undecodable": FindingKind(
        "Clips that cannot be decoded",
        Severity.WARNING,
        "Training would stop there. Such clips take no part in the other checks of sound.",
    ),
    "silent": FindingKind(
        "Silent clips",
        Severity.WARNING,
        f"The peak lies below {SILENT_DBFS:g} dBFS: there is nothing to hear.",
    ),
    "clipping": FindingKind(
        "Clipping",
        Severity.NOTE,
        f"At least {MIN_CLIPPED_RUN} samples in a row at full scale (from {FULL_SCALE:g}).",
    ),
    "mostly_silence": FindingKind(
        "Mostly silence", Severity.NOTE, "More than 80 % of the frames are silent; " + _SILENT_FRAME + "."
    ),
    "long_edge_silence": FindingKind(
        "Long silence at the start or the end", Severity.NOTE, "More than 1 s of silent frames; " + _SILENT_FRAME + "."
    ),
    "very_short": FindingKind(
        "Very short clips", Severity.WARNING, "Shorter than 0.1 s: five frames of the usual speech encoders."
    ),
    "duration_outlier": FindingKind(
        "Unusual durations",
        Severity.NOTE,
        "The logarithm of the duration lies more than 3.5 robust standard deviations (1.4826 times the median absolute "
        "deviation) from its median over the dataset (Iglewicz and Hoaglin, 1993).",
    ),
    "telling_duration": FindingKind(
        "Classes told by their duration",
        Severity.NOTE,
        "A clip of the class is longer (or shorter) than one of another class in at least 95 % of pairs (area under "
        "the ROC curve; classes of eight clips and more). A model can score by the length instead of the sound.",
    ),
    "empty_band": FindingKind(
        "Spectrum empty above some frequency",
        Severity.NOTE,
        "Above a frequency below 85 % of what the sampling rate allows, there is no more than rounding noise, and just "
        "below it there is sound: the audio was probably recorded or sent at a lower rate, or a codec cut it.",
    ),
    "several_sampling_rates": FindingKind(
        "Several sampling rates",
        Severity.NOTE,
        "Where a class or a speaker goes with a rate, a model can learn the rate. The clips listed are those that do "
        "not have the most common one.",
    ),
    "several_channel_counts": FindingKind(
        "Several numbers of channels",
        Severity.NOTE,
        "The clips listed are those that do not have the most common number.",
    ),
}
"""All kinds, in the order of the report."""
