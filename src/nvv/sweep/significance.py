"""How sure a difference between two systems is, from their runs' `predictions.csv`.

Two systems are compared on the same clips, seed with seed and fold with fold. The predictions of all these pairs are
put together, and speakers (clips, where speakers are unknown) are drawn with everything that was predicted for them, so
that the seeds of a clip never count as independent evidence. For accuracy and UAR the difference so pooled is the mean
difference over the seeds; for F1 and precision it comes close to it. Systems that predict numbers, or several tasks,
are compared by the neighbour `task_significance`.

Source: the paired bootstrap is `nvv.metrics.paired_bootstrap`; S. Holm, A simple sequentially rejective multiple test
procedure, Scandinavian Journal of Statistics 6, 1979; own code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..metrics import SCORE_NAMES, paired_bootstrap
from ..training.answers import ResultsError
from .answers import AnswerStore
from .task_significance import compare_tasks

__all__ = [
    "BOOTSTRAP_SEED",
    "AnswerStore",
    "Comparison",
    "PooledAnswers",
    "compare_systems",
    "holm",
    "matched_runs",
    "pooled_answers",
]

BOOTSTRAP_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A difference between two systems on one corpus.

    Args:
        difference: score of the first minus score of the second, in [-1, 1].
        low: lower end of its 95 % interval.
        high: upper end.
        p_value: two-sided, not corrected.
        num_clips: different clips compared.
        num_pairs: pairs of runs put together.
        unit: what was drawn, `speaker` or `clip`.
    """

    difference: float
    low: float
    high: float
    p_value: float
    num_clips: int
    num_pairs: int
    unit: str


@dataclass(frozen=True, kw_only=True)
class PooledAnswers:
    """The answers of several runs put together.

    Args:
        references: true labels (answers,).
        predictions: for each system its predicted labels (systems, answers).
        groups: what is drawn together: the speaker, or the clip's file (answers,).
        unit: `speaker` or `clip`.
        num_labels: number of classes.
    """

    references: NDArray[np.int64]
    predictions: NDArray[np.int64]
    groups: NDArray[np.str_]
    unit: str
    num_labels: int


def pooled_answers(store: AnswerStore, run_ids: Sequence[Sequence[str]], *, split: str) -> PooledAnswers:
    """Put the answers of runs together, of one system or of several side by side.

    Args:
        store: where they are.
        run_ids: for each set of answers the runs (sets, systems) that answered on the same clips.
        split: the split.

    Returns:
        All answers. Speakers are drawn where every clip of every run has one, else clips.

    Raises:
        ResultsError: for runs side by side that have other clips, true labels or label names.
    """
    references, predictions, files, speakers = [], [], [], []
    labels: list[str] | None = None
    for side_by_side in run_ids:
        answers = [store.split(run_id, split) for run_id in side_by_side]
        (first, names), labels = answers[0], labels or answers[0][1]
        for run_id, (other, other_names) in zip(side_by_side, answers, strict=True):
            same_clips = list(other.files) == list(first.files) and np.array_equal(other.references, first.references)
            if not same_clips or other_names != labels or names != labels:
                raise ResultsError(
                    f"{run_id}, {split}: expected the clips and labels of {side_by_side[0]}, found others. Compare "
                    "runs of one corpus and split protocol, without max_evaluation_clips."
                )
        references.append(np.asarray(first.references))
        predictions.append(np.stack([item.predictions for item, _ in answers]))
        files += list(first.files)
        known = first.speaker_ids is not None and all(first.speaker_ids)
        speakers += list(first.speaker_ids) if known else [None] * len(first.files)
    by_speaker = None not in speakers
    return PooledAnswers(
        references=np.concatenate(references),
        predictions=np.concatenate(predictions, axis=1),
        groups=np.asarray(speakers if by_speaker else files),
        unit="speaker" if by_speaker else "clip",
        num_labels=len(labels or ()),
    )


def matched_runs(first: pd.DataFrame, second: pd.DataFrame) -> list[tuple[str, str]]:
    """Pair the runs of two systems on one corpus: same fold, same seed.

    Args:
        first: finished runs of one system, with the columns `run_id`, `fold` and `seed`.
        second: those of the other.

    Returns:
        Pairs of run ids, over the folds and seeds that both have. Where one system ran a single time in a fold (a
        baseline without chance in it), that run is paired with each of the other's.

    Raises:
        ResultsError: if nothing matches.
    """
    pairs = []
    for fold in sorted(set(first["fold"]) & set(second["fold"])):
        runs = [{run.seed: run.run_id for run in side[side["fold"] == fold].itertuples()} for side in (first, second)]
        if min(len(side) for side in runs) == 1:
            pairs += [(a, b) for a in runs[0].values() for b in runs[1].values()]
        else:
            pairs += [(runs[0][seed], runs[1][seed]) for seed in runs[0] if seed in runs[1]]
    if not pairs:
        raise ResultsError("No fold and seed that both systems ran with; give them the same seeds.")
    return pairs


def compare_systems(
    store: AnswerStore,
    first: pd.DataFrame,
    second: pd.DataFrame,
    *,
    split: str,
    metric: str,
    num_resamples: int,
) -> Comparison:
    """Compare two systems on one corpus and split protocol.

    Args:
        store: the sweep's predictions.
        first: finished runs of one system on the corpus.
        second: those of the other.
        split: the split.
        metric: the score, one of `score_names.REPORT_SCORES`; `mean_score` for systems with several tasks.
        num_resamples: bootstrap resamples.

    Returns:
        The difference, first minus second.

    Raises:
        ResultsError: if the runs cannot be compared; the message says why.
    """
    pairs = matched_runs(first, second)
    if metric not in SCORE_NAMES:
        of_tasks = compare_tasks(
            store, pairs, split=split, metric=metric, num_resamples=num_resamples, seed=BOOTSTRAP_SEED
        )
        numbers = {name: of_tasks.difference[name] for name in ("difference", "low", "high", "p_value")}
        return Comparison(**numbers, num_clips=of_tasks.num_clips, num_pairs=len(pairs), unit=of_tasks.unit)
    pooled = pooled_answers(store, pairs, split=split)
    result = paired_bootstrap(
        pooled.references,
        *pooled.predictions,
        num_labels=pooled.num_labels,
        groups=pooled.groups,
        num_resamples=num_resamples,
        seed=BOOTSTRAP_SEED,
    )[metric]
    return Comparison(
        difference=result["difference"],
        low=result["low"],
        high=result["high"],
        p_value=result["p_value"],
        num_clips=len({file for run_id, _ in pairs for file in store.split(run_id, split)[0].files}),
        num_pairs=len(pairs),
        unit=pooled.unit,
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for having made several tests (Holm's step-down procedure).

    Args:
        p_values: each in [0, 1].

    Returns:
        The corrected ones, in the same order.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, dtype=np.float64)
    if values.size == 0:
        return []
    order = np.argsort(values, kind="stable")
    factors = np.arange(values.size, 0, -1)
    corrected = np.minimum(np.maximum.accumulate(values[order] * factors), 1.0)
    result = np.empty_like(values)
    result[order] = corrected
    return result.tolist()
