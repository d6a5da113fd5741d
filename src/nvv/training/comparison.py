"""Compares two runs by their answers on the same clips, as two `predictions.csv` hold them.

The arithmetic is `nvv.metrics.paired_bootstrap`'s, of numbers `paired_regression_bootstrap`'s. The answers are read and
matched clip by clip, and refused where they do not belong together, by the neighbour `matching`. Scores of a
classification lie in [0, 1]; a difference is the first run's score minus the second's. Own work.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from ..metrics import PairedDifference, paired_bootstrap, paired_regression_bootstrap
from .answers import RegressionPredictions, ResultsError, SplitPredictions, can_draw_speakers
from .matching import check_outputs, matching_order, read_run_split, share_speakers
from .results import METRICS_FILE, read_metrics

__all__ = ["COMPARISON_UNITS", "Comparison", "compare_runs", "comparison_table"]

COMPARISON_UNITS = ("clip", "speaker")


class _Always(TypedDict):
    """The fields that every comparison has; `Comparison` says what they are."""

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


class Comparison(_Always, total=False):
    """How two runs compare on one split; plain values, as JSON holds them.

    Attributes:
        run_a: The first run's folder, as given.
        run_b: The second one's.
        split: The split.
        unit: What was resampled, `clip` or `speaker`.
        num_clips: Clips of the split whose reference is known; only these are compared.
        num_speakers: Its speakers; None where not every clip's is known.
        num_resamples: Bootstrap resamples.
        confidence: Of the intervals.
        seed: Of the resamples.
        notes: What a reader must know before believing the scores, such as that a corpus is synthetic.
        scores: By score name: a, b, difference (a minus b), low, high and p_value. Of a regression CCC, Pearson's
            correlation and mean absolute error, each the mean over targets; of the error less is better.
        task: The task compared, where one was named.
        per_target: Of a regression, by target: the same scores of each; none where it has no reference.
    """

    task: str
    per_target: dict[str, dict[str, PairedDifference]]


def compare_runs(
    run_a: str | os.PathLike[str],
    run_b: str | os.PathLike[str],
    *,
    split: str = "test",
    unit: str = "clip",
    task: str | None = None,
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
        task: which task, where a run has several. A run with a single one is taken as it is: so a joint model's task
            compares with the model of that task alone.
        num_resamples: bootstrap resamples, ≥ 1.
        confidence: of the intervals, in (0, 1).
        seed: of the resamples.

    Returns:
        Both runs' scores, their differences with intervals, and p-values.

    Raises:
        ResultsError: if a run has no predictions, lacks the split, or answered other clips; if one answered with
            classes and the other with numbers; if labels, their order, targets or speakers are others; if no reference
            is known; if a run has several tasks and none is named; or if whole speakers are asked for and not every
            clip's is known.
        ValueError: as `nvv.metrics.paired_bootstrap`, for the resamples' number and the confidence.

    Example:
        >>> compare_runs("runs/lora", "runs/frozen")["scores"]["macro_f1"]["p_value"]  # doctest: +SKIP
        0.0312
    """
    if unit not in COMPARISON_UNITS:
        raise ResultsError(f"unit: expected {' or '.join(COMPARISON_UNITS)}, found {unit!r}.")
    folder_a, folder_b = Path(run_a), Path(run_b)
    first, names_a = read_run_split(folder_a, split=split, task=task)
    second, names_b = read_run_split(folder_b, split=split, task=task)
    check_outputs(first, second, names_a=names_a, names_b=names_b, run_a=folder_a, run_b=folder_b)
    order = matching_order(first, second, run_a=folder_a, run_b=folder_b)
    known = first.has_reference.nonzero()[0]
    if not known.size:
        raise ResultsError(
            f"{split}: no clip's reference is known, so there is nothing to compare on. Take another split."
        )
    knows_speakers = share_speakers(first, second, order=order, run_b=folder_b)
    speakers = [first.speaker_ids[index] for index in known] if knows_speakers else None
    if unit == "speaker" and not can_draw_speakers(speakers):
        raise ResultsError(
            f"{split}: comparing by speaker needs the speaker of every clip in both runs, and at least two speakers. "
            "Compare by clip."
        )
    compared = _compare(
        first,
        second,
        chosen_a=known,
        chosen_b=order[known],
        groups=speakers if unit == "speaker" else None,
        num_resamples=num_resamples,
        confidence=confidence,
        seed=seed,
    )
    comparison: Comparison = {
        "run_a": os.fspath(run_a),
        "run_b": os.fspath(run_b),
        "split": split,
        "unit": unit,
        "num_clips": int(known.size),
        "num_speakers": None if speakers is None else len(set(speakers)),
        "num_resamples": num_resamples,
        "confidence": confidence,
        "seed": seed,
        "notes": [*_notes(folder_a), *_notes(folder_b)],
        **compared,
    }
    return comparison if task is None else {**comparison, "task": task}


