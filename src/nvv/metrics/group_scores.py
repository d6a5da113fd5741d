"""Scores by group of clips (sex, age band, speaker, microphone …), how far groups are apart, and intervals for both.

A resample matters to a group's scores only through sums over its clips: a confusion matrix, or the sums of
`regression`. So resamples are drawn as counts of clips (or of whole speakers), and one matrix product of counts and
summands gives all groups' sums in all resamples. The same resamples serve every group, so differences between groups
that share speakers are right too. What a column means and which bands it has is the caller's to say.

What holds where little is known: no score is NaN, see `classification` and `regression`. A group of one clip, or of one
speaker where speakers are drawn, has scores, and an interval without width, which says nothing; `min_clips` keeps small
groups out of the gaps. Scores that average over classes do so over the classes that occur in the group, or in the rest.

Source: B. Efron, R. Tibshirani, An Introduction to the Bootstrap, 1993, chapters 8 (samples of several groups) and 13
(percentile intervals); own code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from .classification import SCORE_NAMES, check_label_pairs, scores_from_confusion
from .regression import NUM_SUMS, REGRESSION_SCORE_NAMES, clip_sums, mean_over_targets, scores_from_sums
from .regression_bootstrap import ScoreInterval
from .resampling import check_resampling

GROUP_REGRESSION_SCORE_NAMES = (*REGRESSION_SCORE_NAMES, "mean_shift")
"""`mean_shift` is the mean of prediction minus reference, in the targets' unit."""

_MAX_NUMBERS_AT_ONCE = 20_000_000
"""Counts and sums held at once; more resamples are worked through in parts, to bound memory at about 160 MB."""

_MISSING_LABEL = (-1, -100)

Scores = dict[str, NDArray[np.float64]]
"""Score name to scores (some resamples, targets); NaN where a resample has no reference. One target if classes."""

ConfusionScorer = Callable[[NDArray[np.float64]], dict[str, NDArray[np.float64]]]
"""From confusion matrices (..., classes, classes) to scores (...), as `scores_from_confusion`."""


class GroupScores(TypedDict):
    """What is known of one group.

    Attributes:
        num_clips: Clips that have a reference (for any target).
        num_speakers: Speakers of these clips; None where speakers are not known.
        scores: Score name to value and interval, for regression the mean over targets; {} without a reference.
        per_target: Regression: the same for each target (targets,), None where it has no reference. Classes: [].
        difference_to_rest: Score name to the group's score minus that of all clips of the other groups, with its
            interval; {} where the group or the rest has no reference.
    """

    num_clips: int
    num_speakers: int | None
    scores: dict[str, ScoreInterval]
    per_target: list[dict[str, ScoreInterval] | None]
    difference_to_rest: dict[str, ScoreInterval]


class Gap(TypedDict):
    """How far the two groups are apart that are farthest apart by a score.

    Attributes:
        value: The higher score minus the lower, ≥ 0.
        low: Lower end of the interval of the difference of these two groups.
        high: Upper end of it.
        between: The groups of the higher and of the lower score.
    """

    value: float
    low: float
    high: float
    between: tuple[str, str]


class GroupReport(TypedDict):
    """Scores by group.

    Attributes:
        resampled: What was drawn: "clip" or "speaker".
        num_without_group: Clips that are in no group and not scored.
        groups: Group to what is known of it, in order of the names.
        gaps: Score name to the largest gap; {} where fewer than two groups can be compared.
    """

    resampled: Literal["clip", "speaker"]
    num_without_group: int
    groups: dict[str, GroupScores]
    gaps: dict[str, Gap]


