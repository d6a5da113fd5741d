"""VIVAE, Variably Intense Vocalizations of Affect and Emotion: six emotions in four intensities by eleven speakers.

Raw layout: ``full_set/<speaker>_<emotion>_<intensity>_<item>.wav`` and a selection from it, ``core_set/``. Source: file
lists of the release in public repositories, and its README as one of them quotes it.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import ClassVar

import datasets

from nvv.data import Clip, CorpusBuilder, CorpusError, CorpusFacts, Excluded, list_files
from nvv.data.downloads import ZenodoRecord

# The item is free text: one, two and three digits occur. A blank in it is a file manager's copy, "01 (1)".
_GRAMMAR = re.compile(r"(?P<speaker>S\d{2})_(?P<emotion>[a-z]+)_(?P<intensity>[a-z]+)_(?P<item>[^_\s]+)")
_INTENSITIES = ("low", "moderate", "strong", "peak")  # from the weakest
_SUBSETS = ("full_set", "core_set")


class Vivae(CorpusBuilder):
    """1,085 clips in the full set, 480 of which are repeated in the core set."""

    FACTS = CorpusFacts(
        name="vivae",
        pretty_name="VIVAE (Variably Intense Vocalizations of Affect and Emotion)",
        licence="cc-by-nc-4.0",
        licence_url="https://creativecommons.org/licenses/by-nc/4.0/",
        homepage="https://doi.org/10.5281/zenodo.4066235",
        citation=(
            "@article{holz2022vivae,\n"
            "  author = {Holz, Natalie and Larrouy-Maestri, Pauline and Poeppel, David},\n"
            "  title = {The Variably Intense Vocalizations of Affect and Emotion ({VIVAE}) Corpus Prompts New\n"
            "           Perspective on Nonspeech Perception},\n"
            "  journal = {Emotion},\n"
            "  volume = {22},\n"
            "  number = {1},\n"
            "  pages = {213--225},\n"
            "  year = {2022},\n"
            "  doi = {10.1037/emo0001048},\n"
            "}"
        ),
        summary=(
            "Acted non-speech vocalizations of three positive and three negative states (achievement, pleasure, "
            "surprise; anger, fear, pain), each from low to peak intensity, by eleven speakers."
        ),
        obtain="Get VIVAE.zip from https://doi.org/10.5281/zenodo.4066235.",
        notes=(
            "The full set is read. The core set is a selection from it, so a folder that holds both gives the full set "
            "only; a copy with the core set alone is read as that, and `subset` says which it is. Results on the one "
            "are not comparable with results on the other.",
            "Intensities in order: low, moderate, strong, peak.",
            "`item` is text as released: two digits as a rule, but also `011` and `7`, and the number `99`.",
            "Eleven speakers: a `speaker` test split holds one or two voices, so report the folds.",
            "The licence is taken from copies of the release's README; the release page itself was not seen.",
        ),
    )
    LABELS = ("achievement", "anger", "fear", "pain", "pleasure", "surprise")
    DOWNLOADS = (ZenodoRecord(record_id=4066235, include=("VIVAE.zip",)),)
    METADATA: ClassVar[Mapping[str, datasets.Value]] = {
        "intensity": datasets.Value("string"),
        "item": datasets.Value("string"),
        "subset": datasets.Value("string"),
    }
    ROOT_MARKERS = tuple(f"{subset}/*.wav" for subset in _SUBSETS)
    LAYOUT = "a folder that holds full_set/ with all WAV files (full_set/S01_achievement_low_01.wav), or core_set/."
    STRATIFIED_WEIGHTS = (70, 15, 15)  # as in the published systems that cut this corpus at random

    def list_clips(self, root: Path) -> Iterable[Clip | Excluded]:
        """Parse the file names in ``full_set``, or in ``core_set`` where that is all there is; see the base class."""
        files = list_files(root, suffixes={".wav"})
        has_full_set = any(_subset(file) == "full_set" for file in files)
        return [
            Excluded(file=file, reason="core set (it repeats recordings of the full set)")
            if has_full_set and _subset(file) == "core_set"
            else self._parse(file)
            for file in files
        ]

    def _parse(self, file: str) -> Clip:
        subset = _subset(file)
        if subset not in _SUBSETS:
            raise CorpusError(f"{file}: not in {' or '.join(_SUBSETS)}; move foreign files out of the corpus.")
        match = _GRAMMAR.fullmatch(PurePosixPath(file).stem)
        if match is None:
            raise CorpusError(
                f"{file}: the name is not <speaker>_<emotion>_<intensity>_<item>.wav, such as "
                "S01_achievement_low_01.wav; move foreign files out of the corpus."
            )
        for field, allowed in (("emotion", self.LABELS), ("intensity", _INTENSITIES)):
            if match[field] not in allowed:
                raise CorpusError(f"{file}: {field} {match[field]!r}, expected one of {', '.join(allowed)}.")
        return Clip(
            file=file,
            speaker_id=match["speaker"],
            label=match["emotion"],
            metadata={"intensity": match["intensity"], "item": match["item"], "subset": subset},
        )


def _subset(file: str) -> str:
    return PurePosixPath(file).parent.as_posix().lower()
