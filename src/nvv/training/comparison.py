"""Compares two runs by their answers on the same clips, as two `predictions.csv` hold them.

The arithmetic is `nvv.metrics.paired_bootstrap`'s; here the answers are read, matched clip by clip, and refused where
they do not belong together. Scores lie in [0, 1]; a difference is the first run's score minus the second's. Own work.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from ..metrics import PairedDifference, paired_bootstrap
from .predictions import PREDICTIONS_FILE, ResultsError, SplitPredictions, can_draw_speakers, read_predictions
from .results import METRICS_FILE, read_metrics

__all__ = ["COMPARISON_UNITS", "Comparison", "compare_runs", "comparison_table"]

COMPARISON_UNITS = ("clip", "speaker")


class Comparison(TypedDict):
    """How two runs compare on one split; plain values, as JSON holds them.

    Attributes:
        run_a: The first run's folder, as given.
        run_b: The second one's.
        split: The split.
        unit: What was resampled, `clip` or `speaker`.
        num_clips: Clips of the split.
        num_speakers: Its speakers; None where not every clip's is known.
        num_resamples: Bootstrap resamples.
        confidence: Of the intervals.
        seed: Of the resamples.
        notes: What a reader must know before believing the scores, such as that a corpus is synthetic.
        scores: By score name: a, b, difference (a minus b), low, high and p_value.
    """

    run_a: str
    run_b: str
    split: str
    unit: str
    num_clips: int
    num_speakers: int | None
    num_resamples: int
    confidence: float
    seed: int
    notes: list[str]
    scores: dict[str, PairedDifference]


def compare_runs(
    run_a: str | os.PathLike[str],
    run_b: str | os.PathLike[str],
    *,
    split: str = "test",
    unit: str = "clip",
    num_resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Test whether two runs differ on the same clips.

    Args:
        run_a: a run's folder, with its `predictions.csv`.
        run_b: another one's.
        split: the split to compare on, such as `test`.
        unit: what is resampled: `clip`, or `speaker` for whole speakers, the honest unit where one has many clips.
        num_resamples: bootstrap resamples, ≥ 1.
        confidence: of the intervals, in (0, 1).
        seed: of the resamples.

    Returns:
        Both runs' scores, their differences with intervals, and p-values.

    Raises:
        ResultsError: if a run has no predictions, lacks the split, or answered other clips; if labels, their order or
            speakers are others; or if whole speakers are asked for and not every clip's is known.
        ValueError: as `nvv.metrics.paired_bootstrap`, for the resamples' number and the confidence.

    Example:
        >>> compare_runs("runs/lora", "runs/frozen")["scores"]["macro_f1"]["p_value"]  # doctest: +SKIP
        0.0312
    """
    if unit not in COMPARISON_UNITS:
        raise ResultsError(f"unit: expected {' or '.join(COMPARISON_UNITS)}, found {unit!r}.")
    folder_a, folder_b = Path(run_a), Path(run_b)
    first, labels_a = _read_split(folder_a, split=split)
    second, labels_b = _read_split(folder_b, split=split)
    if labels_a != labels_b:
        raise ResultsError(_describe_labels(labels_a, labels_b, run_a=folder_a, run_b=folder_b))
    order = _match(first, second, run_a=folder_a, run_b=folder_b)
    speakers = first.speaker_ids if _know_speakers(first, second, order=order, run_b=folder_b) else None
    if unit == "speaker" and not can_draw_speakers(speakers):
        raise ResultsError(
            f"{split}: comparing by speaker needs the speaker of every clip in both runs, and at least two speakers. "
            "Compare by clip."
        )
    return {
        "run_a": os.fspath(run_a),
        "run_b": os.fspath(run_b),
        "split": split,
        "unit": unit,
        "num_clips": len(first.files),
        "num_speakers": None if speakers is None else len(set(speakers)),
        "num_resamples": num_resamples,
        "confidence": confidence,
        "seed": seed,
        "notes": [*_notes(folder_a), *_notes(folder_b)],
        "scores": paired_bootstrap(
            first.references,
            first.predictions,
            second.predictions[order],
            num_labels=len(labels_a),
            groups=speakers if unit == "speaker" else None,
            num_resamples=num_resamples,
            confidence=confidence,
            seed=seed,
        ),
    }


def _read_split(run: Path, *, split: str) -> tuple[SplitPredictions, list[str]]:
    path = run / PREDICTIONS_FILE
    if not path.is_file():
        raise ResultsError(f"{path}: no such file. Name the folder of a finished run, which holds {PREDICTIONS_FILE}.")
    splits, label_names = read_predictions(path)
    by_name = {item.split: item for item in splits}
    if split not in by_name:
        raise ResultsError(f"{path}: expected the split {split!r}, found {', '.join(by_name) or 'none'}.")
    files = by_name[split].files
    if len(set(files)) < len(files):
        twice = next(file for index, file in enumerate(files) if file in set(files[:index]))
        raise ResultsError(f"{path}, {split}: expected each clip once, found {twice!r} again.")
    return by_name[split], label_names


