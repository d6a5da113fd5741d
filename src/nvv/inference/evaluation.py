"""A model on a corpus: clips, answers, scores, and the folder that holds them.

The folder holds what a training run's holds of results (`metrics.json`, `predictions.csv`, `confusion_matrix.png`), so
that both are read and compared by the same code. `metrics.json` has one field more, `evaluation`: which model, how its
labels were mapped, which clips were left out, and what the model had heard before. Models come from the neighbour
`load`, logits from `classify`, the fit of labels from `label_map`. Own work.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from transformers.utils import logging

from ..data import list_corpora
from ..training.arguments import ArgumentsError, DataArguments
from ..training.corpus import RunCorpus, load_run_corpus
from ..training.dataset import ClipDataset, evenly_taken
from ..training.results import RunFacts, SplitPredictions, build_metrics
from ..training.steps import blaming, device_in_words
from .arguments import EvaluateArguments
from .classify import classify_clips
from .evaluation_folder import check_same_evaluation, existing_evaluation, recorded_arguments, write_evaluation
from .label_map import LabelMap, make_label_map, read_label_map
from .load import Classifier, load_classifier
from .open_answers import without_other
from .seen import what_was_seen

__all__ = ["EvaluationResult", "default_output_dir", "evaluate"]

logger = logging.get_logger(__name__)

_WHOLE_CLIPS_SECONDS = 1e7
"""Longer than any clip: for models that take whole clips."""


@dataclass(frozen=True, kw_only=True)
class EvaluationResult:
    """What an evaluation ended with.

    Args:
        output_dir: the folder with results and plots.
        metrics: the content of `metrics.json`.
        warnings: what the reader of the scores must know; also in `metrics["evaluation"]["warnings"]`.
    """

    output_dir: Path
    metrics: Mapping[str, Any]
    warnings: list[str]


def default_output_dir(values: Mapping[str, Any]) -> str:
    """Name the folder of an evaluation after its model and its corpus.

    Args:
        values: the fields `model` and `corpus`.

    Returns:
        `runs/evaluate_MODEL_CORPUS`; of folders and Hub ids the last part, of checkpoints the last two.

    Example:
        >>> default_output_dir({"model": "runs/lora/checkpoint-120", "corpus": "nvv/vivae"})
        'runs/evaluate_lora_checkpoint-120_vivae'
    """
    parts = Path(values["model"] or "model").expanduser().resolve().parts
    model = "_".join(parts[-2:] if parts[-1].startswith("checkpoint-") else parts[-1:])
    corpus = Path(values["corpus"]).name
    return f"runs/evaluate_{_plain_name(model)}_{_plain_name(corpus)}"


def _plain_name(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name)


def evaluate(arguments: EvaluateArguments, data: DataArguments) -> EvaluationResult:
    """Classify the clips of a corpus with a model, score the answers, and write both to `output_dir`.

    Args:
        arguments: which model, on which splits, and how its labels are read.
        data: which recordings.

    Returns:
        Scores, and where everything is.

    Raises:
        ValueError: for arguments that do not fit each other, the model or the corpus (`ArgumentsError`, `ModelError`,
            `LabelMapError`); a folder that holds something else (`OutputFolderError`); clips that cannot be decoded
            (`AudioError`); logits that are not finite (`ResultsError`).
        FileNotFoundError: for a label map that is not there.

    Example:
        >>> arguments = EvaluateArguments(model="runs/lora", splits=["test"])  # doctest: +SKIP
        >>> evaluate(arguments, DataArguments(corpus="synthetic")).output_dir  # doctest: +SKIP
        PosixPath('runs/evaluate_lora_synthetic')
    """
    started = time.monotonic()
    values = {"model": arguments.model, "corpus": data.corpus}
    output_dir = Path(arguments.output_dir or default_output_dir(values))
    before = existing_evaluation(output_dir)
    mapping = None if arguments.label_map is None else read_label_map(arguments.label_map)
    device = _device(arguments.device)
    with blaming("corpus", hint=f"The raw corpora are {', '.join(list_corpora())}; others come from the Hub."):
        corpus = load_run_corpus(data)
        splits = {split: _taken(corpus, split, data=data, splits=arguments.splits) for split in arguments.splits}
        train_clips = ClipDataset(corpus.splits["train"], max_seconds=1.0)  # its labels only; nothing is decoded
    classifier = load_classifier(
        arguments.model,
        revision=arguments.model_revision,
        trust_remote_code=arguments.trust_remote_code,
        train_clips=dict.fromkeys((corpus.facts["name"], Path(data.corpus).name), train_clips),
    )
    label_map = make_label_map(
        classifier.label_names,
        train_clips.label_names,
        mapping=mapping,
        unmapped_clips=arguments.unmapped_clips,
        unmapped_answers=arguments.unmapped_answers,
    )
    max_seconds = _max_seconds(arguments, classifier)
    chosen = {split: _evaluated(clips, label_map, split=split) for split, clips in splits.items()}
    left_out = {split: _left_out(clips, label_map) for split, clips in splits.items()}
    seen, warnings = what_was_seen(classifier.facts, corpus=corpus, data=data, clips=chosen)
    evaluation = {
        "model": _described(classifier),
        "label_map": label_map.describe(),
        "left_out": left_out,
        "max_seconds": max_seconds,
        "precision": "bf16" if arguments.bf16 else "fp32",
        "seen_in_training": seen,
        "warnings": warnings,
    }
    evaluated = {name: corpus.facts.get(name) for name in ("name", "manifest_digest")} | {"config": corpus.protocol}
    num_clips = {split: len(clips) for split, clips in chosen.items()}
    if before is not None and not arguments.overwrite_output_dir:
        check_same_evaluation(output_dir, before, evaluation, corpus=evaluated, num_clips=num_clips)
    for warning in warnings:
        logger.warning(warning)
    loaded = time.monotonic()

    predictions = []
    for split, chosen_clips in chosen.items():
        clips = _clips(chosen_clips, max_seconds=max_seconds, was_decoded=corpus.was_decoded, data=data)
        logits = classify_clips(
            classifier.model,
            classifier.feature_extractor,
            clips,
            max_batch_seconds=arguments.max_batch_seconds,
            bf16=arguments.bf16,
            device=device,
            num_workers=arguments.num_workers,
        )
        predictions.append(_answers(split, clips, logits, label_map=label_map, classifier=classifier))
    evaluation_s = time.monotonic() - loaded
    facts = _run_facts(
        classifier,
        corpus=corpus,
        config=recorded_arguments(arguments, data),
        device=device,
        timing={
            "loading_s": loaded - started,
            "evaluation_s": evaluation_s,
            "clips_per_s": sum(num_clips.values()) / evaluation_s,
        },
    )
    metrics = build_metrics(
        predictions, facts, label_names=label_map.answers, num_resamples=arguments.num_bootstrap_resamples
    )
    if label_map.has_other:
        metrics = without_other(metrics, predictions)
    metrics["evaluation"] = evaluation
    write_evaluation(output_dir, metrics=metrics, predictions=predictions, arguments=arguments, data=data)
    return EvaluationResult(output_dir=output_dir, metrics=metrics, warnings=warnings)


# ----------------------------------------------------------------------------------------------------------------------
# Clips and answers
# ----------------------------------------------------------------------------------------------------------------------


def _device(name: str | None) -> torch.device:
    """Return the device to compute on."""
    if name is None:
        return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA fails by assertion
        raise ArgumentsError(f"device: {name!r} cannot be used here: {str(error).splitlines()[0]}") from error
    return device


def _taken(corpus: RunCorpus, split: str, *, data: DataArguments, splits: list[str]) -> Dataset:
    """Return the clips of a split, all or as many as asked for."""
    if data.max_train_clips is not None and "train" not in splits:
        raise ArgumentsError(
            f"max_train_clips: {data.max_train_clips} has no effect where the split train is not evaluated."
        )
    if data.max_evaluation_clips is not None and set(splits) == {"train"}:
        raise ArgumentsError(f"max_evaluation_clips: {data.max_evaluation_clips} has no effect on the split train.")
    num_clips = data.max_train_clips if split == "train" else data.max_evaluation_clips
    clips = evenly_taken(corpus.splits[split], num_clips=num_clips)
    ClipDataset(clips, max_seconds=1.0)  # for its checks: the mask below takes every clip's label for granted
    return clips


def _evaluated(clips: Dataset, label_map: LabelMap, *, split: str) -> Dataset:
    """Leave out the clips of classes that are not evaluated."""
    kept = label_map.is_evaluated(clips["label"][:]).nonzero()[0]
    if not len(kept):
        raise ArgumentsError(
            f"label_map: no clip of the split {split} is left: no label of the model stands for a class in it."
        )
    return clips if len(kept) == len(clips) else clips.select(kept.tolist())


def _left_out(clips: Dataset, label_map: LabelMap) -> dict[str, int]:
    """Count the clips of each class that is not evaluated."""
    labels = [label_map.corpus_labels[index] for index in clips["label"][:]]
    return {label: labels.count(label) for label in label_map.corpus_labels if label not in label_map.classes}


def _max_seconds(arguments: EvaluateArguments, classifier: Classifier) -> float | None:
    """Return where clips are cut, in seconds; None: nowhere."""
    asked, own = arguments.max_seconds, classifier.max_seconds
    if asked is not None and own is not None and asked > own:
        raise ArgumentsError(
            f"max_seconds: {asked} has no effect: the model cuts clips to their first {own} s itself. Leave it out."
        )
    return own if asked is None else asked


def _clips(chosen: Dataset, *, max_seconds: float | None, was_decoded: bool, data: DataArguments) -> ClipDataset:
    """Make the dataset of one split."""
    clips = ClipDataset(
        chosen,
        max_seconds=_WHOLE_CLIPS_SECONDS if max_seconds is None else max_seconds,
        # Clips are decoded once here, unless they have to be checked before.
        memory_mebibytes=0 if was_decoded else data.decoded_audio_mebibytes,
    )
    if not was_decoded:
        clips.check_audio()
    return clips


def _answers(
    split: str, clips: ClipDataset, logits: NDArray[np.float32], *, label_map: LabelMap, classifier: Classifier
) -> SplitPredictions:
    """Turn one split's logits into answers among the evaluated classes."""
    return SplitPredictions(
        split=split,
        files=clips.files,
        references=label_map.references(clips.labels),
        probabilities=label_map.probabilities(logits, is_multi_label=classifier.is_multi_label),
        speaker_ids=clips.speaker_ids,
    )


