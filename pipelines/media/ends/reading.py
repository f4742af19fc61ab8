"""Reading of single parts of open files."""

import io
import os
import re
from typing import BinaryIO

File = BinaryIO | io.RawIOBase

_BLOCK_BYTES = 1 << 20


def bytes_of(file: File) -> int:
    """The size of an open file."""
    return file.seek(0, os.SEEK_END)


def read(file: File, at: int, size: int) -> bytes:
    """The bytes of a file from `at` on: as many as are asked for, or up to its end."""
    file.seek(at)
    content = b""
    while len(content) < size and (piece := file.read(size - len(content))):
        content += piece
    return content


def found(file: File, pattern: "re.Pattern[bytes]", at: int, longest: int = 16) -> int:
    """The offset from `at` on where a pattern of `longest` bytes at most matches; -1 if it does nowhere."""
    kept = b""
    file.seek(at)
    while block := file.read(_BLOCK_BYTES):
        match = pattern.search(kept + block)
        if match:
            return at - len(kept) + match.start()
        at += len(block)
        kept = (kept + block)[-longest:]
    return -1


def exactly(file: File, at: int, size: int) -> bytes:
    """As `read`. EOFError if there are fewer bytes."""
    content = read(file, at, size)
    if len(content) < size:
        raise EOFError
    return content


def big(file: File, at: int, size: int) -> int:
    """A number whose first byte counts most. EOFError if it is not there."""
    return int.from_bytes(exactly(file, at, size))


def little(file: File, at: int, size: int) -> int:
    """A number whose last byte counts most. EOFError if it is not there."""
    return int.from_bytes(exactly(file, at, size), "little")
