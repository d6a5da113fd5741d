"""CNVVE: six non-verbal voice expressions made to control a computer, by 42 speakers.

Raw layout: ``raw/<class>/<sub-folder>/<class>_<speaker>_<rest>.wav`` or, as the authors' cleaner writes them,
``cleaned/<class>/<class>_<speaker>_<rest>.wav``. Source: the authors' code for the folders, a published system's for
the names; neither was compared with the release.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import ClassVar

import datasets

from nvv.data import Clip, CorpusBuilder, CorpusError, CorpusFacts, Excluded, list_files

_GRAMMAR = re.compile(r"(?P<label>[^_]+)_(?P<speaker>[^_\s]+)_(?P<rest>.+)")
_LABELS = ("ahem", "confirm", "continuous", "decline", "hush", "psst")
_FOLDER_LEVELS = {"cleaned": 1, "raw": 2}  # folders in each variant's; the first variant that is there is read


class Cnvve(CorpusBuilder):
    """950 raw clips, of which the authors' cleaner keeps about 921."""

    FACTS = CorpusFacts(
        name="cnvve",
        pretty_name="CNVVE (Non-verbal Voice Expressions)",
        licence="unknown",
        homepage="https://doi.org/10.18419/darus-3898",
        citation=(
            "@inproceedings{hedeshy2023cnvve,\n"
            "  author = {Hedeshy, Ramin and Menges, Raphael and Staab, Steffen},\n"
            "  title = {{CNVVE}: Dataset and Benchmark for Classifying Non-verbal Voice Expressions},\n"
            "  booktitle = {Proceedings of Interspeech},\n"
            "  pages = {1553--1557},\n"
            "  year = {2023},\n"
            "  doi = {10.21437/Interspeech.2023-201},\n"
            "}"
        ),
        summary=(
            "Short voice expressions other than words (ahem, confirm, continuous, decline, hush, psst), collected for "
            "controlling a computer by voice; 42 speakers donated them."
        ),
        obtain=(
            "Get it from https://doi.org/10.18419/darus-3898 (cleaned) or https://doi.org/10.18419/darus-3897 (raw)."
        ),
        terms="The licence of the recordings was not seen: read it on the page where you get them.",
        no_public_copies="The licence of the recordings was not seen, so nothing is known to allow handing on copies.",
        notes=(
            "The names <class>_<speaker>_<rest>.wav and the folders are those that published code expects; they were "
            "not compared with the release. A name that differs is an error, not a guess.",
            "A folder that holds both raw/ and cleaned/ gives the cleaned clips only, since they are made from the raw "
            "ones; `variant` says which a copy is. Results on the one are not comparable with results on the other.",
            "The cleaner drops clips that it finds silent, and cleaned clips are trimmed and resampled to 16 kHz.",
            "The labels are in alphabetical order; the authors' own index order differs.",
        ),
    )
    LABELS = _LABELS
    METADATA: ClassVar[Mapping[str, datasets.Value]] = {"variant": datasets.Value("string")}
    ROOT_MARKERS = tuple(
        f"{above}{label}{below}/*.wav"
        for label in _LABELS
        for above, below in (("cleaned/", ""), ("raw/", "/*"), ("", ""), ("", "/*"))
    )
    LAYOUT = (
        "a folder that holds cleaned/<class>/<class>_<speaker>_<rest>.wav or "
        "raw/<class>/<sub-folder>/<class>_<speaker>_<rest>.wav, or one of these two folders."
    )

    def list_clips(self, root: Path) -> Iterable[Clip | Excluded]:
        """Parse the file names in ``cleaned``, or in ``raw`` where that is all there is; see the base class."""
        wanted, others = _locate(root)
        return [_parse(file) for file in wanted] + others

    def clip_path(self, clip: Clip) -> Path:
        """Return where a clip's file lies, whether or not the corpus root holds its variant's folder."""
        return self.root / self._paths[clip.file]

    @cached_property
    def _paths(self) -> dict[str, str]:
        return _locate(self.root)[0]


def _locate(root: Path) -> tuple[dict[str, str], list[Excluded]]:
    """Tell the clips of the variant that is read from all else.

    Returns:
        Path with the variant's folder in front, the same whether or not ``root`` holds that folder, to path below
        ``root``; and what is left out.

    Raises:
        CorpusError: If some files lie as cleaned clips do and others as raw ones do, or neither.
    """
    files = list_files(root, suffixes={".wav"})
    for variant in _FOLDER_LEVELS:
        inside = {f"{variant}/{file.split('/', 1)[1]}": file for file in files if _variant(file) == variant}
        if inside:
            others = [Excluded(file=file, reason=_reason(file)) for file in files if _variant(file) != variant]
            return inside, others
    variants = {levels: variant for variant, levels in _FOLDER_LEVELS.items()}
    levels = files[0].count("/") if files else 0
    for file in files:
        if levels not in variants or file.count("/") != levels:
            raise CorpusError(
                f"{file}: expected all files in <class>/<file> (cleaned) or all in <class>/<sub-folder>/<file> (raw); "
                "move foreign files out of the corpus."
            )
    return {f"{variants[levels]}/{file}": file for file in files}, []


def _variant(file: str) -> str | None:
    """Return the variant whose folder a path begins with."""
    top, slash, _ = file.partition("/")
    return top.lower() if slash and top.lower() in _FOLDER_LEVELS else None


def _reason(file: str) -> str:
    if _variant(file) == "raw":
        return "raw recording (the cleaned clips are read)"
    return "outside the folders raw and cleaned"


def _parse(file: str) -> Clip:
    path = PurePosixPath(file)
    variant, *folders, _ = path.parts
    label = folders[0].lower() if len(folders) == _FOLDER_LEVELS[variant] else None
    if label not in _LABELS:
        expected = "/".join(("<class>", "<sub-folder>")[: _FOLDER_LEVELS[variant]])
        raise CorpusError(
            f"{file}: expected in {variant}/{expected} with one of the classes {', '.join(_LABELS)}; move foreign "
            "files out of the corpus."
        )
    match = _GRAMMAR.fullmatch(path.stem)
    if match is None:
        raise CorpusError(
            f"{file}: the name is not <class>_<speaker>_<rest>.wav, so its speaker is unknown; move foreign files out "
            "of the corpus. The names of the release were not seen: if they all differ, please report it."
        )
    if match["label"].lower() != label:
        raise CorpusError(f"{file}: the name says {match['label']!r}, but the folder is {folders[0]!r}.")
    return Clip(file=file, speaker_id=match["speaker"], label=label, metadata={"variant": variant})
