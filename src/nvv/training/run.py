"""One run from arguments to a finished model repository: data, model, tuning, training, test, results, card, push.

Each step is another module's; here stands their order and what is handed from one to the next. Own work.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging

from ..hub.model_card import write_model_card
from ..hub.repository import save_repository
from .arguments import NvvTrainingArguments
from .augmenting import check_augmentation
from .checkpoints import stopped_early_at
from .config_files import RESOLVED_CONFIG_NAME, RunArguments, write_resolved_config
from .corpus import RunCorpus
from .dataset import ClipDataset
from .plots import LAYER_WEIGHTS_FILE, write_layer_weights
from .push import push_run
from .results import METRICS_FILE, RunFacts, write_metrics
from .steps import (
    EVALUATION_SPLITS,
    blaming,
    build_model,
    hub_dataset_id,
    load_clips,
    open_output_folder,
    run_facts,
    seed_everything,
    set_cpu_threads,
)
from .task_results import TaskAnswers, build_task_metrics, task_answers, write_task_plots, write_task_predictions
from .trainer import NvvTrainer
from .tuning import apply_tuning, trainable_parameters, tuning_callbacks

logger = logging.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What a run ended with.

    Args:
        output_dir: the folder with model repository, card, results and plots.
        metrics: the content of `metrics.json`.
        log_history: the Trainer's log: losses and validation scores over epochs.
    """

    output_dir: Path
    metrics: Mapping[str, Any]
    log_history: list[dict[str, float]]


def train(arguments: RunArguments) -> RunResult:
    """Train a classifier, test the checkpoint that validation chose, and write everything to `output_dir`.

    Runs in every process of a distributed launch; the main one writes.

    Args:
        arguments: the four groups of arguments.

    Returns:
        Scores and where everything is.

    Raises:
        ValueError: for arguments that do not fit each other, the corpus or the backbone; an output folder that holds
            another run (`OutputFolderError`); clips that cannot be decoded (`AudioError`).
        PushError: if the upload failed; the folder is complete then.

    Example:
        >>> arguments = parse_arguments(["recipe.yaml", "--output_dir", "runs/example"])  # doctest: +SKIP
        >>> train(arguments).metrics["splits"]["test"]["scores"]["macro_f1"]["value"]  # doctest: +SKIP
        0.41
    """
    started = time.monotonic()
    training = arguments.training
    output_dir = Path(training.output_dir)
    check_augmentation(arguments.model, arguments.data, arguments.tuning)
    checkpoint = open_output_folder(arguments, training=training)
    set_cpu_threads(training)
    seed_everything(training)
    corpus, clips = load_clips(arguments.data, training=training, model=arguments.model)
    model, feature_extractor = build_model(arguments.model, clips["train"], training=training)
    num_steps = _num_training_steps(training, num_clips=len(clips["train"]))
    with blaming("tuning", hint=""):
        model = apply_tuning(model, arguments.tuning, num_training_steps=num_steps)
    trainer = NvvTrainer(
        model,
        _trainer_arguments(training, checkpoint=checkpoint),
        feature_extractor=feature_extractor,
        train_dataset=clips["train"],
        eval_dataset=clips["validation"],
    )
    for callback in tuning_callbacks(model):
        trainer.add_callback(callback)
    if trainer.is_world_process_zero():
        # Not before: a run that never began leaves nothing that the next attempt would have to be told to delete.
        write_resolved_config(arguments, output_dir / RESOLVED_CONFIG_NAME)
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    _check_best_checkpoint(trainer)
    trained = time.monotonic()

    answers = [_answers(trainer, clips[split], split=split) for split in EVALUATION_SPLITS]
    timing = {"training_s": trained - started, "evaluation_s": time.monotonic() - trained}
    metrics = build_task_metrics(
        answers,
        _facts(arguments, trainer, corpus=corpus, timing=timing),
        config=trainer.classifier.config,
        num_resamples=training.num_bootstrap_resamples,
    )
    if trainer.is_world_process_zero():
        _write_run(output_dir, trainer=trainer, metrics=metrics, answers=answers)
        if training.push_to_hub:
            push_run(output_dir, training=training, dataset_id=hub_dataset_id(arguments.data))
    log_history = trainer.state.log_history
    trainer.end()
    return RunResult(output_dir=output_dir, metrics=metrics, log_history=log_history)


