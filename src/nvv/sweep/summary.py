"""Across corpora: the systems' mean ranks, who beats whom how often, and whether the ranks differ by more than chance.

Each corpus counts once, by a system's mean score over its runs. Systems that lack a corpus are left out of the ranks.

Source: J. Demšar, Statistical comparisons of classifiers over multiple data sets, Journal of Machine Learning Research
7, 2006, sections 3.2.2 and 3.2.4 (Friedman test, Nemenyi's critical difference); own code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from .score_tables import mean_over_runs

MIN_CORPORA = 2
MIN_SYSTEMS = 3


@dataclass(frozen=True, kw_only=True)
class RankSummary:
    """How systems rank over corpora.

    Args:
        mean_ranks: mean rank of each system, 1 the best, best first; of equal scores the mean of their ranks.
        win_rates: share of the corpora on which the row's system scores higher than the column's, a tie counting half
            (systems, systems); NaN on the diagonal.
        num_corpora: corpora ranked over.
        friedman_p: p-value of the Friedman test; None for fewer than two corpora or three systems.
        critical_difference: Nemenyi's, at 5 %: mean ranks further apart differ; None as above.
        left_out: systems without a score on some corpus.
    """

    mean_ranks: pd.Series
    win_rates: pd.DataFrame
    num_corpora: int
    friedman_p: float | None
    critical_difference: float | None
    left_out: tuple[str, ...] = ()


def scores_by_corpus(runs: pd.DataFrame, score: str) -> pd.DataFrame:
    """Average each system's score on each corpus.

    Args:
        runs: results of one split protocol, with `systems.with_systems`' columns.
        score: the score's column, such as `test_uar`.

    Returns:
        Scores (systems, corpora) in the order of the runs; NaN where a system has no finished run.
    """
    if score not in runs:
        return pd.DataFrame()
    done = runs[(runs["status"] == "done") & runs[score].notna()]
    table = pd.DataFrame(
        index=pd.Index(done["system"].unique(), name="system"),
        columns=pd.Index(done["corpus"].unique(), name="corpus"),
        dtype=np.float64,
    )
    for (system, corpus), group in done.groupby(["system", "corpus"], sort=False):
        table.loc[system, corpus] = mean_over_runs(group, score)[0]
    return table


def rank_summary(scores: pd.DataFrame) -> RankSummary | None:
    """Rank systems over corpora.

    Args:
        scores: what `scores_by_corpus` returned.

    Returns:
        The summary, or None where fewer than two systems have a score on every one of at least two corpora.
    """
    complete = scores.dropna()
    num_systems, num_corpora = complete.shape
    if num_corpora < MIN_CORPORA or num_systems < 2:
        return None
    values = complete.to_numpy()  # (systems, corpora)
    ranks = stats.rankdata(-values, axis=0)
    mean_ranks = pd.Series(ranks.mean(axis=1), index=complete.index).sort_values(kind="stable")
    wins = (values[:, None] > values[None]).mean(axis=-1) + 0.5 * (values[:, None] == values[None]).mean(axis=-1)
    np.fill_diagonal(wins, np.nan)
    friedman_p = difference = None
    if num_systems >= MIN_SYSTEMS:
        # All scores equal on every corpus: the statistic is 0 / 0, and nothing speaks for a difference.
        all_tied = bool((values == values[:1]).all())
        friedman_p = 1.0 if all_tied else float(stats.friedmanchisquare(*values).pvalue)
        difference = critical_difference(num_systems, num_corpora)
    return RankSummary(
        mean_ranks=mean_ranks,
        win_rates=pd.DataFrame(wins, index=complete.index, columns=complete.index).loc[
            mean_ranks.index, mean_ranks.index
        ],
        num_corpora=num_corpora,
        friedman_p=friedman_p,
        critical_difference=difference,
        left_out=tuple(scores.index.difference(complete.index, sort=False)),
    )


def critical_difference(num_systems: int, num_corpora: int, *, level: float = 0.05) -> float:
    """Compute Nemenyi's critical difference of mean ranks.

    Args:
        num_systems: systems compared, ≥ 2.
        num_corpora: corpora they were ranked on.
        level: of the test.

    Returns:
        The difference above which two mean ranks differ significantly.

    Example:
        >>> round(critical_difference(4, 14), 2)
        1.25
    """
    quantile = stats.studentized_range.ppf(1 - level, num_systems, math.inf) / math.sqrt(2)
    return float(quantile * math.sqrt(num_systems * (num_systems + 1) / (6 * num_corpora)))


def groups_without_difference(mean_ranks: pd.Series, difference: float) -> list[tuple[int, int]]:
    """Find the largest stretches of systems whose mean ranks lie within the critical difference.

    Args:
        mean_ranks: mean ranks, best first.
        difference: the critical difference.

    Returns:
        For each stretch of at least two systems the positions of its first and last; none lies within another.
    """
    values = mean_ranks.to_numpy()
    stretches: list[tuple[int, int]] = []
    for first, value in enumerate(values):
        last = int(np.searchsorted(values, value + difference, side="right")) - 1
        if last > first and (not stretches or last > stretches[-1][1]):
            stretches.append((first, last))
    return stretches
