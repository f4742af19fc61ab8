"""Where pictures end: as of `extents.extent`."""

import re

from pipelines.media.ends.reading import File, big, bytes_of, found, little, read

_END_OF_JPEG = re.compile(rb"\xff\xd9")


def png(file: File) -> int | None:
    """Behind the last chunk."""
    at, end = 8, bytes_of(file)
    while at + 12 <= end:
        chunk = read(file, at, 8)
        at += 12 + int.from_bytes(chunk[:4])
        if chunk[4:] == b"IEND":
            return at
    return None


def jpeg(file: File) -> int | None:
    """Behind the mark of the end that follows the pixels; a small picture within the header has its own."""
    at = 2
    while (marker := read(file, at, 4))[:1] == b"\xff":
        if marker[1] == 0xFF:  # filling
            at += 1
        elif marker[1] == 0xD9:
            return at + 2
        elif marker[1] == 0xDA:
            end = found(file, _END_OF_JPEG, at)  # its bytes of pixels never hold it
            return None if end < 0 else end + 2
        else:
            at += 2 + int.from_bytes(marker[2:4])
    return None


def gif(file: File) -> int | None:
    """Behind the last block."""
    flags = big(file, 10, 1)
    at = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    while kind := read(file, at, 1):
        at += 1
        if kind == b"\x3b":
            return at
        if kind == b"\x2c":
            flags = big(file, at + 8, 1)
            at += 10 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
        elif kind == b"\x21":
            at += 1
        else:
            return None
        while size := big(file, at, 1):
            at += 1 + size
        at += 1
    return None


def bmp(file: File) -> int | None:
    """As the header says."""
    return little(file, 2, 4) or None
