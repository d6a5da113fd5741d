"""Whisper's log-mel front-end for batches of clips of unequal length, computed on the model's device.

Equal to `WhisperFeatureExtractor` on the clip padded with zeros (tested), cut to the clip's own frames: the same
numbers as the stock features' first frames, whatever else is in the batch. Part of the remote-code bundle: imports
only torch and transformers.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch.nn import functional as F
from transformers.audio_utils import mel_filter_bank

HOP_LENGTH = 160
"""Samples between log-mel frames: 10 ms at 16 kHz."""
WINDOW_LENGTH = 400
"""Samples in one analysis window: 25 ms at 16 kHz."""
_SAMPLING_RATE = 16_000


@lru_cache(maxsize=8)
def _filters(num_mel_bins: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Mel filters `(num_mel_bins, 201)` and Hann window `(400,)`, made once a device."""
    filters = mel_filter_bank(
        num_frequency_bins=1 + WINDOW_LENGTH // 2,
        num_mel_filters=num_mel_bins,
        min_frequency=0.0,
        max_frequency=8000.0,
        sampling_rate=_SAMPLING_RATE,
        norm="slaney",
        mel_scale="slaney",
    )
    # The filters outlive the call that made them; made under inference_mode they could never be used in training.
    with torch.inference_mode(False):
        mel = torch.from_numpy(filters.T).to(device, torch.float32)
        return mel, torch.hann_window(WINDOW_LENGTH, device=device)


def log_mel_spectrogram(waveform: torch.Tensor, *, num_mel_bins: int, continue_with_silence: bool) -> torch.Tensor:
    """Whisper's log-mel features.

    Args:
        waveform: `(batch, samples)` at 16 kHz, zeros after each clip's end.
        num_mel_bins: 80, or 128 for large-v3.
        continue_with_silence: True where the clips end inside or at the end of the tensor and silence is thought to
            follow (masked padding): the last window then sees zeros for the longest clip as for all others. False
                where the tensor
            itself is the whole recording (stock behaviour: the last window sees a reflection).

    Returns:
        `(batch, num_mel_bins, ceil(samples / 160))` in fp32.
    """
    num_frames = -(-waveform.shape[-1] // HOP_LENGTH)
    with torch.autocast(device_type=waveform.device.type, enabled=False):
        mel, window = _filters(num_mel_bins, waveform.device)
        waveform = waveform.float()
        # A whole number of hops, and with `continue_with_silence` one window of zeros for the last frames to look into.
        padding = num_frames * HOP_LENGTH - waveform.shape[-1] + (WINDOW_LENGTH if continue_with_silence else 0)
        waveform = F.pad(waveform, (0, padding))
        spectrum = torch.stft(waveform, WINDOW_LENGTH, HOP_LENGTH, window=window, return_complex=True)
        # The last frame is dropped as in the stock extractor; real² + imag² spares the square root that abs() takes.
        power = torch.view_as_real(spectrum[..., :-1]).square().sum(dim=-1)
        features = (mel @ power).clamp_(min=1e-10).log10_()
        # Over all frames, the tail after the clip's last frame included: silence there never is the maximum.
        loudest = features.amax(dim=(1, 2), keepdim=True)
        features = torch.maximum(features, loudest - 8.0)
        return ((features + 4.0) / 4.0)[..., :num_frames]
