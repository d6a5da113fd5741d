"""Architectures of published backbones by Hub id, so that one can be built at its true size without a network.

Only for `random_init`: pretrained backbones are configured by their own repositories. Sizes are facts of the released
checkpoints' `config.json`; whatever the table leaves out is the default of transformers' config class. Part of the
remote-code bundle: imports only transformers.
"""

from __future__ import annotations

import difflib
from typing import Any

from transformers import CONFIG_MAPPING, PreTrainedConfig


def _whisper(width: int, layers: int, heads: int, **others: Any) -> dict[str, Any]:
    return {
        "model_type": "whisper",
        "d_model": width,
        "encoder_layers": layers,
        "decoder_layers": layers,
        "encoder_attention_heads": heads,
        "decoder_attention_heads": heads,
        "encoder_ffn_dim": 4 * width,
        "decoder_ffn_dim": 4 * width,
        "num_mel_bins": 80,
        "max_source_positions": 1500,
        **others,
    }


def _convolutional(model_type: str, *, large: bool = False, pre_norm: bool = False, **others: Any) -> dict[str, Any]:
    """Base size, or large; with a group norm in the front-end, or pre-norm with layer norms throughout."""
    size = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
    if large:
        size = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
    norm = {"feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False}
    if pre_norm:
        norm = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
    return {"model_type": model_type, **size, **norm, **others}


_KNOWN: dict[str, dict[str, Any]] = {
    "openai/whisper-tiny": _whisper(384, 4, 6),
    "openai/whisper-base": _whisper(512, 6, 8),
    "openai/whisper-small": _whisper(768, 12, 12),
    "openai/whisper-medium": _whisper(1024, 24, 16),
    "openai/whisper-large-v2": _whisper(1280, 32, 20),
    "openai/whisper-large-v3": _whisper(1280, 32, 20, num_mel_bins=128),
    "facebook/wav2vec2-base": _convolutional("wav2vec2"),
    "facebook/wav2vec2-base-960h": _convolutional("wav2vec2"),
    "facebook/wav2vec2-large": _convolutional("wav2vec2", large=True),
    "facebook/wav2vec2-large-lv60": _convolutional("wav2vec2", large=True, pre_norm=True),
    "facebook/wav2vec2-large-robust": _convolutional("wav2vec2", large=True, pre_norm=True),
    "facebook/wav2vec2-large-xlsr-53": _convolutional("wav2vec2", large=True, pre_norm=True),
    "facebook/wav2vec2-xls-r-300m": _convolutional("wav2vec2", large=True, pre_norm=True),
    # Cut to 12 of 24 layers and tuned to arousal, dominance and valence (Wagner et al. 2023).
    "audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim": _convolutional(
        "wav2vec2", large=True, pre_norm=True, num_hidden_layers=12
    ),
    "facebook/hubert-base-ls960": _convolutional("hubert"),
    "facebook/hubert-large-ls960-ft": _convolutional("hubert", large=True, pre_norm=True),
    "microsoft/wavlm-base": _convolutional("wavlm"),
    "microsoft/wavlm-base-plus": _convolutional("wavlm"),
    "microsoft/wavlm-large": _convolutional("wavlm", large=True, pre_norm=True, conv_bias=False),
    # Pre-trained on 125 hours of vocalizations (Koudounas et al. 2025), ReCANVo and VocalSound among them.
    "alkiskoudounas/voc2vec": _convolutional("wav2vec2"),
    "alkiskoudounas/voc2vec-as-pt": _convolutional("wav2vec2"),
    "alkiskoudounas/voc2vec-ls-pt": _convolutional("wav2vec2"),
    "alkiskoudounas/voc2vec-hubert-ls-pt": _convolutional("hubert"),
    "microsoft/unispeech-large-1500h-cv": _convolutional("unispeech", large=True, pre_norm=True),
    "microsoft/unispeech-sat-base": _convolutional("unispeech-sat"),
    "microsoft/unispeech-sat-base-plus": _convolutional("unispeech-sat"),
    "microsoft/unispeech-sat-large": _convolutional("unispeech-sat", large=True, pre_norm=True),
}

KNOWN_BACKBONES = tuple(_KNOWN)
"""Hub ids that `known_backbone_config` answers for."""


def known_backbone_config(backbone_id: str) -> PreTrainedConfig:
    """The config of a published backbone, from the table alone.

    Args:
        backbone_id: A Hub id among `KNOWN_BACKBONES`.

    Raises:
        ValueError: The id is not in the table; the message names the nearest ones.
    """
    if backbone_id not in _KNOWN:
        near = difflib.get_close_matches(backbone_id, KNOWN_BACKBONES, n=3) or KNOWN_BACKBONES
        raise ValueError(
            f"The architecture of {backbone_id!r} is not known offline. Known: {', '.join(near)}. "
            "Otherwise name a folder that holds the backbone's config.json."
        )
    fields = dict(_KNOWN[backbone_id])
    return CONFIG_MAPPING[fields["model_type"]](**fields)
