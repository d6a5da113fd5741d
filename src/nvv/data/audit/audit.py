"""Auditing a dataset: its clips are measured once, then the splits of each config are checked.

The checks stand in the neighbours ``split_checks`` and ``sound_checks``, what is written in ``report`` and ``plots``,
opening a dataset by name in ``sources``. Own work.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import datasets

from ..rawfiles import CorpusError
from .clips import Clips, Columns, Row, read_rows
from .duplicates import find_near_duplicates
from .findings import ClipReference, Finding, Severity
from .measures import ClipMeasures
from .sound_checks import check_sound
from .split_checks import CopyPair, check_copies, check_labels, check_speakers

__all__ = ["AuditReport", "ConfigAudit", "SplitSummary", "audit_configs", "audit_dataset"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSummary:
    """One split in numbers.

    Attributes:
        num_clips: Clips in it.
        duration_s: Seconds of all clips that can be decoded.
        num_speakers: Speakers that are known by name.
        num_unknown_speakers: Clips whose speaker is not known.
        labels: Clips of each class, in the order of the classes.
    """

    num_clips: int
    duration_s: float
    num_speakers: int
    num_unknown_speakers: int
    labels: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class ConfigAudit:
    """What was found in the splits of one config.

    Attributes:
        name: The config.
        splits: Split to its numbers.
        label_names: Its classes; None for a dataset without classes.
        findings: About speakers, copies, classes and labels.
        rows: Its clips.
    """

    name: str
    splits: Mapping[str, SplitSummary]
    label_names: tuple[str, ...] | None
    findings: tuple[Finding, ...]
    rows: tuple[Row, ...]

    @property
    def leaks(self) -> bool:
        """Whether anything ties one split to another."""
        return any(finding.severity is Severity.LEAK for finding in self.findings)


@dataclass(frozen=True, kw_only=True)
class AuditReport:
    """What an audit found.

    Attributes:
        dataset: Name or path of the dataset.
        configs: Config to what was found in its splits, the default config first.
        findings: About the sound of the clips, the same in every config; a clip's split is that of the first config
            that has it.
        measures: Digest of a clip to its measures.
    """

    dataset: str
    configs: Mapping[str, ConfigAudit]
    findings: tuple[Finding, ...]
    measures: Mapping[str, ClipMeasures]

    @property
    def leaks(self) -> bool:
        """Whether a split of any config leaks into another."""
        return any(config.leaks for config in self.configs.values())

    @property
    def durations_s(self) -> list[float]:
        """Seconds of each clip that can be decoded."""
        return [one.duration_s for one in self.measures.values() if not one.error]


def audit_dataset(
    dataset: Mapping[str, datasets.Dataset],
    *,
    name: str = "dataset",
    config: str = "default",
    columns: Columns | None = None,
    num_workers: int | None = None,
    show_progress: bool = False,
) -> AuditReport:
    """Audit one dataset in memory or on disk, such as ``load_corpus`` and ``load_own_data`` return.

    Args:
        dataset: Split to rows; a `DatasetDict`.
        name: What the report calls it.
        config: What the report calls its splits.
        columns: What its columns are called.
        num_workers: Threads that decode; None: the number of processors, at most eight.
        show_progress: Draw progress bars.

    Returns:
        What was found.

    Raises:
        CorpusError: If a column is missing or there are no clips.

    Example:
        >>> audit_dataset(load_corpus("synthetic"), name="synthetic").leaks  # doctest: +SKIP
        False
    """
    return audit_configs(
        [(config, dataset)], name=name, columns=columns, num_workers=num_workers, show_progress=show_progress
    )


def audit_configs(
    configs: Iterable[tuple[str, Mapping[str, datasets.Dataset]]],
    *,
    name: str,
    columns: Columns | None = None,
    num_workers: int | None = None,
    show_progress: bool = False,
    files_identify_clips: bool = False,
) -> AuditReport:
    """Audit several configs of a dataset; a clip that several have is decoded once.

    Args:
        configs: Pairs of name and splits, the most important first.
        name: What the report calls the dataset.
        columns: What its columns are called.
        num_workers: Threads that decode; None: the number of processors, at most eight.
        show_progress: Draw progress bars.
        files_identify_clips: A file name means the same clip in every config. Configs after the first may then lack the
            audio column, if all their clips are in earlier ones.

    Returns:
        What was found.

    Raises:
        CorpusError: If a column is missing or there are no clips.
    """
    clips = Clips(columns or Columns(), num_workers=num_workers, show_progress=show_progress)
    rows_of: dict[str, list[Row]] = {}
    label_names: dict[str, tuple[str, ...] | None] = {}
    digests: dict[str, str] = {}
    for config, splits in configs:
        dataset = {split: splits[split] for split in sorted(splits, key=_usual_place)}
        rows = read_rows(dataset, columns=clips.columns, digests=digests) if files_identify_clips and digests else None
        rows_of[config] = clips.add(dataset, config=config) if rows is None else rows
        label_names[config] = _label_names(dataset, clips.columns, rows_of[config])
        digests.update((row.clip.file, row.digest) for row in rows_of[config])
    if not rows_of:
        raise CorpusError(f"{name}: no config to audit.")
    copies = _near_duplicates(clips)
    return AuditReport(
        dataset=name,
        configs={
            config: _audit_splits(config, rows, label_names[config], clips.measures, copies)
            for config, rows in rows_of.items()
        },
        findings=tuple(check_sound(list(_each_once(rows_of.values(), clips.measures)))),
        measures=clips.measures,
    )


def _usual_place(split: str) -> int:
    """Train first, test last, whatever the files' order; others keep theirs between them."""
    return {"train": 0, "test": 2}.get(split, 1)


