"""VocalSound: laughter, sighs, coughs, throat clearing, sneezes and sniffs, crowdsourced from 3,365 people.

Raw layout: ``audio_16k/<sex><number>_<session>_<label>.wav`` (or ``audio_44k``, ``data_44k``), and beside that folder
``datafiles/{tr,val,te}.json``, the official split, and ``meta/{all,tr,val,te}_meta.csv``, what the speakers said of
themselves. The corpus begins at the audio folder, so that both sampling rates have the same file names and splits.
Source: README and ``src/prep_data.py`` of the release's repository; public loaders for what these leave open.
"""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import datasets

from nvv.data import Clip, CorpusBuilder, CorpusError, CorpusFacts, Excluded, list_files, protocol_configs
from nvv.data.downloads import Download

_NAME = re.compile(r"(?P<speaker>(?P<sex>[fm])\d{4})_(?P<session>\d+)_(?P<label>[a-z]+)")
_SPEAKER = re.compile(r"[fm]\d{4}")
_SEX = {"f": "female", "m": "male"}
# The 44.1 kHz release calls its lists *_rev.json, says one public loader.
_LISTS = {
    "train": ("tr.json", "tr_rev.json"),
    "validation": ("val.json", "val_rev.json"),
    "test": ("te.json", "te_rev.json"),
}
# In this order: who stands in several tables is taken from the first.
_TABLES = tuple(f"{part}_meta{ending}" for part in ("all", "tr", "val", "te") for ending in (".csv", ".json"))
_UNKNOWN = {"age": None, "country": None, "native_language": None, "health_condition": None}


class VocalSound(CorpusBuilder):
    """21,024 clips of six classes by 3,365 speakers, 20,977 of them in the official split."""

    FACTS = CorpusFacts(
        name="vocalsound",
        pretty_name="VocalSound",
        licence="cc-by-sa-4.0",
        licence_url="https://creativecommons.org/licenses/by-sa/4.0/",
        homepage="https://github.com/YuanGongND/vocalsound",
        citation=(
            "@inproceedings{gong2022vocalsound,\n"
            "  author = {Gong, Yuan and Yu, Jin and Glass, James},\n"
            "  title = {{VocalSound}: A Dataset for Improving Human Vocal Sounds Recognition},\n"
            "  booktitle = {IEEE International Conference on Acoustics, Speech and Signal Processing (ICASSP)},\n"
            "  year = {2022},\n"
            "  pages = {151--155},\n"
            "  doi = {10.1109/ICASSP43922.2022.9746828},\n"
            "}"
        ),
        summary=(
            "Laughter, sighs, coughs, throat clearing, sneezes and sniffs, crowdsourced from 3,365 people, with their "
            "age, country, native language and health."
        ),
        obtain=(
            "Download vs_release_16k.zip (1.7 GB) or vs_release_44k.zip (4.5 GB) by the links in "
            "https://github.com/YuanGongND/vocalsound; the recordings are under CC BY-SA 4.0."
        ),
        notes=(
            "`official` is the default config: the authors' split comes first. Its lists name 20,977 of the 21,024 "
            "clips; the other 47 are only in the remaining configs.",
            "One public loader reports 34 files of the training part that cannot be decoded, among them all of m0600, "
            "f3310 and m2077 and most of f2298; leave them out with `--skip-bad-audio`.",
            "The sounds were made on request, not overheard; age, country, language and health are what the speakers "
            "said of themselves. `sex` is from the file name.",
            "The audio was not at hand when this loader was written: layout, counts and lists are as the release's "
            "repository and public loaders describe them.",
        ),
    )
    LABELS = ("laughter", "sigh", "cough", "throatclearing", "sneeze", "sniff")
    METADATA: ClassVar[Mapping[str, datasets.Value]] = {
        "sex": datasets.Value("string"),
        "session": datasets.Value("int32"),
        "age": datasets.Value("int32"),
        "country": datasets.Value("string"),
        "native_language": datasets.Value("string"),
        "health_condition": datasets.Value("string"),
    }
    # The authors' link; they give no checksum, this one is from a public loader that checks the same archive.
    DOWNLOADS = (
        Download(
            url="https://www.dropbox.com/s/c5ace70qh1vbyzb/vs_release_16k.zip?dl=1",
            filename="vs_release_16k.zip",
            checksum="sha256:66b83ee62e79c059b051c6f4afac06497945931c10c7f643a928b92f1ff9b9f2",
            size=1_783_406_544,
        ),
    )
    BUILDER_CONFIGS = protocol_configs(official=True)
    DEFAULT_CONFIG_NAME = "official"
    ROOT_MARKERS = tuple(f"[fm][0-9][0-9][0-9][0-9]_*_{label}.wav" for label in LABELS)
    LAYOUT = (
        "a folder audio_16k, audio_44k or data_44k of WAV files (audio_16k/f0003_0_cough.wav) with the folders "
        "datafiles and meta beside it; where both rates are there, name the folder of one."
    )

    def list_clips(self, root: Path) -> Iterable[Clip | Excluded]:
        """Parse the file names in ``root``, the release's audio folder; see the base class."""
        listed = _read_lists(root.parent / "datafiles")
        speakers = _read_speakers(root.parent / "meta")
        found: dict[str, str] = {}
        for file in list_files(root, suffixes={".wav"}):
            clip = self._parse(file, listed, speakers)
            name = PurePosixPath(file).stem
            if name in found:
                raise CorpusError(f"{file}: the same clip as {found[name]}; remove one of the two.")
            found[name] = file
            yield clip
        for name, (_, source) in listed.items():
            if name not in found:
                yield Excluded(file=f"{name}.wav", reason=f"listed in {source}, but not in this copy")

    def _parse(
        self, file: str, listed: Mapping[str, tuple[str, str]], speakers: Mapping[str, Mapping[str, Any]]
    ) -> Clip:
        name = PurePosixPath(file).stem
        match = _NAME.fullmatch(name)
        if match is None or "/" in file:
            raise CorpusError(
                f"{file}: not <sex><four digits>_<session>_<label>.wav, such as f0003_0_cough.wav, in the audio folder "
                "itself; move foreign files out of it."
            )
        if match["label"] not in self.LABELS:
            raise CorpusError(f"{file}: label {match['label']!r}, expected one of {', '.join(self.LABELS)}.")
        split, _ = listed.get(name, (None, ""))
        return Clip(
            file=file,
            speaker_id=match["speaker"],
            label=match["label"],
            metadata={
                "sex": _SEX[match["sex"]],
                "session": int(match["session"]),
                **speakers.get(match["speaker"], _UNKNOWN),
            },
            split=split,
        )


