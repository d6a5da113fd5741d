"""From a finished classifier to a detector: temperature and threshold chosen on validation, reported on test, stored.

The threshold of one label against the rest goes into the model's `config.json` beside the temperature, where
`nvv.decisions_nvv` finds it in plain transformers. Scores are computed in the neighbour `detection_scores`, files
written in `detection_report`. Own work.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from transformers.utils import logging

from ..configuration_nvv import NvvConfig
from ..data import list_corpora
from ..decisions_nvv import front_end_of
from ..files import write_text
from ..hub.model_card import CardFacts, write_model_card
from ..hub.repository import repository_of_adapter
from ..metrics.thresholds import ThresholdError, choose_threshold
from ..training.arguments import AUGMENTATION_FIELDS, TASK_FIELDS, ArgumentsError, DataArguments, refuse_fields
from ..training.corpus import RunCorpus, load_run_corpus
from ..training.dataset import ClipDataset, evenly_taken
from ..training.provenance import git_commit, package_versions
from ..training.results import METRICS_FILE, ResultsError
from ..training.steps import blaming, device_in_words
from .classify import classify_clips
from .detect_arguments import DetectArguments
from .detection_report import check_output_folder, write_report
from .detection_scores import Calibration, ScoredSplit, calibrate, calibration_results, split_results
from .device import compute_device
from .evaluation import default_output_dir as evaluation_dir
from .load import WHOLE_CLIPS_SECONDS, Classifier, ModelError, load_classifier
from .model_facts import CONFIG
from .seen import what_was_seen

__all__ = ["PROGRAM", "DetectionResult", "choose_operating_point", "default_output_dir", "store_operating_point"]

logger = logging.get_logger(__name__)

PROGRAM = "recipes/detect.py"
FORMAT_VERSION = 1

_SPLITS = ("validation", "test")
_FEW_POSITIVES = 30
_STORED_COUNTS = ("accuracy", "precision", "recall", "f1", "false_positives", "false_negatives")


@dataclass(frozen=True, kw_only=True)
class DetectionResult:
    """What choosing an operating point ended with.

    Args:
        output_dir: the folder with tables, pictures and the report.
        report: the content of `operating_point.json`.
        stored_in: the model's folder, if the operating point was stored in it.
    """

    output_dir: Path
    report: Mapping[str, Any]
    stored_in: Path | None


def default_output_dir(values: Mapping[str, Any]) -> str:
    """Name the folder of a report after label, model and corpus.

    Args:
        values: the fields `model`, `label` and `corpus`.

    Returns:
        `runs/detect_LABEL_MODEL_CORPUS`.

    Example:
        >>> default_output_dir({"model": "runs/lora", "label": "laughing", "corpus": "nvv/vivae"})
        'runs/detect_laughing_lora_vivae'
    """
    label = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in values["label"])
    return evaluation_dir(values).replace("evaluate", f"detect_{label}", 1)


def choose_operating_point(arguments: DetectArguments, data: DataArguments) -> DetectionResult:
    """Choose a threshold on validation, report it on test, and store it in the model.

    Args:
        arguments: which model, which label, which rule.
        data: which recordings.

    Returns:
        The report, and where everything is.

    Raises:
        ValueError: for arguments that do not fit each other, the model or the corpus (`ArgumentsError`, `ModelError`);
            a rule that no threshold fulfils (`ThresholdError`); a folder that holds something else
            (`OutputFolderError`); clips that cannot be decoded (`AudioError`); logits that are not finite
            (`ResultsError`).

    Example:
        >>> arguments = DetectArguments(model="runs/laughter", label="laughing")  # doctest: +SKIP
        >>> choose_operating_point(arguments, DataArguments(corpus="synthetic")).report["threshold"]  # doctest: +SKIP
        0.62
    """
    values = {"model": arguments.model, "label": arguments.label, "corpus": data.corpus}
    output_dir = Path(arguments.output_dir or default_output_dir(values))
    check_output_folder(output_dir, overwrite=arguments.overwrite_output_dir)
    _check_data(data)
    model_folder = _folder_to_store_in(arguments)
    device = compute_device(arguments.device)
    with blaming("corpus", hint=f"The raw corpora are {', '.join(list_corpora())}; others come from the Hub."):
        corpus = load_run_corpus(data)
    corpus_labels = _corpus_labels(corpus)
    classifier = load_classifier(
        arguments.model,
        revision=arguments.model_revision,
        trust_remote_code=arguments.trust_remote_code,
        train_splits=dict.fromkeys((corpus.facts["name"], Path(data.corpus).name), corpus.splits),
    )
    _check_detects(classifier, arguments)
    positives = _positive_labels(arguments.label, corpus_labels, data)
    front_end = _front_end(classifier, precision="bf16" if arguments.bf16 else "fp32")
    identity = _identity(arguments, classifier, corpus=corpus, positives=positives)
    check_output_folder(output_dir, identity, overwrite=arguments.overwrite_output_dir)

    before = _as_trained(classifier)
    splits = _scored_splits(arguments, classifier, corpus=corpus, data=data, positives=positives, device=device)
    by_name = {scored.split: scored for scored in splits}
    calibration = _calibration(arguments, before, validation=by_name["validation"])
    scores = {scored.split: scored.scores(calibration.temperature) for scored in splits}
    validation = by_name["validation"]
    try:
        chosen = choose_threshold(validation.is_positive, scores["validation"], rule=arguments.rule)
    except ThresholdError as error:
        raise ThresholdError(f"{arguments.label} on validation: {error}") from error
    report = {
        "format_version": FORMAT_VERSION,
        **identity,
        "threshold": chosen.threshold,
        "rule": str(arguments.rule),
        "stored_in_model": model_folder is not None,
        "front_end": front_end,
        "calibration": {
            "temperature": calibration.temperature,
            "is_fitted": calibration.is_fitted,
            "note": calibration.note,
            "splits": {
                scored.split: calibration_results(scored, temperature=calibration.temperature) for scored in splits
            },
        },
        "splits": {
            scored.split: split_results(
                scored,
                scores[scored.split],
                threshold=chosen.threshold,
                thresholds=arguments.thresholds,
                num_resamples=arguments.num_bootstrap_resamples,
            )
            for scored in splits
        },
        "warnings": _warnings(classifier, corpus=corpus, data=data, validation=validation),
        "provenance": {
            "versions": package_versions(),
            "git_commit": git_commit(),
            "device": device_in_words(device),
            "num_bootstrap_resamples": arguments.num_bootstrap_resamples,
        },
    }
    for warning in report["warnings"]:
        logger.warning(warning)
    write_report(output_dir, report, splits)
    if model_folder is not None:
        store_operating_point(model_folder, report, replace_others=arguments.replace_operating_points)
    return DetectionResult(output_dir=output_dir, report=report, stored_in=model_folder)


# ----------------------------------------------------------------------------------------------------------------------
# What is asked for
# ----------------------------------------------------------------------------------------------------------------------


def _check_data(data: DataArguments) -> None:
    refuse_fields(data, TASK_FIELDS, reason="has no effect on a detector of one label; leave it out.")
    refuse_fields(data, AUGMENTATION_FIELDS, reason="is for training; nothing is trained here. Leave it out.")
    refuse_fields(data, ("max_train_clips",), reason="has no effect: the training split is not used. Leave it out.")


def _corpus_labels(corpus: RunCorpus) -> list[str]:
    """Return the corpus's classes, as it was loaded."""
    feature = corpus.splits["train"].features.get("label")
    if not isinstance(feature, datasets.ClassLabel):
        raise ArgumentsError(
            f"corpus: expected a column `label` of classes, found none in {corpus.facts['name']} ({corpus.protocol}). "
            "Name one with --label_column, or choose another split_protocol."
        )
    return feature.names


