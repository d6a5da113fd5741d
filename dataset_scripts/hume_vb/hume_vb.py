"""Hume-VB (H-VB): vocal bursts from four countries, as used in the A-VB 2022 and ExVo 2022 competitions.

Raw layout: ``audio/wav/<id>.wav`` and ``labels/{high,two,culture,type}_info.csv``, each with ``File_ID`` (in square
brackets), ``Split`` (Train, Val, Test) and the task's targets; optionally ExVo's ``data_info.csv`` in ``labels`` or
beside it, with speaker, country and age. Source: the competitions' code, HumeAI/competitions on GitHub.
"""

import csv
import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, NamedTuple

import datasets

from nvv.data import Clip, CorpusBuilder, CorpusConfig, CorpusError, CorpusFacts, Excluded, SplitError, list_files
from nvv.data.synthetic_hume_vb import MARKER

_EMOTIONS = ("Awe", "Excitement", "Amusement", "Awkwardness", "Fear", "Horror", "Distress", "Triumph", "Sadness")
_COUNTRIES = ("China", "United States", "South Africa", "Venezuela")
_HIGH = (*_EMOTIONS, "Surprise")
_TWO = ("Valence", "Arousal")
_CULTURE = (  # the four Surprise columns come last
    *(f"{country}_{emotion}" for country in _COUNTRIES for emotion in _EMOTIONS),
    *(f"{country}_Surprise" for country in _COUNTRIES),
)
_LABELS = ("Cry", "Gasp", "Groan", "Grunt", "Laugh", "Other", "Pant", "Scream")  # as the official code sorts them
_TASKS = {"high": _HIGH, "two": _TWO, "culture": _CULTURE, "type": ("Voc_Type",)}
_SPLITS = {"train": "train", "val": "validation", "test": "test"}
_MISSING = {"", "nan", "na", "n/a", "none", "null"}
# Columns of data_info.csv, the preferred name first: Country may be a number, Country_string the name.
_SPEAKER_COLUMNS = {
    "speaker_id": ("Subject_ID", "Subject"),
    "country": ("Country_string", "Country"),
    "age": ("Age",),
}
# What cards say where the tree is a computed one.
_COMPUTED = {
    "is_synthetic": True,
    "summary": (
        "Computed sounds in the layout of Hume-VB, made by nvv.data.synthetic_hume_vb to try recipes; nothing of the "
        "corpus is in it."
    ),
    "notes": ("No person was recorded: a score on these sounds is no evidence about any model of human sounds.",),
}


