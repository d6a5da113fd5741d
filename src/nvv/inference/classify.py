"""What a model makes of many clips, such as their logits: batches of like length, decoded ahead, without a Trainer.

The classifiers of this package hide padding, so clips of unequal length share a batch. Those of transformers do not:
each of their clips is prepared by itself, exactly as `pipeline("audio-classification")` does it, and only what then has
equal shape shares a batch. In either case a clip's logits do not depend on the clips beside it. Batches are made in
``nvv.data.batches``, a model's inputs in the neighbour `model_inputs`, models come from `load`; sounds that are too
many to be listed first go through `streams`. Own work.
"""

from __future__ import annotations

from contextlib import closing
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm.auto import tqdm
from transformers import PreTrainedModel
from transformers.feature_extraction_sequence_utils import SequenceFeatureExtractor

from ..audio import SAMPLING_RATE
from ..data.batches import default_batch_seconds, length_sorted_batches
from ..processors import default_num_workers
from ..training.dataset import ClipDataset
from ..training.side_by_side import computed_batches
from .model_inputs import Compute, Inputs, batch_inputs, check_feature_extractor, forward_batch, logits_of, made_ready

__all__ = ["classify_clips", "compute_clips"]


def classify_clips(
    model: PreTrainedModel,
    feature_extractor: SequenceFeatureExtractor,
    clips: ClipDataset,
    *,
    max_batch_seconds: float | None = None,
    bf16: bool = False,
    device: torch.device | str | None = None,
    num_workers: int | None = None,
    show_progress: bool = True,
) -> NDArray[np.float32]:
    """Compute the logits of every clip.

    Args:
        model: an `NvvForAudioClassification`, or any of transformers' audio classifiers; put into evaluation mode.
        feature_extractor: the model's.
        clips: the clips; their labels are not looked at.
        max_batch_seconds: seconds of audio in a batch at most, padding included, > 0; None: what suits the
            device. Changes speed and memory, not logits. A longer clip makes a batch of its own.
        bf16: compute in bfloat16 throughout, in a copy of the model: faster where the processor can, and less exact
            (logits differ by some hundredths).
        device: where to compute; the model is moved there. None: where it is.
        num_workers: threads that decode ahead, 0 for none. None: one a processor, at most eight.
        show_progress: draw a progress bar.

    Returns:
        Logits (clips, labels) in the clips' order.

    Raises:
        ValueError: for a feature extractor of another sampling rate than 16 kHz, or a limit that is not positive.
        nvv.audio.AudioError: for a clip that cannot be decoded, naming it.

    Example:
        >>> logits = classify_clips(model, feature_extractor, clips)  # doctest: +SKIP
        >>> logits.shape == (len(clips), model.config.num_labels)  # doctest: +SKIP
        True
    """
    return compute_clips(
        model,
        feature_extractor,
        clips,
        compute=logits_of,
        description="Classifying",
        max_batch_seconds=max_batch_seconds,
        bf16=bf16,
        device=device,
        num_workers=num_workers,
        show_progress=show_progress,
    )


def compute_clips(
    model: PreTrainedModel,
    feature_extractor: SequenceFeatureExtractor,
    clips: ClipDataset,
    *,
    compute: Compute,
    description: str,
    max_batch_seconds: float | None = None,
    bf16: bool = False,
    device: torch.device | str | None = None,
    num_workers: int | None = None,
    show_progress: bool = True,
) -> NDArray[np.float32]:
    """Compute one row of numbers for every clip.

    Args:
        model: as in `classify_clips`.
        feature_extractor: as in `classify_clips`.
        clips: as in `classify_clips`.
        compute: rows (batch, numbers) from the model and a batch; in several threads at once on a CPU.
        description: of the progress bar.
        max_batch_seconds: as in `classify_clips`.
        bf16: as in `classify_clips`.
        device: as in `classify_clips`.
        num_workers: as in `classify_clips`.
        show_progress: as in `classify_clips`.

    Returns:
        The rows (clips, numbers) in the clips' order.

    Raises:
        ValueError: as `classify_clips`.
        nvv.audio.AudioError: as `classify_clips`.
    """
    if max_batch_seconds is not None and max_batch_seconds <= 0:
        raise ValueError(f"max_batch_seconds: expected more than 0, found {max_batch_seconds!r}.")
    check_feature_extractor(feature_extractor)
    model = made_ready(model, dtype=torch.bfloat16 if bf16 else None, device=device)
    prepared = batch_inputs(model, feature_extractor)
    seconds = default_batch_seconds(model.device.type) if max_batch_seconds is None else max_batch_seconds
    batches = length_sorted_batches(
        [prepared.cost(length) for length in clips.lengths], max_batch_samples=max(1, round(seconds * SAMPLING_RATE))
    )

    def load(indices: list[int]) -> list[tuple[list[int], Inputs]]:
        waveforms = [clips[index]["input_values"] for index in indices]
        return [([indices[place] for place in places], inputs) for places, inputs in prepared.prepare(waveforms)]

    rows: NDArray[np.float32] | None = None
    computed = computed_batches(
        batches,
        load,
        lambda loaded: [(indices, forward_batch(model, inputs, compute)) for indices, inputs in loaded],
        device_type=model.device.type,
        num_workers=default_num_workers() if num_workers is None else num_workers,
    )
    with (
        closing(computed),
        tqdm(total=len(clips), desc=description, unit="clip", leave=False, disable=not show_progress) as progress,
    ):
        for indices, values in chain.from_iterable(computed):
            if rows is None:
                rows = np.empty((len(clips), values.shape[-1]), dtype=np.float32)
            rows[indices] = values
            progress.update(len(indices))
    return rows
