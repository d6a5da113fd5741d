"""Features of a frozen backbone, computed once: all hidden states of all clips, pooled, from the cache where they are.

`compute_features` gives `PooledFeatures`; a head trains on what `select` gives and has the logits of the live model.
The pass itself is the neighbour `feature_pass`'s business, files are `feature_cache`'s, and what features depend on is
`feature_settings`'. Own work.
"""

from __future__ import annotations

import copy
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from tqdm.auto import tqdm
from transformers import Wav2Vec2FeatureExtractor

from ..configuration_nvv import NvvConfig
from ..data.batches import default_batch_seconds, divided_by_length, prefetched
from ..modeling_nvv import NvvForAudioClassification
from ..processors import default_num_workers
from .arguments import ArgumentsError
from .dataset import ClipDataset
from .feature_cache import FeatureCache, FeatureCacheError, default_features_dir
from .feature_clips import FeatureClip
from .feature_pass import FeaturePass
from .feature_settings import FeatureSettings, check_same_features, stored_states_of

__all__ = ["FeatureCacheError", "PooledFeatures", "compute_features", "default_features_dir"]

logger = logging.getLogger(__name__)

_SHARD_CLIPS = 256
_SHARD_SECONDS = 60.0
"""A shard is written after so many clips or so much time: what a process that is killed loses."""
_LOCK_POLL_SECONDS = 20.0
"""Processes of one run meet this often while they wait for another run, or their connection would time out."""


class PooledFeatures:
    """All hidden states of a set of clips, pooled over frames. Made by `compute_features`.

    Attributes:
        num_clips: Different clips in all splits together.
        num_computed: How many of them this call computed, in all processes; the others came from the cache.
        folder: Where they are.
    """

    def __init__(
        self,
        cache: FeatureCache,
        config: NvvConfig,
        digests: Mapping[str, Sequence[bytes]],
        *,
        num_computed: int,
    ) -> None:
        self._cache = cache
        self._config = config
        self._digests = digests
        self.num_clips = len({digest for split in digests.values() for digest in split})
        self.num_computed = num_computed
        self.folder = cache.folder

    def select(self, split: str, config: NvvConfig) -> torch.Tensor:
        """Return what the head of a config gets in the live model.

        Args:
            split: One of those that features were computed for.
            config: Of the head: any layers, with or without the weighted sum, any head, any labels, over the backbone
                and front-end that computed. Pre-norm encoders' last hidden state has passed the final norm where
                `use_weighted_layer_sum` is False, as in the live model.

        Returns:
            (clips, len(config.summed_layers), width) float32 in the split's order: what `NvvHead.pool` gives. A copy,
            read from the cache at each call.

        Raises:
            ArgumentsError: If the config has another backbone or front-end, or a pooling that does not commute.
            KeyError: If there is no such split.
        """
        check_same_features(config, computed_with=self._config)
        return self._cache.read(self._digests[split], states=stored_states_of(config))


