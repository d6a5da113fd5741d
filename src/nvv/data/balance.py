"""Dealing speakers into parts so that every class is in every part and the parts have the wanted sizes.

The protocols that use it, and the rule in words, stand in ``nvv.data.splits``. All arithmetic is done in integers.
Source: own work.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["deal_speakers"]

_COST_SCALE = 1_000_000  # costs are whole millionths, so that no rounding of floats can decide a split
_MAX_SPEAKERS_FOR_SEARCH = 12  # 3 ** 12 assignments take about a second
_MAX_SPEAKERS_FOR_SWAPS = 1_000  # above, single moves balance well and pairs take too long


def deal_speakers(profiles: Sequence[Counter[str]], weights: Sequence[int]) -> list[int]:
    """Give each speaker a part; ``nvv.data.splits.speaker_split`` has the rule.

    Args:
        profiles: Clips of each class by each speaker, in the order in which the rule takes them; at least as many as
            parts.
        weights: Weight of each part, whole numbers > 0.

    Returns:
        For each speaker the number of its part. No part is empty.
    """
    balance = _Balance.of(profiles, weights)
    if len(profiles) <= _MAX_SPEAKERS_FOR_SEARCH and len(weights) == 3:
        return balance.search()
    balance.deal()
    while balance.move_speakers() or (len(profiles) <= _MAX_SPEAKERS_FOR_SWAPS and balance.swap_speakers()):
        pass
    return balance.part_of


@dataclass
class _Balance:
    """Speakers being dealt into parts, with the counts that the pair (missing, cost) is computed from.

    Attributes:
        profiles: Class counts of each speaker, in dealing order.
        weights: Weight of each part.
        totals: Clips of each class.
        counts: Clips of each class in each part so far.
        sizes: Speakers in each part so far.
        part_of: Part of each speaker.
    """

    profiles: Sequence[Counter[str]]
    weights: Sequence[int]
    totals: Counter[str]
    counts: list[Counter[str]]
    sizes: list[int]
    part_of: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, profiles: Sequence[Counter[str]], weights: Sequence[int]) -> _Balance:
        totals: Counter[str] = Counter()
        for profile in profiles:
            totals.update(profile)
        return cls(profiles, weights, totals, [Counter() for _ in weights], [0 for _ in weights])

    def search(self) -> list[int]:
        """Try every assignment of speakers to three parts and return the best."""
        number = len(self.profiles)
        whole = (1 << number) - 1
        # A set of speakers is a bit mask. Each part's share of (missing, cost) depends on its own speakers alone.
        terms = [[self._terms(part, mask) for mask in range(whole + 1)] for part in range(3)]
        # Read as a number in base three, an assignment of lower value comes first in lexicographic order.
        place = [sum(3 ** (number - 1 - bit) for bit in range(number) if mask >> bit & 1) for mask in range(whole + 1)]
        best = None
        for validation in range(1, whole):
            others = whole ^ validation
            test = (others - 1) & others  # proper subsets, so that somebody trains
            while test:
                train = others ^ test
                (m0, c0), (m1, c1), (m2, c2) = terms[0][train], terms[1][validation], terms[2][test]
                key = (m0 + m1 + m2, c0 + c1 + c2, place[validation] + 2 * place[test])
                if best is None or key < best[0]:
                    best = (key, validation, test)
                test = (test - 1) & others
        _, validation, test = best
        return [1 if validation >> speaker & 1 else 2 if test >> speaker & 1 else 0 for speaker in range(number)]

    def deal(self) -> None:
        """Do step 1."""
        for profile in self.profiles:
            # An absent clip is not in any part yet, so that only the receiving part's terms change.
            gains = [self._change({part: profile}, {part: 1}) for part in range(len(self.weights))]
            part = gains.index(min(gains))
            self.counts[part].update(profile)
            self.sizes[part] += 1
            self.part_of.append(part)

    def move_speakers(self) -> bool:
        """Do step 2 once; tell whether anything moved."""
        moved = False
        for index, profile in enumerate(self.profiles):
            source = self.part_of[index]
            leaving = _negative(profile)
            gains = [
                (0, 0) if part == source else self._change({source: leaving, part: profile}, {source: -1, part: 1})
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
                if self._change({here: change, there: _negative(change)}, {}) < (0, 0):
                    self._transfer(first, there)
                    self._transfer(second, here)
                    swapped = True
        return swapped

    def _transfer(self, index: int, part: int) -> None:
        source = self.part_of[index]
        self.counts[source].subtract(self.profiles[index])
        self.counts[part].update(self.profiles[index])
        self.sizes[source] -= 1
        self.sizes[part] += 1
        self.part_of[index] = part

    def _change(self, changes: Mapping[int, Counter[str]], arrivals: Mapping[int, int]) -> tuple[int, int]:
        """Return by how much the pair would rise if these clips and speakers were added to these parts."""
        missing = cost = 0
        for part, number in arrivals.items():
            missing += (self.sizes[part] + number == 0) - (self.sizes[part] == 0)
        for part, change in changes.items():
            counts = self.counts[part]
            for label, number in change.items():
                before = counts[label]
                missing += (before + number == 0) - (before == 0)
                cost += self._cost(part, label, before + number) - self._cost(part, label, before)
        return missing, cost

    def _terms(self, part: int, mask: int) -> tuple[int, int]:
        """Return a part's share of the pair if it held just these speakers."""
        counts: Counter[str] = Counter()
        for speaker, profile in enumerate(self.profiles):
            if mask >> speaker & 1:
                counts.update(profile)
        missing = sum(counts[label] == 0 for label in self.totals)
        return missing, sum(self._cost(part, label, counts[label]) for label in self.totals)

    def _cost(self, part: int, label: str, count: int) -> int:
        whole, weight, total = sum(self.weights), self.weights[part], self.totals[label]
        return (whole * count - weight * total) ** 2 * _COST_SCALE // (weight * total * whole)


def _negative(profile: Counter[str]) -> Counter[str]:
    return Counter({label: -number for label, number in profile.items()})
