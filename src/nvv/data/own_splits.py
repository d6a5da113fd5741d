"""How data of one's own is divided: as its source gives it, or anew by the protocols of our corpora.

Where rows and columns come from is the neighbour ``own_data``'s; the protocols themselves are in ``nvv.data.splits``.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from .own_folders import canonical_split
from .splits import (
    SPLITS,
    SplitError,
    fold_split,
    random_folds,
    speaker_folds,
    speaker_split,
    stratified_split,
    unmet_wishes,
)

__all__ = ["OWN_PROTOCOLS", "OwnClips", "num_shared_speakers", "split_own_clips"]

logger = logging.getLogger(__name__)

OWN_PROTOCOLS = ("given", "speaker", "stratified", *(f"fold_{fold}" for fold in range(10)))
"""How data of one's own can be split; ``official`` is another word for ``given``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnClips:
    """What splits depend on: one entry a row.

    Attributes:
        name: The source.
        files: Unique names.
        labels: Class names; None if no labels are wanted.
        speakers: Who made each sound; None if that is not known.
        parts: The part that each clip is in, as the source calls it; None if the source is one part.
    """

    name: str
    files: list[str]
    labels: list[str] | None
    speakers: list[str] | None
    parts: list[str] | None

    @property
    def label_of(self) -> dict[str, str | None]:
        """File name to class."""
        labels = [None] * len(self.files) if self.labels is None else self.labels
        return dict(zip(self.files, labels, strict=True))

    @property
    def speaker_of(self) -> dict[str, str] | None:
        """File name to speaker, where speakers are known."""
        return None if self.speakers is None else dict(zip(self.files, self.speakers, strict=True))


def split_own_clips(clips: OwnClips, *, protocol: str | None) -> tuple[str, dict[str, str]]:
    """Choose the protocol where none is named, and split.

    Args:
        clips: All clips of the source.
        protocol: One of `OWN_PROTOCOLS`; None: ``given`` where there are a train and a test part, else ``speaker``
            where speakers are known, else ``stratified``.

    Returns:
        The protocol, and file name to split, in order of the file names.

    Raises:
        SplitError: If the clips cannot be split that way.
    """
    split_of = None
    if protocol in (None, "given"):
        split_of = _given(clips, is_asked_for=protocol == "given")
        protocol = "given"
        if split_of is None:
            protocol = "stratified" if clips.speakers is None else "speaker"
            why = "one part only" if clips.parts is None else "no test part"
            logger.warning("%s: has %s; all of it is split by the protocol `%s`.", clips.name, why, protocol)
    if split_of is None:
        split_of = _computed(clips, protocol)
    empty = [split for split in SPLITS if split not in split_of.values()]
    if empty:
        raise SplitError(
            f"{clips.name}: the protocol {protocol!r} leaves {' and '.join(empty)} without a clip; "
            f"there are {len(clips.files)} clips."
        )
    wanted = None if protocol == "given" else dict(zip(SPLITS, (8, 1, 1), strict=True))
    for sentence in unmet_wishes(split_of, labels=clips.label_of, speakers=clips.speaker_of, wanted=wanted):
        logger.warning("%s: %s", clips.name, sentence)
    return protocol, dict(sorted(split_of.items()))


def _given(clips: OwnClips, *, is_asked_for: bool) -> dict[str, str] | None:
    """Return the split that the source gives; None where it is one part, or has no test part and none was asked for."""
    if clips.parts is None:
        return None
    split_of_part = {part: canonical_split(part) for part in dict.fromkeys(clips.parts)}
    splits = set(split_of_part.values())
    if None in splits or not {"train", "test"} <= splits:
        if splits == {"train", "validation"} and not is_asked_for:
            return None
        raise SplitError(
            f"{clips.name}: has the parts {', '.join(split_of_part)}; expected train and test, with or without "
            "validation. To pool all of them and split anew, choose split_protocol (--split_protocol) speaker or "
            "stratified."
        )
    split_of = {file: split_of_part[part] for file, part in zip(clips.files, clips.parts, strict=True)}
    return split_of if "validation" in splits else _with_validation(clips, split_of)


def _with_validation(clips: OwnClips, split_of: dict[str, str]) -> dict[str, str]:
    """Cut a tenth off train: its clips are split 80/10/10, and what tests there goes back to train.

    Where every class has two clips or fewer, so that none of them validates, what tests there validates.
    """
    train = [file for file, split in split_of.items() if split == "train"]
    speakers = clips.speaker_of
    if speakers is not None and len({speakers[file] for file in train}) < len(SPLITS):
        logger.warning("%s: too few speakers train to keep those of the validation part apart.", clips.name)
        speakers = None
    if speakers is None:
        cut = stratified_split(train, labels=clips.label_of)
    else:
        cut = speaker_split(train, labels=clips.label_of, speakers=speakers)
    part = "validation" if "validation" in cut.values() else "test"
    validation = {file for file, split in cut.items() if split == part}
    how = "speakers ignored" if speakers is None else "by speaker"
    logger.warning(
        "%s: has no validation part; %d of %d clips of train, cut off %s, become it.", clips.name, len(validation),
        len(train), how,
    )  # fmt: skip
    return {file: "validation" if file in validation else split for file, split in split_of.items()}


def _computed(clips: OwnClips, protocol: str) -> dict[str, str]:
    """Pool all parts and split them by a protocol other than `given`."""
    speakers = clips.speaker_of
    if protocol == "stratified":
        return stratified_split(clips.files, labels=clips.label_of)
    if protocol == "speaker":
        if speakers is None:
            raise SplitError(
                f"{clips.name}: the protocol 'speaker' needs to know who made each sound. Name that column with "
                "speaker_column (--speaker_column), or choose stratified."
            )
        return speaker_split(clips.files, labels=clips.label_of, speakers=speakers)
    if speakers is None:
        parts = random_folds(clips.files)
    else:
        parts = speaker_folds(clips.files, labels=clips.label_of, speakers=speakers)
    return fold_split(parts, int(protocol.removeprefix("fold_")))


def num_shared_speakers(clips: OwnClips, split_of: Mapping[str, str]) -> int:
    """Count the speakers that are in more than one split."""
    splits: dict[str, set[str]] = defaultdict(set)
    for file, speaker in (clips.speaker_of or {}).items():
        splits[speaker].add(split_of[file])
    return sum(len(where) > 1 for where in splits.values())
