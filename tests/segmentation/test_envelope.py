import numpy as np
import pytest

from nvv.segmentation.envelope import WaveformEnvelope


@pytest.fixture
def waveform():
    return np.random.default_rng(0).standard_normal(10_007).astype(np.float32)


def by_hand(waveform, width):
    """Minimum and maximum of every `width` samples, the last ones fewer."""
    parts = [waveform[at : at + width] for at in range(0, len(waveform), width)]
    return [part.min() for part in parts], [part.max() for part in parts]


@pytest.mark.parametrize("block", [1, 7, 64, 1000, 20_000])
def test_outline_is_that_of_the_whole_when_it_comes_in_blocks(block, waveform):
    envelope = WaveformEnvelope(max_columns=64, sampling_rate=1000)
    for at in range(0, len(waveform), block):
        envelope.add(waveform[at : at + block])
    # 10,007 samples in at most 64 columns: 256 samples each, the next power of two after 157.
    low, high = by_hand(waveform, 256)
    assert envelope.seconds_per_column == 0.256
    assert envelope.minimum.tolist() == low
    assert envelope.maximum.tolist() == high
    assert envelope.num_samples == len(waveform)


@pytest.mark.parametrize("number", [0, 1, 63, 64, 65, 128, 129])
def test_outline_is_right_when_columns_are_just_full(number, waveform):
    envelope = WaveformEnvelope(max_columns=64)
    envelope.add(waveform[:number])
    width = round(envelope.seconds_per_column * 16_000)
    assert width == {0: 1, 1: 1, 63: 1, 64: 1, 65: 2, 128: 2, 129: 4}[number]
    assert (envelope.minimum.tolist(), envelope.maximum.tolist()) == by_hand(waveform[:number], width)


def test_outline_does_not_change_afterwards_when_it_was_taken(waveform):
    envelope = WaveformEnvelope(max_columns=4)
    envelope.add(waveform[:4])
    before = envelope.maximum
    envelope.add(waveform[4:])
    assert before.tolist() == waveform[:4].tolist()


@pytest.mark.parametrize("number", [0, 1, 5])
def test_number_of_columns_is_refused_when_pairs_cannot_be_joined(number):
    with pytest.raises(ValueError, match=f"expected an even number of at least 2, found {number}"):
        WaveformEnvelope(max_columns=number)
