"""The score tables of a sweep: for each corpus and split protocol the systems' scores, which is best, and by how much.

Numbers only; `tables_text` writes them as Markdown and LaTeX. Scores lie in [0, 1]. Own work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from ..metrics import SCORE_NAMES, scores_with_intervals
from ..training.results import ResultsError
from .score_names import metric_of
from .settings import ReportSettings
from .significance import BOOTSTRAP_SEED, AnswerStore, compare_systems, holm, pooled_answers
from .systems import selected
from .table import NOT_RUN

SIGNIFICANCE_LEVELS = (0.05, 0.01)
"""Corrected p-values below which a score gets one mark, and two."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What a system scored on a corpus.

    Args:
        value: mean over seeds, and over folds.
        deviation: sample standard deviation over folds, or over seeds where there are no folds; None for a single run.
        low: lower end of the 95 % interval, where there is one.
        high: upper end.
        num_done: finished runs.
        num_planned: planned runs.
        p_value: of the difference to the best (or the reference), corrected over the table; None where not compared.
        is_best: whether no score of the table is higher.
        is_seen: whether the backbone's pretraining contained the corpus.
    """

    value: float
    deviation: float | None
    low: float | None
    high: float | None
    num_done: int
    num_planned: int
    p_value: float | None = None
    is_best: bool = False
    is_seen: bool = False

    @property
    def num_marks(self) -> int:
        """How many significance marks the score gets."""
        return 0 if self.p_value is None else sum(self.p_value < level for level in SIGNIFICANCE_LEVELS)


@dataclass(frozen=True, kw_only=True)
class ScoreTable:
    """Scores of all systems on one corpus and split protocol.

    Args:
        corpus: its name.
        protocol: split protocol, of folds their family.
        split: the split scored.
        metric: the score; never `mean_score` where all runs predict the same one thing.
        num_folds: number of folds, 0 where the protocol has none.
        is_pooled: whether the folds' predictions were put together and scored as one.
        num_clips: clips scored, over all folds.
        num_speakers: speakers among them, None where unknown (or, over folds, not counted).
        unit: what intervals and tests draw, `speaker` or `clip`; None where it is not the same for all.
        chance: the better of two ways of guessing.
        reference: name of the system compared with.
        cells: (row, column) to cell; what did not run is missing.
        num_random_init: how many of the systems' backbones have random weights.
        is_synthetic: whether the sounds were computed.
        remarks: what could not be compared, and why.
    """

    corpus: str
    protocol: str
    split: str
    metric: str
    num_folds: int
    is_pooled: bool
    num_clips: int
    num_speakers: int | None
    unit: str | None
    chance: float | None
    reference: str | None
    cells: Mapping[tuple[str, str], Cell]
    num_random_init: int
    is_synthetic: bool
    remarks: Sequence[str] = ()

    @property
    def rows(self) -> list[str]:
        """Row names, in order."""
        return list(dict.fromkeys(row for row, _ in self.cells))

    @property
    def columns(self) -> list[str]:
        """Column names, in order."""
        return list(dict.fromkeys(column for _, column in self.cells))


def score_tables(table: pd.DataFrame, store: AnswerStore, settings: ReportSettings) -> list[ScoreTable]:
    """Build every table of the report.

    Args:
        table: the results with `systems.with_systems`' columns.
        store: the runs' predictions.
        settings: the report's settings.

    Returns:
        For each corpus and protocol, in the order of the runs, and each split a table; where the test parts of several
        folds share no clip, a second one of the scores of all folds' predictions together (of classes only).
    """
    tables = []
    for (_, protocol), runs in table.groupby(["corpus", "protocol"], sort=False, dropna=False):
        if not (runs["status"] == "done").any():
            continue
        here = replace(settings, metric=metric_of(runs, settings.metric))
        for split in settings.splits:
            if f"{split}_{here.metric}" not in runs or runs[f"{split}_{here.metric}"].isna().all():
                continue
            tables.append(_score_table(runs, store, here, split=split, pooled=False))
            # Numbers of several models have no common scale, so only classes are put together.
            by_folds = str(protocol).endswith("fold") and here.metric in SCORE_NAMES
            if by_folds and _folds_are_apart(runs, store, split=split):
                tables.append(_score_table(runs, store, here, split=split, pooled=True))
    return tables


def mean_over_runs(runs: pd.DataFrame, column: str) -> tuple[float, float | None]:
    """Average a score over a system's runs on one corpus.

    Args:
        runs: finished runs, with the columns `fold` and `seed`.
        column: the score's column.

    Returns:
        The mean over folds of the means over seeds, and the sample standard deviation: over folds, or over seeds where
        there is one fold; None for a single value.
    """
    by_fold = runs.groupby("fold")[column].mean()
    values = by_fold if len(by_fold) > 1 else runs[column]
    return float(by_fold.mean()), float(values.std(ddof=1)) if len(values) > 1 else None


def _score_table(
    runs: pd.DataFrame, store: AnswerStore, settings: ReportSettings, *, split: str, pooled: bool
) -> ScoreTable:
    score = f"{split}_{settings.metric}"
    done = runs[(runs["status"] == "done") & runs[score].notna()]
    first = done.iloc[0]
    cells = {}
    for (row, column), planned in runs.groupby(["row", "column"], sort=False):
        finished = planned[planned.index.isin(done.index)]
        if finished.empty:
            continue
        numbers = _pooled(finished, store, settings, split=split) if pooled else _averaged(finished, score)
        cells[row, column] = Cell(
            **numbers,
            num_done=len(finished),
            num_planned=len(planned),
            is_seen=first["corpus"] in settings.seen_in_pretraining.get(finished.iloc[0]["backbone"], ()),
        )
    cells, reference, units, remarks = _compared(cells, done, store, settings, split=split)
    num_folds = int((done["fold"].drop_duplicates() >= 0).sum())
    clips = done.groupby("fold")[f"{split}_num_clips"].first()
    speakers = done.groupby("fold")[f"{split}_num_speakers"].first()
    chance = done.groupby("fold").first().get(f"{score}_chance")
    return ScoreTable(
        corpus=str(first["corpus"]),
        protocol=str(first["protocol"]),
        split=split,
        metric=settings.metric,
        num_folds=num_folds,
        is_pooled=pooled,
        num_clips=int(clips.sum()),
        num_speakers=int(speakers.iloc[0]) if len(speakers) == 1 and speakers.notna().all() else None,
        unit=units.pop() if len(units) == 1 else None,
        chance=None if chance is None or chance.isna().all() else float(chance.mean()),
        reference=reference,
        cells=cells,
        num_random_init=int(done[done["random_init"] == True].groupby(["row", "column"]).ngroups),  # noqa: E712 - may be missing
        is_synthetic=bool((done["is_synthetic"] == True).any()),  # noqa: E712 - may be missing
        remarks=tuple(remarks),
    )


def _averaged(runs: pd.DataFrame, score: str) -> dict[str, float | None]:
    """Average a system's runs; a single run brings its interval along."""
    value, deviation = mean_over_runs(runs, score)
    low, high = _interval(runs.iloc[0], score) if len(runs) == 1 else (None, None)
    return {"value": value, "deviation": deviation, "low": low, "high": high}


