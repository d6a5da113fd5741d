"""What a page says of a model: which it is, from what it learned, under which licence, and why it may be no evidence.

Taken from the model's files, nothing is guessed. Drawing is left to the neighbour `pictures`. Own work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from huggingface_hub.repocard import metadata_load
from transformers import PreTrainedModel
from transformers.utils import logging

from ..configuration_nvv import NvvConfig
from ..inference.load import Classifier
from ..inference.model_facts import ModelPlace
from ..inference.readings import why_no_result
from .models import ModelName

__all__ = ["LayerWeights", "ModelDescription", "describe_model", "layer_weights_of"]

logger = logging.get_logger(__name__)

_CARD = "README.md"


@dataclass(frozen=True, kw_only=True)
class LayerWeights:
    """How much each layer counts in a model's layer sum.

    Attributes:
        layers: indices of the hidden states, 0 being the input of the first layer.
        weights: their weights after softmax (layers,), which add up to 1.
    """

    layers: tuple[int, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class ModelDescription:
    """What a page says of a model.

    Attributes:
        facts: what is known of it, by name and in order.
        warnings: why its answers are no evidence; empty where nothing is known against them.
        layer_weights: its layer weights, if it has them.
    """

    facts: Mapping[str, str]
    warnings: tuple[str, ...]
    layer_weights: LayerWeights | None


def layer_weights_of(model: PreTrainedModel) -> LayerWeights | None:
    """Read the weights of a model's layer sum.

    Args:
        model: one of this package, or of transformers' classifiers with `use_weighted_layer_sum`.

    Returns:
        The weights; None for a model that reads one layer only.
    """
    if isinstance(model.config, NvvConfig):
        parameter, layers = model.head.layer_weights, model.config.summed_layers
    else:
        parameter = getattr(model, "layer_weights", None)
        layers = None if parameter is None else range(len(parameter))
    if parameter is None:
        return None
    weights = torch.softmax(parameter.detach().double().cpu(), dim=-1)
    return LayerWeights(layers=tuple(layers), weights=tuple(weights.tolist()))


def describe_model(classifier: Classifier, name: ModelName) -> ModelDescription:
    """Collect what a page says of a model.

    Args:
        classifier: the model.
        name: where it comes from.

    Returns:
        Its description.
    """
    facts = classifier.facts
    corpus = (facts.metrics or {}).get("corpus", {})
    card = _card_metadata(classifier, name)
    return ModelDescription(
        facts=_known(
            {
                "Model": name.shown,
                "Revision": facts.revision,
                "Encoder": _encoder(classifier),
                "Encoder's revision": facts.backbone_revision if facts.kind != "stock" else None,
                "Method": facts.method,
                "Parameters": _parameters(classifier),
                "Corpus": corpus.get("pretty_name") or corpus.get("name") or _joined(card.get("datasets")),
                "Licence": card.get("license_name") or card.get("license"),
                "Licence in full": card.get("license_link"),
                "Labels": ", ".join(classifier.label_names),
                "Hears": _hearing(classifier),
            }
        ),
        warnings=tuple(why_no_result(classifier)),
        layer_weights=layer_weights_of(classifier.model),
    )


def _known(facts: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in facts.items() if value not in (None, "")}


def _joined(names: Any) -> str | None:
    return ", ".join(names) if isinstance(names, list) else names


def _encoder(classifier: Classifier) -> str | None:
    facts = classifier.facts
    if facts.kind == "stock":
        return facts.architecture
    return f"{facts.backbone_id} ({'random weights' if facts.random_init else 'pretrained'})"


def _parameters(classifier: Classifier) -> str:
    facts = classifier.facts
    trained = "" if facts.trained_parameters is None else f", of which trained {facts.trained_parameters:,}"
    return f"{facts.total_parameters:,}{trained}"


def _hearing(classifier: Classifier) -> str | None:
    if classifier.max_seconds is None:
        return None
    return f"the first {classifier.max_seconds:g} s of a recording at once"


def _card_metadata(classifier: Classifier, name: ModelName) -> Mapping[str, Any]:
    """Return what the header of the model's card says; empty where there is no card, or none that can be read."""
    folder = Path(name.name).expanduser()
    place = (
        ModelPlace(name=str(folder), folder=folder)
        if name.is_folder
        else ModelPlace(name=name.name, revision=classifier.facts.revision)
    )
    try:
        card = place.find_of_run(_CARD)
        return {} if card is None else metadata_load(card) or {}
    except (OSError, ValueError, yaml.YAMLError) as error:  # OSError: the Hub is down, and the model was in the cache
        logger.warning(f"{name.shown}: the header of its card cannot be read and is left out ({error}).")
        return {}
