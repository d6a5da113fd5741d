"""ReCANVo: vocalizations of eight minimally speaking people in daily life, labelled by what they expressed.

Raw layout: WAV files ``<date>_<time>_<start>--<end>.wav`` and the label file ``dataset_file_directory.csv`` with the
header ``Filename,Participant,Label`` in one folder. Source: the release's label file in a public repository.
"""

import csv
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import ClassVar, NamedTuple

import datasets

from nvv.data import Clip, CorpusBuilder, CorpusError, CorpusFacts, Excluded, list_files, protocol_configs
from nvv.data.downloads import ZenodoRecord

_HEADER = ["Filename", "Participant", "Label"]
# Date, time of day, start and end; a note may follow the time of day (1709n1, 2047SelfTalk-Frustrated). Only the
# session is taken from the name: the rest has irregularities, and the label is the label file's business.
_GRAMMAR = re.compile(r"(?P<session>\d{6}_\d{4}[^_]*)_[^_]+--[^_]+\.wav", flags=re.IGNORECASE)
_PARTICIPANT = re.compile(r"P\d{2}")


class _Row(NamedTuple):
    """One line of the label file."""

    filename: str
    participant: str
    label: str


class Recanvo(CorpusBuilder):
    """7,077 clips of 22 labels, 6,450 of the six labels that are used."""

    FACTS = CorpusFacts(
        name="recanvo",
        pretty_name="ReCANVo (Real-World Communicative and Affective Nonverbal Vocalizations)",
        licence="unknown",
        homepage="https://doi.org/10.5281/zenodo.5786860",
        citation=(
            "@article{johnson2023recanvo,\n"
            "  author = {Johnson, Kristina T. and Narain, Jaya and Quatieri, Thomas and Maes, Pattie and\n"
            "            Picard, Rosalind W.},\n"
            "  title = {{ReCANVo}: A Database of Real-World Communicative and Affective Nonverbal Vocalizations},\n"
            "  journal = {Scientific Data},\n"
            "  volume = {10},\n"
            "  year = {2023},\n"
            "  doi = {10.1038/s41597-023-02405-7},\n"
            "}"
        ),
        summary=(
            "Vocalizations of eight minimally speaking people aged 6 to 23 with diagnoses, recorded in daily life and "
            "labelled by a close family member by what they expressed."
        ),
        obtain=(
            "Get ReCANVo.zip and dataset_file_directory.csv from https://doi.org/10.5281/zenodo.5786860, into one "
            "folder."
        ),
        terms=(
            "The people recorded are vulnerable: make no attempt to identify them, and read the terms on the release "
            "page."
        ),
        no_public_copies=(
            "The licence is only reported (CC BY 4.0; the release page was not seen), and the people recorded are "
            "minimally speaking, have diagnoses, and some are children."
        ),
        notes=(
            "The speakers are minimally speaking people with diagnoses. A model trained on them is no means to "
            "understand another such person: the labels are those of people who knew each speaker well.",
            "Six of the 22 labels are used, those of the published systems; clips with another label are left out, "
            "with that label as the reason.",
            "`session` is participant, date and time of the recording. Clips of a session share a room and a device, "
            "so the `stratified` split lets a model recognise sessions: report `speaker` or the folds.",
            "Labels are very uneven between speakers: three of the eight have no clip of one label, and one has a "
            "single social clip. Each of the eight folds tests on one speaker; report them one by one.",
            "Labels come from the label file, never from the names, of which some carry words that contradict it.",
        ),
    )
    LABELS = ("selftalk", "frustrated", "delighted", "dysregulated", "social", "request")
    DOWNLOADS = (ZenodoRecord(record_id=5786860, include=("*.zip", "*.csv")),)
    METADATA: ClassVar[Mapping[str, datasets.Value]] = {
        "session": datasets.Value("string"),
        "raw_label": datasets.Value("string"),
    }
    # Not the label file, which may lie beside an archive of the audio; that may lie in a folder beside the label file.
    ROOT_MARKERS = ("*--*.wav", "*/*--*.wav", "*/*/*--*.wav")
    LAYOUT = (
        "a folder with the WAV files (200126_2142_00-13-04.06--00-13-04.324.wav) and dataset_file_directory.csv, "
        f"whose header is {','.join(_HEADER)}."
    )
    BUILDER_CONFIGS = protocol_configs(num_folds=8)  # as many as speakers: each fold leaves one out

    def list_clips(self, root: Path) -> Iterable[Clip | Excluded]:
        """Match the label file's rows with the audio files below ``root``; see the base class."""
        rows, paths = _read_rows(root), _audio_files(root)
        _require_none(paths.keys() - rows.keys(), "no row of the label file names it")
        _require_none(rows.keys() - paths.keys(), "the label file names it, but there is no such file")
        return [self._describe(row) for row in rows.values()]

    def clip_path(self, clip: Clip) -> Path:
        """Return where a clip's file lies, at whatever depth below the root."""
        return self.root / self._paths[clip.file.lower()]

    @cached_property
    def _paths(self) -> dict[str, str]:
        return _audio_files(self.root)

    def _describe(self, row: _Row) -> Clip | Excluded:
        name = row.filename
        match = _GRAMMAR.fullmatch(name)
        if match is None:
            raise CorpusError(
                f"{name}: the name is not <date>_<time>_<start>--<end>.wav, such as "
                "200126_2142_00-13-04.06--00-13-04.324.wav, so its session is unknown; compare it with the release."
            )
        if _PARTICIPANT.fullmatch(row.participant) is None:
            raise CorpusError(f"{name}: participant {row.participant!r}, expected P and two digits, such as P01.")
        if row.label not in self.LABELS:
            return Excluded(file=name, reason=f"label {row.label!r} is not one of the six used")
        return Clip(
            file=name,
            speaker_id=row.participant,
            label=row.label,
            metadata={"session": f"{row.participant}_{match['session']}", "raw_label": row.label},
        )


