import numpy as np
import pytest
import torch
from transformers import WhisperFeatureExtractor

from nvv.frontend_nvv import log_mel_spectrogram


@pytest.fixture(scope="module")
def stock() -> WhisperFeatureExtractor:
    return WhisperFeatureExtractor(feature_size=80)


@pytest.mark.parametrize("num_samples", [1, 159, 160, 161, 5_000, 16_000, 47_999])
def test_log_mel_equals_the_stock_features_first_frames(stock, num_samples):
    clip = 0.1 * torch.randn(1, num_samples, generator=torch.Generator().manual_seed(num_samples))
    features = log_mel_spectrogram(clip, num_mel_bins=80, continue_with_silence=True)
    expected = stock(clip[0].numpy(), sampling_rate=16_000, return_tensors="pt").input_features
    assert features.shape == (1, 80, -(-num_samples // 160))
    torch.testing.assert_close(features, expected[..., : features.shape[-1]], atol=2e-5, rtol=0)


def test_log_mel_equals_the_stock_features_when_the_tensor_is_the_whole_recording(stock):
    clip = 0.1 * torch.randn(2, 30 * 16_000, generator=torch.Generator().manual_seed(0))
    features = log_mel_spectrogram(clip, num_mel_bins=80, continue_with_silence=False)
    expected = stock(list(clip.numpy()), sampling_rate=16_000, return_tensors="pt").input_features
    torch.testing.assert_close(features, expected, atol=2e-5, rtol=0)


def test_log_mel_is_finite_and_flat_when_the_clip_is_silent():
    features = log_mel_spectrogram(torch.zeros(1, 4_000), num_mel_bins=80, continue_with_silence=True)
    # log10 of the floor 1e-10 is -10 everywhere, (−10 + 4) / 4 = −1.5
    torch.testing.assert_close(features, torch.full_like(features, -1.5))


def test_log_mel_stays_in_fp32_under_autocast():
    clip = torch.randn(1, 4_000)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = log_mel_spectrogram(clip, num_mel_bins=80, continue_with_silence=True)
    assert features.dtype == torch.float32
    expected = log_mel_spectrogram(clip, num_mel_bins=80, continue_with_silence=True)
    np.testing.assert_array_equal(features.numpy(), expected.numpy())


def test_log_mel_filters_train_when_first_made_under_inference_mode():
    with torch.inference_mode():
        log_mel_spectrogram(torch.randn(1, 4_000), num_mel_bins=33, continue_with_silence=True)
    clip = torch.randn(1, 4_000, requires_grad=True)
    log_mel_spectrogram(clip, num_mel_bins=33, continue_with_silence=True).sum().backward()
    assert clip.grad.abs().sum() > 0
