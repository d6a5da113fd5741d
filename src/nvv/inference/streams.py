"""What a model makes of any number of sounds, in constant memory and in their order.

Sounds are loaded ahead in threads, wait in a pool that holds a bounded number of seconds, and leave it in batches of
like length; each batch holds the sound that has waited longest, so that no answer is held back for long. Which batches
there are depends on the sounds and the limits only, not on time. A batch's inputs are the neighbour `model_inputs`',
what the numbers mean is `readings`'; clips that are listed first go through `classify`, with less padding. Own work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from ..audio import SAMPLING_RATE, AudioError, crop
from ..data.batches import default_batch_seconds, prefetched
from ..processors import default_num_workers
from ..training.arguments import ArgumentsError
from ..training.side_by_side import computed_batches
from .load import Classifier
from .model_inputs import (
    BatchInputs,
    Compute,
    Inputs,
    batch_inputs,
    check_feature_extractor,
    forward_batch,
    logits_of,
    made_ready,
)

__all__ = ["DTYPES", "Answer", "Sound", "compute_stream", "heard_seconds", "ready_classifier"]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""Precisions to compute in, by name."""

Answer: TypeAlias = tuple[Any, "NDArray[np.float32] | AudioError"]
"""A sound's key, and its row of numbers or why there is none."""

_FIRST_POOL_BATCHES, _POOL_BATCHES = 2, 8  # small at first, so that the first answers come soon
_POOL_SOUNDS = 4096  # however short they are


@dataclass(frozen=True)
class Sound:
    """A sound that can be loaded when its turn comes.

    Args:
        key: whatever says which it is; comes back with the answer, and names it in errors.
        load: gives the float32 mono waveform (samples,) at 16 kHz. Called once, in a thread ahead of use; may raise
            AudioError or OSError.
    """

    key: Any
    load: Callable[[], NDArray[np.float32]]


def ready_classifier(
    classifier: Classifier, *, dtype: str | None = None, device: torch.device | str | None = None
) -> Classifier:
    """Return a classifier where and in which precision it is to compute, once for several streams.

    Args:
        classifier: its model is moved to the device.
        dtype: float32, bfloat16 or float16; None: as the model is.
        device: None: where it is.

    Returns:
        The classifier; in another precision with a copy of the model.

    Raises:
        ArgumentsError: for a precision that is unknown, or that the device cannot compute in.
    """
    if dtype is not None and dtype not in DTYPES:
        raise ArgumentsError(f"dtype: expected one of {', '.join(DTYPES)}, found {dtype!r}.")
    wanted = None if dtype is None else DTYPES[dtype]
    model = made_ready(classifier.model, dtype=wanted, device=device)
    if model is classifier.model:
        return classifier
    ready = Classifier(**{**vars(classifier), "model": model})
    if wanted == torch.float16 and model.device.type == "cpu":
        _check_half_precision(ready)
    return ready


def heard_seconds(classifier: Classifier) -> float | None:
    """Return how much of a sound a model hears, from its start, in seconds; None for all of it, and where unknown."""
    if classifier.max_seconds is not None:
        return classifier.max_seconds
    max_samples = batch_inputs(classifier.model, classifier.feature_extractor).max_samples()
    return None if max_samples is None else max_samples / SAMPLING_RATE


