"""Writes a model repository: what plain transformers needs to load the classifier without nvv.

The full model, or where the backbone was not trained only what was; beside it config, remote code and feature
extractor. Cards, metrics and plots are written by their own modules, pushing is the Hub client's.
"""

from __future__ import annotations

import copy
import json
import os
import tempfile
from pathlib import Path

from peft import PeftModel
from safetensors.torch import save_file
from transformers import Wav2Vec2FeatureExtractor
from transformers.dynamic_module_utils import custom_object_save

from nvv.files import write_text
from nvv.modeling_nvv import NvvForAudioClassification

# Their presence makes a folder loadable, so they arrive after everything that they refer to.
_LAST_FILES = ("config.json", "adapter_config.json")


def save_repository(
    model: NvvForAudioClassification | PeftModel,
    feature_extractor: Wav2Vec2FeatureExtractor,
    output_dir: str | os.PathLike[str],
    *,
    repository_id: str | None = None,
) -> list[Path]:
    """Writes weights, config, remote code and feature extractor into a folder.

    Args:
        model: The classifier. Of a `PeftModel` only the adapter and what was trained with it (the head) are saved, and
            of a model with a frozen backbone only the head; the config then names the backbone and its revision.
        feature_extractor: What `load_feature_extractor` gave.
        output_dir: Made if missing; files of the same names are replaced, one by one and each whole, others left alone.
        repository_id: The Hub id the folder will have. An adapter names it as its own base, because transformers reads
            the config from there; see `set_repository_id`.

    Returns:
        The files written.
    """
    output_dir = Path(output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    classifier = model.get_base_model() if isinstance(model, PeftModel) else model
    classifier.config.normalize_cut_clips = feature_extractor.do_normalize
    with tempfile.TemporaryDirectory(dir=output_dir, prefix=".partial-") as partial:
        feature_extractor.save_pretrained(partial)
        if isinstance(model, PeftModel):
            _save_adapter(model, Path(partial))
            set_repository_id(partial, repository_id or output_dir.name)
        elif any(parameter.requires_grad for parameter in model.backbone.parameters()):
            model.save_pretrained(partial)
        else:
            _save_head(model, Path(partial))
        names = sorted(os.listdir(partial), key=lambda name: (name in _LAST_FILES, name))
        for name in names:
            # safetensors writes files that only their owner may read; the others in the folder set the example.
            os.chmod(os.path.join(partial, name), 0o666 & ~_umask())
            os.replace(os.path.join(partial, name), output_dir / name)
    _remove_other_kind(output_dir, is_adapter=isinstance(model, PeftModel))
    return [output_dir / name for name in names]


def _umask() -> int:
    """The process's mask for new files, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def set_repository_id(folder: str | os.PathLike[str], repository_id: str) -> None:
    """Makes an adapter's folder loadable under a Hub id.

    For an adapter on the Hub, transformers reads the model's config from the repository that `adapter_config.json`
    names as its base; ours is in the adapter's own repository. Full models are left as they are.
    """
    path = Path(folder) / "adapter_config.json"
    if not path.is_file():
        return
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings["base_model_name_or_path"] = repository_id
    write_text(path, json.dumps(settings, indent=2, sort_keys=True) + "\n")


def repository_of_adapter(folder: str | os.PathLike[str]) -> str | None:
    """Returns the Hub id, with its owner, that an adapter's folder was given; None where it has none."""
    path = Path(folder) / "adapter_config.json"
    if not path.is_file():
        return None
    name = json.loads(path.read_text(encoding="utf-8")).get("base_model_name_or_path") or ""
    return name if "/" in name else None


def _save_adapter(model: PeftModel, folder: Path) -> None:
    model.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # PEFT's empty card; ours is rendered from recorded facts
    classifier = model.get_base_model()
    classifier.config.architectures = [type(classifier).__name__]
    custom_object_save(classifier, folder, config=classifier.config)
    classifier.config.save_pretrained(folder)


def _save_head(model: NvvForAudioClassification, folder: Path) -> None:
    config = copy.deepcopy(model.config)
    config.saved_weights = "head"
    config.architectures = [type(model).__name__]
    weights = {f"head.{name}": weight.contiguous() for name, weight in model.head.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    custom_object_save(model, folder, config=config)
    config.save_pretrained(folder)


def _remove_other_kind(folder: Path, *, is_adapter: bool) -> None:
    """Weights of the other kind, left by an earlier run in the same folder, would be loaded instead."""
    others = (
        ("model.safetensors", "model.safetensors.index.json")
        if is_adapter
        else ("adapter_model.safetensors", "adapter_config.json")
    )
    for name in others:
        (folder / name).unlink(missing_ok=True)
    if is_adapter:
        for shard in folder.glob("model-*-of-*.safetensors*"):
            shard.unlink()
