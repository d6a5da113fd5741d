"""File names of ASVP-ESD, the Emotional Sound Database of the Audio, Speech and Vision Processing Lab.

Two corpora are halves of one release and share its names: ``asvp_esd`` reads ``Audio/``, ``asvp_esd_babies`` reads
``Bonus/``. Which clips and labels each keeps, and what it says of itself, stands in their loading scripts.

A name is numbers joined by ``-``, read by position:

==== ========= ==================================================================================
1    modality  always 03, not kept
2    channel   01 speech, 02 non-speech
3    emotion   01 to 13, `EMOTIONS`
4    intensity 01 normal, 02 high
5    statement a running number
6    actor     odd female, even male
7    age       01 over 65, 02 20 to 64, 03 under 20, 04 baby
8    source    01 and 02 web, 03 films
9    language  the meaning of its codes is disputed; missing in 99 names
10 … extra     up to three; a last one of 66 marks mixed voices, of 77 noise; the rest is undocumented
==== ========= ==================================================================================

Intensities, ages and sources outside these ranges occur in the release and are kept as text. Source: the field names
and meanings are those that public readers of the corpus agree on; counts of fields, codes and odd values were taken
from the 13,964 names of the newest release; the code is own work.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

import datasets

from .clip import Clip, Excluded
from .rawfiles import CorpusError, list_files

__all__ = ["CITATION", "EMOTIONS", "HOMEPAGE", "METADATA", "OBTAIN", "list_half"]

HOMEPAGE = "https://doi.org/10.5281/zenodo.7132783"
CITATION = (
    "@misc{asvp_esd,\n"
    "  author = {Dejoli Tientcheu Touko Landry and Qianhua He and Wei Xie},\n"
    "  title = {Audio, Speech and Vision Processing Lab Emotional Sound Database ({ASVP-ESD})},\n"
    "  publisher = {Zenodo},\n"
    "  doi = {10.5281/zenodo.7132783},\n"
    "}"
)
OBTAIN = (
    "Get ASVP-ESD-Update.zip from https://doi.org/10.5281/zenodo.7132783, or the Kaggle dataset "
    "dejolilandry/asvpesdspeech-nonspeech-emotional-utterances."
)

EMOTIONS: Mapping[str, str] = MappingProxyType(
    {
        "01": "boredom_sigh",
        "02": "neutral_calm",
        "03": "happy_laugh_gaggle",
        "04": "sad_cry",
        "05": "angry_grunt_frustration",
        "06": "fearful_scream_panic",
        "07": "disgust_dislike_contempt",
        "08": "surprised_gasp_amazed",
        "09": "excited",
        "10": "pleasure",
        "11": "pain_groan",
        "12": "disappointment_disapproval",
        "13": "breath",
    }
)
"""Code of the third field to label, in the order of the codes."""

METADATA: Mapping[str, datasets.Value] = MappingProxyType(
    {
        "channel": datasets.Value("string"),
        "intensity_code": datasets.Value("string"),
        "intensity": datasets.Value("string"),
        "statement": datasets.Value("string"),
        "age_code": datasets.Value("string"),
        "age": datasets.Value("string"),
        "source_code": datasets.Value("string"),
        "source": datasets.Value("string"),
        "language_code": datasets.Value("string"),
        "first_extra": datasets.Value("string"),
        "extra_fields": datasets.Value("string"),
        "mixed_voices": datasets.Value("bool"),
        "noise": datasets.Value("bool"),
        "folder": datasets.Value("string"),
        "sex": datasets.Value("string"),
    }
)
"""Columns that a name and its folder give. Codes are text as it stands in the name; a readable column beside a code is
empty where the code has no documented meaning."""

_CHANNELS = {"01": "speech", "02": "non-speech"}
_INTENSITIES = {"01": "normal", "02": "high"}
_AGES = {"01": "over 65", "02": "20-64", "03": "under 20", "04": "baby"}
_SOURCES = {"01": "web", "02": "web", "03": "film"}
_SEX = ("male", "female")  # of an even and an odd actor
_MIXED_VOICES, _NOISE = "66", "77"
_MIN_FIELDS = 8
_GRAMMAR = "<modality>-<channel>-<emotion>-<intensity>-<statement>-<actor>-<age>-<source>[-<language>[-<extra> …]].wav"
_FOLDER = re.compile(r"actor_[0-9]*", re.IGNORECASE)
_NUMBER = re.compile(r" *[0-9]+ *")  # five names of the release have a blank before a dash


def list_half(
    root: Path, half: str, *, labels: Sequence[str], columns: Sequence[str], with_speech: bool
) -> Iterator[Clip | Excluded]:
    """Describe the clips of one half of the release; files outside it are not looked at.

    Args:
        root: The folder that holds ``half``.
        half: ``"Audio"`` or ``"Bonus"``.
        labels: Values of `EMOTIONS` that the corpus has; clips of other emotions are excluded.
        columns: Keys of `METADATA` that the corpus has.
        with_speech: Whether clips of the channel ``speech`` belong to the corpus, or are excluded.

    Yields:
        A clip or an exclusion for each file.

    Raises:
        CorpusError: If there is no such half, if a file lies elsewhere than in an actor's folder, or if its name is
            not of the grammar. Values out of range are no error where the corpus only passes them on (intensity, age,
            source, language).
    """
    half = _find_half(root, half)
    for name in list_files(root / half, suffixes={".wav"}):
        file = f"{half}/{name}"
        path = PurePosixPath(name)
        if len(path.parts) != 2 or not _FOLDER.fullmatch(path.parts[0]):
            raise CorpusError(
                f"{file}: not in the folder of an actor; expected {half}/actor_<number>/<name>.wav. "
                "Move foreign files out of the corpus."
            )
        fields = _split_name(file, path.stem)
        channel, emotion = fields[1], fields[2]
        label = EMOTIONS.get(emotion)
        if label not in labels:
            yield Excluded(file=file, reason=f"emotion code {emotion} is none of the corpus's {len(labels)}")
        elif _CHANNELS[channel] == "speech" and not with_speech:
            yield Excluded(file=file, reason=f"speech (channel {channel})")
        else:
            metadata = _describe(fields, folder=path.parts[0])
            yield Clip(
                file=file,
                speaker_id=str(int(fields[5])),
                label=label,
                metadata={column: metadata[column] for column in columns},
            )


def _find_half(root: Path, half: str) -> str:
    """Return the name of the folder as it is written here: the case of a folder's name does not matter."""
    names = sorted(path.name for path in root.iterdir() if path.is_dir() and path.name.lower() == half.lower())
    if not names:
        raise CorpusError(f"{half}: no such folder in {root}; this copy of ASVP-ESD lacks that half.")
    return half if half in names else names[0]


