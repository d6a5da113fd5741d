"""Reports that recipes leave, as an upload sees them: what kind, on which models and corpora, with which scores.

Read from the files of a report's folder alone, so that it can be pushed years later. Uploading is the neighbour
`push_report`'s. Own work.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from .run_folder import files_to_push

__all__ = ["SCORES_FILE", "Report", "ReportError", "is_report", "read_report"]

SCORES_FILE = "scores.parquet"
"""The table of a report in a repository of results."""

# Of a sweep: where its corpora and backbones lie. The table of its results has every setting.
_OF_THIS_MACHINE = ("grid.yaml", "plan.json")
_RANDOM, _SYNTHETIC = "random_init", "is_synthetic"


class ReportError(ValueError):
    """A folder that holds no report that can be uploaded."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """A report of a recipe.

    Attributes:
        name: Its folder's name, as paths and configs on the Hub can have it.
        kind: `evaluation`, `embeddings`, `operating point`, `baselines` or `sweep`.
        files: Local file by path, without what stays behind.
        scores: Its table; each row says by `random_init` and `is_synthetic` whether it is no result.
        models: Names of the models, or systems, that it is on.
        corpora: Facts of each corpus: at least `name`.
        protocols: How they were split.
        is_random: Whether a model in it has random weights.
        is_synthetic: Whether sounds in it were computed.
    """

    name: str
    kind: str
    files: Mapping[str, Path]
    scores: pd.DataFrame
    models: tuple[str, ...]
    corpora: tuple[Mapping[str, Any], ...]
    protocols: tuple[str, ...]
    is_random: bool
    is_synthetic: bool

    @property
    def is_on_one_model(self) -> bool:
        """Whether it can stand in a model's own repository."""
        return self.kind in ("evaluation", "embeddings", "operating point")

    def scores_as_parquet(self) -> bytes:
        """Return the table as a Parquet file."""
        buffer = io.BytesIO()
        self.scores.to_parquet(buffer, index=False)
        return buffer.getvalue()


def read_report(folder: Path) -> Report:
    """Read a report's folder.

    Args:
        folder: What recipes/evaluate.py, embeddings.py, detect.py, baselines.py or sweep.py left.

    Returns:
        The report.

    Raises:
        ReportError: If it is none, or its files cannot be read.
    """
    if not folder.is_dir():
        raise ReportError(f"{folder}: no such folder.")
    for mark, read in _READERS.items():
        if (folder / mark).is_file():
            try:
                report = read(folder)
            except (KeyError, TypeError, AttributeError, ValueError) as error:
                raise ReportError(f"{folder / mark}: not readable as a report ({error}). Write it again.") from error
            if report is not None:
                return report
    raise ReportError(f"{folder}: no report. Expected one of {', '.join(_READERS)} of a recipe.")


def is_report(folder: Path) -> bool:
    """Say whether a folder holds a report, and no model."""
    if (folder / "config.json").is_file():
        return False
    try:
        read_report(folder)
    except ReportError:
        return False
    return True


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _report(
    folder: Path,
    kind: str,
    *,
    scores: pd.DataFrame,
    models: Iterable[str],
    corpora: Iterable[Mapping[str, Any]],
    protocols: Iterable[str],
    files: Mapping[str, Path] | None = None,
) -> Report:
    return Report(
        name=re.sub(r"[^\w.-]+", "_", folder.resolve().name),
        kind=kind,
        files=files_to_push(folder) if files is None else files,
        scores=scores,
        models=tuple(dict.fromkeys(models)),
        corpora=tuple({corpus["name"]: corpus for corpus in corpora}.values()),
        protocols=tuple(dict.fromkeys(protocols)),
        is_random=bool(scores[_RANDOM].astype(bool).any()),
        is_synthetic=bool(scores[_SYNTHETIC].astype(bool).any()),
    )


