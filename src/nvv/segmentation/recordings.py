"""Several recordings: what their files of events are called, and which references are theirs. Own work."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from ..training.arguments import ArgumentsError
from .events import Event

__all__ = ["match_references", "output_places"]


def output_places(paths: Sequence[Path]) -> dict[Path, tuple[Path, str]]:
    """Give each recording a place for its files, different from all others'.

    Args:
        paths: the recordings, each once.

    Returns:
        For each its folder, relative to where all is written, as the recordings' own folders lie to each other, and the
        stem of its files: the recording's name without its ending, or with it where two would be called the same.

    Example:
        >>> places = output_places([Path("day/1/a.wav"), Path("day/1/a.flac"), Path("day/2/a.wav")])
        >>> [(str(folder), stem) for folder, stem in places.values()]
        [('1', 'a.wav'), ('1', 'a.flac'), ('2', 'a')]
    """
    if not paths:
        return {}
    folders = {path: os.path.abspath(path.parent) for path in paths}
    common = os.path.commonpath(list(folders.values()))
    # Names that differ in case only are one file on some systems.
    taken = Counter((folders[path], path.stem.casefold()) for path in paths)
    places = {}
    for path in paths:
        is_alone = taken[folders[path], path.stem.casefold()] == 1
        places[path] = (Path(os.path.relpath(folders[path], common)), path.stem if is_alone else path.name)
    return places


def match_references(paths: Sequence[Path], references: Mapping[str, Sequence[Event]]) -> dict[Path, Sequence[Event]]:
    """Find each recording's references.

    Args:
        paths: the recordings.
        references: by recording, as a file of references names it: its path, its name, or its name without ending.

    Returns:
        The references of those recordings that have some, by recording. A path comes before a name, and a name before
        one without ending.

    Raises:
        ArgumentsError: if no recording has references, or a name stands for several of the recordings.
    """
    matched: dict[Path, str] = {}
    for spell in (_whole, _name, _stem):
        left = [path for path in paths if path not in matched]
        spelled = Counter(spell(str(path)) for path in left)
        unused = {spell(key): key for key in references if key not in matched.values()}
        for path in left:
            key = unused.get(spell(str(path)))
            if key is None:
                continue
            if spelled[spell(str(path))] > 1:
                raise ArgumentsError(
                    f"reference: {key!r} may be any of {spelled[spell(str(path))]} recordings called so; name the "
                    "recordings by their paths, as they are given here."
                )
            matched[path] = key
    if not matched:
        raise ArgumentsError(
            f"reference: is about {', '.join(list(references)[:3]) or 'no recording'}"
            f"{' …' if len(references) > 3 else ''}, and none of the recordings is called so: "
            f"{', '.join(str(path) for path in paths[:3])}{' …' if len(paths) > 3 else ''}."
        )
    return {path: references[matched[path]] for path in paths if path in matched}


def _whole(name: str) -> str:
    return os.path.normpath(name)


def _name(name: str) -> str:
    return PurePosixPath(name.replace("\\", "/")).name


def _stem(name: str) -> str:
    return PurePosixPath(_name(name)).stem
