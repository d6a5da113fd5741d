"""Reads a sweep's grid from YAML: which fields take which values, in blocks that are products over lists.

    name: example
    description: What the grid is for.
    files: [recipes/links_published.yaml]       # option files, laid under everything else
    data_dirs: {vivae: PATH_TO/vivae}
    common: {corpus: vivae, num_train_epochs: 50}
    blocks:
    - {backbone: [openai/whisper-tiny, openai/whisper-base], method: [frozen, lora], seed: [1, 2]}
    - {recipe: baseline, features: mfcc, classifier: [logistic_regression, linear_svm]}
    report: {…}

What is inside overrides what is outside: files, common, the block's own files, the block. A field whose value is itself
a list takes a list of lists (`tuned_layers: [[0, 1], [2, 3]]`). `files` are looked up in the grid's folder, then in
each folder above it. What the fields mean is left to the dataclasses of the recipes, which runs come out to `plan`, and
`report` to the report. Own work.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..training.arguments import ArgumentsError
from .recipe_groups import RECIPES, all_fields, takes_a_list
from .settings import ReportError, ReportSettings

_GRID_KEYS = ("name", "description", "files", "data_dirs", "common", "blocks", "report")
_BLOCK_KEYS = ("recipe", "files")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")

# Fields that are the sweep's own business, and what to do instead.
_NOT_IN_GRIDS = {
    "output_dir": "every run has its folder in the sweep's",
    "logging_dir": "every run has its folder in the sweep's",
    "resume_from_checkpoint": "a sweep resumes by itself",
    "overwrite_output_dir": "a finished run is kept; delete its folder to have it again",
    **dict.fromkeys(
        ("push_to_hub", "hub_model_id", "hub_private_repo", "hub_revision", "hub_token"),
        "the report is uploaded by the option --push_to_hub after the grid, a run that you chose by nvv push RUN_FOLDER"
        " OWNER/NAME",
    ),
    "data_dir": "say data_dirs: {corpus: folder}, or --data_dirs corpus=folder",
}


class GridError(ArgumentsError):
    """A grid that cannot be read or planned."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """Values that lie over those of the layers before it.

    Args:
        name: what errors call it: `common`, `block 2`, or a file.
        values: value by field, as YAML gave them.
    """

    name: str
    values: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Block:
    """One block of a grid.

    Args:
        number: its place in the grid, from 1.
        recipe: one of `RECIPES`, or None to choose for each run.
        layers: its option files.
        values: value, or list of values, by field.
    """

    number: int
    recipe: str | None
    layers: tuple[Layer, ...]
    values: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What errors call the block."""
        return f"block {self.number}"

    def products(self) -> Iterator[dict[str, Any]]:
        """Yield the block's own values of each of its runs; the last field changes fastest."""
        choices = [value if is_choice(name, value) else [value] for name, value in self.values.items()]
        for combination in itertools.product(*choices):
            yield dict(zip(self.values, combination, strict=True))


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A grid as it was read; the values in it are not yet checked.

    Args:
        file: where it was read from.
        name: a word that names the sweep.
        description: what it is for.
        layers: option files and common values.
        blocks: at least one.
        data_dirs: folder of raw recordings by corpus.
        content: all of the file but `data_dirs`, which are one machine's.
    """

    file: Path
    name: str
    description: str
    layers: tuple[Layer, ...]
    blocks: tuple[Block, ...]
    data_dirs: Mapping[str, str] = field(default_factory=dict)
    content: Mapping[str, Any] = field(default_factory=dict)


def is_choice(name: str, value: Any) -> bool:
    """Say whether a block's value of a field is a list to choose from, and not one value.

    Args:
        name: the field.
        value: what stands in the block.
    """
    if not isinstance(value, list):
        return False
    # A field that takes a list: [0, 1] is one value, [[0], [1]] and [[0], null] are two.
    return not takes_a_list(name) or any(isinstance(element, list) for element in value)


def read_grid(file: Path) -> Grid:
    """Read a grid.

    Args:
        file: a YAML file.

    Returns:
        The grid; `plan.expand_grid` checks the values and makes the runs.

    Raises:
        GridError: for a file that is no grid, an unknown key or field (with the nearest one), or an empty list.
        FileNotFoundError: for a grid or option file that is not there.
    """
    content = _read_mapping(file)
    _check_keys(content, allowed=_GRID_KEYS, place=str(file))
    name = content.get("name", file.stem)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise GridError(f"{file}: name: expected one word of letters, digits, '_', '.' and '-', found {name!r}.")
    blocks = content.get("blocks")
    if not isinstance(blocks, list) or not blocks:
        raise GridError(f"{file}: blocks: expected a list of blocks of `field: value` lines, found {blocks!r}.")
    try:
        ReportSettings.from_mapping(content.get("report"))  # now, and not after the last run
    except ReportError as error:
        raise GridError(f"{file}: {error}") from error
    common = Layer(name="common", values=_mapping(content.get("common"), place=f"{file}: common"))
    _check_fields(common.values, place=f"{file}: common")
    return Grid(
        file=file,
        name=name,
        description=str(content.get("description") or ""),
        layers=(*_option_files(content.get("files"), grid=file, place=str(file)), common),
        blocks=tuple(_block(block, number=number, grid=file) for number, block in enumerate(blocks, start=1)),
        data_dirs={
            str(corpus): str(folder)
            for corpus, folder in _mapping(content.get("data_dirs"), place=f"{file}: data_dirs").items()
        },
        content={"name": name, **{key: value for key, value in content.items() if key not in ("name", "data_dirs")}},
    )


def _block(content: Any, *, number: int, grid: Path) -> Block:
    """Read one block."""
    place = f"{grid}: block {number}"
    content = _mapping(content, place=place)
    recipe = content.get("recipe")
    if recipe is not None and recipe not in RECIPES:
        raise GridError(f"{place}: recipe: expected one of {', '.join(RECIPES)}; found {recipe!r}.")
    values = {name: value for name, value in content.items() if name not in _BLOCK_KEYS}
    _check_fields(values, place=place, others=_BLOCK_KEYS)
    for name, value in values.items():
        if value == []:
            raise GridError(f"{place}: {name}: expected a value or a list of values, found an empty list.")
    return Block(
        number=number,
        recipe=recipe,
        layers=tuple(_option_files(content.get("files"), grid=grid, place=place)),
        values=values,
    )


def _option_files(files: Any, *, grid: Path, place: str) -> Iterator[Layer]:
    """Read the option files that a grid or block names."""
    if files is None:
        return
    if not isinstance(files, list):
        raise GridError(f"{place}: files: expected a list of YAML files, found {files!r}.")
    for name in files:
        folders = grid.absolute().parents
        found = next((folder / str(name) for folder in folders if (folder / str(name)).is_file()), None)
        if found is None:
            raise FileNotFoundError(f"{place}: files: {name} is neither in {grid.parent} nor in a folder above it.")
        values = _read_mapping(found)
        _check_fields(values, place=str(name))
        yield Layer(name=str(name), values=values)


def _read_mapping(file: Path) -> dict[str, Any]:
    """Read a YAML file of `key: value` lines."""
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such YAML file.")
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise GridError(f"{file}: not readable as YAML: {error}") from error
    return _mapping(content, place=str(file))


def _mapping(content: Any, *, place: str) -> dict[str, Any]:
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise GridError(f"{place}: expected `key: value` lines, found {type(content).__name__}.")
    return {str(key): value for key, value in content.items()}


def _check_fields(values: Mapping[str, Any], *, place: str, others: Collection[str] = ()) -> None:
    """Raise for a name that is no field of any recipe, or one that grids leave to the sweep."""
    _check_keys(values, allowed=all_fields() | set(others), place=place)
    for name, instead in _NOT_IN_GRIDS.items():
        if name in values:
            raise GridError(f"{place}: {name}: not in a grid; {instead}.")


def _check_keys(content: Mapping[str, Any], *, allowed: Collection[str], place: str) -> None:
    """Raise for a key that is not allowed, naming the nearest one."""
    for key in content:
        if key not in allowed:
            nearest = difflib.get_close_matches(key, allowed, n=1, cutoff=0.5)
            hint = f" Did you mean {nearest[0]!r}?" if nearest else f" There are {', '.join(sorted(allowed)[:12])}."
            raise GridError(f"{place}: there is no {key!r} here.{hint}")
