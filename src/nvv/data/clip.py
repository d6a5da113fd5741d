"""What a loading script says of one file: a clip of the corpus, or a file that is no part of it.

Reading and checking clips is ``nvv.data.corpus``'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Clip", "Excluded"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """One recording, as a loading script describes it.

    Attributes:
        file: Path relative to the corpus root with forward slashes; unique, and what the splits depend on.
        speaker_id: Who made the sound; clips with the same id never lie in two parts of the ``speaker`` protocol. None
            where the corpus does not know its speakers.
        label: One of the corpus's ``LABELS``; None for a corpus without classes, or where this clip's is not released.
        targets: A number, or None where it is not released, for each of the corpus's ``TARGETS``.
        metadata: A value, or None, for each of the corpus's ``METADATA`` columns.
        split: ``"train"``, ``"validation"`` or ``"test"`` where the authors gave an official split; None leaves the
            clip out of the ``official`` protocol.
    """

    file: str
    speaker_id: str | None = None
    label: str | None = None
    targets: Mapping[str, float | None] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    split: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Excluded:
    """A file of the release that is deliberately no part of the corpus.

    Attributes:
        file: Path relative to the corpus root, or the name by which a label file calls it.
        reason: Why, in words that group files: the same for every file left out for it.
    """

    file: str
    reason: str
