"""A model's answers on a split: the probability of each class, or a number for each target.

Both kinds say which references are missing; those clips have answers and are not scored. Numbers are kept in single
precision, as the model gave them. The neighbour `predictions` writes and reads them, `split_scores` scores them.
Own work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "MISSING_CLASS",
    "RegressionPredictions",
    "ResultsError",
    "SplitPredictions",
    "TaskAnswers",
    "can_draw_speakers",
    "split_name",
]

MISSING_CLASS = -1
"""The reference of a clip whose class is not known."""

_IGNORED_LABEL = -100
"""What a missing class is called where a loss is computed (PyTorch's default)."""


class ResultsError(ValueError):
    """A result that cannot be written or read."""


@dataclass(frozen=True, kw_only=True)
class SplitPredictions:
    """A model's answers on one split, in the order of the clips.

    Args:
        split: the split's name, such as `test`.
        files: each clip's relative path (clips,).
        references: true labels (clips,); -1 (`MISSING_CLASS`) where a clip's is not known, which is then not scored.
        probabilities: probability of each class (clips, labels); kept in single precision.
        speaker_ids: each clip's speaker (clips,), or None where the corpus does not say.

    Raises:
        ResultsError: for lengths that differ, and for probabilities that are none (a model that diverged answers NaN).
    """

    split: str
    files: Sequence[str]
    references: ArrayLike
    probabilities: ArrayLike
    speaker_ids: Sequence[str] | None = None

    def __post_init__(self) -> None:
        probabilities = np.asarray(self.probabilities, dtype=np.float32)
        references = np.asarray(self.references)
        if probabilities.ndim != 2 or probabilities.shape[0] == 0:
            raise ResultsError(
                f"{self.split}: expected probabilities (clips, labels) of at least one clip, "
                f"found shape {probabilities.shape}."
            )
        lengths = {"files": len(self.files), "references": references.size}
        if self.speaker_ids is not None:
            lengths["speaker_ids"] = len(self.speaker_ids)
        for name, length in lengths.items():
            if length != probabilities.shape[0]:
                raise ResultsError(f"{self.split}: {probabilities.shape[0]} probability rows, but {length} {name}.")
        if not np.issubdtype(references.dtype, np.integer) or not (
            references.min() >= MISSING_CLASS and references.max() < probabilities.shape[1]
        ):
            raise ResultsError(
                f"{self.split}: expected references that are integers from 0 to {probabilities.shape[1] - 1}, "
                f"found {references.dtype} from {references.min()} to {references.max()}; {MISSING_CLASS} stands for a "
                "missing one."
            )
        bad = ~(np.isfinite(probabilities).all(axis=1) & (np.abs(probabilities.sum(axis=1) - 1) < 1e-3))
        if bad.any():
            row = int(bad.argmax())
            raise ResultsError(
                f"{self.split}: the probabilities of {bad.sum()} clips, the first {self.files[row]!r}, are not finite "
                f"or do not sum to 1: {probabilities[row].tolist()}. If training diverged, lower the learning rate."
            )
        object.__setattr__(self, "probabilities", probabilities)
        object.__setattr__(self, "references", references)

    @classmethod
    def from_logits(
        cls,
        split: str,
        logits: ArrayLike,
        *,
        files: Sequence[str],
        references: ArrayLike,
        speaker_ids: Sequence[str] | None = None,
    ) -> SplitPredictions:
        """Make predictions from a model's logits (clips, labels) by softmax.

        Args:
            split: as in the class.
            logits: the model's outputs before softmax (clips, labels).
            files: as in the class.
            references: as in the class; -100, as losses name a missing label, becomes -1.
            speaker_ids: as in the class.

        Returns:
            The predictions.

        Raises:
            ResultsError: as the class.
        """
        values = np.asarray(logits, dtype=np.float64)
        powers = np.exp(values - values.max(axis=-1, keepdims=True))
        references = np.asarray(references)
        references = np.where(references == _IGNORED_LABEL, references.dtype.type(MISSING_CLASS), references)
        return cls(
            split=split,
            files=files,
            references=references,
            probabilities=powers / powers.sum(axis=-1, keepdims=True),
            speaker_ids=speaker_ids,
        )

    @property
    def predictions(self) -> NDArray[np.int64]:
        """The most probable class of each clip (clips,); of equals the first."""
        return self.probabilities.argmax(axis=1)

    @property
    def has_reference(self) -> NDArray[np.bool_]:
        """Whether each clip's class is known (clips,)."""
        return self.references != MISSING_CLASS

    def scored(self) -> SplitPredictions | None:
        """Return the answers on the clips whose class is known; None where there is no such clip."""
        return _chosen(self, self.has_reference, rows=("references", "probabilities"))


@dataclass(frozen=True, kw_only=True)
class RegressionPredictions:
    """A model's numbers on one split, in the order of the clips.

    Args:
        split: the split's name, such as `test`.
        files: each clip's relative path (clips,).
        references: true values (clips, targets), in the corpus's own units; NaN where missing, which is not scored.
        predictions: predicted values (clips, targets). Both are kept in single precision.
        target_names: the targets' names (targets,).
        speaker_ids: each clip's speaker (clips,), or None where the corpus does not say.

    Raises:
        ResultsError: for lengths that differ, names that are not unique, infinite references, and for predictions that
            are not finite (a model that diverged answers NaN).
    """

    split: str
    files: Sequence[str]
    references: ArrayLike
    predictions: ArrayLike
    target_names: Sequence[str]
    speaker_ids: Sequence[str] | None = None

    def __post_init__(self) -> None:
        predictions = np.asarray(self.predictions, dtype=np.float32)
        references = np.asarray(self.references, dtype=np.float32)
        names = tuple(self.target_names)
        if predictions.ndim != 2 or predictions.size == 0:
            raise ResultsError(
                f"{self.split}: expected predictions (clips, targets) of at least one clip, "
                f"found shape {predictions.shape}."
            )
        if references.shape != predictions.shape:
            raise ResultsError(
                f"{self.split}: expected references {predictions.shape}, as the predictions, found {references.shape}."
            )
        if len(names) != predictions.shape[1] or len(set(names)) < len(names):
            raise ResultsError(
                f"{self.split}: expected {predictions.shape[1]} different target names, found {', '.join(names)}."
            )
        lengths = {"files": len(self.files)}
        if self.speaker_ids is not None:
            lengths["speaker_ids"] = len(self.speaker_ids)
        for name, length in lengths.items():
            if length != predictions.shape[0]:
                raise ResultsError(f"{self.split}: {predictions.shape[0]} prediction rows, but {length} {name}.")
        for name, bad in (("references", np.isinf(references)), ("predictions", ~np.isfinite(predictions))):
            if bad.any():
                row = int(bad.any(axis=1).argmax())
                raise ResultsError(
                    f"{self.split}: the {name} of {bad.any(axis=1).sum()} clips, the first {self.files[row]!r}, are "
                    "not finite. If training diverged, lower the learning rate."
                )
        object.__setattr__(self, "predictions", predictions)
        object.__setattr__(self, "references", references)
        object.__setattr__(self, "target_names", names)

    @property
    def has_reference(self) -> NDArray[np.bool_]:
        """Whether each clip has at least one target that is known (clips,)."""
        return ~np.isnan(self.references).all(axis=1)

    def scored(self) -> RegressionPredictions | None:
        """Return the answers on the clips with at least one known target; None where there is no such clip."""
        return _chosen(self, self.has_reference, rows=("references", "predictions"))


TaskAnswers = dict[str, SplitPredictions | RegressionPredictions]
"""A model's answers on one split by the name of the task."""


def split_name(answers: TaskAnswers) -> str:
    """Return the split that a model's answers are on."""
    return next(iter(answers.values())).split


_AnyPredictions = TypeVar("_AnyPredictions", SplitPredictions, RegressionPredictions)


def _chosen(answers: _AnyPredictions, is_chosen: NDArray[np.bool_], *, rows: tuple[str, ...]) -> _AnyPredictions | None:
    """Return the answers on some of the clips; None for none of them."""
    if is_chosen.all():
        return answers
    if not is_chosen.any():
        return None
    positions = is_chosen.nonzero()[0]
    speakers = answers.speaker_ids
    return replace(
        answers,
        files=[answers.files[index] for index in positions],
        speaker_ids=None if speakers is None else [speakers[index] for index in positions],
        **{name: getattr(answers, name)[positions] for name in rows},
    )


def can_draw_speakers(speaker_ids: Sequence[str] | None) -> bool:
    """Say whether whole speakers can be resampled.

    Args:
        speaker_ids: each clip's speaker (clips,), empty where the corpus does not say; or None.

    Returns:
        Whether every clip has a speaker and there are at least two: one speaker is in every resample, and the interval
        would have no width.
    """
    return speaker_ids is not None and all(speaker_ids) and len(set(speaker_ids)) > 1
