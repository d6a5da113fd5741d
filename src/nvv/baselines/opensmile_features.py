"""The functionals of openSMILE: eGeMAPSv02 (88 numbers a clip) and ComParE_2016 (6,373).

`opensmile` is an extra, because its licence allows research and personal use only; it is imported at the first use.
Some of the functionals follow a clip's length (mean length of voiced and unvoiced segments, slopes over the clip).

Source: Eyben et al., The Geneva minimalistic acoustic parameter set (GeMAPS), IEEE Transactions on Affective Computing
2016; Schuller et al., The INTERSPEECH 2016 computational paralinguistics challenge; own code around the library.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..audio import SAMPLING_RATE
from ..training.arguments import ArgumentsError

FEATURE_SETS = {"egemaps": "eGeMAPSv02", "compare": "ComParE_2016"}
SHORTEST_SAMPLES = 960
"""The longest window of both sets, 60 ms: the library finds nothing in a shorter clip."""

_LARGEST = 32767 / 32768


class OpensmileFunctionals:
    """Computes the functionals of one clip after the other; threads may share it.

    Args:
        name: `egemaps` or `compare`.

    Raises:
        ArgumentsError: if `opensmile` is not installed.
    """

    def __init__(self, name: str) -> None:
        try:
            import opensmile
        except ImportError as error:
            raise ArgumentsError(
                f"features: {name} is computed by opensmile, which is not installed ({error}). "
                "Run `pip install nvv[baselines]`, or leave it out (--features duration mfcc)."
            ) from error
        self._smile = opensmile.Smile(
            feature_set=opensmile.FeatureSet[FEATURE_SETS[name]],
            feature_level=opensmile.FeatureLevel.Functionals,
        )
        self.names: tuple[str, ...] = tuple(self._smile.feature_names)
        self.version: str = opensmile.__version__

    def __call__(self, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        """Describe a clip.

        Args:
            waveform: mono at 16 kHz, in [-1, 1] (samples,); shorter than `SHORTEST_SAMPLES`, it is filled up with
                zeros.

        Returns:
            The functionals in the order of `names` (features,).
        """
        samples = np.zeros(max(len(waveform), SHORTEST_SAMPLES), dtype=np.float32)
        # The library turns samples into 16-bit integers without a limit: from 1.0 on, they would change their sign.
        samples[: len(waveform)] = np.clip(waveform, -1.0, _LARGEST)
        return np.asarray(self._smile(samples, SAMPLING_RATE), dtype=np.float32).reshape(len(self.names))
