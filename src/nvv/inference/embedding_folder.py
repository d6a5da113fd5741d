"""The folder with the embeddings of a model on a corpus: whether it may be written to, and how.

Files are made aside and put in place together, `embedding_scores.json` last: where it is, everything is. What is in the
files is made in the neighbour `embeddings`. Own work.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import parquet

from ..files import replaced_when_complete, write_text
from ..training.checkpoints import OutputFolderError
from ..training.results import to_plain
from .embedding_plots import write_embedding_plot
from .embedding_scores import EmbeddedSplit
from .embedding_tables import embedding_score_rows, embedding_scores_text
from .report_folder import holds_more_than_a_report, written_together

__all__ = [
    "EMBEDDINGS_FILE",
    "PLOT_FILE",
    "SCORES_FILE",
    "check_folder",
    "write_embedding_folder",
    "write_embeddings_file",
]

SCORES_FILE = "embedding_scores.json"
EMBEDDINGS_FILE = "embeddings.parquet"
PLOT_FILE = "embeddings.png"

_TABLE_FILE = "embedding_scores.csv"
_TEXT_FILE = "embedding_scores.md"
_UNTUNED_PLOT_FILE = "embeddings_untuned.png"
_ALL = (SCORES_FILE, EMBEDDINGS_FILE, PLOT_FILE, _UNTUNED_PLOT_FILE, _TABLE_FILE, _TEXT_FILE)
_IDENTITY = ("model", "corpus", "labels", "max_seconds", "precision", "num_clips")
"""What says that a report is of the same thing as another."""


def check_folder(output_dir: Path, identity: Mapping[str, Any] | None, *, overwrite: bool) -> None:
    """Refuse a folder that holds something else than the embeddings to be written.

    Args:
        output_dir: the folder, which need not exist.
        identity: the fields of the new report that say what it is of; None where they are not known yet, so that only
            what is never overwritten is looked at.
        overwrite: whether the embeddings of something else may be replaced.

    Raises:
        OutputFolderError: if the folder holds a model, a training run or an evaluation, which is never replaced, or
            the embeddings of another model or corpus, naming what differs.
    """
    if holds_more_than_a_report(output_dir):
        raise OutputFolderError(
            f"output_dir: {output_dir} holds a model, a training run or an evaluation. Choose another folder."
        )
    file = output_dir / SCORES_FILE
    if identity is None or overwrite or not file.is_file():
        return
    try:
        before = json.loads(file.read_text(encoding="utf-8"))
        differing = [name for name in _IDENTITY if before.get(name) != identity[name]]
    except (json.JSONDecodeError, AttributeError):
        differing = ["everything: the file is damaged"]
    if differing:
        raise OutputFolderError(
            f"output_dir: {output_dir} holds other embeddings, which differ in: {', '.join(differing)}. Choose another "
            "folder, or replace them (--overwrite_output_dir true)."
        )


def write_embedding_folder(
    output_dir: Path,
    *,
    report: Mapping[str, Any],
    splits: Mapping[str, Mapping[str, EmbeddedSplit]],
    projection: str,
    max_plot_clips: int,
    seed: int,
) -> None:
    """Write embeddings, scores, tables and pictures.

    Args:
        output_dir: the folder, made if missing; what an earlier call left in it is replaced.
        report: the content of `embedding_scores.json`.
        splits: the embedded splits, by the embedding's name in `report["embeddings"]`: `model`, and `untuned` if asked
            for.
        projection: as in `write_embedding_plot`.
        max_plot_clips: as in `write_embedding_plot`.
        seed: of the projection.
    """
    title = f"{report['model']['id']} on {report['corpus']['title']}"
    # Also a picture that is no longer asked for is replaced.
    with written_together(output_dir, last=SCORES_FILE, replaced=_ALL) as partial:
        write_embeddings_file(partial / EMBEDDINGS_FILE, splits, label_names=report["labels"])
        for kind, embedded in splits.items():
            write_embedding_plot(
                partial / (PLOT_FILE if kind == "model" else _UNTUNED_PLOT_FILE),
                embedded,
                label_names=report["labels"],
                title=title if kind == "model" else f"{title}, before tuning",
                notes=report["notes"],
                projection=projection,
                max_clips=max_plot_clips,
                seed=seed,
            )
        embedding_score_rows(report["embeddings"]).to_csv(partial / _TABLE_FILE, index=False, lineterminator="\n")
        notes = [*report["notes"], *report["warnings"]]
        text = embedding_scores_text(report["embeddings"], title=f"Embeddings: {title}", notes=notes)
        write_text(partial / _TEXT_FILE, text)
        plain = to_plain(report, name=SCORES_FILE)
        write_text(partial / SCORES_FILE, json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_embeddings_file(
    path: Path, splits: Mapping[str, Mapping[str, EmbeddedSplit]], *, label_names: Sequence[str]
) -> Path:
    """Write embeddings as Parquet, which pandas and the datasets library read.

    Args:
        path: the file.
        splits: the embedded splits, by the embedding's name; all have the same clips.
        label_names: class names in label order.

    Returns:
        The file's path. Columns `split`, `file`, `speaker_id` and `label` (the class's name), both empty where unknown,
        `embedding`, a list of float32, and for each further embedding `NAME_embedding`.
    """
    first = next(iter(splits.values()))
    rows = [
        (part.split, file, speaker, label_names[label] if label >= 0 else None)
        for part in first.values()
        for file, speaker, label in zip(
            part.files, part.speaker_ids or [None] * len(part.files), part.labels, strict=True
        )
    ]
    names = ("split", "file", "speaker_id", "label")
    columns = {
        name: pyarrow.array(column, pyarrow.string())
        for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }
    for kind, parts in splits.items():
        size = next(iter(parts.values())).embeddings.shape[1]
        values = pyarrow.concat_arrays(
            [pyarrow.array(part.embeddings.ravel(), pyarrow.float32()) for part in parts.values()]
        )
        name = "embedding" if kind == "model" else f"{kind}_embedding"
        columns[name] = pyarrow.FixedSizeListArray.from_arrays(values, size)
    with replaced_when_complete(path) as temporary:
        parquet.write_table(pyarrow.table(columns), temporary)
    return path