class HumeVB(CorpusBuilder):
    """59,201 or 59,299 clips by 1,702 speakers; ratings of emotion and one of eight kinds of vocal burst."""

    FACTS = CorpusFacts(
        name="hume_vb",
        pretty_name="Hume-VB (A-VB 2022)",
        licence="other",
        homepage="https://github.com/HumeAI/competitions",
        citation=(
            "@inproceedings{baird2022avb,\n"
            "  author = {Baird, Alice and Tzirakis, Panagiotis and Brooks, Jeffrey A. and Gregory, Chris B. and\n"
            '            Schuller, Bj{\\"o}rn and Batliner, Anton and Keltner, Dacher and Cowen, Alan},\n'
            "  title = {The {ACII} 2022 Affective Vocal Bursts Workshop \\& Competition},\n"
            "  booktitle = {10th International Conference on Affective Computing and Intelligent Interaction\n"
            "               Workshops and Demos (ACIIW)},\n"
            "  year = {2022},\n"
            "  note = {arXiv:2207.03572},\n"
            "}"
        ),
        summary=(
            "Vocal bursts (laughs, gasps, cries, screams and others) of 1,702 people in China, the United States, "
            "South Africa and Venezuela, rated for ten emotions, valence and arousal, and sorted into eight kinds."
        ),
        obtain=(
            "Hume AI gives it out on request, against an end-user licence agreement; see "
            "https://github.com/HumeAI/competitions for the competitions and their contact."
        ),
        terms=(
            "Whoever obtains it signs Hume AI's end-user licence agreement and is bound by it, for every copy and "
            "whatever is derived from it."
        ),
        no_public_copies=(
            "The recordings are given out only on request under Hume AI's end-user licence agreement, which allows no "
            "redistribution."
        ),
        notes=(
            "Four configs are the A-VB tasks, `joint` has the columns of all four; all share the official split. A "
            "task whose label file is missing in the raw copy has no config, and its columns in `joint` are null.",
            "Targets may be missing (null): leave them out of losses and metrics, as the official metric code does. "
            "Those of the test part were not released; where all test rows of a label file carry the same values, "
            "these are placeholders and become null.",
            "`speaker_id`, `country` and `age` come from ExVo's data_info.csv and are null without it; the speakers of "
            "the test part were withheld at first.",
            "Neither audio nor label files were at hand when this loader was written: layout and columns are those of "
            "the competition code; the terms of access are from memory and unverified.",
        ),
    )
    LABELS = _LABELS
    ALLOW_MISSING_LABELS = True
    TARGETS = (*_HIGH, *_TWO, *_CULTURE)
    METADATA: ClassVar[Mapping[str, datasets.Value]] = {
        "split": datasets.Value("string"),
        "country": datasets.Value("string"),
        "age": datasets.Value("float32"),
    }
    SPEAKERS_ARE_KNOWN = False
    BUILDER_CONFIGS: ClassVar[list[CorpusConfig]] = [
        CorpusConfig(name="high", description="Ten emotions, 0 to 1.", targets=_HIGH, with_label=False),
        CorpusConfig(name="two", description="Valence and arousal, 0 to 1.", targets=_TWO, with_label=False),
        CorpusConfig(
            name="culture",
            description="Ten emotions as rated in each of four countries, 0 to 1.",
            targets=_CULTURE,
            with_label=False,
        ),
        CorpusConfig(name="type", description="Eight kinds of vocal burst."),
        CorpusConfig(
            name="joint",
            description="All four tasks at once: every target and the kind, null where a label file is missing.",
            protocol="official",
            targets=(*_HIGH, *_TWO, *_CULTURE),
        ),
    ]
    DEFAULT_CONFIG_NAME = "high"
    ROOT_MARKERS = ("audio/wav/*.wav", *(f"labels/{task}_info.csv" for task in _TASKS))
    LAYOUT = (
        "a folder with audio/wav/<id>.wav and labels/high_info.csv, two_info.csv, culture_info.csv or type_info.csv."
    )

    def list_clips(self, root: Path) -> Iterable[Clip | Excluded]:
        """Join the label files and the recordings; see the base class."""
        files = _label_files(root)
        if not files:
            raise CorpusError(f"{root / 'labels'}: no label file; expected {self.LAYOUT}")
        if (root / MARKER).is_file():
            self.FACTS = dataclasses.replace(self.FACTS, **_COMPUTED)
        rows = _join(_read_task(path, _TASKS[task]) for task, path in files.items())
        speakers = _read_speakers(root)
        audio = root / "audio" / "wav"
        for file in list_files(audio, suffixes={".wav"}) if audio.is_dir() else ():
            path = f"audio/wav/{file}"
            file_id = str(PurePosixPath(file).with_suffix(""))
            row = rows.pop(file_id, None)
            if row is None:
                yield Excluded(file=path, reason="no row in any label file")
                continue
            yield self._clip(path, row, speakers.get(file_id, {}))
        for file_id, row in rows.items():
            raise CorpusError(
                f"audio/wav/{file_id}.wav: no such file, but {row.source} has a row for it ({len(rows)} such rows in "
                "all); get the missing recordings."
            )

    def split_clips(self, clips: list[Clip], protocol: str) -> dict[str, str]:
        """Give every task whose label file is there the official split; see the base class."""
        if protocol not in _TASKS:
            return super().split_clips(clips, protocol)
        if protocol not in _label_files(self.root):
            raise SplitError(f"labels/{protocol}_info.csv: no such file, so this copy has no config {protocol!r}.")
        return super().split_clips(clips, "official")

    def _clip(self, path: str, row: "_Row", speaker: Mapping[str, Any]) -> Clip:
        return Clip(
            file=path,
            speaker_id=speaker.get("speaker_id"),
            label=row.cells.get("Voc_Type"),
            targets={name: row.cells.get(name) for name in self.TARGETS},
            metadata={"split": row.split, "country": speaker.get("country"), "age": speaker.get("age")},
            split=_SPLITS[row.split.casefold()],
        )


class _Row(NamedTuple):
    """What the label files say of one clip."""

    split: str
    source: str
    cells: dict[str, Any]


def _label_files(root: Path) -> dict[str, Path]:
    """Find the label files that are there: task to path, in the order of the tasks."""
    folder = root / "labels"
    found = {path.name.casefold(): path for path in folder.iterdir()} if folder.is_dir() else {}
    return {task: found[f"{task}_info.csv"] for task in _TASKS if f"{task}_info.csv" in found}


