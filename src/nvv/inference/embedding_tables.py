"""The scores of embeddings as tables: one to read (Markdown) and one to compute with (CSV).

Made from what `embedding_scores` gives. Own work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

__all__ = ["embedding_score_rows", "embedding_scores_text"]

_CLASSIFIER_TITLES = {
    "nearest_centroid": "nearest centroid",
    "nearest_neighbours": "nearest neighbours",
    "linear_probe": "linear probe",
}
_SHOWN = (("macro_f1", "macro-F1"), ("uar", "UAR"), ("accuracy", "accuracy"))


def embedding_score_rows(scores: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Return one row for each embedding, classifier, split and score.

    Args:
        scores: what `score_embeddings` gave, by the embedding's name.

    Returns:
        Columns `embedding`, `classifier`, `split`, `score`, `value`, `low`, `high`, `speaker_low`, `speaker_high`; the
        last two empty where speakers are not known.
    """
    rows = [
        {"embedding": embedding, "classifier": classifier, "split": split, "score": name, **score}
        for embedding, content in scores.items()
        for split, results in content["splits"].items()
        for classifier, result in results.items()
        for name, score in result["scores"].items()
    ]
    columns = ["embedding", "classifier", "split", "score", "value", "low", "high", "speaker_low", "speaker_high"]
    return pd.DataFrame(rows, columns=columns)


def embedding_scores_text(scores: Mapping[str, Mapping[str, Any]], *, title: str, notes: Sequence[str] = ()) -> str:
    """Return the scores as Markdown.

    Args:
        scores: what `score_embeddings` gave, by the embedding's name; at least one.
        title: of the page.
        notes: sentences that have to stand before the numbers, such as that weights are random.

    Returns:
        The page, with a table for each split.
    """
    first = next(iter(scores.values()))
    lines = [f"# {title}", ""]
    for note in notes:
        lines += [f"**{note}**", ""]
    lines += [
        "Classifiers of embeddings, fitted on the training clips; validation chose the number of neighbours and the "
        "strength of the probe's regularization. In brackets 95 % bootstrap intervals over clips.",
        "",
    ]
    for split in first["splits"]:
        lines += [*_split_lines(scores, split), ""]
    return "\n".join(lines)


def _split_lines(scores: Mapping[str, Mapping[str, Any]], split: str) -> list[str]:
    some = next(iter(next(iter(scores.values()))["splits"][split].values()))
    num_clips, num_speakers = some["num_clips"], some["num_speakers"]
    speakers = "" if num_speakers is None else f", {num_speakers} speakers"
    lines = [f"## {split}: {num_clips} clips{speakers}", ""]
    if not some["scores"]:
        return [*lines, "No clip of this split has a label."]
    names = [title for _, title in _SHOWN]
    lines += [
        f"| embedding | classifier | chosen | {' | '.join(names)} |",
        f"| --- | --- | --- |{' --- |' * len(names)}",
    ]
    for embedding, content in scores.items():
        for classifier, result in content["splits"][split].items():
            cells = [_with_interval(result["scores"][name]) for name, _ in _SHOWN]
            chosen = _chosen_text(content["classifiers"][classifier]["chosen"])
            size = f"{embedding}, {content['size']}"
            lines.append(f"| {size} | {_CLASSIFIER_TITLES[classifier]} | {chosen} | {' | '.join(cells)} |")
    for kind, guess in some["chance"].items():
        cells = [f"{guess[name]:.3f}" for name, _ in _SHOWN]
        lines.append(f"| none | guessing: {kind} | | {' | '.join(cells)} |")
    return lines


def _with_interval(score: Mapping[str, float]) -> str:
    return f"{score['value']:.3f} ({score['low']:.3f} to {score['high']:.3f})"


def _chosen_text(chosen: Mapping[str, float]) -> str:
    words = {"neighbours": "k = {:d}", "c_value": "C = {:g}"}
    return ", ".join(words[name].format(value) for name, value in chosen.items())
