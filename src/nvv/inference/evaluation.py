"""A model on a corpus: clips, answers, scores, and the folder that holds them.

The folder holds what a training run's holds of results (`metrics.json`, `predictions.csv`, `confusion_matrix.png` or
`regression.png`), so that both are read and compared by the same code. `metrics.json` has one field more, `evaluation`:
which model, how its labels were mapped, which clips were left out, and what the model had heard before. Models come
from the neighbour `load`, logits from `classify`, what answers are held against from `answer_keys`, reports on
robustness and groups from `evaluation_reports`. Own work.
"""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import torch
from transformers.utils import logging

from ..data import list_corpora
from ..training.arguments import ArgumentsError, DataArguments
from ..training.corpus import RunCorpus, load_run_corpus
from ..training.dataset import ClipDataset, evenly_taken
from ..training.results import RunFacts
from ..training.scores import MAIN_SCORES, MEAN_SCORE
from ..training.steps import blaming, device_in_words
from .answer_keys import AnswerKey, ClassKey, TaskKey
from .arguments import EvaluateArguments
from .classify import classify_clips
from .corruptions import chosen_severities
from .device import compute_device
from .evaluation_folder import (
    KEPT_PASSES,
    check_same_evaluation,
    differences_to,
    existing_evaluation,
    recorded_arguments,
    write_evaluation,
)
from .evaluation_reports import Reports
from .group_columns import group_columns, metadata_columns
from .label_map import make_label_map, read_label_map
from .load import WHOLE_CLIPS_SECONDS, Classifier, declared_tasks, load_classifier
from .seen import what_was_seen
from .task_fit import fit_tasks

__all__ = ["EvaluationResult", "default_output_dir", "evaluate"]

logger = logging.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class EvaluationResult:
    """What an evaluation ended with.

    Args:
        output_dir: the folder with results and plots.
        metrics: the content of `metrics.json`.
        warnings: what the reader of the scores must know; also in `metrics["evaluation"]["warnings"]`.
        reports: tables of the reports that were asked for, by their names in the folder.
    """

    output_dir: Path
    metrics: Mapping[str, Any]
    warnings: list[str]
    reports: Sequence[Path] = ()


def default_output_dir(values: Mapping[str, Any]) -> str:
    """Name the folder of an evaluation after its model and its corpus.

    Args:
        values: the fields `model` and `corpus`.

    Returns:
        `runs/evaluate_MODEL_CORPUS`; of folders and Hub ids the last part, of checkpoints the last two.

    Example:
        >>> default_output_dir({"model": "runs/lora/checkpoint-120", "corpus": "nvv/vivae"})
        'runs/evaluate_lora_checkpoint-120_vivae'
    """
    parts = Path(values["model"] or "model").expanduser().resolve().parts
    model = "_".join(parts[-2:] if parts[-1].startswith("checkpoint-") else parts[-1:])
    corpus = Path(values["corpus"]).name
    return f"runs/evaluate_{_plain_name(model)}_{_plain_name(corpus)}"


def shown_score_names(metrics: Mapping[str, Any], split: str) -> list[str]:
    """Return the scores of a split that are said at the end of an evaluation, where it has references.

    Args:
        metrics: the content of `metrics.json`.
        split: the split.
    """
    shown = ("macro_f1", "uar", "accuracy", "ccc", "pearson", "mae")
    tasks = metrics.get("tasks") or [{}]
    if len(tasks) > 1:
        shown = (MEAN_SCORE, *(f"{task['name']}_{MAIN_SCORES[task['kind']]}" for task in tasks))
    return [name for name in shown if name in metrics["splits"][split]["scores"]]


def _plain_name(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name)