def compute_stream(
    classifier: Classifier,
    sounds: Iterable[Sound | None],
    *,
    compute: Compute = logits_of,
    max_batch_seconds: float | None = None,
    max_batch_sounds: int | None = None,
    dtype: str | None = None,
    device: torch.device | str | None = None,
    num_workers: int | None = None,
) -> Iterator[Answer]:
    """Compute one row of numbers for every sound.

    In memory at a time are, beside the model: 8 batches of waveforms that wait, one or two for each that is computed,
    and a sound for each thread that loads.

    Args:
        classifier: what `load_classifier` gave. Sounds are cut to what it hears (`heard_seconds`).
        sounds: the sounds, however many; consumed in the caller's thread as the answers are. None among them says that
            the next one is not there yet: sounds that wait for others to share their batch are then computed at once.
        compute: rows (batch, …) from the model and a batch; in several threads at once on a CPU.
        max_batch_seconds: seconds of audio in a batch at most, padding included, > 0; None: what suits the device. A
            longer sound makes a batch of its own. Changes speed and memory, not numbers.
        max_batch_sounds: sounds in a batch at most, > 0; None: as many as fit.
        dtype: as in `ready_classifier`. In another precision than the model's, a copy is made for this stream.
        device: as in `ready_classifier`.
        num_workers: threads that load ahead, 0 for none. None: one a processor, at most eight.

    Returns:
        For every sound, in the order of `sounds`, its key and its row, or the error that loading it ended with. Close
        the iterator to stop early: what is being computed is finished, and the threads end.

    Raises:
        ArgumentsError: for a limit or number out of range, or as `ready_classifier`; while it computes, for a batch
            that does not fit into the device's memory.
        ValueError: for a feature extractor of another sampling rate than 16 kHz.

    Example:
        >>> sounds = [Sound(key=path, load=partial(decode_audio, path)) for path in paths]  # doctest: +SKIP
        >>> for path, row in compute_stream(load_classifier("runs/lora"), sounds):  # doctest: +SKIP
        ...     print(path, row if isinstance(row, AudioError) else row.argmax())
    """
    for name, limit in (("max_batch_seconds", max_batch_seconds), ("max_batch_sounds", max_batch_sounds)):
        if limit is not None and limit <= 0:
            raise ArgumentsError(f"{name}: expected more than 0, found {limit!r}.")
    num_workers = default_num_workers() if num_workers is None else num_workers
    if num_workers < 0:
        raise ArgumentsError(f"num_workers: expected 0 or more, found {num_workers!r}.")
    check_feature_extractor(classifier.feature_extractor)
    ready = ready_classifier(classifier, dtype=dtype, device=device)
    if max_batch_seconds is None:
        max_batch_seconds = default_batch_seconds(ready.model.device.type)
    return _answers(
        ready,
        sounds,
        compute=compute,
        max_batch_samples=max(1, round(max_batch_seconds * SAMPLING_RATE)),
        max_batch_sounds=max_batch_sounds or _POOL_SOUNDS,
        num_workers=num_workers,
    )


# ----------------------------------------------------------------------------------------------------------------------
# Sounds, batches, answers
# ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Loaded:
    """A sound that is decoded, or could not be: its place in the stream, and one of a waveform and an error."""

    number: int
    key: Any
    waveform: NDArray[np.float32] | None = None
    error: AudioError | None = None


_Prepared: TypeAlias = "list[tuple[list[_Loaded], Inputs | None]]"


def _answers(
    classifier: Classifier,
    sounds: Iterable[Sound | None],
    *,
    compute: Compute,
    max_batch_samples: int,
    max_batch_sounds: int,
    num_workers: int,
) -> Iterator[Answer]:
    """Load, batch and compute; answers wait only for those before them."""
    model = classifier.model
    inputs = batch_inputs(model, classifier.feature_extractor)
    loader = _Loader(max_seconds=heard_seconds(classifier), min_samples=inputs.min_samples())
    loaded = prefetched(_numbered(sounds), loader, num_workers=num_workers)
    batches = _batches(loaded, cost=inputs.cost, max_batch_samples=max_batch_samples, max_batch_sounds=max_batch_sounds)

    def forward(prepared: _Prepared) -> list[tuple[int, Answer]]:
        answers: list[tuple[int, Answer]] = []
        for group, names in prepared:
            if names is None:
                answers += [(one.number, (one.key, one.error)) for one in group]
                continue
            try:
                rows = forward_batch(model, names, compute)
            except torch.OutOfMemoryError as error:
                raise _too_large(group, model.device) from error
            # Copies: a row that is kept must not keep its batch.
            answers += [(one.number, (one.key, row.copy())) for one, row in zip(group, rows, strict=True)]
        return answers

    computed = computed_batches(
        batches,
        lambda batch: _prepared(batch, inputs),
        forward,
        device_type=model.device.type,
        num_workers=num_workers,
    )
    waiting: dict[int, Answer] = {}
    next_number = 0
    with closing(_closed_together(computed, batches, loaded)) as computed_answers:
        for answers in computed_answers:
            waiting.update(answers)
            while next_number in waiting:
                yield waiting.pop(next_number)
                next_number += 1


def _numbered(sounds: Iterable[Sound | None]) -> Iterator[tuple[int, Sound] | None]:
    number = 0
    for sound in sounds:
        if sound is None:
            yield None
        else:
            yield number, sound
            number += 1


def _closed_together(
    results: Iterator[list[tuple[int, Answer]]], *sources: Iterator[Any]
) -> Iterator[list[tuple[int, Answer]]]:
    """Give the results, and however that ends close what they come from, the last stage first."""
    try:
        yield from results
    finally:
        for iterator in (results, *sources):
            close = getattr(iterator, "close", None)  # a map has none, and no threads either
            if close is not None:
                close()


