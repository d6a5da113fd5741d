"""Split protocols: which clip trains, which validates, which tests.

A split is data, not chance. It depends on the relative file names and on the label and speaker that each corpus derives
from them, never on a random generator, a clock, the order of a directory listing, or the version of Python or of a
library: ties are broken by SHA-256 digests and all arithmetic is done in integers. Which columns hold labels and
speakers is decided in
``nvv.data.corpus``.

Source: own work; the sizes are the 80/10/10 of the published systems, whose cuts ignore speakers.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["SPLITS", "manifest_digest", "speaker_split", "stratified_split"]

SPLITS = ("train", "validation", "test")
"""Names of the three parts, in the order in which ties are resolved."""

_COST_SCALE = 1_000_000  # costs are whole millionths, so that no rounding of floats can decide a split
_MAX_SPEAKERS_FOR_SWAPS = 1_000  # above, single moves balance well and pairs take too long


def stratified_split(
    files: Sequence[str], *, labels: Mapping[str, str | None], weights: Sequence[int] = (8, 1, 1)
) -> dict[str, str]:
    """Split every class in the given proportions, ignoring speakers (the published protocol).

    For each class with n clips, in order of the SHA-256 hex digest of the file name (UTF-8):

    1. each part gets ``floor(n * weight / sum(weights))`` clips; the clips left over go, one each, to the parts with
       the largest remainders, equal remainders to the earlier part in the order train, validation, test;
    2. where n >= 3, an empty validation or test part takes one clip from train's share (n = 2: one clip trains, one
       tests; n = 1: it trains);
    3. the first share of the clips trains, the next validates, the last tests.

    Args:
        files: Relative file names, unique, in any order.
        labels: File name to class; None (a corpus without classes) counts as one class.
        weights: Proportions of train, validation and test, whole numbers > 0.

    Returns:
        File name to ``"train"``, ``"validation"`` or ``"test"``, in order of the file names.

    Raises:
        ValueError: If ``files`` is empty or names a file twice, or if a weight is not a positive whole number.

    Example:
        >>> split_of = stratified_split("abcdefghij", labels=dict.fromkeys("abcdefghij", "laugh"))
        >>> [list(split_of.values()).count(split) for split in SPLITS]
        [8, 1, 1]
    """
    _check(files, weights)
    members: dict[str, list[str]] = defaultdict(list)
    for file in files:
        members[labels[file] or ""].append(file)
    split_of: dict[str, str] = {}
    for group in members.values():
        group.sort(key=_digest)
        num_train, num_validation, _ = _shares(len(group), weights)
        for position, file in enumerate(group):
            split_of[file] = SPLITS[(position >= num_train) + (position >= num_train + num_validation)]
    return dict(sorted(split_of.items()))


def speaker_split(
    files: Sequence[str],
    *,
    labels: Mapping[str, str | None],
    speakers: Mapping[str, str],
    weights: Sequence[int] = (8, 1, 1),
) -> dict[str, str]:
    """Split by speaker: no speaker in two parts, each class in each part if possible, proportions as close as may be.

    Let ``N[c]`` be the clips of class c, ``n[s][c]`` those in part s, ``w[s]`` the part's weight and W their sum. An
    assignment is better the lower its pair (missing, cost), compared in that order:

    - ``missing``: the number of pairs (part, class) with ``n[s][c] == 0``;
    - ``cost``: the sum over parts and classes of ``(W * n[s][c] - w[s] * N[c])**2 * 1_000_000 // (w[s] * N[c] * W)``,
      the chi-square distance from the wanted proportions in whole millionths.

    1. Speakers in order of falling number of clips, equal ones by the SHA-256 hex digest of their name (UTF-8), go one
       after the other to the part that makes the pair lowest, equal ones to the earlier part (train, validation, test).
    2. In the same order, each speaker moves to the part that lowers the pair most, if any does (equal ones: the earlier
       part).
    3. With at most 1,000 speakers, for each pair of speakers in that order (first index, then second) that lie in
       different parts: they change places if that lowers the pair.
    4. Step 2 is repeated until it moves nobody; then step 3 is done once, and if anybody changed places, step 2 follows
       again.

    A class heard from fewer than three speakers cannot be in all parts.

    Args:
        files: Relative file names, unique, in any order.
        labels: File name to class; None (a corpus without classes) counts as one class.
        speakers: File name to speaker.
        weights: Proportions of train, validation and test, whole numbers > 0.

    Returns:
        File name to ``"train"``, ``"validation"`` or ``"test"``, in order of the file names.

    Raises:
        ValueError: If ``files`` is empty or names a file twice, if a weight is not a positive whole number, or if there
            are fewer than three speakers.
    """
    _check(files, weights)
    profiles: dict[str, Counter[str]] = defaultdict(Counter)
    for file in files:
        profiles[speakers[file]][labels[file] or ""] += 1
    if len(profiles) < len(SPLITS):
        raise ValueError(f"The speaker protocol needs at least {len(SPLITS)} speakers, found {sorted(profiles)}.")
    order = sorted(profiles, key=lambda speaker: (-profiles[speaker].total(), _digest(speaker)))
    balance = _Balance.of([profiles[speaker] for speaker in order], weights)
    balance.deal()
    while balance.move_speakers() or (len(order) <= _MAX_SPEAKERS_FOR_SWAPS and balance.swap_speakers()):
        pass
    part_of = dict(zip(order, balance.part_of, strict=True))
    return {file: SPLITS[part_of[speakers[file]]] for file in sorted(files)}


def manifest_digest(split_of: Mapping[str, str]) -> str:
    r"""Digest of a split, to pin it: SHA-256 of the lines ``file<TAB>split\n``, sorted by file name, in UTF-8.

    Args:
        split_of: File name to split.

    Returns:
        64 hexadecimal digits.
    """
    lines = (f"{file}\t{split}\n" for file, split in sorted(split_of.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@dataclass
class _Balance:
    """Speakers being dealt into parts, with the counts that the pair (missing, cost) is computed from.

    Attributes:
        profiles: Class counts of each speaker, in dealing order.
        weights: Weight of each part.
        totals: Clips of each class.
        counts: Clips of each class in each part so far.
        part_of: Part of each speaker.
    """

    profiles: list[Counter[str]]
    weights: Sequence[int]
    totals: Counter[str]
    counts: list[Counter[str]]
    part_of: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, profiles: list[Counter[str]], weights: Sequence[int]) -> _Balance:
        totals: Counter[str] = Counter()
        for profile in profiles:
            totals.update(profile)
        return cls(profiles, weights, totals, [Counter() for _ in weights])

    def deal(self) -> None:
        for profile in self.profiles:
            # An absent clip is not in any part yet, so that only the receiving part's terms change.
            gains = [self._change({part: profile}) for part in range(len(self.weights))]
            part = gains.index(min(gains))
            self.counts[part].update(profile)
            self.part_of.append(part)

    def move_speakers(self) -> bool:
        """Do step 2 once; tell whether anything moved."""
        moved = False
        for index, profile in enumerate(self.profiles):
            source = self.part_of[index]
            gains = [
                (0, 0) if part == source else self._change({source: _negative(profile), part: profile})
                for part in range(len(self.weights))
            ]
            part = gains.index(min(gains))
            if gains[part] < (0, 0):
                self._transfer(index, part)
                moved = True
        return moved

    def swap_speakers(self) -> bool:
        """Do step 3 once; tell whether anything changed places."""
        swapped = False
        for first in range(len(self.profiles)):
            for second in range(first + 1, len(self.profiles)):
                here, there = self.part_of[first], self.part_of[second]
                if here == there or self.profiles[first] == self.profiles[second]:
                    continue
                change = Counter(self.profiles[second])
                change.subtract(self.profiles[first])
                if self._change({here: change, there: _negative(change)}) < (0, 0):
                    self._transfer(first, there)
                    self._transfer(second, here)
                    swapped = True
        return swapped

    def _transfer(self, index: int, part: int) -> None:
        self.counts[self.part_of[index]].subtract(self.profiles[index])
        self.counts[part].update(self.profiles[index])
        self.part_of[index] = part

    def _change(self, changes: Mapping[int, Counter[str]]) -> tuple[int, int]:
        """Return by how much the pair (missing, cost) would rise if these clips were added to these parts."""
        missing = cost = 0
        for part, change in changes.items():
            counts = self.counts[part]
            for label, number in change.items():
                before = counts[label]
                missing += (before + number == 0) - (before == 0)
                cost += self._cost(part, label, before + number) - self._cost(part, label, before)
        return missing, cost

    def _cost(self, part: int, label: str, count: int) -> int:
        whole, weight, total = sum(self.weights), self.weights[part], self.totals[label]
        return (whole * count - weight * total) ** 2 * _COST_SCALE // (weight * total * whole)


def _negative(profile: Counter[str]) -> Counter[str]:
    return Counter({label: -number for label, number in profile.items()})


def _shares(number: int, weights: Sequence[int]) -> list[int]:
    """Divide a number of clips (steps 1 and 2 of `stratified_split`)."""
    whole = sum(weights)
    shares = [number * weight // whole for weight in weights]
    by_remainder = sorted(
        range(len(weights)), key=lambda part: -(number * weights[part] % whole)
    )  # stable: earlier part first
    for part in by_remainder[: number - sum(shares)]:
        shares[part] += 1
    if number == 1:
        return [1, 0, 0]
    if number == 2:
        return [1, 0, 1]
    for part in (1, 2):
        if shares[part] == 0:
            shares[part] = 1
            shares[shares.index(max(shares))] -= 1
    return shares


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _check(files: Sequence[str], weights: Sequence[int]) -> None:
    if len(weights) != len(SPLITS) or any(isinstance(w, bool) or not isinstance(w, int) or w <= 0 for w in weights):
        raise ValueError(f"weights must be {len(SPLITS)} positive whole numbers, got {weights!r}.")
    if not files:
        raise ValueError("There are no files to split.")
    if len(set(files)) < len(files):
        twice = sorted(file for file, number in Counter(files).items() if number > 1)
        raise ValueError(
            f"{len(twice)} file names occur more than once, the first is {twice[0]!r}; each must be unique."
        )