def evaluate(arguments: EvaluateArguments, data: DataArguments) -> EvaluationResult:
    """Let a model answer the clips of a corpus, score the answers, and write both to `output_dir`.

    Args:
        arguments: which model, on which splits, how its labels are read, and which reports are wanted.
        data: which recordings.

    Returns:
        Scores, and where everything is.

    Raises:
        ValueError: for arguments that do not fit each other, the model or the corpus (`ArgumentsError`, `ModelError`,
            `LabelMapError`); a folder that holds something else (`OutputFolderError`); clips that cannot be decoded
            (`AudioError`); logits that are not finite (`ResultsError`).
        FileNotFoundError: for a label map that is not there.

    Example:
        >>> arguments = EvaluateArguments(model="runs/lora", splits=["test"])  # doctest: +SKIP
        >>> evaluate(arguments, DataArguments(corpus="synthetic")).output_dir  # doctest: +SKIP
        PosixPath('runs/evaluate_lora_synthetic')
    """
    started = time.monotonic()
    values = {"model": arguments.model, "corpus": data.corpus}
    output_dir = Path(arguments.output_dir or default_output_dir(values))
    before = existing_evaluation(output_dir)
    mapping = None if arguments.label_map is None else read_label_map(arguments.label_map)
    if arguments.robustness:
        chosen_severities(arguments.robustness_conditions, arguments.robustness_severities)  # for its checks
    device = compute_device(arguments.device)
    read = _data_to_read(arguments, data)
    with blaming("corpus", hint=f"The raw corpora are {', '.join(list_corpora())}; others come from the Hub."):
        corpus = load_run_corpus(read, metadata_columns=metadata_columns(arguments.by or ()))
        splits = {split: _taken(corpus, split, data=data, splits=arguments.splits) for split in arguments.splits}
    classifier = load_classifier(
        arguments.model,
        revision=arguments.model_revision,
        trust_remote_code=arguments.trust_remote_code,
        train_splits=dict.fromkeys((corpus.facts["name"], Path(data.corpus).name), corpus.splits),
        allows_tasks=True,
    )
    key = _answer_key(arguments, data, classifier, corpus=corpus, mapping=mapping)
    max_seconds = _max_seconds(arguments, classifier)
    for split, clips in splits.items():
        _check_labelled(clips, key, split=split)
    chosen = {split: key.chosen(clips, split=split) for split, clips in splits.items()}
    columns = group_columns(arguments.by or (), chosen, answered=key.columns)
    seen, warnings = what_was_seen(classifier.facts, corpus=corpus, data=read, clips=chosen)
    warnings = [*warnings, *key.warnings()]
    evaluation = {
        "model": _described(classifier),
        **key.describe(),
        "left_out": {split: key.left_out(clips) for split, clips in splits.items()},
        "max_seconds": max_seconds,
        "precision": "bf16" if arguments.bf16 else "fp32",
        "seen_in_training": seen,
        "warnings": warnings,
    }
    evaluated = {name: corpus.facts.get(name) for name in ("name", "manifest_digest")} | {"config": corpus.protocol}
    num_clips = {split: len(clips) for split, clips in chosen.items()}
    differing = []
    if before is not None:
        differing = differences_to(before, evaluation, corpus=evaluated, num_clips=num_clips)
        if not arguments.overwrite_output_dir:
            check_same_evaluation(output_dir, before, differing=differing)
    for warning in warnings:
        logger.warning(warning)
    loaded = time.monotonic()

    answers, reports = [], Reports(columns=columns)
    for split, chosen_clips in chosen.items():
        made_of = {"key": key, "max_seconds": max_seconds, "corpus": corpus, "arguments": arguments, "data": data}
        clips = _clips(chosen_clips, **made_of)
        logits = classify_clips(
            classifier.model,
            classifier.feature_extractor,
            clips,
            max_batch_seconds=arguments.max_batch_seconds,
            bf16=arguments.bf16,
            device=device,
            num_workers=arguments.num_workers,
        )
        answers.append(key.answers(split, chosen_clips, clips, logits))
        # Babble is made of all clips, so that it does not depend on which labels the model has.
        has_more = arguments.robustness and len(splits[split]) > len(chosen_clips)
        reports.add(
            split,
            clips,
            logits,
            classifier=classifier,
            read_answers=key.reader(chosen_clips),
            babble_from=_clips(splits[split], **made_of) if has_more else None,
            arguments=arguments,
            keep_in=output_dir / KEPT_PASSES / split,
        )
    evaluation_s = time.monotonic() - loaded
    facts = _run_facts(
        classifier,
        corpus=corpus,
        config=recorded_arguments(arguments, data),
        device=device,
        timing={
            "loading_s": loaded - started,
            "evaluation_s": evaluation_s,
            "clips_per_s": sum(num_clips.values()) / evaluation_s,
        },
    )
    metrics = key.metrics(answers, facts, num_resamples=arguments.num_bootstrap_resamples)
    metrics["evaluation"] = evaluation
    write_evaluation(
        output_dir,
        metrics=metrics,
        writers=[
            lambda folder: key.write(folder, metrics, answers),
            lambda folder: reports.write(folder, metrics),
        ],
        keeps_reports=before is not None and not differing,
        arguments=arguments,
        data=data,
    )
    return EvaluationResult(output_dir=output_dir, metrics=metrics, warnings=warnings, reports=reports.tables)


