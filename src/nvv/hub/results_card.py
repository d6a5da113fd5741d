"""The card of a dataset repository of results: which reports it holds, what each is on, and how to load its table.

The reports stand in the card's own metadata (`nvv_reports`), from which it is written anew with each push. Own work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from huggingface_hub import DatasetCard

from .results import SCORES_FILE, Report

__all__ = ["REPORTS_FIELD", "described", "render_results_card", "reports_of_card"]

REPORTS_FIELD = "nvv_reports"
"""Field of the card's metadata that lists the reports, and marks the repository as one of results."""

_RANDOM_NOTE = "random weights: no result"
_SYNTHETIC_NOTE = "computed sounds: no evidence about voices"
_MANY = 6


def described(report: Report) -> dict[str, Any]:
    """Return what the card says of a report."""
    return {
        "name": report.name,
        "kind": report.kind,
        "models": list(report.models),
        "corpora": [str(corpus["name"]) for corpus in report.corpora],
        "split_protocols": list(report.protocols),
        "random_init": report.is_random,
        "is_synthetic": report.is_synthetic,
    }


def reports_of_card(text: str) -> list[dict[str, Any]] | None:
    """Read the reports from a card.

    Args:
        text: The README.

    Returns:
        What `described` gave of each; None for a card of something else.
    """
    reports = DatasetCard(text, ignore_metadata_errors=True).data.to_dict().get(REPORTS_FIELD)
    if not isinstance(reports, list) or not all(isinstance(one, dict) and "name" in one for one in reports):
        return None
    return reports


def render_results_card(repository_id: str, reports: Sequence[Mapping[str, Any]]) -> str:
    """Write the card.

    Args:
        repository_id: Owner and name.
        reports: What `described` gave of each, in any order; at least one.

    Returns:
        The README.
    """
    reports = sorted(reports, key=lambda report: report["name"])
    is_random, is_synthetic = (any(report.get(name) for report in reports) for name in ("random_init", "is_synthetic"))
    corpora = sorted({corpus for report in reports for corpus in report["corpora"]})
    header = {
        "pretty_name": f"Results of {repository_id.split('/')[-1]}",
        "task_categories": ["audio-classification"],
        "tags": [
            *("nvv", "nvv-results", "non-verbal-vocalization", "paralinguistics", "evaluation-results"),
            *corpora,
            *(["random-weights"] if is_random else []),
            *(["synthetic-data"] if is_synthetic else []),
        ],
        "configs": [
            {
                "config_name": report["name"],
                "data_files": [{"split": "results", "path": f"{report['name']}/{SCORES_FILE}"}],
                **({"default": True} if at == 0 else {}),
            }
            for at, report in enumerate(reports)
        ],
        REPORTS_FIELD: reports,
    }
    first = reports[0]["name"]
    lines = [
        f"# {header['pretty_name']}",
        "",
        "Reports of the Python package nvv on classifiers of non-verbal vocalizations. It holds scores and answers, no "
        "recordings.",
        "",
        "| report | kind | on | corpora | splits | note |",
        "| --- | --- | --- | --- | --- | --- |",
        *(_row(report) for report in reports),
        "",
        "```python",
        "from datasets import load_dataset",
        "",
        f'scores = load_dataset("{repository_id}", "{first}", split="results")',
        "```",
        "",
        "Each row of a table is a score, or a system with its scores; `low` and `high` are the ends of 95 % bootstrap "
        "intervals. The folder of a report holds the rest of it: pages, pictures and settings.",
        "",
    ]
    if is_random:
        lines += ["**Rows with `random_init` are on encoders with random weights: they are no result.**", ""]
    if is_synthetic:
        lines += ["**Rows with `is_synthetic` are on computed sounds: they say nothing about people's voices.**", ""]
    yaml_text = yaml.safe_dump(header, sort_keys=False, allow_unicode=True, width=1_000)
    return f"---\n{yaml_text}---\n\n" + "\n".join(lines)


def _row(report: Mapping[str, Any]) -> str:
    notes = [
        *([_RANDOM_NOTE] if report.get("random_init") else []),
        *([_SYNTHETIC_NOTE] if report.get("is_synthetic") else []),
    ]
    name = report["name"]
    cells = [
        f"[{name}](./{name})",
        report["kind"],
        _some(report["models"]),
        _some(report["corpora"]),
        _some(report["split_protocols"]),
        "; ".join(notes),
    ]
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _some(names: Sequence[str]) -> str:
    """Name the first few."""
    shown = ", ".join(names[:_MANY])
    return shown if len(names) <= _MANY else f"{shown} and {len(names) - _MANY} more"
