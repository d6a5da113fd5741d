"""Where a model's files are, and what they say of it: which model, by which run, on which corpus, how much it trained.

Loading it is left to the neighbour `load`, what follows from its training corpus to `seen`. Own work.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from peft.mapping import PEFT_TYPE_TO_PREFIX_MAPPING
from transformers import PreTrainedModel
from transformers.utils import cached_file, logging

from ..configuration_nvv import NvvConfig
from ..training.config_files import RESOLVED_CONFIG_NAME
from ..training.results import METRICS_FILE, ResultsError, read_metrics
from ..training.steps import public_name
from ..training.trainable import trainable_parameters

__all__ = ["ADAPTER_CONFIG", "CONFIG", "ModelFacts", "ModelPlace", "read_model_facts", "read_settings"]

logger = logging.get_logger(__name__)

CONFIG = "config.json"
ADAPTER_CONFIG = "adapter_config.json"

_CHECKPOINT_NAME = re.compile(r"checkpoint-(\d+)")
_TRAINER_STATE = "trainer_state.json"
_WEIGHT_PATTERNS = ("*.safetensors", "pytorch_model*.bin", "adapter_model.bin")
_CHUNK_BYTES = 2**20


@dataclass(frozen=True, kw_only=True)
class ModelPlace:
    """Where a model's files are.

    Args:
        name: what transformers loads: a folder or a Hub id.
        revision: the commit of a Hub id; None for a folder.
        folder: the folder; None for a Hub id.
    """

    name: str
    revision: str | None = None
    folder: Path | None = None

    @property
    def step(self) -> int | None:
        """The optimiser step of a Trainer checkpoint, else None."""
        match = None if self.folder is None else _CHECKPOINT_NAME.fullmatch(self.folder.resolve().name)
        return None if match is None else int(match[1])

    @property
    def run_folder(self) -> Path | None:
        """The folder around a Trainer checkpoint, else None."""
        return None if self.step is None else self.folder.resolve().parent

    def find(self, name: str) -> Path | None:
        """Return a file of the model's own folder or repository, or None."""
        if self.folder is not None:
            return self.folder / name if (self.folder / name).is_file() else None
        found = cached_file(self.name, name, revision=self.revision, _raise_exceptions_for_missing_entries=False)
        return None if found is None else Path(found)

    def find_of_run(self, name: str) -> Path | None:
        """Return a file of the run that made the model, or None."""
        if self.run_folder is None:
            return self.find(name)
        return self.run_folder / name if (self.run_folder / name).is_file() else None


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """Which model it is, and what is known of its making.

    Args:
        id: the Hub id or relative folder; of an absolute path the last part, and of a checkpoint the run's name too.
        kind: `full`, `adapter` or `head` for repositories of this package, `stock` for transformers' own classes.
        architecture: the model's class.
        revision: the commit on the Hub; None for a folder.
        weights_digest: SHA-256 over the names and bytes of a folder's weight files; None for a model on the Hub.
        checkpoint_step: the optimiser step of a checkpoint, else None.
        checkpoint_epoch: its epoch, else None.
        backbone_id: the speech encoder's Hub id or folder, where the config says.
        backbone_revision: its commit.
        random_init: whether the encoder never had pretrained weights.
        method: the tuning method, as its run recorded it, or else as far as the files show.
        tuned_layers: the encoder layers that the run applied it to; None for all, and where unknown.
        total_parameters: all parameters.
        trained_parameters: how many of them were trained, where known.
        metrics: the `metrics.json` of the run that made it, where there is one.
        config: the resolved configuration of that run, where there is one.
    """

    id: str
    kind: str
    architecture: str
    revision: str | None
    weights_digest: str | None
    checkpoint_step: int | None
    checkpoint_epoch: float | None
    backbone_id: str | None
    backbone_revision: str | None
    random_init: bool
    method: str
    tuned_layers: list[int] | None
    total_parameters: int
    trained_parameters: int | None
    metrics: Mapping[str, Any] | None
    config: Mapping[str, Any] | None


