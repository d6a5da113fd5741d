"""Features on disk: found by a clip's content, kept in small shards, safe for several processes at once.

A `FeatureCache` is one folder: `settings.json` (for people; what counts is the settings' digest in every shard), shards
in safetensors, and a lock. A shard holds `digests` (clips, 32) uint8, `features` (clips, states, width) float32 and
`checksums` (clips,) int64, the CRC-32 of each clip's features. Shards are written whole, under names that no other
process uses, and never changed; so reading takes no lock, and the lock only saves work. What the features are is the
neighbours' business: `feature_settings` and `feature_pass`. Own work.
"""

from __future__ import annotations

import errno
import json
import logging
import time
import uuid
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ..files import replaced_when_complete, write_text
from .arguments import ArgumentsError
from .feature_settings import FeatureSettings

logger = logging.getLogger(__name__)

SETTINGS_FILE = "settings.json"
LOCK_FILE = ".lock"
_SHARDS = "[!.]*.safetensors"
"""Not those that are being written: pathlib's `*` takes hidden files too."""
_STALE_SECONDS = 3600.0
"""Age at which an unfinished file belongs to a process that was killed: writing a shard takes a moment."""
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
"""What file systems answer that know no locks."""


class FeatureCacheError(ArgumentsError):
    """A cache folder that cannot be used; the message names it."""


class _DamagedShardError(ValueError):
    """A shard that does not hold what it should."""


def default_features_dir() -> Path:
    """Return where features are kept unless the caller says otherwise: `nvv/features` in Hugging Face's folder."""
    return Path(huggingface_hub.constants.HF_HOME) / "nvv" / "features"


