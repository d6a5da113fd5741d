"""Large speech models as classifiers of non-verbal vocalizations.

Importing it registers the model with transformers' Auto classes and does nothing else.
"""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, AutoModelForAudioClassification

from .configuration_nvv import NvvConfig
from .modeling_nvv import NvvForAudioClassification
from .version import __version__

AutoConfig.register(NvvConfig.model_type, NvvConfig, exist_ok=True)
AutoModelForAudioClassification.register(NvvConfig, NvvForAudioClassification, exist_ok=True)

_FROM_DATA = ("list_corpora", "load_corpus", "load_own_data")

__all__ = ["NvvConfig", "NvvForAudioClassification", "__version__", *_FROM_DATA]


def __getattr__(name: str) -> Any:
    """Imports the corpora's side on first use: `datasets` is slow to import and a model does not need it."""
    if name in _FROM_DATA:
        from . import data

        return getattr(data, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
