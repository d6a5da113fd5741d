import hashlib
import subprocess
import sys

import numpy as np
import pytest

from nvv.data.synthesis import VOCALIZATIONS, invent_voice, synthesize


@pytest.mark.parametrize("vocalization", VOCALIZATIONS)
def test_sound_has_promised_length_and_level(vocalization):
    for voice in (0, 17):
        sound = synthesize(vocalization, voice)
        assert sound.dtype == np.float32
        assert 0.4 * 16_000 <= len(sound) <= 4.0 * 16_000
        assert 0.05 < np.abs(sound).max() < 1.0
        assert np.isfinite(sound).all()


def test_sound_is_the_same_in_a_new_process():
    code = "import hashlib; from nvv.data.synthesis import synthesize; "
    code += "print(hashlib.sha256(synthesize('cry', 5, take=1).tobytes()).hexdigest())"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()[-1]
    assert found == hashlib.sha256(synthesize("cry", 5, take=1).tobytes()).hexdigest()


def test_sounds_differ_between_takes_voices_and_classes():
    sounds = [synthesize("hum", 1), synthesize("hum", 1, take=1), synthesize("hum", 2), synthesize("moan", 1)]
    assert len({sound.tobytes() for sound in sounds}) == 4


def test_voices_differ_and_repeat():
    voices = [invent_voice(number) for number in range(30)]
    assert len(set(voices)) == 30
    assert invent_voice(3) == voices[3]
    assert all(85 <= voice.f0_hz <= 360 and 12 < voice.vocal_tract_cm < 19 for voice in voices)


def test_hum_has_less_high_energy_than_scream():
    # The nose and closed lips take the high frequencies away; a scream is rich in them.
    def share_above_2khz(name):
        shares = []
        for voice in range(6):
            power = np.abs(np.fft.rfft(synthesize(name, voice))) ** 2
            shares.append(power[len(power) // 4 :].sum() / power.sum())
        return np.median(shares)

    assert share_above_2khz("hum") < 0.5 * share_above_2khz("scream")


def test_arguments_are_refused_when_unknown_or_negative():
    with pytest.raises(ValueError, match="Unknown vocalization 'burp'; there are laugh"):
        synthesize("burp", 0)
    with pytest.raises(ValueError, match="take"):
        synthesize("hum", 0, take=-1)
    with pytest.raises(ValueError, match="number"):
        invent_voice(-1)
