"""Downloading raw corpora: what to get, from where, and how each file is known to be the right one.

A corpus states its files as `Download` and `ZenodoRecord`; none can be stated without something to check it by.
Requests, cache and progress are `datasets.DownloadManager`'s; unpacking is ``nvv.data.archives``'s.
"""

from __future__ import annotations

import asyncio
import errno
import fnmatch
import hashlib
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import aiohttp
import datasets
from filelock import FileLock

from .archive_members import is_archive
from .archives import folder_when_complete, unpack_into
from .facts import CorpusFacts
from .rawfiles import CorpusError

__all__ = ["Download", "ZenodoRecord", "content_digest", "fetch"]

logger = logging.getLogger(__name__)

_CHECKSUM_DIGITS = {"md5": 32, "sha256": 64, "sha512": 128}
_PASSING_STATUSES = {408, 425, 429, 500, 502, 503, 504}  # HTTP: worth another attempt


@dataclass(frozen=True, kw_only=True)
class Download:
    """A file to download.

    Attributes:
        url: Where it is.
        checksum: Digest of its bytes, ``"sha256:…"``, ``"sha512:…"`` or ``"md5:…"``.
        content_digest: `content_digest` of the WAV files in it, for archives that their host packs anew at each request
            (GitHub's of a branch or commit), whose own bytes therefore have no lasting digest.
        filename: What to call it; by default the last part of the URL.
        size: Bytes; 0 where unknown.

    Raises:
        ValueError: If there is neither a checksum nor a content digest, or if one cannot be one.
    """

    url: str
    checksum: str = ""
    content_digest: str = ""
    filename: str = ""
    size: int = 0

    def __post_init__(self) -> None:
        """Refuse a file that could not be checked, and fill in the name."""
        if not self.filename:
            object.__setattr__(self, "filename", PurePosixPath(self.url.partition("?")[0]).name)
        if self.filename in ("", ".", "..") or "/" in self.filename or "\\" in self.filename:
            raise ValueError(f"Download of {self.url}: {self.filename!r} is no file name.")
        if not self.checksum and not self.content_digest:
            raise ValueError(
                f"Download of {self.url}: neither checksum nor content_digest, so it could not be checked."
            )
        kind, _, digits = self.checksum.partition(":")
        if self.checksum and (len(digits) != _CHECKSUM_DIGITS.get(kind) or not re.fullmatch("[0-9a-f]+", digits)):
            raise ValueError(
                f"Download of {self.url}: checksum {self.checksum!r}, expected md5:, sha256: or sha512: and its "
                "lower-case hexadecimal digits."
            )
        if self.content_digest and not re.fullmatch("[0-9a-f]{64}", self.content_digest):
            raise ValueError(f"Download of {self.url}: content_digest must have 64 lower-case hexadecimal digits.")
        if self.content_digest and not is_archive(Path(self.filename)):
            raise ValueError(f"Download of {self.url}: content_digest is for archives, {self.filename!r} is none.")


@dataclass(frozen=True, kw_only=True)
class ZenodoRecord:
    """The files of a Zenodo record, of which the record itself states names, sizes, MD5 checksums and the licence.

    Attributes:
        record_id: Number of the version that is meant; its files never change.
        include: Patterns of the file names wanted.
        api: Address of the API.
    """

    record_id: int
    include: tuple[str, ...] = ("*",)
    api: str = "https://zenodo.org/api"

    @property
    def url(self) -> str:
        """Address of the record's own description (JSON)."""
        return f"{self.api}/records/{self.record_id}"


def content_digest(files: Collection[Path]) -> str:
    """Digest of audio files that does not depend on how they are packed.

    It is the SHA-256 of one line a file, sorted by code point: the path relative to the deepest folder that holds all
    of them, with forward slashes, a tab, the SHA-256 of the file's bytes, a newline.

    Args:
        files: Files; those that do not end in ``.wav`` (in any case) are passed over.

    Returns:
        64 hexadecimal digits.
    """
    audio = [path for path in files if path.suffix.lower() == ".wav"]
    root = Path(os.path.commonpath([path.parent for path in audio])) if audio else Path()
    lines = [f"{path.relative_to(root).as_posix()}\t{_file_digest(path, 'sha256')}\n" for path in audio]
    return hashlib.sha256("".join(sorted(lines)).encode("utf-8", "surrogateescape")).hexdigest()


