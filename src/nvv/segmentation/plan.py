"""What the settings of a segmentation mean for one model, and what the reader of its events should know. Own work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..audio import SAMPLING_RATE
from ..inference.load import Classifier, ModelError
from ..inference.readings import OutputGroup, output_groups, thresholds_of
from ..inference.streams import heard_seconds
from ..training.arguments import ArgumentsError
from .settings import SegmentationSettings, is_background_name, listed

__all__ = ["SegmentationPlan", "caveats_of", "plan_segmentation"]


@dataclass(frozen=True, kw_only=True)
class SegmentationPlan:
    """What settings mean for a model.

    Attributes:
        settings: the settings.
        window_samples: samples in a window, at 16 kHz.
        hop_samples: samples from one window to the next.
        num_smoothed: windows that are smoothed over.
        groups: how the model's outputs are read.
        columns: those of `labels` among the outputs.
        labels: what may become an event.
        thresholds: of each label.
        releases: of each label.
        rivals: places in `labels` of those that exclude each other, in groups.
    """

    settings: SegmentationSettings
    window_samples: int
    hop_samples: int
    num_smoothed: int
    groups: tuple[OutputGroup, ...]
    columns: tuple[int, ...]
    labels: tuple[str, ...]
    thresholds: tuple[float, ...]
    releases: tuple[float, ...]
    rivals: tuple[tuple[int, ...], ...]


def plan_segmentation(classifier: Classifier, settings: SegmentationSettings) -> SegmentationPlan:
    """Find out what settings mean for a model, and whether they go together.

    Outputs that are numbers (valence, intensity …) are left aside: they have no events.

    Args:
        classifier: the model.
        settings: how recordings are to become events.

    Returns:
        The plan.

    Raises:
        ModelError: for a model that predicts numbers only.
        ArgumentsError: for a setting that does not go with the model, or has no effect on it.
        ValueError: for operating points that do not hold (see `nvv.inference.readings.thresholds_of`).
    """
    groups = output_groups(classifier)
    scored = [group for group in groups if group.kind != "numbers"]
    if not scored:
        raise ModelError(
            f"model: {classifier.facts.id} predicts numbers ({listed(groups[0].labels)}), which have no events. "
            "Segmentation needs classes; nvv classify gives the numbers of whole recordings."
        )
    column_of = {
        classifier.label_names[column]: column
        for group in scored
        for column in range(group.columns.start, group.columns.stop)
    }
    labels = settings.foreground(list(column_of))
    columns = [column_of[label] for label in labels]
    # Not where they are not looked at: they may be of another front-end.
    stored = {} if settings.threshold is not None else thresholds_of(classifier)
    thresholds = [settings.threshold_of(label, stored=stored) for label in labels]
    window_s, hop_s = settings.window_and_hop(max_seconds=heard_seconds(classifier))
    window_samples = max(1, round(window_s * SAMPLING_RATE))
    hop_samples = min(max(1, round(hop_s * SAMPLING_RATE)), window_samples)
    rivals = _rivals(scored, columns)
    if settings.overlapping and not rivals:
        raise ArgumentsError(
            f"overlapping: has no effect on {listed(labels)}, among which the model does not choose; leave it out."
        )
    return SegmentationPlan(
        settings=settings,
        window_samples=window_samples,
        hop_samples=hop_samples,
        num_smoothed=settings.smoothed_windows(hop_samples / SAMPLING_RATE),
        groups=groups,
        columns=tuple(columns),
        labels=labels,
        thresholds=tuple(thresholds),
        releases=tuple(settings.release_of(threshold) for threshold in thresholds),
        rivals=() if settings.overlapping else rivals,
    )


def caveats_of(classifier: Classifier, settings: SegmentationSettings) -> list[str]:
    """Say what the reader of the events should know of the model, in sentences; empty where there is nothing.

    Args:
        classifier: the model.
        settings: how recordings become events.

    Returns:
        A sentence for each group of classes that has no rest class: one of them is then always the likeliest, whatever
        is heard.
    """
    rest = set(settings.background or ())
    sentences = []
    for group in output_groups(classifier):
        names = classifier.label_names[group.columns]
        if group.kind == "classes" and not any(label in rest or is_background_name(label) for label in names):
            sentences.append(
                f"The model has no class for what is not one of {listed(names)}, so that speech and noise are "
                "taken for one of these wherever it is sure enough: raise the threshold, or train with a background."
            )
    return sentences


def _rivals(scored: Sequence[OutputGroup], columns: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """List the places in `columns` that belong to one choice."""
    groups = [
        tuple(place for place, column in enumerate(columns) if group.columns.start <= column < group.columns.stop)
        for group in scored
        if group.kind == "classes"
    ]
    return tuple(group for group in groups if len(group) > 1)
