"""A recording of any length, and what a model hears in it when.

The recording is decoded in blocks, cut into overlapping windows, and forgotten as soon as they have been through the
model; what is kept is a row of scores for each hop and a level for each 20 ms. Scores are smoothed and compared with
thresholds, what is above them joined over short gaps, and its ends moved to where the sound begins and stops. The steps
are the neighbours `plan`, `long_audio`, `windows`, `smoothing`, `detection` and `levels`; running the model is
``nvv.inference``'s. Own work.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm.auto import tqdm

from ..audio import SAMPLING_RATE, AudioError, audio_duration
from ..inference.load import Classifier, ModelError
from ..inference.readings import is_trained, scores_of
from ..inference.streams import Sound, compute_stream
from .detection import find_events
from .events import Event
from .levels import LevelMeter, level_dbfs
from .long_audio import decode_blocks_ahead
from .plan import SegmentationPlan, plan_segmentation
from .settings import SegmentationSettings
from .smoothing import smooth_scores
from .windows import Window, WindowCutter, cell_borders, num_cells, window_starts

__all__ = ["Segmentation", "segment_file"]

Blocks = Iterable[NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Segmentation:
    """What was heard in a recording when.

    Attributes:
        file: the recording, as it was named.
        duration_s: its length in seconds.
        events: what was found, by start, then label. Events of one label never overlap, nor do those of labels among
            which the model chooses, unless that was asked for.
        labels: those that could have become events, in the model's order.
        window_starts_s: where each window starts (windows,), in seconds; half a window later is the middle of the hop
            that it answers for. The first ones are negative: a window is cut off at the recording's ends.
        window_s: length of a window in seconds.
        hop_s: from one window to the next, in seconds.
        scores: (windows, labels), smoothed; NaN where the recording is quieter than the settings' `silence_dbfs`.
        thresholds: label → score from which it was believed.
        model: the model's name.
        model_is_trained: False for random weights and for models of computed sounds; None where nothing says.
        settings: how it was done.
    """

    file: str
    duration_s: float
    events: tuple[Event, ...]
    labels: tuple[str, ...]
    window_starts_s: NDArray[np.float64]
    window_s: float
    hop_s: float
    scores: NDArray[np.float32]
    thresholds: dict[str, float]
    model: str
    model_is_trained: bool | None
    settings: SegmentationSettings


def segment_file(
    classifier: Classifier,
    path: str | os.PathLike[str],
    *,
    settings: SegmentationSettings | None = None,
    max_batch_seconds: float | None = None,
    dtype: str | None = None,
    device: torch.device | str | None = None,
    num_workers: int | None = None,
    listen: Callable[[NDArray[np.float32]], None] | None = None,
    show_progress: bool | None = False,
) -> Segmentation:
    """Find events in a recording of any length.

    Memory does not grow with the length, but for the scores, a few hundred kilobytes an hour, and a megabyte of levels.

    Args:
        classifier: the model, from `nvv.inference.load.load_classifier`. Where its config says to apply an operating
            point, its scores are moved so that 0.5 decides; `nvv.inference.readings.give_calibrated_scores` before
            this leaves them as they are and has every stored threshold used.
        path: any file that libsndfile reads.
        settings: how the recording becomes events; None: the defaults.
        max_batch_seconds: as in `nvv.inference.streams.compute_stream`.
        dtype: as there.
        device: as there.
        num_workers: as there.
        listen: called with every block of the decoded recording (samples,), float32 mono at 16 kHz, in its order.
        show_progress: draw a bar of seconds heard; None: where standard error is a terminal.

    Returns:
        The events, and the scores that they come from.

    Raises:
        nvv.audio.AudioError: for a file that cannot be decoded to its end, or that is too short for the model.
        ModelError: for a model that predicts numbers only, or whose scores are not finite.
        ArgumentsError: for settings that do not go with the model.

    Example:
        >>> segmentation = segment_file(load_classifier("runs/lora"), "interview.flac")  # doctest: +SKIP
        >>> [event.label for event in segmentation.events]  # doctest: +SKIP
        ['laughing', 'sighing', 'laughing']
    """
    plan = plan_segmentation(classifier, settings or SegmentationSettings())
    name = os.fspath(path)
    cutter = WindowCutter(window_samples=plan.window_samples, hop_samples=plan.hop_samples)
    meter = LevelMeter(sampling_rate=SAMPLING_RATE)
    listeners = [meter.push, *([] if listen is None else [listen])]
    rows: dict[int, NDArray[np.float32]] = {}
    with (
        closing(decode_blocks_ahead(path, name=name)) as blocks,
        closing(
            compute_stream(
                classifier,
                _sounds(cutter.cut(_heard(blocks, listeners)), name=name, silence_dbfs=plan.settings.silence_dbfs),
                max_batch_seconds=max_batch_seconds,
                dtype=dtype,
                device=device,
                num_workers=num_workers,
            )
        ) as answers,
        tqdm(
            total=round(audio_duration(path, name=name)),
            desc=os.path.basename(name),
            unit=" s",
            leave=False,
            disable=None if show_progress is None else not show_progress,
        ) as progress,
    ):
        for place, row in answers:
            if isinstance(row, AudioError):
                raise row
            rows[place.index] = row
            progress.update(round((place.index + 1) * plan.hop_samples / SAMPLING_RATE) - progress.n)
    scores = _score_table(rows, plan, classifier=classifier, num_samples=cutter.num_samples, name=name)
    return _segmentation(
        plan, scores, classifier=classifier, levels=meter.finish(), num_samples=cutter.num_samples, name=name
    )


@dataclass(frozen=True)
class _Place:
    """Which window of which recording; errors name the recording."""

    file: str
    index: int

    def __str__(self) -> str:
        return self.file


def _heard(blocks: Blocks, listeners: Sequence[Callable[[NDArray[np.float32]], None]]) -> Iterator[NDArray[np.float32]]:
    """Pass blocks on, and to whoever listens."""
    for block in blocks:
        for listener in listeners:
            listener(block)
        yield block


def _sounds(windows: Iterable[Window], *, name: str, silence_dbfs: float | None) -> Iterator[Sound]:
    """Give the windows that are loud enough to the model."""
    for window in windows:
        if silence_dbfs is None or level_dbfs(window.waveform) >= silence_dbfs:
            yield Sound(key=_Place(name, window.index), load=lambda waveform=window.waveform: waveform)


def _score_table(
    rows: dict[int, NDArray[np.float32]],
    plan: SegmentationPlan,
    *,
    classifier: Classifier,
    num_samples: int,
    name: str,
) -> NDArray[np.float32]:
    """Make scores (windows, labels) of the logits that there are, smoothed."""
    cells = num_cells(num_samples, plan.window_samples, plan.hop_samples)
    scores = np.full((cells, len(plan.labels)), np.nan)
    if rows:
        logits = np.stack(list(rows.values()))
        if not np.isfinite(logits).all():
            raise ModelError(
                f"model: {classifier.facts.id} gives scores that are not finite ({name}). If its training diverged, "
                "lower the learning rate; if it computes in float16, use bfloat16 or float32."
            )
        scores[list(rows)] = scores_of(plan.groups, logits)[:, list(plan.columns)]
    return smooth_scores(scores, how=plan.settings.smoothing, num_windows=plan.num_smoothed)


def _segmentation(
    plan: SegmentationPlan,
    scores: NDArray[np.float32],
    *,
    classifier: Classifier,
    levels: NDArray[np.float32],
    num_samples: int,
    name: str,
) -> Segmentation:
    """Find the events in a table of scores."""
    sizes = (num_samples, plan.window_samples, plan.hop_samples)
    window_s, hop_s = plan.window_samples / SAMPLING_RATE, plan.hop_samples / SAMPLING_RATE
    events = find_events(plan, scores, borders_s=cell_borders(*sizes) / SAMPLING_RATE, levels=levels)
    return Segmentation(
        file=name,
        duration_s=num_samples / SAMPLING_RATE,
        events=events,
        labels=plan.labels,
        window_starts_s=window_starts(*sizes) / SAMPLING_RATE,
        window_s=window_s,
        hop_s=hop_s,
        scores=scores,
        thresholds=dict(zip(plan.labels, plan.thresholds, strict=True)),
        model=classifier.facts.id,
        model_is_trained=is_trained(classifier),
        settings=plan.settings,
    )