def _folder_to_store_in(arguments: DetectArguments) -> Path | None:
    """Return the model's folder where the operating point is to be stored in it."""
    if not arguments.store_in_model:
        return None
    folder, instead = Path(arguments.model).expanduser(), "or write the report only (--store_in_model false)."
    if not folder.is_dir():
        raise ModelError(
            f"store_in_model: there is no folder {arguments.model}. Download a model that is on the Hub first (hf "
            f"download {arguments.model} --local-dir FOLDER) and pass the folder, {instead}"
        )
    if not (folder / CONFIG).is_file():
        raise ModelError(
            f"store_in_model: {arguments.model} has no {CONFIG} to store in. Pass the folder of a run that has ended, "
            f"{instead}"
        )
    if json.loads((folder / CONFIG).read_text(encoding="utf-8")).get("model_type") != NvvConfig.model_type:
        raise ModelError(
            f"store_in_model: {arguments.model} is no repository of nvv, so that nothing would read what was stored. "
            f"Train one (recipes/train.py), {instead}"
        )
    return folder


def _check_detects(classifier: Classifier, arguments: DetectArguments) -> None:
    if classifier.is_multi_label:
        raise ModelError(
            f"model: {arguments.model} says yes or no to each label by itself; expected one that chooses a label."
        )
    if arguments.label not in classifier.label_names:
        raise ArgumentsError(
            f"label: expected one of the model's, {', '.join(classifier.label_names)}; found {arguments.label!r}."
        )


