"""One run from arguments to a finished model repository: data, model, tuning, training, test, results, card, push.

Each step is another module's; here stands their order and what is handed from one to the next. Own work.
"""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import torch
from torch import nn
from transformers import Wav2Vec2FeatureExtractor, enable_full_determinism, set_seed
from transformers.utils import logging

from ..audio import AudioError
from ..data import CorpusError, list_corpora
from ..hub.model_card import write_model_card
from ..hub.repository import save_repository
from ..loading_nvv import load_feature_extractor
from ..modeling_nvv import NvvForAudioClassification
from ..processors import available_processors
from .arguments import ArgumentsError, ModelArguments, NvvTrainingArguments
from .checkpoints import checkpoint_to_resume, prepare_output_folder, stopped_early_at
from .config_files import RESOLVED_CONFIG_NAME, RunArguments, resolved_config, write_resolved_config
from .corpus import RunCorpus, load_run_corpus
from .dataset import ClipDataset, class_balancing_weights, evenly_taken
from .plots import CONFUSION_MATRIX_FILE, LAYER_WEIGHTS_FILE, write_confusion_matrix, write_layer_weights
from .push import push_run
from .results import (
    METRICS_FILE,
    PREDICTIONS_FILE,
    RunFacts,
    SplitPredictions,
    build_metrics,
    write_metrics,
    write_predictions,
)
from .trainer import NvvTrainer
from .tuning import apply_tuning, trainable_parameters, tuning_callbacks

EVALUATION_SPLITS = ("validation", "test")

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
    checkpoint = _open_output_folder(arguments, output_dir=output_dir)
    _set_cpu_threads(training)
    _seed(training)
    with _blaming("corpus", hint=f"The raw corpora are {', '.join(list_corpora())}; others come from the Hub."):
        with training.main_process_first(local=False, desc="loading the corpus"):
            corpus = load_run_corpus(arguments.data)
        clips = make_clips(corpus, arguments)
    with _blaming("backbone", hint="Without a network, --random_init true builds it with random weights."):
        model, feature_extractor = build_model(arguments.model, clips["train"], training=training)
    num_steps = _num_training_steps(training, num_clips=len(clips["train"]))
    with _blaming("tuning", hint=""):
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

    predictions = [_predict(trainer, clips[split], split=split) for split in EVALUATION_SPLITS]
    timing = {"training_s": trained - started, "evaluation_s": time.monotonic() - trained}
    metrics = build_metrics(
        predictions,
        _run_facts(arguments, trainer, corpus=corpus, timing=timing),
        label_names=clips["train"].label_names,
        num_resamples=training.num_bootstrap_resamples,
    )
    if trainer.is_world_process_zero():
        _write_run(output_dir, trainer=trainer, metrics=metrics, predictions=predictions)
        if training.push_to_hub:
            push_run(output_dir, training=training, dataset_id=_hub_dataset_id(arguments))
    log_history = trainer.state.log_history
    trainer.end()
    return RunResult(output_dir=output_dir, metrics=metrics, log_history=log_history)


def _open_output_folder(arguments: RunArguments, *, output_dir: Path) -> Path | None:
    """Make the run's folder, or refuse it; return the checkpoint to go on from, if any."""
    training = arguments.training
    with training.main_process_first(local=False, desc="opening the output folder"):
        checkpoint = checkpoint_to_resume(output_dir, training.resume_from_checkpoint)
        if training.process_index == 0:
            prepare_output_folder(
                output_dir,
                resolved_config(arguments),
                config_name=RESOLVED_CONFIG_NAME,
                resume=bool(training.resume_from_checkpoint),
                overwrite=training.overwrite_output_dir,
            )
    return checkpoint


