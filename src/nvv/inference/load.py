"""A classifier from a name: a repository of this package, a checkpoint of one of its runs, or one of transformers' own.

A repository is a folder or a Hub id; a checkpoint is a folder `checkpoint-STEP` that the Trainer left, which for
adapters holds no config, so that it is read from the run's folder around it. Weights are in fp32 on the CPU. Code that
lies beside a model is run only where that is asked for, and never for a model of this package, whose code is installed.
Own work.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import torch
from huggingface_hub.errors import HfHubHTTPError
from safetensors import SafetensorError
from transformers import (
    AutoFeatureExtractor,
    AutoModelForAudioClassification,
    PreTrainedConfig,
    PreTrainedModel,
    Wav2Vec2FeatureExtractor,
)
from transformers.feature_extraction_sequence_utils import SequenceFeatureExtractor
from transformers.utils.hub import cached_file, extract_commit_hash

from ..configuration_nvv import NvvConfig
from ..modeling_nvv import NvvForAudioClassification
from ..training.arguments import ArgumentsError, DataArguments, ModelArguments, NvvTrainingArguments
from ..training.config_files import RESOLVED_CONFIG_NAME
from ..training.dataset import ClipDataset
from ..training.steps import build_model
from ..training.tasks import TARGETS_TASK, make_tasks
from ..tuners_nvv import load_adapter
from .model_facts import ADAPTER_CONFIG, CONFIG, ModelFacts, ModelPlace, read_model_facts, read_settings

__all__ = ["WHOLE_CLIPS_SECONDS", "Classifier", "ModelError", "declared_tasks", "load_beside", "load_classifier"]

WHOLE_CLIPS_SECONDS = 1e7
"""Longer than any clip: for models that take whole clips."""

_MAY_BE_MISSING = ("masked_spec_embed",)  # used in pre-training only; some released checkpoints lack it

# How loading a model fails: torch refuses weights of another shape with a RuntimeError; HfHubHTTPError's base, which is
# a refused connection's too, is the HTTP library's own.
_FAILURES = (ValueError, OSError, RuntimeError, ImportError, SafetensorError, *HfHubHTTPError.__bases__)


class ModelError(ArgumentsError):
    """A model that cannot be loaded, or is not one that answers with one of its classes."""


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """A model that is ready to classify.

    Args:
        model: in fp32 on the CPU, in evaluation mode.
        feature_extractor: the model's; takes waveforms of 16 kHz.
        label_names: the labels in the order of the logits.
        is_multi_label: whether it says yes or no to each label by itself.
        max_seconds: clips are cut to their first so many seconds; None: it takes whole clips, or cuts them itself.
        facts: which model it is.
        has_tasks: whether it is one of this package that predicts what its config's `tasks` say; its labels are then
            the names of its outputs.
    """

    model: PreTrainedModel
    feature_extractor: SequenceFeatureExtractor
    label_names: list[str]
    is_multi_label: bool
    max_seconds: float | None
    facts: ModelFacts
    has_tasks: bool = False


def load_classifier(
    name: str,
    *,
    revision: str | None = None,
    trust_remote_code: bool = False,
    train_splits: Mapping[str, Mapping[str, datasets.Dataset]] | None = None,
    allows_tasks: bool = False,
) -> Classifier:
    """Load a classifier.

    Args:
        name: a Hub id, a folder that holds a model, or a checkpoint's folder inside a run's.
        revision: branch, tag or commit of a Hub id; None: its main branch.
        trust_remote_code: run the code that comes with a model of another project.
        train_splits: the splits of corpora by their name. For a checkpoint of an adapter whose run has not ended,
            nothing else says yet which labels it has.
        allows_tasks: take models of this package with `tasks` too, which predict numbers, or several things at once.

    Returns:
        The model, its feature extractor, its labels, and what is known of it.

    Raises:
        ModelError: for a name that is no such model, a model whose head is not trained, one that does not classify,
            and files that are damaged.

    Example:
        >>> classifier = load_classifier("runs/lora/checkpoint-120")  # doctest: +SKIP
        >>> classifier.label_names  # doctest: +SKIP
        ['laugh', 'sigh', 'cough']
    """
    with _blaming(name):
        place = _locate(name, revision=revision)
        config = _read_config(place)
        if config is None:
            model, feature_extractor = _load_adapter_checkpoint(place, train_splits=train_splits)
        elif config.get("model_type") == NvvConfig.model_type:
            model, feature_extractor = _load_ours(place)
        else:
            model, feature_extractor = _load_stock(place, trust_remote_code=trust_remote_code)
        return _as_classifier(model, feature_extractor, place, name=name, allows_tasks=allows_tasks)


def load_beside(
    classifier: Classifier, name: str, *, adapter_name: str, revision: str | None = None, allows_tasks: bool = False
) -> Classifier:
    """Load an adapter, or the head of a linear probe, into a model of the same backbone, which is not loaded again.

    It is then the active one: `model.set_adapter` switches between it and what the model held before, and each
    classifier holds while its adapter is active.

    Args:
        classifier: a model of this package that was loaded from an adapter or a head.
        name: as in `load_classifier`, but no checkpoint of an adapter.
        adapter_name: what the model calls it, without a dot.
        revision: as in `load_classifier`.
        allows_tasks: as in `load_classifier`.

    Returns:
        The other classifier, which shares its model with the first.

    Raises:
        ModelError: for what is no adapter or head of the same backbone, and as `load_classifier`.
    """
    with _blaming(name):
        place = _locate(name, revision=revision)
        if _read_config(place) is None:
            raise ModelError(f"model: {name} is a checkpoint of an adapter, which is loaded by itself.")
        feature_extractor = Wav2Vec2FeatureExtractor.from_pretrained(place.name, revision=place.revision)
        classifier.model.load_adapter(place.name, adapter_name=adapter_name, revision=place.revision)
        return _as_classifier(classifier.model, feature_extractor, place, name=name, allows_tasks=allows_tasks)


def _as_classifier(
    model: PreTrainedModel,
    feature_extractor: SequenceFeatureExtractor,
    place: ModelPlace,
    *,
    name: str,
    allows_tasks: bool,
) -> Classifier:
    """Describe a loaded model."""
    facts = read_model_facts(place, model)
    is_ours = isinstance(model.config, NvvConfig)
    has_tasks = is_ours and model.config.tasks is not None
    if not (has_tasks and allows_tasks):
        _check_classifies(model.config, name=name)
    return Classifier(
        model=model.eval(),
        feature_extractor=feature_extractor,
        label_names=[model.config.id2label[index] for index in range(model.config.num_labels)],
        is_multi_label=model.config.problem_type == "multi_label_classification",
        max_seconds=model.config.max_seconds if is_ours else None,
        facts=facts,
        has_tasks=has_tasks,
    )


def declared_tasks(name: str, *, revision: str | None = None) -> dict[str, dict[str, Any]] | None:
    """Return what a model says it predicts, without loading it.

    Args:
        name: as in `load_classifier`.
        revision: as in `load_classifier`.

    Returns:
        The tasks in the form of `DataArguments.tasks`, so that their columns can be read; None for a classifier.

    Raises:
        ModelError: for a name that is no model.
    """
    with _blaming(name):
        place = _locate(name, revision=revision)
        config = _read_config(place)
    if config is None:
        # A checkpoint of an adapter, which is described in the run's folder.
        settings = read_settings(place) or {}
        columns = settings.get("target_columns")
        return settings.get("tasks") if columns is None else {TARGETS_TASK: {"targets": columns}}
    tasks = config.get("tasks") if config.get("model_type") == NvvConfig.model_type else None
    if tasks is None:
        return None
    return {
        task["name"]: {"targets": list(task["outputs"])} if task["kind"] == "regression" else {"label": "label"}
        for task in tasks
    }


@contextmanager
def _blaming(name: str) -> Iterator[None]:
    """Turn what is wrong with a model's files, or with reaching them, into a `ModelError` that names the model."""
    try:
        yield
    except ArgumentsError:
        raise
    except _FAILURES as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"model: {name} cannot be loaded: {reason}") from error


