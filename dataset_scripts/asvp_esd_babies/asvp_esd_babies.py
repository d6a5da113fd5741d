"""ASVP-ESD, ``Bonus``: sounds of babies, nearly all of them crying, cut from the web.

Raw layout: ``Bonus/actor_<number>/<name>.wav``; the names are described in ``nvv.data.asvp_esd``. Source: readers of
the corpus that others published, and the file names of the newest release.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import ClassVar

import datasets

from nvv.data import Clip, CorpusBuilder, CorpusFacts, Excluded
from nvv.data.asvp_esd import CITATION, HOMEPAGE, METADATA, OBTAIN, list_half


class AsvpEsdBabies(CorpusBuilder):
    """1,338 clips of 6 classes under 3 actor numbers in the release of 13,964 files."""

    FACTS = CorpusFacts(
        name="asvp_esd_babies",
        pretty_name="ASVP-ESD (babies)",
        licence="unknown",
        homepage=HOMEPAGE,
        citation=CITATION,
        summary="Sounds of babies of six kinds, cut from the web; 88 % of the clips are cries.",
        obtain=OBTAIN,
        terms=(
            "Third parties report CC BY 4.0 or academic use only, neither was seen here, and the recordings of "
            "children come from video sites: check that you may use them."
        ),
        no_public_copies=(
            "The recordings of children were cut from video sites, whose owners are not known to have agreed."
        ),
        notes=(
            "The three actor numbers (50, 150, 200) are no three babies: each groups clips from the web. "
            "The `speaker` config keeps the numbers apart and cannot give every class to every split; the folds "
            "are ten random ones, the protocol of voc2vec, so a baby may be in two of them.",
            "In the release of 13,964 files 1,180 of 1,338 clips are `sad_cry` and two are `pain_groan`: report the "
            "unweighted average recall beside the score of always saying `sad_cry` (accuracy 0.88, recall 1/6).",
            "Some clips are speech (`channel`; 59 in that release); the set of voc2vec holds them too.",
            "Ages and sources outside the documented codes (41 and 2 clips there) are kept as text, with the "
            "readable column empty. Five names hold a blank, which is kept.",
            "Clips last up to 86 s there.",
        ),
    )
    LABELS = (  # in the order of the release's codes, 01 to 04, 06 and 11
        "boredom_sigh",
        "neutral_calm",
        "happy_laugh_gaggle",
        "sad_cry",
        "fearful_scream_panic",
        "pain_groan",
    )
    # Not sex: a number that stands for many babies has none.
    METADATA: ClassVar[Mapping[str, datasets.Value]] = {
        column: value for column, value in METADATA.items() if column != "sex"
    }
    FOLDS_BY_SPEAKER = False
    ROOT_MARKERS = ("Bonus/actor_*/*.wav",)
    LAYOUT = (
        "a folder Bonus/ with one folder of WAV files per actor (Bonus/actor_50/03-02-04-01-09-50-04-01-00-14-01.wav); "
        "the other half of the release, Audio/, is the corpus asvp_esd."
    )

    def list_clips(self, root: Path) -> Iterable[Clip | Excluded]:
        """Parse the file names below ``root/Bonus``; see the base class."""
        return list_half(root, "Bonus", labels=self.LABELS, columns=tuple(self.METADATA), with_speech=True)
