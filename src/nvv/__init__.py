"""Large speech models as classifiers of non-verbal vocalizations.

Importing it registers the model with transformers' Auto classes and does nothing else. Only the `nvv` command puts that
off until a subcommand runs: its help is not to wait for torch.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from .version import __version__

_HOMES = {
    "NvvConfig": "configuration_nvv",
    "NvvForAudioClassification": "modeling_nvv",
    "list_corpora": "data",
    "load_corpus": "data",
    "load_own_data": "data",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    """Imports on first use: `datasets` is slow to import and a model does not need it, the command's help neither."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def register_auto_classes() -> None:
    """Make the Auto classes of transformers know the model; a second call changes nothing."""
    from transformers import AutoConfig, AutoModelForAudioClassification

    from .configuration_nvv import NvvConfig
    from .modeling_nvv import NvvForAudioClassification

    AutoConfig.register(NvvConfig.model_type, NvvConfig, exist_ok=True)
    AutoModelForAudioClassification.register(NvvConfig, NvvForAudioClassification, exist_ok=True)


def _is_command() -> bool:
    """Say whether this process is the installed `nvv` script or `python -m nvv`."""
    if sys.argv[:1] == ["-m"]:  # while the module to run is still being looked for
        return "nvv" in sys.orig_argv[1:] and sys.orig_argv[sys.orig_argv.index("nvv") - 1] == "-m"
    return bool(sys.argv) and Path(sys.argv[0]).stem == "nvv"


if not _is_command():
    register_auto_classes()