class FeatureCache:
    """The features of some clips, from one backbone with one set of settings.

    They are read by memory map and only where they are asked for. Of clips that others stored in the same folder no
    more than the digests are read.

    Args:
        cache_dir: Folder of all features; made when something is written.
        settings: What the features depend on.
        digests: SHA-256 of the bytes of each clip that will be asked for; one may come twice.

    Example:
        >>> cache = FeatureCache(default_features_dir(), settings, digests=digests)  # doctest: +SKIP
        >>> if not cache.missing():  # doctest: +SKIP
        ...     features = cache.read(digests, states=[0, 1, 2])  # (clips, 3, width)
    """

    def __init__(self, cache_dir: Path, settings: FeatureSettings, *, digests: Iterable[bytes]) -> None:
        self.folder = settings.folder_in(Path(cache_dir).expanduser())
        self._settings = settings
        self._wanted = dict.fromkeys(digests)
        self._places: dict[bytes, tuple[int, int]] = {}
        self._shards: list[torch.Tensor] = []
        self._seen: set[str] = set()
        self._damaged: list[Path] = []
        self._lock: FileLock | None = None

    def missing(self, *, shard_names: Iterable[str] = ()) -> list[bytes]:
        """Look for the clips, in shards too that were written since the last call.

        Args:
            shard_names: Shards that are known to be there, for file systems that list new files late.

        Returns:
            The digests of the clips that are not there or damaged, each once, in the order they were given.
        """
        names = {path.name for path in self.folder.glob(_SHARDS)} | set(shard_names)
        for name in sorted(names - self._seen):
            self._open(self.folder / name)
        return [digest for digest in self._wanted if digest not in self._places]

    def read(self, digests: Sequence[bytes], *, states: Sequence[int]) -> torch.Tensor:
        """Read clips that `missing` did not name.

        Args:
            digests: SHA-256 of each clip's bytes (clips,); one may come twice.
            states: Which of the stored hidden states.

        Returns:
            Features (clips, len(states), width) float32, a copy.

        Raises:
            KeyError: For a clip that is not there.
        """
        places = np.array([self._places[digest] for digest in digests], dtype=np.int64).reshape(-1, 2)
        result = torch.empty((len(digests), len(states), self._settings.shape[1]), dtype=torch.float32)
        columns = torch.tensor(list(states), dtype=torch.int64)
        for shard in np.unique(places[:, 0]):
            at = np.flatnonzero(places[:, 0] == shard)
            rows = torch.from_numpy(places[at, 1])
            result[torch.from_numpy(at)] = self._shards[shard][rows[:, None], columns]
        return result

    def write(self, digests: Sequence[bytes], features: torch.Tensor) -> str:
        """Write one shard.

        Args:
            digests: SHA-256 of each clip's bytes (clips,).
            features: (clips, states, width) float32 on the CPU.

        Returns:
            The shard's name.

        Raises:
            FeatureCacheError: If the folder cannot be written or the disk is full.
        """
        features = features.contiguous()
        tensors = {
            "digests": torch.from_numpy(np.frombuffer(b"".join(digests), dtype=np.uint8).copy()).view(-1, 32),
            "features": features,
            "checksums": torch.tensor([_checksum(row) for row in features], dtype=torch.int64),
        }
        name = f"{uuid.uuid4().hex}.safetensors"
        # Through bytes: safetensors would report a full disk as an error of its own.
        content = save(tensors, metadata={"settings": self._settings.digest})
        with self._naming_the_folder(), replaced_when_complete(self.folder / name) as temporary:
            temporary.write_bytes(content)
        return name

    def acquire(self, *, timeout_s: float) -> bool:
        """Try to get the folder's lock, so that another process does not compute the same clips meanwhile.

        On a file system without locks a warning is logged and the answer is yes: two processes may then compute the
        same clips, which costs time and nothing else.

        Args:
            timeout_s: How long to wait for a process that has the lock, in seconds.

        Returns:
            Whether work can begin.

        Raises:
            FeatureCacheError: If the folder cannot be written.
        """
        with self._naming_the_folder():
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / LOCK_FILE)
            try:
                lock.acquire(timeout=timeout_s)
                self._lock = lock
            except Timeout:
                return False
            except (NotImplementedError, OSError) as error:
                if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
                    raise
                logger.warning("%s: the file system knows no locks (%s); going on without.", self.folder, error)
            self._tidy()
        return True

    def release(self) -> None:
        """Give the lock back, if it is held."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _tidy(self) -> None:
        """Write the settings, and remove what nothing can use."""
        settings = self.folder / SETTINGS_FILE
        if not settings.is_file():
            write_text(settings, json.dumps(self._settings.values, indent=2, sort_keys=True) + "\n")
        for path in self._damaged:
            path.unlink(missing_ok=True)
        self._damaged.clear()
        for path in self.folder.glob(".incomplete-*"):
            try:
                is_stale = time.time() - path.stat().st_mtime > _STALE_SECONDS
            except FileNotFoundError:  # finished meanwhile
                continue
            if is_stale:
                path.unlink(missing_ok=True)

    def _open(self, path: Path) -> None:
        """Map a shard and note which of the clips are in it; leave it out as a whole where it is damaged."""
        try:
            features, places = self._checked(path)
        except FileNotFoundError:  # removed meanwhile, or not to be seen yet
            return
        except (SafetensorError, _DamagedShardError, OSError) as error:
            logger.warning("%s: left out, its clips are computed again: %s.", path, error)
            if not isinstance(error, OSError):  # what cannot be read now may be readable later
                self._damaged.append(path)
        else:
            for digest, row in places.items():
                self._places.setdefault(digest, (len(self._shards), row))
            self._shards.append(features)
        self._seen.add(path.name)

    def _checked(self, path: Path) -> tuple[torch.Tensor, dict[bytes, int]]:
        """Return a shard's features (clips, states, width), not read yet, and the rows of the clips wanted."""
        with safe_open(path, framework="pt") as file:
            if (file.metadata() or {}).get("settings") != self._settings.digest:
                raise _DamagedShardError("it was written with other settings")
            digests = file.get_tensor("digests").numpy()
            checksums = file.get_tensor("checksums").tolist()
            features = file.get_tensor("features")
        if tuple(features.shape) != (len(digests), *self._settings.shape) or features.dtype != torch.float32:
            raise _DamagedShardError(f"it holds {features.dtype} features of the shape {tuple(features.shape)}")
        found = {digest.tobytes(): row for row, digest in enumerate(digests)}
        places = {digest: row for digest, row in found.items() if digest in self._wanted}
        if any(_checksum(features[row]) != checksums[row] for row in places.values()):
            raise _DamagedShardError("its checksums do not fit")
        return features, places

    @contextmanager
    def _naming_the_folder(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise FeatureCacheError(
                f"features_cache_dir: {self.folder} cannot be written ({error.strerror or error}). Free some space or "
                "choose another folder; what was stored so far is kept."
            ) from error


def _checksum(features: torch.Tensor) -> int:
    """Compute the CRC-32 of one clip's features (states, width)."""
    return zlib.crc32(features.contiguous().view(torch.uint8).numpy())
