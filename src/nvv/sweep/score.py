"""The benchmark's one number: how much better than guessing a system hears, averaged over corpora.

On one corpus it is the chance-corrected UAR on test, (UAR - 1/K) / (1 - 1/K), where K is the number of classes that
occur there: 0 is guessing, 1 is faultless, and corpora with few and with many classes count alike. It is averaged over
seeds, then over corpora. Folds are scored with their predictions put together.

The 95 % interval is a percentile bootstrap in which each corpus's speakers (clips, where speakers are unknown) are
drawn anew, each with all its predictions from all seeds; K is counted in each draw. It says how sure the number is for
these corpora and these trained models, and nothing about other corpora. Own work.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ..metrics import confusion_matrix, resampled_confusions, scores_from_confusion
from .settings import ReportSettings
from .significance import AnswerStore, pooled_answers

NUM_RESAMPLES = 1_000


@dataclass(frozen=True, kw_only=True)
class BenchmarkScore:
    """A system's number.

    Args:
        system: its name.
        by_corpus: chance-corrected UAR on each corpus with finished runs, in [-1, 1].
        missing: corpora without a result, or with fewer runs than planned.
        value: the mean over corpora; None while any is missing.
        low: lower end of its 95 % interval.
        high: upper end.
        unseen_value: the same mean over the corpora that no backbone of the grid was pretrained on; None where that is
            the same, or none is left, or one is missing.
        seen: corpora that the backbone's pretraining contained.
        random_init: whether a backbone had random weights.
        is_synthetic: whether a corpus was computed.
    """

    system: str
    by_corpus: Mapping[str, float]
    missing: Sequence[str] = ()
    value: float | None = None
    low: float | None = None
    high: float | None = None
    unseen_value: float | None = None
    seen: Sequence[str] = field(default_factory=tuple)
    random_init: bool = False
    is_synthetic: bool = False


def chance_corrected_uar(confusion: ArrayLike) -> NDArray[np.float64]:
    """Compute (UAR - 1/K) / (1 - 1/K) of one or many confusion matrices.

    Args:
        confusion: counts (..., classes, classes), rows true, columns predicted.

    Returns:
        Scores (...): 1 faultless, 0 guessing, down to -1 / (K - 1). K is the number of classes that occur in the
        references; with a single one the recall is not evidence of anything, and the score is 0.

    Example:
        >>> float(chance_corrected_uar([[3, 1], [1, 3]]))
        0.5
    """
    counts = np.asarray(confusion)
    num_classes = (counts.sum(axis=-1) > 0).sum(axis=-1)
    chance = 1 / num_classes
    corrected = scores_from_confusion(counts)["uar"] - chance
    return np.divide(corrected, 1 - chance, out=np.zeros_like(corrected), where=num_classes > 1)


def benchmark_scores(table: pd.DataFrame, store: AnswerStore, settings: ReportSettings) -> list[BenchmarkScore]:
    """Compute every system's number.

    Args:
        table: the results of one split protocol, with `systems.with_systems`' columns.
        store: the runs' predictions.
        settings: the report's settings; the first of `splits` is scored.

    Returns:
        The systems, best number first, those without a number last in the order of the runs.
    """
    split = settings.splits[0]
    corpora = list(table["corpus"].unique())
    seen_by_any = {corpus for seen in settings.seen_in_pretraining.values() for corpus in seen}
    unseen = [corpus for corpus in corpora if corpus not in seen_by_any]
    scores = []
    for system, runs in table.groupby("system", sort=False):
        by_corpus, draws = {}, {}
        missing = [corpus for corpus in corpora if not _is_complete(runs[runs["corpus"] == corpus])]
        for corpus in corpora:
            done = runs[(runs["corpus"] == corpus) & (runs["status"] == "done")]
            if len(done):
                by_corpus[corpus], draws[corpus] = _on_corpus(done, store, split=split, corpus=str(corpus))
        seen = settings.seen_in_pretraining.get(runs.iloc[0]["backbone"], ())
        numbers: dict[str, float] = {}
        if not missing:
            low, high = np.quantile(np.mean(list(draws.values()), axis=0), [0.025, 0.975])
            numbers = {"value": float(np.mean(list(by_corpus.values()))), "low": float(low), "high": float(high)}
        if unseen and len(unseen) < len(corpora) and not set(unseen) & set(missing):
            numbers["unseen_value"] = float(np.mean([by_corpus[corpus] for corpus in unseen]))
        scores.append(
            BenchmarkScore(
                system=str(system),
                by_corpus=by_corpus,
                missing=missing,
                seen=[corpus for corpus in corpora if corpus in seen],
                random_init=bool((runs["random_init"] == True).any()),  # noqa: E712 - may be missing
                is_synthetic=bool((runs["is_synthetic"] == True).any()),  # noqa: E712 - may be missing
                **numbers,
            )
        )
    return sorted(scores, key=lambda score: -np.inf if score.value is None else score.value, reverse=True)


def _is_complete(runs: pd.DataFrame) -> bool:
    """Say whether there are runs, all of them finished."""
    return len(runs) > 0 and bool((runs["status"] == "done").all())


def _on_corpus(runs: pd.DataFrame, store: AnswerStore, *, split: str, corpus: str) -> tuple[float, NDArray[np.float64]]:
    """Return the score on one corpus, and its bootstrap draws (NUM_RESAMPLES,)."""
    values, draws = [], []
    for _, of_seed in runs.groupby("seed", dropna=False):
        answers = pooled_answers(store, [(run_id,) for run_id in of_seed["run_id"]], split=split)
        predicted, labels = answers.predictions[0], answers.num_labels
        values.append(chance_corrected_uar(confusion_matrix(answers.references, predicted, num_labels=labels)))
        # Drawing groups with one seed draws the same speakers whatever was predicted for them: the seeds of a system
        # share their resamples. Corpora are independent, so each has a seed of its own.
        confusions = resampled_confusions(
            answers.references,
            predicted,
            num_labels=labels,
            groups=answers.groups,
            num_resamples=NUM_RESAMPLES,
            seed=zlib.crc32(corpus.encode()),
        )
        draws.append(chance_corrected_uar(confusions))
    return float(np.mean(values)), np.mean(draws, axis=0)
