"""Clips as the cached features see them: the digest of their bytes, their length, and their waveform from the start.

Decoding is `nvv.audio`'s, splits are the neighbour `dataset`'s. Own work.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..audio import AudioError
from .dataset import ClipDataset


@dataclass(frozen=True)
class FeatureClip:
    """One clip of a split.

    Attributes:
        clips: the split.
        index: the clip's place in it.
    """

    clips: ClipDataset
    index: int

    @property
    def file(self) -> str:
        """The clip's file, for messages."""
        return self.clips.files[self.index]

    def digest(self) -> bytes:
        """Compute the SHA-256 of the clip's encoded bytes, as they stand in the Arrow cell or else in the file.

        Raises:
            AudioError: if there is neither.
        """
        cell = self.clips.encoded(self.index)
        if cell.get("bytes") is not None:
            return hashlib.sha256(cell["bytes"]).digest()
        try:
            return hashlib.sha256(Path(cell.get("path") or "").read_bytes()).digest()
        except OSError as error:
            raise AudioError(
                f"{self.file}: its cell holds no bytes, and its path cannot be read ({error.strerror})."
            ) from error

    def num_samples(self) -> int:
        """Read the clip's length after cropping off the file's header, in samples at the model's rate."""
        return self.clips.lengths[self.index]

    def waveform(self) -> np.ndarray:
        """Decode the clip and cut it from its start, whatever the split does in training: float32 (samples,).

        Raises:
            AudioError: if the clip cannot be decoded.
        """
        return self.clips.from_start(self.index)
