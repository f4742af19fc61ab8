"""The films of motion photos."""

import os
from typing import Any

from pipelines.media import formats
from pipelines.media.guard import byte_file
from pipelines.media.sources import Embedded, Source

WITH_FILM = ("JPEG", "HEIF", "AVIF", "PNG", "WEBP")  # what phones write; others are not searched for a film
_BLOCK_BYTES = 1 << 20


def film(source: Source) -> Embedded | None:
    """The film in a motion photo, an MP4 or QuickTime file behind the picture or in a box of it; None without one.

    Reads the whole file.
    """
    if isinstance(source, Embedded):
        return None
    with byte_file(source) as file:
        size, at, kept = file.seek(0, os.SEEK_END), 0, b""
        file.seek(0)
        while block := file.read(_BLOCK_BYTES):
            if not at and formats.image_format(block) not in WITH_FILM:
                return None
            within = formats.film_at(kept + block, begin=0 if at else 1)  # a HEIC begins like a film
            if within >= 0:
                begin = at - len(kept) + within
                return Embedded(source, begin, _boxes_end(file, begin, size) - begin)
            at, kept = at + len(block), (kept + block)[-12:]
    return None


def _boxes_end(file: Any, begin: int, size: int) -> int:
    """Where the boxes of an MP4 file end that begins at `begin` in a file of `size` bytes; makers append their own."""
    at = begin
    while at + 8 <= size:
        file.seek(at)
        header = file.read(16)
        length = int.from_bytes(header[:4])
        if length == 1:
            length = int.from_bytes(header[8:16])
        if length == 0:
            return size
        if length < 8 or not header[4:8].replace(b" ", b"").isalnum():
            break
        at += length
    return min(at, size)
