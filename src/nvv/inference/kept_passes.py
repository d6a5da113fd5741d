"""What finished passes over a split answered, kept in small files until the report that needs them all is written.

A pass is one condition under which a model heard every clip. Its file holds the logits and a digest of everything they
depend on: the model's weights, the clips' samples, the condition. So a run that was interrupted goes on where it was,
and a file of another model, another corpus or other settings, or a damaged one, is never taken. Own work.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from transformers import PreTrainedModel
from transformers.feature_extraction_sequence_utils import SequenceFeatureExtractor

from ..files import replaced_when_complete
from ..training.dataset import ClipDataset
from ..version import __version__

__all__ = ["KeptPasses", "clips_digest", "model_digest"]

# Says where a model was loaded from or by which version, not what it computes.
_NO_MATTER = ("_name_or_path", "transformers_version", "_attn_implementation_autoset")


def model_digest(model: PreTrainedModel, feature_extractor: SequenceFeatureExtractor) -> str:
    """Return SHA-256 of a model's weights and config and of its feature extractor (64 hexadecimal digits)."""
    digest = hashlib.sha256()
    config = {name: value for name, value in model.config.to_dict().items() if name not in _NO_MATTER}
    for settings in (config, feature_extractor.to_dict()):
        digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def clips_digest(clips: ClipDataset) -> str:
    """Return SHA-256 of the names and samples of clips as they are heard (64 hexadecimal digits)."""
    digest = hashlib.sha256()
    for index, file in enumerate(clips.files):
        waveform = np.ascontiguousarray(clips.from_start(index))
        digest.update(f"{file}\0{waveform.size}\0".encode())
        digest.update(waveform)
    return digest.hexdigest()


class KeptPasses:
    """A folder of finished passes.

    Args:
        folder: where they are kept; made when the first is written. None: nothing is kept.
        settings: everything that all passes depend on.
    """

    def __init__(self, folder: Path | None, *, settings: Mapping[str, Any]) -> None:
        self._folder = folder
        self._settings = {**settings, "nvv": __version__}

    def read(self, name: str, condition: Mapping[str, Any]) -> NDArray[np.float32] | None:
        """Return the logits of a finished pass (clips, outputs); None where there is no such one.

        Args:
            name: the file's name, without suffix.
            condition: what the pass depends on beside the settings.
        """
        if self._folder is None or not self._file(name).is_file():
            return None
        try:
            with safe_open(self._file(name), framework="numpy") as file:
                logits = file.get_tensor("logits")
                found = file.metadata() or {}
        except (SafetensorError, OSError):
            return None  # cut off; it is computed again
        is_same = found.get("settings") == self._digest(condition) and found.get("content") == _content(logits)
        return logits if is_same else None

    def write(self, name: str, condition: Mapping[str, Any], logits: NDArray[np.float32]) -> None:
        """Keep a finished pass.

        Args:
            name: as in `read`.
            condition: as in `read`.
            logits: (clips, outputs).
        """
        if self._folder is None:
            return
        marks = {"settings": self._digest(condition), "content": _content(logits)}
        with replaced_when_complete(self._file(name)) as temporary:
            save_file({"logits": np.ascontiguousarray(logits, dtype=np.float32)}, temporary, metadata=marks)

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.safetensors"

    def _digest(self, condition: Mapping[str, Any]) -> str:
        text = json.dumps({**self._settings, **condition}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def _content(logits: NDArray[np.float32]) -> str:
    values = np.ascontiguousarray(logits, dtype=np.float32)
    return hashlib.sha256(f"{values.shape}".encode() + values.tobytes()).hexdigest()