def compute_features(
    model: NvvForAudioClassification,
    feature_extractor: Wav2Vec2FeatureExtractor,
    clips: Mapping[str, ClipDataset],
    *,
    cache_dir: Path,
    accelerator: Accelerator | None = None,
    bf16: bool = False,
    max_batch_seconds: float | None = None,
    num_workers: int | None = None,
    disable_tqdm: bool = False,
) -> PooledFeatures:
    """Run a frozen backbone once over clips that the cache does not hold yet.

    A clip is found by the SHA-256 of its encoded bytes, so all split protocols of a corpus share one pass, and so do
    corpora that share clips. All hidden states are kept, whatever layers the model sums. Clips are cut from their start
    to `max_seconds`, training clips too; live training crops at random, which differs only for longer clips.

    Runs in every process of a distributed launch, which divide what is missing by length. A second run at the same time
    waits and then reads. A run that was killed goes on where it stopped.

    Args:
        model: Gives backbone and front-end; is not changed. In float32.
        feature_extractor: The model's.
        clips: Splits by name.
        cache_dir: Where features are kept, see `default_features_dir`. All processes have to see it.
        accelerator: Of a distributed launch; gives the device. None: one process, on the model's device.
        bf16: Compute in bfloat16 (features then differ by about 1 %); kept apart from those in float32.
        max_batch_seconds: Seconds of audio in a batch at most, padding included, > 0; None: what suits the device.
            Changes speed and memory only.
        num_workers: Threads that decode ahead in each process; None: one for each of its processors, at most eight.
        disable_tqdm: Show no progress.

    Returns:
        The features of all splits.

    Raises:
        ArgumentsError: For a pooling that does not commute with the projection (naming `pooling`), clips cut to another
            length than the model's, or limits that are not positive. `FeatureCacheError`, which is one, for a cache
            folder that cannot be written, a full disk included.
        AudioError: For a clip that cannot be decoded.
        ValueError: For a clip whose features are not finite.

    Example:
        >>> features = compute_features(model, feature_extractor, clips, cache_dir=default_features_dir())
        ... # doctest: +SKIP
        >>> features.select("train", model.config).shape  # doctest: +SKIP
        torch.Size([582, 5, 384])
    """
    _check_arguments(model.config, clips, max_batch_seconds=max_batch_seconds, num_workers=num_workers)
    processes = _Processes(accelerator)
    if num_workers is None:
        num_workers = max(1, default_num_workers() // processes.num_local)
    settings = FeatureSettings.of(model, feature_extractor, bf16=bf16)
    digests, clip_of = _identify(clips, num_workers=num_workers, disable_tqdm=disable_tqdm)
    cache = FeatureCache(cache_dir, settings, digests=clip_of)
    num_computed = 0
    if processes.from_main(cache.missing):
        try:
            while not processes.from_main(lambda: cache.acquire(timeout_s=_LOCK_POLL_SECONDS)):
                if processes.is_main:
                    logger.warning("%s: another run is computing features of this kind; waiting for it.", cache.folder)
            # Asked again: whoever held the lock may have computed them.
            missing = processes.from_main(cache.missing)
            num_computed = len(missing)
            if missing:
                encoder = FeaturePass(model, feature_extractor, device=processes.device, bf16=bf16)
                work = {digest: clip_of[digest] for digest in missing}
                names = _compute(
                    encoder,
                    work,
                    cache,
                    processes=processes,
                    max_batch_seconds=max_batch_seconds or default_batch_seconds(encoder.device.type),
                    num_workers=num_workers,
                    disable_tqdm=disable_tqdm,
                )
                cache.missing(shard_names=processes.gathered(names))
        finally:
            cache.release()
    lost = cache.missing()
    if lost:
        raise FeatureCacheError(
            f"features_cache_dir: {cache.folder} lacks {len(lost)} clips that were just written, "
            f"{clip_of[lost[0]].file} first. All processes have to see one folder, and nobody may delete in it."
        )
    return PooledFeatures(cache, copy.deepcopy(model.config), digests, num_computed=num_computed)


def _check_arguments(
    config: NvvConfig, clips: Mapping[str, ClipDataset], *, max_batch_seconds: float | None, num_workers: int | None
) -> None:
    if max_batch_seconds is not None and not max_batch_seconds > 0:
        raise ArgumentsError(f"max_batch_seconds: expected more than 0, found {max_batch_seconds!r}.")
    if num_workers is not None and num_workers < 0:
        raise ArgumentsError(f"num_workers: expected 0 or more, found {num_workers!r}.")
    for name, split in clips.items():
        if split.max_seconds != config.max_seconds:
            raise ArgumentsError(
                f"max_seconds: the clips of {name} are cut to {split.max_seconds} s, the model hears "
                f"{config.max_seconds} s; give both the same."
            )


def _identify(
    clips: Mapping[str, ClipDataset], *, num_workers: int, disable_tqdm: bool
) -> tuple[dict[str, list[bytes]], dict[bytes, FeatureClip]]:
    """Return the digests of each split's clips, and for each digest the first clip that has it."""
    members = {name: [FeatureClip(split, index) for index in range(len(split))] for name, split in clips.items()}
    everything = [clip for split in members.values() for clip in split]
    found = tqdm(
        prefetched(everything, FeatureClip.digest, num_workers=num_workers),
        total=len(everything),
        desc="Looking for features",
        unit="clip",
        disable=disable_tqdm or len(everything) < 2_000,
        leave=False,
    )
    ordered = iter(list(found))
    digests = {name: list(islice(ordered, len(split))) for name, split in members.items()}
    clip_of: dict[bytes, FeatureClip] = {}
    for name, split in members.items():
        for digest, clip in zip(digests[name], split, strict=True):
            clip_of.setdefault(digest, clip)
    return digests, clip_of


def _compute(
    encoder: FeaturePass,
    work: Mapping[bytes, FeatureClip],
    cache: FeatureCache,
    *,
    processes: _Processes,
    max_batch_seconds: float,
    num_workers: int,
    disable_tqdm: bool,
) -> list[str]:
    """Compute this process's share and write it; return the names of its shards."""
    lengths = [clip.num_samples() for clip in work.values()]
    share = divided_by_length(lengths, num_shares=processes.num)[processes.index]
    missing = list(work)
    digests = [missing[at] for at in share]
    writer = _ShardWriter(cache)
    progress = tqdm(
        total=len(share), desc="Computing features", unit="clip", disable=disable_tqdm or not processes.is_main
    )
    batches = encoder.run(
        [work[digest] for digest in digests],
        [lengths[at] for at in share],
        max_batch_seconds=max_batch_seconds,
        num_workers=num_workers,
    )
    # Closed, so that the backbone is as it was before an error reaches anybody.
    with progress, closing(batches):
        try:
            for places, features in batches:
                writer.add([digests[place] for place in places], features)
                progress.update(len(places))
        except (KeyboardInterrupt, ValueError):  # a clip that cannot be used, most often
            writer.flush()  # what was computed is not lost: the next run goes on from here
            raise
        writer.flush()
    return writer.names


class _ShardWriter:
    """Collects features and writes them in shards."""

    def __init__(self, cache: FeatureCache) -> None:
        self.names: list[str] = []
        self._cache = cache
        self._digests: list[bytes] = []
        self._features: list[torch.Tensor] = []
        self._since = time.monotonic()

    def add(self, digests: Sequence[bytes], features: torch.Tensor) -> None:
        """Take a batch (clips, states, width)."""
        self._digests.extend(digests)
        self._features.append(features)
        if len(self._digests) >= _SHARD_CLIPS or time.monotonic() - self._since > _SHARD_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what was collected."""
        digests, features = self._digests, self._features
        self._digests, self._features, self._since = [], [], time.monotonic()
        if digests:
            self.names.append(self._cache.write(digests, torch.cat(features)))


class _Processes:
    """The processes that share the work; one where there is no accelerator."""

    def __init__(self, accelerator: Accelerator | None) -> None:
        self.num = 1 if accelerator is None else accelerator.num_processes
        self.index = 0 if accelerator is None else accelerator.process_index
        self.device = None if accelerator is None else accelerator.device
        # On this machine, as torch's and accelerate's launchers say.
        self.num_local = int(os.environ.get("LOCAL_WORLD_SIZE", self.num))

    @property
    def is_main(self) -> bool:
        return self.index == 0

    def from_main(self, ask: Callable[[], Any]) -> Any:
        """Call a function in the main process and return its result, or raise its `ArgumentsError`, in all of them."""
        if self.num == 1:
            return ask()
        answer: list[Any] = [None, None]
        if self.is_main:
            try:
                answer[0] = ask()
            except ArgumentsError as error:
                answer[1] = error
        result, error = broadcast_object_list(answer, from_process=0)
        if error is not None:
            raise error
        return result

    def gathered(self, items: list[Any]) -> list[Any]:
        """Return the items of all processes, once all have come here."""
        return items if self.num == 1 else gather_object(items)