@dataclass(frozen=True)
class _Loader:
    """Loads sounds and cuts them to what the model hears."""

    max_seconds: float | None
    min_samples: int

    def __call__(self, numbered: tuple[int, Sound] | None) -> _Loaded | None:
        if numbered is None:
            return None
        number, sound = numbered
        try:
            waveform = sound.load()
        except AudioError as error:
            return _Loaded(number, sound.key, error=error)
        except OSError as error:
            return _Loaded(number, sound.key, error=AudioError(f"{sound.key}: {error.strerror or error}."))
        if self.max_seconds is not None:
            cut = crop(waveform, max_seconds=self.max_seconds)
            # A copy: what was cut off must not stay in memory.
            waveform = waveform if len(cut) == len(waveform) else cut.copy()
        if len(waveform) < self.min_samples:
            found, needed = (1000 * samples / SAMPLING_RATE for samples in (len(waveform), self.min_samples))
            message = f"{sound.key}: too short for this model, {found:.1f} ms where it needs {needed:.1f} ms."
            return _Loaded(number, sound.key, error=AudioError(message))
        return _Loaded(number, sound.key, waveform=waveform)


def _batches(
    loaded: Iterator[_Loaded | None], *, cost: Callable[[int], int], max_batch_samples: int, max_batch_sounds: int
) -> Iterator[list[_Loaded]]:
    """Collect sounds in a pool, and give batches of like length from it; an error makes a batch of its own.

    Where no sound follows soon the pool is emptied, and empty batches push those before them through what looks ahead.
    """
    pool: list[_Loaded] = []
    room = _FIRST_POOL_BATCHES * max_batch_samples

    def taken() -> list[_Loaded]:
        return _taken_from(pool, cost=cost, max_batch_samples=max_batch_samples, max_sounds=max_batch_sounds)

    pooled = 0
    for one in loaded:
        if one is None:
            while pool:
                yield taken()
            pooled = 0
            yield []
            continue
        if one.waveform is None:
            yield [one]
            continue
        pool.append(one)
        pooled += cost(len(one.waveform))
        while pooled >= room or len(pool) >= _POOL_SOUNDS:
            batch = taken()
            pooled -= sum(cost(len(sound.waveform)) for sound in batch)
            room = min(room + max_batch_samples, _POOL_BATCHES * max_batch_samples)
            yield batch
    while pool:
        yield taken()


def _taken_from(
    pool: list[_Loaded], *, cost: Callable[[int], int], max_batch_samples: int, max_sounds: int
) -> list[_Loaded]:
    """Take from the pool a batch by falling cost: the oldest sound, and those that fill the batch best beside it."""
    ordered = sorted(pool, key=lambda one: -cost(len(one.waveform)))  # stable: equal ones keep their order
    oldest = ordered.index(pool[0])
    costs = [max(1, cost(len(one.waveform))) for one in ordered]
    totals = list(accumulate(costs, initial=0))
    best, best_fill = slice(oldest, oldest + 1), 0
    for start in range(oldest, -1, -1):
        # The first of a batch is its longest, to which the others are padded.
        stop = min(start + max(1, min(max_batch_samples // costs[start], max_sounds)), len(ordered))
        if stop <= oldest:
            break
        if totals[stop] - totals[start] > best_fill:
            best, best_fill = slice(start, stop), totals[stop] - totals[start]
    batch = ordered[best]
    taken = {one.number for one in batch}
    pool[:] = [one for one in pool if one.number not in taken]
    return batch


def _prepared(batch: Sequence[_Loaded], inputs: BatchInputs) -> _Prepared:
    """Make the inputs of a batch; sounds of different shapes come in several groups."""
    if not batch:
        return []
    if batch[0].waveform is None:
        return [(list(batch), None)]
    return [
        ([batch[place] for place in places], names) for places, names in inputs.prepare([one.waveform for one in batch])
    ]


def _too_large(group: Sequence[_Loaded], device: torch.device) -> ArgumentsError:
    """Say what to do about a batch that does not fit into memory."""
    longest = max(len(one.waveform) for one in group) / SAMPLING_RATE
    return ArgumentsError(
        f"max_batch_seconds: a batch of {len(group)} sounds of up to {longest:.1f} s does not fit into the memory of "
        f"{device}. Lower it (--batch-seconds), or use --dtype bfloat16 or another --device."
    )


def _check_half_precision(classifier: Classifier) -> None:
    """Refuse float16 on a CPU for a model with operations that have none there."""
    second = np.random.default_rng(0).normal(0, 0.1, SAMPLING_RATE).astype(np.float32)
    inputs = batch_inputs(classifier.model, classifier.feature_extractor).prepare([second])
    try:
        forward_batch(classifier.model, inputs[0][1], logits_of)
    except RuntimeError as error:
        raise ArgumentsError(
            f"dtype: this model cannot compute in float16 on a CPU ({str(error).splitlines()[0]}). Use bfloat16 or "
            "float32, or a GPU (--device cuda)."
        ) from error
