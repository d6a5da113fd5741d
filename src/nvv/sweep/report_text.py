"""The words of `report.md`: its sections, each from what another module computed. Own work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import pandas as pd

from .claims import NOT_TESTED, ClaimResult, CorpusVerdict
from .score import BenchmarkScore
from .score_names import score_title
from .score_tables import ScoreTable, unfinished
from .settings import ReportSettings
from .summary import MIN_CORPORA, MIN_SYSTEMS, RankSummary
from .tables_text import LEGEND, SEEN, as_markdown, markdown_table, markdown_text, percent, signed, title

_MAX_SYSTEMS_IN_TABLE = 12
_MAX_ERROR_LETTERS = 300


def warning_of(runs: pd.DataFrame) -> str:
    """Say why runs are no evidence, in a sentence or two; empty where they are.

    Args:
        runs: finished runs of the results table.
    """
    warnings = []
    for column, words in (
        ("is_synthetic", "Computed sounds: no evidence about people's voices."),
        ("random_init", "Random weights: no evidence about backbones or methods."),
    ):
        affected = (runs[column] == True) if column in runs else pd.Series(dtype=bool)  # noqa: E712 - may be missing
        if affected.any():
            warnings.append(words if affected.all() else f"In part: {words[0].lower()}{words[1:]}")
    return " ".join(warnings)


def heading_text(grid: Mapping[str, Any], results: pd.DataFrame, settings: ReportSettings) -> str:
    """Write the head of the report.

    Args:
        grid: the sweep's grid.
        results: the results table.
        settings: the report's settings.

    Returns:
        Title, description, what ran, what must be known before reading on.
    """
    counts = results["status"].value_counts()
    parts = [f"{len(results)} runs", f"{counts.get('done', 0)} finished"]
    parts += [f"{counts[status]} {status}" for status in ("failed", "not run") if counts.get(status)]
    paragraphs = [f"# {markdown_text(str(grid.get('name') or 'Sweep'))}"]
    if grid.get("description"):
        paragraphs.append(markdown_text(str(grid["description"])))
    warning = warning_of(results[results["status"] == "done"])
    if warning:
        paragraphs.append(f"**{markdown_text(warning)}**")
    paragraphs.append(
        f"{parts[0]}: {', '.join(parts[1:])}. Every number of every run: `results.csv`, `results.parquet`."
    )
    paragraphs += [markdown_text(note) for note in settings.notes]
    return "\n\n".join(paragraphs) + "\n"


def scores_text(scores: Sequence[BenchmarkScore], *, protocol: str, split: str) -> str:
    """Write the leader board.

    Args:
        scores: the systems' numbers, best first.
        protocol: the split protocol.
        split: the split scored.

    Returns:
        The section.
    """
    corpora = list(dict.fromkeys(corpus for score in scores for corpus in score.by_corpus))
    with_unseen = any(score.unseen_value is not None for score in scores)
    header = ["", "system", "score", "95 % interval", *(["unseen only"] if with_unseen else []), *corpora]
    rows = []
    for place, score in enumerate(scores, start=1):
        is_whole = score.value is not None
        interval = f"{percent(score.low)} to {percent(score.high)}" if is_whole else "–"
        rows.append(
            [
                str(place) if is_whole else "–",
                markdown_text(score.system) + (" (random weights)" if score.random_init else ""),
                f"**{percent(score.value)}**" if is_whole else f"– ({len(score.missing)} missing)",
                interval,
                *([percent(score.unseen_value)] if with_unseen else []),
                *(
                    percent(score.by_corpus.get(corpus))
                    + ("‡" if corpus in score.seen and corpus in score.by_corpus else "")
                    for corpus in corpora
                ),
            ]
        )
    header = [markdown_text(name) for name in header]
    text = (
        f"## Score, {markdown_text(protocol or 'default')} protocol\n\n"
        f"{markdown_table(header, rows, num_text_columns=2)}\n"
        f"Chance-corrected UAR on {split}, (UAR − 1/K) / (1 − 1/K) with K classes, in per cent: 0 is guessing, 100 "
        "faultless. The score is its mean over corpora; the interval draws each corpus's speakers (clips, where "
        "speakers are unknown) anew. A system that lacks runs has no score.\n"
    )
    if any(score.is_synthetic for score in scores):
        text += "\n**COMPUTED SOUNDS among the corpora: no evidence about people's voices.**\n"
    if any(score.seen for score in scores):
        unseen = " `unseen only` leaves such corpora out for every system." if with_unseen else ""
        text += f"\n{SEEN}{unseen}\n"
    return text


def tables_text(tables: Sequence[ScoreTable]) -> str:
    """Write all score tables.

    Args:
        tables: the tables.

    Returns:
        The section.
    """
    if not tables:
        return "## Tables\n\nNo run has finished yet.\n"
    parts = [f"## Tables\n\n{markdown_text(LEGEND)}\n"]
    parts += [f"### {markdown_text(title(table))}\n\n{as_markdown(table)}" for table in tables]
    return "\n".join(parts)


def no_score_text(*, protocol: str) -> str:
    """Say why a split protocol has no leader board.

    Args:
        protocol: the split protocol.

    Returns:
        The section.
    """
    return (
        f"## Score, {markdown_text(protocol or 'default')} protocol\n\n"
        "The benchmark's number is of runs that predict classes; here some predict numbers or several tasks.\n"
    )


def overview_text(scores: pd.DataFrame, *, title: str, split: str) -> list[str]:
    """Write the systems' scores on everything side by side, where there is more than one corpus or protocol.

    Args:
        scores: mean scores (systems, corpora), NaN where missing.
        title: the score's name.
        split: the split scored.

    Returns:
        The table with its caption, or nothing.
    """
    if scores.shape[1] < 2:
        return []
    header = ["", *(markdown_text(str(name)) for name in scores.columns)]
    rows = [
        [markdown_text(str(system)), *(percent(None if pd.isna(value) else value) for value in values)]
        for system, *values in scores.itertuples()
    ]
    return [f"{markdown_table(header, rows)}\nMean {markdown_text(title)} times 100 on {split}.\n"]


def ranks_text(scores: pd.DataFrame, summary: RankSummary | None, *, protocol: str, metric: str) -> str:
    """Write how systems rank over the corpora of one split protocol.

    Args:
        scores: scores (systems, corpora).
        summary: of the ranks, None where they cannot be had.
        protocol: the split protocol.
        metric: the score ranked by.

    Returns:
        The section.
    """
    heading = f"### Ranks, {markdown_text(protocol)} protocol\n"
    if summary is None:
        if scores.shape[1] < MIN_CORPORA:
            why = f"Ranks across corpora need at least {MIN_CORPORA} corpora; here is {scores.shape[1]}."
        else:
            why = "Ranks across corpora need at least two systems with a score on every corpus."
        return f"{heading}\n{why}\n"
    names, rates = list(summary.mean_ranks.index), summary.win_rates
    in_full = len(names) <= _MAX_SYSTEMS_IN_TABLE
    header = ["", "system", "mean rank", "wins", *(str(at) for at in range(1, len(names) + 1) if in_full)]
    rows = []
    for at, name in enumerate(names, start=1):
        against = [percent(None if other == name else rates.loc[name, other]) for other in names] if in_full else []
        overall = percent(rates.loc[name].mean())
        rows.append([str(at), markdown_text(name), f"{summary.mean_ranks[name]:.2f}", overall, *against])
    columns = "the numbered columns: against each other system" if in_full else f"each pair: `win_rates_{protocol}.csv`"
    paragraphs = [
        heading,
        markdown_table(header, rows, num_text_columns=2),
        f"By {score_title(metric)} over {summary.num_corpora} corpora, each counted once. Wins: share of corpora in "
        f"per cent on which the system scores higher, ties half; {columns}.\n",
        _test_text(summary, protocol=protocol),
    ]
    if summary.left_out:
        names_left = ", ".join(markdown_text(name) for name in summary.left_out)
        paragraphs.append(f"Left out, as they lack a corpus: {names_left}.\n")
    return "\n".join(paragraphs)


def _test_text(summary: RankSummary, *, protocol: str) -> str:
    if summary.friedman_p is None or summary.critical_difference is None:
        return f"A Friedman test needs at least {MIN_SYSTEMS} systems.\n"
    p = "< 0.001" if summary.friedman_p < 0.001 else f"= {summary.friedman_p:.3f}"
    return (
        f"Friedman test of equal ranks: p {p}. Nemenyi's critical difference at 5 %: "
        f"{summary.critical_difference:.2f} ranks.\n\n"
        f"![Mean ranks; bars join systems that are not told apart](critical_difference_{protocol}.png)\n"
    )


def claims_text(results: Sequence[ClaimResult]) -> str:
    """Write the claims and what became of them.

    Args:
        results: the tested claims.

    Returns:
        The section.
    """
    overview = markdown_table(
        ["claim", "verdict", "comparisons", "in favour", "against", "mean difference"],
        [_overview_row(result) for result in results],
        num_text_columns=2,
    )
    intro = (
        "A claim holds where every comparison's 95 % interval lies above zero; it does not hold where some difference "
        "is significantly the other way round (Holm's correction over the comparisons); else it is undecided. "
        "Differences are in percentage points. In favour, against: comparisons whose interval lies above, or below, "
        "zero.\n"
    )
    return "\n".join(["## Claims\n", overview, intro, *(_claim_text(result) for result in results)])


def _overview_row(result: ClaimResult) -> list[str]:
    facts = result.as_mapping()
    difference = "–" if facts["mean_difference"] is None else signed(facts["mean_difference"])
    numbers = [str(facts[name]) for name in ("num_comparisons", "num_in_favour", "num_against")]
    return [markdown_text(result.claim.statement), f"**{_verdict(result)}**", *numbers, difference]


def _verdict(result: ClaimResult) -> str:
    caveat = " (no evidence)" if result.caveats and result.verdict != NOT_TESTED else ""
    return result.verdict + caveat


def _claim_text(result: ClaimResult) -> str:
    claim = result.claim
    corpora = ", ".join(dict.fromkeys(corpus.corpus for corpus in result.corpora if corpus.pairs))
    how = "the best system of each side by validation" if claim.take == "best_by_validation" else "each pair"
    paragraphs = [
        f"### {markdown_text(claim.name)}: {_verdict(result)}\n",
        f"{markdown_text(claim.statement)} ({markdown_text(claim.source)})\n",
        f"Compared: {how}, by {score_title(claim.metric)} on {claim.split}; "
        f"{'corpora: ' + markdown_text(corpora) if corpora else 'no corpus could be tested'}.\n",
    ]
    paragraphs += [f"**Caveat: {markdown_text(caveat)}.**\n" for caveat in result.caveats]
    rows = [row for corpus in result.corpora for row in _claim_rows(corpus)]
    if rows:
        header = [
            "corpus",
            "should win",
            "should lose",
            "difference",
            "95 % interval",
            "p",
            "clips",
            "verdict of the corpus",
        ]
        paragraphs.append(_with_text_columns(header, rows))
    for corpus in result.corpora:
        name = f"{corpus.corpus}, {corpus.protocol}"
        paragraphs += [f"{markdown_text(name)}: {markdown_text(reason)}.\n" for reason in corpus.reasons]
    return "\n".join(paragraphs)


def _claim_rows(corpus: CorpusVerdict) -> list[list[str]]:
    rows = []
    for at, pair in enumerate(corpus.pairs):
        item = pair.comparison
        rows.append(
            [
                markdown_text(f"{corpus.corpus}, {corpus.protocol}") if at == 0 else "",
                markdown_text(pair.better),
                markdown_text(pair.than),
                signed(item.difference),
                f"{signed(item.low)} to {signed(item.high)}",
                "< 0.001" if item.p_value < 0.001 else f"{item.p_value:.3f}",
                f"{item.num_clips:,}",
                corpus.verdict if at == 0 else "",
            ]
        )
    return rows


def _with_text_columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return markdown_table(header, rows, num_text_columns=3)


def unfinished_text(results: pd.DataFrame) -> str:
    """List the runs without a result.

    Args:
        results: the results table.

    Returns:
        The section; empty where all runs finished.
    """
    failed, waiting = unfinished(results)
    parts = []
    if len(failed):
        parts.append("## Failed runs\n")
        failures = sorted(zip(failed["error"], failed["run_id"], strict=True))
        for error, runs in groupby(failures, key=lambda failure: failure[0]):
            message = markdown_text(str(error))
            message = message if len(message) <= _MAX_ERROR_LETTERS else message[:_MAX_ERROR_LETTERS] + " …"
            parts.append("".join(f"- `{run_id}`\n" for _, run_id in runs) + f"\n  {message or 'no message'}\n")
    if len(waiting):
        parts.append("## Runs still to do\n")
        parts.append("".join(f"- `{run_id}`\n" for run_id in waiting["run_id"]))
    return "\n".join(parts)
