"""Mel-frequency cepstral coefficients of one clip, as statistics over its frames.

Frames are 25 ms long (Hann window, 400 samples and as many points in the Fourier transform), one every 10 ms, and lie
inside the clip: it is not padded or reflected at its ends, and clips are not batched. Only a clip shorter than one
frame is filled up with zeros to one. Each frame gives 20 coefficients (c0, which follows the level, among them) of 40
mel bands from 0 to 8 kHz, after the natural logarithm with a floor of 1e-6; beside them stand their first and second
derivatives, each the slope over 9 frames with the ends repeated. Every one of these 60 tracks is described by seven
numbers over the frames: mean, standard deviation (dividing by the number of frames), minimum, maximum, and the three
quartiles. The length of the clip is not among them, but extremes grow with it.

Source: own work; `torchaudio` computes the coefficients and the derivatives.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F
from torchaudio.functional import compute_deltas
from torchaudio.transforms import MFCC

from ..audio import SAMPLING_RATE

SETTINGS = {
    "num_coefficients": 20,
    "num_mel_bands": 40,
    "frame_samples": 400,
    "hop_samples": 160,
    "derivative_frames": 9,
}
STATISTICS = ("mean", "std", "min", "max", "quartile1", "median", "quartile3")
_KINDS = ("mfcc", "delta", "delta2")

FEATURE_NAMES = tuple(
    f"{kind}{coefficient}_{statistic}"
    for statistic in STATISTICS
    for kind in _KINDS
    for coefficient in range(SETTINGS["num_coefficients"])
)


class MfccStatistics:
    """Computes the statistics of one clip after the other; threads may share it.

    Example:
        >>> MfccStatistics()(np.zeros(16_000, dtype=np.float32)).shape
        (420,)
    """

    def __init__(self) -> None:
        self._mfcc = MFCC(
            sample_rate=SAMPLING_RATE,
            n_mfcc=SETTINGS["num_coefficients"],
            log_mels=True,  # decibels would be cut off at 80 below the loudest frame
            melkwargs={
                "n_fft": SETTINGS["frame_samples"],
                "hop_length": SETTINGS["hop_samples"],
                "n_mels": SETTINGS["num_mel_bands"],
                "center": False,
            },
        )

    def __call__(self, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        """Describe a clip.

        Args:
            waveform: mono at 16 kHz, in [-1, 1] (samples,).

        Returns:
            The statistics in the order of `FEATURE_NAMES` (420,).
        """
        with torch.inference_mode():
            samples = torch.as_tensor(waveform, dtype=torch.float32)
            samples = F.pad(samples, (0, max(0, SETTINGS["frame_samples"] - len(samples))))
            coefficients = self._mfcc(samples)  # (coefficients, frames)
            first = compute_deltas(coefficients, win_length=SETTINGS["derivative_frames"])
            second = compute_deltas(first, win_length=SETTINGS["derivative_frames"])
            tracks = torch.cat([coefficients, first, second]).double()  # (tracks, frames)
            quartiles = torch.quantile(tracks, torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64), dim=1)
            statistics = torch.stack(
                [tracks.mean(1), tracks.std(1, correction=0), tracks.amin(1), tracks.amax(1), *quartiles]
            )  # (statistics, tracks)
        return statistics.flatten().float().numpy()
