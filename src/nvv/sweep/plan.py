"""From a grid to the runs in it: checked, named by what they are, and grouped by the features that they share.

Every run is checked by the dataclasses of its recipe, by the rules of `nvv.training.config_files`, before any run
starts. A run is what its values are: the fields that always tell runs apart, and every other field that differs from
its default. Where things are on this machine, and how many threads a run may take, is kept apart and changes no run's
name. Reading a grid is left to `grid`, running to `work`. Own work.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from transformers.utils import logging

from ..baselines.arguments import GUESSING, BaselineArguments
from ..files import write_text
from ..training.arguments import ArgumentsError
from ..training.config_files import RunArguments, parse_groups, resolved_config
from ..training.probe_arguments import check_probe
from ..training.steps import public_name
from ..training.tuning import OPTION_METHODS
from .arguments import SweepArguments, key_values
from .checks import check_layers, check_protocol
from .grid import Block, Grid, GridError, Layer
from .recipe_groups import SINGULAR, default_recipe, fields_of, groups_of
from .table import PLAN_FILE, RUNS_FOLDER, layers_as_text

GRID_FILE = "grid.yaml"
NO_FEATURES = "none"

# Always among a run's values, also where they are the defaults: what tables are made of.
_TELLING = {
    "model": ("backbone", "random_init", "num_backbone_layers", "summed_layers"),
    "data": ("corpus", "split_protocol"),
    "tuning": ("method", "tuned_layers"),
    "baseline": ("features", "classifier"),
}
_ALWAYS = {"seed", *(name for names in _TELLING.values() for name in names)}

# They change how fast a run is and what it says meanwhile, not what comes out: no part of its name.
_SPEED_ONLY = {
    "cpu_threads",
    "decoded_audio_mebibytes",
    "max_batch_seconds",
    "num_workers",
    "per_device_eval_batch_size",
    "report_to",
    "run_name",
    "save_total_limit",
}
_SPEED_ONLY_PREFIXES = ("dataloader_", "hub_", "logging_", "torch_compile")

# What the pooled features of a frozen backbone depend on; split protocols of a corpus share them.
_FEATURE_FIELDS = (
    *("backbone", "backbone_revision", "random_init", "num_backbone_layers", "pooling", "max_seconds"),
    *("padding", "padding_seconds", "pool_padding", "bf16", "corpus", "corpus_config", "corpus_revision"),
)


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """One run of a sweep.

    Args:
        run_id: readable words and a digest of the values; the name of the run's folder.
        recipe: `probe`, `train` or `baseline`.
        values: what the run is.
        place: fields that say where things are on this machine, laid over the values when it runs.
    """

    run_id: str
    recipe: str
    values: Mapping[str, Any]
    place: Mapping[str, Any]

    def record(self) -> dict[str, Any]:
        """Return what the plan and the run's own file say of it."""
        return {"run_id": self.run_id, "recipe": self.recipe, "values": dict(self.values)}


@dataclass(frozen=True, kw_only=True)
class Task:
    """Runs that one worker takes together: those that read the same features, or a single heavier run.

    Args:
        name: a digest.
        runs: at least one, in the grid's order.
    """

    name: str
    runs: tuple[PlannedRun, ...]


def expand_grid(grid: Grid, arguments: SweepArguments | None = None) -> list[PlannedRun]:
    """Make and check every run of a grid.

    Args:
        grid: the grid.
        arguments: folders, threads and the choice of corpora; None: none of them.

    Returns:
        The runs, in the grid's order.

    Raises:
        GridError: for a value or combination that a recipe refuses, a layer or protocol that backbone or corpus do not
            have, a field that none of its runs takes, or two runs with equal values; naming block and field.

    Example:
        >>> [run.run_id for run in expand_grid(read_grid(Path("recipes/grids/smoke.yaml")))]  # doctest: +SKIP
        ['synthetic-stratified-whisper-tiny-frozen-h0-seed42-1c1e1f0b9a', ...]
    """
    folders = _folders(grid, arguments)
    planned: list[tuple[Block, PlannedRun]] = []
    with _quietly():
        for block in grid.blocks:
            for own in block.products():
                planned.append((block, _plan_run(grid, block, own, folders=folders, arguments=arguments)))
    _check_used(grid, planned)
    _check_different(grid, planned)
    corpora = {run.values["corpus"] for _, run in planned}
    _check_named(folders, corpora, field="data_dirs")
    chosen = None if arguments is None else arguments.corpora
    _check_named(chosen or (), corpora, field="corpora")
    return [run for _, run in planned if chosen is None or run.values["corpus"] in chosen]


def arguments_of(run: PlannedRun, *, options: Sequence[str] = ()) -> tuple[Any, ...]:
    """Make the checked groups of arguments that a run's recipe takes.

    Args:
        run: the run.
        options: command-line options over its values, such as its folder.

    Returns:
        One instance of each of `groups_of(run.recipe)`.

    Raises:
        ArgumentsError: for options that do not go with the values.
    """
    values = _plural({**run.values, **run.place}, recipe=run.recipe)
    return _parse([Layer(name=run.run_id, values=values)], recipe=run.recipe, options=options)


