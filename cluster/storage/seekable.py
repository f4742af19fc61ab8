"""The base of files whose size is known before they are read: position and seeking."""

import io
import os


class SeekableFile(io.RawIOBase):
    """A file of `size` bytes to read and seek in. Subclasses read at `_at`, and move it, in `readinto`."""

    def __init__(self, size: int) -> None:
        self._size, self._at = size, 0

    def readable(self) -> bool:
        """True; io checks it before it reads."""
        return True

    def seekable(self) -> bool:
        """True; libav seeks only in seekable files."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to an offset in bytes from start, position or end; returns the new position. Reads nothing."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """The position of the next byte to be read, from 0."""
        return self._at
