"""The input of a decoder: a file on this machine, or a remote one that is read by ranges, without a copy."""

import io
import logging
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from cluster.errors import MediaError
from cluster.records import MediaItem, asset_id
from cluster.storage.buckets import PIECE_BYTES, TransientFetchError, open_file, reading
from cluster.storage.roots import Roots
from cluster.storage.seekable import SeekableFile

log = logging.getLogger(__name__)

FIRST_BYTES = 256 << 10  # of a range that does not continue an earlier one: most headers are shorter
PIECES = 3  # kept in memory: some files store their sound far from their pictures


@dataclass(frozen=True, slots=True)
class Remote:
    """A file of a bucket or folder that is read by ranges."""

    item: MediaItem
    s3_endpoint: str | None = None
    attempts: int = 4
    roots: Roots | None = None  # the file must lie under one of these; None: anywhere


@dataclass(frozen=True, slots=True)
class Embedded:
    """A file that lies within another one, such as the film that is appended to a motion photo."""

    within: Path | Remote
    begin: int  # offset of its first byte
    size: int  # bytes


Source = Path | Remote | Embedded


class EmbeddedFile(SeekableFile):
    """The bytes of an embedded file, read from the open file that it lies in."""

    def __init__(self, file: BinaryIO | io.RawIOBase, begin: int, size: int) -> None:
        super().__init__(size)
        self._file, self._begin = file, begin

    def readinto(self, buffer: Any) -> int:
        """Read some bytes into a buffer and return how many; 0 at the end."""
        wanted = max(0, min(len(buffer), self._size - self._at))
        self._file.seek(self._begin + self._at)
        content = self._file.read(wanted) or b""
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)


class RemoteFile(SeekableFile):
    """A remote file for libraries that read and seek, such as libav.

    Reading raises nothing, because libav swallows Python's exceptions or raises them for another file: after an error
    the file seems to end, and `error` has the reason.
    """

    def __init__(self, remote: Remote, alive: Callable[[], None]) -> None:
        """`alive` is called after every try to read a range, so that a slow network is not taken for a hung decoder."""
        super().__init__(remote.item.size)
        self.error: MediaError | None = None
        self._remote = remote
        self._alive = alive
        self._pieces: list[tuple[int, bytes]] = []  # (offset, bytes), the most recently used last
        self._file: Any = None

    def readinto(self, buffer: Any) -> int:
        """Read some bytes into a buffer and return how many; 0 at the end and after an error."""
        begin, piece = self._piece()
        within = piece[self._at - begin : self._at - begin + len(buffer)]
        buffer[: len(within)] = within
        self._at += len(within)
        return len(within)

    def close(self) -> None:
        """Close the connection and free the ranges in memory. `error` stays."""
        if self._file is not None:
            self._file.close()
        self._pieces.clear()
        super().close()

    def _piece(self) -> tuple[int, bytes]:
        """(offset, bytes) of a range that holds the next byte to read; empty at the end and after an error."""
        if self.error or self._at >= self._size:
            return self._at, b""
        length = FIRST_BYTES
        for number, (begin, piece) in enumerate(self._pieces):
            if begin <= self._at < begin + len(piece):
                self._pieces.append(self._pieces.pop(number))
                return begin, piece
            if self._at == begin + len(piece):
                length = min(2 * len(piece), PIECE_BYTES)
        try:
            piece = self._fetched(self._at, min(length, self._size - self._at))
        except MediaError as error:
            self.error = error
            return self._at, b""
        self._pieces = [*self._pieces[1 - PIECES :], (self._at, piece)]
        return self._at, piece

    def _fetched(self, start: int, length: int) -> bytes:
        """Read a range, with retries and exponential back-off. MediaError if it cannot be had."""
        for attempt in range(1, self._remote.attempts + 1):
            try:
                return self._read(start, length)
            except TransientFetchError as error:
                asset = asset_id(self._remote.item.uri)  # its name must not be in a log
                log.warning("asset %s was not read (try %d of %d)", asset, attempt, self._remote.attempts)
                self._file = None
                if attempt == self._remote.attempts:
                    raise MediaError("fetch", f"{error.reason}; tried {attempt} times") from error
                time.sleep(min(8.0, 0.5 * 2 ** (attempt - 1)) * random.uniform(0.5, 1.5))
            finally:
                self._alive()
        raise ValueError(f"attempts must be 1 or more, not {self._remote.attempts}")

    def _read(self, start: int, length: int) -> bytes:
        item = self._remote.item
        with reading(item.uri):
            if self._file is None:
                self._file = self._opened()
            self._file.seek(start)
            piece = bytes(self._file.read(length))
        if len(piece) != length:
            raise TransientFetchError("fetch", f"{item.uri} gave {len(piece):,} of {length:,} bytes from {start:,} on")
        return piece

    def _opened(self) -> Any:
        """The open file. MediaError if its ETag or size is no longer what was listed."""
        item = self._remote.item
        file = open_file(item.uri, self._remote.s3_endpoint, self._remote.roots)
        etag = item.etag
        if item.uri.startswith("s3://"):
            etag = (file.metadata() or {}).get("ETag", b"").decode().strip('"')
        if etag != item.etag or file.seek(0, os.SEEK_END) != item.size:
            file.close()
            raise MediaError("fetch", f"{item.uri} has changed since it was listed; scan it again")
        return file
