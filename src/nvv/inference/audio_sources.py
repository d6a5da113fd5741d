"""Recordings that somebody names, as files, folders, patterns or a list, and how each is loaded when its turn comes.

What is done with them is the neighbour `streams`'s and the commands' business; decoding is ``nvv.audio``'s. Own work.
"""

from __future__ import annotations

import glob
import io
import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..audio import SAMPLING_RATE, audio_duration, decode_audio
from ..data.own_folders import AUDIO_SUFFIXES
from ..data.rawfiles import list_files
from ..training.arguments import ArgumentsError
from .streams import Sound

__all__ = ["audio_files", "file_sound", "file_sounds", "files_as_listed", "listed_files", "stream_sound"]


_LISTED_AHEAD = 1_000  # paths
_PATIENCE_S = 0.1


def audio_files(sources: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """List recordings.

    Args:
        sources: files of any name; folders, in which everything with an ending of audio files is taken, at any depth,
            but for hidden files; and patterns of files or folders (`*`, `?`, `[…]`, `**` for any depth).

    Returns:
        The files, each once: sources in their order, what a folder or a pattern holds sorted by path. Those in formats
        that are not read are among them, so that nothing is left out without a word.

    Raises:
        ArgumentsError: for a source that is nothing, or holds no recording.

    Example:
        >>> audio_files(["recordings", "more/*.flac"])  # doctest: +SKIP
        [PosixPath('recordings/a.wav'), PosixPath('recordings/deep/b.mp3'), PosixPath('more/c.flac')]
    """
    found: dict[Path, None] = {}
    for source in sources:
        found |= dict.fromkeys(_files_of(os.fspath(source)))
    return list(found)


def listed_files(stream: BinaryIO) -> Iterator[Path]:
    """Read paths, one a line, as they come.

    Args:
        stream: what `find` or `ls` print. Names keep their bytes; empty lines are left out. Where there are null bytes,
            those end the names (`find -print0`).

    Yields:
        The paths.
    """
    for line in stream:
        for name in line.removesuffix(b"\n").removesuffix(b"\r").split(b"\0"):
            if name:
                yield Path(os.fsdecode(name))


def files_as_listed(stream: BinaryIO) -> Iterator[Path | None]:
    """Read paths, one a line, from a program that is still finding them.

    Args:
        stream: as for `listed_files`, nothing of it read yet; read in a thread, which ends when the stream does.

    Yields:
        The paths; None where the next one is not there yet, which `compute_stream` takes as a sign not to wait.

    Raises:
        OSError: where reading fails.
    """
    found: queue.Queue[Path | OSError | None] = queue.Queue(maxsize=_LISTED_AHEAD)
    try:
        # A buffer of its own: Python aborts when it ends while a thread holds the lock of standard input's.
        lines: BinaryIO = os.fdopen(os.dup(stream.fileno()), "rb")
    except io.UnsupportedOperation:
        lines = stream  # no file, but bytes in memory

    def read() -> None:
        try:
            for path in listed_files(lines):
                found.put(path)
        except OSError as error:
            found.put(error)
        else:
            found.put(None)
        finally:
            if lines is not stream:
                lines.close()

    # A daemon: nothing interrupts the reading of a pipe that nobody writes to.
    threading.Thread(target=read, name="listed files", daemon=True).start()
    while True:
        try:
            path = found.get(timeout=_PATIENCE_S)
        except queue.Empty:
            yield None
            continue
        if path is None:
            return
        if isinstance(path, OSError):
            raise path
        yield path


def file_sounds(
    paths: Iterable[Path], *, max_seconds: float | None = None, on_longer: Callable[[Path], None] | None = None
) -> Iterator[Sound]:
    """Make sounds of files, as `file_sound` does."""
    for path in paths:
        yield file_sound(path, max_seconds=max_seconds, on_longer=on_longer)


def file_sound(
    path: Path, *, max_seconds: float | None = None, on_longer: Callable[[Path], None] | None = None
) -> Sound:
    """Make a sound of a file.

    Args:
        path: the file; the sound's key.
        max_seconds: what the model hears, in seconds (`streams.heard_seconds`); no more of the file is decoded. None:
            all of it.
        on_longer: called with the path where the file is longer than that, in the thread that loads.

    Returns:
        The sound.
    """
    return Sound(key=path, load=partial(_load, path, max_seconds=max_seconds, on_longer=on_longer))


def stream_sound(
    stream: BinaryIO, *, key: str, max_seconds: float | None = None, on_longer: Callable[[str], None] | None = None
) -> Sound:
    """Make a sound of a recording that comes as bytes, which are read to their end before it is decoded.

    Args:
        stream: the bytes, in any format that is read from files too.
        key: the sound's key, which errors name.
        max_seconds: as in `file_sound`.
        on_longer: as in `file_sound`, called with the key.

    Returns:
        The sound.
    """

    def load() -> NDArray[np.float32]:
        return _load(stream.read(), name=key, max_seconds=max_seconds, on_longer=on_longer)

    return Sound(key=key, load=load)


def _load(
    source: Path | bytes,
    *,
    name: str | None = None,
    max_seconds: float | None,
    on_longer: Callable[[Any], None] | None,
) -> NDArray[np.float32]:
    waveform = decode_audio(source, name=name, max_seconds=max_seconds)
    if max_seconds is None or on_longer is None or len(waveform) < round(max_seconds * SAMPLING_RATE):
        return waveform
    # Only of those that are long enough: the header is a second look at the file.
    if audio_duration(source, name=name) > max_seconds:
        on_longer(source if name is None else name)
    return waveform


def _files_of(source: str) -> list[Path]:
    """Return what one source stands for."""
    path = Path(source).expanduser()
    if path.is_dir():
        files = _files_in(path)
        if not files:
            raise ArgumentsError(f"sources: {source} holds no audio files ({', '.join(sorted(AUDIO_SUFFIXES))}).")
        return files
    if path.exists() or not glob.has_magic(source):
        if not path.exists():
            raise ArgumentsError(f"sources: {source}: no such file or folder.")
        return [path]
    matches = sorted(Path(match) for match in glob.glob(str(path), recursive=True))
    files = []
    for match in matches:
        if match.is_dir():
            # `**` also gives the folders on its way, whose files it gives, too.
            files += [] if source.endswith("**") else _files_in(match)
        elif match.suffix.lower() in AUDIO_SUFFIXES:
            files.append(match)
    if not files:
        among = f" among the {len(matches)} files and folders that match" if matches else ""
        raise ArgumentsError(f"sources: {source}: no audio files{among}.")
    return files


def _files_in(folder: Path) -> list[Path]:
    return [folder / name for name in list_files(folder, suffixes=AUDIO_SUFFIXES)]
