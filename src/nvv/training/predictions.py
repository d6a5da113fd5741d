"""The file `predictions.csv`, which keeps a model's answers on the clips of a run's splits.

Of a classifier it holds the true and the predicted class and every probability; of a regressor each target's reference
and prediction. A cell is empty where the reference is missing. Numbers in single precision read back exactly. What
answers are is defined in `answers`; scores are computed from them in `split_scores`. Own work.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ..files import replaced_when_complete
from .answers import MISSING_CLASS, RegressionPredictions, ResultsError, SplitPredictions, can_draw_speakers

__all__ = [
    "PREDICTIONS_FILE",
    "RegressionPredictions",
    "ResultsError",
    "SplitPredictions",
    "can_draw_speakers",
    "read_predictions",
    "write_predictions",
]

PREDICTIONS_FILE = "predictions.csv"

_PROBABILITY_PREFIX = "probability_"
_REFERENCE_PREFIX, _PREDICTION_PREFIX = "reference_", "prediction_"
_CLIP_COLUMNS = ("split", "file", "speaker_id")
_COLUMNS = (*_CLIP_COLUMNS, "label", "predicted")


def write_predictions(
    path: str | os.PathLike[str],
    splits: Sequence[SplitPredictions] | Sequence[RegressionPredictions],
    *,
    label_names: Sequence[str] | None = None,
) -> Path:
    """Write `predictions.csv`: a row for each clip with its answer, whole or not at all.

    Args:
        path: the file.
        splits: the model's answers, all of one kind; their order is kept.
        label_names: class names in label order; they name the columns `probability_<label>`. None for a regressor,
            whose answers name their targets: `reference_<target>` and `prediction_<target>`.

    Returns:
        The file's path.

    Raises:
        ResultsError: for another number of labels than there are probability columns, for splits with other targets or
            of another kind, and for label names where there are no classes or none where there are.
    """
    is_regression = any(isinstance(item, RegressionPredictions) for item in splits)
    if is_regression == bool(label_names):
        raise ResultsError(
            f"label_names: expected {'none for answers that are numbers' if is_regression else 'the class names'}, "
            f"found {', '.join(label_names or ()) or 'none'}."
        )
    rows = _regression_rows(splits) if is_regression else _classification_rows(splits, label_names=label_names)
    with (
        replaced_when_complete(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as handle,
    ):
        csv.writer(handle, lineterminator="\n").writerows(rows)
    return Path(path)


def _classification_rows(splits: Sequence[SplitPredictions], *, label_names: Sequence[str]) -> Iterator[list[str]]:
    """Yield the header and a row for each clip."""
    yield [*_COLUMNS, *(_PROBABILITY_PREFIX + name for name in label_names)]
    for item in splits:
        if item.probabilities.shape[1] != len(label_names):
            raise ResultsError(
                f"{item.split}: {item.probabilities.shape[1]} probability columns, but {len(label_names)} label names."
            )
        speakers = item.speaker_ids if item.speaker_ids is not None else [""] * len(item.files)
        rows = zip(item.files, speakers, item.references, item.predictions, item.probabilities, strict=True)
        for file, speaker, true, predicted, probabilities in rows:
            # str of a float32 is the shortest text that reads back to the same float32
            numbers = [str(value) for value in probabilities]
            label = "" if true == MISSING_CLASS else label_names[true]
            yield [item.split, file, speaker, label, label_names[predicted], *numbers]


def _regression_rows(splits: Sequence[RegressionPredictions]) -> Iterator[list[str]]:
    """Yield the header and a row for each clip."""
    names = splits[0].target_names if isinstance(splits[0], RegressionPredictions) else ()
    yield [*_CLIP_COLUMNS, *(prefix + name for prefix in (_REFERENCE_PREFIX, _PREDICTION_PREFIX) for name in names)]
    for item in splits:
        if not isinstance(item, RegressionPredictions) or item.target_names != names:
            found = ", ".join(item.target_names) if isinstance(item, RegressionPredictions) else "classes"
            raise ResultsError(f"{item.split}: expected the targets {', '.join(names)}, found {found}.")
        speakers = item.speaker_ids if item.speaker_ids is not None else [""] * len(item.files)
        for file, speaker, true, predicted in zip(item.files, speakers, item.references, item.predictions, strict=True):
            references = ["" if np.isnan(value) else str(value) for value in true]
            yield [item.split, file, speaker, *references, *(str(value) for value in predicted)]


def read_predictions(
    path: str | os.PathLike[str],
) -> tuple[list[SplitPredictions] | list[RegressionPredictions], list[str]]:
    """Read what `write_predictions` wrote.

    Args:
        path: the file.

    Returns:
        The splits in the file's order, and the names of the labels or the targets. A split without a single speaker
        has `speaker_ids` None.

    Raises:
        ResultsError: for other columns, or a row that does not fit them, naming its line.
    """
    with Path(path).open(encoding="utf-8", newline="") as handle:
        reader = csv.reader(handle)
        header = next(reader, [])
        label_names = _names(header, start=len(_COLUMNS), prefix=_PROBABILITY_PREFIX)
        target_names = _names(header[: (len(header) + len(_CLIP_COLUMNS)) // 2], start=3, prefix=_REFERENCE_PREFIX)
        if label_names and header == [*_COLUMNS, *(_PROBABILITY_PREFIX + name for name in label_names)]:
            names, make, read_row = label_names, _classification_split, _classification_reader(label_names)
        elif target_names and header == [
            *_CLIP_COLUMNS,
            *(prefix + name for prefix in (_REFERENCE_PREFIX, _PREDICTION_PREFIX) for name in target_names),
        ]:
            names, make, read_row = target_names, _regression_split(target_names), _regression_reader(target_names)
        else:
            raise ResultsError(
                f"{path}: expected the columns {', '.join(_COLUMNS)} and {_PROBABILITY_PREFIX}<label> for each label, "
                f"or {', '.join(_CLIP_COLUMNS)}, {_REFERENCE_PREFIX}<target> and {_PREDICTION_PREFIX}<target> for each "
                f"target, found {', '.join(header) or 'none'}."
            )
        by_split: dict[str, list[_Row]] = {}
        for row in reader:
            try:
                by_split.setdefault(row[0] if row else "", []).append(read_row(row))
            except (ValueError, KeyError) as error:
                raise ResultsError(f"{path}, line {reader.line_num}: cannot read {row!r} ({error!r}).") from error
    return [make(split, rows) for split, rows in by_split.items()], names


_Row = tuple[str, str, "int | list[float]", "list[float]"]
"""A clip's file, speaker, reference, and numbers of the answer."""


