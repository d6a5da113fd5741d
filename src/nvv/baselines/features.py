"""Features of all clips of a corpus, computed once and kept.

A set of clips is known by its waveforms, as they are cropped: all split protocols of a corpus share one file, and
changed audio or settings never meet old features. Clips are described one by one, so that no clip's features depend on
another's. What a set of features holds is the neighbours' `mfcc` and `opensmile_features`. Own work.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import torchaudio
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from tqdm.auto import tqdm
from transformers.utils import logging

from ..audio import SAMPLING_RATE
from ..files import replaced_when_complete
from ..processors import default_num_workers
from ..training.dataset import ClipDataset
from . import mfcc
from .opensmile_features import FEATURE_SETS, SHORTEST_SAMPLES, OpensmileFunctionals

logger = logging.get_logger(__name__)

_KEY = "features"


@dataclass(frozen=True, kw_only=True)
class FeatureExtractor:
    """A way to describe a clip by numbers.

    Args:
        name: `duration`, `mfcc`, `egemaps` or `compare`.
        names: what each number is.
        settings: all that decides the numbers, versions of libraries among them.
        describe: float32 waveform (samples,) at 16 kHz to float32 features (features,).
    """

    name: str
    names: tuple[str, ...]
    settings: Mapping[str, Any]
    describe: Callable[[NDArray[np.float32]], NDArray[np.float32]]


def feature_extractor(name: str) -> FeatureExtractor:
    """Make a feature extractor.

    Args:
        name: `duration` (the natural logarithm of the seconds, alone: what length tells by itself), `mfcc`, `egemaps`
            or `compare`.

    Raises:
        ArgumentsError: for one of the last two, if `opensmile` is not installed.
        KeyError: for another name.
    """
    if name == "duration":
        return FeatureExtractor(name=name, names=("log_seconds",), settings={"unit": "log s"}, describe=_log_seconds)
    if name == "mfcc":
        settings = {**mfcc.SETTINGS, "statistics": mfcc.STATISTICS, "torchaudio": torchaudio.__version__}
        return FeatureExtractor(name=name, names=mfcc.FEATURE_NAMES, settings=settings, describe=mfcc.MfccStatistics())
    functionals = OpensmileFunctionals(name)
    settings = {
        "feature_set": FEATURE_SETS[name],
        "shortest_samples": SHORTEST_SAMPLES,
        "opensmile": functionals.version,
    }
    return FeatureExtractor(name=name, names=functionals.names, settings=settings, describe=functionals)


def _log_seconds(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.log(np.asarray([max(1, len(waveform)) / SAMPLING_RATE], dtype=np.float32))


def default_cache_dir() -> Path:
    """Return where features are kept unless somebody says otherwise."""
    return Path(huggingface_hub.constants.HF_HOME) / "nvv" / "baseline_features"


def compute_features(
    clips: Sequence[ClipDataset],
    extractor: FeatureExtractor,
    *,
    cache_dir: Path | None = None,
    num_workers: int | None = None,
) -> list[NDArray[np.float32]]:
    """Describe every clip, or take the features from the cache.

    Args:
        clips: splits of one corpus, of one or several folds; a file name means the same clip in all of them, and no
            clip is cropped at random.
        extractor: how to describe a clip.
        cache_dir: where features are kept; None: `default_cache_dir`.
        num_workers: threads; None: one a processor, at most eight. The numbers do not depend on it.

    Returns:
        For each of `clips` the features (clips, features) in its order.

    Raises:
        AudioError: for a clip that cannot be decoded, naming it.
        ValueError: for a clip with a feature that is not finite, naming both.
    """
    place_of_file = {file: (part, at) for part in reversed(clips) for at, file in enumerate(part.files)}
    digest_of_file = {
        file: _digest(part[at]["input_values"])
        for file, (part, at) in tqdm(place_of_file.items(), desc="Reading clips", leave=False)
    }
    file_of_digest = {digest: file for file, digest in digest_of_file.items()}
    digests = sorted(file_of_digest)
    settings = json.dumps(dict(extractor.settings), sort_keys=True).encode()
    kept = (
        (default_cache_dir() if cache_dir is None else Path(cache_dir))
        / f"{extractor.name}-{hashlib.sha256(settings).hexdigest()[:16]}"
        / f"{hashlib.sha256(''.join(digests).encode()).hexdigest()[:32]}.safetensors"
    )
    features = _read(kept, shape=(len(digests), len(extractor.names)))
    if features is None:
        places = [place_of_file[file_of_digest[digest]] for digest in digests]
        features = _describe(places, extractor, num_workers=num_workers)
        with replaced_when_complete(kept) as temporary:
            save_file({_KEY: features}, temporary)
    row_of_digest = {digest: row for row, digest in enumerate(digests)}
    return [features[[row_of_digest[digest_of_file[file]] for file in part.files]] for part in clips]


def _digest(waveform: NDArray[np.float32]) -> str:
    return hashlib.sha256(np.ascontiguousarray(waveform, dtype="<f4").data).hexdigest()


def _read(file: Path, *, shape: tuple[int, int]) -> NDArray[np.float32] | None:
    """Return kept features; None where there are none, or only a damaged file."""
    if not file.is_file():
        return None
    try:
        features = load_file(file).get(_KEY)
    except SafetensorError as error:
        logger.warning(f"{file}: not readable ({error}); the features are computed again.")
        return None
    if features is None or features.shape != shape:
        logger.warning(f"{file}: expected features of shape {shape}; they are computed again.")
        return None
    return features


def _describe(
    places: Sequence[tuple[ClipDataset, int]], extractor: FeatureExtractor, *, num_workers: int | None
) -> NDArray[np.float32]:
    """Describe the clips at these places, in order."""

    def describe(place: tuple[ClipDataset, int]) -> NDArray[np.float32]:
        part, at = place
        features = extractor.describe(part[at]["input_values"])
        if not np.isfinite(features).all():
            name = extractor.names[int(np.isfinite(features).argmin())]
            raise ValueError(
                f"{part.files[at]}: the feature {name} of {extractor.name} is not finite. Look at the clip, or leave "
                "these features out."
            )
        return features

    # Decoding, torch and openSMILE work outside Python's lock, so that threads run side by side.
    with ThreadPoolExecutor(num_workers or default_num_workers()) as pool:
        rows = pool.map(describe, places)
        return np.stack(list(tqdm(rows, total=len(places), desc=f"Computing {extractor.name} features")))
