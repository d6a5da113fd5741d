"""Fixtures that every test may use: tiny encoders of each family, clips of unequal length, and the offline switch."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import CONFIG_MAPPING, PreTrainedConfig

from nvv import NvvConfig, NvvForAudioClassification

FAMILIES = ("whisper", "wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat")
VARIANTS = {
    # base-sized checkpoints: group norm in the front-end, post-norm layers
    "post_norm": {"feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False},
    # large ones: layer norm throughout the front-end, pre-norm layers
    "pre_norm": {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True},
}
FAMILY_VARIANTS = [("whisper", "pre_norm")] + [
    (family, variant) for family in FAMILIES if family != "whisper" for variant in VARIANTS
]


def make_tiny_backbone_config(family: str, variant: str = "post_norm", **changes) -> PreTrainedConfig:
    """An encoder of 32 channels and 3 layers; Whisper's position table holds 3 s."""
    if family == "whisper":
        fields = {
            "d_model": 32,
            "encoder_layers": 3,
            "num_hidden_layers": 3,
            "decoder_layers": 1,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 64,
            "decoder_ffn_dim": 64,
            "num_mel_bins": 16,
            "max_source_positions": 150,
            "vocab_size": 64,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "decoder_start_token_id": 1,
        }
    else:
        fields = {
            "hidden_size": 32,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "intermediate_size": 64,
            "conv_dim": [16] * 7,
            "num_conv_pos_embeddings": 16,
            "num_conv_pos_embedding_groups": 4,
            "vocab_size": 32,
            **VARIANTS[variant],
        }
    return CONFIG_MAPPING[family](**{**fields, **changes})


def randomise_weights(model: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Draws every weight anew, so that zero biases and unit gains hide nothing."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            offset = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            parameter.copy_(offset + 0.15 * noise)
    return model


def pad_clips(clips: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    """A batch as the feature extractor pads it, `input_values` and `attention_mask`."""
    longest = max(len(clip) for clip in clips)
    values = torch.stack([torch.nn.functional.pad(clip, (0, longest - len(clip))) for clip in clips])
    mask = torch.stack([(torch.arange(longest) < len(clip)).long() for clip in clips])
    return {"input_values": values, "attention_mask": mask}


@pytest.fixture
def tiny_backbone_config() -> Callable[..., PreTrainedConfig]:
    """The function that makes a tiny backbone config of a family and variant."""
    return make_tiny_backbone_config


@pytest.fixture(params=FAMILY_VARIANTS, ids=["-".join(pair) for pair in FAMILY_VARIANTS])
def family_variant(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Each family in each of its layouts, one test run for each."""
    return request.param


@pytest.fixture
def every_backbone_config(family_variant: tuple[str, str]) -> PreTrainedConfig:
    """A tiny config of each family in each of its layouts."""
    return make_tiny_backbone_config(*family_variant)


@pytest.fixture
def tiny_model() -> Callable[..., NvvForAudioClassification]:
    """The function that makes a classifier from a backbone config, with random weights throughout."""

    def make(backbone_config: PreTrainedConfig, **fields) -> NvvForAudioClassification:
        defaults = {"projection_size": 24, "max_seconds": 3.0, "padding_seconds": 3.0}
        if "id2label" not in fields:
            defaults["num_labels"] = 5
        config = NvvConfig(backbone_config=backbone_config, **{**defaults, **fields})
        return randomise_weights(NvvForAudioClassification(config)).eval()

    return make


@pytest.fixture
def make_model() -> Callable[..., NvvForAudioClassification]:
    """The function that makes the same small classifier of a family and variant again and again, in evaluation mode."""

    def make(family="whisper", variant="pre_norm", *, backbone=None, **fields) -> NvvForAudioClassification:
        backbone_config = make_tiny_backbone_config(family, variant, **(backbone or {}))
        config = NvvConfig(backbone_config=backbone_config, num_labels=4, max_seconds=3.0, **fields)
        model = NvvForAudioClassification(config)
        torch.manual_seed(0)  # what is drawn after this call is the same each time, too
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                # Stronger than the usual initialisation, so that a change anywhere is seen in the logits.
                parameter.normal_(1.0 if "norm" in name and name.endswith("weight") else 0.0, 0.15)
        return model.eval()

    return make


@pytest.fixture
def batch(unequal_clips) -> dict[str, torch.Tensor]:
    """Three clips of 0.41, 0.06 and 1.2 s, padded to the longest, with labels."""
    return {**pad_clips([unequal_clips[1], unequal_clips[3], unequal_clips[2]]), "labels": torch.tensor([0, 1, 2])}


@pytest.fixture
def randomise() -> Callable[..., torch.nn.Module]:
    """The function that draws every weight of a model anew."""
    return randomise_weights


@pytest.fixture
def pad() -> Callable[[list[torch.Tensor]], dict[str, torch.Tensor]]:
    """The function that pads clips to a batch with its mask."""
    return pad_clips


@pytest.fixture
def unequal_clips() -> list[torch.Tensor]:
    """Five clips at 16 kHz of 1.93, 0.41, 1.2, 0.06 and 0.01 s, of different loudness."""
    generator = torch.Generator().manual_seed(7)
    seconds_and_gain = [(1.93, 0.3), (0.41, 0.05), (1.2, 0.9), (0.06, 0.2), (0.01, 0.2)]
    return [gain * torch.randn(int(16_000 * s), generator=generator) for s, gain in seconds_and_gain]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Compute in one thread: two on a shared machine wait for each other longer than tiny models compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def run_elsewhere(tmp_path: Path) -> Callable[..., Any]:
    """Run a script in a new Python process with a Hugging Face home of its own, and return the JSON it prints last."""

    def run(script: str, *arguments: str | Path) -> Any:
        environment = {**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        environment.pop("HF_MODULES_CACHE", None)
        done = subprocess.run(
            [sys.executable, "-c", script, *map(str, arguments)],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real recordings; skips where it is missing."""
    folder = Path(os.environ.get("NVV_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real recordings not found at {folder}; set NVV_TEST_DATA")
    return folder
