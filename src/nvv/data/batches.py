"""Clips in batches of like length, divided over processes and loaded ahead of their use.

Which clips there are and how one is decoded is the callers' business: everything here knows lengths and indices only.
A batch of unequal clips is padded to its longest, so the cost of a batch is its number of clips × its longest clip;
sorting by length makes that about the sum of the clips themselves. Lengths are in samples or any other one unit. Own
work.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np

__all__ = ["default_batch_seconds", "divided_by_length", "length_sorted_batches", "prefetched"]

Item = TypeVar("Item")
Loaded = TypeVar("Loaded")


def default_batch_seconds(device_type: str) -> float:
    """Return how much audio to put into one batch of an encoder where nobody says: measured on CPUs, ample on others.

    Args:
        device_type: as torch calls it, such as `cpu`.

    Returns:
        Seconds, padding included. On a CPU larger batches are up to a third slower: what a layer makes of them is put
        into memory that the system has to map anew each time.
    """
    return 30.0 if device_type == "cpu" else 240.0


def length_sorted_batches(
    lengths: Sequence[int], *, max_batch_samples: int, max_batch_clips: int | None = None
) -> list[list[int]]:
    """Put clips into batches by falling length, so that the largest batch comes first and little is padding.

    Args:
        lengths: Length of each clip in samples (clips,), ≥ 0.
        max_batch_samples: Number of clips times the longest of them, at most, > 0. A clip that is longer than this by
            itself makes a batch of its own.
        max_batch_clips: Clips in a batch at most, > 0. None: as many as fit.

    Returns:
        The indices of the clips of each batch. Every clip is in one of them; equally long ones keep their order.

    Raises:
        ValueError: If a limit is not positive or a length is negative.

    Example:
        >>> length_sorted_batches([3, 10, 4, 5], max_batch_samples=10)
        [[1], [3, 2], [0]]
    """
    _check_positive("max_batch_samples", max_batch_samples)
    if max_batch_clips is not None:
        _check_positive("max_batch_clips", max_batch_clips)
    batches: list[list[int]] = []
    longest = 0
    for index in _by_falling_length(lengths):
        length = max(1, int(lengths[index]))
        # Clips come by falling length: the first of a batch is its longest.
        fits = bool(batches) and (len(batches[-1]) + 1) * longest <= max_batch_samples
        if fits and (max_batch_clips is None or len(batches[-1]) < max_batch_clips):
            batches[-1].append(index)
        else:
            batches.append([index])
            longest = length
    return batches


def divided_by_length(lengths: Sequence[int], *, num_shares: int) -> list[list[int]]:
    """Divide clips into shares of like total length: each clip, by falling length, goes to the share that has least.

    Args:
        lengths: Length of each clip in samples (clips,), ≥ 0.
        num_shares: How many shares, > 0.

    Returns:
        The indices of the clips of each share, by falling length; a share is empty where there are fewer clips than
        shares.

    Raises:
        ValueError: If there is to be no share, or a length is negative.

    Example:
        >>> divided_by_length([60, 10, 20, 30], num_shares=2)
        [[0], [3, 2, 1]]

    Reference:
        Graham, "Bounds on Multiprocessing Timing Anomalies", SIAM Journal on Applied Mathematics, 1969: the fullest
        share is at most 4/3 of the best possible one.
    """
    _check_positive("num_shares", num_shares)
    shares: list[list[int]] = [[] for _ in range(num_shares)]
    totals = [(0, share) for share in range(num_shares)]
    for index in _by_falling_length(lengths):
        total, share = heapq.heappop(totals)
        shares[share].append(index)
        # At least 1, or clips without a length would all go to one share.
        heapq.heappush(totals, (total + max(1, int(lengths[index])), share))
    return shares


def prefetched(items: Iterable[Item], load: Callable[[Item], Loaded], *, num_workers: int) -> Iterator[Loaded]:
    """Load items ahead of their use, in threads, and give the results in the items' order.

    For work that releases Python's interpreter lock, as reading, decoding, hashing and torch do. At most
    `num_workers + 1` results wait at a time. Where the consumer stops early, what was begun is finished and dropped.

    Args:
        items: What to load; consumed as the results are.
        load: Called once for each item.
        num_workers: Threads; 0 loads each item when it is asked for.

    Returns:
        The results of `load`. An error that `load` raises is raised in the place of its result.

    Raises:
        ValueError: If `num_workers` is negative.

    Example:
        >>> list(prefetched([1, 2, 3], str, num_workers=2))
        ['1', '2', '3']
    """
    if num_workers < 0:
        raise ValueError(f"num_workers: expected 0 or more, found {num_workers}.")
    if num_workers == 0:
        return map(load, items)
    return _prefetched(items, load, num_workers=num_workers)


def _prefetched(items: Iterable[Item], load: Callable[[Item], Loaded], *, num_workers: int) -> Iterator[Loaded]:
    pool = ThreadPoolExecutor(num_workers, thread_name_prefix="prefetch")
    waiting: deque[Future[Loaded]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(load, item))
            if len(waiting) > num_workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _by_falling_length(lengths: Sequence[int]) -> list[int]:
    values = np.asarray(lengths, dtype=np.int64)
    if values.size and values.min() < 0:
        raise ValueError(f"lengths: expected 0 samples or more, found {values.min()} at {int(values.argmin())}.")
    return np.argsort(-values, kind="stable").tolist()


def _check_positive(name: str, value: int) -> None:
    if value <= 0:
        raise ValueError(f"{name}: expected more than 0, found {value!r}.")
