"""Which clips may be the same recording: an inverted index over the words of all clips' fingerprints.

Every word is entered under its key, the lowest bits. Then words of each clip are looked up, each under its own key and
those that differ in its weakest bits, so that a copy is found although some bits turned. A hit must agree at other
times too; what is left is compared frame by frame in the neighbour ``duplicates``. Time and memory grow with the
number of words as long as few words share a key. Clips are numbered in the order given; lags are in frames.

Source: lookup table and bit error rate of Haitsma and Kalker (ISMIR 2002); multi-probe lookup after Lv et al. (VLDB
2007). The code is own work.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm.auto import tqdm

from .fingerprint import KEY_BITS, NUM_BITS, WEAK_BITS, Fingerprint

__all__ = ["find_candidates", "popcount"]

_PROBES_PER_BLOCK = 20_000
_LOOKUP_STEP = 4  # every fourth word of a clip is looked up,
_ALWAYS_LOOKED_UP = 96  # but all words of a clip of up to about 1.5 s
_MAX_HITS = 32  # of a lookup; a key with more words is common, and rarer ones will tell
# Frames around a hit at which the clips must agree, and the share of bits that may differ there: near first, then up to
# 1.3 s to each side.
_WITNESSES = ((np.arange(-24, 25, 8), 0.34), (np.arange(-80, 81, 8), 0.3))
_KEY_MASK = np.uint32(2**KEY_BITS - 1)
_BITS_OF_BYTE = np.array([bin(number).count("1") for number in range(2**16)], dtype=np.uint8)


def popcount(words: np.ndarray) -> np.ndarray:
    """Count the bits that are set.

    Args:
        words: uint32 array of any shape.

    Returns:
        uint8 array of the same shape.
    """
    return _BITS_OF_BYTE[words & np.uint32(0xFFFF)] + _BITS_OF_BYTE[words >> np.uint32(16)]


def find_candidates(fingerprints: Sequence[Fingerprint | None], *, show_progress: bool = False) -> np.ndarray:
    """Find pairs of clips that share words at a constant lag.

    Args:
        fingerprints: Of each clip; None for a clip without sound, which is no candidate.
        show_progress: Draw a progress bar.

    Returns:
        int64 array of shape ``(pairs, 3)``, sorted: numbers of two clips, the smaller first, and the lag at which they
        agree best: frames by which the sound comes later in the second clip, counted from the starts of the clips.
    """
    index = _Index.build(fingerprints)
    if index is None:
        return np.empty((0, 3), dtype=np.int64)
    found: list[np.ndarray] = []
    blocks = index.probe_blocks()
    for probes in tqdm(blocks, desc="Comparing clips", unit="block", disable=not show_progress):
        found.append(_best_of_pairs([index.agreeing(probe, hit) for probe, hit in index.look_up(probes)]))
    return _best_of_pairs(found)[:, [0, 1, 3]]


def _best_of_pairs(rows: list[np.ndarray]) -> np.ndarray:
    """Keep the row with the smallest score of each pair; rows are (first, second, score, lag), int64."""
    if not rows:
        return np.empty((0, 4), dtype=np.int64)
    table = np.concatenate(rows)
    table = table[np.lexsort(table.T[::-1])]
    is_new = np.ones(len(table), dtype=bool)
    is_new[1:] = (table[1:, :2] != table[:-1, :2]).any(axis=1)
    return table[is_new]


@dataclass
class _Index:
    """All words in one array, and where each key's words are.

    Attributes:
        words, active: Of all clips, one after the other (words,).
        weak: Weakest bits of each word (words, `WEAK_BITS`).
        clip: Which clip a word belongs to (words,).
        begins: Where each clip's words begin, and the end of the last (clips + 1,).
        starts: Frame of its clip at which a clip's words begin (clips,).
        order: Active words, sorted by key.
        first_of_key: Where each key begins in ``order`` (keys + 1,).
        rank: Place of each word among those of its key (words,); 0 for silent ones.
    """

    words: np.ndarray
    active: np.ndarray
    weak: np.ndarray
    clip: np.ndarray
    begins: np.ndarray
    starts: np.ndarray
    order: np.ndarray
    first_of_key: np.ndarray
    rank: np.ndarray

    @classmethod
    def build(cls, fingerprints: Sequence[Fingerprint | None]) -> _Index | None:
        present = [one for one in fingerprints if one is not None]
        if len(present) < 2:
            return None
        lengths = np.array([0 if one is None else len(one.words) for one in fingerprints])
        words = np.concatenate([one.words for one in present])
        active = np.concatenate([one.active for one in present])
        keys = words & _KEY_MASK
        entered = np.flatnonzero(active)
        order = entered[np.argsort(keys[entered], kind="stable")].astype(np.int32 if len(words) < 2**31 else np.int64)
        counts = np.bincount(keys[entered], minlength=2**KEY_BITS)
        first_of_key = np.concatenate([[0], np.cumsum(counts)])
        rank = np.zeros(len(words), dtype=np.int32)
        rank[order] = np.arange(len(order)) - first_of_key[keys[order]]
        return cls(
            words=words,
            active=active,
            weak=np.concatenate([one.weak for one in present]),
            clip=np.repeat(np.arange(len(lengths), dtype=np.int32), lengths),
            begins=np.concatenate([[0], np.cumsum(lengths)]),
            starts=np.array([0 if one is None else one.start for one in fingerprints]),
            order=order,
            first_of_key=first_of_key,
            rank=rank,
        )

    def probe_blocks(self) -> list[np.ndarray]:
        """Words to look up, in blocks."""
        position = np.arange(len(self.words)) - self.begins[self.clip]
        is_short = np.diff(self.begins)[self.clip] <= _ALWAYS_LOOKED_UP
        probes = np.flatnonzero(self.active & (is_short | (position % _LOOKUP_STEP == 0)))
        return [probes[first : first + _PROBES_PER_BLOCK] for first in range(0, len(probes), _PROBES_PER_BLOCK)]

    def look_up(self, probes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (probe, hit) words for each way of turning the weakest bits."""
        keys = self.words[probes] & _KEY_MASK
        flips = np.uint32(1) << self.weak[probes].astype(np.uint32)  # (probes, WEAK_BITS)
        for turned in range(2**WEAK_BITS):
            chosen = [bit for bit in range(WEAK_BITS) if turned >> bit & 1]
            key = keys ^ flips[:, chosen].sum(axis=1, dtype=np.uint32)
            first, last = self.first_of_key[key], self.first_of_key[key + 1]
            # Of a common key, each word looks at the words after its own place: many copies of one clip form a chain.
            size = np.minimum(last - first, _MAX_HITS)
            behind = np.where(last - first > _MAX_HITS, self.rank[probes] % np.maximum(last - first - _MAX_HITS, 1), 0)
            probe = np.repeat(probes, size)
            # The k-th hit of a probe stands k places after the first word of its key.
            within = np.arange(len(probe)) - np.repeat(np.cumsum(size) - size, size)
            hit = self.order[np.repeat(first + behind, size) + within]
            other = self.clip[probe] != self.clip[hit]
            yield probe[other], hit[other]

    def agreeing(self, probe: np.ndarray, hit: np.ndarray) -> np.ndarray:
        """Keep the hits that agree at other times too, as rows (first clip, second clip, score, lag).

        The score is lower the more bits agree beyond chance: long agreement counts more than a short perfect one.
        """
        for offsets, max_errors in _WITNESSES:
            errors, seen = self._compare(probe, hit, offsets)
            kept = errors <= max_errors * seen
            probe, hit, errors, seen = probe[kept], hit[kept], errors[kept], seen[kept]
        probe_clip, hit_clip = self.clip[probe], self.clip[hit]
        lag = (hit - self.begins[hit_clip] + self.starts[hit_clip]) - (
            probe - self.begins[probe_clip] + self.starts[probe_clip]
        )
        swapped = probe_clip > hit_clip
        first, second = np.where(swapped, hit_clip, probe_clip), np.where(swapped, probe_clip, hit_clip)
        score = 2 * errors - seen
        return np.stack([first, second, score, np.where(swapped, -lag, lag)], axis=1).astype(np.int64)

    def _compare(self, probe: np.ndarray, hit: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Count the differing and all bits at some frames from each hit, where both clips sound."""
        errors = np.zeros(len(probe), dtype=np.int64)
        seen = np.zeros(len(probe), dtype=np.int64)
        probe_clip, hit_clip = self.clip[probe], self.clip[hit]
        for offset in offsets:
            here, there = probe + offset, hit + offset
            inside = (here >= self.begins[probe_clip]) & (here < self.begins[probe_clip + 1])
            inside &= (there >= self.begins[hit_clip]) & (there < self.begins[hit_clip + 1])
            pairs = np.flatnonzero(inside)
            pairs = pairs[self.active[here[pairs]] & self.active[there[pairs]]]
            errors[pairs] += popcount(self.words[here[pairs]] ^ self.words[there[pairs]])
            seen[pairs] += NUM_BITS
        return errors, seen
