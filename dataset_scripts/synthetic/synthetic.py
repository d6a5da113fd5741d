"""Synthetic vocalizations: eight classes by thirty invented voices, computed on the spot; no evidence about people.

There is no raw layout: the clips are made by ``nvv.data.synthesis`` and named
``<class>/voice<two digits>_<class>_<take>.wav``.
"""

from collections.abc import Iterable
from pathlib import Path

from nvv.audio import encode_wav
from nvv.data import Clip, CorpusBuilder, CorpusFacts
from nvv.data.synthesis import VOCALIZATIONS, synthesize

_NUM_VOICES = 30
_NUM_TAKES = 2


class Synthetic(CorpusBuilder):
    """480 computed clips: 8 classes, 30 voices, 2 takes."""

    FACTS = CorpusFacts(
        name="synthetic",
        pretty_name="Synthetic non-verbal vocalizations",
        licence="cc0-1.0",
        licence_url="https://creativecommons.org/publicdomain/zero/1.0/",
        summary=(
            "Computed sounds of eight classes by thirty invented voices, made by a small source-filter synthesizer. "
            "They exist for a first run and for tests."
        ),
        notes=("No person was recorded: a score on this corpus is no evidence about any classifier of human sounds.",),
        is_synthetic=True,
    )
    LABELS = VOCALIZATIONS

    def list_clips(self, root: Path) -> Iterable[Clip]:  # noqa: ARG002
        """Name every clip that the synthesizer will make; see the base class."""
        return [
            Clip(
                file=f"{label}/voice{voice:02d}_{label}_{take}.wav",
                speaker_id=f"voice{voice:02d}",
                label=label,
            )
            for label in VOCALIZATIONS
            for voice in range(_NUM_VOICES)
            for take in range(_NUM_TAKES)
        ]

    def read_clip(self, clip: Clip) -> bytes:
        """Compute a clip as a 16-bit WAV file."""
        voice, label, take = clip.file.rpartition("/")[2].removesuffix(".wav").split("_")
        return encode_wav(synthesize(label, int(voice.removeprefix("voice")), take=int(take)))
