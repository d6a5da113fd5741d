"""The folder of an evaluation: whether it may be written to, and how.

Nothing is ever written half: files are made aside and put in place together, and a folder with `metrics.json` is
complete. What is in the files is made in `evaluation`. Own work.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..configuration_nvv import NvvConfig
from ..training.arguments import DataArguments
from ..training.checkpoints import OutputFolderError
from ..training.config_files import RESOLVED_CONFIG_NAME, resolved_config, write_resolved_config
from ..training.plots import CONFUSION_MATRIX_FILE, write_confusion_matrix
from ..training.results import (
    METRICS_FILE,
    PREDICTIONS_FILE,
    ResultsError,
    SplitPredictions,
    read_metrics,
    write_metrics,
    write_predictions,
)
from ..training.steps import public_name
from ..training.task_results import TaskAnswers, write_task_plots, write_task_predictions
from .arguments import EvaluateArguments
from .group_tables import GROUP_FILES
from .label_map import read_label_map
from .model_facts import CONFIG
from .robustness_tables import ROBUSTNESS_FILES

__all__ = [
    "KEPT_PASSES",
    "PROGRAM",
    "check_same_evaluation",
    "differences_to",
    "existing_evaluation",
    "recorded_arguments",
    "write_class_answers",
    "write_evaluation",
    "write_task_results",
]

PROGRAM = "recipes/evaluate.py"

_MAIN_SPLIT = "test"
# What says that an evaluation is of the same thing as another, in `metrics["evaluation"]`.
_IDENTITY = ("model", "label_map", "columns", "max_seconds", "precision")
# What an evaluation is always written anew of, and its reports, which are written where they are asked for.
_RESULTS = ("confusion_matrix*.png", "regression*.png", "predictions*.csv")
_REPORTS = (ROBUSTNESS_FILES, GROUP_FILES)

KEPT_PASSES = ".unfinished_robustness"
"""Folder of the passes that an interrupted `--robustness` has finished."""


def existing_evaluation(output_dir: Path) -> Mapping[str, Any] | None:
    """Look at what a folder holds before anything is computed for it.

    Args:
        output_dir: the folder, which need not exist.

    Returns:
        The metrics of the evaluation in it, or None.

    Raises:
        OutputFolderError: if it holds a model or a training run.
    """
    metrics_file = output_dir / METRICS_FILE
    checkpoints = output_dir.is_dir() and any(output_dir.glob("checkpoint-*"))
    try:
        metrics = read_metrics(metrics_file) if metrics_file.is_file() else None
    except ResultsError:
        metrics = {}
    if checkpoints or (output_dir / CONFIG).is_file() or (metrics is not None and "evaluation" not in metrics):
        # Not even with overwrite_output_dir: a run is worth more than an evaluation.
        raise OutputFolderError(f"output_dir: {output_dir} holds a model or a training run. Choose another folder.")
    return metrics


def differences_to(
    before: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    *,
    corpus: Mapping[str, Any],
    num_clips: Mapping[str, int],
) -> list[str]:
    """Compare an evaluation with the one that a folder holds.

    Args:
        before: the metrics of the evaluation in the folder.
        evaluation: the field `evaluation` of the new one.
        corpus: the fields of `corpus` that identify the new one's.
        num_clips: the number of clips of each split of the new one.

    Returns:
        In what they differ; nothing where both are of the same model, clips and settings.
    """
    old = before["evaluation"]
    differing = [name for name in _IDENTITY if old.get(name) != evaluation.get(name)]
    if any(before["corpus"].get(name) != value for name, value in corpus.items()):
        differing.append("corpus")
    if {split: results["num_clips"] for split, results in before["splits"].items()} != num_clips:
        differing.append("splits")
    return differing


def check_same_evaluation(output_dir: Path, before: Mapping[str, Any], *, differing: Sequence[str]) -> None:
    """Refuse to replace the evaluation of something else.

    Args:
        output_dir: the folder, for the error.
        before: the metrics of the evaluation that it holds.
        differing: what `differences_to` found.

    Raises:
        OutputFolderError: naming what differs.
    """
    old = before["evaluation"]
    if differing:
        raise OutputFolderError(
            f"output_dir: {output_dir} holds the evaluation of {old['model']['id']} on {before['corpus']['name']}, "
            f"{before['corpus']['config']}, which differs in: {', '.join(differing)}. Choose another folder, or "
            "replace it (--overwrite_output_dir true)."
        )


def write_evaluation(
    output_dir: Path,
    *,
    metrics: Mapping[str, Any],
    writers: Sequence[Callable[[Path], Any]],
    keeps_reports: bool,
    arguments: EvaluateArguments,
    data: DataArguments,
) -> None:
    """Write all files aside, then put them in place, `metrics.json` last: where it is, everything is.

    Args:
        output_dir: the folder, made if missing; what an evaluation left in it is replaced.
        metrics: the content of `metrics.json`.
        writers: write answers, pictures and reports into a folder.
        keeps_reports: whether reports that are there already, and not written anew, are of the same model and clips.
        arguments: what the evaluation was told.
        data: which recordings it was told to take.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output_dir, prefix=".incomplete-") as name:
        partial = Path(name)
        for write in writers:
            write(partial)
        write_resolved_config(_public(arguments, data), partial / RESOLVED_CONFIG_NAME, program=PROGRAM)
        write_metrics(partial / METRICS_FILE, metrics)
        (output_dir / METRICS_FILE).unlink(missing_ok=True)
        replaced = [pattern for pattern in _REPORTS if not keeps_reports or any(partial.glob(pattern))]
        for pattern in (*_RESULTS, *replaced):
            for old in output_dir.glob(pattern):
                old.unlink()  # some are of splits or tasks that are no longer evaluated
        for file in sorted(partial.iterdir(), key=lambda file: (file.name == METRICS_FILE, file.name)):
            os.replace(file, output_dir / file.name)
    if arguments.robustness:
        shutil.rmtree(output_dir / KEPT_PASSES, ignore_errors=True)


