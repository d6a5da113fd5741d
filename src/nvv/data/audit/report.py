"""Writing an audit: ``report.json`` for programs, ``report.md`` for people, ``report.png`` at a glance.

The schema of the JSON file, version 1 (fields may be added within a version, none changes or goes)::

    schema_version     1
    nvv_version        version that wrote it
    dataset            name or path as given
    leaks              whether any config leaks
    num_clips          different clips (by bytes) over all configs
    configs            name -> leaks, has_labels,
                       splits: name -> num_clips, duration_s, num_speakers, num_unknown_speakers, labels: name -> clips
                       findings: [finding], about speakers, copies, classes and labels
    findings           [finding], about the sound of the clips, the same in every config
    sound              durations_s and peaks_dbfs: minimum, median, maximum; sampling_rates and channels: value -> clips
    kinds              name -> title, rule: what each kind of finding means, with thresholds

    finding            kind, severity ("leak", "warning", "note"), message, details,
                       clips: [file, split, label or null, speaker_id or null]

Pictures are drawn in the neighbour ``plots``. Own work.
"""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ...files import write_text
from ...version import __version__
from .audit import AuditReport, ConfigAudit
from .duplicates import MAX_BIT_ERROR_RATE, MIN_CORRELATION
from .findings import KINDS, ClipReference, Finding, Severity
from .plots import write_plots

__all__ = ["SCHEMA_VERSION", "as_dict", "as_markdown", "summarize", "write_report"]

SCHEMA_VERSION = 1

_MAX_ROWS = 20
_MAX_CLIPS_IN_ROW = 6
_SEVERITY_WORDS = {Severity.LEAK: "**leak**", Severity.WARNING: "warning", Severity.NOTE: "note"}


def write_report(report: AuditReport, output_dir: str | os.PathLike[str]) -> list[Path]:
    """Write the three files of a report; each appears whole or not at all.

    Args:
        report: What was found.
        output_dir: Folder; made if it is missing. Files of an earlier report are replaced.

    Returns:
        The files.
    """
    folder = Path(output_dir).expanduser()
    # The picture first: whoever sees the JSON file finds the others complete.
    return [
        write_plots(report, folder / "report.png"),
        write_text(folder / "report.md", as_markdown(report)),
        write_text(folder / "report.json", json.dumps(as_dict(report), indent=2, ensure_ascii=False) + "\n"),
    ]


def as_dict(report: AuditReport) -> dict[str, Any]:
    """Return a report in the schema of the JSON file (see the module)."""
    good = [one for one in report.measures.values() if not one.error]
    return {
        "schema_version": SCHEMA_VERSION,
        "nvv_version": __version__,
        "dataset": report.dataset,
        "leaks": report.leaks,
        "num_clips": len(report.measures),
        "configs": {name: _config_dict(config) for name, config in report.configs.items()},
        "findings": [_finding_dict(finding) for finding in report.findings],
        "sound": {
            "durations_s": _range([one.duration_s for one in good]),
            "peaks_dbfs": _range([one.peak_dbfs for one in good]),
            "sampling_rates": _counts(one.sampling_rate for one in good),
            "channels": _counts(one.num_channels for one in good),
        },
        "kinds": {name: {"title": kind.title, "rule": kind.rule} for name, kind in KINDS.items()},
    }


def summarize(report: AuditReport) -> str:
    """Return what a command prints: a line for each config and each kind of finding."""
    lines = []
    for config in report.configs.values():
        sizes = ", ".join(f"{summary.num_clips} {split}" for split, summary in config.splits.items())
        lines.append(f"{report.dataset}, config {config.name} ({sizes}): {_verdict(config)}")
        lines += [f"  {line}" for line in _kind_lines(config.findings)]
    lines.append(f"Sound of {len(report.measures)} clips: {'no findings' if not report.findings else ''}".rstrip())
    lines += [f"  {line}" for line in _kind_lines(report.findings)]
    return "\n".join(lines)


def as_markdown(report: AuditReport) -> str:
    """Return the report as Markdown; long lists are cut, the JSON file has all."""
    parts = [
        f"# Audit of {_cell(report.dataset)}",
        _opening(report),
        "![Clips by class and split, durations, levels, silence, rates and speakers](report.png)",
    ]
    for config in report.configs.values():
        parts += _config_parts(config)
    parts += ["## Sound", _sound_sentence(report)]
    parts += _finding_parts(report.findings) or ["No findings."]
    parts += ["## How copies are found", _METHOD, f"Written by nvv {__version__}. `report.json` holds every finding."]
    return "\n\n".join(parts) + "\n"


_METHOD = (
    "Files are compared by their bytes, then by their decoded samples. Near-duplicates are found by fingerprints at "
    "8 kHz (signs of time-frequency cosine coefficients, after Haitsma and Kalker, 2002): at most "
    f"{100 * MAX_BIT_ERROR_RATE:.0f} % of the bits may differ where both clips sound, which must be at least half of "
    f"the shorter one, and there the waveforms, their level evened out, must correlate by {MIN_CORRELATION:g} or more. "
    "Changes of level, silence before and after, cutting, MP3, Ogg Vorbis, FLAC, µ-law and 8 kHz are survived; changes "
    "of speed or pitch and added noise or music are not looked for."
)


def _config_dict(config: ConfigAudit) -> dict[str, Any]:
    return {
        "leaks": config.leaks,
        "has_labels": config.label_names is not None,
        "splits": {
            split: {**dataclasses.asdict(summary), "duration_s": round(summary.duration_s, 3)}
            for split, summary in config.splits.items()
        },
        "findings": [_finding_dict(finding) for finding in config.findings],
    }


