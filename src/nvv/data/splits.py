"""Split protocols: which clip trains, which validates, which tests.

A split is data, not chance. It depends on the relative file names and on the label and speaker that each corpus derives
from them, never on a random generator, a clock, the order of a directory listing, or the version of Python or of a
library: ties are broken by SHA-256 digests and all arithmetic is done in integers. Which columns hold labels and
speakers is decided in ``nvv.data.corpus``; the search for a good deal of speakers is in ``nvv.data.balance``.

Source: own work; the sizes are the 80/10/10 of the published systems, whose cuts ignore speakers, and the ten random
folds are those of voc2vec (Koudounas et al., ICASSP 2025).
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence

from .balance import deal_speakers

__all__ = [
    "SPLITS",
    "SplitError",
    "fold_split",
    "manifest_digest",
    "random_folds",
    "speaker_folds",
    "speaker_split",
    "stratified_split",
    "unmet_wishes",
]

SPLITS = ("train", "validation", "test")
"""Names of the three parts, in the order in which ties are resolved."""

_EVERY_CLIP = "\0"  # no label is this
_TOLERATED_SHARE = 5  # percentage points by which a part may miss its size before it is worth a sentence


class SplitError(ValueError):
    """This copy of a corpus cannot be split that way; the message says why."""


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
    _check_weights(weights)
    _check_files(files)
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
    assignment of speakers to parts is better the lower its pair (missing, cost), compared in that order:

    - ``missing``: the number of pairs (part, class) with ``n[s][c] == 0``, plus the number of parts without a speaker;
    - ``cost``: the sum over parts and classes of ``(W * n[s][c] - w[s] * N[c])**2 * 1_000_000 // (w[s] * N[c] * W)``,
      the chi-square distance from the wanted proportions in whole millionths.

    Speakers are taken in order of falling number of clips, equal ones by the SHA-256 hex digest of their name (UTF-8).

    With at most 12 speakers, the assignment with the lowest pair among all that leave no part empty is taken; of equal
    ones the first in lexicographic order (part of the first speaker, part of the second, …; train before validation
    before test). No better split of such a corpus exists.

    With more:

    1. Speakers go one after the other to the part that makes the pair lowest, equal ones to the earlier part (train,
       validation, test).
    2. In the same order, each speaker moves to the part that lowers the pair most, if any does (equal ones: the earlier
       part).
    3. With at most 1,000 speakers, for each pair of speakers in that order (first index, then second) that lie in
       different parts: they change places if that lowers the pair.
    4. Step 2 is repeated until it moves nobody; then step 3 is done once, and if anybody changed places, step 2 follows
       again.

    A class heard from fewer than three speakers cannot be in all parts; `unmet_wishes` says what could not be had.

    Args:
        files: Relative file names, unique, in any order.
        labels: File name to class; None (a corpus without classes) counts as one class.
        speakers: File name to speaker.
        weights: Proportions of train, validation and test, whole numbers > 0.

    Returns:
        File name to ``"train"``, ``"validation"`` or ``"test"``, in order of the file names.

    Raises:
        SplitError: If there are fewer than three speakers.
        ValueError: If ``files`` is empty or names a file twice, or if a weight is not a positive whole number.
    """
    _check_weights(weights)
    _check_files(files)
    part_of = _deal(files, labels=labels, speakers=speakers, weights=weights)
    return {file: SPLITS[part] for file, part in part_of.items()}


def speaker_folds(
    files: Sequence[str], *, labels: Mapping[str, str | None], speakers: Mapping[str, str], num_folds: int = 10
) -> dict[str, int]:
    """Deal speakers into the parts that folds are made of.

    The rule is that of `speaker_split` for more than 12 speakers, steps 1 to 4, whatever the number of speakers, with
    ``num_folds`` parts of weight 1, and with one more class that every clip belongs to beside its own: in so many parts
    the classes' remainders would otherwise add up to parts of unequal size.

    Args:
        files: Relative file names, unique, in any order.
        labels: File name to class; None (a corpus without classes) counts as one class.
        speakers: File name to speaker.
        num_folds: How many parts, at least 3.

    Returns:
        File name to part, 0 to ``num_folds - 1``, in order of the file names. `fold_split` makes a split of it.

    Raises:
        SplitError: If there are fewer speakers than folds.
        ValueError: If ``files`` is empty or names a file twice, or if ``num_folds`` is not a whole number from 3.
    """
    _check_files(files)
    _check_folds(num_folds)
    return _deal(files, labels=labels, speakers=speakers, weights=[1] * num_folds, with_sizes=True)


