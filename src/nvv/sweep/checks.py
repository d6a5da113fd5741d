"""What can be told of a run before it starts: whether its layers, its split and its corpus's folder are there.

The run would find out itself, but a sweep would find out last. Backbones that are neither in the table of known ones
nor a folder are not asked about here, as that takes the network. Own work.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig

from ..configuration_nvv import NvvConfig
from ..data import corpus_builder, list_corpora
from ..known_backbones_nvv import KNOWN_BACKBONES, known_backbone_config
from ..loading_nvv import load_backbone_config
from ..training.arguments import ArgumentsError, ModelArguments
from ..training.corpus import VOC2VEC_PROTOCOLS
from ..training.tuning import TuningArguments
from ..tuner_layers_nvv import resolve_layers


def check_layers(model: ModelArguments, tuning: TuningArguments) -> None:
    """Raise for what the backbone cannot be: a layer or hidden state that it does not have, or does not compute.

    Args:
        model: the model group of a training or probe run.
        tuning: its tuning group.

    Raises:
        ArgumentsError: naming the field.
    """
    try:
        backbone_config = _backbone_config(model)
        if backbone_config is None:
            return
        config = NvvConfig(
            backbone_config=backbone_config,
            num_labels=2,
            num_backbone_layers=model.num_backbone_layers,
            layers=model.summed_layers,
            use_weighted_layer_sum=model.use_weighted_layer_sum,
            padding=model.padding,
            padding_seconds=model.padding_seconds,
            max_seconds=model.max_seconds,
        )
    except ValueError as error:
        raise ArgumentsError(str(error)) from error
    if tuning.tuned_layers is None or tuning.method == "frozen":
        return
    try:
        # Layer n of the encoder, counted from 0, puts out hidden state n + 1; later ones than the head reads never run.
        resolve_layers(tuning.tuned_layers, max(config.summed_layers))
    except ValueError as error:
        raise ArgumentsError(f"tuned_layers: of the layers up to the last hidden state summed, {error}") from error


def _backbone_config(model: ModelArguments) -> PreTrainedConfig | None:
    if Path(model.backbone).is_dir() or model.random_init:
        return load_backbone_config(model.backbone, random_init=model.random_init)
    return known_backbone_config(model.backbone) if model.backbone in KNOWN_BACKBONES else None


def check_protocol(values: Mapping[str, Any]) -> None:
    """Raise for a split protocol that one of our corpora does not have.

    Args:
        values: the fields of a run.

    Raises:
        ArgumentsError: naming those that the corpus has.
    """
    corpus, protocol = values["corpus"], values.get("split_protocol")
    if protocol is None or protocol in VOC2VEC_PROTOCOLS or corpus not in list_corpora():
        return
    protocols = list(corpus_builder(corpus).builder_configs)
    if protocol not in protocols:
        raise ArgumentsError(
            f"split_protocol: expected one of {', '.join(protocols)} for {corpus}, found {protocol!r}."
        )


def check_folders(corpora: Iterable[str], folders: Mapping[str, str]) -> None:
    """Raise unless every corpus that needs its folder of raw recordings has one.

    Args:
        corpora: the corpora of a sweep.
        folders: folder by corpus, as given.

    Raises:
        ArgumentsError: naming every corpus without a folder, or with one that is not there.
    """
    missing, wrong = [], []
    for corpus in sorted(set(corpora) & set(list_corpora())):
        builder = corpus_builder(corpus)
        if corpus in folders and not Path(folders[corpus]).expanduser().exists():
            wrong.append(f"{corpus}={folders[corpus]}")
        if corpus not in folders and builder.ROOT_MARKERS and not builder.DOWNLOADS:
            missing.append(corpus)
    if wrong:
        raise ArgumentsError(f"data_dirs: no such folder: {', '.join(wrong)}.")
    if missing:
        options = " ".join(f"{corpus}=PATH_TO/{corpus}" for corpus in missing)
        raise ArgumentsError(
            f"data_dirs: {', '.join(missing)} cannot be downloaded. Say where the recordings are: --data_dirs "
            f"{options}; or name the corpora to run on: --corpora NAME …"
        )
