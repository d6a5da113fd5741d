"""Checks of the clips' sound, the same in every config: decoding, level, silence, duration, rate, bandwidth.

What is compared with the thresholds was measured in the neighbour ``measures``; the rules in words are in ``findings``.
Source of the rule for durations: Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993 (modified z-score).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy.stats import rankdata

from .findings import KINDS, ClipReference, Finding
from .measures import ClipMeasures

__all__ = ["check_sound", "duration_limits"]

MAX_SILENCE_SHARE = 0.8
MAX_EDGE_SILENCE_S = 1.0
MIN_DURATION_S = 0.1
MAX_DURATION_Z = 3.5
MIN_TELLING_SHARE = 0.95
MIN_TELLING_CLIPS = 8

Measured = tuple[ClipReference, ClipMeasures]


def check_sound(clips: Sequence[Measured]) -> list[Finding]:
    """Find what is wrong with single clips, and what differs between them.

    Args:
        clips: Each clip once, with its measures.

    Returns:
        Findings in the order of `KINDS`, clips in their order; one finding for each clip, and one for all clips where
        rates or numbers of channels differ.
    """
    findings = [
        _of_clip("undecodable", clip, f"{clip.file}: {measures.error}", {"error": measures.error})
        for clip, measures in clips
        if measures.error
    ]
    good = [(clip, measures) for clip, measures in clips if not measures.error]
    if not good:
        return findings
    low, high = duration_limits([measures.duration_s for _, measures in good])
    for kind, check in _CHECKS.items():
        for clip, measures in good:
            found = check(measures)
            if found is not None:
                findings.append(_of_clip(kind, clip, *found))
    for clip, measures in good:
        if not low <= measures.duration_s <= high:
            message = f"{measures.duration_s:.2f} s, outside {low:.2f} to {high:.2f} s."
            findings.append(
                _of_clip(
                    "duration_outlier",
                    clip,
                    message,
                    {"duration_s": round(measures.duration_s, 4), "low_s": round(low, 4), "high_s": round(high, 4)},
                )
            )
    findings += _telling_durations(good)
    findings += _differing("several_sampling_rates", good, lambda one: one.sampling_rate, "{} Hz")
    findings += _differing("several_channel_counts", good, lambda one: one.num_channels, "{} channels")
    order = list(KINDS)
    return sorted(findings, key=lambda finding: order.index(finding.kind))


def duration_limits(durations_s: Sequence[float]) -> tuple[float, float]:
    """Compute between which durations a clip is usual.

    Where more than half of all durations are equal, the median absolute deviation is zero; the mean absolute deviation,
    times 1.2533, then takes the place of 1.4826 times the median one, as its authors suggest.

    Args:
        durations_s: Of all clips in seconds, > 0, at least one.

    Returns:
        Shortest and longest usual duration in seconds.

    Example:
        >>> low, high = duration_limits([1.0, 2.0, 4.0, 2.0])
        >>> round(low, 2), round(high, 2)
        (0.33, 12.08)
    """
    logarithms = np.log(np.asarray(durations_s, dtype=np.float64))
    centre = float(np.median(logarithms))
    distances = np.abs(logarithms - centre)
    deviation = 1.4826 * float(np.median(distances)) or 1.2533 * float(distances.mean())
    # Rounding in the container must not make outliers of clips that are cut to one length.
    reach = MAX_DURATION_Z * deviation + 1e-6
    return float(np.exp(centre - reach)), float(np.exp(centre + reach))


def _telling_durations(good: Sequence[Measured]) -> list[Finding]:
    """Find classes whose clips are longer, or shorter, than nearly all others (area under the ROC curve)."""
    durations_s = np.array([measures.duration_s for _, measures in good])
    labels = np.array([clip.label or "" for clip, _ in good])
    ranks = rankdata(durations_s)
    findings = []
    for label in sorted(set(labels) - {""}):
        inside = labels == label
        number, others = np.count_nonzero(inside), np.count_nonzero(~inside)
        if min(number, others) < MIN_TELLING_CLIPS:
            continue
        longer = (ranks[inside].sum() - number * (number + 1) / 2) / (number * others)
        share = max(longer, 1 - longer)
        if share < MIN_TELLING_SHARE:
            continue
        here, there = float(np.median(durations_s[inside])), float(np.median(durations_s[~inside]))
        findings.append(
            Finding(
                kind="telling_duration",
                severity=KINDS["telling_duration"].severity,
                message=f"{label}: median {here:.2f} s, {there:.2f} s in the other classes; "
                f"{'longer' if longer > 0.5 else 'shorter'} in {100 * share:.0f} % of pairs.",
                details={
                    "label": label,
                    "share_of_pairs": round(float(share), 4),
                    "median_s": round(here, 4),
                    "median_of_others_s": round(there, 4),
                },
            )
        )
    return findings


def _of_clip(kind: str, clip: ClipReference, message: str, details: Mapping[str, object]) -> Finding:
    return Finding(kind=kind, severity=KINDS[kind].severity, message=message, clips=(clip,), details=dict(details))


def _silent(one: ClipMeasures) -> tuple[str, dict] | None:
    if not one.is_silent:
        return None
    return f"Peak {one.peak_dbfs:.0f} dBFS.", {"peak_dbfs": round(one.peak_dbfs, 2)}


def _clipping(one: ClipMeasures) -> tuple[str, dict] | None:
    if not one.num_clipped_runs:
        return None
    details = {"clipped_share": round(one.clipped_share, 6), "num_runs": one.num_clipped_runs}
    return f"{100 * one.clipped_share:.2f} % of the samples, in {one.num_clipped_runs} runs.", details


def _mostly_silence(one: ClipMeasures) -> tuple[str, dict] | None:
    if one.is_silent or one.silence_share <= MAX_SILENCE_SHARE:
        return None
    return f"{100 * one.silence_share:.0f} % of the frames.", {"silence_share": round(one.silence_share, 4)}


def _long_edge_silence(one: ClipMeasures) -> tuple[str, dict] | None:
    if one.is_silent or max(one.leading_silence_s, one.trailing_silence_s) <= MAX_EDGE_SILENCE_S:
        return None
    details = {
        "leading_silence_s": round(one.leading_silence_s, 3),
        "trailing_silence_s": round(one.trailing_silence_s, 3),
    }
    return f"{one.leading_silence_s:.2f} s at the start, {one.trailing_silence_s:.2f} s at the end.", details


def _very_short(one: ClipMeasures) -> tuple[str, dict] | None:
    if one.duration_s >= MIN_DURATION_S:
        return None
    return f"{one.duration_s:.3f} s.", {"duration_s": round(one.duration_s, 5)}


def _empty_band(one: ClipMeasures) -> tuple[str, dict] | None:
    if one.filled_to_hz is None:
        return None
    half_rate = one.sampling_rate / 2
    return (
        f"Empty above {one.filled_to_hz:,.0f} Hz of {half_rate:,.0f} Hz.",
        {"filled_to_hz": round(one.filled_to_hz), "half_sampling_rate_hz": half_rate},
    )


_CHECKS: dict[str, Callable[[ClipMeasures], tuple[str, dict] | None]] = {
    "silent": _silent,
    "clipping": _clipping,
    "mostly_silence": _mostly_silence,
    "long_edge_silence": _long_edge_silence,
    "very_short": _very_short,
    "empty_band": _empty_band,
}


def _differing(kind: str, good: Sequence[Measured], value: Callable[[ClipMeasures], int], unit: str) -> list[Finding]:
    counts = Counter(value(measures) for _, measures in good)
    if len(counts) == 1:
        return []
    (usual, _), *_ = ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    listed = ", ".join(f"{unit.format(number)} ({count} clips)" for number, count in ranked)
    return [
        Finding(
            kind=kind,
            severity=KINDS[kind].severity,
            message=f"{listed}.",
            clips=tuple(clip for clip, measures in good if value(measures) != usual),
            details={"num_clips": {str(number): count for number, count in ranked}},
        )
    ]
