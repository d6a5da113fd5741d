"""Donate-a-Cry, the cleaned part: why a baby cries, as told by parents through a phone application.

Raw layout: ``<label>/<id>-<time>-<version>-<gender>-<age>-<reason>.wav`` in the folder
``donateacry_corpus_cleaned_and_updated_data``; the raw uploads beside it are not read. Source: the two READMEs of the
release.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import ClassVar

import datasets

from nvv.data import Clip, CorpusBuilder, CorpusError, CorpusFacts, list_files

# The id of an installation holds four dashes itself. Its case and the unit of the time tell the platform.
_HEX = "{0}{{8}}-{0}{{4}}-{0}{{4}}-{0}{{4}}-{0}{{12}}"
_GRAMMAR = re.compile(
    rf"(?:(?P<android>{_HEX.format('[0-9a-f]')})-(?P<milliseconds>[0-9]{{13}})"
    rf"|(?P<ios>{_HEX.format('[0-9A-F]')})-(?P<seconds>[0-9]{{10}}))"
    r"-(?P<version>[0-9]+(?:\.[0-9]+)*)-(?P<gender>[mf])-(?P<age>[0-9]{2})-(?P<reason>[a-z]{2})"
)
_GENDERS = {"f": "female", "m": "male"}
_AGES = {
    "04": "0 to 4 weeks",
    "48": "4 to 8 weeks",
    "26": "2 to 6 months",
    "72": "7 months to 2 years",
    "22": "over 2 years",
}
_REASONS = {
    "belly_pain": ("bp",),
    "burping": ("bu",),
    "discomfort": ("dc", "ch"),  # cold or hot, merged into discomfort by those who cleaned the corpus
    "hungry": ("hu",),
    "tired": ("ti",),
}


class Donateacry(CorpusBuilder):
    """457 clips of 5 classes from 221 installations of the application in the cleaned part of the release."""

    FACTS = CorpusFacts(
        name="donateacry",
        pretty_name="Donate-a-Cry (cleaned)",
        licence="odbl",
        licence_url="https://opendatacommons.org/licenses/odbl/1-0/",
        homepage="https://github.com/gveres/donateacry-corpus",
        citation=(
            "@misc{donateacry,\n"
            "  author = {{Donate-a-Cry}},\n"
            "  title = {donateacry-corpus: an infant cry audio corpus},\n"
            "  note = {Cleaned by Arra'di Nur Rizal, Jonathan Jan, Luise D{\\\"u}rlich and Shifei Chen, KTH},\n"
            "  howpublished = {\\url{https://github.com/gveres/donateacry-corpus}},\n"
            "}"
        ),
        summary=(
            "Cries of babies with the reason that the parents suspected, one of five, uploaded through a phone "
            "application in 2015 and cleaned by students of KTH."
        ),
        obtain="Get it from https://github.com/gveres/donateacry-corpus (git clone, or Download ZIP).",
        terms=(
            "The recordings are of children; copies carry the notice of the Open Database License 1.0 (contents: "
            "Database Contents License 1.0), and changed databases stay under it."
        ),
        notes=(
            "The labels are what parents thought, not what was known to be the cause.",
            "The sampling rate is 8 kHz: after resampling to 16 kHz everything above 4 kHz is empty.",
            "`speaker_id` is an installation of the application, not a baby: in the 457 clips, 24 of 221 have more "
            "than one class, and in 18 gender or age changes.",
            "84 % of the clips are `hungry`: report the unweighted average recall beside that of always saying "
            "`hungry` (0.2).",
            "Only seven installations have clips of `belly_pain`, and seven of `burping`, so not every fold "
            "can hold every class.",
        ),
    )
    LABELS = tuple(_REASONS)
    METADATA: ClassVar[Mapping[str, datasets.Value]] = {
        "timestamp": datasets.Value("float64"),
        "platform": datasets.Value("string"),
        "version": datasets.Value("string"),
        "gender": datasets.Value("string"),
        "age_code": datasets.Value("string"),
        "age": datasets.Value("string"),
        "reason_code": datasets.Value("string"),
    }
    ROOT_MARKERS = tuple(f"{label}/*.wav" for label in LABELS)
    LAYOUT = (
        "the folder donateacry_corpus_cleaned_and_updated_data with one folder of WAV files per class "
        "(hungry/549a46d8-9c84-430e-ade8-97eae2bef787-1430130772174-1.7-m-48-hu.wav)."
    )

    def list_clips(self, root: Path) -> Iterable[Clip]:
        """Parse the file names below ``root``, the cleaned part; see the base class."""
        return [self._parse(file) for file in list_files(root, suffixes={".wav"})]

    def _parse(self, file: str) -> Clip:
        path = PurePosixPath(file)
        label = path.parent.as_posix()
        if label not in _REASONS:
            raise CorpusError(f"{file}: the folder is {label!r}, expected one of {', '.join(_REASONS)}.")
        match = _GRAMMAR.fullmatch(path.stem)
        if match is None:
            raise CorpusError(
                f"{file}: the name is not <id>-<time>-<version>-<gender>-<age>-<reason>.wav, with an id of 36 "
                "characters in lower case before a time in milliseconds, or in upper case before one in seconds; move "
                "foreign files out of the corpus."
            )
        if match["age"] not in _AGES:
            raise CorpusError(f"{file}: age code {match['age']}, expected one of {', '.join(_AGES)}.")
        if match["reason"] not in _REASONS[label]:
            raise CorpusError(
                f"{file}: reason {match['reason']!r} in the folder {label!r}, expected {' or '.join(_REASONS[label])}."
            )
        on_android = match["android"] is not None
        return Clip(
            file=file,
            speaker_id=match["android"] if on_android else match["ios"],
            label=label,
            metadata={
                "timestamp": int(match["milliseconds"]) / 1_000 if on_android else float(match["seconds"]),
                "platform": "android" if on_android else "ios",
                "version": match["version"],
                "gender": _GENDERS[match["gender"]],
                "age_code": match["age"],
                "age": _AGES[match["age"]],
                "reason_code": match["reason"],
            },
        )
