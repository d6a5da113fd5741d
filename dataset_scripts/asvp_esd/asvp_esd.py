"""ASVP-ESD, non-speech clips of ``Audio``: thirteen emotions in sounds cut from films, television and the web.

Raw layout: ``Audio/actor_<number>/<name>.wav``; the names are described in ``nvv.data.asvp_esd``. Source: readers of
the corpus that others published, and the file names of the newest release.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import ClassVar

import datasets

from nvv.data import Clip, CorpusBuilder, CorpusFacts, Excluded
from nvv.data.asvp_esd import CITATION, EMOTIONS, HOMEPAGE, METADATA, OBTAIN, list_half


class AsvpEsd(CorpusBuilder):
    """7,545 clips of 13 classes by 129 actors in the release of 13,964 files."""

    FACTS = CorpusFacts(
        name="asvp_esd",
        pretty_name="ASVP-ESD (non-speech)",
        licence="unknown",
        homepage=HOMEPAGE,
        citation=CITATION,
        summary=(
            "Emotional non-speech sounds of thirteen kinds, cut from films, television and the web and sorted by "
            "actor; the speech of the same release is left out."
        ),
        obtain=OBTAIN,
        terms=(
            "Third parties report CC BY 4.0 or academic use only, neither was seen here, and the recordings come from "
            "films, television and video sites: check that you may use them."
        ),
        no_public_copies=(
            "The recordings were cut from films, television and video sites, whose owners are not known to have agreed."
        ),
        notes=(
            "Actor numbers are the release's. They group clips from the web, so splits by speaker are only as "
            "independent as those numbers are right: in the release of 13,964 files 186 clips lie in the folder of "
            "another actor, and `speaker_id` is the number in the file name.",
            "The language codes are disputed and kept as codes. Intensities, ages and sources outside the documented "
            "codes (11, 7 and 3 clips there) are kept as text, with the readable column empty.",
            "The meaning of the extra fields is not documented; that a last field of 66 marks mixed voices and one of "
            "77 noise is reported by others.",
            "Clips run from 0.14 to 35.7 s there; 13 % are longer than 7 s.",
        ),
    )
    LABELS = tuple(EMOTIONS.values())
    METADATA: ClassVar[Mapping[str, datasets.Value]] = METADATA
    ROOT_MARKERS = ("Audio/actor_*/*.wav",)
    LAYOUT = (
        "a folder Audio/ with one folder of WAV files per actor (Audio/actor_8/03-02-03-01-01-08-02-02-02-13.wav); "
        "the other half of the release, Bonus/, is the corpus asvp_esd_babies."
    )

    def list_clips(self, root: Path) -> Iterable[Clip | Excluded]:
        """Parse the file names below ``root/Audio``; see the base class."""
        return list_half(root, "Audio", labels=self.LABELS, columns=tuple(self.METADATA), with_speech=False)
