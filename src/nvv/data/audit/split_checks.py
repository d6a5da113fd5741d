"""Checks of a config's splits: speakers, copies across splits, classes, labels.

What is known of the clips' sound comes from the neighbours ``clips`` and ``duplicates``; a copy is any of identical
bytes, identical samples, near-duplicate. Own work.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from .clips import Row
from .duplicates import NearDuplicate
from .findings import KINDS, Finding, Severity
from .measures import ClipMeasures

__all__ = ["CopyPair", "check_copies", "check_labels", "check_speakers"]

CopyPair = tuple[str, str, NearDuplicate]
"""Digests of two clips that are near-duplicates, and how alike they are."""


def check_speakers(rows: Sequence[Row]) -> list[Finding]:
    """Find speakers in more than one split, and say where speakers are not known.

    Args:
        rows: Of one config.
    """
    splits = dict.fromkeys(row.clip.split for row in rows)
    unknown = [row.clip for row in rows if row.clip.speaker_id is None]
    of_speaker: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.clip.speaker_id is not None:
            of_speaker[row.clip.speaker_id].append(row)
    findings = []
    for speaker, theirs in sorted(of_speaker.items()):
        counts = Counter(row.clip.split for row in theirs)
        if len(counts) > 1:
            listed = ", ".join(f"{split} ({counts[split]})" for split in splits if counts[split])
            findings.append(
                Finding(
                    kind="shared_speaker",
                    severity=Severity.LEAK,
                    message=f"Speaker {speaker} has clips in {listed}.",
                    clips=tuple(row.clip for row in theirs),
                    details={"speaker_id": speaker, "num_clips": {split: counts[split] for split in splits}},
                )
            )
    if unknown and len(splits) > 1:
        share = "any clip" if len(unknown) == len(rows) else f"{len(unknown)} of {len(rows)} clips"
        findings.append(
            Finding(
                kind="speakers_unknown",
                severity=KINDS["speakers_unknown"].severity,
                message=f"The speaker of {share} is not known: independence of the splits could not be checked.",
                details={"num_clips": len(unknown), "num_known": len(rows) - len(unknown)},
            )
        )
    return findings


def check_labels(rows: Sequence[Row], label_names: Iterable[str] | None) -> list[Finding]:
    """Find clips without a label, and classes that a split lacks.

    Args:
        rows: Of one config.
        label_names: Its classes; None for a dataset without classes.
    """
    if label_names is None:
        return []
    findings = []
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        counts[row.clip.split][row.clip.label or ""] += 1
    for split, of_class in counts.items():
        absent = [label for label in label_names if not of_class[label]]
        if absent and set(of_class) != {""}:
            findings.append(
                Finding(
                    kind="missing_class",
                    severity=KINDS["missing_class"].severity,
                    message=f"{split} has no clip of {', '.join(absent)}.",
                    details={"split": split, "labels": absent},
                )
            )
    for split, of_class in counts.items():
        if of_class[""]:
            unlabelled = tuple(row.clip for row in rows if row.clip.split == split and row.clip.label is None)
            findings.append(
                Finding(
                    kind="missing_label",
                    severity=KINDS["missing_label"].severity,
                    message=f"{len(unlabelled)} of {of_class.total()} clips in {split} have no label.",
                    clips=unlabelled,
                    details={"split": split, "num_clips": len(unlabelled)},
                )
            )
    return findings


def check_copies(
    rows: Sequence[Row], measures: Mapping[str, ClipMeasures], copies: Iterable[CopyPair]
) -> list[Finding]:
    """Find recordings that occur more than once, and copies that are labelled differently.

    Args:
        rows: Of one config.
        measures: Digest to measures.
        copies: Near-duplicates among all clips; those of other configs are ignored.

    Returns:
        One finding for each group of copies (chains are followed), leaks first, and one for each group with more than
        one label.
    """
    of_digest: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        of_digest[row.digest].append(row)
    of_samples: dict[str, list[str]] = defaultdict(list)
    for digest in of_digest:
        if not measures[digest].error:
            of_samples[measures[digest].samples_digest].append(digest)
    groups = _Groups(of_digest)
    for same in of_samples.values():
        for digest in same[1:]:
            groups.join(same[0], digest)
    near = [pair for pair in copies if pair[0] in of_digest and pair[1] in of_digest]
    for first, second, _ in near:
        groups.join(first, second)
    near_of: dict[str, list[CopyPair]] = defaultdict(list)
    for pair in near:
        near_of[groups.root(pair[0])].append(pair)
    found, conflicts = [], []
    for root, digests in groups.members().items():
        group = [row for digest in digests for row in of_digest[digest]]
        if len(group) == 1:
            continue
        found.append(_copies(group, digests, near_of[root], measures))
        if len({row.clip.label for row in group} - {None}) > 1:
            conflicts.append(_conflict(group))
    found.sort(key=lambda finding: (finding.severity is not Severity.LEAK, list(KINDS).index(finding.kind)))
    return found + conflicts


def _copies(
    group: list[Row], digests: list[str], near: list[CopyPair], measures: Mapping[str, ClipMeasures]
) -> Finding:
    splits = list(dict.fromkeys(row.clip.split for row in group))
    if len(digests) == 1:
        kind, what = "identical_bytes", "The same file"
    elif len({measures[digest].samples_digest for digest in digests}) == 1:
        kind, what = "identical_samples", "The same samples"
    else:
        kind, what = "near_duplicate", "The same recording"
    where = f"across {' and '.join(splits)}" if len(splits) > 1 else f"within {splits[0]}"
    file_of = {row.digest: row.clip.file for row in reversed(group)}
    pairs = [
        {
            "first": file_of[first],
            "second": file_of[second],
            "correlation": round(pair.correlation, 4),
            "bit_error_rate": round(pair.bit_error_rate, 4),
            "lag_s": round(pair.lag_s, 3),
            "shared": round(pair.shared, 3),
        }
        for first, second, pair in near
    ]
    likeness = f" (correlation {min(pair['correlation'] for pair in pairs):.2f})" if pairs else ""
    return Finding(
        kind=kind,
        severity=Severity.LEAK if len(splits) > 1 else KINDS[kind].severity,
        message=f"{what} {len(group)} times {where}{likeness}.",
        clips=tuple(row.clip for row in group),
        details={"splits": splits, "num_files": len(digests), "pairs": pairs},
    )


def _conflict(group: list[Row]) -> Finding:
    labels = sorted({row.clip.label for row in group if row.clip.label is not None})
    return Finding(
        kind="label_conflict",
        severity=KINDS["label_conflict"].severity,
        message=f"One recording is labelled {' and '.join(labels)}.",
        clips=tuple(row.clip for row in group),
        details={"labels": labels},
    )


class _Groups:
    """Disjoint sets of names, joined pair by pair."""

    def __init__(self, names: Iterable[str]) -> None:
        self._parent = {name: name for name in names}

    def root(self, name: str) -> str:
        while self._parent[name] != name:
            self._parent[name] = self._parent[self._parent[name]]
            name = self._parent[name]
        return name

    def join(self, first: str, second: str) -> None:
        self._parent[self.root(second)] = self.root(first)

    def members(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        for name in self._parent:
            found[self.root(name)].append(name)
        return found