def read_model_facts(place: ModelPlace, model: PreTrainedModel) -> ModelFacts:
    """Collect what a model's files say of it.

    Args:
        place: where they are.
        model: the model itself.

    Returns:
        The facts.
    """
    config, is_ours = model.config, isinstance(model.config, NvvConfig)
    metrics = _read_run_metrics(place)
    settings = read_settings(place)
    kind = _kind(place) if is_ours else "stock"
    tuning = {} if metrics is None else metrics.get("tuning", {})
    method = tuning.get("method") or (settings or {}).get("method") or _method(model, kind=kind)
    backbone_id = config.backbone_id if is_ours else place.name
    trained = tuning.get("trainable_parameters") or _count_trained(model, kind="head" if method == "frozen" else kind)
    return ModelFacts(
        id=_public_id(place),
        kind=kind,
        architecture=type(model).__name__,
        revision=place.revision,
        weights_digest=None if place.folder is None else _weights_digest(place.folder),
        checkpoint_step=place.step,
        checkpoint_epoch=_epoch(place),
        backbone_id=None if backbone_id is None else public_name(backbone_id),
        backbone_revision=config.backbone_revision if is_ours else place.revision,
        random_init=config.random_init if is_ours else False,
        method=method,
        tuned_layers=tuning.get("layers", (settings or {}).get("tuned_layers")),
        total_parameters=trainable_parameters(model).total,
        trained_parameters=trained,
        metrics=metrics,
        config=settings,
    )


def _public_id(place: ModelPlace) -> str:
    if place.step is not None:
        return f"{place.run_folder.name}/{place.folder.resolve().name}"
    return public_name(place.name)


def _kind(place: ModelPlace) -> str:
    """Say what the repository of a model of this package holds."""
    if place.find(ADAPTER_CONFIG) is not None:
        return "adapter"
    # Not from the loaded model's config: that one is complete.
    saved = json.loads(place.find(CONFIG).read_text(encoding="utf-8")).get("saved_weights")
    return "head" if saved == "head" else "full"


def _adapter_type(model: PreTrainedModel) -> str:
    peft_type = next(iter(model.peft_config.values())).peft_type
    return getattr(peft_type, "value", peft_type)


def _method(model: PreTrainedModel, *, kind: str) -> str:
    """Say how the model was tuned as far as its files show."""
    if kind == "adapter":
        return _adapter_type(model).lower().removeprefix("nvv_")
    return {"head": "frozen", "full": "full or partial", "stock": "not recorded"}[kind]


def _count_trained(model: PreTrainedModel, *, kind: str) -> int | None:
    """Count what was trained where the files show it: the head, or the adapter and what was saved with it."""
    if kind == "adapter":
        marks = (PEFT_TYPE_TO_PREFIX_MAPPING[_adapter_type(model)], ".modules_to_save.")
    elif kind == "head":
        marks = ("head.",)
    else:
        return None
    return sum(value.numel() for name, value in model.named_parameters() if any(mark in name for mark in marks))


def _read_run_metrics(place: ModelPlace) -> Mapping[str, Any] | None:
    """Return what the run that made the model recorded, where that is there and readable."""
    file = place.find_of_run(METRICS_FILE)
    if file is None:
        return None
    try:
        metrics = read_metrics(file)
    except ResultsError as error:
        logger.warning(f"{error} What it says of the model's training is left out.")
        return None
    return None if "evaluation" in metrics else metrics


def read_settings(place: ModelPlace) -> Mapping[str, Any] | None:
    """Read the resolved configuration of the run that made a model.

    Args:
        place: where the model's files are.

    Returns:
        Its fields; None where there is no such file, or, with a warning, where it cannot be read.
    """
    file = place.find_of_run(RESOLVED_CONFIG_NAME)
    if file is None:
        return None
    try:
        settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError:
        settings = None
    if not isinstance(settings, dict):
        logger.warning(f"{file}: not readable as a run's configuration; it is left out.")
        return None
    return settings


def _epoch(place: ModelPlace) -> float | None:
    file = place.folder / _TRAINER_STATE if place.step is not None else None
    if file is None or not file.is_file():
        return None
    try:
        return json.loads(file.read_text(encoding="utf-8")).get("epoch")
    except json.JSONDecodeError:
        return None  # the process was killed while it wrote this last file; the weights are whole


def _weights_digest(folder: Path) -> str:
    """Return SHA-256 over names and bytes of the weight files, in the names' order (64 hexadecimal digits)."""
    digest = hashlib.sha256()
    for file in sorted({path for pattern in _WEIGHT_PATTERNS for path in folder.glob(pattern)}):
        digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                digest.update(chunk)
    return digest.hexdigest()
