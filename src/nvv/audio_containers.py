"""What the container of an audio file says of its length, compared with the bytes that are there.

libsndfile reads files that were cut off as shorter ones without a word; `nvv.audio` says what follows. Source:
RIFF/WAVE and RF64 (EBU Tech 3306), Ogg framing (RFC 3533), ID3v2.4; the code is own work.
"""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

__all__ = ["bytes_missing", "mp3_states_length"]

_UNKNOWN_SIZE = 0xFFFFFFFF


def bytes_missing(stream: BinaryIO) -> str | None:
    """Say what a WAV or Ogg file lacks at its end.

    Args:
        stream: The file, seekable; left at its start.

    Returns:
        What is missing, in words; None where nothing is, and for other containers.
    """
    stream.seek(0)
    magic = stream.read(4)
    if magic in (b"RIFF", b"RIFX", b"RF64", b"BW64"):
        reason = _wav_shortfall(stream, "big" if magic == b"RIFX" else "little")
    elif magic == b"OggS":
        reason = _ogg_shortfall(stream)
    else:
        reason = None
    stream.seek(0)
    return reason


def mp3_states_length(stream: BinaryIO) -> bool:
    """Tell whether the first frame of an MP3 file is a Xing, Info or VBRI frame, which states the number of frames.

    Args:
        stream: The file, seekable; left somewhere.

    Returns:
        Whether it is.
    """
    stream.seek(0)
    header = stream.read(10)
    start = 0
    if header[:3] == b"ID3" and len(header) == 10:
        sizes = struct.unpack("4B", header[6:10])  # seven bits a byte
        start = 10 + sum(size << shift for size, shift in zip(sizes, (21, 14, 7, 0), strict=True))
    stream.seek(start)
    first_frame = stream.read(256)
    return any(tag in first_frame for tag in (b"Xing", b"Info", b"VBRI"))


def _wav_shortfall(stream: BinaryIO, byte_order: str) -> str | None:
    file_size = stream.seek(0, os.SEEK_END)
    stream.seek(8)
    if stream.read(4) != b"WAVE":
        return None  # another RIFF form; libsndfile will say what it is not
    size_from_ds64: int | None = None
    position = 12
    while position + 8 <= file_size:
        stream.seek(position)
        header = stream.read(8)
        kind, size = header[:4], int.from_bytes(header[4:], byte_order)
        if kind == b"ds64":  # RF64: the true sizes of RIFF and data, eight bytes each
            size_from_ds64 = int.from_bytes(stream.read(16)[8:16], "little")
        if kind == b"data":
            if size == _UNKNOWN_SIZE:
                if size_from_ds64 is None:
                    return None
                size = size_from_ds64
            available = file_size - position - 8
            return f"{available} bytes of samples where the header promises {size}" if available < size else None
        position += 8 + size + size % 2  # chunks are padded to even length
    return "the file ends before its samples"


def _ogg_shortfall(stream: BinaryIO) -> str | None:
    """Check the last page: an Ogg page is at most 65,307 bytes, and the last one of a stream carries flag 4."""
    file_size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, file_size - 2 * 65_307))
    tail = stream.read()
    start = tail.rfind(b"OggS")
    page = tail[start:]
    if start < 0 or len(page) < 27 or len(page) < 27 + page[26]:
        return "the last Ogg page is incomplete"
    promised = 27 + page[26] + sum(page[27 : 27 + page[26]])
    if len(page) < promised:
        return f"the last Ogg page holds {len(page)} of {promised} bytes"
    return None if page[5] & 4 else "the last Ogg page does not end the stream"
