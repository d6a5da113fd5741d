import numpy as np
import pytest

from nvv.segmentation.levels import LevelMeter, level_dbfs, move_ends_to_sound

RATE = 16_000


def test_levels_are_those_of_frames_whatever_the_blocks():
    waveform = np.random.default_rng(0).normal(0, 0.1, 10_000).astype(np.float32)
    waveform[:3200] *= 0.1
    meter = LevelMeter(sampling_rate=RATE)
    for block in np.split(waveform, [1, 2, 700, 5000]):
        meter.push(block)
    levels = meter.finish()
    frames = [waveform[at : at + 320] for at in range(0, 10_000, 320)]
    np.testing.assert_allclose(levels, [20 * np.log10(frame.std()) for frame in frames], atol=1e-3)
    assert len(meter.finish()) == len(levels)


def test_constant_offset_has_no_level_and_silence_the_lowest():
    assert level_dbfs(np.full(1000, 0.5, np.float32)) == -120.0
    assert level_dbfs(np.zeros(1, np.float32)) == -120.0
    # A sine of full scale is 3.01 dB below a square wave of full scale.
    sine = np.sin(2 * np.pi * np.arange(16_000) / 160).astype(np.float32)
    assert level_dbfs(sine + 0.3) == pytest.approx(-3.01, abs=0.01)


def levels_with(*sounds, seconds=10.0, floor=-60.0):
    levels = np.full(round(seconds / 0.02), floor, np.float32)
    for start, end, level in sounds:
        levels[round(start / 0.02) : round(end / 0.02)] = level
    return levels


def moved(start, end, levels, **options):
    return move_ends_to_sound(start, end, levels, **{"limit_s": 0.6, "context_s": 1.0, **options})


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (4.0, 6.0, (4.3, 5.7)),  # too wide
        (4.5, 5.5, (4.3, 5.7)),  # too narrow
        (4.0, 5.5, (4.3, 5.7)),  # too early
        (4.3, 5.7, (4.3, 5.7)),
        (3.6, 6.0, (3.6, 5.7)),  # 0.7 s are too far
        (4.95, 5.05, (4.95, 5.05)),  # too far on either side
    ],
)
def test_ends_move_to_where_the_sound_begins_and_stops(start, end, expected):
    assert moved(start, end, levels_with((4.3, 5.7, -20.0))) == pytest.approx(expected)


def test_short_quiet_within_a_sound_parts_nothing():
    # A cough of two bursts, 80 ms apart, and a third one 200 ms later.
    levels = levels_with((4.3, 4.6, -20.0), (4.68, 5.0, -25.0), (5.2, 5.4, -20.0))
    assert moved(4.7, 4.9, levels) == pytest.approx((4.3, 5.0))


def test_ends_stay_where_the_sound_goes_on_beyond_the_limit():
    levels = levels_with((2.0, 8.0, -20.0))
    assert moved(4.5, 5.5, levels, context_s=4.0) == (4.5, 5.5)


def test_ends_stay_where_the_stretch_is_hardly_louder_than_its_surroundings():
    assert moved(4.0, 6.0, levels_with((4.3, 5.7, -55.0))) == (4.0, 6.0)
    assert moved(4.0, 6.0, levels_with()) == (4.0, 6.0)


def test_soft_tail_counts_as_sound_and_noise_does_not():
    levels = levels_with((4.3, 5.0, -20.0), (5.0, 5.4, -50.0), (5.4, 6.0, -57.0))
    # From -60 to -20 dB: a seventh of that is 5.7 dB.
    assert moved(4.0, 6.0, levels) == pytest.approx((4.3, 5.4))


def test_ends_do_not_pass_their_bounds():
    levels = levels_with((4.0, 6.0, -20.0))
    assert moved(4.5, 5.5, levels, earliest_s=4.25, latest_s=5.75) == (4.25, 5.75)


def test_stretches_at_the_ends_of_a_recording_stay_within_it():
    levels = levels_with((0.0, 0.5, -20.0), (1.5, 2.0, -20.0), seconds=2.0)
    assert moved(0.0, 0.75, levels) == pytest.approx((0.0, 0.5))
    assert moved(1.25, 2.0, levels) == pytest.approx((1.5, 2.0))
    assert moved(0.0, 0.01, levels[:0]) == (0.0, 0.01)
