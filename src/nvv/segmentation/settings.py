"""How a recording is cut into windows and their scores become events: every setting, checked in one place. Own work."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..training.arguments import ArgumentsError
from ..training.corpus import NEGATIVE_LABEL

__all__ = ["BACKGROUND_LABELS", "SMOOTHINGS", "SegmentationSettings", "is_background_name", "listed"]

SMOOTHINGS = ("median", "mean", "none")

BACKGROUND_LABELS = (
    NEGATIVE_LABEL,
    "background",
    "background_noise",
    "noise",
    "silence",
    "speech",
    "none",
    "no_event",
    "unknown",
)
"""Labels, in any case and with any spaces and underscores, that usually stand for the rest and become no events."""

_MAX_LISTED = 12

DEFAULT_WINDOW_SECONDS = 1.0
DEFAULT_WINDOWS_PER_HOP = 4
DEFAULT_THRESHOLD = 0.5
DEFAULT_SMOOTHED_HOPS = 3
DEFAULT_RELEASE_SHARE = 0.8


@dataclass(frozen=True, kw_only=True)
class SegmentationSettings:
    """How a recording becomes events.

    Args:
        window_seconds: what the model hears at a time, > 0; None: one second, or the model's `max_seconds` where that
            is less. Shorter windows place events better; longer ones are surer of what they hear.
        hop_seconds: from one window to the next, > 0 and at most a window; None: a quarter of the window. A window's
            score stands for so many seconds around its centre.
        smoothing: of each label's scores over neighbouring windows: `median`, `mean` or `none`.
        smoothing_seconds: over how much, >= 0; rounded to an odd number of windows. None: three hops.
        threshold: score from which a window is of a label, in (0, 1), for all labels. None: the operating point of the
            model's config, and 0.5 for labels without one.
        thresholds: label → threshold, for single labels; these come before all others.
        release_threshold: an event that reached its threshold goes on while the score is at least this, in (0, 1]; for
            labels with a lower threshold it is that. None: four fifths of each label's threshold.
        min_event_seconds: shorter events are dropped, >= 0.
        max_gap_seconds: events of one label that are no further apart are joined, >= 0.
        refine_ends: move an event's ends to where its sound begins and stops, by little more than half a window at
            most (see `levels.move_ends_to_sound`). Windows hear an event before it is at their centre.
        overlapping: let events of different classes overlap, although the model chooses one of them. Labels that the
            model answers yes or no to overlap in any case.
        labels: only these become events; None: all but the background.
        background: labels that never become events; None: those of `BACKGROUND_LABELS`, unless `labels` names them.
        silence_dbfs: windows whose level (root mean square) is lower are not given to the model, and nobody's, in dB
            below full scale, < 0. None: every window is heard. The default leaves out digital silence only.

    Raises:
        ArgumentsError: for a value out of range, two settings that contradict each other, or one without effect.

    Example:
        >>> SegmentationSettings(window_seconds=2.0, thresholds={"laughing": 0.7}).hop_seconds is None
        True
    """

    window_seconds: float | None = None
    hop_seconds: float | None = None
    smoothing: str = "median"
    smoothing_seconds: float | None = None
    threshold: float | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    release_threshold: float | None = None
    min_event_seconds: float = 0.1
    max_gap_seconds: float = 0.2
    refine_ends: bool = True
    overlapping: bool = False
    labels: tuple[str, ...] | None = None
    background: tuple[str, ...] | None = None
    silence_dbfs: float | None = -90.0

    def __post_init__(self) -> None:
        for name in ("window_seconds", "hop_seconds"):
            self._check_number(name, lowest=0.0, excludes_lowest=True)
        for name in ("smoothing_seconds", "min_event_seconds", "max_gap_seconds"):
            self._check_number(name, lowest=0.0)
        if None not in (self.window_seconds, self.hop_seconds) and self.hop_seconds > self.window_seconds:
            raise ArgumentsError(
                f"hop_seconds: expected at most the window of {self.window_seconds:g} s, found {self.hop_seconds:g}: "
                "what lies between the windows would not be heard."
            )
        if self.smoothing not in SMOOTHINGS:
            raise ArgumentsError(f"smoothing: expected one of {', '.join(SMOOTHINGS)}; found {self.smoothing!r}.")
        if self.smoothing == "none" and self.smoothing_seconds is not None:
            raise ArgumentsError("smoothing_seconds: has no effect with smoothing none; leave it out.")
        self._check_thresholds()
        self._check_labels()
        if self.silence_dbfs is not None and not (math.isfinite(self.silence_dbfs) and self.silence_dbfs < 0):
            raise ArgumentsError(
                f"silence_dbfs: expected less than 0 dB (full scale is 0), found {self.silence_dbfs!r}."
            )

    def window_and_hop(self, *, max_seconds: float | None) -> tuple[float, float]:
        """Fill in the defaults for a model.

        Args:
            max_seconds: what the model cuts clips to; None: it takes any length.

        Returns:
            Seconds of the window and of the hop.

        Raises:
            ArgumentsError: for a window that the model would cut, or a hop longer than the default window.
        """
        if self.window_seconds is None:
            window = DEFAULT_WINDOW_SECONDS if max_seconds is None else min(DEFAULT_WINDOW_SECONDS, max_seconds)
        else:
            window = self.window_seconds
        if max_seconds is not None and window > max_seconds:
            raise ArgumentsError(
                f"window_seconds: the model hears the first {max_seconds:g} s of a clip, so that a window of "
                f"{window:g} s would be cut; choose at most {max_seconds:g}."
            )
        hop = window / DEFAULT_WINDOWS_PER_HOP if self.hop_seconds is None else self.hop_seconds
        if hop > window:
            raise ArgumentsError(
                f"hop_seconds: expected at most the window, which is {window:g} s where nobody chooses it; found "
                f"{hop:g}. Name a window_seconds."
            )
        return window, hop

    def smoothed_windows(self, hop_seconds: float) -> int:
        """Return how many windows are smoothed over, an odd number; 1 for none."""
        if self.smoothing == "none":
            return 1
        if self.smoothing_seconds is None:
            return DEFAULT_SMOOTHED_HOPS
        return 1 + 2 * round((self.smoothing_seconds / hop_seconds - 1) / 2) if self.smoothing_seconds else 1

    def foreground(self, label_names: Sequence[str]) -> tuple[str, ...]:
        """Choose the labels that may become events.

        Args:
            label_names: the model's labels that are scores, in their order.

        Returns:
            Those in their order.

        Raises:
            ArgumentsError: if a setting names a label that the model does not have, or none is left.
        """
        for name in ("labels", "background", "thresholds"):
            unknown = [label for label in getattr(self, name) or () if label not in label_names]
            if unknown:
                raise ArgumentsError(f"{name}: the model has no label {unknown[0]!r}; it has {listed(label_names)}.")
        if self.labels is not None:
            chosen = [label for label in label_names if label in self.labels]
        elif self.background is not None:
            chosen = [label for label in label_names if label not in self.background]
        else:
            chosen = [label for label in label_names if not is_background_name(label)]
        if not chosen:
            raise ArgumentsError(
                f"labels: all of the model's ({listed(label_names)}) are background; name those that are to become "
                "events."
            )
        silent = [label for label in self.thresholds if label not in chosen]
        if silent:
            raise ArgumentsError(
                f"thresholds: {silent[0]!r} is not among the labels that become events ({listed(chosen)}), so that "
                "its threshold has no effect."
            )
        return tuple(chosen)

    def threshold_of(self, label: str, *, stored: Mapping[str, float]) -> float:
        """Return a label's threshold.

        Args:
            label: the label.
            stored: label → operating point of the model's config.

        Returns:
            The threshold for this label, else that for all, else the stored one, else 0.5.
        """
        if label in self.thresholds:
            return self.thresholds[label]
        if self.threshold is not None:
            return self.threshold
        return stored.get(label, DEFAULT_THRESHOLD)

    def release_of(self, threshold: float) -> float:
        """Return the score down to which an event goes on that reached a threshold."""
        if self.release_threshold is None:
            return DEFAULT_RELEASE_SHARE * threshold
        return min(self.release_threshold, threshold)

    def _check_number(self, name: str, *, lowest: float, excludes_lowest: bool = False) -> None:
        value = getattr(self, name)
        if value is None:
            return
        if not math.isfinite(value) or value < lowest or (excludes_lowest and value == lowest):
            bound = f"more than {lowest:g}" if excludes_lowest else f"{lowest:g} or more"
            raise ArgumentsError(f"{name}: expected {bound} (seconds), found {value!r}.")

    def _check_thresholds(self) -> None:
        given = {"threshold": self.threshold, **{f"thresholds ({name})": at for name, at in self.thresholds.items()}}
        for name, value in given.items():
            if value is not None and not 0 < value < 1:
                raise ArgumentsError(f"{name}: expected a score between 0 and 1, found {value!r}.")
        release = self.release_threshold
        if release is None:
            return
        if not 0 < release <= 1:
            raise ArgumentsError(f"release_threshold: expected a score between 0 and 1, found {release!r}.")
        if self.threshold is not None and release > self.threshold:
            raise ArgumentsError(
                f"release_threshold: expected at most the threshold of {self.threshold:g}, found {release:g}."
            )

    def _check_labels(self) -> None:
        for name in ("labels", "background"):
            if isinstance(getattr(self, name), str):
                raise ArgumentsError(f"{name}: expected several labels, found the text {getattr(self, name)!r}.")
        if self.labels is not None and not self.labels:
            raise ArgumentsError("labels: expected at least one label, found none.")
        if self.labels is not None and self.background is not None:
            raise ArgumentsError(
                "labels and background: labels already says which become events; leave one of them out."
            )


def is_background_name(label: str) -> bool:
    """Tell whether a label usually stands for the rest.

    Args:
        label: a label, or `task/label`.

    Returns:
        Whether its last part is one of `BACKGROUND_LABELS`.

    Example:
        >>> is_background_name("Background noise"), is_background_name("laughing")
        (True, False)
    """
    name = "_".join(label.rpartition("/")[2].lower().replace("_", " ").replace("-", " ").split())
    return name in BACKGROUND_LABELS


def listed(names: Sequence[str]) -> str:
    """Write names for a sentence; of many, the first ones and how many there are."""
    return ", ".join(names) if len(names) <= _MAX_LISTED else f"{', '.join(names[:_MAX_LISTED])} … ({len(names)})"