def group_runs(runs: Sequence[PlannedRun]) -> list[Task]:
    """Group runs for the workers.

    Args:
        runs: the runs.

    Returns:
        Probes that read the same features in one task; every other run in its own. In the order of their first runs.
    """
    grouped: dict[str, list[PlannedRun]] = {}
    for run in runs:
        grouped.setdefault(_task_name(run), []).append(run)
    return [Task(name=name, runs=tuple(members)) for name, members in grouped.items()]


def write_plan(sweep_dir: Path, grid: Grid, runs: Sequence[PlannedRun]) -> None:
    """Write `grid.yaml` and `plan.json`, which say what belongs to the sweep from now on.

    Args:
        sweep_dir: the sweep's folder.
        grid: the grid.
        runs: its runs.
    """
    (sweep_dir / RUNS_FOLDER).mkdir(parents=True, exist_ok=True)
    content = yaml.safe_dump(dict(grid.content), sort_keys=False, allow_unicode=True)
    write_text(sweep_dir / GRID_FILE, f"# The grid of this sweep, as it was read.\n{content}")
    plan = {"name": grid.name, "description": grid.description, "runs": [run.record() for run in runs]}
    write_text(sweep_dir / PLAN_FILE, json.dumps(plan, indent=2, ensure_ascii=False) + "\n")


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep back warnings on options that do not belong to a run's method: in a grid, that is how they are meant."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


def _folders(grid: Grid, arguments: SweepArguments | None) -> dict[str, str]:
    """Return the folder of each corpus; the command line goes before the grid."""
    given = () if arguments is None else arguments.data_dirs or ()
    return {**grid.data_dirs, **key_values(given, field="data_dirs", example="vivae=PATH_TO/vivae")}


def _plan_run(
    grid: Grid, block: Block, own: Mapping[str, Any], *, folders: Mapping[str, str], arguments: SweepArguments | None
) -> PlannedRun:
    """Check one run and name it."""
    layers = [*grid.layers, *block.layers, Layer(name=block.name, values=own)]
    merged = {name: value for layer in layers for name, value in layer.values.items()}
    recipe = block.recipe or default_recipe(merged)
    try:
        groups = _parse([_for_recipe(layer, recipe=recipe) for layer in layers], recipe=recipe)
        values, here = _values(groups, recipe=recipe)
        if recipe == "probe":
            check_probe(RunArguments(*groups[:-1]), groups[-1])
        if recipe != "baseline":
            check_layers(groups[0], groups[2])
        check_protocol(values)
    except ArgumentsError as error:
        chosen = ", ".join(f"{name}: {value}" for name, value in own.items())
        raise GridError(f"{grid.file}: {block.name} ({chosen}): {error}") from error
    place = here | _place(recipe, values, folder=folders.get(values["corpus"]), arguments=arguments)
    return PlannedRun(run_id=_run_id(recipe, values), recipe=recipe, values=values, place=place)


def _for_recipe(layer: Layer, *, recipe: str) -> Layer:
    """Leave out of a layer what other recipes take."""
    values = {name: value for name, value in layer.values.items() if name in fields_of(recipe)}
    return Layer(name=layer.name, values=_plural(values, recipe=recipe))


def _plural(values: Mapping[str, Any], *, recipe: str) -> dict[str, Any]:
    """Turn a baseline's one value into the list that its arguments take."""
    if recipe != "baseline":
        return dict(values)
    single = {name: value for name, value in values.items() if name in SINGULAR}
    lists = {SINGULAR[name]: None if value in (None, NO_FEATURES) else [value] for name, value in single.items()}
    return {name: value for name, value in values.items() if name not in SINGULAR} | lists


def _parse(layers: Sequence[Layer], *, recipe: str, options: Sequence[str] = ()) -> tuple[Any, ...]:
    """Read layers of values as the recipe reads its YAML files."""
    options = options or ("--output_dir", "unused")
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for number, layer in enumerate(layers):
            file = Path(folder) / str(number)
            file.write_text(yaml.safe_dump(dict(layer.values)), encoding="utf-8")
            files[str(file)] = layer.name
        try:
            return parse_groups(
                [*files, *options],
                groups_of(recipe),
                program=f"recipes/{recipe}.py",
                defaults={"method": "frozen"} if recipe == "probe" else None,
            )
        except ArgumentsError as error:
            message = str(error)
            for file, name in files.items():
                message = message.replace(file, name)
            raise ArgumentsError(message) from error


@cache
def _defaults(recipe: str) -> dict[str, Any]:
    """Return a recipe's values where nothing is given."""
    return resolved_config(_parse([], recipe=recipe))