def _read_rows(root: Path) -> dict[str, _Row]:
    """Read every CSV with the label file's header; return file name in lower case to row."""
    rows: dict[str, _Row] = {}
    found = False
    for file in list_files(root, suffixes={".csv"}):
        # Stray tables may be in any encoding: a wrong one shows in the header, or as a name that no file has.
        lines = (root / file).read_text(encoding="utf-8-sig", errors="replace").splitlines()
        if not lines or [cell.strip(' "') for cell in lines[0].split(",")] != _HEADER:
            continue
        found = True
        reader = csv.reader(lines)
        next(reader)
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            if not any(cells):
                continue
            if len(cells) != len(_HEADER) or not all(cells):
                raise CorpusError(
                    f"{file}: line {reader.line_num}: expected {','.join(_HEADER)}, found {','.join(cells)!r}."
                )
            row = _Row(*cells)
            earlier = rows.setdefault(row.filename.lower(), row)
            if earlier[1:] != row[1:]:
                raise CorpusError(
                    f"{row.filename}: two rows of {file} disagree, {','.join(earlier[1:])} and {','.join(row[1:])}."
                )
    if not found:
        raise CorpusError(
            f"{root}: no label file; expected dataset_file_directory.csv, or any CSV with the header "
            f"{','.join(_HEADER)}, beside the audio. It is part of the release."
        )
    return rows


def _audio_files(root: Path) -> dict[str, str]:
    """Return file name in lower case, since copies may differ in the suffix's, to path below the root."""
    paths: dict[str, str] = {}
    for file in list_files(root, suffixes={".wav"}):
        name = PurePosixPath(file).name.lower()
        if paths.setdefault(name, file) != file:
            raise CorpusError(f"{file}: has the same name as {paths[name]}; keep one of them.")
    return paths


def _require_none(names: Iterable[str], problem: str) -> None:
    lacking = sorted(names)
    if lacking:
        others = f" (and so for {len(lacking) - 1} more)" if len(lacking) > 1 else ""
        raise CorpusError(f"{lacking[0]}: {problem}{others}; get the release anew, and move foreign files out of it.")
