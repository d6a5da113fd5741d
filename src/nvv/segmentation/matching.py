"""The largest matching of a bipartite graph: as many pairs as there can be, each member in one of them at most.

Which members are paired may be chosen in several ways, and what is left over decides what `event_scores` counts as
substitutions; ties are therefore broken by order, as in sed_eval, so that counts agree too.

Source: Hopcroft and Karp, An n^5/2 Algorithm for Maximum Matchings in Bipartite Graphs, SIAM J. Comput. 2(4), 1973. Own
work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["maximum_matching"]


def maximum_matching(candidates: Mapping[int, Sequence[int]]) -> dict[int, int]:
    """Match members of one side with members of the other.

    Args:
        candidates: By member of the first side, the members of the second that it may be paired with, in the order in
            which they are tried. Both sides are numbered by themselves.

    Returns:
        By matched member of the first side, its partner.

    Example:
        >>> maximum_matching({0: [0, 1], 1: [0]})
        {1: 0, 0: 1}
    """
    owner: dict[int, int] = {}  # by member of the second side, its partner
    for member, partners in candidates.items():
        free = next((partner for partner in partners if partner not in owner), None)
        if free is not None:
            owner[free] = member
    while _lengthen(candidates, owner):
        pass
    return {member: partner for partner, member in owner.items()}


def _lengthen(candidates: Mapping[int, Sequence[int]], owner: dict[int, int]) -> bool:
    """Add pairs along shortest alternating paths that share no member; tell whether there were any."""
    matched = set(owner.values())
    layer = [member for member in candidates if member not in matched]
    # How far the search has come: of the first side, the partner it was reached through (None: where it begins); of the
    # second side, by whom it was reached, all of them in one layer.
    entered: dict[int, int | None] = dict.fromkeys(layer)
    reached_by: dict[int, list[int]] = {}
    ends: list[int] = []
    while layer and not ends:
        reached: dict[int, list[int]] = {}
        for member in layer:
            for partner in candidates[member]:
                if partner not in reached_by:
                    reached.setdefault(partner, []).append(member)
        reached_by |= reached
        ends = [partner for partner in reached if partner not in owner]
        layer = [owner[partner] for partner in reached if partner in owner]
        entered |= {owner[partner]: partner for partner in reached if partner in owner}
    for end in ends:
        _walk_back(end, reached_by, entered, owner)
    return bool(ends)


def _walk_back(
    end: int, reached_by: dict[int, list[int]], entered: dict[int, int | None], owner: dict[int, int]
) -> None:
    """Go from a free member of the second side to one of the first, and turn the pairs on the way around.

    Depth first, with a stack of its own: a path may be as long as the recording. Members that were visited are taken
    out, so that no other path goes through them.
    """
    path: list[tuple[int, list[int]]] = [(end, reached_by.pop(end, []))]
    chosen: list[int] = []  # the member of the first side that each partner on the path is to have
    while path:
        member = next((one for one in path[-1][1] if one in entered), None)
        if member is None:
            path.pop()
            if chosen:
                chosen.pop()
            continue
        before = entered.pop(member)
        if before is None:
            chosen.append(member)
            for (one, _), its in zip(path, chosen, strict=True):
                owner[one] = its
            return
        if before in reached_by:
            chosen.append(member)
            path.append((before, reached_by.pop(before)))