def scores_by_group(
    references: ArrayLike,
    predictions: ArrayLike,
    groups: Sequence[str | int | None],
    *,
    kind: Literal["classification", "regression"] = "classification",
    num_labels: int | None = None,
    speakers: Sequence[str | int | None] | None = None,
    num_resamples: int = 1_000,
    confidence: float = 0.95,
    min_clips: int = 1,
    seed: int = 0,
    score_confusions: ConfusionScorer = scores_from_confusion,
) -> GroupReport:
    """Score each group of clips, and compare it with the rest and with the other groups.

    Where each speaker is in one group (sex, age), resamples are drawn within each group, as many clips or speakers as
    it has: a group's interval is that of its clips alone. Where speakers are in several groups, whole speakers are
    drawn from all, and a resample that misses a group says nothing of it.

    Args:
        references: true labels (clips,), -1 or -100 where missing; or numbers (clips,) or (clips, targets), NaN where
            missing.
        predictions: predicted labels (clips,), or numbers of the references' shape.
        groups: each clip's group (clips,); None, NaN or an empty text: not known, the clip is left out.
        kind: `classification` or `regression`.
        num_labels: number of classes; None: as many as occur. Matters to classification only.
        speakers: who made each clip (clips,), for intervals over speakers; one without a speaker counts as its own.
            None: clips are drawn; so they are where each group is one speaker, and drawing speakers would say nothing.
        num_resamples: how many resamples, ≥ 1; a thousand or more for a 95 % interval.
        confidence: share of resamples inside an interval, in (0, 1).
        min_clips: groups of fewer clips take no part in the gaps, ≥ 1.
        seed: of the resamples.
        score_confusions: scores confusion matrices; another one than usual where an answer may be none of the classes.
            Matters to classification only.

    Returns:
        Each group's scores (`SCORE_NAMES`, or `GROUP_REGRESSION_SCORE_NAMES`), its differences to the rest, and the
        largest gaps. A gap is picked as the largest, so among many small groups it is large by chance, and its interval
        (that of the picked pair) does not know that it was picked.

    Raises:
        ValueError: for another kind, for labels, numbers, groups or speakers that do not fit, for no clip that has
            both group and reference, and for options out of range.

    Example:
        >>> report = scores_by_group([0, 0, 1, 1], [0, 0, 1, 0], ["f", "m", "f", "m"], num_resamples=50)
        >>> report["gaps"]["accuracy"]["value"], report["gaps"]["accuracy"]["between"]
        (0.5, ('f', 'm'))
    """
    check_resampling(num_resamples=num_resamples, confidence=confidence)
    if min_clips < 1:
        raise ValueError(f"min_clips: expected at least 1, found {min_clips}.")
    if kind not in ("classification", "regression"):
        raise ValueError(f"kind: expected classification or regression, found {kind!r}.")
    true, predicted = np.asarray(references), np.asarray(predictions)
    has_reference = _has_reference(true, kind=kind)
    names = _names(groups, num_clips=len(true), field="groups")
    has_group = np.array([name is not None for name in names])
    scored = has_group & has_reference
    if not scored.any():
        raise ValueError("groups: expected at least one clip that has both a group and a reference, found none.")
    group_names = sorted({name for name in names if name is not None})
    group_of_clip = np.array([group_names.index(names[clip]) for clip in np.flatnonzero(scored)])
    speaker_of_clip = _speakers(speakers, num_clips=len(true))
    speaker_of_clip = None if speaker_of_clip is None else speaker_of_clip[scored]

    summands, score = _summands(
        true[scored], predicted[scored], kind=kind, num_labels=num_labels, score_confusions=score_confusions
    )
    units, resampled = _units(group_of_clip, speaker_of_clip)
    own, rest = _resampled_scores(
        summands,
        score,
        group_of_clip=group_of_clip,
        units=units,
        num_groups=len(group_names),
        num_resamples=num_resamples,
        seed=seed,
    )
    results: dict[str, GroupScores] = {}
    for group, name in enumerate(group_names):
        is_own = group_of_clip == group
        results[name] = {
            "num_clips": int(is_own.sum()),
            "num_speakers": None if speaker_of_clip is None else int(np.unique(speaker_of_clip[is_own]).size),
            "scores": _intervals(own[group], confidence=confidence),
            "per_target": _per_target(own[group], confidence=confidence) if kind == "regression" else [],
            "difference_to_rest": _differences(own[group], rest[group], confidence=confidence),
        }
    comparable = [group for group in range(len(group_names)) if (group_of_clip == group).sum() >= min_clips]
    return {
        "resampled": resampled,
        "num_without_group": int((~has_group).sum()),
        "groups": results,
        "gaps": _gaps(own, comparable, names=group_names, confidence=confidence),
    }


def _names(values: Sequence[str | int | None] | ArrayLike, *, num_clips: int, field: str) -> list[str | None]:
    """Return names as texts, None where there is none."""
    if np.shape(values) != (num_clips,):
        raise ValueError(f"{field}: expected one for each of the {num_clips} clips, found shape {np.shape(values)}.")
    return [None if value is None or value == "" or value != value else str(value) for value in values]


def _speakers(speakers: Sequence[str | int | None] | None, *, num_clips: int) -> NDArray[np.int64] | None:
    """Number the speakers (clips,); a clip without a speaker is one of its own."""
    if speakers is None:
        return None
    names = _names(speakers, num_clips=num_clips, field="speakers")
    keys = [(True, str(clip)) if name is None else (False, name) for clip, name in enumerate(names)]
    number_of = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return np.array([number_of[key] for key in keys])


