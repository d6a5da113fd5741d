"""The report of a sweep: results, tables, ranks, claims and pictures, all from the files that its runs left.

`write_report` can be called at any time, also while runs are missing or after some failed; it says which. Own work.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from ..files import write_text
from . import plots
from .claims import ClaimResult, check_claims
from .report_text import (
    claims_text,
    heading_text,
    no_score_text,
    overview_text,
    ranks_text,
    scores_text,
    tables_text,
    unfinished_text,
    warning_of,
)
from .score import benchmark_scores
from .score_names import CLASSES, MEAN_SCORE, metric_of, score_label, score_title
from .score_tables import score_tables
from .settings import ReportSettings
from .significance import AnswerStore
from .summary import rank_summary, scores_by_corpus
from .systems import with_systems
from .table import collect_results, write_results
from .tables_text import as_latex

__all__ = ["GRID_FILE", "REPORT_FILE", "collect_results", "write_report"]

GRID_FILE = "grid.yaml"
REPORT_FILE = "report.md"
LATEX_FILE = "tables.tex"
CLAIMS_FILE = "claims.json"
SCORES_FILE = "scores.csv"

# What an earlier report may have left though the runs of today give no such file.
_OWN_FILES = (
    CLAIMS_FILE,
    SCORES_FILE,
    plots.HEATMAP_FILE,
    "critical_difference_*.png",
    "win_rates_*.png",
    "win_rates_*.csv",
)


@dataclass(frozen=True, kw_only=True)
class _Report:
    """What is known when the report is written."""

    folder: Path
    settings: ReportSettings
    table: pd.DataFrame
    store: AnswerStore


def write_report(output_dir: str | Path) -> list[Path]:
    """Write the report of a sweep from its files.

    Args:
        output_dir: the sweep's folder, with `grid.yaml`, `plan.json` and `runs`.

    Returns:
        The files: `results.parquet`, `results.csv`, `report.md`, `tables.tex`; where there is something to show
        `heatmap.png`, `scores.csv` (the benchmark's number), `claims.json`, and for each split protocol with at least
        two corpora `critical_difference_<protocol>.png`, `win_rates_<protocol>.png` and `.csv`.

    Raises:
        ReportError: for a `report:` section that cannot be used.
        ResultsError: for a folder without a sweep, or results that cannot be read.
    """
    folder = Path(output_dir)
    grid = _read_grid(folder)
    settings = ReportSettings.from_mapping(grid.get("report"))
    results = collect_results(folder)
    files = write_results(folder, results)
    table = with_systems(results, rows=settings.rows, columns=settings.columns)
    report = _Report(folder=folder, settings=settings, table=table, store=AnswerStore(folder))
    texts = [heading_text(grid, results, settings)]
    for part in (_scores, _tables, _ranks, _claims):
        text, written = part(report)
        texts.append(text)
        files += written
    texts.append(unfinished_text(results))
    files.append(write_text(folder / REPORT_FILE, "\n".join(text for text in texts if text)))
    for stale in {found for pattern in _OWN_FILES for found in folder.glob(pattern)} - set(files):
        stale.unlink()
    return files


def _read_grid(folder: Path) -> dict[str, Any]:
    """Return the sweep's grid, or an empty one where only runs were kept."""
    file = folder / GRID_FILE
    if not file.is_file():
        return {}
    return yaml.safe_load(file.read_text(encoding="utf-8")) or {}


def _scores(report: _Report) -> tuple[str, list[Path]]:
    """The benchmark's number, by system."""
    if not report.settings.score or not (report.table["status"] == "done").any():
        return "", []
    texts, rows = [], []
    for protocol, runs in report.table.groupby("protocol", sort=False):
        if (runs["predicts"].dropna() != CLASSES).any():
            texts.append(no_score_text(protocol=str(protocol)))
            continue
        scores = benchmark_scores(runs, report.store, report.settings)
        texts.append(scores_text(scores, protocol=str(protocol), split=report.settings.splits[0]))
        rows += [
            {
                "protocol": protocol,
                "system": score.system,
                "score": score.value,
                "low": score.low,
                "high": score.high,
                "score_unseen_corpora": score.unseen_value,
                "missing": " ".join(score.missing),
                **score.by_corpus,
            }
            for score in scores
        ]
    if not rows:
        return "\n".join(texts), []
    content = pd.DataFrame(rows).to_csv(index=False, lineterminator="\n")
    return "\n".join(texts), [write_text(report.folder / SCORES_FILE, content)]


def _tables(report: _Report) -> tuple[str, list[Path]]:
    """The score tables, in Markdown and LaTeX."""
    tables = score_tables(report.table, report.store, report.settings)
    latex = "% Made by nvv's sweep report; needs \\usepackage{booktabs} and UTF-8.\n\n"
    latex += "\n".join(as_latex(table) for table in tables)
    return tables_text(tables), [write_text(report.folder / LATEX_FILE, latex)]


def _ranks(report: _Report) -> tuple[str, list[Path]]:
    """The heat map over everything, and the ranks of each split protocol."""
    split = report.settings.splits[0]
    warning = warning_of(report.table[report.table["status"] == "done"])
    files, texts, everything, metrics = [], [], [], set()
    protocols = list(dict.fromkeys(report.table["protocol"]))
    for protocol in protocols:
        runs = report.table[report.table["protocol"] == protocol]
        metric = metric_of(runs, report.settings.metric)
        title = score_title(metric)
        scores = scores_by_corpus(runs, f"{split}_{metric}")
        if scores.empty:
            continue
        named = scores if len(protocols) == 1 else scores.add_suffix(f", {protocol}")
        everything.append(named)
        metrics.add(metric)
        summary = rank_summary(scores)
        name = protocol or "default"
        if summary is not None:
            where = f"{split}, {name} protocol, {summary.num_corpora} corpora"
            picture = plots.write_win_rates(
                report.folder / f"win_rates_{name}.png", summary, title=f"Wins by {title}, {where}", warning=warning
            )
            rates = report.folder / f"win_rates_{name}.csv"
            files += [picture, write_text(rates, summary.win_rates.to_csv(lineterminator="\n"))]
            if summary.critical_difference is not None:
                picture = plots.write_critical_difference(
                    report.folder / f"critical_difference_{name}.png",
                    summary,
                    title=f"Mean ranks by {title}, {where}",
                    warning=warning,
                )
                files.append(picture)
        texts.append(ranks_text(scores, summary, protocol=name, metric=metric))
    if not everything:
        return "", files
    scores = pd.concat(everything, axis=1)
    # Where protocols are tasks, each column may have its own score.
    metric = metrics.pop() if len(metrics) == 1 else None
    title = "main score (CCC, of classes UAR)" if metric is None else score_title(metric)
    heatmap = plots.write_heatmap(
        report.folder / plots.HEATMAP_FILE,
        scores,
        label=score_label(metric or MEAN_SCORE),
        title=f"Mean {title} on {split}",
        warning=warning,
    )
    text = f"## Across corpora\n\n![Mean {title} of each system on each corpus]({plots.HEATMAP_FILE})\n"
    return "\n".join([text, *overview_text(scores, title=title, split=split), *texts]), [heatmap, *files]


def _claims(report: _Report) -> tuple[str, list[Path]]:
    """The claims, tested."""
    if not report.settings.claims:
        return "", []
    results: list[ClaimResult] = check_claims(
        report.table, report.settings.claims, report.store, num_resamples=report.settings.num_resamples
    )
    content = json.dumps([result.as_mapping() for result in results], indent=2, ensure_ascii=False) + "\n"
    return claims_text(results), [write_text(report.folder / CLAIMS_FILE, content)]