def _positive_labels(label: str, corpus_labels: Sequence[str], data: DataArguments) -> list[str]:
    """Return the classes of the corpus, as it was loaded, that are to be detected."""
    if data.positive_labels is not None:
        return ["+".join(data.positive_labels)]  # as load_run_corpus names the joined class
    for names in ([label], label.split("+")):
        if set(names) <= set(corpus_labels):
            return names
    raise ArgumentsError(
        f"label: {label!r} is no class of the corpus, whose classes are {', '.join(corpus_labels)}. Say which of them "
        "it stands for: --positive_labels CLASS [CLASS …]."
    )


def _front_end(classifier: Classifier, *, precision: str) -> dict[str, Any]:
    config = classifier.model.config
    if isinstance(config, NvvConfig):
        return {**front_end_of(config), "precision": precision}
    sampling_rate = classifier.feature_extractor.sampling_rate
    return {"sampling_rate": sampling_rate, "max_seconds": classifier.max_seconds, "precision": precision}


def _identity(
    arguments: DetectArguments, classifier: Classifier, *, corpus: RunCorpus, positives: Sequence[str]
) -> dict[str, Any]:
    """Return what says that a report is on the same thing as another."""
    facts = classifier.facts
    names = ("id", "kind", "architecture", "revision", "weights_digest", "checkpoint_step", "random_init")
    named = corpus.facts.get("positive_labels") or list(positives)
    return {
        "label": arguments.label,
        "model": {name: getattr(facts, name) for name in names},
        "corpus": {
            "name": corpus.facts["name"],
            "config": corpus.protocol,
            "manifest_digest": corpus.facts.get("manifest_digest"),
            "is_synthetic": bool(corpus.facts.get("is_synthetic")),
            "positive_labels": named,
        },
    }


# ----------------------------------------------------------------------------------------------------------------------
# Answers
# ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Stored:
    """What the model's config held: its temperature, and the labels that have an operating point."""

    temperature: float = 1.0
    labels: tuple[str, ...] = ()


def _as_trained(classifier: Classifier) -> _Stored:
    """Make the model answer as it was trained, without temperature and operating point; return what it had."""
    config = classifier.model.config
    if not isinstance(config, NvvConfig):
        return _Stored()
    stored = _Stored(temperature=config.calibration_temperature, labels=tuple(config.operating_points or ()))
    config.calibration_temperature, config.apply_operating_point = 1.0, None
    return stored


def _scored_splits(
    arguments: DetectArguments,
    classifier: Classifier,
    *,
    corpus: RunCorpus,
    data: DataArguments,
    positives: Sequence[str],
    device: Any,
) -> list[ScoredSplit]:
    """Classify validation and test."""
    splits = []
    for split in _SPLITS:
        clips = ClipDataset(
            evenly_taken(corpus.splits[split], num_clips=data.max_evaluation_clips),
            max_seconds=WHOLE_CLIPS_SECONDS if classifier.max_seconds is None else classifier.max_seconds,
            # Clips are decoded once here, unless they have to be checked before.
            memory_mebibytes=0 if corpus.was_decoded else data.decoded_audio_mebibytes,
        )
        if not corpus.was_decoded:
            clips.check_audio()
        logits = classify_clips(
            classifier.model,
            classifier.feature_extractor,
            clips,
            max_batch_seconds=arguments.max_batch_seconds,
            bf16=arguments.bf16,
            device=device,
            num_workers=arguments.num_workers,
        )
        if not np.isfinite(logits).all():
            raise ResultsError(
                f"{split}: the logits of {int((~np.isfinite(logits)).any(axis=1).sum())} clips are not finite. If "
                "training diverged, lower the learning rate."
            )
        is_positive = np.isin(clips.labels, [clips.label_names.index(name) for name in positives])
        splits.append(
            ScoredSplit(
                split=split,
                files=clips.files,
                speaker_ids=clips.speaker_ids,
                corpus_labels=[clips.label_names[index] for index in clips.labels],
                is_positive=is_positive,
                classes=_classes(clips, is_positive, label=arguments.label, label_names=classifier.label_names),
                logits=logits,
                label_names=classifier.label_names,
                label=arguments.label,
            )
        )
    return splits