def _locate(name: str, *, revision: str | None) -> ModelPlace:
    """Say where the model's files are, or why there are none."""
    folder = Path(name).expanduser()
    if not folder.exists():
        if folder.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
            raise ModelError(f"model: {name}: no such folder, and no Hub id either (those are `owner/name`).")
        # From here on everything comes from one commit, whatever is pushed meanwhile.
        return ModelPlace(name=name, revision=extract_commit_hash(cached_file(name, CONFIG, revision=revision), None))
    if revision is not None:
        raise ModelError(f"model_revision: {revision!r} has no effect on the folder {name}; leave it out.")
    if not folder.is_dir():
        raise ModelError(f"model: expected a folder or a Hub id, found the file {name}.")
    if not (folder / CONFIG).is_file() and not (folder / ADAPTER_CONFIG).is_file():
        checkpoints = sorted(path.name for path in folder.glob("checkpoint-*") if path.is_dir())
        hint = f" It holds an unfinished run; name one of {', '.join(checkpoints)} in it." if checkpoints else ""
        raise ModelError(f"model: {name} has neither {CONFIG} nor {ADAPTER_CONFIG}, so it is no model.{hint}")
    return ModelPlace(name=str(folder), folder=folder)


def _read_config(place: ModelPlace) -> Mapping[str, Any] | None:
    """Return the model's config; None for a checkpoint of an adapter, which has none of its own."""
    if place.folder is not None and not (place.folder / CONFIG).is_file():
        return None
    return PreTrainedConfig.get_config_dict(place.name, revision=place.revision)[0]


