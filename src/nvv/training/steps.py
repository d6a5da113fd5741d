"""The steps that every kind of run shares: opening its folder, seeding, clips, the untuned model, what it records.

Training strings them together in `run`, the linear probe in `probe`; each step's work is another module's. Own work.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Wav2Vec2FeatureExtractor, enable_full_determinism, set_seed

from ..audio import AudioError
from ..configuration_nvv import CONTRASTIVE_LOSS
from ..data import CorpusError, list_corpora
from ..loading_nvv import load_feature_extractor
from ..modeling_nvv import NvvForAudioClassification
from ..processors import available_processors
from .arguments import (
    AUTOMATIC_METRIC,
    ArgumentsError,
    DataArguments,
    ModelArguments,
    NvvTrainingArguments,
)
from .augmenting import make_augmentation
from .checkpoints import checkpoint_to_resume, prepare_output_folder
from .config_files import RESOLVED_CONFIG_NAME, resolved_config
from .corpus import RunCorpus, load_run_corpus
from .dataset import ClipDataset, class_balancing_weights, evenly_taken
from .results import RunFacts
from .scores import selection_metric
from .tasks import TaskSpec, config_tasks, make_tasks
from .trainable import TrainableParameters

EVALUATION_SPLITS = ("validation", "test")


def open_output_folder(arguments: Iterable[Any], *, training: NvvTrainingArguments) -> Path | None:
    """Make the run's folder, or refuse it; return the checkpoint to go on from, if any.

    Runs in every process of a distributed launch; the main one writes.

    Args:
        arguments: all groups of arguments: they identify the run that the folder holds.
        training: says where the folder is, and whether to resume or to overwrite.

    Raises:
        ArgumentsError: for a folder that holds another run (`OutputFolderError`), or no checkpoint to resume from.
    """
    output_dir = Path(training.output_dir)
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
def blaming(field: str, *, hint: str) -> Iterator[None]:
    """Turn what a step finds wrong with the arguments into an `ArgumentsError`; the recipes print those as one line.

    Args:
        field: the field to name where the error does not.
        hint: a sentence on what to do about what the Hub or the file system refused.
    """
    try:
        yield
    except (ArgumentsError, AudioError, CorpusError):
        raise
    except ValueError as error:
        raise ArgumentsError(str(error)) from error
    except OSError as error:  # the Hub's and the datasets library's errors among them
        raise ArgumentsError(f"{field}: {str(error).splitlines()[0]} {hint}") from error


def set_cpu_threads(training: NvvTrainingArguments) -> None:
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


def seed_everything(training: NvvTrainingArguments) -> None:
    """Seed every generator, before anything is drawn: the head's and the adapters' weights too."""
    if training.full_determinism:
        enable_full_determinism(training.seed)
    else:
        set_seed(training.seed)


def load_clips(
    data: DataArguments, *, training: NvvTrainingArguments, model: ModelArguments, random_crops: bool = True
) -> tuple[RunCorpus, dict[str, ClipDataset]]:
    """Load the recordings of a run and make its datasets; the main process first, so that a corpus is built once.

    Args:
        data: which recordings.
        training: seed, and which process this is.
        model: gives `max_seconds`, to which longer clips are cropped, and how tasks are learned.
        random_crops: as in `make_clips`.

    Returns:
        The corpus, and its `train`, `validation` and `test` clips.

    Raises:
        ArgumentsError: for a corpus that is not there, not as expected or without labels.
        CorpusError: for raw files that are not as expected.
        AudioError: for a clip that cannot be decoded, naming it.
    """
    with blaming("corpus", hint=f"The raw corpora are {', '.join(list_corpora())}; others come from the Hub."):
        with training.main_process_first(local=False, desc="loading the corpus"):
            corpus = load_run_corpus(data)
        clips = make_clips(
            corpus,
            data=data,
            max_seconds=model.max_seconds,
            tasks=make_tasks(data, model, corpus.splits),
            seed=training.seed,
            random_crops=random_crops,
        )
    return corpus, clips


def make_clips(
    corpus: RunCorpus,
    *,
    data: DataArguments,
    max_seconds: float,
    seed: int,
    tasks: Sequence[TaskSpec] | None = None,
    random_crops: bool = True,
) -> dict[str, ClipDataset]:
    """Make the datasets of a run.

    Args:
        corpus: the recordings.
        data: how many clips to take and to keep decoded, and how training clips are augmented.
        max_seconds: longer clips are cropped to this.
        seed: of the random crops.
        tasks: what is predicted; None for the classes of the column `label`.
        random_crops: crop training clips at random places; otherwise from the start, as evaluation clips are.

    Returns:
        `train`, `validation` and `test`.

    Raises:
        ValueError: for a split without clips or without labels.
        AudioError: for a clip that cannot be decoded, where that was not found out when the corpus was built.
    """
    clips = {
        split: ClipDataset(
            evenly_taken(
                corpus.splits[split],
                num_clips=data.max_train_clips if split == "train" else data.max_evaluation_clips,
            ),
            max_seconds=max_seconds,
            tasks=tasks,
            random_crops=random_crops and split == "train",
            seed=seed,
            memory_mebibytes=data.decoded_audio_mebibytes,
            augmentation=make_augmentation(data) if split == "train" else None,
            mixup_alpha=data.mixup_alpha if split == "train" else 0.0,
        )
        for split in ("train", *EVALUATION_SPLITS)
    }
    if not corpus.was_decoded:
        for split in clips.values():
            split.check_audio()  # here, and not after hours of training
    return clips


def build_model(
    model_arguments: ModelArguments, train_clips: ClipDataset, *, training: NvvTrainingArguments
) -> tuple[NvvForAudioClassification, Wav2Vec2FeatureExtractor]:
    """Build the classifier, untuned, and the feature extractor that belongs to it.

    Args:
        model_arguments: backbone, head and front-end.
        train_clips: gives the labels or tasks and, for a class-balanced loss, their counts.
        training: seed and loss.

    Returns:
        The model in fp32 on the CPU, and its feature extractor.

    Raises:
        ArgumentsError: for fields that the backbone cannot satisfy, such as a layer it does not have.
    """
    with blaming("backbone", hint="Without a network, --random_init true builds it with random weights."):
        return _build_model(model_arguments, train_clips, training=training)


def _build_model(
    model_arguments: ModelArguments, train_clips: ClipDataset, *, training: NvvTrainingArguments
) -> tuple[NvvForAudioClassification, Wav2Vec2FeatureExtractor]:
    """Build both, raising what the steps themselves raise."""
    predicted = _predicted(model_arguments, train_clips, training=training)
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
        padding=model_arguments.padding,
        padding_seconds=model_arguments.padding_seconds,
        pool_padding=model_arguments.pool_padding,
        max_seconds=model_arguments.max_seconds,
        layerdrop=model_arguments.layerdrop,
        apply_spec_augment=model_arguments.apply_spec_augment,
        **predicted,
        **_head_fields(model_arguments),
    )
    feature_extractor = load_feature_extractor(
        model_arguments.backbone, random_init=model_arguments.random_init, revision=model_arguments.backbone_revision
    )
    return model, feature_extractor


def _predicted(
    model_arguments: ModelArguments, train_clips: ClipDataset, *, training: NvvTrainingArguments
) -> dict[str, Any]:
    """Return the config's fields that say what the model predicts and by which loss it learns."""
    if train_clips.tasks is None:
        names = train_clips.label_names
        weights = None
        if training.class_balanced_loss:
            weights = class_balancing_weights(train_clips.labels, label_names=names)
        contrastive = model_arguments.head == "embedding"
        return {
            "loss": model_arguments.loss or (CONTRASTIVE_LOSS if contrastive else "cross_entropy"),
            "class_weights": weights,
            "id2label": dict(enumerate(names)),
            "label2id": {name: index for index, name in enumerate(names)},
        }
    if training.train_sampling_strategy == "class_balanced":
        raise ArgumentsError(
            "train_sampling_strategy: class_balanced balances the classes of the column label, and tasks are learned "
            "here; choose another."
        )
    weights_of = _task_class_weights(train_clips, train_clips.tasks) if training.class_balanced_loss else {}
    return {
        "tasks": config_tasks(train_clips.tasks, class_weights=weights_of),
        "task_weighting": model_arguments.task_weighting,
    }


