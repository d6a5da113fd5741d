"""The order of clips: by length in evaluation; in training shuffled, in batches of like length or of balanced classes.

Orders depend on seed and epoch only, never on torch's global random state: transformers' own length-grouped sampler
draws from that state, so a run resumed within an epoch, or one of several processes that has drawn once more than
another, would see other batches. Length grouping follows the idea of that sampler (sort within large random blocks);
unlike it, the batches of a block are shuffled, so that the optimiser does not see lengths fall. Which clips make up a
class-balanced batch is the neighbour `class_batches`'. Own work.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike

from .arguments import ArgumentsError
from .class_batches import class_balanced_batches

_BATCHES_PER_BLOCK = 20
"""More: less padding, but batches that hold the same neighbours epoch after epoch."""


class TrainingSampler(torch.utils.data.Sampler):
    """Gives (index, epoch) pairs of a whole epoch, for `ClipDataset`.

    Args:
        lengths: length of each clip (clips,), any unit.
        strategy: `group_by_length`, `random`, `sequential`, or `class_balanced`: every batch holds its classes in as
            equal numbers as possible and none of them once only, so that clips of rare classes come several times an
            epoch, and some of frequent ones in other epochs; an epoch has as many places as there are clips.
        batch_size: clips in a batch, > 0; matters to `group_by_length` and `class_balanced` only. For a loss over a
            whole update, `class_balanced` wants the clips of the update.
        seed: of the shuffling.
        labels: class index of each clip (clips,), below 0 where missing; for `class_balanced`, and needed there.

    Raises:
        ArgumentsError: if `class_balanced` lacks the labels, they are not whole numbers, one for each clip, or all are
            missing.

    Example:
        >>> list(TrainingSampler([3, 1, 2], strategy="sequential", batch_size=2, seed=0))
        [(0, 0), (1, 0), (2, 0)]
    """

    def __init__(
        self, lengths: Sequence[int], *, strategy: str, batch_size: int, seed: int, labels: ArrayLike | None = None
    ) -> None:
        self._lengths = np.asarray(lengths)
        self._strategy = strategy
        self._batch_size = batch_size
        self._seed = seed
        self._labels = _checked(labels, num_clips=len(self._lengths)) if strategy == "class_balanced" else None
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, from 0; transformers and accelerate call this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch = self.epoch
        return iter([(int(index), epoch) for index in self._order(epoch)])

    def _order(self, epoch: int) -> np.ndarray:
        """Return the epoch's clip indices (clips,)."""
        indices = np.arange(len(self._lengths))
        if self._strategy == "sequential":
            return indices
        generator = np.random.default_rng((self._seed, epoch))
        if self._labels is not None:
            batches = class_balanced_batches(
                self._labels, num_places=len(indices), batch_size=self._batch_size, generator=generator
            )
            return np.concatenate(batches)
        generator.shuffle(indices)
        if self._strategy == "random":
            return indices
        block_size = self._batch_size * _BATCHES_PER_BLOCK
        blocks = [indices[start : start + block_size] for start in range(0, len(indices), block_size)]
        return np.concatenate([self._group(block, generator=generator) for block in blocks])

    def _group(self, block: np.ndarray, *, generator: np.random.Generator) -> np.ndarray:
        """Put the clips of one block into batches of like length, in random order."""
        block = block[np.argsort(-self._lengths[block], kind="stable")]
        batches = [block[start : start + self._batch_size] for start in range(0, len(block), self._batch_size)]
        # An incomplete batch stays last, or it would shift every batch after it.
        incomplete = [batches.pop()] if len(batches[-1]) < self._batch_size else []
        generator.shuffle(batches)
        return np.concatenate([*batches, *incomplete])


def _checked(labels: ArrayLike | None, *, num_clips: int) -> np.ndarray:
    """Return the labels that classes are balanced by (clips,)."""
    if labels is None:
        raise ArgumentsError("train_sampling_strategy: class_balanced needs the class of each clip; found none.")
    values = np.asarray(labels)
    if values.shape != (num_clips,) or not np.issubdtype(values.dtype, np.integer):
        raise ArgumentsError(
            f"train_sampling_strategy: class_balanced needs one class index for each of the {num_clips} clips, found "
            f"{values.dtype} of shape {values.shape}. Choose another one for targets that are no classes."
        )
    if (values < 0).all():
        raise ArgumentsError(
            "train_sampling_strategy: class_balanced needs clips with a class; every label is missing."
        )
    return values


class LengthSortedSampler(torch.utils.data.Sampler):
    """Gives indices by falling length, so that a batch holds clips of like length and the largest batch comes first.

    Args:
        lengths: length of each clip (clips,), any unit.

    Example:
        >>> list(LengthSortedSampler([3, 1, 2]))
        [0, 2, 1]
    """

    def __init__(self, lengths: Sequence[int]) -> None:
        self.order: np.ndarray = np.argsort(-np.asarray(lengths), kind="stable")

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[int]:
        return iter(self.order.tolist())
