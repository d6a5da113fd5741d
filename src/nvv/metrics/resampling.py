"""Draws bootstrap resamples of clips or of whole speakers, as counts rather than as lists of clips.

A resample matters to a score only by how often each kind of clip is in it. So what is drawn are multinomial counts, for
thousands of resamples at once; scores are computed from sums over them by the neighbours `bootstrap`, `paired` and
`regression_bootstrap`. Own work.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

_MAX_COUNTS_AT_ONCE = 20_000_000
"""Drawn counts held at once; more are worked through in parts, to bound memory at about 160 MB."""


def check_resampling(*, num_resamples: int, confidence: float = 0.95) -> None:
    """Refuse numbers that no bootstrap can use.

    Args:
        num_resamples: how many resamples, ≥ 1.
        confidence: share of resamples inside an interval, in (0, 1).

    Raises:
        ValueError: naming the number.
    """
    if num_resamples < 1:
        raise ValueError(f"num_resamples: expected at least 1, found {num_resamples}.")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence: expected a share between 0 and 1, found {confidence}.")


def group_indices(groups: Sequence[str] | ArrayLike, *, num_clips: int) -> tuple[NDArray[np.int64], int]:
    """Number the speakers.

    Args:
        groups: each clip's speaker (clips,).
        num_clips: how many clips there are.

    Returns:
        Each clip's speaker as a number (clips,), and how many speakers there are.

    Raises:
        ValueError: for another length.
    """
    names = np.asarray(groups)
    if names.shape != (num_clips,):
        raise ValueError(f"groups: expected one for each of the {num_clips} clips, found shape {names.shape}.")
    speakers, speaker_of_clip = np.unique(names, return_inverse=True)
    return speaker_of_clip, speakers.size


def _draw(
    generator: np.random.Generator, total: int, frequencies: NDArray[np.float64], *, num_resamples: int, width: int
) -> Iterator[NDArray[np.int64]]:
    """Yield multinomial counts (some resamples, units), `num_resamples` rows in all, the fewer at once the wider."""
    step = max(1, _MAX_COUNTS_AT_ONCE // max(width, 1))
    for start in range(0, num_resamples, step):
        yield generator.multinomial(total, frequencies, size=min(step, num_resamples - start))


def resampled_kinds(
    kind_of_clip: NDArray[np.int64],
    *,
    groups: Sequence[str] | ArrayLike | None = None,
    num_resamples: int,
    seed: int,
    numbers_per_resample: int = 0,
) -> Iterator[NDArray[np.int64]]:
    """Draw how often each kind of clip is in each resample.

    Args:
        kind_of_clip: each clip's kind (clips,), from 0 without gaps; clips of a kind score alike.
        groups: each clip's speaker (clips,): whole speakers are drawn, as many as there are. None: clips are drawn.
        num_resamples: how many resamples, ≥ 1.
        seed: the same seed gives the same resamples.
        numbers_per_resample: how many the caller makes of each row, to bound its memory too.

    Yields:
        Counts (some resamples, kinds), `num_resamples` rows in all.

    Raises:
        ValueError: for `groups` of another length, or fewer than one resample.
    """
    check_resampling(num_resamples=num_resamples)
    generator = np.random.default_rng(seed)
    num_clips, num_kinds = kind_of_clip.size, int(kind_of_clip.max()) + 1
    if groups is None:
        frequencies = np.bincount(kind_of_clip) / num_clips
        width = max(num_kinds, numbers_per_resample)
        yield from _draw(generator, num_clips, frequencies, num_resamples=num_resamples, width=width)
        return
    speaker_of_clip, num_speakers = group_indices(groups, num_clips=num_clips)
    by_speaker = sparse.csr_array(
        (np.ones(num_clips, dtype=np.int64), (speaker_of_clip, kind_of_clip)), shape=(num_speakers, num_kinds)
    )
    equal = np.full(num_speakers, 1 / num_speakers)
    width = max(num_speakers, num_kinds, numbers_per_resample)
    for times in _draw(generator, num_speakers, equal, num_resamples=num_resamples, width=width):
        yield times @ by_speaker  # (some resamples, kinds)


def resampled_sums(
    values: NDArray[np.float64],
    *,
    groups: Sequence[str] | ArrayLike | None = None,
    num_resamples: int,
    seed: int,
) -> NDArray[np.float64]:
    """Sum each clip's values over resamples.

    Args:
        values: what is summed (clips, values).
        groups: as in `resampled_kinds`.
        num_resamples: how many resamples, ≥ 1.
        seed: the same seed gives the same resamples.

    Returns:
        Sums (num_resamples, values).

    Raises:
        ValueError: as `resampled_kinds`.
    """
    check_resampling(num_resamples=num_resamples)
    units = values
    if groups is not None:
        speaker_of_clip, num_speakers = group_indices(groups, num_clips=len(values))
        units = np.zeros((num_speakers, values.shape[1]))
        np.add.at(units, speaker_of_clip, values)
    equal = np.full(len(units), 1 / len(units))
    draws = _draw(np.random.default_rng(seed), len(units), equal, num_resamples=num_resamples, width=max(units.shape))
    return np.concatenate([times @ units for times in draws])


def merge_kinds(counts: NDArray[np.int64], code_of_kind: NDArray[np.int64], *, num_labels: int) -> NDArray[np.int64]:
    """Turn counts of kinds into confusion matrices.

    Args:
        counts: counts (resamples, kinds).
        code_of_kind: the cell of the confusion matrix that each kind counts in (kinds,): true times num_labels, plus
            predicted. Several kinds may share a cell.
        num_labels: number of classes.

    Returns:
        Counts (resamples, num_labels, num_labels).
    """
    codes, cell_of_kind = np.unique(code_of_kind, return_inverse=True)
    num_kinds = code_of_kind.size
    into_cells = sparse.csr_array(
        (np.ones(num_kinds, dtype=np.int64), (np.arange(num_kinds), cell_of_kind)), shape=(num_kinds, codes.size)
    )
    confusions = np.zeros((len(counts), num_labels**2), dtype=np.int64)
    confusions[:, codes] = counts @ into_cells
    return confusions.reshape(-1, num_labels, num_labels)