def _interval(run: pd.Series, score: str) -> tuple[float | None, float | None]:
    """Return a run's interval by speaker where it has one, else by clip."""
    for unit in ("_speaker", ""):
        low, high = run.get(f"{score}{unit}_low"), run.get(f"{score}{unit}_high")
        if low is not None and pd.notna(low) and pd.notna(high):
            return float(low), float(high)
    return None, None


def _pooled(runs: pd.DataFrame, store: AnswerStore, settings: ReportSettings, *, split: str) -> dict[str, float | None]:
    """Score the predictions of all folds (and seeds) as one set, with an interval."""
    answers = pooled_answers(store, [(run_id,) for run_id in runs["run_id"]], split=split)
    scores = scores_with_intervals(
        answers.references,
        answers.predictions[0],
        num_labels=answers.num_labels,
        groups=answers.groups,
        seed=BOOTSTRAP_SEED,
    )
    return {**scores[settings.metric], "deviation": None}


def _folds_are_apart(runs: pd.DataFrame, store: AnswerStore, *, split: str) -> bool:
    """Say whether there are several folds and no clip is scored in two of them."""
    done = runs[runs["status"] == "done"].drop_duplicates("fold")
    files = [set(store.files(run_id, split)) for run_id in done["run_id"]]
    return len(files) > 1 and sum(map(len, files)) == len(set().union(*files))


def _compared(
    cells: dict[tuple[str, str], Cell],
    done: pd.DataFrame,
    store: AnswerStore,
    settings: ReportSettings,
    *,
    split: str,
) -> tuple[dict[tuple[str, str], Cell], str | None, set[str], list[str]]:
    """Mark the best cell and test every other one against it, or against the named reference."""
    best = max(cell.value for cell in cells.values())
    at_best = [key for key, cell in cells.items() if np.isclose(cell.value, best, rtol=0, atol=1e-12)]
    runs_of = {key: done[(done["row"] == key[0]) & (done["column"] == key[1])] for key in cells}
    reference, remarks = at_best[0], []
    if settings.reference is not None:
        named = [key for key in cells if len(selected(runs_of[key], settings.reference, where="report: reference"))]
        if len(named) == 1:
            reference = named[0]
        else:
            found = "none" if not named else f"{len(named)} systems"
            remarks.append(f"The named reference fits {found} here, so the best score is compared with.")
    p_values, units = {}, set()
    for key in cells:
        if key == reference:
            continue
        try:
            comparison = compare_systems(
                store,
                runs_of[key],
                runs_of[reference],
                split=split,
                metric=settings.metric,
                num_resamples=settings.num_resamples,
            )
        except ResultsError as error:
            remarks.append(f"{', '.join(key)}: not compared. {error}")
            continue
        p_values[key] = comparison.p_value
        units.add(comparison.unit)
    corrected = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    marked = {key: replace(cell, p_value=corrected.get(key), is_best=key in at_best) for key, cell in cells.items()}
    return marked, ", ".join(reference), units, remarks


def unfinished(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the runs without a result.

    Args:
        table: the results.

    Returns:
        The failed runs, and those that are planned and did not run yet.
    """
    return table[table["status"] == "failed"], table[table["status"] == NOT_RUN]
