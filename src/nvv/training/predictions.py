"""A model's answers on a split, and the file `predictions.csv` that keeps them.

Probabilities are kept in single precision and read back exactly. Scores are computed from them in `results`. Own work.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..files import replaced_when_complete

PREDICTIONS_FILE = "predictions.csv"

_PROBABILITY_PREFIX = "probability_"
_COLUMNS = ("split", "file", "speaker_id", "label", "predicted")


class ResultsError(ValueError):
    """A result that cannot be written or read."""


@dataclass(frozen=True, kw_only=True)
class SplitPredictions:
    """A model's answers on one split, in the order of the clips.

    Args:
        split: the split's name, such as `test`.
        files: each clip's relative path (clips,).
        references: true labels (clips,).
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
            references.min() >= 0 and references.max() < probabilities.shape[1]
        ):
            raise ResultsError(
                f"{self.split}: expected references that are integers from 0 to {probabilities.shape[1] - 1}, "
                f"found {references.dtype} from {references.min()} to {references.max()}."
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
            references: as in the class.
            speaker_ids: as in the class.

        Returns:
            The predictions.

        Raises:
            ResultsError: as the class.
        """
        values = np.asarray(logits, dtype=np.float64)
        powers = np.exp(values - values.max(axis=-1, keepdims=True))
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


def can_draw_speakers(speaker_ids: Sequence[str] | None) -> bool:
    """Say whether whole speakers can be resampled.

    Args:
        speaker_ids: each clip's speaker (clips,), empty where the corpus does not say; or None.

    Returns:
        Whether every clip has a speaker and there are at least two: one speaker is in every resample, and the interval
        would have no width.
    """
    return speaker_ids is not None and all(speaker_ids) and len(set(speaker_ids)) > 1


def write_predictions(
    path: str | os.PathLike[str], splits: Sequence[SplitPredictions], *, label_names: Sequence[str]
) -> Path:
    """Write `predictions.csv`: a row for each clip with its probabilities, whole or not at all.

    Args:
        path: the file.
        splits: the model's answers; their order is kept.
        label_names: class names in label order; they name the columns `probability_<label>`.

    Returns:
        The file's path.

    Raises:
        ResultsError: for another number of labels than there are probability columns.
    """
    with (
        replaced_when_complete(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as handle,
    ):
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow([*_COLUMNS, *(_PROBABILITY_PREFIX + name for name in label_names)])
        for item in splits:
            if item.probabilities.shape[1] != len(label_names):
                raise ResultsError(
                    f"{item.split}: {item.probabilities.shape[1]} probability columns, "
                    f"but {len(label_names)} label names."
                )
            speakers = item.speaker_ids if item.speaker_ids is not None else [""] * len(item.files)
            rows = zip(item.files, speakers, item.references, item.predictions, item.probabilities, strict=True)
            for file, speaker, true, predicted, probabilities in rows:
                # str of a float32 is the shortest text that reads back to the same float32
                numbers = [str(value) for value in probabilities]
                writer.writerow([item.split, file, speaker, label_names[true], label_names[predicted], *numbers])
    return Path(path)


def read_predictions(path: str | os.PathLike[str]) -> tuple[list[SplitPredictions], list[str]]:
    """Read what `write_predictions` wrote.

    Args:
        path: the file.

    Returns:
        The splits in the file's order, and the label names. A split without a single speaker has `speaker_ids` None.

    Raises:
        ResultsError: for other columns, or a row that does not fit them, naming its line.
    """
    with Path(path).open(encoding="utf-8", newline="") as handle:
        reader = csv.reader(handle)
        header = next(reader, [])
        label_names = [name.removeprefix(_PROBABILITY_PREFIX) for name in header[len(_COLUMNS) :]]
        expected = [*_COLUMNS, *(_PROBABILITY_PREFIX + name for name in label_names)]
        if header != expected or not label_names:
            raise ResultsError(
                f"{path}: expected the columns {', '.join(_COLUMNS)} and {_PROBABILITY_PREFIX}<label> for each label, "
                f"found {', '.join(header) or 'none'}."
            )
        positions = {name: index for index, name in enumerate(label_names)}
        by_split: dict[str, list[tuple[str, str, int, list[float]]]] = {}
        for row in reader:
            try:
                split, file, speaker, label, _ = row[: len(_COLUMNS)]
                values = [float(value) for value in row[len(_COLUMNS) :]]
                by_split.setdefault(split, []).append((file, speaker, positions[label], values))
            except (ValueError, KeyError) as error:
                raise ResultsError(f"{path}, line {reader.line_num}: cannot read {row!r} ({error!r}).") from error
    splits = []
    for split, rows in by_split.items():
        files, speakers, references, probabilities = (list(column) for column in zip(*rows, strict=True))
        splits.append(
            SplitPredictions(
                split=split,
                files=files,
                references=np.asarray(references, dtype=np.int64),
                probabilities=np.asarray(probabilities, dtype=np.float32),
                speaker_ids=speakers if any(speakers) else None,
            )
        )
    return splits, label_names