def _finding_dict(finding: Finding) -> dict[str, Any]:
    return {
        "kind": finding.kind,
        "severity": finding.severity.value,
        "message": finding.message,
        "clips": [dataclasses.asdict(clip) for clip in finding.clips],
        "details": dict(finding.details),
    }


def _range(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    numbers = {"minimum": min(values), "median": statistics.median(values), "maximum": max(values)}
    return {name: round(float(value), 4) for name, value in numbers.items()}


def _counts(values: Iterable[int]) -> dict[str, int]:
    return {str(value): count for value, count in sorted(Counter(values).items())}


def _verdict(config: ConfigAudit) -> str:
    if config.leaks:
        return "LEAKS"
    if len(config.splits) < 2:
        return "one split, nothing can leak"
    unknown = any(finding.kind == "speakers_unknown" for finding in config.findings)
    return "no leak found, but speakers could not be checked" if unknown else "no leak found"


def _kind_lines(findings: Sequence[Finding]) -> list[str]:
    counts = Counter((finding.kind, finding.severity) for finding in findings)
    order = list(KINDS)
    lines = []
    for (kind, severity), count in sorted(counts.items(), key=lambda item: order.index(item[0][0])):
        word = "LEAK" if severity is Severity.LEAK else severity.value
        lines.append(f"{word}: {KINDS[kind].title.lower()} ({count})")
    return lines


def _opening(report: AuditReport) -> str:
    lines = [
        "| config | splits | leaks | speakers shared | copies across splits | copies within a split | other |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for config in report.configs.values():
        counts = Counter((finding.kind, finding.severity is Severity.LEAK) for finding in config.findings)
        shared = counts.pop(("shared_speaker", True), 0)
        kinds = ("identical_bytes", "identical_samples", "near_duplicate")
        across, within = (sum(counts.pop((kind, leak), 0) for kind in kinds) for leak in (True, False))
        known = "not known" if not any(one.num_speakers for one in config.splits.values()) else str(shared)
        splits = ", ".join(f"{_cell(split)} {summary.num_clips:,}" for split, summary in config.splits.items())
        lines.append(
            f"| {_cell(config.name)} | {splits} | {'**yes**' if config.leaks else 'no'} | {known} | {across} "
            f"| {within} | {counts.total()} |"
        )
    return "\n".join(lines)


def _config_parts(config: ConfigAudit) -> list[str]:
    parts = [f"## Splits of `{config.name}`: {_verdict(config)}"]
    head = ["| split | clips | minutes | speakers |", "| --- | ---: | ---: | ---: |"]
    for split, one in config.splits.items():
        speakers = f"{one.num_speakers}" + (
            f" and {one.num_unknown_speakers} clips of unknown speakers" if one.num_unknown_speakers else ""
        )
        head.append(f"| {_cell(split)} | {one.num_clips:,} | {one.duration_s / 60:.1f} | {speakers} |")
    parts.append("\n".join(head))
    if config.label_names:
        lines = [
            "| class | " + " | ".join(map(_cell, config.splits)) + " |",
            "| --- |" + " ---: |" * len(config.splits),
        ]
        for label in config.label_names:
            counts = " | ".join(str(one.labels[label]) for one in config.splits.values())
            lines.append(f"| {_cell(label)} | {counts} |")
        parts.append("\n".join(lines))
    return parts + (_finding_parts(config.findings) or ["No findings."])


def _finding_parts(findings: Sequence[Finding]) -> list[str]:
    parts = []
    for kind, description in KINDS.items():
        of_kind = [finding for finding in findings if finding.kind == kind]
        if not of_kind:
            continue
        parts.append(f"### {description.title} ({len(of_kind)})")
        parts.append(description.rule)
        lines = ["| weight | finding | clips |", "| --- | --- | --- |"]
        for finding in of_kind[:_MAX_ROWS]:
            lines.append(
                f"| {_SEVERITY_WORDS[finding.severity]} | {_cell(finding.message)} | {_listed(finding.clips)} |"
            )
        if len(of_kind) > _MAX_ROWS:
            lines.append(f"| | and {len(of_kind) - _MAX_ROWS} more, in report.json | |")
        parts.append("\n".join(lines))
    return parts


def _listed(clips: Sequence[ClipReference]) -> str:
    shown = [
        f"{_cell(clip.file)} ({', '.join(_cell(part) for part in (clip.split, clip.label, clip.speaker_id) if part)})"
        for clip in clips[:_MAX_CLIPS_IN_ROW]
    ]
    more = [f"and {len(clips) - _MAX_CLIPS_IN_ROW} more"] if len(clips) > _MAX_CLIPS_IN_ROW else []
    return "<br>".join(shown + more)


def _sound_sentence(report: AuditReport) -> str:
    good = [one for one in report.measures.values() if not one.error]
    if not good:
        return f"None of the {len(report.measures)} clips can be decoded."
    durations = sorted(one.duration_s for one in good)
    rates = ", ".join(f"{rate} Hz ({count})" for rate, count in _counts(one.sampling_rate for one in good).items())
    channels = ", ".join(f"{number} ({count})" for number, count in _counts(one.num_channels for one in good).items())
    return (
        f"{len(good)} clips, {sum(durations) / 60:.1f} minutes; durations {durations[0]:.2f} to {durations[-1]:.2f} s, "
        f"median {statistics.median(durations):.2f} s. Sampling rates: {rates}. Channels: {channels}."
    )


def _cell(text: str) -> str:
    """Text that cannot break out of a table's cell or be read as markup."""
    text = " ".join(str(text).split())
    return "".join(f"\\{character}" if character in "\\|`*_<>[]" else character for character in text)
