"""Batches that hold their classes in equal numbers, each at least twice where the batch has room for two clips.

A loss that compares clips with each other (`contrastive_nvv`) learns nothing from a clip without a partner of its class
in the batch; drawn by chance, most batches of a corpus with many or unequal classes hold few pairs. Indices only; when
they are drawn is the neighbour `samplers`' business. Own work.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

_LEAST_OF_A_CLASS = 2  # one clip and a partner


def class_balanced_batches(
    labels: ArrayLike, *, num_places: int, batch_size: int, generator: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Draw the batches of an epoch.

    A batch of b places has room for b // 2 classes. Where there are more, it takes those that have come least so far,
    chance deciding between equals, so that over an epoch all classes get equally many places. The clips of a class come
    in a shuffled order, which starts anew, shuffled again, when all of them have come; a clip is in a batch twice only
    where its class has fewer clips than its places there.

    Args:
        labels: class index of each clip (clips,); clips with one below 0 are of unknown class and left out. At least
            one is not.
        num_places: length of the epoch, ≥ 0.
        batch_size: clips in a batch, > 0; the last one holds what is left.
        generator: decides everything that is left to chance.

    Returns:
        Indices of the clips of each batch, in random order.

    Example:
        >>> batches = class_balanced_batches(
        ...     [0, 0, 0, 0, 1, 1], num_places=6, batch_size=4, generator=np.random.default_rng(0)
        ... )
        >>> [sorted(np.array([0, 0, 0, 0, 1, 1])[batch].tolist()) for batch in batches]
        [[0, 0, 1, 1], [0, 0]]
    """
    values = np.asarray(labels)
    classes = np.unique(values[values >= 0])
    decks = [_Deck(np.flatnonzero(values == label), generator=generator) for label in classes]
    places_so_far = np.zeros(len(classes), dtype=np.int64)
    batches = []
    for start in range(0, num_places, batch_size):
        size = min(batch_size, num_places - start)
        num_classes = min(len(classes), max(1, size // _LEAST_OF_A_CLASS))
        # By places so far, then by chance.
        chosen = np.lexsort((generator.random(len(classes)), places_so_far))[:num_classes]
        places = np.full(num_classes, size // num_classes)
        places[: size % num_classes] += 1
        places_so_far[chosen] += places
        batch = np.concatenate([decks[at].draw(count) for at, count in zip(chosen, places, strict=True)])
        generator.shuffle(batch)
        batches.append(batch)
    return batches


class _Deck:
    """The clips of one class, shuffled, dealt, and shuffled again when all have been dealt.

    Args:
        clips: indices of the clips.
        generator: shuffles.
    """

    def __init__(self, clips: NDArray[np.int64], *, generator: np.random.Generator) -> None:
        self._clips = clips
        self._generator = generator
        self._left = generator.permutation(clips)

    def draw(self, count: int) -> NDArray[np.int64]:
        """Deal so many clips for one batch, none of them twice unless there are too few."""
        drawn = self._left[:count]
        self._left = self._left[count:]
        while len(drawn) < count:
            again = self._generator.permutation(self._clips)
            if count <= len(self._clips):
                # Those that this batch has from the last deck go to the end of the new one.
                again = np.concatenate([again[~np.isin(again, drawn)], again[np.isin(again, drawn)]])
            needed = count - len(drawn)
            drawn, self._left = np.concatenate([drawn, again[:needed]]), again[needed:]
        return drawn