def _split_name(file: str, stem: str) -> list[str]:
    """Cut a name into its fields and check those that decide where the clip belongs."""
    fields = stem.split("-")
    if len(fields) < _MIN_FIELDS:
        raise CorpusError(
            f"{file}: {len(fields)} field{'' if len(fields) == 1 else 's'} in the name, expected at least "
            f"{_MIN_FIELDS}: {_GRAMMAR}. Move foreign files out of the corpus."
        )
    for place, field in enumerate(fields, start=1):
        if not _NUMBER.fullmatch(field):
            raise CorpusError(
                f"{file}: field {place} of the name is {field!r}, expected a number: {_GRAMMAR}. "
                "Move foreign files out of the corpus."
            )
    if fields[1] not in _CHANNELS:
        raise CorpusError(f"{file}: channel {fields[1]!r}, expected 01 (speech) or 02 (non-speech).")
    return fields


def _describe(fields: Sequence[str], *, folder: str) -> dict[str, Any]:
    """Return a value for each of `METADATA`."""
    _, channel, _, intensity, statement, actor, age, source, *rest = fields
    extra = rest[1:]
    return {
        "channel": _CHANNELS[channel],
        "intensity_code": intensity,
        "intensity": _INTENSITIES.get(intensity),
        "statement": statement,
        "age_code": age,
        "age": _AGES.get(age),
        "source_code": source,
        "source": _SOURCES.get(source),
        "language_code": rest[0] if rest else None,
        "first_extra": extra[0] if extra else None,
        "extra_fields": "-".join(extra) if extra else None,
        "mixed_voices": extra[-1:] == [_MIXED_VOICES],
        "noise": extra[-1:] == [_NOISE],
        "folder": folder,
        "sex": _SEX[int(actor) % 2],
    }