def _values(groups: Sequence[Any], *, recipe: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a run is, and what of it has a path of this machine in place of its public name."""
    resolved, defaults = resolved_config(groups), _defaults(recipe)
    values = {
        name: value
        for name, value in resolved.items()
        if name in _ALWAYS or name not in defaults or value != defaults[name]
    }
    if recipe == "baseline":
        values = {name: value for name, value in values.items() if name not in SINGULAR.values()}
        values |= _baseline_pair(groups[-1])
    given = {name: value for group in groups for name, value in vars(group).items() if name in ("corpus", "backbone")}
    if "backbone" in values:
        values["backbone"] = public_name(values["backbone"])
    return values, {name: value for name, value in given.items() if value != values[name]}


def _baseline_pair(baseline: BaselineArguments) -> dict[str, str]:
    """Return the features and the classifier of a baseline run; `none` for one that only guesses."""
    pairs = baseline.pairs
    if len(pairs) != 1 or (baseline.features is not None and pairs[0][0] is None):
        found = ", ".join(f"{features or NO_FEATURES} with {classifier}" for features, classifier in pairs)
        raise ArgumentsError(
            f"features, classifier: expected one of each for a baseline run, or features {NO_FEATURES} with "
            f"{' or '.join(GUESSING)}; found features {baseline.features} for {found}."
        )
    features, classifier = pairs[0]
    return {"features": features or NO_FEATURES, "classifier": classifier}


def _place(
    recipe: str, values: Mapping[str, Any], *, folder: str | None, arguments: SweepArguments | None
) -> dict[str, Any]:
    """Return where a run finds things on this machine, and what it may take of it."""
    place: dict[str, Any] = {} if folder is None else {"data_dir": folder}
    if recipe != "baseline":
        place["disable_tqdm"] = True
    if arguments is None:
        return place
    if arguments.data_cache_dir is not None:
        place["data_cache_dir"] = arguments.data_cache_dir
    if arguments.features_cache_dir is not None and "features_cache_dir" in fields_of(recipe):
        features = Path(arguments.features_cache_dir)
        place["features_cache_dir"] = str(features / "baselines" if recipe == "baseline" else features)
    if arguments.cpu_threads is not None and "cpu_threads" in fields_of(recipe) - set(values):
        place["cpu_threads"] = arguments.cpu_threads
    return place


def _run_id(recipe: str, values: Mapping[str, Any]) -> str:
    """Name a run: words for people, and a digest of all that it is."""
    words = [Path(values["corpus"]).name, values["split_protocol"] or "default"]
    if recipe == "baseline":
        words += [values["features"], values["classifier"]]
    else:
        words += [Path(values["backbone"]).name, values["method"]]
        for name, letter in (("tuned_layers", "t"), ("summed_layers", "h")):
            if values[name] is not None:
                words.append(letter + layers_as_text(values[name]))
    words.append(f"seed{values['seed']}")
    readable = re.sub(r"[^A-Za-z0-9_.-]+", "_", "-".join(words))[:120]
    return f"{readable}-{_digest({'recipe': recipe, **values})}"


def _digest(values: Mapping[str, Any]) -> str:
    """Digest of all values that change what comes out."""
    telling = {
        name: value
        for name, value in values.items()
        if name not in _SPEED_ONLY and not name.startswith(_SPEED_ONLY_PREFIXES)
    }
    text = json.dumps(telling, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:10]


def _task_name(run: PlannedRun) -> str:
    """Name what a run shares with others: its features, or itself."""
    if run.recipe != "probe":
        return run.run_id.rpartition("-")[2]
    features = {name: run.values.get(name) for name in _FEATURE_FIELDS}
    if run.values["random_init"]:
        features["seed"] = run.values["seed"]  # it draws the backbone
    return _digest(features)


def _check_used(grid: Grid, planned: Sequence[tuple[Block, PlannedRun]]) -> None:
    """Raise for a field that no run takes: it would do nothing."""
    common = [(grid.layers[-1].name, name, planned) for name in grid.layers[-1].values]
    own = [
        (block.name, name, [pair for pair in planned if pair[0] is block])
        for block in grid.blocks
        for name in block.values
    ]
    for place, name, pairs in (*common, *own):
        methods = OPTION_METHODS.get(name)
        if not any(
            name in fields_of(run.recipe) and (methods is None or run.values["method"] in methods) for _, run in pairs
        ):
            recipes = ", ".join(sorted({run.recipe for _, run in pairs}))
            raise GridError(f"{grid.file}: {place}: {name}: has no effect; none of its runs ({recipes}) takes it.")


def _check_different(grid: Grid, planned: Sequence[tuple[Block, PlannedRun]]) -> None:
    """Raise for two runs with equal values."""
    seen: dict[str, Block] = {}
    for block, run in planned:
        if run.run_id in seen:
            first = seen[run.run_id]
            where = f"{block.name} has twice" if first is block else f"{first.name} and {block.name} both have"
            raise GridError(
                f"{grid.file}: {where} the run {run.run_id}: their values are equal. Name it once; a difference that "
                "changes no result (threads, batches of the evaluation) makes no second run."
            )
        seen[run.run_id] = block


def _check_named(names: Any, corpora: set[str], *, field: str) -> None:
    """Raise for a corpus that the grid does not have."""
    for name in names:
        if name not in corpora:
            raise GridError(f"{field}: the grid has no corpus {name!r}; it has {', '.join(sorted(corpora))}.")
