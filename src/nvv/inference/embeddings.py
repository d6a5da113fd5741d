"""A model's embeddings of a corpus: computed, scored by simple classifiers, drawn, and written to a folder.

Models come from the neighbour `load`, embeddings from `embed`, scores from the neighbour `embedding_scores`, the folder
is `embedding_folder`'s. Own work.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from transformers.utils import logging

from ..configuration_nvv import NvvConfig
from ..data import SPLITS, list_corpora
from ..training.arguments import AUGMENTATION_FIELDS, TASK_FIELDS, ArgumentsError, DataArguments, refuse_fields
from ..training.config_files import resolved_config
from ..training.corpus import RunCorpus, load_run_corpus
from ..training.dataset import ClipDataset, evenly_taken
from ..training.provenance import git_commit, package_versions
from ..training.steps import blaming, device_in_words, public_name
from ..training.tasks import TaskSpec
from .device import compute_device
from .embed import embed_clips, untuned_model
from .embedding_arguments import EmbeddingArguments
from .embedding_folder import check_folder, write_embedding_folder
from .embedding_plots import projection_or_default
from .embedding_scores import EmbeddedSplit, score_embeddings
from .evaluation import default_output_dir as evaluation_dir
from .load import Classifier, ModelError, load_classifier
from .report_facts import RANDOM_WEIGHTS, SYNTHETIC_SOUNDS
from .seen import what_was_seen

__all__ = ["PROGRAM", "EmbeddingResult", "default_output_dir", "score_model_embeddings"]

logger = logging.get_logger(__name__)

PROGRAM = "recipes/embeddings.py"
FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class EmbeddingResult:
    """What scoring embeddings ended with.

    Args:
        output_dir: the folder with everything.
        report: the content of `embedding_scores.json`.
    """

    output_dir: Path
    report: Mapping[str, Any]


def default_output_dir(values: Mapping[str, Any]) -> str:
    """Name the folder after model and corpus.

    Args:
        values: the fields `model` and `corpus`.

    Returns:
        `runs/embeddings_MODEL_CORPUS`.

    Example:
        >>> default_output_dir({"model": "runs/lora/checkpoint-120", "corpus": "nvv/vivae"})
        'runs/embeddings_lora_checkpoint-120_vivae'
    """
    return evaluation_dir(values).replace("evaluate", "embeddings", 1)


def score_model_embeddings(arguments: EmbeddingArguments, data: DataArguments) -> EmbeddingResult:
    """Embed all splits of a corpus, score simple classifiers of the embeddings, and write everything to `output_dir`.

    Args:
        arguments: which model, and how its embeddings are scored and drawn.
        data: which recordings; their column `label` has the classes, some of which may be missing.

    Returns:
        Scores, and where everything is.

    Raises:
        ValueError: for arguments that do not fit each other, the model or the corpus (`ArgumentsError`, `ModelError`);
            a folder that holds something else (`OutputFolderError`); clips that cannot be decoded (`AudioError`);
            embeddings that are not finite (`ResultsError`).

    Example:
        >>> arguments = EmbeddingArguments(model="runs/contrastive", untuned=True)  # doctest: +SKIP
        >>> score_model_embeddings(arguments, DataArguments(corpus="synthetic")).output_dir  # doctest: +SKIP
        PosixPath('runs/embeddings_contrastive_synthetic')
    """
    started = time.monotonic()
    output_dir = Path(arguments.output_dir or default_output_dir({"model": arguments.model, "corpus": data.corpus}))
    check_folder(output_dir, None, overwrite=arguments.overwrite_output_dir)
    refuse_fields(data, TASK_FIELDS, reason="has no effect: embeddings are scored by the classes of the column label.")
    refuse_fields(data, AUGMENTATION_FIELDS, reason="has no effect here: clips are embedded as they are.")
    projection = projection_or_default(arguments.projection)
    device = compute_device(arguments.device)
    with blaming("corpus", hint=f"The raw corpora are {', '.join(list_corpora())}; others come from the Hub."):
        corpus = load_run_corpus(data)
    classifier = load_classifier(
        arguments.model,
        revision=arguments.model_revision,
        train_splits=dict.fromkeys((corpus.facts["name"], Path(data.corpus).name), corpus.splits),
        allows_tasks=True,
    )
    if not isinstance(classifier.model.config, NvvConfig):
        raise ModelError(f"model: expected a model of nvv, found {arguments.model} ({classifier.facts.architecture}).")
    clips, chosen = _clips(corpus, data=data, max_seconds=classifier.max_seconds)
    report = _described(classifier, corpus=corpus, clips=clips, bf16=arguments.bf16)
    check_folder(output_dir, report, overwrite=arguments.overwrite_output_dir)
    report["seen_in_training"], report["warnings"] = what_was_seen(
        classifier.facts, corpus=corpus, data=data, clips={name: chosen[name] for name in ("validation", "test")}
    )
    for warning in report["warnings"]:
        logger.warning(warning)
    loaded = time.monotonic()

    embedded = {"model": _embedded(classifier, clips, arguments=arguments, device=device)}
    if arguments.untuned:
        before = dataclasses.replace(classifier, model=_untuned(classifier))
        embedded["untuned"] = _embedded(before, clips, arguments=arguments, device=device, untuned=True)
    finished = time.monotonic()
    is_made_to_compare = classifier.model.config.head == "embedding"
    report["embeddings"] = {
        kind: score_embeddings(
            splits,
            label_names=report["labels"],
            standardise=kind == "untuned" or not is_made_to_compare,
            numbers_of_neighbours=arguments.numbers_of_neighbours,
            c_values=arguments.c_values,
            metric=arguments.metric_for_best_model,
            num_resamples=arguments.num_bootstrap_resamples,
            seed=arguments.seed,
        )
        for kind, splits in embedded.items()
    }
    report["provenance"] = {
        "config": _recorded(arguments, data),
        "versions": package_versions(),
        "git_commit": git_commit(),
        "device": device_in_words(device),
    }
    report["timing"] = {
        "loading_s": loaded - started,
        "embedding_s": finished - loaded,
        "scoring_s": time.monotonic() - finished,
    }
    write_embedding_folder(
        output_dir,
        report=report,
        splits=embedded,
        projection=projection,
        max_plot_clips=arguments.max_plot_clips,
        seed=arguments.seed,
    )
    return EmbeddingResult(output_dir=output_dir, report=report)


def _clips(
    corpus: RunCorpus, *, data: DataArguments, max_seconds: float
) -> tuple[dict[str, ClipDataset], dict[str, datasets.Dataset]]:
    """Make the datasets of all splits; clips without a class stay."""
    feature = corpus.splits["train"].features.get("label")
    if not isinstance(feature, datasets.ClassLabel):
        raise ArgumentsError(
            f"corpus: {corpus.facts['name']} ({corpus.protocol}) has no column `label` of classes, by which embeddings "
            "are scored. Name one with --label_column, or choose another split_protocol."
        )
    classes = TaskSpec(
        name="label", kind="classification", outputs=tuple(feature.names), columns=("label",), loss="cross_entropy"
    )
    clips, chosen = {}, {}
    for split in SPLITS:
        limit = data.max_train_clips if split == "train" else data.max_evaluation_clips
        chosen[split] = evenly_taken(corpus.splits[split], num_clips=limit)
        clips[split] = ClipDataset(
            chosen[split],
            max_seconds=max_seconds,
            tasks=[classes],
            memory_mebibytes=data.decoded_audio_mebibytes,
        )
        if not corpus.was_decoded:
            clips[split].check_audio()
    return clips, chosen


def _described(
    classifier: Classifier, *, corpus: RunCorpus, clips: Mapping[str, ClipDataset], bf16: bool
) -> dict[str, Any]:
    """Return what identifies the report."""
    facts, config = classifier.facts, classifier.model.config
    names = ("id", "kind", "architecture", "revision", "weights_digest", "checkpoint_step", "method")
    is_synthetic = bool(corpus.facts.get("is_synthetic"))
    return {
        "format_version": FORMAT_VERSION,
        "model": {name: getattr(facts, name) for name in names} | {"head": config.head, "loss": config.loss},
        "backbone": {
            "id": facts.backbone_id,
            "revision": facts.backbone_revision,
            "random_init": facts.random_init,
        },
        "corpus": {
            "name": corpus.facts["name"],
            "title": corpus.facts.get("pretty_name") or corpus.facts["name"],
            "config": corpus.protocol,
            "manifest_digest": corpus.facts.get("manifest_digest"),
            "is_synthetic": is_synthetic,
        },
        "labels": list(clips["train"].tasks[0].outputs),
        "num_clips": {name: len(one) for name, one in clips.items()},
        "max_seconds": classifier.max_seconds,
        "precision": "bf16" if bf16 else "fp32",
        "notes": [
            *([RANDOM_WEIGHTS] if facts.random_init else []),
            *([SYNTHETIC_SOUNDS] if is_synthetic else []),
        ],
    }


def _embedded(
    classifier: Classifier,
    clips: Mapping[str, ClipDataset],
    *,
    arguments: EmbeddingArguments,
    device: torch.device,
    untuned: bool = False,
) -> dict[str, EmbeddedSplit]:
    """Embed every split."""
    splits = {}
    for name, one in clips.items():
        embeddings = embed_clips(
            classifier.model,
            classifier.feature_extractor,
            one,
            untuned=untuned,
            max_batch_seconds=arguments.max_batch_seconds,
            bf16=arguments.bf16,
            device=device,
            num_workers=arguments.num_workers,
        )
        labels = one.labels[:, 0]
        splits[name] = EmbeddedSplit(
            split=name,
            files=one.files,
            embeddings=embeddings,
            labels=np.where(np.isnan(labels), -1, labels).astype(np.int64),
            speaker_ids=one.speaker_ids,
        )
    return splits


def _untuned(classifier: Classifier) -> torch.nn.Module:
    try:
        return untuned_model(classifier.model)
    except (ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(
            f"untuned: the backbone {classifier.facts.backbone_id} cannot be had as it was before tuning: {reason}"
        ) from error


def _recorded(arguments: EmbeddingArguments, data: DataArguments) -> dict[str, Any]:
    """Return what was asked for, without what belongs to one machine."""
    public = dataclasses.replace(arguments, model=public_name(arguments.model), device=None)
    everything = resolved_config([public, data])
    return {
        name: {field.name: everything[field.name] for field in dataclasses.fields(group) if field.name in everything}
        for name, group in (("embeddings", arguments), ("data", data))
    }
