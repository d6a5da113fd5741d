"""Recordings of one's own in the columns and splits of a corpus: name the columns, choose how to split.

Whatever the source (``nvv.data.own_sources``), the result looks as if ``nvv.data.load_corpus`` had made it, and the
split comes from the same functions (``nvv.data.own_splits``). Nothing is copied: audio that lies in files stays there.
Own work.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import datasets
import pyarrow as pa
from huggingface_hub.errors import HfHubHTTPError

from .facts import CorpusFacts
from .loading import corpus_facts, list_corpora
from .own_columns import OWN_NAMES, further_columns
from .own_sources import ColumnNames, RawData, Source, read_source
from .own_splits import OWN_PROTOCOLS, OwnClips, num_shared_speakers, split_own_clips
from .rawfiles import CorpusError
from .splits import SPLITS, SplitError, manifest_digest

__all__ = ["OwnData", "load_own_data", "open_own_data"]

logger = logging.getLogger(__name__)

_ROLES = {"audio": "audio", "label": "label", "file": "file", "speaker_id": "speaker"}

# The Hub client's own base error and OSError, under which not being online, or having no card there, appear.
_NO_CARD = (CorpusError, OSError, *HfHubHTTPError.__bases__)


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnData:
    """Recordings in the columns and splits of a corpus, and what is known of them.

    Attributes:
        splits: ``train``, ``validation`` and ``test`` with the columns ``audio`` (undecoded cells), ``label`` (if
            wanted), ``file``, ``speaker_id`` (if known), and the targets and metadata under their own names, each in
            the order of the file names.
        facts: Name, and from the dataset's card, where there is one, licence and citation.
        protocol: How they were split, one of `OWN_PROTOCOLS`.
        columns: Role (audio, label, speaker, file, split) to the source's column.
        manifest_digest: Digest of the split.
        num_shared_speakers: Speakers in more than one split.
        is_local: Whether the source is of this machine, and not on the Hub.
        revision: Commit of a dataset on the Hub, where known.
    """

    splits: datasets.DatasetDict
    facts: CorpusFacts
    protocol: str
    columns: Mapping[str, str]
    manifest_digest: str
    num_shared_speakers: int
    is_local: bool
    revision: str | None


def load_own_data(
    source: Source,
    *,
    config: str | None = None,
    audio_column: str = "audio",
    label_column: str | None = "label",
    speaker_column: str | None = None,
    file_column: str | None = None,
    split_column: str | None = None,
    target_columns: Sequence[str] = (),
    metadata_columns: Sequence[str] = (),
    split_protocol: str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    revision: str | None = None,
) -> datasets.DatasetDict:
    """Load recordings of one's own with three splits and the columns of a corpus.

    Classes are those of a ClassLabel column in its order, the sorted texts of a text column, or the sorted numbers of a
    column of whole numbers. A clip's name in ``file``, on which computed splits depend, is that of the file column;
    else the path of its audio, relative to the source; else its split and its number there.

    ``given`` takes the parts that the source has (splits, folders, or the split column), also under names such as
    ``dev`` or ``eval`` for validation. If there is no validation part, a tenth of train becomes it, cut by the
    splitter, by speaker where speakers are known. A source that is one part is split as a whole. ``speaker``,
    ``stratified`` and ``fold_0`` to ``fold_9`` pool all parts, a test part too, and split anew. Without labels
    ``stratified`` is a random split of all clips.

    Args:
        source: A CSV, TSV or JSON lines file of paths and labels; a folder of class folders, or one with metadata.csv
            (`datasets`' audiofolder), train.csv and test.csv, Parquet files, or what `save_to_disk` wrote; a Hub id; a
            dataset in memory.
        config: Config of a dataset repository that has several.
        audio_column: The recordings: an Audio column, bytes of files, or paths.
        label_column: The classes; None: no labels are wanted.
        speaker_column: Who made each sound; None: ``speaker_id`` where there is such a column without gaps.
        file_column: A unique name for each clip; None: ``file`` where there is such a column of relative paths.
        split_column: The part that each clip is in.
        target_columns: Numbers to predict, kept under their names; an empty cell or NaN is a missing value.
        metadata_columns: What else to keep of each clip, under its name, such as ``age``.
        split_protocol: One of `OWN_PROTOCOLS`; None: ``given`` where there are a train and a test part, else
            ``speaker`` where speakers are known, else ``stratified``.
        data_dir: Folder that relative paths start from; None: the folder of the file, or the folder itself.
        cache_dir: Where `datasets` keeps what it builds.
        revision: Branch, tag or commit of a dataset on the Hub.

    Returns:
        Splits ``train``, ``validation`` and ``test``, as `OwnData` describes them.

    Raises:
        CorpusError: If the source is missing or lacks a column, or if a row has no label, no speaker or no audio file,
            or text for a number; the message names the column or row and what to do.
        SplitError: If it cannot be split that way.

    Example:
        >>> load_own_data("clips.csv", audio_column="path", label_column="emotion")  # doctest: +SKIP
    """
    return open_own_data(
        source,
        config=config,
        audio_column=audio_column,
        label_column=label_column,
        speaker_column=speaker_column,
        file_column=file_column,
        split_column=split_column,
        target_columns=target_columns,
        metadata_columns=metadata_columns,
        split_protocol=split_protocol,
        data_dir=data_dir,
        cache_dir=cache_dir,
        revision=revision,
    ).splits


def open_own_data(
    source: Source,
    *,
    config: str | None = None,
    audio_column: str = "audio",
    label_column: str | None = "label",
    speaker_column: str | None = None,
    file_column: str | None = None,
    split_column: str | None = None,
    target_columns: Sequence[str] = (),
    metadata_columns: Sequence[str] = (),
    split_protocol: str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    revision: str | None = None,
) -> OwnData:
    """Load recordings of one's own, with what is known of them.

    Args:
        source: As in `load_own_data`.
        config: As in `load_own_data`.
        audio_column: As in `load_own_data`.
        label_column: As in `load_own_data`.
        speaker_column: As in `load_own_data`.
        file_column: As in `load_own_data`.
        split_column: As in `load_own_data`.
        target_columns: As in `load_own_data`.
        metadata_columns: As in `load_own_data`.
        split_protocol: As in `load_own_data`.
        data_dir: As in `load_own_data`.
        cache_dir: As in `load_own_data`.
        revision: As in `load_own_data`.

    Returns:
        The splits and what is known of them.

    Raises:
        CorpusError: As `load_own_data`.
        SplitError: As `load_own_data`.
    """
    if split_protocol not in (None, "official", *OWN_PROTOCOLS):
        raise SplitError(
            f"split_protocol: expected one of {', '.join(OWN_PROTOCOLS)} (or official, which is given), "
            f"found {split_protocol!r}."
        )
    names = ColumnNames(
        audio=audio_column,
        label=label_column,
        speaker=speaker_column,
        file=file_column,
        split=split_column,
        targets=tuple(target_columns),
        metadata=tuple(metadata_columns),
    )
    raw = read_source(source, names=names, config=config, data_dir=data_dir, cache_dir=cache_dir, revision=revision)
    if not raw.part_of:
        raise CorpusError(f"{raw.name}: no rows; expected at least one clip for each split.")
    names = _with_our_columns(raw, names)
    paths = None if raw.paths is None else _existing_paths(raw)
    files = _file_names(raw, paths, names=names)
    labels, label_names = _labels(raw, column=names.label)
    clips = OwnClips(
        name=raw.name,
        files=files,
        labels=labels,
        speakers=None if names.speaker is None else _texts(raw, column=names.speaker, role="speaker"),
        parts=_parts(raw, column=names.split),
    )
    protocol, split_of = split_own_clips(clips, protocol="given" if split_protocol == "official" else split_protocol)
    shared = num_shared_speakers(clips, split_of)
    if shared:
        logger.warning(
            "%s: %d speakers are in more than one split, so that scores tell little of new voices. `nvv audit` lists "
            "them; the protocol `speaker` keeps them apart.", raw.name, shared,
        )  # fmt: skip
    facts = _facts(raw)
    splits = _splits(raw, clips, names=names, paths=paths, label_names=label_names, split_of=split_of, facts=facts)
    return OwnData(
        splits=splits,
        facts=facts,
        protocol=protocol,
        columns=names.required(),
        manifest_digest=manifest_digest(split_of),
        num_shared_speakers=shared,
        is_local=raw.card is None or Path(raw.card).is_dir(),
        revision=raw.revision,
    )


def _with_our_columns(raw: RawData, names: ColumnNames) -> ColumnNames:
    """Take `speaker_id` and `file` where they are there, can be used, and nothing else was named."""
    speakers = raw.columns.get("speaker_id")
    if names.speaker is None and speakers is not None and all(value not in (None, "") for value in speakers):
        names = dataclasses.replace(names, speaker="speaker_id")
    files = raw.columns.get("file")
    if names.file is None and files is not None:
        are_relative = all(isinstance(file, str) and file and not PurePosixPath(file).is_absolute() for file in files)
        if are_relative and len(set(zip(raw.part_of, files, strict=True))) == len(files):
            names = dataclasses.replace(names, file="file")
    return names


def _existing_paths(raw: RawData) -> list[str]:
    """Return the absolute path of each row's audio file.

    Raises:
        CorpusError: Naming the first row without a path, whose file is missing, or whose file another row has too.
    """
    root = raw.root or Path.cwd()
    found: list[str] = []
    missing: list[tuple[int, str]] = []
    row_of: dict[str, int] = {}
    for row, text in enumerate(raw.paths or ()):
        if not text:
            raise CorpusError(f"{raw.where(row)}: no audio; expected the path of a file.")
        path = os.path.normpath(root / text)
        if not os.path.isfile(path) and "\\" in text:  # written on Windows
            path = os.path.normpath(root / text.replace("\\", "/"))
        if not os.path.isfile(path):
            missing.append((row, text))
        elif row_of.setdefault(path, row) != row:
            raise CorpusError(
                f"{raw.where(row)}: {text} is also in {raw.where(row_of[path])}. Keep one row for each recording: the "
                "other could end up in another split."
            )
        found.append(path)
    if missing:
        row, text = missing[0]
        raise CorpusError(
            f"{raw.where(row)}: no file {text} in {root}; {len(missing)} of {len(found)} rows name files that are not "
            "there. Relative paths start from data_dir (--data_dir), or else from the folder of the source."
        )
    return found


def _file_names(raw: RawData, paths: list[str] | None, *, names: ColumnNames) -> list[str]:
    """Give each clip a unique name, the same on every machine."""
    if names.file is not None:
        files = _texts(raw, column=names.file, role="file")
        candidates = [files, _within_parts(raw, files)]
    else:
        candidates = []
        if paths is not None:
            candidates.append(_relative(paths, root=raw.root))
        elif raw.cells is not None:
            inside = _inside_names(raw.cells)
            candidates += [inside, _within_parts(raw, inside)] if None not in inside else []
        candidates.append(_within_parts(raw, None))
    for files in candidates:
        if len(set(files)) == len(files):
            return files
    twice, number = Counter(candidates[0]).most_common(1)[0]
    raise CorpusError(
        f"{raw.name}: {twice!r} in column {names.file!r} names {number} clips, the second is "
        f"{raw.where([row for row, file in enumerate(candidates[0]) if file == twice][1])}. Name a column of unique "
        "values with file_column (--file_column), or none."
    )


def _relative(paths: list[str], *, root: Path | None) -> list[str]:
    """Return paths relative to the root if all lie in it, else to the deepest folder that holds them all."""
    base = None if root is None else os.fspath(root)
    if base is None or any(os.path.commonpath([base, path]) != base for path in paths):
        base = os.path.commonpath([os.path.dirname(path) for path in paths])
    return [Path(os.path.relpath(path, base)).as_posix() for path in paths]


def _inside_names(cells: datasets.Dataset) -> list[str | None]:
    """Return the file names that stand in the cells beside the audio; of an absolute path, the last part."""
    found: list[str | None] = []
    for batch in cells.with_format("arrow").iter(batch_size=256):
        for chunk in batch.column("audio").chunks:
            found.extend(chunk.field("path").to_pylist())
    return [name and (PurePosixPath(name).name if PurePosixPath(name).is_absolute() else name) for name in found]


def _within_parts(raw: RawData, files: list[str] | None) -> list[str]:
    """Put the part before each name; without names, number the clips of each part."""
    if files is not None:
        return [f"{part}/{file}" for part, file in zip(raw.part_of, files, strict=True)]
    seen: Counter[str] = Counter()
    numbered = []
    for part in raw.part_of:
        numbered.append(f"{part}/{seen[part]:08d}")
        seen[part] += 1
    return numbered


def _texts(raw: RawData, *, column: str, role: str) -> list[str]:
    """Return a column as texts, none of them missing."""
    values = raw.columns[column]
    for row, value in enumerate(values):
        if value is None or value == "" or value != value:  # NaN, as table libraries write a gap
            raise CorpusError(f"{raw.where(row)}: no {role} in column {column!r}. Fill it in, or take the row out.")
    names = raw.class_names.get(column)
    return [str(value) if names is None else names[value] for value in values]


def _labels(raw: RawData, *, column: str | None) -> tuple[list[str] | None, list[str]]:
    """Return the class of each clip, and all classes in their order."""
    if column is None:
        return None, []
    values, names = raw.columns[column], raw.class_names.get(column)
    for row, value in enumerate(values):
        if value is None or value == "" or value != value or (names is not None and value == -1):
            missing = sum(other is None or other == "" or other != other for other in values)
            more = f" ({missing} of {len(values)} rows have none)" if missing > 1 else ""
            raise CorpusError(
                f"{raw.where(row)}: no label in column {column!r}{more}. Fill it in, or take the row out."
            )
    if names is not None:
        return [names[value] for value in values], names
    kinds = {type(value) for value in values}
    if kinds == {float} and all(value.is_integer() for value in values):  # whole numbers that a gap once made floats
        values, kinds = [int(value) for value in values], {int}
    if not kinds <= {str, bool} and kinds != {int}:
        other = next(value for value in values if not isinstance(value, str | bool))
        raise CorpusError(
            f"{raw.name}: expected classes in column {column!r} (texts, or whole numbers), found {other!r}. "
            "Name another column with label_column (--label_column)."
        )
    texts = [str(value) for value in values]
    is_number = kinds == {int} or all(text.isdecimal() and text == str(int(text)) for text in texts)
    ordered = sorted(set(texts), key=int) if is_number else sorted(set(texts))
    return texts, ordered


def _parts(raw: RawData, *, column: str | None) -> list[str] | None:
    """Return the part of each clip; None where the source is one part."""
    parts = raw.part_of if column is None else _texts(raw, column=column, role="split")
    return parts if len(set(parts)) > 1 else None


def _facts(raw: RawData) -> CorpusFacts:
    """Return what the dataset's card says, or what `datasets` knows; what neither says is unknown."""
    card = raw.card
    if card is not None and (not Path(card).is_dir() or (Path(card) / "README.md").is_file()):
        try:
            facts = corpus_facts(card)
        except _NO_CARD as error:
            logger.info("%s: no dataset card (%s).", raw.name, error)
        else:
            has_title = facts.pretty_name != Path(card).name
            return dataclasses.replace(facts, name=raw.name, pretty_name=facts.pretty_name if has_title else raw.name)
    return CorpusFacts(
        name=raw.name,
        pretty_name=raw.name,
        licence=raw.info.license or "unknown",
        homepage=raw.info.homepage or "",
        citation=raw.info.citation or "",
    )


def _splits(
    raw: RawData,
    clips: OwnClips,
    *,
    names: ColumnNames,
    paths: Sequence[str] | None,
    label_names: Sequence[str],
    split_of: Mapping[str, str],
    facts: CorpusFacts,
) -> datasets.DatasetDict:
    """Lay the clips out in our columns, each split in the order of the file names."""
    features = {"file": datasets.Value("string")}
    columns: dict[str, Any] = {"file": clips.files}
    if clips.labels is not None:
        index = {name: at for at, name in enumerate(label_names)}
        features = {"label": datasets.ClassLabel(names=list(label_names)), **features}
        columns["label"] = [index[label] for label in clips.labels]
    if clips.speakers is not None:
        features["speaker_id"] = datasets.Value("string")
        columns["speaker_id"] = clips.speakers
    if paths is not None:
        features = {"audio": datasets.Audio(decode=False), **features}
        columns["audio"] = [{"bytes": None, "path": path} for path in paths]
    taken = [name for name in OWN_NAMES if name in features or name == "audio"]
    kept = [name for name in names.metadata if name not in taken or getattr(names, _ROLES[name]) != name]
    more_features, more_columns = further_columns(raw, targets=names.targets, metadata=kept, taken=taken)
    features, columns = {**features, **more_features}, {**columns, **more_columns}
    info = datasets.DatasetInfo(
        features=datasets.Features(features),
        license=facts.licence,
        homepage=facts.homepage,
        citation=facts.citation,
        # A name that one of our corpora has would make this one pass for it.
        dataset_name=f"{facts.name}_own" if facts.name in list_corpora() else facts.name,
    )
    table = pa.table({name: columns[name] for name in info.features}, schema=info.features.arrow_schema)
    everything = datasets.Dataset(table, info=info)
    if paths is None:
        everything = datasets.concatenate_datasets([raw.cells, everything], axis=1)
        info.features = everything.features
        everything.info.update(info)
    order = sorted(range(len(clips.files)), key=clips.files.__getitem__)
    rows: dict[str, list[int]] = {split: [] for split in SPLITS}
    for row in order:
        rows[split_of[clips.files[row]]].append(row)
    return datasets.DatasetDict({split: everything.select(chosen) for split, chosen in rows.items()})