def _has_reference(references: NDArray, *, kind: str) -> NDArray[np.bool_]:
    """Say which clips have a reference (clips,)."""
    if references.ndim == 0 or len(references) == 0:
        raise ValueError(f"references: expected at least one clip, found shape {references.shape}.")
    if kind == "classification":
        return ~np.isin(references, _MISSING_LABEL)
    try:
        numbers = references.astype(np.float64).reshape(len(references), -1)
    except (TypeError, ValueError) as error:
        raise ValueError(f"references: expected numbers, found something else ({error}).") from error
    return ~np.isnan(numbers).all(axis=1)


def _summands(
    references: NDArray,
    predictions: NDArray,
    *,
    kind: str,
    num_labels: int | None,
    score_confusions: ConfusionScorer,
) -> tuple[sparse.csr_array | NDArray[np.float64], Callable[[NDArray[np.float64]], Scores]]:
    """Return what each clip adds to the sums (clips, sums), and the function that scores sums (resamples, sums).

    Summands are a sparse matrix where they are counts.
    """
    if kind == "regression":
        values, offsets = clip_sums(references, predictions)
        num_targets = values.shape[1]

        def score_regression(sums: NDArray[np.float64]) -> Scores:
            of_targets = sums.reshape(len(sums), num_targets, NUM_SUMS)
            of_targets[..., 0] = np.rint(of_targets[..., 0])  # a number of clips
            scores = scores_from_sums(of_targets, offsets)
            count, x, y = (of_targets[..., position] for position in range(3))
            shift = (y - x) / np.maximum(count, 1) - offsets
            return {**scores, "mean_shift": np.where(count > 0, shift, np.nan)}

        return values.reshape(len(values), -1), score_regression

    if num_labels is None:
        num_labels = int(max(references.max(), np.asarray(predictions).max())) + 1
    true, predicted = check_label_pairs(references, predictions, num_labels=num_labels)
    num_clips, num_classes = true.size, num_labels
    cells = sparse.csr_array(
        (np.ones(num_clips), (np.arange(num_clips), true * num_classes + predicted)), shape=(num_clips, num_classes**2)
    )

    def score_classes(sums: NDArray[np.float64]) -> Scores:
        is_there = sums.sum(axis=1) > 0
        answers = {name: np.full((len(sums), 1), np.nan) for name in SCORE_NAMES}
        if is_there.any():
            confusions = sums[is_there].reshape(-1, num_classes, num_classes)
            for name, values in score_confusions(confusions).items():
                answers[name][is_there, 0] = values
        return answers

    return cells, score_classes


def _units(
    group_of_clip: NDArray[np.int64], speaker_of_clip: NDArray[np.int64] | None
) -> tuple[tuple[NDArray[np.int64], list[NDArray[np.int64]]], Literal["clip", "speaker"]]:
    """Say what is drawn.

    Returns:
        Each clip's unit (clips,) and the strata: units that are drawn from among themselves. And the units' name.
    """
    num_clips = group_of_clip.size
    if speaker_of_clip is not None:
        _, unit_of_clip = np.unique(speaker_of_clip, return_inverse=True)
        pairs = np.unique(np.stack([unit_of_clip, group_of_clip]), axis=1)
        num_units = int(unit_of_clip.max()) + 1
        num_groups = np.unique(group_of_clip).size
        if pairs.shape[1] > num_units:  # a speaker in several groups: speakers of all groups are drawn together
            return (unit_of_clip, [np.arange(num_units)]), "speaker"
        if num_units > num_groups:
            group_of_unit = pairs[1]
            strata = [np.flatnonzero(group_of_unit == group) for group in np.unique(group_of_unit)]
            return (unit_of_clip, strata), "speaker"
    strata = [np.flatnonzero(group_of_clip == group) for group in np.unique(group_of_clip)]
    return (np.arange(num_clips), strata), "clip"