def _join(tables: Iterable[Mapping[str, _Row]]) -> dict[str, _Row]:
    """Put the rows of one clip together; where a file lacks the clip, its targets are missing."""
    joined: dict[str, _Row] = {}
    for table in tables:
        for file_id, row in table.items():
            before = joined.setdefault(file_id, _Row(row.split, row.source, {}))
            if before.split.casefold() != row.split.casefold():
                raise CorpusError(
                    f"{row.source}: File_ID {file_id} is in split {row.split}, but in {before.split} in "
                    f"{before.source}; get both files anew."
                )
            before.cells.update(row.cells)
    return joined


def _read_task(path: Path, columns: Sequence[str]) -> dict[str, _Row]:
    """Read a task's label file: id to row, its cells numbers or, for Voc_Type, one of the labels; None where missing.

    Values that all test rows share are placeholders and become missing: the official code, too, finds one more value
    in Voc_Type than there are classes.
    """
    source = f"{path.parent.name}/{path.name}"
    rows: dict[str, _Row] = {}
    for file_id, cells in _read_csv(path, source, ("Split", *columns)):
        split = cells.pop("Split") or ""
        if split.casefold() not in _SPLITS:
            raise CorpusError(f"{source}: File_ID {file_id}, Split: {split!r}, expected Train, Val or Test.")
        if file_id in rows:
            raise CorpusError(f"{source}: File_ID {file_id} has two rows.")
        rows[file_id] = _Row(split, source, cells)
    test = [row.cells for row in rows.values() if row.split.casefold() == "test"]
    if len(test) > 1 and all(cells == test[0] for cells in test[1:]):
        for cells in test:
            cells.update(dict.fromkeys(columns))
    for file_id, row in rows.items():
        for column, cell in row.cells.items():
            where = f"{source}: File_ID {file_id}, {column}"
            row.cells[column] = _label(cell, where) if column == "Voc_Type" else _number(cell, where)
    return rows


def _read_speakers(root: Path) -> dict[str, dict[str, Any]]:
    """Read ExVo's data_info.csv, if it is there: id to speaker, country and age as far as it has such columns."""
    path = next((path for path in (root / "labels/data_info.csv", root / "data_info.csv") if path.is_file()), None)
    if path is None:
        return {}
    speakers: dict[str, dict[str, Any]] = {}
    names = [name for candidates in _SPEAKER_COLUMNS.values() for name in candidates]
    for file_id, cells in _read_csv(path, path.name, (), optional=names):
        speakers[file_id] = {
            column: next((cells[name] for name in candidates if cells.get(name)), None)
            for column, candidates in _SPEAKER_COLUMNS.items()
        }
        speakers[file_id]["age"] = _number(speakers[file_id]["age"], f"{path.name}: File_ID {file_id}, Age")
    return speakers


def _read_csv(
    path: Path, source: str, columns: Sequence[str], *, optional: Sequence[str] = ()
) -> Iterator[tuple[str, dict[str, str | None]]]:
    """Read columns of a CSV: yields the id without brackets, and column to text, None where the cell is empty.

    Column names are compared without case, blanks and underscores (one of the release's own examples has
    SouthAfrica_Sadness for South Africa_Sadness); columns that nobody asks for are ignored.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream)
            header = [_plain(name) for name in next(reader, [])]
            places = {}
            for column in ("File_ID", *columns, *optional):
                if header.count(_plain(column)) == 1:
                    places[column] = header.index(_plain(column))
                elif column not in optional:
                    raise CorpusError(
                        f"{source}: column {column!r} {'twice' if _plain(column) in header else 'missing'}."
                    )
            for row in reader:
                if not row:
                    continue
                if len(row) != len(header):
                    raise CorpusError(f"{source}: line {reader.line_num} has {len(row)} cells, expected {len(header)}.")
                cells = {column: _text(row[place]) for column, place in places.items()}
                yield (cells.pop("File_ID") or "").removeprefix("[").removesuffix("]").strip(), cells
    except (UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"{source}: not a CSV file in UTF-8 ({error}); get it anew.") from error


def _plain(name: str) -> str:
    return name.casefold().replace(" ", "").replace("_", "")


def _text(cell: str) -> str | None:
    return None if cell.strip().casefold() in _MISSING else cell.strip()


def _label(cell: str | None, where: str) -> str | None:
    if cell is None:
        return None
    label = next((label for label in _LABELS if label.casefold() == cell.casefold()), None)
    if label is None:
        raise CorpusError(f"{where}: {cell!r}, expected one of {', '.join(_LABELS)}.")
    return label


def _number(cell: str | None, where: str) -> float | None:
    try:
        value = None if cell is None else float(cell)
    except ValueError:
        value = math.nan
    if value is not None and not math.isfinite(value):
        raise CorpusError(f"{where}: {cell!r} is not a number.")
    return value
