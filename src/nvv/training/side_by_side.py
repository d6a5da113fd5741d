"""Batches through an encoder: on a CPU several at a time, each on a thread of its own; elsewhere one after another.

Threads that share one batch meet at the end of every operation, and wait for the slowest. On a machine that has other
work too they wait most of the time, busily: two threads on two processors, one of them taken, need two and a half times
as long as a single thread. Threads with a batch each never wait. Which batches there are, and what is done with one, is
the callers' business. Own work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import TypeVar

import torch

from ..data.batches import prefetched

__all__ = ["computed_batches"]

Batch = TypeVar("Batch")
Loaded = TypeVar("Loaded")
Result = TypeVar("Result")

_MAX_SIDE_BY_SIDE = 8
"""Batches in memory at once; with more processors, several of them share a batch."""


def computed_batches(
    batches: Iterable[Batch],
    load: Callable[[Batch], Loaded],
    compute: Callable[[Loaded], Result],
    *,
    device_type: str,
    num_workers: int,
) -> Iterator[Result]:
    """Load and compute batches, and give the results in their order.

    Args:
        batches: What to compute; consumed as the results are, a few batches ahead.
        load: Decodes and pads a batch, in a thread.
        compute: Runs the encoder. On a CPU in several threads at once, so it must change nothing; it does not inherit
            the caller's inference mode.
        device_type: Where `compute` computes, as torch calls it.
        num_workers: Threads that load ahead of a computation which takes all of the device; 0 for none.

    Yields:
        What `compute` returned. While this runs on a CPU, operations of the caller have fewer threads.

    Raises:
        ValueError: If `num_workers` is negative.
    """
    num_threads = torch.get_num_threads()
    batches = iter(batches)
    first = list(islice(batches, min(num_threads, _MAX_SIDE_BY_SIDE)))
    batches = chain(first, batches)
    side_by_side = len(first)
    if device_type != "cpu" or side_by_side < 2:
        yield from map(compute, prefetched(batches, load, num_workers=num_workers))
        return
    threads_of_each = num_threads // side_by_side

    def load_and_compute(batch: Batch) -> Result:
        torch.set_num_threads(threads_of_each)  # each thread has its own number
        return compute(load(batch))

    torch.set_num_threads(threads_of_each)
    try:
        yield from prefetched(batches, load_and_compute, num_workers=side_by_side)
    finally:
        torch.set_num_threads(num_threads)