def _draws(
    strata: list[NDArray[np.int64]], *, num_resamples: int, numbers_per_resample: int, seed: int
) -> Iterator[NDArray[np.float64]]:
    """Yield how often each unit is drawn (some resamples, units); the very first row is the units themselves."""
    num_units = sum(stratum.size for stratum in strata)
    yield np.ones((1, num_units))
    generators = [np.random.default_rng((seed, number)) for number in range(len(strata))]
    step = max(1, _MAX_NUMBERS_AT_ONCE // max(numbers_per_resample, num_units))
    for start in range(0, num_resamples, step):
        size = min(step, num_resamples - start)
        times = np.empty((size, num_units))
        for stratum, generator in zip(strata, generators, strict=True):
            times[:, stratum] = generator.multinomial(stratum.size, np.full(stratum.size, 1 / stratum.size), size=size)
        yield times


def _resampled_scores(
    summands: sparse.csr_array | NDArray[np.float64],
    score: Callable[[NDArray[np.float64]], Scores],
    *,
    group_of_clip: NDArray[np.int64],
    units: tuple[NDArray[np.int64], list[NDArray[np.int64]]],
    num_groups: int,
    num_resamples: int,
    seed: int,
) -> tuple[list[Scores], list[Scores]]:
    """Score every group, and the rest of every group, in every resample; the first row is what was observed."""
    unit_of_clip, strata = units
    num_clips, num_sums = summands.shape
    num_units = sum(stratum.size for stratum in strata)

    def of_units(clips: NDArray[np.int64]) -> sparse.csr_array | NDArray[np.float64]:
        """Return each unit's sums over some clips (units, sums)."""
        into_units = sparse.csr_array(
            (np.ones(clips.size), (unit_of_clip[clips], np.arange(clips.size))), shape=(num_units, clips.size)
        )
        return into_units @ summands[clips]

    counts_only = sparse.issparse(summands)  # counts are exact, so that the rest is total minus own
    total = of_units(np.arange(num_clips))
    by_group = [of_units(np.flatnonzero(group_of_clip == group)) for group in range(num_groups)]
    others = [] if counts_only else [of_units(np.flatnonzero(group_of_clip != group)) for group in range(num_groups)]
    own: list[list[Scores]] = [[] for _ in range(num_groups)]
    rest: list[list[Scores]] = [[] for _ in range(num_groups)]
    for times in _draws(strata, num_resamples=num_resamples, numbers_per_resample=num_sums, seed=seed):
        total_sums = times @ total
        for group in range(num_groups):
            sums = times @ by_group[group]
            own[group].append(score(sums))
            rest[group].append(score(total_sums - sums if counts_only else times @ others[group]))
    return [_joined(parts) for parts in own], [_joined(parts) for parts in rest]


def _joined(parts: list[Scores]) -> Scores:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _interval(values: NDArray[np.float64], *, confidence: float) -> ScoreInterval | None:
    """Return the first value (what was observed) and the interval of the others; None where nothing was observed."""
    if np.isnan(values[0]):
        return None
    known = values[1:][~np.isnan(values[1:])]
    tail = (1 - confidence) / 2
    # A handful of references may be in no resample at all; the score itself is then all there is.
    low, high = np.quantile(known, [tail, 1 - tail]) if known.size else (values[0], values[0])
    return {"value": float(values[0]), "low": float(low), "high": float(high)}


def _intervals(scores: Scores, *, confidence: float) -> dict[str, ScoreInterval]:
    """Return each score's mean over targets with its interval; {} where nothing was observed."""
    found = {name: _interval(mean_over_targets(values), confidence=confidence) for name, values in scores.items()}
    return {name: interval for name, interval in found.items() if interval is not None}


def _per_target(scores: Scores, *, confidence: float) -> list[dict[str, ScoreInterval] | None]:
    num_targets = next(iter(scores.values())).shape[1]
    tables = [
        _intervals({name: values[:, [target]] for name, values in scores.items()}, confidence=confidence)
        for target in range(num_targets)
    ]
    return [table or None for table in tables]


def _differences(first: Scores, second: Scores, *, confidence: float) -> dict[str, ScoreInterval]:
    """Return the difference of each score's mean over the targets that both have."""
    return _intervals({name: first[name] - second[name] for name in first}, confidence=confidence)


def _gaps(own: list[Scores], comparable: list[int], *, names: list[str], confidence: float) -> dict[str, Gap]:
    """Return the largest difference of each score between two groups; {} where none can be compared."""
    gaps: dict[str, Gap] = {}
    for name in own[0] if comparable else ():
        observed = np.stack([own[group][name][0] for group in comparable])  # (groups, targets)
        # over the targets that both groups have, NaN where there is none
        distances = mean_over_targets(observed[:, None] - observed[None])
        np.fill_diagonal(distances, np.nan)
        if np.isnan(distances).all():
            continue
        a, b = (comparable[at] for at in np.unravel_index(np.nanargmax(distances), distances.shape))
        interval = _interval(mean_over_targets(own[a][name] - own[b][name]), confidence=confidence)
        if interval is not None:
            gaps[name] = {**interval, "between": (names[a], names[b])}
    return gaps