def _names(header: Sequence[str], *, start: int, prefix: str) -> list[str]:
    return [name.removeprefix(prefix) for name in header[start:]]


def _classification_reader(label_names: Sequence[str]) -> Callable[[list[str]], _Row]:
    positions = {name: index for index, name in enumerate(label_names)}
    positions.setdefault("", MISSING_CLASS)

    def read_row(row: list[str]) -> _Row:
        _, file, speaker, label, _ = row[: len(_COLUMNS)]
        return file, speaker, positions[label], [float(value) for value in row[len(_COLUMNS) :]]

    return read_row


def _regression_reader(target_names: Sequence[str]) -> Callable[[list[str]], _Row]:
    def read_row(row: list[str]) -> _Row:
        _, file, speaker, *numbers = row
        if len(numbers) != 2 * len(target_names):
            raise ValueError(f"expected {2 * len(target_names)} numbers, found {len(numbers)}")
        true, predicted = numbers[: len(target_names)], numbers[len(target_names) :]
        references = [float(value) if value else float("nan") for value in true]
        return file, speaker, references, [float(value) for value in predicted]

    return read_row


def _columns(rows: Sequence[_Row]) -> tuple[list[str], list[str] | None, list, list[list[float]]]:
    """Return files, speakers (None where no clip has one), references and answers."""
    files, speakers, references, numbers = (list(column) for column in zip(*rows, strict=True))
    return files, speakers if any(speakers) else None, references, numbers


def _classification_split(split: str, rows: Sequence[_Row]) -> SplitPredictions:
    files, speakers, references, probabilities = _columns(rows)
    return SplitPredictions(
        split=split,
        files=files,
        references=np.asarray(references, dtype=np.int64),
        probabilities=np.asarray(probabilities, dtype=np.float32),
        speaker_ids=speakers,
    )


def _regression_split(target_names: Sequence[str]) -> Callable[[str, Sequence[_Row]], RegressionPredictions]:
    def make(split: str, rows: Sequence[_Row]) -> RegressionPredictions:
        files, speakers, references, predictions = _columns(rows)
        return RegressionPredictions(
            split=split,
            files=files,
            references=references,
            predictions=predictions,
            target_names=target_names,
            speaker_ids=speakers,
        )

    return make