def fetch(
    downloads: Sequence[Download | ZenodoRecord],
    *,
    facts: CorpusFacts,
    cache_dir: Path,
    attempts: int = 4,
    pause: float = 2.0,
    timeout: float = 60.0,
) -> Path:
    """Download a corpus, check every file, and unpack the archives; the next call finds it all there, offline too.

    Args:
        downloads: What the corpus consists of.
        facts: Name, licence, and how to get the files by hand, for errors. A Zenodo record must state the same licence,
            unless this one is ``"unknown"`` or ``"other"``: dataset and model cards state it, and decide by it whether
            copies may be made public, so nothing is downloaded under terms that they would get wrong.
        cache_dir: Folder for downloads and for the result.
        attempts: How often to try each file where the network or the server fails.
        pause: Seconds before the second attempt, doubled before each further one.
        timeout: Seconds without any data after which an attempt has failed.

    Returns:
        A folder with all files, archives unpacked side by side.

    Raises:
        CorpusError: If a file cannot be had, is not the one expected, or cannot be unpacked, or if the licence differs;
            the message names the address and says how to get the files by hand.
    """
    digest = hashlib.sha256(repr(tuple(downloads)).encode()).hexdigest()[:16]
    folder = cache_dir / "downloaded" / f"{facts.name}-{digest}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.is_dir():
            get = partial(
                _get, facts=facts, cache_dir=cache_dir / "downloads", attempts=attempts, pause=pause, timeout=timeout
            )
            _fetch_into(folder, downloads, facts=facts, get=get)
    return folder


def _fetch_into(
    folder: Path, downloads: Iterable[Download | ZenodoRecord], *, facts: CorpusFacts, get: Callable[..., Path]
) -> None:
    files: list[Download] = []
    for download in downloads:
        files += _files_of_record(download, facts=facts, get=get) if isinstance(download, ZenodoRecord) else [download]
    needed, free = sum(file.size for file in files), shutil.disk_usage(folder.parent).free
    if needed > free:
        raise CorpusError(
            f"{facts.name}: its files have {needed / 1e9:.1f} GB, but {folder.parent} has {free / 1e9:.1f} GB free; "
            "make room or choose another cache_dir."
        )
    cached = []
    with folder_when_complete(folder) as temporary:
        for file in files:
            path = get(file.url)
            _check(file, path, facts=facts)
            _lay_out(temporary, file, path, facts=facts, own_folder=len(files) > 1)
            cached.append(path)
    for path in cached:
        _discard(path)  # all that was in them is unpacked


def _files_of_record(record: ZenodoRecord, *, facts: CorpusFacts, get: Callable[..., Path]) -> list[Download]:
    path = get(record.url)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        licence = (content["metadata"].get("license") or {}).get("id", "")
        files = [
            Download(
                url=file["links"]["self"],
                checksum=file["checksum"],
                filename=PurePosixPath(file["key"]).name,
                size=file["size"],
            )
            for file in content["files"]
        ]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CorpusError(
            f"{facts.name}: {record.url} does not describe a record in the form known ({error!r}). {_by_hand(facts)}"
        ) from error
    finally:
        _discard(path)
    if facts.licence.lower() not in ("unknown", "other", licence.lower()):
        raise CorpusError(
            f"{facts.name}: {record.url} states the licence {licence or 'none'!r}, but cards would state "
            f"{facts.licence!r}; nothing was downloaded. Read the terms there and report the difference. "
            f"{_by_hand(facts)}"
        )
    if facts.licence.lower() in ("unknown", "other"):
        logger.warning("%s: %s states the licence %s. %s", facts.name, record.url, licence or "none", facts.terms)
    wanted = [file for file in files if any(fnmatch.fnmatchcase(file.filename, pattern) for pattern in record.include)]
    if not wanted:
        raise CorpusError(
            f"{facts.name}: {record.url} has {', '.join(file.filename for file in files) or 'no files'}, none of them "
            f"{' or '.join(record.include)}. {_by_hand(facts)}"
        )
    return wanted


