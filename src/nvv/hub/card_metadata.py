"""The header of a model card: what the Hub reads of it.

Own work.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import EvalResult, ModelCardData

from .card_results import is_scored
from .card_tasks import score_name

if TYPE_CHECKING:
    from .model_card import CardFacts

__all__ = ["card_data"]

_SPEAKER_PROTOCOL = "speaker"  # no speaker in two splits
_PEFT_METHODS = ("lora", "adapter", "prompt", "combined", "peft")

# Metric identifiers of the Hub, with the arguments that make them the scores reported here.
_HUB_METRICS = {
    "macro_f1": ("f1", "macro-F1", {"average": "macro"}),
    "uar": ("recall", "unweighted average recall (UAR)", {"average": "macro"}),
    "accuracy": ("accuracy", "accuracy", None),
    "weighted_f1": ("f1", "weighted F1", {"average": "weighted"}),
}

_HUB_REGRESSION_METRICS = {
    "ccc": ("ccc", "CCC", None),
    "pearson": ("pearsonr", "Pearson correlation", None),
    "mae": ("mae", "mean absolute error", None),
}


def _reported_metrics(facts: CardFacts) -> list[tuple[Mapping[str, Any], str, str, str, dict[str, str] | None]]:
    """Return what the metadata reports: where a score is, its name there, the Hub's metric, title and arguments."""
    test = facts.metrics["splits"].get("test", {"tasks": {}})
    if facts.tasks is None:
        return [(test, name, *reported) for name, reported in _HUB_METRICS.items()]
    reported = []
    for task in facts.tasks:
        found = _HUB_REGRESSION_METRICS if task["kind"] == "regression" else _HUB_METRICS
        for name, (kind, title, arguments) in found.items():
            if task["kind"] == "regression":
                title = score_name(facts, task, name)
            elif len(facts.tasks) > 1:
                title = f"{task['name']}: {title}"
            reported.append((test["tasks"].get(task["name"], {}), name, kind, title, arguments))
    return reported


def _eval_results(facts: CardFacts) -> list[EvalResult] | None:
    """Return the test scores as the Hub's model index wants them."""
    corpus, test = facts.metrics["corpus"], facts.metrics["splits"].get("test")
    if test is None or facts.dataset_name is None:
        return None
    task_name = "Audio Classification" if facts.tasks is None else "Audio Regression"
    if facts.tasks is not None and len(facts.tasks) > 1:
        task_name = "Audio Regression and Classification"
    results = [
        EvalResult(
            task_type="audio-classification",
            task_name=task_name,
            dataset_type=facts.dataset_name,
            dataset_name=corpus.get("pretty_name") or corpus["name"],
            dataset_config=corpus["config"],
            dataset_split="test",
            metric_type=kind,
            metric_name=title,
            metric_value=round(result["scores"][name]["value"], 4),
            metric_args=arguments,
        )
        for result, name, kind, title, arguments in _reported_metrics(facts)
        if is_scored(result)
    ]
    return results or None


def card_data(facts: CardFacts) -> ModelCardData:
    """Make the card's metadata.

    Args:
        facts: what the card is made from.

    Returns:
        The metadata; unknown fields are absent.
    """
    metrics, licence = facts.metrics, facts.licence
    method = metrics["tuning"]["method"]
    tags = ["audio-classification", "non-verbal-vocalization", "paralinguistics", "nvv", method]
    if method in _PEFT_METHODS:
        tags.append("peft")
    if metrics["backbone"]["random_init"]:
        tags.append("random-weights")
    if metrics["corpus"].get("is_synthetic"):
        tags.append("synthetic-data")
    tags += [*_kind_tags(facts), *_corpus_tags(facts)]
    relation = ("adapter" if facts.adapter_only else "finetune") if facts.base_model else None
    return ModelCardData(
        license=licence.licence,
        license_name=licence.name,
        license_link=licence.link,
        # Of an adapter too: it is transformers that loads it, and the Hub's example is this library's. PEFT alone would
        # look for the config in the backbone's repository.
        library_name="transformers",
        pipeline_tag="audio-classification",
        tags=list(dict.fromkeys(tags)),
        base_model=facts.base_model,
        base_model_relation=relation,
        datasets=[facts.dataset_name] if facts.dataset_name else None,
        metrics=list(dict.fromkeys(kind for _, _, kind, _, _ in _reported_metrics(facts))),
        model_name=facts.title,
        eval_results=_eval_results(facts),
    )


def _corpus_tags(facts: CardFacts) -> list[str]:
    """Return what finds all models of one corpus, and those that were tested on voices that they had not heard."""
    corpus, tags = facts.metrics["corpus"], []
    if facts.dataset_name is not None:
        tags.append(Path(corpus["name"]).name)
    if corpus["config"] == _SPEAKER_PROTOCOL and not corpus.get("num_shared_speakers"):
        tags.append("speaker-independent")
    return tags


def _kind_tags(facts: CardFacts) -> list[str]:
    """Return what marks a model that is not a classifier by cross-entropy."""
    tags = []
    if facts.tasks is not None and any(task["kind"] == "regression" for task in facts.tasks):
        tags.append("audio-regression")
    if facts.tasks is not None and len(facts.tasks) > 1:
        tags.append("multi-task-learning")
    if facts.model_config.get("head") == "embedding":
        tags.append("supervised-contrastive-learning")
    return tags
