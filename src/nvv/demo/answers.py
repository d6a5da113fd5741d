"""What a model says of one recording: labels or numbers for all of it, and events in time where it is not short.

Computing is the shared engine's (``nvv.inference.streams``, ``nvv.segmentation.segment``); showing is the neighbour
`page`'s business. Own work.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..audio import AudioError, audio_duration, decode_audio
from ..inference.load import Classifier
from ..inference.readings import OutputGroup, output_groups, scores_of
from ..inference.streams import Sound, compute_stream, heard_seconds
from ..segmentation.envelope import WaveformEnvelope
from ..segmentation.plan import caveats_of
from ..segmentation.segment import Segmentation, segment_file
from ..segmentation.settings import SegmentationSettings

__all__ = ["EVENTS_FROM_S", "Answer", "Events", "TaskAnswer", "answer_recording"]

EVENTS_FROM_S = 5.0
"""Recordings from this length on, in seconds, also get a timeline: one sound is shorter, and a window is a second."""

_UNREADABLE = (
    "WAV, FLAC, OGG, MP3 and AIFF files can be read; convert others, such as M4A, AAC, WMA or WebM, to one of these."
)


@dataclass(frozen=True, kw_only=True)
class TaskAnswer:
    """What a model says about one thing.

    Attributes:
        task: its name; None for a model that says one thing only.
        kind: `classes` (shares that add up to 1), `yes_no` (each label by itself) or `numbers`.
        values: label → probability from 0 to 1, or name → number.
        about: which part of the recording it is about.
    """

    task: str | None
    kind: str
    values: Mapping[str, float]
    about: str


@dataclass(frozen=True, kw_only=True)
class Events:
    """What was heard when.

    Attributes:
        segmentation: the events, and the scores that they come from.
        envelope: the recording's outline.
        caveats: what whoever reads them should know of the model.
    """

    segmentation: Segmentation
    envelope: WaveformEnvelope
    caveats: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a model says of a recording.

    Attributes:
        duration_s: the recording's length in seconds.
        tasks: what it says about each thing.
        events: what it hears when; None for a short recording, and for a model that predicts numbers only.
    """

    duration_s: float
    tasks: tuple[TaskAnswer, ...]
    events: Events | None = None

    def as_json(self) -> dict[str, Any]:
        """Return everything that can be written as JSON; `events` is null where there was no looking for them."""
        events = None
        if self.events is not None:
            events = [dataclasses.asdict(event) for event in self.events.segmentation.events]
        return {
            "duration_s": round(self.duration_s, 3),
            "answers": [dataclasses.asdict(task) for task in self.tasks],
            "events": events,
        }


def answer_recording(classifier: Classifier, path: Path) -> Answer:
    """Let a model listen to a recording.

    What is longer than the model hears at once is answered by the average over its windows, numbers by its start.

    Args:
        classifier: the model, ready to compute.
        path: the recording.

    Returns:
        The answer.

    Raises:
        nvv.audio.AudioError: for a file that cannot be used, named by its last part only.
        nvv.training.arguments.ArgumentsError: for a model whose scores cannot be used.
    """
    try:
        return _answered(classifier, path)
    except AudioError as error:
        hint = f" {_UNREADABLE}" if "not readable as audio" in str(error) else ""
        raise AudioError(f"{str(error).replace(str(path), path.name)}{hint}") from error


def _answered(classifier: Classifier, path: Path) -> Answer:
    duration_s = audio_duration(path)
    groups = output_groups(classifier)
    at_once_s = heard_seconds(classifier)
    is_whole = at_once_s is None or duration_s <= at_once_s
    has_events = duration_s >= EVENTS_FROM_S and any(group.kind != "numbers" for group in groups)
    events = _find_events(classifier, path) if has_events else None
    is_averaged = events is not None and not is_whole
    is_heard = not is_averaged or any(group.kind == "numbers" for group in groups)
    scores = _hear(classifier, path) if is_heard else None
    about = "all of it" if is_whole else f"its first {at_once_s:g} s"
    tasks = (
        _average(classifier, events.segmentation, group)
        if is_averaged and group.kind != "numbers"
        else _read(group, scores, about=about)
        for group in groups
    )
    return Answer(duration_s=duration_s, tasks=tuple(tasks), events=events)


def _hear(classifier: Classifier, path: Path) -> NDArray[np.float64]:
    """Return the model's scores for as much of the recording as it hears at once (outputs,)."""
    load = partial(decode_audio, path, max_seconds=heard_seconds(classifier))
    ((_, logits),) = compute_stream(classifier, [Sound(key=path.name, load=load)], num_workers=0)
    if isinstance(logits, AudioError):
        raise logits
    return scores_of(output_groups(classifier), logits)


def _read(group: OutputGroup, scores: NDArray[np.float64], *, about: str) -> TaskAnswer:
    values = dict(zip(group.labels, scores[group.columns].tolist(), strict=True))
    return TaskAnswer(task=group.name, kind=group.kind, values=values, about=about)


def _find_events(classifier: Classifier, path: Path) -> Events:
    """Look for events with the settings that `nvv segment` has by default."""
    settings, envelope = SegmentationSettings(), WaveformEnvelope()
    segmentation = segment_file(classifier, path, settings=settings, listen=envelope.add)
    return Events(
        segmentation=dataclasses.replace(segmentation, file=path.name),
        envelope=envelope,
        caveats=tuple(caveats_of(classifier, settings)),
    )


def _average(classifier: Classifier, segmentation: Segmentation, group: OutputGroup) -> TaskAnswer:
    """Average a group's scores over the windows that were heard; labels that never become events are left out."""
    is_heard = ~np.isnan(segmentation.scores).all(axis=1)
    means = segmentation.scores[is_heard].mean(axis=0) if is_heard.any() else np.zeros(len(segmentation.labels))
    names = dict(zip(classifier.label_names[group.columns], group.labels, strict=True))
    return TaskAnswer(
        task=group.name,
        kind=group.kind,
        values={
            names[label]: float(mean) for label, mean in zip(segmentation.labels, means, strict=True) if label in names
        },
        about=f"the average over {int(is_heard.sum()):,} windows of {segmentation.window_s:g} s",
    )
