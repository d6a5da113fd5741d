"""Opening what is to be audited: a prepared folder, anything that ``load_dataset`` reads, or a table of paths.

Reading the clips is the job of the neighbour ``clips``. Own work.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import datasets
import huggingface_hub
import yaml
from datasets.exceptions import DatasetGenerationError

from ..loading import list_corpora
from ..own_data import load_own_data
from ..rawfiles import CorpusError
from .audit import AuditReport, audit_configs
from .clips import Columns

__all__ = ["ALL_CONFIGS", "audit"]

ALL_CONFIGS = "all"
"""Stands for every config of a dataset."""


def audit(
    source: str | os.PathLike[str],
    *,
    configs: Sequence[str] = (),
    columns: Columns | None = None,
    num_workers: int | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    show_progress: bool = False,
) -> AuditReport:
    """Audit a dataset by name.

    Args:
        source: A folder that ``nvv prepare`` wrote; any folder or Hub id that ``load_dataset`` reads; or a CSV, TSV or
            JSON lines file of paths, as ``load_own_data`` takes it.
        configs: Which configs; none: the default one; ``"all"``: each.
        columns: What the columns are called.
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
    if path.is_file():
        if configs:
            raise CorpusError(f"{path}: is a file, which has no configs; leave out {', '.join(configs)}.")
        opened: Iterator = iter([("given", _own_data(path, columns, cache_dir))])
        columns = Columns()  # load_own_data has given them our names
        by_file = True
    else:
        name = str(path) if path.is_dir() else str(source)
        if not path.is_dir() and (str(source) in list_corpora() or path.is_absolute()):
            raise CorpusError(
                f"{source}: no such folder. Give what nvv prepare wrote, such as nvv/{path.name}, or a dataset's Hub id."
            )
        by_file = path.is_dir() and _is_prepared(path)
        opened = _open_configs(name, configs, columns=columns, cache_dir=cache_dir, by_file=by_file)
    return audit_configs(
        opened,
        name=str(source),
        columns=columns,
        num_workers=num_workers,
        show_progress=show_progress,
        files_identify_clips=by_file,
    )


def _own_data(path: Path, columns: Columns, cache_dir: str | os.PathLike[str] | None) -> datasets.DatasetDict:
    return load_own_data(
        path,
        audio_column=columns.audio,
        label_column=columns.label or "label",
        speaker_column=columns.speaker,
        file_column=columns.file,
        cache_dir=cache_dir,
    )


def _open_configs(
    name: str,
    wanted: Sequence[str],
    *,
    columns: Columns,
    cache_dir: str | os.PathLike[str] | None,
    by_file: bool,
) -> Iterator[tuple[str, datasets.DatasetDict]]:
    """Yield configs; in a prepared folder, those after the first without audio if the first has all clips."""
    seen: set[str] = set()
    for config in _config_names(name, wanted):
        if by_file and seen:
            small = _load(name, config, cache_dir=cache_dir, without=columns.audio)
            if seen.issuperset(file for split in small.values() for file in split["file"][:]):
                yield config, small
                continue
        loaded = _load(name, config, cache_dir=cache_dir)
        if by_file:
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
        options["columns"] = [column for column in builder.info.features if column != without]
    return _explained(name, datasets.load_dataset, name, config, cache_dir=cache, **options)


def _explained(name: str, function, /, *arguments, **options):
    """Call a function of `datasets`; what it cannot read is a CorpusError."""
    try:
        return function(*arguments, **options)
    except (DatasetGenerationError, ValueError, OSError, huggingface_hub.errors.HfHubHTTPError) as error:
        cause = error.__cause__ or error
        raise CorpusError(f"{name}: cannot be loaded ({str(cause).strip() or type(cause).__name__}).") from error


def _is_prepared(folder: Path) -> bool:
    """Whether ``nvv prepare`` wrote the folder: then a file name means one clip."""
    try:
        header = huggingface_hub.metadata_load(folder / "README.md") or {}
    except (OSError, ValueError, yaml.YAMLError):
        return False
    return "nvv" in (header.get("tags") or [])