def random_folds(files: Sequence[str], *, num_folds: int = 10) -> dict[str, int]:
    """Cut a shuffled list of clips into the parts that folds are made of, ignoring labels and speakers.

    This is voc2vec's protocol for corpora whose speakers are not known: with n clips in shuffled order, each part gets
    the next ``n // num_folds``, and the last one also what is left over. The authors shuffle the rows of a table that
    they do not publish; here the order is that of the SHA-256 hex digests of the file names (UTF-8).

    Args:
        files: Relative file names, unique, in any order.
        num_folds: How many parts, at least 3.

    Returns:
        File name to part, 0 to ``num_folds - 1``, in order of the file names. `fold_split` makes a split of it.

    Raises:
        SplitError: If there are fewer clips than folds.
        ValueError: If ``files`` is empty or names a file twice, or if ``num_folds`` is not a whole number from 3.

    Reference:
        Koudounas, La Quatra, Siniscalchi, Baralis: voc2vec, ICASSP 2025, and its code.
    """
    _check_files(files)
    _check_folds(num_folds)
    if len(files) < num_folds:
        raise SplitError(f"{num_folds} folds need at least {num_folds} clips, found {len(files)}.")
    size = len(files) // num_folds
    parts = {file: min(place // size, num_folds - 1) for place, file in enumerate(sorted(files, key=_digest))}
    return dict(sorted(parts.items()))


def fold_split(parts: Mapping[str, int], fold: int, *, num_folds: int = 10) -> dict[str, str]:
    """Make the split of a fold: part ``fold`` tests, the next (after the last: the first) validates, the rest train.

    Validation is apart from test, unlike in voc2vec, where one part stops the training, chooses the checkpoint and is
    reported.

    Args:
        parts: File name to part, from `speaker_folds` or `random_folds`.
        fold: Which fold, 0 to ``num_folds - 1``.
        num_folds: How many there are.

    Returns:
        File name to ``"train"``, ``"validation"`` or ``"test"``, in the order of ``parts``.

    Raises:
        ValueError: If there is no such fold.

    Example:
        >>> fold_split({"a.wav": 0, "b.wav": 1, "c.wav": 2}, 2, num_folds=3)
        {'a.wav': 'validation', 'b.wav': 'train', 'c.wav': 'test'}
    """
    if not 0 <= fold < num_folds:
        raise ValueError(f"fold must be 0 to {num_folds - 1}, got {fold!r}.")
    names = {fold: "test", (fold + 1) % num_folds: "validation"}
    return {file: names.get(part, "train") for file, part in parts.items()}


def unmet_wishes(
    part_of: Mapping[str, Hashable],
    *,
    labels: Mapping[str, str | None],
    speakers: Mapping[str, str] | None = None,
    wanted: Mapping[Hashable, int] | None = None,
) -> list[str]:
    """Say what a split could not give: classes that parts lack, parts of one speaker, sizes far from the wanted ones.

    Args:
        part_of: File name to split, or to part of a fold.
        labels: File name to class; clips without one are passed over.
        speakers: File name to speaker, where known: the sentence then says how many speakers made the class.
        wanted: Weight of each part; None where the sizes were not ours to choose (then the parts are those of
            ``part_of``).

    Returns:
        Sentences; none if every class is in every part, no part is the voice of one speaker, and no part's share of the
        clips is more than five percentage points from the wanted one.

    Example:
        >>> unmet_wishes({"a": "train", "b": "test"}, labels={"a": "sigh", "b": "sigh"}, wanted={"train": 8, "test": 2})
        ['`train` holds 50 % of the clips instead of 80 %.', '`test` holds 50 % of the clips instead of 20 %.']
    """
    order = list(wanted) if wanted is not None else sorted(set(part_of.values()), key=_split_order)
    makers: dict[str, set[str]] = defaultdict(set)
    counts = Counter()
    for file, part in part_of.items():
        if labels[file] is not None:
            makers[labels[file]].add(file if speakers is None else speakers[file])
            counts[part, labels[file]] += 1
    sentences = []
    for label in sorted(makers):
        lacking = [part for part in order if not counts[part, label]]
        if lacking:
            verb = "has" if len(lacking) == 1 else "have"
            kind = "clip" if speakers is None else "speaker"
            number = f"{len(makers[label])} {kind}{'' if len(makers[label]) == 1 else 's'}"
            sentences.append(f"{_enumerate(lacking)} {verb} no `{label}`: the corpus has {number} of it.")
    if speakers is not None:
        voices = Counter(part for part, _ in {(part, speakers[file]) for file, part in part_of.items()})
        alone = [part for part in order if voices[part] == 1]
        if alone:
            verb, each = ("holds", "") if len(alone) == 1 else ("hold", " each")
            sentences.append(f"{_enumerate(alone)} {verb} a single speaker{each}.")
    sizes = Counter(part_of.values())
    for part, weight in (wanted or {}).items():
        share, wish = 100 * sizes[part] / len(part_of), 100 * weight / sum(wanted.values())
        if abs(share - wish) > _TOLERATED_SHARE:
            sentences.append(f"{_enumerate([part])} holds {share:.0f} % of the clips instead of {wish:.0f} %.")
    return sentences


def manifest_digest(split_of: Mapping[str, str | int]) -> str:
    r"""Digest of a split, to pin it: SHA-256 of the lines ``file<TAB>split\n``, sorted by file name, in UTF-8.

    Args:
        split_of: File name to split, or to part of a fold.

    Returns:
        64 hexadecimal digits.
    """
    lines = (f"{file}\t{split}\n" for file, split in sorted(split_of.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _deal(
    files: Sequence[str],
    *,
    labels: Mapping[str, str | None],
    speakers: Mapping[str, str],
    weights: Sequence[int],
    with_sizes: bool = False,
) -> dict[str, int]:
    """Deal the speakers of these files; return file name to part, in order of the file names."""
    profiles: dict[str, Counter[str]] = defaultdict(Counter)
    for file in files:
        profiles[speakers[file]][labels[file] or ""] += 1
    if len(profiles) < len(weights):
        some = ", ".join(sorted(profiles)[:12])
        raise SplitError(f"{len(weights)} parts need at least {len(weights)} speakers, found {len(profiles)} ({some}).")
    order = sorted(profiles, key=lambda speaker: (-profiles[speaker].total(), _digest(speaker)))
    if with_sizes:
        for profile in profiles.values():
            profile[_EVERY_CLIP] = profile.total()
    parts = dict(zip(order, deal_speakers([profiles[speaker] for speaker in order], weights), strict=True))
    return {file: parts[speakers[file]] for file in sorted(files)}


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


def _check_weights(weights: Sequence[int]) -> None:
    if len(weights) != len(SPLITS) or any(isinstance(w, bool) or not isinstance(w, int) or w <= 0 for w in weights):
        raise ValueError(f"weights must be {len(SPLITS)} positive whole numbers, got {weights!r}.")


def _check_files(files: Sequence[str]) -> None:
    if not files:
        raise ValueError("There are no files to split.")
    if len(set(files)) < len(files):
        twice = sorted(file for file, number in Counter(files).items() if number > 1)
        raise ValueError(
            f"{len(twice)} file names occur more than once, the first is {twice[0]!r}; each must be unique."
        )


def _check_folds(num_folds: int) -> None:
    if isinstance(num_folds, bool) or not isinstance(num_folds, int) or num_folds < len(SPLITS):
        raise ValueError(f"num_folds must be a whole number from {len(SPLITS)}, got {num_folds!r}.")


def _split_order(part: Hashable) -> tuple[int, str]:
    return (SPLITS.index(part) if part in SPLITS else len(SPLITS), str(part))


def _enumerate(parts: Iterable[Hashable]) -> str:
    """Name parts in words: splits by their names, parts of folds by their numbers."""
    names = [f"`{part}`" if isinstance(part, str) else f"part {part}" for part in parts]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