def _read_lists(folder: Path) -> dict[str, tuple[str, str]]:
    """Read the official split: clip name to (split, list that says so); a copy without the lists has none."""
    listed: dict[str, tuple[str, str]] = {}
    for split, candidates in _LISTS.items():
        path = next((folder / name for name in candidates if (folder / name).is_file()), None)
        if path is None:
            continue
        source = f"{folder.name}/{path.name}"
        for entry in _read_json(path, source):
            if not isinstance(entry, dict) or not isinstance(entry.get("wav"), str):
                raise CorpusError(f"{source}: entry {entry!r} names no file under 'wav'; get the list anew.")
            # The paths are those of whoever wrote the list, and differ from copy to copy.
            name = PurePosixPath(entry["wav"].replace("\\", "/")).stem
            before = listed.setdefault(name, (split, source))
            if before[0] != split:
                raise CorpusError(f"{name}.wav: in {before[1]} and in {source}, so its split is not clear.")
    return listed


def _read_speakers(folder: Path) -> dict[str, dict[str, Any]]:
    """Read what the speakers said of themselves: speaker to metadata; a copy without the tables knows nothing."""
    speakers: dict[str, dict[str, Any]] = {}
    for path in (folder / name for name in _TABLES):
        if not path.is_file():
            continue
        source = f"{folder.name}/{path.name}"
        for number, cells in enumerate(_read_table(path, source), start=1):
            if number == 1 and not _SPEAKER.fullmatch(cells[0]):
                continue  # a header, which the public loaders disagree about
            if len(cells) != 6 or not _SPEAKER.fullmatch(cells[0]):
                raise CorpusError(
                    f"{source}: row {number} is {cells}, expected speaker, sex, age, country, native language and "
                    "health condition; get the table anew."
                )
            speaker, _, age, *rest = cells
            country, language, health = (cell or None for cell in rest)
            facts = {"age": _age(age, f"{source}: row {number}"), "country": country}
            speakers.setdefault(speaker, {**facts, "native_language": language, "health_condition": health})
    return speakers


def _read_table(path: Path, source: str) -> Iterator[list[str]]:
    if path.suffix == ".json":
        rows = (row.values() if isinstance(row, dict) else row for row in _read_json(path, source))
        yield from (["" if cell is None else str(cell).strip() for cell in row] for row in rows)
        return
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{source}: not UTF-8 text ({error}); get the table anew.") from error
    yield from ([cell.strip() for cell in row] for row in csv.reader(text.splitlines()) if row)


def _read_json(path: Path, source: str) -> list[Any]:
    """Read a list, or the list under "data", as the release writes it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise CorpusError(f"{source}: not valid JSON ({error}); get it anew from the release.") from error
    entries = content.get("data") if isinstance(content, dict) else content
    if not isinstance(entries, list):
        raise CorpusError(f'{source}: expected a list under "data"; get it anew from the release.')
    return entries


def _age(cell: str, where: str) -> int | None:
    try:
        return int(float(cell)) if cell else None
    except (ValueError, OverflowError) as error:
        raise CorpusError(f"{where}: the age is {cell!r}, expected a number of years.") from error
