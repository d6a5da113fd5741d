from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from nvv.data.augmentation import AugmentationError, mix_clips, mixing_weight


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_weights_are_distributed_as_the_larger_part_of_a_beta_draw(alpha):
    generator = np.random.default_rng(0)
    weights = [mixing_weight(generator, alpha=alpha) for _ in range(2_000)]
    assert 0.5 <= min(weights) <= max(weights) <= 1
    # P(max(λ, 1-λ) <= w) = F(w) - F(1-w) for w in [0.5, 1], F the Beta distribution.
    beta = stats.beta(alpha, alpha)
    assert stats.kstest(weights, lambda w: beta.cdf(w) - beta.cdf(1 - w)).pvalue > 0.01


def test_clips_of_one_length_are_added_in_their_shares(sound):
    one, two = sound(500, 1), sound(500, 2)
    mixture = mix_clips(one, two, weight=0.7, generator=np.random.default_rng(0))
    assert mixture.dtype == np.float32
    np.testing.assert_allclose(mixture, 0.7 * one + 0.3 * two, atol=1e-6)


def test_mixture_is_as_long_as_the_first_clip(sound):
    short, long = sound(300, 1), sound(1_000, 2)
    kept = short.copy(), long.copy()
    for seed in range(4):
        cut = (mix_clips(short, long, weight=0.6, generator=np.random.default_rng(seed)) - 0.6 * short) / 0.4
        windows = np.lib.stride_tricks.sliding_window_view(long, 300)
        assert np.abs(windows - cut).max(axis=1).min() < 1e-5
        rest = (mix_clips(long, short, weight=0.6, generator=np.random.default_rng(seed)) - 0.6 * long) / 0.4
        start = int(np.flatnonzero(np.abs(rest) > 1e-5)[0])
        np.testing.assert_allclose(rest[start : start + 300], short, atol=1e-5)
        np.testing.assert_allclose(np.delete(rest, np.s_[start : start + 300]), 0, atol=1e-6)
    np.testing.assert_array_equal(short, kept[0])
    np.testing.assert_array_equal(long, kept[1])


def test_shares_out_of_range_are_errors(sound):
    with pytest.raises(AugmentationError, match="weight: expected a number between 0 and 1"):
        mix_clips(sound(), sound(), weight=1.5, generator=np.random.default_rng(0))
    with pytest.raises(AugmentationError, match="mixup_alpha: expected a number above 0, found 0"):
        mixing_weight(np.random.default_rng(0), alpha=0)
