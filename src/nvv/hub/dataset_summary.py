"""Numbers for a dataset card: what the audio measured, and what each part of a split protocol holds.

Audio was measured by ``nvv.hub.shards``, clips are described by their corpus; the card's text is
``nvv.hub.dataset_card``'s. Own work.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import fsum

import numpy as np

from ..data import SPLITS, Clip, unmet_wishes
from .shard_plan import Part
from .shards import ShardReport

__all__ = [
    "AudioSummary",
    "ProtocolSummary",
    "TargetSummary",
    "summarize_audio",
    "summarize_protocol",
]


@dataclass(frozen=True, kw_only=True)
class AudioSummary:
    """What was measured of all clips together.

    Attributes:
        num_clips: How many there are, > 0.
        seconds: Sum, minimum and maximum of the durations.
        sampling_rates: Rate in Hz to number of clips.
        channels: Number of channels to number of clips.
        num_copies: Clips whose bytes an earlier clip has too.
    """

    num_clips: int
    seconds: tuple[float, float, float]
    sampling_rates: Mapping[int, int]
    channels: Mapping[int, int]
    num_copies: int


@dataclass(frozen=True, kw_only=True)
class TargetSummary:
    """One regression target in one part.

    Attributes:
        num_missing: Clips without a value.
        mean: Mean of the others; NaN where there are none.
        low: The lowest value.
        high: The highest value.
    """

    num_missing: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class ProtocolSummary:
    """What the parts of one assignment hold.

    Attributes:
        name: ``"speaker"``, ``"stratified"``, ``"official"``, …, or ``"part"`` for the parts of folds.
        configs: Names of the configs that use it.
        num_clips: Part to number of clips, in order of the parts; empty parts are left out.
        num_speakers: Part to number of speakers; empty where no speaker is known.
        classes: (Class or None, part) to number of clips.
        targets: (Target, part) to its numbers; empty for the parts of folds.
        unmet: Sentences on what the assignment could not give.
    """

    name: str
    configs: Sequence[str]
    num_clips: Mapping[Part, int]
    num_speakers: Mapping[Part, int] = field(default_factory=dict)
    classes: Mapping[tuple[str | None, Part], int] = field(default_factory=dict)
    targets: Mapping[tuple[str, Part], TargetSummary] = field(default_factory=dict)
    unmet: Sequence[str] = ()


def summarize_audio(reports: Iterable[ShardReport]) -> AudioSummary:
    """Add up what the shards' reports say.

    Args:
        reports: Of all shards, in order; at least one has a clip.
    """
    filled = [report for report in reports if report.num_clips]
    # Eight bytes a clip, where a set of digests would take a hundred.
    digests = np.frombuffer(bytes.fromhex("".join(report.content_digests for report in filled)), np.uint64)
    rates, channels = Counter(), Counter()
    for report in filled:
        rates.update({int(rate): number for rate, number in report.sampling_rates.items()})
        channels.update({int(count): number for count, number in report.channels.items()})
    sums, lows, highs = zip(*(report.seconds for report in filled), strict=True)
    return AudioSummary(
        num_clips=sum(report.num_clips for report in filled),
        seconds=(fsum(sums), min(lows), max(highs)),
        sampling_rates=rates,
        channels=channels,
        num_copies=len(digests) - len(np.unique(digests)),
    )


def summarize_protocol(
    name: str,
    part_of: Mapping[str, Part],
    clips: Sequence[Clip],
    *,
    configs: Sequence[str],
    targets: Sequence[str] = (),
    wanted: Mapping[Part, int] | None = None,
) -> ProtocolSummary:
    """Count what each part of an assignment holds.

    Args:
        name: The assignment.
        part_of: File to part, of the clips that were written.
        clips: All clips of the corpus; those without a part are passed over.
        configs: Configs that use the assignment.
        targets: Targets to describe.
        wanted: Weights of the parts where their sizes were chosen by rule; see `nvv.data.unmet_wishes`.
    """
    members = [clip for clip in clips if clip.file in part_of]
    parts = sorted(set(part_of.values()), key=_order)
    sizes = Counter(part_of[clip.file] for clip in members)
    makers: dict[Part, set[str]] = defaultdict(set)
    for clip in members:
        if clip.speaker_id:
            makers[part_of[clip.file]].add(clip.speaker_id)
    are_known = all(clip.speaker_id for clip in members)
    return ProtocolSummary(
        name=name,
        configs=configs,
        num_clips={part: sizes[part] for part in parts},
        num_speakers={part: len(makers[part]) for part in parts} if makers else {},
        classes=Counter((clip.label, part_of[clip.file]) for clip in members),
        targets=_summarize_targets(targets, members, part_of, parts),
        unmet=unmet_wishes(
            part_of,
            labels={clip.file: clip.label for clip in members},
            speakers={clip.file: clip.speaker_id for clip in members} if are_known else None,
            wanted=wanted,
        ),
    )


def _summarize_targets(
    targets: Sequence[str], clips: Sequence[Clip], part_of: Mapping[str, Part], parts: Sequence[Part]
) -> dict[tuple[str, Part], TargetSummary]:
    index = {part: number for number, part in enumerate(parts)}
    place = np.fromiter((index[part_of[clip.file]] for clip in clips), dtype=np.int16)
    summaries = {}
    for target in targets:
        missing_as_nan = (np.nan if clip.targets[target] is None else clip.targets[target] for clip in clips)
        values = np.fromiter(missing_as_nan, dtype=np.float64)
        for part, number in index.items():
            found = values[place == number]
            present = found[~np.isnan(found)]
            low, high = (float(present.min()), float(present.max())) if len(present) else (np.nan, np.nan)
            summaries[target, part] = TargetSummary(
                num_missing=len(found) - len(present),
                mean=fsum(present) / len(present) if len(present) else np.nan,
                low=low,
                high=high,
            )
    return summaries


def _order(part: Part) -> int:
    return SPLITS.index(part) if part in SPLITS else int(part)