@contextmanager
def _blaming(field: str, *, hint: str) -> Iterator[None]:
    """Turn what a step finds wrong with the arguments into an `ArgumentsError`; the recipes print those as one line."""
    try:
        yield
    except (ArgumentsError, AudioError, CorpusError):
        raise
    except ValueError as error:
        raise ArgumentsError(str(error)) from error
    except OSError as error:  # the Hub's and the datasets library's errors among them
        raise ArgumentsError(f"{field}: {str(error).splitlines()[0]} {hint}") from error


def _set_cpu_threads(training: NvvTrainingArguments) -> None:
    """Set the number of threads; see `NvvTrainingArguments.cpu_threads`.

    Without a configuration file, `accelerate launch` sets OMP_NUM_THREADS to 1 even where it starts one process on a
    machine of many cores.
    """
    threads = training.cpu_threads
    launched = "ACCELERATE_MIXED_PRECISION" in os.environ and os.environ.get("OMP_NUM_THREADS") == "1"
    if threads is None and launched and training.device.type == "cpu" and training.world_size == 1:
        threads = available_processors()
    if threads is not None:
        torch.set_num_threads(threads)


def _seed(training: NvvTrainingArguments) -> None:
    """Seed every generator, before anything is drawn: the head's and the adapters' weights too."""
    if training.full_determinism:
        enable_full_determinism(training.seed)
    else:
        set_seed(training.seed)


def make_clips(corpus: RunCorpus, arguments: RunArguments) -> dict[str, ClipDataset]:
    """Make the datasets of a run.

    Args:
        corpus: the recordings.
        arguments: the four groups of arguments.

    Returns:
        `train`, `validation` and `test`.

    Raises:
        ValueError: for a split without clips or without labels.
        AudioError: for a clip that cannot be decoded, where that was not found out when the corpus was built.
    """
    clips = {
        split: _clip_dataset(corpus.splits[split], split=split, arguments=arguments)
        for split in ("train", *EVALUATION_SPLITS)
    }
    if not corpus.was_decoded:
        for split in clips.values():
            split.check_audio()  # here, and not after hours of training
    return clips


def _clip_dataset(split_clips: datasets.Dataset, *, split: str, arguments: RunArguments) -> ClipDataset:
    data, is_training = arguments.data, split == "train"
    return ClipDataset(
        evenly_taken(split_clips, num_clips=data.max_train_clips if is_training else data.max_evaluation_clips),
        max_seconds=arguments.model.max_seconds,
        random_crops=is_training,
        seed=arguments.training.seed,
        memory_mebibytes=data.decoded_audio_mebibytes,
    )


def build_model(
    model_arguments: ModelArguments, train_clips: ClipDataset, *, training: NvvTrainingArguments
) -> tuple[NvvForAudioClassification, Wav2Vec2FeatureExtractor]:
    """Build the classifier, untuned, and the feature extractor that belongs to it.

    Args:
        model_arguments: backbone, head and front-end.
        train_clips: gives the labels and, for a class-balanced loss, their counts.
        training: seed and loss.

    Returns:
        The model in fp32 on the CPU, and its feature extractor.

    Raises:
        ValueError: for fields that the backbone cannot satisfy, such as a layer it does not have.
    """
    names = train_clips.label_names
    weights = None
    if training.class_balanced_loss:
        weights = class_balancing_weights(train_clips.labels, label_names=names)
    model = NvvForAudioClassification.from_backbone(
        model_arguments.backbone,
        revision=model_arguments.backbone_revision,
        random_init=model_arguments.random_init,
        seed=training.seed,
        num_backbone_layers=model_arguments.num_backbone_layers,
        layers=model_arguments.summed_layers,
        use_weighted_layer_sum=model_arguments.use_weighted_layer_sum,
        head=model_arguments.head,
        pooling=model_arguments.pooling,
        projection_size=model_arguments.projection_size,
        head_dropout=model_arguments.head_dropout,
        label_smoothing=model_arguments.label_smoothing,
        class_weights=weights,
        padding=model_arguments.padding,
        padding_seconds=model_arguments.padding_seconds,
        pool_padding=model_arguments.pool_padding,
        max_seconds=model_arguments.max_seconds,
        layerdrop=model_arguments.layerdrop,
        apply_spec_augment=model_arguments.apply_spec_augment,
        id2label=dict(enumerate(names)),
        label2id={name: index for index, name in enumerate(names)},
    )
    feature_extractor = load_feature_extractor(
        model_arguments.backbone, random_init=model_arguments.random_init, revision=model_arguments.backbone_revision
    )
    return model, feature_extractor


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
    # Everything is uploaded in one commit at the end; the Trainer would push every checkpoint.
    told.push_to_hub = False
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