def _task_class_weights(train_clips: ClipDataset, tasks: Sequence[TaskSpec]) -> dict[str, list[float]]:
    """Return the weights that balance the classes of each classification, by the clips whose class is known."""
    weights, column = {}, 0
    for task in tasks:
        if task.kind == "classification":
            classes = train_clips.labels[:, column]
            known = classes[~np.isnan(classes)]
            weights[task.name] = class_balancing_weights(known, label_names=task.outputs)
        column += len(task.columns)
    if not weights:
        raise ArgumentsError("class_balanced_loss: has no effect where no task has classes; leave it out.")
    return weights


_HEAD_FIELDS = ("focal_gamma", "lstm_hidden_size", "lstm_layers", "lstm_bidirectional")
_HEAD_FIELDS += ("embedding_size", "contrastive_temperature", "spec_augment")


def _head_fields(model_arguments: ModelArguments) -> dict[str, Any]:
    """Return the fields that only some heads and losses have and that were set."""
    fields = {name: getattr(model_arguments, name) for name in _HEAD_FIELDS}
    return {name: value for name, value in fields.items() if value is not None}


def run_facts(
    groups: Mapping[str, Any],
    *,
    corpus: RunCorpus,
    model: NvvForAudioClassification,
    counts: TrainableParameters,
    training: NvvTrainingArguments,
    method: str,
    tuned_layers: list[int] | None = None,
    best_step: int | None = None,
    best_epoch: float | None = None,
    best_validation_score: float | None = None,
    timing: Mapping[str, float] | None = None,
) -> RunFacts:
    """Collect what a run knows about itself.

    Args:
        groups: the groups of arguments by name, for the resolved configuration.
        corpus: the recordings.
        model: the bare classifier.
        counts: how many parameters it has and how many of them were trained.
        training: seed, device and selection metric.
        method: the tuning method.
        tuned_layers: the encoder layers it applied to, or None for all.
        best_step: as in `RunFacts`.
        best_epoch: as in `RunFacts`.
        best_validation_score: as in `RunFacts`.
        timing: as in `RunFacts`.
    """
    config = model.config
    everything = resolved_config(groups.values())
    dataset_id = hub_dataset_id(groups["data"]) if "data" in groups else None
    is_automatic = training.metric_for_best_model == AUTOMATIC_METRIC
    return RunFacts(
        # With the id, so that a card made later, from the files alone, names the dataset too.
        corpus={**corpus.facts, **({"dataset_id": dataset_id} if dataset_id else {})},
        corpus_config=corpus.protocol,
        backbone_id=public_name(config.backbone_id),
        backbone_revision=config.backbone_revision,
        random_init=config.random_init,
        method=method,
        tuned_layers=tuned_layers,
        total_parameters=counts.total,
        trainable_parameters=counts.trainable,
        seed=training.seed,
        device=device_in_words(training.device),
        config={
            name: {field: everything[field] for field in vars(group) if field in everything}
            for name, group in groups.items()
        },
        best_step=best_step,
        best_epoch=best_epoch,
        best_validation_score=best_validation_score,
        selection_metric=selection_metric(config) if is_automatic else training.metric_for_best_model,
        timing={**(timing or {}), "processes": training.world_size},
    )


def public_name(backbone_id: str) -> str:
    """Return a Hub id or relative folder as it is, and of an absolute path, which names the machine, the last part."""
    return Path(backbone_id).name if Path(backbone_id).is_absolute() else backbone_id


def device_in_words(device: torch.device) -> str:
    """Return a GPU's name, or the kind of device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def hub_dataset_id(data: DataArguments) -> str | None:
    """Return the corpus's id where it came from the Hub."""
    return data.corpus if "/" in data.corpus and not Path(data.corpus).exists() else None
