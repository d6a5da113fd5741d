"""The results table of a sweep: one row for each run, read from what the runs left in their folders.

Everything is read from files (`plan.json`, `runs/<run_id>/run.json`, `metrics.json`, the repository's `config.json`),
so a table can be made while a sweep still runs, or years later. Scores lie in [0, 1], times are in seconds. Which runs
make one system, and what is compared with what, is left to `systems` and the modules after it. Own work.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ..files import replaced_when_complete
from ..known_backbones_nvv import KNOWN_BACKBONES, known_backbone_config
from ..training.results import METRICS_FILE, ResultsError, read_metrics
from .score_names import predicts

PLAN_FILE = "plan.json"
RUNS_FOLDER = "runs"
RUN_FILE = "run.json"
TABLE_FILES = ("results.parquet", "results.csv")

NOT_RUN = "not run"
"""Status of a run that is planned and has left nothing yet."""

_BASELINE = "baseline"
_SYNTHETIC = "synthetic"
_LAYERLESS_METHODS = ("frozen", "full")


def collect_results(output_dir: str | Path) -> pd.DataFrame:
    """Read the results of a sweep into one table.

    Args:
        output_dir: the sweep's folder.

    Returns:
        A row for each planned run in the plan's order; where there is no plan, for each run. Columns: `run_id`,
        `status` (`done`, `failed` or `not run`), `error`, `seconds`, `recipe`; `corpus`, `split_protocol`, `backbone`
        (of a baseline its features), `family`, `method` (of a baseline its classifier), `layers` (tuned layers as
        text such as `0-2`, or `all`; empty where the method tunes none), `hidden_states` (those in the weighted sum,
        as text), `seed`, `random_init`, `is_synthetic`, `predicts` (`classes`, `numbers` or `several tasks`),
        `num_labels` (classes and targets of all tasks), `trainable_parameters`; and for each scored split
        `<split>_num_clips`, `<split>_num_speakers`, `<split>_<score>`, `<split>_<score>_low` and `_high` (by clip),
        `<split>_<score>_speaker_low` and `_speaker_high` where known, `<split>_<score>_chance` (the better of the two
        ways of guessing, for classes); of several tasks `mean_score` and `<task>_<score>` are scores. Then the other
        values of the plan, lists and mappings as JSON text.

    Raises:
        ResultsError: for a folder without a sweep, or files that cannot be read, naming them.
    """
    folder = Path(output_dir)
    records = [_record(folder, run) for run in _runs(folder)]
    if not records:
        raise ResultsError(
            f"{folder}: expected {PLAN_FILE} or {RUNS_FOLDER}/*/{RUN_FILE}, found neither. Run the sweep first."
        )
    table = pd.DataFrame.from_records(records)
    for name in ("error", "layers", "hidden_states"):
        table[name] = table[name].fillna("")
    return table


def write_results(output_dir: str | Path, table: pd.DataFrame) -> list[Path]:
    """Write the table as `results.parquet` and `results.csv`, whole or not at all.

    Args:
        output_dir: the sweep's folder.
        table: what `collect_results` returned.

    Returns:
        The two files.
    """
    parquet, csv = (Path(output_dir) / name for name in TABLE_FILES)
    with replaced_when_complete(parquet) as temporary:
        table.to_parquet(temporary, index=False)
    with replaced_when_complete(csv) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
    return [parquet, csv]


def layers_as_text(layers: list[int] | None) -> str:
    """Write layer numbers as text: `0-2` for a stretch, commas between stretches, `all` for None.

    Args:
        layers: layer or hidden-state numbers, in any order; None stands for all.

    Returns:
        The text.

    Example:
        >>> layers_as_text([0, 1, 2, 5])
        '0-2,5'
    """
    if layers is None:
        return "all"
    stretches: list[list[int]] = []
    for number in sorted(layers):
        if stretches and number == stretches[-1][1] + 1:
            stretches[-1][1] = number
        else:
            stretches.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in stretches)


def _runs(folder: Path) -> list[dict[str, Any]]:
    """Return what is known of each run: the plan's entry under what the run itself wrote.

    Where there is a plan it decides: what an earlier form of the grid left behind is no part of the sweep.
    """
    has_plan = (folder / PLAN_FILE).is_file()
    plan = _read_json(folder / PLAN_FILE) if has_plan else []
    planned = plan["runs"] if isinstance(plan, dict) else plan
    runs = {run["run_id"]: {"status": NOT_RUN, **run} for run in planned}
    for file in sorted((folder / RUNS_FOLDER).glob(f"*/{RUN_FILE}")):
        written = _read_json(file)
        run_id = written.get("run_id", file.parent.name)
        if has_plan and run_id not in runs:
            continue
        runs[run_id] = {**runs.get(run_id, {}), **written, "run_id": run_id}
    return list(runs.values())


def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ResultsError(f"{file}: not valid JSON ({error}). Run the sweep again to write it anew.") from error


def _record(folder: Path, run: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of one run."""
    values = dict(run.get("values", {}))
    run_folder = folder / RUNS_FOLDER / run["run_id"]
    is_baseline = run.get("recipe") == _BASELINE
    record: dict[str, Any] = {
        "run_id": run["run_id"],
        "status": run["status"],
        "error": run.get("error"),
        "seconds": run.get("seconds"),
        "recipe": run.get("recipe"),
        **_planned_facts(values, is_baseline=is_baseline),
    }
    if run["status"] == "done":
        metrics = read_metrics(run_folder / METRICS_FILE)
        record |= {name: fact for name, fact in _facts(metrics, is_baseline=is_baseline).items() if fact is not None}
        record |= _scores(metrics)
    record["family"] = _family(run_folder, record)
    others = {name: _plain(value) for name, value in values.items() if name not in record}
    return record | others


