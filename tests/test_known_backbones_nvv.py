import pytest
import torch
import torchaudio

from nvv.backbones_nvv import BACKBONE_CLASSES
from nvv.known_backbones_nvv import KNOWN_BACKBONES, known_backbone_config


def count_parameters(backbone_id: str) -> int:
    config = known_backbone_config(backbone_id)
    with torch.device("meta"):
        backbone = BACKBONE_CLASSES[config.model_type](config)
    return sum(p.numel() for name, p in backbone.named_parameters() if name != "masked_spec_embed")


@pytest.mark.parametrize(
    ("backbone_id", "torchaudio_factory"),
    [
        ("facebook/wav2vec2-base", torchaudio.models.wav2vec2_base),
        ("facebook/wav2vec2-large", torchaudio.models.wav2vec2_large),
        ("facebook/wav2vec2-large-xlsr-53", torchaudio.models.wav2vec2_large_lv60k),
        ("facebook/wav2vec2-xls-r-300m", torchaudio.models.wav2vec2_xlsr_300m),
        ("facebook/hubert-base-ls960", torchaudio.models.hubert_base),
        ("microsoft/wavlm-base-plus", torchaudio.models.wavlm_base),
        ("microsoft/wavlm-large", torchaudio.models.wavlm_large),
    ],
)
def test_known_backbone_has_the_size_of_torchaudios_own_model(backbone_id, torchaudio_factory):
    with torch.device("meta"):
        expected = sum(parameter.numel() for parameter in torchaudio_factory().parameters())
    assert count_parameters(backbone_id) == expected


def test_known_whisper_tiny_has_its_published_size():
    # conv1 80·384·3 + 384, conv2 384·384·3 + 384, positions 1500·384, 4 layers of
    # attention 4·384² + 3·384 (no key bias), feed-forward 2·384·1536 + 1536 + 384 and
    # two norms 2·2·384, last norm 2·384
    layer = 4 * 384**2 + 3 * 384 + 2 * 384 * 1536 + 1536 + 384 + 4 * 384
    expected = 80 * 384 * 3 + 384 + 384 * 384 * 3 + 384 + 1500 * 384 + 4 * layer + 2 * 384
    assert count_parameters("openai/whisper-tiny") == expected


@pytest.mark.parametrize("backbone_id", KNOWN_BACKBONES)
def test_known_backbone_can_be_built(backbone_id):
    assert count_parameters(backbone_id) > 1_000_000


def test_unknown_backbone_is_an_error_naming_the_nearest():
    with pytest.raises(ValueError, match=r"'openai/whisper-tinny' is not known offline\. Known: openai/whisper-tiny"):
        known_backbone_config("openai/whisper-tinny")