# ----------------------------------------------------------------------------------------------------------------------
# What is recorded
# ----------------------------------------------------------------------------------------------------------------------


def _described(classifier: Classifier) -> dict[str, Any]:
    """Return what identifies the model."""
    names = ("id", "kind", "architecture", "revision", "weights_digest", "checkpoint_step")
    return {name: getattr(classifier.facts, name) for name in names} | {"labels": classifier.label_names}


def _run_facts(
    classifier: Classifier,
    *,
    corpus: RunCorpus,
    config: Mapping[str, Any],
    device: torch.device,
    timing: Mapping[str, float],
) -> RunFacts:
    """Collect the facts: of the model's making, those of its run."""
    facts = classifier.facts
    trained = {} if facts.metrics is None else facts.metrics.get("training", {})
    # A run's score on validation is that of its best checkpoint, and of no other.
    is_best = facts.checkpoint_step in (None, trained.get("best_step"))
    of_best = trained if is_best else {}
    return RunFacts(
        corpus=corpus.facts,
        corpus_config=corpus.protocol,
        backbone_id=facts.backbone_id,
        backbone_revision=facts.backbone_revision,
        random_init=facts.random_init,
        method=facts.method,
        tuned_layers=facts.tuned_layers,
        total_parameters=facts.total_parameters,
        trainable_parameters=facts.trained_parameters,
        seed=trained.get("seed", (facts.config or {}).get("seed")),
        device=device_in_words(device),
        config=config,
        best_step=of_best.get("best_step", facts.checkpoint_step),
        best_epoch=of_best.get("best_epoch", facts.checkpoint_epoch),
        best_validation_score=of_best.get("best_validation_score"),
        selection_metric=trained.get("selection_metric"),
        timing=timing,
    )
