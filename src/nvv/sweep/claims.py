"""Published claims as tested statements: for each corpus and over all of them, holds, does not hold, or undecided.

A claim says that systems of one kind score better than systems of another. Each pair that it speaks of is compared by
the paired bootstrap of `significance`. Then

- it **holds** if every pair's 95 % interval lies above zero (to say so of all pairs needs no correction);
- it **does not hold** if some pair's difference is significantly the other way round, after Holm's correction over the
  pairs;
- else it is **undecided**: the test part is too small for this difference, or there is none.

Source: R. Berger, Multiparameter hypothesis testing and acceptance sampling, Technometrics 24, 1982 (all of several
hypotheses at once); own code.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..training.results import ResultsError
from .score_names import metric_of
from .score_tables import mean_over_runs
from .settings import Claim
from .significance import AnswerStore, Comparison, compare_systems, holm
from .systems import selected

HOLDS = "holds"
DOES_NOT_HOLD = "does not hold"
UNDECIDED = "undecided"
NOT_TESTED = "not tested"
LEVEL = 0.05


@dataclass(frozen=True, kw_only=True)
class ClaimPair:
    """One comparison that a claim rests on.

    Args:
        better: the system that should win.
        than: the one that should lose.
        comparison: their difference, `better` minus `than`.
    """

    better: str
    than: str
    comparison: Comparison


@dataclass(frozen=True, kw_only=True)
class CorpusVerdict:
    """A claim on one corpus and split protocol.

    Args:
        corpus: its name.
        protocol: the split protocol.
        verdict: one of the module's four words.
        pairs: the comparisons.
        reasons: why a comparison, or all of them, could not be made.
    """

    corpus: str
    protocol: str
    verdict: str
    pairs: Sequence[ClaimPair] = ()
    reasons: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class ClaimResult:
    """A claim, tested.

    Args:
        claim: the claim.
        verdict: over all corpora together.
        corpora: by corpus.
        caveats: why the verdict is no evidence, where it is none.
    """

    claim: Claim
    verdict: str
    corpora: Sequence[CorpusVerdict]
    caveats: Sequence[str] = ()

    @property
    def pairs(self) -> list[ClaimPair]:
        """All comparisons."""
        return [pair for corpus in self.corpora for pair in corpus.pairs]

    def as_mapping(self) -> dict[str, Any]:
        """Return what `claims.json` holds of the claim."""
        pairs = self.pairs
        differences = [pair.comparison.difference for pair in pairs]
        return {
            **asdict(self.claim),
            "verdict": self.verdict,
            "num_comparisons": len(pairs),
            "num_in_favour": sum(pair.comparison.low > 0 for pair in pairs),
            "num_against": sum(pair.comparison.high < 0 for pair in pairs),
            "mean_difference": float(np.mean(differences)) if pairs else None,
            "caveats": list(self.caveats),
            "corpora": [asdict(corpus) for corpus in self.corpora],
        }


def check_claims(
    table: pd.DataFrame, claims: Sequence[Claim], store: AnswerStore, *, num_resamples: int
) -> list[ClaimResult]:
    """Test claims on the results of a sweep.

    Args:
        table: the results with `systems.with_systems`' columns.
        claims: the grid's claims.
        store: the runs' predictions.
        num_resamples: bootstrap resamples of each comparison.

    Returns:
        A result for each claim, in order.

    Raises:
        ReportError: for a claim that names a column which the table does not have.
    """
    return [_check(table, claim, store, num_resamples=num_resamples) for claim in claims]


def verdict_of(comparisons: Sequence[Comparison]) -> str:
    """Decide a claim by its comparisons, as the module's docstring says.

    Args:
        comparisons: differences that should all be positive.

    Returns:
        One of the module's words.
    """
    if not comparisons:
        return NOT_TESTED
    if all(item.low > 0 for item in comparisons):
        return HOLDS
    corrected = holm([item.p_value for item in comparisons])
    if any(item.difference < 0 and p < LEVEL for item, p in zip(comparisons, corrected, strict=True)):
        return DOES_NOT_HOLD
    return UNDECIDED


def _check(table: pd.DataFrame, claim: Claim, store: AnswerStore, *, num_resamples: int) -> ClaimResult:
    where = f"claim {claim.name}"
    for name in claim.matched_by:
        selected(table, {name: []}, where=f"{where}: matched_by")  # raises where there is no such column
    better, than = (selected(table, side, where=where) for side in (claim.better, claim.than))
    both = pd.concat([better, than])
    corpora = []
    for corpus, protocol in dict.fromkeys(zip(both["corpus"], both["protocol"], strict=True)):
        here = [side[(side["corpus"] == corpus) & (side["protocol"] == protocol)] for side in (better, than)]
        pairs, reasons = _pairs(claim, here[0], here[1], store, num_resamples=num_resamples)
        corpora.append(
            CorpusVerdict(
                corpus=str(corpus),
                protocol=str(protocol),
                verdict=verdict_of([pair.comparison for pair in pairs]),
                pairs=pairs,
                reasons=reasons,
            )
        )
    caveats = []
    if (both["random_init"] == True).any():  # noqa: E712 - may be missing
        caveats.append("random weights: no evidence about backbones or methods")
    if (both["is_synthetic"] == True).any():  # noqa: E712 - may be missing
        caveats.append("computed sounds: no evidence about people's voices")
    return ClaimResult(
        claim=claim,
        verdict=verdict_of([pair.comparison for corpus in corpora for pair in corpus.pairs]),
        corpora=corpora,
        caveats=caveats,
    )


def _pairs(
    claim: Claim, better: pd.DataFrame, than: pd.DataFrame, store: AnswerStore, *, num_resamples: int
) -> tuple[list[ClaimPair], list[str]]:
    """Compare on one corpus what the claim speaks of; say what could not be compared."""
    pairs, reasons = [], _unfinished(better, than)
    metric = metric_of(pd.concat([better, than]), claim.metric)
    for winner, loser in _candidates(claim, metric, *(side[side["status"] == "done"] for side in (better, than))):
        names = winner.iloc[0]["system"], loser.iloc[0]["system"]
        try:
            comparison = compare_systems(
                store, winner, loser, split=claim.split, metric=metric, num_resamples=num_resamples
            )
        except ResultsError as error:
            reasons.append(f"{names[0]} and {names[1]}: {error}")
            continue
        pairs.append(ClaimPair(better=names[0], than=names[1], comparison=comparison))
    if not pairs and not reasons:
        reasons.append("no two systems to compare")
    return pairs, reasons


def _unfinished(better: pd.DataFrame, than: pd.DataFrame) -> list[str]:
    """Say which runs of a claim are missing on a corpus."""
    both = pd.concat([better, than])
    missing = both[both["status"] != "done"]
    return [f"{len(missing)} of {len(both)} runs are missing"] if len(missing) else []


def _candidates(
    claim: Claim, metric: str, better: pd.DataFrame, than: pd.DataFrame
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Yield the finished runs of each two systems that the claim compares."""
    for winners, losers in _matched(claim.matched_by, better, than):
        sides = [[runs for _, runs in side.groupby("system", sort=False)] for side in (winners, losers)]
        if claim.take == "best_by_validation":
            score = f"validation_{metric}"
            sides = [[max(side, key=lambda runs: mean_over_runs(runs, score)[0])] if side else [] for side in sides]
        for winner in sides[0]:
            for loser in sides[1]:
                if winner.iloc[0]["system"] != loser.iloc[0]["system"]:
                    yield winner, loser


def _matched(
    fields: Sequence[str], better: pd.DataFrame, than: pd.DataFrame
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Yield the parts of both sides that agree in the given columns."""
    if not fields:
        yield better, than
        return
    for values, winners in better.groupby(list(fields), sort=False, dropna=False):
        losers = selected(than, dict(zip(fields, values, strict=True)), where="matched_by")
        if len(losers):
            yield winners, losers
