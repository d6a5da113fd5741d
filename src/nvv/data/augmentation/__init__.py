"""Transforms of a clip: for testing robustness, each by itself; for training, drawn by `Augmentation`.

Every transform takes a float32 mono waveform at 16 kHz (samples,) and returns a new one; what is random comes from a
`np.random.Generator`, so that the same generator gives the same samples. `shift` and `change_speed` change the length,
the others do not, and none moves the sound.
"""

from .augment import DEFAULT_PROBABILITY, TRANSFORMS, Augmentation
from .channels import change_gain, low_pass, telephone_band
from .checks import AugmentationError
from .codecs import CODECS, codecs_available, coded
from .mixing import mix_clips, mixing_weight
from .noise import NOISE_COLORS, add_babble, add_noise
from .rooms import reverberate, room_response
from .timing import change_speed, shift

__all__ = [
    "CODECS",
    "DEFAULT_PROBABILITY",
    "NOISE_COLORS",
    "TRANSFORMS",
    "Augmentation",
    "AugmentationError",
    "add_babble",
    "add_noise",
    "change_gain",
    "change_speed",
    "codecs_available",
    "coded",
    "low_pass",
    "mix_clips",
    "mixing_weight",
    "reverberate",
    "room_response",
    "shift",
    "telephone_band",
]
