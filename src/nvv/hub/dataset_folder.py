"""Reading a dataset repository's folder before it is handed on: is it whole, and whose recordings does it hold?

Whose they are is decided by the columns of the Parquet files, not by the card alone: a card is easily edited. What may
be done with the corpus is ``nvv.hub.push_dataset``'s. Own work.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from huggingface_hub import DatasetCard

from ..data import CorpusError, corpus_builder, list_corpora
from ..data.prepared import CARD, EXCLUDED_LIST, SKIPPED_LIST

__all__ = ["DatasetFolder", "read_dataset_folder"]

_Columns = list[tuple[str, object]]
_TEXT_FILES = (CARD, "LICENSE", "LICENSE.md", "LICENSE.txt", SKIPPED_LIST, EXCLUDED_LIST)


@dataclass(frozen=True, kw_only=True)
class DatasetFolder:
    """A dataset repository's folder as read.

    Attributes:
        path: The folder.
        header: YAML header of its card.
        text: The card below the header.
        sizes: Path of each file that belongs to it, relative and with forward slashes, to bytes.
        corpus: Corpus of ``nvv.data.list_corpora`` that it holds; None for any other dataset.
    """

    path: Path
    header: Mapping[str, Any]
    text: str
    sizes: Mapping[str, int]
    corpus: str | None


def read_dataset_folder(path: Path) -> DatasetFolder:
    """Read a folder that ``nvv prepare`` wrote, or another of the same form: README.md and Parquet files.

    Hidden files are left aside. Checked are the card's header, that every file belongs to such a folder, that each
    pattern of a config finds files, that these can be read and hold as many rows as the header says, and that the
    corpus that the header names (``nvv_corpus``) is the one whose columns the files have.

    Args:
        path: The folder.

    Raises:
        CorpusError: If anything of that fails; the message names the file or field and what to do.
    """
    if not path.is_dir():
        raise CorpusError(f"{path}: no such folder; name one that nvv prepare wrote.")
    header, text = _read_card(path)
    sizes = _list_files(path)
    footers = {file: _read_footer(path / file) for file in sizes if file.endswith(".parquet")}
    if not footers:
        raise CorpusError(f"{path}: holds no Parquet files; write the folder with nvv prepare.")
    _check_configs(path, header, {file: num_rows for file, (num_rows, _) in footers.items()})
    corpus = header.get("nvv_corpus")
    _check_corpus(path, corpus, {file: _columns(features) for file, (_, features) in footers.items()})
    return DatasetFolder(path=path, header=header, text=text, sizes=sizes, corpus=corpus)


def _read_card(path: Path) -> tuple[dict[str, Any], str]:
    readme = path / "README.md"
    if not readme.is_file():
        raise CorpusError(f"{readme}: no such file; a dataset needs a card. Write the folder with nvv prepare.")
    try:
        card = DatasetCard.load(readme)
    except (ValueError, yaml.YAMLError) as error:  # ValueError: not text, or a header that is no mapping
        raise CorpusError(f"{readme}: its header cannot be read ({' '.join(str(error).split())}).") from error
    return card.data.to_dict(), card.text


def _list_files(path: Path) -> dict[str, int]:
    sizes = {}
    for file in sorted(path.rglob("*")):
        relative = file.relative_to(path)
        if file.is_dir() or any(part.startswith(".") for part in relative.parts):
            continue
        if relative.suffix != ".parquet" and relative.as_posix() not in _TEXT_FILES:
            raise CorpusError(
                f"{file}: is no part of a dataset repository ({', '.join(_TEXT_FILES)} and Parquet files are); move it "
                "out of the folder."
            )
        sizes[relative.as_posix()] = file.stat().st_size
    return sizes


def _read_footer(file: Path) -> tuple[int, datasets.Features]:
    """Return number of rows and columns of a Parquet file."""
    try:
        with pq.ParquetFile(file) as parquet:
            return parquet.metadata.num_rows, datasets.Features.from_arrow_schema(parquet.schema_arrow)
    except (pa.ArrowException, OSError) as error:
        raise CorpusError(
            f"{file}: is no complete Parquet file ({' '.join(str(error).split())}); write the folder again with "
            "nvv prepare."
        ) from error


def _check_configs(path: Path, header: Mapping[str, Any], rows: Mapping[str, int]) -> None:
    expected = _expected_rows(header)
    for config, split, patterns in _patterns(path, header):
        found: set[str] = set()
        for pattern in patterns:
            matched = {file.relative_to(path).as_posix() for file in path.glob(pattern)} & rows.keys()
            if not matched:
                raise CorpusError(
                    f"{path / 'README.md'}: config {config!r} names {pattern!r}, but there is no such file; write the "
                    "folder again with nvv prepare."
                )
            found |= matched
        number = sum(rows[file] for file in found)
        if expected.get((config, split), number) != number:
            raise CorpusError(
                f"{path / 'README.md'}: split {split!r} of config {config!r} should have {expected[config, split]} "
                f"rows, but its files hold {number}: the folder is not as nvv prepare wrote it. Write it again."
            )


def _patterns(path: Path, header: Mapping[str, Any]) -> Iterator[tuple[str, str, list[str]]]:
    """Give config, split and patterns of everything that the header's ``configs`` name."""
    for config in header.get("configs") or []:
        try:
            name, data_files = config["config_name"], config["data_files"]
            if isinstance(data_files, str) or not isinstance(data_files[0], dict):
                data_files = [{"split": "train", "path": data_files}]
            for entry in data_files:
                patterns = entry["path"]
                yield name, entry["split"], [patterns] if isinstance(patterns, str) else list(patterns)
        except (KeyError, TypeError, IndexError) as error:
            raise CorpusError(
                f"{path / 'README.md'}: {config!r} under configs: needs config_name and data_files with split and path."
            ) from error


def _expected_rows(header: Mapping[str, Any]) -> dict[tuple[str, str], int]:
    """Return config and split to the number of rows that the header's ``dataset_info`` states."""
    infos = header.get("dataset_info") or []
    return {
        (info.get("config_name", "default"), split["name"]): split["num_examples"]
        for info in ([infos] if isinstance(infos, dict) else infos)
        for split in info.get("splits") or []
    }


def _check_corpus(path: Path, named: str | None, columns_of: Mapping[str, _Columns]) -> None:
    """Require that every file has the columns of the corpus that the header names; of none where it is silent."""
    with tempfile.TemporaryDirectory() as cache_dir:  # a builder keeps lock files in its cache
        known = {name: _columns(corpus_builder(name)(cache_dir=cache_dir).table_features()) for name in list_corpora()}
    for file, columns in columns_of.items():
        found = next((name for name, expected in known.items() if expected == columns), None)
        if found != named:
            says = "names no corpus (nvv_corpus)" if named is None else f"says that the corpus is {named!r}"
            holds = "those of none that this version of nvv has" if found is None else f"those of {found!r}"
            raise CorpusError(
                f"{path / 'README.md'}: {says}, but the columns of {file} are {holds}; write the folder again with "
                "nvv prepare."
            )


def _columns(features: datasets.Features) -> _Columns:
    """Describe columns, labels included, but not how audio is decoded, which differs between versions of `datasets`."""
    return [(name, None if isinstance(kind, datasets.Audio) else kind) for name, kind in features.items()]