def _near_duplicates(clips: Clips) -> list[CopyPair]:
    """Find near-duplicates among clips of different samples, as pairs of digests."""
    digest_of = {one.samples_digest: digest for digest, one in reversed(clips.measures.items()) if not one.error}
    digests = list(reversed(digest_of.values()))
    found = find_near_duplicates(
        [clips.measures[digest].fingerprint for digest in digests],
        lambda number: clips.waveform(digests[number]),
        show_progress=clips.show_progress,
    )
    return [(digests[pair.first], digests[pair.second], pair) for pair in found]


def _audit_splits(
    config: str,
    rows: Sequence[Row],
    label_names: tuple[str, ...] | None,
    measures: Mapping[str, ClipMeasures],
    copies: Sequence[CopyPair],
) -> ConfigAudit:
    splits = dict.fromkeys(row.clip.split for row in rows)
    return ConfigAudit(
        name=config,
        splits={
            split: _summary([row for row in rows if row.clip.split == split], label_names, measures) for split in splits
        },
        label_names=label_names,
        findings=(*check_speakers(rows), *check_copies(rows, measures, copies), *check_labels(rows, label_names)),
        rows=tuple(rows),
    )


def _summary(
    rows: Sequence[Row], label_names: tuple[str, ...] | None, measures: Mapping[str, ClipMeasures]
) -> SplitSummary:
    counts = Counter(row.clip.label for row in rows)
    speakers = Counter(row.clip.speaker_id for row in rows)
    return SplitSummary(
        num_clips=len(rows),
        duration_s=statistics.fsum(measures[row.digest].duration_s for row in rows),
        num_speakers=len(speakers.keys() - {None}),
        num_unknown_speakers=speakers[None],
        labels={label: counts[label] for label in label_names or ()},
    )


def _label_names(
    dataset: Mapping[str, datasets.Dataset], columns: Columns, rows: Sequence[Row]
) -> tuple[str, ...] | None:
    """Names of the classes: those of a ClassLabel, else all that occur, sorted; None without a label column."""
    split = next(iter(dataset.values()))
    column = columns.find("label", split)
    if column is None:
        return None
    feature = split.features[column]
    if isinstance(feature, datasets.ClassLabel):
        return tuple(feature.names)
    return tuple(sorted({row.clip.label for row in rows if row.clip.label is not None}))


def _each_once(
    configs: Iterable[Sequence[Row]], measures: Mapping[str, ClipMeasures]
) -> Iterator[tuple[ClipReference, ClipMeasures]]:
    seen = set()
    for rows in configs:
        for row in rows:
            if row.digest not in seen:
                seen.add(row.digest)
                yield row.clip, measures[row.digest]
