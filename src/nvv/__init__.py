"""Large speech models as classifiers of non-verbal vocalizations.

Importing it registers the model with transformers' Auto classes and does nothing else.
"""

from transformers import AutoConfig, AutoModelForAudioClassification

from .configuration_nvv import NvvConfig
from .modeling_nvv import NvvForAudioClassification
from .version import __version__

AutoConfig.register(NvvConfig.model_type, NvvConfig, exist_ok=True)
AutoModelForAudioClassification.register(NvvConfig, NvvForAudioClassification, exist_ok=True)

__all__ = ["NvvConfig", "NvvForAudioClassification", "__version__"]
