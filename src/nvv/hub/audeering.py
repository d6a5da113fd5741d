"""Takes over audEERING's model of arousal, dominance and valence as a repository of ours.

The published layout: a wav2vec 2.0 encoder under `wav2vec2.`, the mean of its last hidden states, and a head of two
linears under `classifier.dense` and `classifier.out_proj` with a tanh between them: our `mlp` head. So nothing is
trained here; the weights change names. As a backbone for tuning, the checkpoint needs no import: `--backbone` takes it
as it is.

Source: Wagner et al., Dawn of the transformer era in speech emotion recognition, IEEE TPAMI 2023; own code.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelCard, ModelCardData, metadata_load
from safetensors import safe_open
from transformers import AutoConfig, PreTrainedConfig
from transformers.utils.hub import cached_file

from ..files import write_text
from ..loading_nvv import load_feature_extractor
from ..modeling_nvv import NvvForAudioClassification
from .licences import UNKNOWN, Licence, backbone_licence, find_licence
from .repository import save_repository

__all__ = ["AUDEERING_CHECKPOINT", "WeightsImportError", "import_audeering"]

AUDEERING_CHECKPOINT = "audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim"
"""The published checkpoint: 12 layers, arousal, dominance and valence, CC BY-NC-SA 4.0."""

_ENCODER_PREFIX = "wav2vec2."
_HEAD_NAMES = {"classifier.dense": "projector", "classifier.out_proj": "classifier"}
_WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
_CITATION = """\
@article{wagner2023dawn,
  title   = {Dawn of the Transformer Era in Speech Emotion Recognition: Closing the Valence Gap},
  author  = {Wagner, Johannes and Triantafyllopoulos, Andreas and Wierstorf, Hagen and Schmitt, Maximilian and
             Burkhardt, Felix and Eyben, Florian and Schuller, Bj{\\"o}rn W.},
  journal = {IEEE Transactions on Pattern Analysis and Machine Intelligence},
  year    = {2023}
}"""


class WeightsImportError(ValueError):
    """A checkpoint that is not of the published layout; the message says what is missing."""


def import_audeering(
    checkpoint: str = AUDEERING_CHECKPOINT,
    output_dir: str | os.PathLike[str] = "audeering_adv",
    *,
    revision: str | None = None,
    max_seconds: float = 30.0,
    token: str | bool | None = None,
    cache_dir: str | None = None,
) -> Path:
    """Write a checkpoint of the published layout as a repository of ours: one regression of its targets.

    Unpadded clips up to `max_seconds` give the published model's numbers; padded ones do too, where the published code
    would hear the padding. `model.embed` gives what it calls hidden states: the pooled last layer.

    From the shell:
    `python -c "from nvv.hub.audeering import import_audeering as f; f(output_dir='audeering_adv')"`

    Args:
        checkpoint: Hub id, or a folder with `config.json`, `preprocessor_config.json` and weights.
        output_dir: the folder to write; made if missing.
        revision: branch, tag or commit on the Hub.
        max_seconds: longer clips will be cut to this, > 0. The published model has no limit; its training clips, from
            MSP-Podcast, are of some seconds.
        token: Hub token.
        cache_dir: where downloads are kept.

    Returns:
        The folder. It loads in plain transformers, and its card carries the checkpoint's licence on.

    Raises:
        WeightsImportError: if the checkpoint is of another layout.
        OSError: if it is not there.

    Example:
        >>> folder = import_audeering("audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim")  # doctest: +SKIP
        >>> model = NvvForAudioClassification.from_pretrained(folder)  # doctest: +SKIP
    """
    place = {"revision": revision, "token": token, "cache_dir": cache_dir}
    published = AutoConfig.from_pretrained(checkpoint, **place)
    head = _head_weights(checkpoint, place)
    outputs = _outputs(checkpoint, published, head)
    model = NvvForAudioClassification.from_backbone(
        checkpoint,
        family="wav2vec2",
        **place,
        tasks=[{"name": "targets", "kind": "regression", "outputs": outputs, "loss": "ccc"}],
        use_weighted_layer_sum=False,
        pooling="mean",
        head="mlp",
        projection_size=len(head["projector.bias"]),
        head_dropout=published.final_dropout,
        max_seconds=max_seconds,
    )
    model.head.load_state_dict(head)
    save_repository(model, load_feature_extractor(checkpoint, **place), output_dir)
    card = _card(checkpoint, outputs, model=model, place=place, folder=Path(output_dir))
    write_text(Path(output_dir) / "README.md", str(card))
    return Path(output_dir)


def _head_weights(checkpoint: str, place: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Return the head's weights under our names.

    Raises:
        WeightsImportError: if there are others than the encoder's and these, or some are missing.
    """
    names, read = _open_weights(checkpoint, place)
    wanted = {
        f"{theirs}.{kind}": f"{ours}.{kind}" for theirs, ours in _HEAD_NAMES.items() for kind in ("weight", "bias")
    }
    missing = [name for name in wanted if name not in names]
    others = [name for name in names if not name.startswith(_ENCODER_PREFIX) and name not in wanted]
    if missing or others or not any(name.startswith(_ENCODER_PREFIX) for name in names):
        found = ", ".join((others or sorted(names))[:3])
        raise WeightsImportError(
            f"{checkpoint}: expected weights {_ENCODER_PREFIX}* and {', '.join(wanted)}, as in {AUDEERING_CHECKPOINT}; "
            f"found {found}; missing: {', '.join(missing) or 'none'}. As a backbone, --backbone takes any wav2vec 2.0 "
            "checkpoint."
        )
    return {ours: read(theirs).float() for theirs, ours in wanted.items()}


def _open_weights(checkpoint: str, place: Mapping[str, Any]) -> tuple[list[str], Any]:
    """Return the names of all weights, and the function that reads one."""
    for name in _WEIGHT_FILES:
        file = cached_file(checkpoint, name, _raise_exceptions_for_missing_entries=False, **place)
        if file is None:
            continue
        if name.endswith(".safetensors"):
            weights = safe_open(file, framework="pt")
            return list(weights.keys()), weights.get_tensor
        loaded = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        return list(loaded), loaded.__getitem__
    raise WeightsImportError(f"{checkpoint}: expected {' or '.join(_WEIGHT_FILES)}, found neither.")


def _outputs(checkpoint: str, config: PreTrainedConfig, head: Mapping[str, torch.Tensor]) -> list[str]:
    """Return the targets in the order of the logits.

    Raises:
        WeightsImportError: if the config names another number, or pools otherwise.
    """
    outputs = [config.id2label[index] for index in sorted(config.id2label)]
    if len(outputs) != len(head["classifier.bias"]):
        raise WeightsImportError(
            f"{checkpoint}: config.json names {len(outputs)} outputs ({', '.join(outputs)}), the head has "
            f"{len(head['classifier.bias'])}."
        )
    pooling = getattr(config, "pooling_mode", "mean")
    if pooling != "mean":
        raise WeightsImportError(f"{checkpoint}: expected pooling_mode mean in config.json, found {pooling!r}.")
    return outputs


def _card(
    checkpoint: str, outputs: list[str], *, model: NvvForAudioClassification, place: Mapping[str, Any], folder: Path
) -> ModelCard:
    """Make the card: where the weights are from, under which licence, how to use them."""
    file = cached_file(checkpoint, "README.md", _raise_exceptions_for_missing_entries=False, **place)
    source = {} if file is None else metadata_load(file) or {}
    licence = find_licence(source.get("license") or backbone_licence(checkpoint))
    terms = {"license": licence.identifier}
    if licence.identifier == UNKNOWN:
        terms = {"license": "other", "license_name": UNKNOWN}
    is_local = os.path.isdir(checkpoint)
    data = ModelCardData(
        **terms,
        language=source.get("language"),
        library_name="transformers",
        pipeline_tag="audio-classification",
        base_model=None if is_local else checkpoint,
        datasets=source.get("datasets"),
        tags=["nvv", "emotion-recognition", "wav2vec2"],
    )
    # Where a folder lies on a machine is nobody's business once the repository is pushed.
    name = Path(checkpoint).name if is_local else f"[{checkpoint}](https://huggingface.co/{checkpoint})"
    commit = f" at commit {model.config.backbone_revision}" if model.config.backbone_revision else ""
    text = f"""\
# {", ".join(outputs)} from speech: {Path(checkpoint).name}

The weights of {name}{commit}, under other names and otherwise unchanged: nothing was trained here. A wav2vec 2.0
encoder of {model.config.num_hidden_states - 1} layers, the mean of its last hidden states, and a head of two linears
(Wagner et al. 2023).

```python
from transformers import AutoModelForAudioClassification

model = AutoModelForAudioClassification.from_pretrained("{folder.name}", trust_remote_code=True)
model(input_values).logits  # (clips, {len(outputs)}): {", ".join(outputs)}; input_values (clips, samples) at 16 kHz
model.embed(input_values)  # (clips, {model.config.hidden_size}): the pooled last layer
```

## Licence

{_licence_text(licence)}

## Citation

```bibtex
{_CITATION}
```
"""
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text}")


def _licence_text(licence: Licence) -> str:
    if not licence.is_known:
        return f"The checkpoint is under {licence.title}: ask its owners before you use it."
    text = "" if licence.url is None else f" ([text]({licence.url}))"
    return f"{licence.title}{text}, as the checkpoint itself; whatever is made from these weights is bound by it."
