import numpy as np
import pytest

from nvv.audio import SAMPLING_RATE
from nvv.data.gestures import GESTURES, MAX_SECONDS
from nvv.data.synthesis import invent_voice


@pytest.mark.parametrize("name", GESTURES)
def test_gesture_has_contours_of_one_length_within_bounds(name):
    lengths = set()
    for number in range(10):
        gesture = GESTURES[name](invent_voice(number), np.random.default_rng(number))
        length = len(gesture.f0_hz)
        for contour in (gesture.voicing, gesture.noise, gesture.openness, gesture.frontness):
            assert contour.shape == (length,)
        assert 0.25 * SAMPLING_RATE <= length <= MAX_SECONDS * SAMPLING_RATE
        assert 40 < gesture.f0_hz.min() <= gesture.f0_hz.max() < 2_500
        assert gesture.voicing.min() >= 0
        assert gesture.noise.min() >= 0
        assert 0 <= gesture.nasality <= 1
        lengths.add(length)
    assert len(lengths) > 5


def energy_ratio(name: str) -> float:
    """Voice to breath over twenty performances."""
    gestures = [GESTURES[name](invent_voice(number), np.random.default_rng(number)) for number in range(20)]
    return sum(g.voicing.sum() for g in gestures) / sum(g.noise.sum() for g in gestures)


def test_voiced_classes_have_more_voice_than_breathy_ones():
    assert min(map(energy_ratio, ("scream", "cry", "moan", "hum"))) > 1.5
    assert max(map(energy_ratio, ("sigh", "gasp", "cough"))) < 1.0
