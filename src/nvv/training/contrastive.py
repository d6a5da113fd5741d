"""Class centroids: what makes a classifier of a model that was trained to embed, not to classify.

The supervised contrastive loss knows no classifier. After it, a clip belongs to the class whose training clips it lies
nearest to, by the angle between its embedding and their mean: the head keeps these means in a buffer, so that a saved
model answers with classes wherever it is loaded. Here they are computed, from the training clips as evaluation hears
them: without augmentation, dropout and random crops. After Snell et al. 2017, Prototypical Networks, with angles in
the place of distances; own code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from accelerate.utils import gather_object
from numpy.typing import NDArray
from transformers.utils import logging

from ..audio import SAMPLING_RATE
from ..data.batches import default_batch_seconds, length_sorted_batches
from .side_by_side import computed_batches

if TYPE_CHECKING:
    from ..modeling_nvv import NvvForAudioClassification
    from .dataset import ClipDataset
    from .trainer import NvvTrainer

__all__ = ["has_centroids", "refresh_centroids", "set_centroids"]

logger = logging.get_logger(__name__)


def has_centroids(trainer: NvvTrainer) -> bool:
    """Say whether the model classifies by centroids."""
    return trainer.classifier.config.head == "embedding"


def set_centroids(trainer: NvvTrainer) -> None:
    """Embed the training clips and set the centroids of the head that is in use, the same in every process.

    A centroid is the mean of the embeddings of a class's training clips, brought to length 1. Nothing is drawn at
    random, so a run that does this more often than another trains the same. To be called in every process; does nothing
    where there are no training clips (a Trainer that only evaluates keeps the centroids of the model).

    Args:
        trainer: has the model, bare or in a `PeftModel`, and the training clips, some of which may lack a label.

    Raises:
        ValueError: if the model's head has no centroids.
        nvv.audio.AudioError: for a clip that cannot be decoded, naming it.
    """
    classifier = trainer.classifier
    if classifier.config.head != "embedding":
        raise ValueError(f"head: expected embedding, which classifies by centroids; found {classifier.config.head!r}.")
    if trainer.train_dataset is None:
        return
    sums, counts = _sums_by_class(trainer, classifier)
    # Every process adds the same numbers in the same order, so the centroids are equal to the last bit.
    parts = gather_object([(sums, counts)])
    sums, counts = sum(part for part, _ in parts), sum(part for _, part in parts)
    absent = [classifier.config.id2label[index] for index in np.flatnonzero(counts == 0)]
    if absent:
        logger.warning_once(
            f"No training clip of {', '.join(absent)}: these classes have no centroid, and their logits are 0."
        )
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    centroids = np.divide(sums, lengths, out=np.zeros_like(sums), where=lengths > 0)
    # In place: PEFT's wrapper hands out the tensor of the head in use, and would keep an assigned one to itself.
    target = classifier.head.centroids
    target.copy_(torch.from_numpy(centroids).to(target))
    trainer.centroids_step = trainer.state.global_step


def refresh_centroids(trainer: NvvTrainer) -> None:
    """Set the centroids unless they are those of the present weights; to be called before a checkpoint is saved.

    Args:
        trainer: as in `set_centroids`.
    """
    if getattr(trainer, "centroids_step", None) != trainer.state.global_step:
        set_centroids(trainer)


def _sums_by_class(
    trainer: NvvTrainer, classifier: NvvForAudioClassification
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Add up the embeddings of this process's share of the training clips.

    Returns:
        Sums (labels, size) and numbers of clips (labels,).
    """
    dataset: ClipDataset = trainer.train_dataset
    config, device = classifier.config, classifier.device
    sums = np.zeros((config.num_labels, config.embedding_size))
    counts = np.zeros(config.num_labels, dtype=np.int64)
    batches = _batches(trainer, classifier)[trainer.args.process_index :: trainer.args.world_size]

    def load(indices: list[int]) -> tuple[list[int], dict[str, torch.Tensor]]:
        clips = [{"input_values": dataset.from_start(index), "labels": dataset.labels[index]} for index in indices]
        batch = trainer.data_collator(clips)
        return indices, {name: batch[name].to(device) for name in ("input_values", "attention_mask")}

    def embed(loaded: tuple[list[int], dict[str, torch.Tensor]]) -> tuple[list[int], NDArray[np.float64]]:
        indices, inputs = loaded
        # Neither context reaches another thread by itself.
        with torch.no_grad(), trainer.accelerator.autocast():
            return indices, classifier.embed(**inputs).float().cpu().numpy().astype(np.float64)

    was_training = trainer.model.training
    trainer.model.eval()
    for indices, embeddings in computed_batches(batches, load, embed, device_type=device.type, num_workers=0):
        labels = dataset.labels[indices]
        np.add.at(sums, labels, embeddings)
        counts += np.bincount(labels, minlength=config.num_labels)
    trainer.model.train(was_training)
    return sums, counts


def _batches(trainer: NvvTrainer, classifier: NvvForAudioClassification) -> list[list[int]]:
    """Put the training clips that have a label into batches of like length."""
    config, dataset = classifier.config, trainer.train_dataset
    labelled = np.flatnonzero(dataset.labels >= 0)
    if config.padding == "silence":  # every clip is heard with its silence
        samples = np.full(len(labelled), round(config.padding_seconds * SAMPLING_RATE))
    else:
        samples = np.asarray(dataset.lengths)[labelled]
    batches = length_sorted_batches(
        samples,
        max_batch_samples=round(default_batch_seconds(classifier.device.type) * SAMPLING_RATE),
        max_batch_clips=trainer.args.per_device_eval_batch_size,
    )
    return [labelled[batch].tolist() for batch in batches]
