"""Configs of a corpus: one for each split protocol, or for each task of a corpus with several.

What a protocol does stands in ``nvv.data.splits``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import datasets

from .rawfiles import fingerprint

__all__ = ["CorpusConfig", "code_digest", "protocol_configs"]


@dataclass
class CorpusConfig(datasets.BuilderConfig):
    """A split protocol, the columns that belong to it, and what the user asked for.

    Attributes:
        protocol: ``"speaker"``, ``"stratified"``, ``"official"`` or ``"fold_<k>"``; empty: the config's name.
        with_label: Whether the classes are a column, in a corpus that has classes.
        targets: Which of the corpus's ``TARGETS`` are columns.
        skip_bad_audio: Leave out clips that cannot be decoded, instead of stopping at the first.
        every_clip: Build all clips with all columns, undivided: what all configs of a corpus are taken from.
    """

    protocol: str = ""
    with_label: bool = True
    targets: tuple[str, ...] = ()
    skip_bad_audio: bool = False
    every_clip: bool = False

    def __post_init__(self) -> None:
        """Name the protocol after the config where it is not named."""
        super().__post_init__()
        self.protocol = self.protocol or self.name

    def create_config_id(self, config_kwargs: dict, custom_features: datasets.Features | None = None) -> str:
        """Name the cache folder after the raw files and the reading code too: a change to either builds anew."""
        base = super().create_config_id(config_kwargs, custom_features=custom_features)
        raw = fingerprint(Path(self.data_dir).expanduser()) if self.data_dir else ""
        return f"{base}-{hashlib.sha256((raw + code_digest()).encode()).hexdigest()[:16]}"


def protocol_configs(*, official: bool = False, num_folds: int = 10) -> list[CorpusConfig]:
    """Return the configs of a corpus with classes, one for each split protocol.

    Args:
        official: Whether the authors gave a split.
        num_folds: How many folds; fewer than ten where there are fewer speakers.
    """
    configs = [
        CorpusConfig(name="speaker", description="No speaker in two splits."),
        CorpusConfig(name="stratified", description="Each class cut in the same proportions, speakers ignored."),
    ]
    if official:
        configs.append(CorpusConfig(name="official", description="The split that the authors released."))
    return configs + [
        CorpusConfig(name=f"fold_{fold}", description=f"Fold {fold} of {num_folds}.") for fold in range(num_folds)
    ]


@cache
def code_digest() -> str:
    """Return the digest of the code that decides what a built corpus holds: this folder and ``audio.py``."""
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for path in [here.parent / "audio.py", *sorted(here.glob("*.py"))]:
        digest.update(path.read_bytes())
    return digest.hexdigest()