# ----------------------------------------------------------------------------------------------------------------------
# The three kinds of model
# ----------------------------------------------------------------------------------------------------------------------


def _load_ours(place: ModelPlace) -> tuple[PreTrainedModel, SequenceFeatureExtractor]:
    """Load a repository of this package, or a Trainer checkpoint of a full model."""
    model = NvvForAudioClassification.from_pretrained(place.name, revision=place.revision, dtype=torch.float32)
    return model, Wav2Vec2FeatureExtractor.from_pretrained(place.name, revision=place.revision)


def _load_adapter_checkpoint(
    place: ModelPlace, *, train_splits: Mapping[str, Mapping[str, datasets.Dataset]] | None
) -> tuple[PreTrainedModel, SequenceFeatureExtractor]:
    """Load a Trainer checkpoint of an adapter: the model around it is described in the run's folder."""
    folder, run_folder = place.folder, place.run_folder
    if run_folder is None:
        raise ModelError(
            f"model: {place.name} holds an adapter and no {CONFIG}, and is no checkpoint inside a run's folder. "
            "Evaluate the run's folder, or save the adapter with nvv.hub.repository.save_repository."
        )
    if (run_folder / CONFIG).is_file():
        config = NvvConfig.from_pretrained(run_folder)
        model = NvvForAudioClassification.from_pretrained(str(folder), config=config, dtype=torch.float32)
    elif (run_folder / RESOLVED_CONFIG_NAME).is_file():
        model = _build_unfinished(place, train_splits=train_splits)
        load_adapter(model, str(folder))
    else:
        raise ModelError(
            f"model: {place.name} is a checkpoint of an adapter, and the folder around it has neither {CONFIG} nor "
            f"{RESOLVED_CONFIG_NAME} to say what it belongs to. Keep checkpoints in their run's folder."
        )
    return model, Wav2Vec2FeatureExtractor.from_pretrained(folder)


def _build_unfinished(
    place: ModelPlace, *, train_splits: Mapping[str, Mapping[str, datasets.Dataset]] | None
) -> NvvForAudioClassification:
    """Build the model of a run that has not ended, from what it was told."""
    settings = read_settings(place) or {}
    splits = (train_splits or {}).get(Path(settings.get("corpus", "")).name)
    if splits is None:
        raise ModelError(
            f"model: {place.name} belongs to a run that has not ended, so that only its corpus "
            f"({settings.get('corpus')}) says which labels it has. Evaluate it on that corpus, or let the run end."
        )
    arguments, data = (
        group(**{field.name: settings[field.name] for field in dataclasses.fields(group) if field.name in settings})
        for group in (ModelArguments, DataArguments)
    )
    clips = ClipDataset(splits["train"], max_seconds=1.0, tasks=make_tasks(data, arguments, splits))
    training = NvvTrainingArguments(output_dir=str(place.run_folder), seed=settings["seed"])
    return build_model(arguments, clips, training=training)[0]


def _load_stock(place: ModelPlace, *, trust_remote_code: bool) -> tuple[PreTrainedModel, SequenceFeatureExtractor]:
    """Load an audio classifier of transformers, or with its own code one of another project."""
    where = {"revision": place.revision, "trust_remote_code": trust_remote_code}
    model, report = AutoModelForAudioClassification.from_pretrained(
        place.name, dtype=torch.float32, output_loading_info=True, **where
    )
    missing = sorted(name for name in report["missing_keys"] if not name.endswith(_MAY_BE_MISSING))
    if missing:
        raise ModelError(
            f"model: {place.name} leaves {len(missing)} weights of {type(model).__name__} untrained, {missing[0]} "
            "among them: it is no audio classifier, or an encoder that has yet to be trained (recipes/train.py)."
        )
    return model, AutoFeatureExtractor.from_pretrained(place.name, **where)


def _check_classifies(config: PreTrainedConfig, *, name: str) -> None:
    if config.problem_type == "regression" or config.num_labels < 2:
        raise ModelError(
            f"model: expected a classifier of two or more classes, found {name} with {config.num_labels} outputs "
            f"(problem_type {config.problem_type!r})."
        )