def _evaluation(folder: Path) -> Report | None:
    metrics = _read(folder / "metrics.json")
    if "evaluation" not in metrics:
        return None  # a run
    model, corpus = metrics["evaluation"]["model"], metrics["corpus"]
    about = {
        "model": model["id"],
        "model_revision": model.get("revision"),
        "corpus": corpus["name"],
        "split_protocol": corpus["config"],
        _RANDOM: bool(metrics["backbone"]["random_init"]),
        _SYNTHETIC: bool(corpus.get("is_synthetic")),
    }
    rows = [
        {**about, "split": split, "num_clips": results["num_clips"], "score": name, **values}
        for split, results in metrics["splits"].items()
        for name, values in results["scores"].items()
    ]
    scores = pd.DataFrame(rows, columns=None if rows else [*about, "split", "num_clips", "score", "value"])
    return _report(
        folder, "evaluation", scores=scores, models=[model["id"]], corpora=[corpus], protocols=[corpus["config"]]
    )


def _embeddings(folder: Path) -> Report:
    report = _read(folder / "embedding_scores.json")
    scores = pd.read_csv(folder / "embedding_scores.csv")
    scores[_RANDOM] = bool(report["backbone"]["random_init"])
    scores[_SYNTHETIC] = bool(report["corpus"]["is_synthetic"])
    return _report(
        folder,
        "embeddings",
        scores=scores,
        models=[report["model"]["id"]],
        corpora=[report["corpus"]],
        protocols=[report["corpus"]["config"]],
    )


def _operating_point(folder: Path) -> Report:
    report = _read(folder / "operating_point.json")
    about = {
        "model": report["model"]["id"],
        "corpus": report["corpus"]["name"],
        "split_protocol": report["corpus"]["config"],
        "label": report["label"],
        "chosen_threshold": report["threshold"],
        _RANDOM: bool(report["model"]["random_init"]),
        _SYNTHETIC: bool(report["corpus"]["is_synthetic"]),
    }
    rows = [
        {**about, "split": split, "is_chosen": is_chosen, **row}
        for split, results in report["splits"].items()
        for is_chosen, table in ((True, [results["operating_point"]]), (False, results["table"]))
        for row in table
    ]
    return _report(
        folder,
        "operating point",
        scores=pd.DataFrame(rows),
        models=[report["model"]["id"]],
        corpora=[report["corpus"]],
        protocols=[report["corpus"]["config"]],
    )


def _baselines(folder: Path) -> Report:
    scores = pd.read_csv(folder / "baselines.csv")
    scores[_RANDOM] = False
    corpora = [_read(folder / name / "metrics.json")["corpus"] for name in scores["baseline"]]
    return _report(
        folder,
        "baselines",
        scores=scores,
        models=scores["baseline"],
        corpora=corpora,
        protocols=scores["split_protocol"],
    )


def _sweep(folder: Path) -> Report | None:
    if not (folder / "report.md").is_file():
        return None
    scores = pd.read_parquet(folder / "results.parquet")
    done = scores[scores["status"] == "done"]
    # The report; the runs' own folders are pushed one by one.
    files = {
        path: file for path, file in files_to_push(folder).items() if "/" not in path and path not in _OF_THIS_MACHINE
    }
    return _report(
        folder,
        "sweep",
        scores=scores.assign(**{name: scores[name].fillna(False).astype(bool) for name in (_RANDOM, _SYNTHETIC)}),
        models=[f"{backbone}, {method}" for backbone, method in zip(done["backbone"], done["method"], strict=True)],
        corpora=[{"name": name} for name in dict.fromkeys(done["corpus"])],
        protocols=[str(protocol) for protocol in done["split_protocol"].dropna()],
        files=files,
    )


_READERS: Mapping[str, Callable[[Path], Report | None]] = {
    "embedding_scores.json": _embeddings,
    "operating_point.json": _operating_point,
    "baselines.csv": _baselines,
    "results.parquet": _sweep,
    "metrics.json": _evaluation,
}