def _compare(
    first: SplitPredictions | RegressionPredictions,
    second: SplitPredictions | RegressionPredictions,
    *,
    chosen_a: NDArray[np.int64],
    chosen_b: NDArray[np.int64],
    **resampling: Any,
) -> dict[str, Any]:
    """Compare the answers on the chosen clips of each run, which are the same clips."""
    true, answers_a, answers_b = first.references[chosen_a], first.predictions[chosen_a], second.predictions[chosen_b]
    if isinstance(first, SplitPredictions):
        num_labels = first.probabilities.shape[1]
        return {"scores": paired_bootstrap(true, answers_a, answers_b, num_labels=num_labels, **resampling)}
    differences = paired_regression_bootstrap(true, answers_a, answers_b, **resampling)
    return {
        "scores": {name: difference["mean"] for name, difference in differences.items()},
        "per_target": {
            target: {
                name: difference["per_target"][index]
                for name, difference in differences.items()
                if difference["per_target"][index] is not None
            }
            for index, target in enumerate(first.target_names)
        },
    }


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
        A line on what was compared, one for each note, and one for each score. Scores of classes in per cent. Of
        several targets each one's CCC has a line, too.
    """
    share = f"{100 * comparison['confidence']:g} %"
    speakers = "" if comparison["num_speakers"] is None else f" by {comparison['num_speakers']} speakers"
    task = f", task {comparison['task']}" if "task" in comparison else ""
    is_regression = "per_target" in comparison
    kind = "a smaller mae is better" if is_regression else "scores in per cent"
    lines = [
        f"A: {comparison['run_a']}",
        f"B: {comparison['run_b']}",
        f"{comparison['split']}{task}, {comparison['num_clips']} clips{speakers}; {kind}; paired bootstrap by "
        f"{comparison['unit']}, {comparison['num_resamples']:,} resamples",
        *comparison["notes"],
        "",
    ]
    scores: dict[str, PairedDifference] = dict(comparison["scores"])
    targets: Mapping[str, Mapping[str, PairedDifference]] = comparison.get("per_target", {})
    if len(targets) > 1:
        scores |= {f"ccc {target}": found["ccc"] for target, found in targets.items() if "ccc" in found}
    rows = [("score", "A", "B", "A - B", f"{share} interval", "p")]
    rows += [_table_row(name, score, is_share=not is_regression) for name, score in scores.items()]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for name, *numbers in rows:
        cells = [name.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(numbers, widths[1:], strict=True))]
        lines.append("  ".join(cells))
    return "\n".join(lines)


def _table_row(name: str, score: PairedDifference, *, is_share: bool) -> tuple[str, ...]:
    """Write a score's numbers, shares in per cent."""
    factor, digits = (100, 1) if is_share else (1, 3)
    a, b, difference, low, high = (factor * score[key] for key in ("a", "b", "difference", "low", "high"))
    interval = f"[{low:+.{digits}f}, {high:+.{digits}f}]"
    return name, f"{a:.{digits}f}", f"{b:.{digits}f}", f"{difference:+.{digits}f}", interval, f"{score['p_value']:.4f}"
