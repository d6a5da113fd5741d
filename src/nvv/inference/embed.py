"""Embeddings of many clips: of a model's own kind, or those that its backbone gave before anything was tuned.

Batches and threads are the neighbour `classify`'s; what an embedding is in each head is the model's. Own work.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedModel
from transformers.feature_extraction_sequence_utils import SequenceFeatureExtractor

from ..configuration_nvv import NvvConfig
from ..heads_nvv import pool_frames
from ..loading_nvv import load_backbone
from ..modeling_nvv import NvvForAudioClassification
from ..training.dataset import ClipDataset
from .classify import compute_clips
from .model_inputs import Inputs, embeddings_of

__all__ = ["embed_clips", "untuned_model"]


def embed_clips(
    model: PreTrainedModel,
    feature_extractor: SequenceFeatureExtractor,
    clips: ClipDataset,
    *,
    untuned: bool = False,
    max_batch_seconds: float | None = None,
    bf16: bool = False,
    device: torch.device | str | None = None,
    num_workers: int | None = None,
    show_progress: bool = True,
) -> NDArray[np.float32]:
    """Compute the embedding of every clip.

    Args:
        model: an `NvvForAudioClassification`, put into evaluation mode. With the head `embedding` its embeddings have
            length 1; what they are with another, its method `embed` says.
        feature_extractor: the model's.
        clips: the clips; their labels are not looked at.
        untuned: give the hidden states that the head reads, evenly weighted and pooled as the head pools, without
            anything that the head has learned; with what `untuned_model` gives, embeddings from before all training.
        max_batch_seconds: as in `classify_clips`.
        bf16: as in `classify_clips`.
        device: as in `classify_clips`.
        num_workers: as in `classify_clips`.
        show_progress: as in `classify_clips`.

    Returns:
        Embeddings (clips, size) in the clips' order.

    Raises:
        TypeError: for a model of another class.
        ValueError: as `classify_clips`.
        nvv.audio.AudioError: as `classify_clips`.

    Example:
        >>> embeddings = embed_clips(model, feature_extractor, clips)  # doctest: +SKIP
        >>> embeddings.shape == (len(clips), model.config.embedding_size)  # doctest: +SKIP
        True
    """
    if not isinstance(model.config, NvvConfig):
        raise TypeError(f"model: expected an NvvForAudioClassification, found {type(model).__name__}.")
    return compute_clips(
        model,
        feature_extractor,
        clips,
        compute=_pooled_states if untuned else embeddings_of,
        description="Embedding",
        max_batch_seconds=max_batch_seconds,
        bf16=bf16,
        device=device,
        num_workers=num_workers,
        show_progress=show_progress,
    )


def _pooled_states(model: PreTrainedModel, inputs: Inputs) -> torch.Tensor:
    states, frame_mask = model.encode(**inputs)
    return pool_frames(torch.stack(states).mean(dim=0), frame_mask, model.config.pooling)


def untuned_model(model: NvvForAudioClassification, **hub_arguments: Any) -> NvvForAudioClassification:
    """Load a model's backbone as it was before tuning, with the model's front-end and layers and without a head.

    Args:
        model: says which backbone, by its config.
        hub_arguments: `token`, `cache_dir`, `local_files_only`, `force_download`.

    Returns:
        A model for `embed_clips(…, untuned=True)`, in fp32 on the CPU. It cannot classify.

    Raises:
        ValueError: if the backbone cannot be had again, as `nvv.loading_nvv.load_backbone`.
        OSError: if its files are not there.
    """
    config = copy.deepcopy(model.config)
    backbone = load_backbone(config, **hub_arguments)
    with torch.device("meta"):
        untuned = type(model)(config)
    untuned.backbone = backbone
    untuned.head = nn.Identity()
    return untuned.eval()