def _check(download: Download, path: Path, *, facts: CorpusFacts) -> None:
    """Compare a file with its checksum; one that differs does not stay in the cache."""
    if not download.checksum:
        return
    kind = download.checksum.partition(":")[0]
    found = f"{kind}:{_file_digest(path, kind)}"
    if found != download.checksum:
        _discard(path)
        raise CorpusError(
            f"{facts.name}: {download.url} has {found}, expected {download.checksum}; it was removed, so that the next "
            f"run downloads it anew. {_by_hand(facts)}"
        )


def _lay_out(folder: Path, download: Download, path: Path, *, facts: CorpusFacts, own_folder: bool) -> None:
    """Unpack an archive into the folder, or put any other file there."""
    if not is_archive(Path(download.filename)):
        shutil.copyfile(path, folder / download.filename)
        return
    try:
        files = unpack_into(folder, path, own_folder=own_folder, name=download.filename)
        if download.content_digest and content_digest(files) != download.content_digest:
            raise CorpusError(
                f"{facts.name}: the WAV files in {download.url} have the digest {content_digest(files)}, expected "
                f"{download.content_digest}; they were changed there, or on the way. {_by_hand(facts)}"
            )
    except CorpusError:
        if not download.checksum:  # nothing says that this file is the right one
            _discard(path)
        raise


def _get(
    url: str,
    *,
    facts: CorpusFacts,
    cache_dir: Path,
    attempts: int,
    pause: float,
    timeout: float,
) -> Path:
    """Return the path of a downloaded file in the cache, under a name of the cache's own."""
    if datasets.config.HF_HUB_OFFLINE:
        raise CorpusError(
            f"{facts.name}: cannot download {url} (offline mode: HF_HUB_OFFLINE or HF_DATASETS_OFFLINE is set). "
            f"{_by_hand(facts)}"
        )
    # aiohttp's own limit is five minutes for a whole file, too short for a large one on a slow line.
    limits = aiohttp.ClientTimeout(total=None, sock_connect=timeout, sock_read=timeout)
    options = {protocol: {"client_kwargs": {"timeout": limits}} for protocol in ("http", "https")}
    manager = datasets.DownloadManager(
        dataset_name=facts.name,
        download_config=datasets.DownloadConfig(
            cache_dir=cache_dir,
            storage_options=options,
            download_desc=f"Downloading {facts.name}",
        ),
    )
    for attempt in range(1, attempts + 1):
        try:
            return Path(manager.download(url))
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            reason, is_passing = _explain(error)
            if attempt == attempts or not is_passing:
                raise CorpusError(f"{facts.name}: cannot download {url} ({reason}). {_by_hand(facts)}") from error
            seconds = pause * 2 ** (attempt - 1)
            logger.warning("%s: %s; attempt %d of %d in %.0f s.", url, reason, attempt + 1, attempts, seconds)
            time.sleep(seconds)
    raise ValueError(f"attempts must be at least 1, got {attempts}.")


def _explain(error: BaseException) -> tuple[str, bool]:
    """Return why a download failed and whether another attempt may succeed."""
    # fsspec says "file not found" of whatever stops its first request; the cause is what happened.
    cause = (error.__cause__ or error) if isinstance(error, FileNotFoundError) else error
    if isinstance(cause, aiohttp.ClientResponseError):
        return f"HTTP status {cause.status}", cause.status in _PASSING_STATUSES
    if isinstance(cause, FileNotFoundError):
        return "HTTP status 404", False
    if isinstance(cause, aiohttp.ClientConnectorError):
        return f"no connection to {cause.host}: {cause.strerror or cause}", False
    if isinstance(cause, asyncio.TimeoutError):
        return "the server does not answer", True
    if isinstance(cause, aiohttp.ClientPayloadError):
        return "the connection broke before the end of the file", True
    if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
        return "not enough disk space in the cache", False
    return str(cause) or type(cause).__name__, isinstance(cause, aiohttp.ClientError)


def _discard(path: Path) -> None:
    """Remove a file from the download cache, with what the cache keeps beside it."""
    for name in (path.name, f"{path.name}.json", f"{path.name}.lock"):
        path.with_name(name).unlink(missing_ok=True)


def _by_hand(facts: CorpusFacts) -> str:
    where = facts.obtain or (f"See {facts.homepage}." if facts.homepage else "Ask the corpus's authors.")
    return " ".join(part for part in ("By hand:", where, facts.terms, "Then give it as data_dir.") if part)


def _file_digest(path: Path, kind: str) -> str:
    digest = hashlib.new(kind, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()