# ----------------------------------------------------------------------------------------------------------------------
# Clips and answers
# ----------------------------------------------------------------------------------------------------------------------


def _data_to_read(arguments: EvaluateArguments, data: DataArguments) -> DataArguments:
    """Return which recordings are read, with the columns that the model's tasks need of data of one's own."""
    for name in ("augment", "mixup_alpha"):
        if getattr(data, name) != DataArguments.__dataclass_fields__[name].default:
            raise ArgumentsError(f"{name}: has no effect in an evaluation; --robustness hears corrupted clips.")
    if data.corpus in list_corpora():
        for name in ("tasks", "target_columns"):
            if getattr(data, name) is not None:
                raise ArgumentsError(
                    f"{name}: has no effect with the corpus {data.corpus}: the model says what it predicts."
                )
        return data
    if data.tasks is not None or data.target_columns is not None:
        return data
    tasks = declared_tasks(arguments.model, revision=arguments.model_revision)
    return data if tasks is None else dataclasses.replace(data, tasks=tasks)


def _answer_key(
    arguments: EvaluateArguments,
    data: DataArguments,
    classifier: Classifier,
    *,
    corpus: RunCorpus,
    mapping: Mapping[str, str | None] | None,
) -> AnswerKey:
    """Fit what the model answers to what the corpus knows."""
    features = corpus.splits["train"].features
    if classifier.has_tasks:
        if mapping is not None:
            raise ArgumentsError("label_map: has no effect: the model's tasks are matched to columns by their names.")
        return TaskKey(fit=fit_tasks(classifier.model.config, features, only_present=arguments.only_present_targets))
    for name, value in (
        ("only_present_targets", arguments.only_present_targets or None),
        ("target_columns", data.target_columns),
        ("tasks", data.tasks),
    ):
        if value is not None:
            raise ArgumentsError(f"{name}: has no effect: the model answers with one of its classes.")
    if not isinstance(features.get("label"), datasets.ClassLabel):
        raise ArgumentsError(
            f"corpus: the model answers with classes, and {corpus.facts['name']} ({corpus.protocol}) has no column "
            "`label` of classes. Name one with --label_column, or choose another split_protocol."
        )
    label_map = make_label_map(
        classifier.label_names,
        features["label"].names,
        mapping=mapping,
        unmapped_clips=arguments.unmapped_clips,
        unmapped_answers=arguments.unmapped_answers,
    )
    return ClassKey(classifier=classifier, label_map=label_map)