def write_class_answers(folder: Path, *, metrics: Mapping[str, Any], predictions: Sequence[SplitPredictions]) -> None:
    """Write a classifier's answers, and a confusion matrix of each split.

    Args:
        folder: where.
        metrics: the content of `metrics.json`.
        predictions: the answers.
    """
    write_predictions(folder / PREDICTIONS_FILE, predictions, label_names=metrics["labels"])
    splits = list(metrics["splits"])
    main = _MAIN_SPLIT if _MAIN_SPLIT in splits else splits[0]
    for split in splits:
        plot = CONFUSION_MATRIX_FILE if split == main else f"confusion_matrix_{split}.png"
        write_confusion_matrix(folder / plot, metrics, split=split)


def write_task_results(
    folder: Path, *, metrics: Mapping[str, Any], answers: Sequence[TaskAnswers], config: NvvConfig
) -> None:
    """Write the answers to every task, and a picture of each.

    Args:
        folder: where.
        metrics: the content of `metrics.json`.
        answers: of each split.
        config: the model's, with its tasks.
    """
    write_task_predictions(folder, answers, config=config)
    write_task_plots(folder, metrics, answers)


def recorded_arguments(arguments: EvaluateArguments, data: DataArguments) -> dict[str, Any]:
    """Return what an evaluation was told, without what belongs to one machine.

    Args:
        arguments: the group `evaluation`.
        data: the group `data`.

    Returns:
        Fields by group.
    """
    everything = resolved_config(_public(arguments, data))
    return {
        name: {field.name: everything[field.name] for field in dataclasses.fields(group) if field.name in everything}
        for name, group in (("evaluation", arguments), ("data", data))
    }


def _public(arguments: EvaluateArguments, data: DataArguments) -> tuple[EvaluateArguments, DataArguments]:
    label_map = arguments.label_map
    return (
        dataclasses.replace(
            arguments,
            model=public_name(arguments.model),
            label_map=None if label_map is None else read_label_map(label_map),
            device=None,
        ),
        data,
    )