def _classes(
    clips: ClipDataset, is_positive: np.ndarray, *, label: str, label_names: Sequence[str]
) -> np.ndarray | None:
    """Return each clip's class among the model's labels, or None where that cannot be said of every clip."""
    if len(label_names) == 2:
        at = label_names.index(label)
        return np.where(is_positive, at, 1 - at)
    if set(clips.label_names) <= set(label_names):
        return np.asarray([label_names.index(name) for name in clips.label_names])[clips.labels]
    return None


def _calibration(arguments: DetectArguments, before: _Stored, *, validation: ScoredSplit) -> Calibration:
    """Return the temperature to use."""
    others = [label for label in before.labels if label != arguments.label]
    if not arguments.calibrate:
        return Calibration(temperature=before.temperature, is_fitted=False, note="The model's, as asked for.")
    if others and arguments.store_in_model and not arguments.replace_operating_points:
        note = (
            f"The model's, with which the operating points of {', '.join(others)} were chosen "
            "(--replace_operating_points true fits it anew and removes those)."
        )
        return Calibration(temperature=before.temperature, is_fitted=False, note=note)
    if validation.classes is None:
        raise ArgumentsError(
            f"calibrate: a temperature is fitted to all of the model's labels, {', '.join(validation.label_names)}, "
            "and the corpus has others. Pass --calibrate false."
        )
    return calibrate(validation)


def _warnings(classifier: Classifier, *, corpus: RunCorpus, data: DataArguments, validation: ScoredSplit) -> list[str]:
    """Say in sentences what the reader of the scores must know."""
    clips = {
        split: evenly_taken(corpus.splits[split], num_clips=data.max_evaluation_clips).select_columns(
            [name for name in ("file", "speaker_id") if name in corpus.splits[split].column_names]
        )
        for split in _SPLITS
    }
    _, warnings = what_was_seen(classifier.facts, corpus=corpus, data=data, clips=clips)
    num_positives = int(validation.is_positive.sum())
    if num_positives < _FEW_POSITIVES:
        warnings = [
            *warnings,
            f"The threshold was chosen on {num_positives} clips to be detected: on new recordings its precision and "
            "recall will differ, as the test split's intervals show.",
        ]
    note = corpus.facts.get("protocol_note")
    return [*warnings, *([note] if note else [])]


# ----------------------------------------------------------------------------------------------------------------------
# Storing
# ----------------------------------------------------------------------------------------------------------------------


def store_operating_point(folder: Path, report: Mapping[str, Any], *, replace_others: bool = False) -> None:
    """Store a threshold and its temperature in a model's `config.json`, and write its card anew.

    The file is edited as it stands, whatever the repository holds (all weights, a head, an adapter), and replaced
    whole.

    Args:
        folder: the model's repository.
        report: the content of `operating_point.json`.
        replace_others: remove the operating points of other labels.

    Raises:
        ModelError: if the config would not be one, or the operating points of other labels hold at another temperature.
    """
    path = folder / CONFIG
    config = json.loads(path.read_text(encoding="utf-8"))
    label, temperature = report["label"], report["calibration"]["temperature"]
    points = {} if replace_others else dict(config.get("operating_points") or {})
    points[label] = _point(report)
    config |= {"calibration_temperature": temperature, "operating_points": points}
    if config.get("apply_operating_point") not in points:
        config["apply_operating_point"] = None
    stale = [name for name, point in points.items() if point.get("temperature", temperature) != temperature]
    if stale:
        raise ModelError(
            f"{path}: the operating points of {', '.join(stale)} were chosen at another temperature. Fit it anew and "
            "remove them (--replace_operating_points true), or keep it (--calibrate false)."
        )
    with blaming("store_in_model", hint=""):
        NvvConfig.from_dict(config)
    write_text(path, json.dumps(config, indent=2, sort_keys=True) + "\n")
    if (folder / METRICS_FILE).is_file():
        write_model_card(folder, CardFacts.from_directory(folder, repository_id=repository_of_adapter(folder)))


def _point(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is stored of an operating point: what applies it, and what its reader should know."""
    corpus, calibration = report["corpus"], report["calibration"]
    counts = {
        split: {
            **{name: results[name] for name in ("num_clips", "num_positives")},
            **{name: results["operating_point"][name] for name in _STORED_COUNTS},
        }
        for split, results in report["splits"].items()
    }
    return {
        "threshold": report["threshold"],
        "rule": report["rule"],
        "temperature": calibration["temperature"],
        "front_end": dict(report["front_end"]),
        "corpus": corpus["name"],
        "corpus_config": corpus["config"],
        "positive_labels": list(corpus["positive_labels"]),
        **counts,
        "calibration": {split: results["label"]["equal_width"] for split, results in calibration["splits"].items()},
    }