def _num_training_steps(training: NvvTrainingArguments, *, num_clips: int) -> int:
    """Count the optimiser's steps as the Trainer will."""
    if training.max_steps > 0:
        return training.max_steps
    batches = math.ceil(num_clips / (training.train_batch_size * training.world_size))
    steps_per_epoch = max(1, math.ceil(batches / training.gradient_accumulation_steps))
    return math.ceil(training.num_train_epochs * steps_per_epoch)


def _trainer_arguments(training: NvvTrainingArguments, *, checkpoint: Path | None) -> NvvTrainingArguments:
    """Return what the Trainer itself is told."""
    told = copy.copy(training)
    # Everything is uploaded in one commit at the end; the Trainer would push every checkpoint, with the token in it.
    told.push_to_hub, told.hub_token = False, None
    stopped_at = None if checkpoint is None else stopped_early_at(checkpoint)
    if stopped_at is not None:
        # The run was killed after it had stopped early: without this it would train on.
        told.max_steps = stopped_at
    return told


def _check_best_checkpoint(trainer: NvvTrainer) -> None:
    """Raise if the model in the Trainer is not the one that validation chose."""
    state = trainer.state
    if not trainer.args.load_best_model_at_end or state.best_metric is None:
        return
    if state.best_model_checkpoint is None or not Path(state.best_model_checkpoint).is_dir():
        raise FileNotFoundError(
            f"{trainer.args.output_dir}: the best checkpoint (step {state.best_global_step}) is gone, so it cannot be "
            "tested. Train again with --overwrite_output_dir true."
        )


def _answers(trainer: NvvTrainer, clips: ClipDataset, *, split: str) -> TaskAnswers:
    """Let the model answer one split."""
    output = trainer.predict(clips, metric_key_prefix=split)
    return task_answers(
        trainer.classifier.config,
        split,
        output.predictions,
        files=clips.files,
        labels=output.label_ids,
        speaker_ids=clips.speaker_ids,
    )


def _facts(arguments: RunArguments, trainer: NvvTrainer, *, corpus: RunCorpus, timing: Mapping[str, float]) -> RunFacts:
    """Collect what the run knows about itself."""
    state = trainer.state
    best = [
        entry for entry in state.log_history if entry.get("step") == state.best_global_step and "eval_loss" in entry
    ]
    return run_facts(
        arguments._asdict(),
        corpus=corpus,
        model=trainer.classifier,
        counts=trainable_parameters(trainer.model),
        training=trainer.args,
        method=arguments.tuning.method,
        tuned_layers=arguments.tuning.tuned_layers,
        best_step=state.best_global_step,
        best_epoch=best[0]["epoch"] if best else None,
        best_validation_score=state.best_metric,
        timing=timing,
    )


def _write_run(
    output_dir: Path, *, trainer: NvvTrainer, metrics: Mapping[str, Any], answers: Sequence[TaskAnswers]
) -> None:
    """Write repository, results, plots and card; the card last, because it shows all the others."""
    model = trainer.classifier
    save_repository(trainer.unwrapped, trainer.processing_class, output_dir)
    write_task_predictions(output_dir, answers, config=model.config)
    write_task_plots(output_dir, metrics, answers)
    if model.head.layer_weights is not None:
        write_layer_weights(
            output_dir / LAYER_WEIGHTS_FILE,
            torch.softmax(model.head.layer_weights.detach().float().cpu(), dim=-1).tolist(),
            backbone_id=metrics["backbone"]["id"],
            layers=model.config.summed_layers,
            random_init=metrics["backbone"]["random_init"],
        )
    write_metrics(output_dir / METRICS_FILE, metrics)
    write_model_card(output_dir)