def _taken(corpus: RunCorpus, split: str, *, data: DataArguments, splits: list[str]) -> datasets.Dataset:
    """Return the clips of a split, all or as many as asked for."""
    if data.max_train_clips is not None and "train" not in splits:
        raise ArgumentsError(
            f"max_train_clips: {data.max_train_clips} has no effect where the split train is not evaluated."
        )
    if data.max_evaluation_clips is not None and set(splits) == {"train"}:
        raise ArgumentsError(f"max_evaluation_clips: {data.max_evaluation_clips} has no effect on the split train.")
    num_clips = data.max_train_clips if split == "train" else data.max_evaluation_clips
    return evenly_taken(corpus.splits[split], num_clips=num_clips)


def _check_labelled(clips: datasets.Dataset, key: AnswerKey, *, split: str) -> None:
    """Raise for a split without clips or labels, before anything takes them for granted."""
    try:
        ClipDataset(clips, max_seconds=1.0, tasks=key.specs)
    except ValueError as error:
        raise ArgumentsError(f"{split}: {error}") from error


def _max_seconds(arguments: EvaluateArguments, classifier: Classifier) -> float | None:
    """Return where clips are cut, in seconds; None: nowhere."""
    asked, own = arguments.max_seconds, classifier.max_seconds
    if asked is not None and own is not None and asked > own:
        raise ArgumentsError(
            f"max_seconds: {asked} has no effect: the model cuts clips to their first {own} s itself. Leave it out."
        )
    return own if asked is None else asked


def _clips(
    chosen: datasets.Dataset,
    *,
    key: AnswerKey,
    max_seconds: float | None,
    corpus: RunCorpus,
    arguments: EvaluateArguments,
    data: DataArguments,
) -> ClipDataset:
    """Make the dataset of one split."""
    # Clips are decoded once here, unless they have to be checked before or are heard under many conditions.
    is_kept = arguments.robustness or not corpus.was_decoded
    clips = ClipDataset(
        chosen,
        max_seconds=WHOLE_CLIPS_SECONDS if max_seconds is None else max_seconds,
        tasks=key.specs,
        memory_mebibytes=data.decoded_audio_mebibytes if is_kept else 0,
    )
    if not corpus.was_decoded:
        clips.check_audio()
    return clips


# ----------------------------------------------------------------------------------------------------------------------
# What is recorded
# ----------------------------------------------------------------------------------------------------------------------


def _described(classifier: Classifier) -> dict[str, Any]:
    """Return what identifies the model."""
    names = ("id", "kind", "architecture", "revision", "weights_digest", "checkpoint_step")
    return {name: getattr(classifier.facts, name) for name in names} | {"labels": classifier.label_names}


def _run_facts(
    classifier: Classifier,
    *,
    corpus: RunCorpus,
    config: Mapping[str, Any],
    device: torch.device,
    timing: Mapping[str, float],
) -> RunFacts:
    """Collect the facts: of the model's making, those of its run."""
    facts = classifier.facts
    trained = {} if facts.metrics is None else facts.metrics.get("training", {})
    # A run's score on validation is that of its best checkpoint, and of no other.
    is_best = facts.checkpoint_step in (None, trained.get("best_step"))
    of_best = trained if is_best else {}
    return RunFacts(
        corpus=corpus.facts,
        corpus_config=corpus.protocol,
        backbone_id=facts.backbone_id,
        backbone_revision=facts.backbone_revision,
        random_init=facts.random_init,
        method=facts.method,
        tuned_layers=facts.tuned_layers,
        total_parameters=facts.total_parameters,
        trainable_parameters=facts.trained_parameters,
        seed=trained.get("seed", (facts.config or {}).get("seed")),
        device=device_in_words(device),
        config=config,
        best_step=of_best.get("best_step", facts.checkpoint_step),
        best_epoch=of_best.get("best_epoch", facts.checkpoint_epoch),
        best_validation_score=of_best.get("best_validation_score"),
        selection_metric=trained.get("selection_metric"),
        timing=timing,
    )