def _planned_facts(values: Mapping[str, Any], *, is_baseline: bool) -> dict[str, Any]:
    """Return what the plan alone says of a run, by the table's column names."""
    method = values.get("method", values.get("classifier") if is_baseline else None)
    return {
        "corpus": Path(values["corpus"]).name if values.get("corpus") else None,
        "split_protocol": values.get("split_protocol"),
        "backbone": values.get("features") if is_baseline else values.get("backbone"),
        "family": None,
        "method": method,
        "layers": "" if is_baseline else _layers(method, values.get("tuned_layers")),
        "hidden_states": "" if is_baseline else layers_as_text(values.get("summed_layers")),
        "seed": values.get("seed"),
        "random_init": bool(values.get("random_init", False)),
        "is_synthetic": values.get("corpus") == _SYNTHETIC,
        "predicts": None,
        "num_labels": None,
        "trainable_parameters": None,
    }


def _facts(metrics: Mapping[str, Any], *, is_baseline: bool) -> dict[str, Any]:
    """Return what a finished run says of itself, which goes before what was planned."""
    tuning = metrics["tuning"]
    return {
        "corpus": metrics["corpus"]["name"],
        "split_protocol": metrics["corpus"]["config"],
        "backbone": metrics["backbone"]["id"],
        "method": tuning["method"],
        "layers": "" if is_baseline else _layers(tuning["method"], tuning["layers"]),
        "seed": metrics["training"]["seed"],
        "random_init": bool(metrics["backbone"]["random_init"]),
        "is_synthetic": bool(metrics["corpus"].get("is_synthetic", False)),
        "predicts": predicts(metrics),
        "num_labels": sum(len(task["outputs"]) for task in metrics.get("tasks") or [{"outputs": metrics["labels"]}]),
        "trainable_parameters": tuning["trainable_parameters"],
    }


def _layers(method: str | None, layers: list[int] | None) -> str:
    return "" if method in _LAYERLESS_METHODS or method is None else layers_as_text(layers)


def _scores(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scores, intervals and chance levels of every split."""
    record: dict[str, Any] = {}
    for split, result in metrics["splits"].items():
        record[f"{split}_num_clips"] = result["num_clips"]
        record[f"{split}_num_speakers"] = result["num_speakers"]
        for score, numbers in result["scores"].items():
            record[f"{split}_{score}"] = numbers["value"]
            for end in ("low", "high", "speaker_low", "speaker_high"):
                if numbers.get(end) is not None:
                    record[f"{split}_{score}_{end}"] = numbers[end]
            guesses = [level[score] for level in result.get("chance", {}).values() if score in level]
            if guesses:
                record[f"{split}_{score}_chance"] = max(guesses)
    return record


def _family(run_folder: Path, record: Mapping[str, Any]) -> str:
    """Return the family of the run's backbone, such as `whisper`; `baseline`, or `unknown`."""
    if record["recipe"] == _BASELINE:
        return _BASELINE
    config_file = run_folder / "config.json"
    if record["status"] == "done" and config_file.is_file():
        backbone_config = _read_json(config_file).get("backbone_config") or {}
        if backbone_config.get("model_type"):
            return backbone_config["model_type"]
    if record["backbone"] in KNOWN_BACKBONES:
        return known_backbone_config(record["backbone"]).model_type
    return "unknown"


def _plain(value: Any) -> Any:
    """Turn lists and mappings into JSON text, so that a column holds one kind of value."""
    return json.dumps(value) if isinstance(value, (list, dict)) else value
