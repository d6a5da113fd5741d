"""Opening what is to be audited: a prepared folder, anything that ``load_dataset`` reads, or a table of paths.

Reading the clips is the job of the neighbour ``clips``. Own work.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import datasets
import huggingface_hub
from datasets.exceptions import DatasetGenerationError

from ..loading import list_corpora
from ..own_data import load_own_data
from ..own_folders import canonical_split
from ..own_sources import ColumnNames, RawData, config_names, read_source
from ..prepared import is_prepared
from ..rawfiles import CorpusError
from .audit import AuditReport, audit_configs
from .clips import Columns

__all__ = ["ALL_CONFIGS", "audit"]

ALL_CONFIGS = "all"
"""Stands for every config of a dataset."""

_NO_CONFIG = "default"


def audit(
    source: str | os.PathLike[str],
    *,
    configs: Sequence[str] = (),
    columns: Columns | None = None,
    split_protocol: str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    num_workers: int | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    show_progress: bool = False,
) -> AuditReport:
    """Audit a dataset by name.

    Args:
        source: A folder that ``nvv prepare`` wrote, a Hub id, or anything else that ``load_own_data`` takes: a CSV,
            TSV or JSON lines file of paths, a folder of audio files. Their parts are audited as they are.
        configs: Which configs; none: the default one; ``"all"``: each.
        columns: What the columns are called.
        split_protocol: Audit the split that ``load_own_data`` makes by this protocol, as training would; not for a
            folder that ``nvv prepare`` wrote, whose protocols are configs.
        data_dir: Folder that the paths of a table start from; none: the table's.
        num_workers: Threads that decode; None: the number of processors, at most eight.
        cache_dir: Where `datasets` keeps what it builds.
        show_progress: Draw progress bars.

    Returns:
        What was found.

    Raises:
        CorpusError: If the source is missing or cannot be read, has no such config, or lacks a column.
    """
    columns = columns or Columns()
    path = Path(source).expanduser()
    name = str(path) if path.exists() else str(source)
    if not path.exists() and (name in list_corpora() or path.is_absolute()):
        raise CorpusError(
            f"{source}: no such folder. Give one that nvv prepare wrote, such as nvv/{path.name}, or a Hub id."
        )
    if split_protocol is not None:
        splits = _split_by(name, split_protocol, configs, columns, data_dir=data_dir, cache_dir=cache_dir)
        opened = [(split_protocol, splits)]
        return audit_configs(opened, name=str(source), num_workers=num_workers, show_progress=show_progress)
    if is_prepared(path):
        if data_dir is not None:
            raise CorpusError(f"{name}: holds its audio itself; leave out data_dir.")
        opened = _prepared_configs(name, _config_names(name, configs), columns=columns, cache_dir=cache_dir)
        return audit_configs(
            opened,
            name=str(source),
            columns=columns,
            num_workers=num_workers,
            show_progress=show_progress,
            files_identify_clips=True,
        )
    wanted = _config_names(name, configs) if _explained(name, config_names, name) else _only_config(name, configs)
    opened = ((config or _NO_CONFIG, _own_data(name, config, columns, data_dir, cache_dir)) for config in wanted)
    return audit_configs(opened, name=str(source), num_workers=num_workers, show_progress=show_progress)


def _split_by(
    name: str,
    split_protocol: str,
    configs: Sequence[str],
    columns: Columns,
    *,
    data_dir: str | os.PathLike[str] | None,
    cache_dir: str | os.PathLike[str] | None,
) -> datasets.DatasetDict:
    """Split data of another origin as training does."""
    if is_prepared(Path(name)):
        raise CorpusError(f"{name}: its split protocols are configs; give --config {split_protocol} instead.")
    if len(configs) > 1 or ALL_CONFIGS in configs:
        raise CorpusError("--split-protocol goes with one --config at most.")
    return load_own_data(
        Path(name) if Path(name).exists() else name,
        config=configs[0] if configs else None,
        audio_column=columns.audio,
        label_column=columns.label or "label",
        speaker_column=columns.speaker,
        file_column=columns.file,
        split_column=columns.split,
        split_protocol=split_protocol,
        data_dir=data_dir,
        cache_dir=cache_dir,
    )


def _only_config(name: str, wanted: Sequence[str]) -> list[str | None]:
    if set(wanted) - {ALL_CONFIGS, _NO_CONFIG}:
        raise CorpusError(f"{name}: has no configs; leave out --config {' '.join(wanted)}.")
    return [None]


def _own_data(
    name: str,
    config: str | None,
    columns: Columns,
    data_dir: str | os.PathLike[str] | None,
    cache_dir: str | os.PathLike[str] | None,
) -> datasets.DatasetDict:
    """Read data of another origin as it is split, and give it our column names."""

    def read(label: str | None) -> RawData:
        names = ColumnNames(
            audio=columns.audio, label=label, speaker=columns.speaker, file=columns.file, split=columns.split
        )
        source = Path(name) if Path(name).exists() else name
        return _explained(name, read_source, source, names=names, config=config, data_dir=data_dir, cache_dir=cache_dir)

    raw = read(columns.label)
    # A label column is wanted where there is one, and only then.
    if columns.label is None and "label" in raw.found:
        raw = read("label")
    label = columns.label or "label"
    paths = None if raw.paths is None else [_located(path, raw.root) for path in raw.paths]
    found = raw.part_of if columns.split is None else raw.columns[columns.split]
    part_of = [canonical_split(str(part)) or str(part) for part in found]
    splits = {}
    for part in dict.fromkeys(part_of):
        rows = [row for row, found in enumerate(part_of) if found == part]
        if paths is None:
            split = raw.cells.select(rows)
        else:
            split = datasets.Dataset.from_dict({"audio": [paths[row] for row in rows]})
        given = {"label": label, "speaker_id": columns.speaker or "speaker_id", "file": columns.file or "file"}
        for ours, theirs in given.items():
            values = raw.columns.get(theirs) or (raw.paths if ours == "file" else None)
            if values is not None:
                split = split.add_column(ours, [values[row] for row in rows])
        if label in raw.class_names:
            split = split.cast_column("label", datasets.ClassLabel(names=raw.class_names[label]))
        splits[part] = split
    return datasets.DatasetDict(splits)


def _located(path: str | None, root: Path | None) -> str | None:
    return path if path is None or root is None else str(root / path)


def _prepared_configs(
    name: str, configs: Sequence[str], *, columns: Columns, cache_dir: str | os.PathLike[str] | None
) -> Iterator[tuple[str, datasets.DatasetDict]]:
    """Yield configs; those after the first without audio, if earlier ones had all their clips."""
    seen: set[str] = set()
    for config in configs:
        small = _load(name, config, cache_dir=cache_dir, without=columns.audio) if seen else None
        if small is not None and seen.issuperset(file for split in small.values() for file in split["file"][:]):
            yield config, small
            continue
        loaded = _load(name, config, cache_dir=cache_dir)
        seen.update(file for split in loaded.values() for file in split["file"][:])
        yield config, loaded


def _config_names(name: str, wanted: Sequence[str]) -> list[str]:
    """Return the configs to audit, each once, in the order asked for; the default one first where all are."""
    available = _explained(name, datasets.get_dataset_config_names, name)
    default = _explained(name, datasets.get_dataset_default_config_name, name)
    if not wanted:
        if default is None:
            raise CorpusError(
                f"{name}: has several configs and none is the default; name one with --config: {', '.join(available)}."
            )
        return [default]
    if ALL_CONFIGS in wanted:
        return sorted(available, key=lambda config: config != default)
    for config in wanted:
        if config not in available:
            raise CorpusError(f"{name}: no config {config!r}; there are {', '.join(available)}.")
    return list(dict.fromkeys(wanted))


def _load(
    name: str, config: str, *, cache_dir: str | os.PathLike[str] | None, without: str | None = None
) -> datasets.DatasetDict:
    cache = None if cache_dir is None else os.fspath(cache_dir)
    options = {}
    if without is not None:
        builder = _explained(name, datasets.load_dataset_builder, name, config, cache_dir=cache)
        options["columns"] = [column for column in builder.info.features or () if column != without] or None
    return _explained(name, datasets.load_dataset, name, config, cache_dir=cache, **options)


def _explained(name: str, function, /, *arguments, **options):
    """Call a function of `datasets`; what it cannot read is a CorpusError."""
    try:
        return function(*arguments, **options)
    except CorpusError:
        raise
    except (DatasetGenerationError, ValueError, OSError, huggingface_hub.errors.HfHubHTTPError) as error:
        cause = error.__cause__ or error
        raise CorpusError(f"{name}: cannot be loaded ({str(cause).strip() or type(cause).__name__}).") from error