def _predict(trainer: NvvTrainer, clips: ClipDataset, *, split: str) -> SplitPredictions:
    """Classify one split."""
    output = trainer.predict(clips, metric_key_prefix=split)
    return SplitPredictions.from_logits(
        split,
        output.predictions,
        files=clips.files,
        references=output.label_ids,
        speaker_ids=clips.speaker_ids,
    )


def _run_facts(
    arguments: RunArguments, trainer: NvvTrainer, *, corpus: RunCorpus, timing: Mapping[str, float]
) -> RunFacts:
    """Collect what the run knows about itself."""
    state, training = trainer.state, arguments.training
    config = _bare(trainer).config
    counts = trainable_parameters(trainer.model)
    best = [
        entry for entry in state.log_history if entry.get("step") == state.best_global_step and "eval_loss" in entry
    ]
    groups = ("model", "data", "tuning", "training")
    everything = resolved_config(arguments)
    return RunFacts(
        corpus=corpus.facts,
        corpus_config=corpus.protocol,
        backbone_id=_public_name(config.backbone_id),
        backbone_revision=config.backbone_revision,
        random_init=config.random_init,
        method=arguments.tuning.method,
        tuned_layers=arguments.tuning.tuned_layers,
        total_parameters=counts.total,
        trainable_parameters=counts.trainable,
        seed=training.seed,
        device=_device_in_words(training.device),
        config={
            name: {field: everything[field] for field in vars(group) if field in everything}
            for name, group in zip(groups, arguments, strict=True)
        },
        best_step=state.best_global_step,
        best_epoch=best[0]["epoch"] if best else None,
        best_validation_score=state.best_metric,
        selection_metric=training.metric_for_best_model,
        timing={**timing, "processes": training.world_size},
    )


def _public_name(backbone_id: str) -> str:
    """Return a Hub id or relative folder as it is, and of an absolute path, which names the machine, the last part."""
    return Path(backbone_id).name if Path(backbone_id).is_absolute() else backbone_id


def _device_in_words(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _bare(trainer: NvvTrainer) -> NvvForAudioClassification:
    """Return the classifier itself, out of what PEFT, torch.compile and DistributedDataParallel put around it."""
    model = _unwrapped(trainer)
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _unwrapped(trainer: NvvTrainer) -> nn.Module:
    """Return the classifier or the `PeftModel` around it."""
    return trainer.accelerator.unwrap_model(trainer.model, keep_torch_compile=False)


def _write_run(
    output_dir: Path, *, trainer: NvvTrainer, metrics: Mapping[str, Any], predictions: list[SplitPredictions]
) -> None:
    """Write repository, results, plots and card; the card last, because it shows all the others."""
    model = _bare(trainer)
    save_repository(_unwrapped(trainer), trainer.processing_class, output_dir)
    write_predictions(output_dir / PREDICTIONS_FILE, predictions, label_names=metrics["labels"])
    write_confusion_matrix(output_dir / CONFUSION_MATRIX_FILE, metrics)
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


def _hub_dataset_id(arguments: RunArguments) -> str | None:
    """Return the corpus's id where it came from the Hub."""
    corpus = arguments.data.corpus
    return corpus if "/" in corpus and not Path(corpus).exists() else None
