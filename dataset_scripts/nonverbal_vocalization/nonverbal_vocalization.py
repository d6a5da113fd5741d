"""Deeply Nonverbal Vocalization Dataset, public sample: sixteen kinds of sounds, recorded by phone in South Korea.

Raw layout: ``dataset/<class>/<speaker>_<class code>_<trial>_<sex>_<age>_<location>_<quality>_<noise>.wav`` and
``dataset/Nonverbal_Vocalization_metadata.json``, which maps speakers to sex, age and classes. Source: the README of the
release.
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import datasets

from nvv.data import Clip, CorpusBuilder, CorpusError, CorpusFacts, list_files
from nvv.data.downloads import Download

_GRAMMAR = re.compile(
    r"(?P<speaker>[A-Z0-9]{4})_(?P<code>\d{1,2})_(?P<trial>\d+)_(?P<sex>[01])_(?P<age>\d{1,3})"
    r"_(?P<location>[01])_(?P<quality>[01])_(?P<noise>[01])"
)
_SEX = ("female", "male")  # 0 is female: the release's README, and 720 of the 727 clips agree with the JSON
_LOCATION = ("indoor", "outdoor")
_QUALITY = ("high", "low")
_NOISE = ("quiet", "noisy")
_METADATA_FILE = "Nonverbal_Vocalization_metadata.json"


class NonverbalVocalization(CorpusBuilder):
    """727 clips of 16 classes by 410 speakers in the release's public sample."""

    FACTS = CorpusFacts(
        name="nonverbal_vocalization",
        pretty_name="Deeply Nonverbal Vocalization Dataset (public sample)",
        licence="cc-by-nc-nd-4.0",
        licence_url="https://creativecommons.org/licenses/by-nc-nd/4.0/",
        homepage="https://github.com/deeplyinc/Nonverbal-Vocalization-Dataset",
        citation=(
            "@misc{deeply_nonverbal_vocalization,\n"
            "  author = {{Deeply Inc.}},\n"
            "  title = {Nonverbal Vocalization Dataset},\n"
            "  howpublished = {\\url{https://github.com/deeplyinc/Nonverbal-Vocalization-Dataset}},\n"
            "}"
        ),
        summary=(
            "Short recordings of sixteen non-verbal vocalizations, from teeth-chattering to screaming, made with "
            "Android phones by speakers in South Korea; the public sample, about one hundredth of the full set."
        ),
        obtain="Get it from https://github.com/deeplyinc/Nonverbal-Vocalization-Dataset or as OpenSLR resource 99.",
        notes=(
            "The licence allows handing on unchanged copies only, without charge. The audio bytes are kept unchanged; "
            "a resampled or re-encoded copy is a change and must not be published.",
            "`sex` and `age` come from the file name, `json_sex` and `json_age` from the release's metadata file. "
            "They disagree for some speakers (in the 727-clip sample: sex in 7 clips, age in 32), and some speakers "
            "have two ages; all is kept as released.",
            "In the 727-clip sample `quality` is always high and `noise` always quiet.",
            "In the 727-clip sample every crying and laughing clip is longer (4.18 s and more) than every clip of the "
            "other classes (4.00 s and less), so a model can tell the two by length alone. `nvv audit` reports it.",
            "Crying (24 clips) and laughing (25) are about half as frequent as the other classes; a test split holds "
            "two or three of each, so their scores are coarse.",
        ),
    )
    # In order of the class codes 0 to 15; also the names of the folders.
    LABELS = (
        "teeth-chattering",
        "teeth-grinding",
        "tongue-clicking",
        "nose-blowing",
        "coughing",
        "yawning",
        "throat-clearing",
        "sighing",
        "lip-popping",
        "lip-smacking",
        "panting",
        "crying",
        "laughing",
        "sneezing",
        "moaning",
        "screaming",
    )
    METADATA: ClassVar[Mapping[str, datasets.Value]] = {
        "trial": datasets.Value("int32"),
        "sex": datasets.Value("string"),
        "age": datasets.Value("int32"),
        "location": datasets.Value("string"),
        "quality": datasets.Value("string"),
        "noise": datasets.Value("string"),
        "json_sex": datasets.Value("string"),
        "json_age": datasets.Value("int32"),
    }
    # GitHub packs the branch anew at each request, so what is checked is what is in it.
    DOWNLOADS = (
        Download(
            url="https://github.com/deeplyinc/Nonverbal-Vocalization-Dataset/archive/HEAD.zip",
            filename="Nonverbal-Vocalization-Dataset.zip",
            content_digest="9f3c8e97934001b2035bc98ce0e3049219f111ffd019a75d10b57f045c46278c",
        ),
    )
    ROOT_MARKERS = tuple(f"{label}/*.wav" for label in LABELS)
    LAYOUT = "a folder dataset/ with one folder of WAV files per class (dataset/coughing/2AV8_4_1_0_44_0_0_0.wav)."

    def list_clips(self, root: Path) -> Iterable[Clip]:
        """Parse the file names below ``root``, the release's ``dataset`` folder; see the base class."""
        speakers = _read_speakers(root / _METADATA_FILE)
        return [self._parse(file, speakers) for file in list_files(root, suffixes={".wav"})]

    def _parse(self, file: str, speakers: Mapping[str, Mapping[str, Any]]) -> Clip:
        path = PurePosixPath(file)
        match = _GRAMMAR.fullmatch(path.stem)
        if match is None:
            raise CorpusError(
                f"{file}: the name is not <speaker>_<class>_<trial>_<sex>_<age>_<location>_<quality>_<noise>.wav, "
                "such as 2AV8_4_1_0_44_0_0_0.wav; move foreign files out of the corpus."
            )
        code = int(match["code"])
        if code >= len(self.LABELS):
            raise CorpusError(f"{file}: class code {code}, expected 0 to {len(self.LABELS) - 1}.")
        if path.parent.as_posix() != self.LABELS[code]:
            raise CorpusError(
                f"{file}: class code {code} means {self.LABELS[code]!r}, but the folder is {path.parent.as_posix()!r}."
            )
        facts = speakers.get(match["speaker"], {})
        return Clip(
            file=file,
            speaker_id=match["speaker"],
            label=self.LABELS[code],
            metadata={
                "trial": int(match["trial"]),
                "sex": _SEX[int(match["sex"])],
                "age": int(match["age"]),
                "location": _LOCATION[int(match["location"])],
                "quality": _QUALITY[int(match["quality"])],
                "noise": _NOISE[int(match["noise"])],
                "json_sex": facts["sex"].lower() if "sex" in facts else None,
                "json_age": facts.get("age"),
            },
        )


def _read_speakers(path: Path) -> dict[str, dict[str, Any]]:
    """Read the release's speaker facts; a copy without the file has none."""
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CorpusError(f"{path.name}: not valid JSON ({error}); get the file anew from the release.") from error