def _describe_labels(labels_a: Sequence[str], labels_b: Sequence[str], *, run_a: Path, run_b: Path) -> str:
    if sorted(labels_a) == sorted(labels_b):
        return (
            f"{run_a} and {run_b}: the same labels in another order ({', '.join(labels_a)} and {', '.join(labels_b)}). "
            "Compare runs on one version of the corpus."
        )
    return (
        f"{run_a} and {run_b}: expected the same labels, found {', '.join(labels_a)} and {', '.join(labels_b)}. "
        "Compare runs on one corpus."
    )


def _match(first: SplitPredictions, second: SplitPredictions, *, run_a: Path, run_b: Path) -> NDArray[np.int64]:
    """Return where the second run has each clip of the first (clips,)."""
    positions = {file: index for index, file in enumerate(second.files)}
    only_a = sorted(set(first.files) - set(second.files))
    only_b = sorted(set(second.files) - set(first.files))
    if only_a or only_b:
        example, where = (only_a[0], run_a) if only_a else (only_b[0], run_b)
        raise ResultsError(
            f"{first.split}: expected the same clips, found {len(only_a)} only in {run_a} and {len(only_b)} only in "
            f"{run_b}, such as {example!r} in {where}. Compare runs with one corpus and split protocol."
        )
    order = np.array([positions[file] for file in first.files])
    others = np.flatnonzero(np.asarray(first.references) != np.asarray(second.references)[order])
    if others.size:
        raise ResultsError(
            f"{first.split}: expected the same true labels, found others for {others.size} clips, such as "
            f"{first.files[others[0]]!r} in {run_b}. Compare runs on one version of the corpus."
        )
    return order


def _know_speakers(first: SplitPredictions, second: SplitPredictions, *, order: NDArray[np.int64], run_b: Path) -> bool:
    """Say whether every clip's speaker is known; refuse two runs that say different things."""
    if first.speaker_ids is None or second.speaker_ids is None:
        return False
    for file, speaker, index in zip(first.files, first.speaker_ids, order, strict=True):
        if second.speaker_ids[index] != speaker:
            raise ResultsError(
                f"{first.split}: expected the same speakers, found {second.speaker_ids[index]!r} instead of "
                f"{speaker!r} for {file!r} in {run_b}. Compare runs on one version of the corpus."
            )
    return all(first.speaker_ids)


def _notes(run: Path) -> list[str]:
    """Say why a run's scores are no result, where they are none."""
    path = run / METRICS_FILE
    if not path.is_file():
        return [f"{run}: no {METRICS_FILE}, so nothing says which weights and corpus it is about."]
    metrics = read_metrics(path)
    notes = []
    if metrics["backbone"]["random_init"]:
        notes.append(f"{run}: the backbone has random weights; its scores are no result.")
    if metrics["corpus"].get("is_synthetic"):
        notes.append(f"{run}: the corpus is synthetic; its scores are no result.")
    return notes


def comparison_table(comparison: Comparison) -> str:
    """Set a comparison as a table of text.

    Args:
        comparison: what `compare_runs` returned.

    Returns:
        A line on what was compared, one for each note, and one for each score. Scores in per cent.
    """
    share = f"{100 * comparison['confidence']:g} %"
    speakers = "" if comparison["num_speakers"] is None else f" by {comparison['num_speakers']} speakers"
    lines = [
        f"A: {comparison['run_a']}",
        f"B: {comparison['run_b']}",
        f"{comparison['split']}, {comparison['num_clips']} clips{speakers}; scores in per cent; paired bootstrap by "
        f"{comparison['unit']}, {comparison['num_resamples']:,} resamples",
        *comparison["notes"],
        "",
    ]
    rows = [("score", "A", "B", "A - B", f"{share} interval", "p")]
    for name, score in comparison["scores"].items():
        a, b, difference, low, high = (100 * score[key] for key in ("a", "b", "difference", "low", "high"))
        interval = f"[{low:+.1f}, {high:+.1f}]"
        rows.append((name, f"{a:.1f}", f"{b:.1f}", f"{difference:+.1f}", interval, f"{score['p_value']:.4f}"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for name, *numbers in rows:
        cells = [name.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(numbers, widths[1:], strict=True))]
        lines.append("  ".join(cells))
    return "\n".join(lines)
