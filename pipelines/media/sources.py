"""What is decoded: a file on this machine, or one that is read where it lies, by ranges, without a copy."""

import io
import logging
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.errors import MediaError
from cluster.records import MediaItem
from cluster.storage.buckets import PIECE_BYTES, TransientFetchError, open_file, reading
from cluster.storage.roots import Roots

log = logging.getLogger(__name__)

FIRST_BYTES = 256 << 10  # of a piece that does not go on where another ended: a header is no longer
PIECES = 3  # kept: some files hold their sound far from their pictures


@dataclass(frozen=True, slots=True)
class Remote:
    """A file of a bucket, read where it lies."""

    item: MediaItem
    s3_endpoint: str | None = None
    attempts: int = 4
    roots: Roots | None = None  # that it must lie under; None: it may be read wherever it lies


Source = Path | Remote


class RemoteFile(io.RawIOBase):
    """A remote file for libraries that read and seek. What cannot be had ends it, and `error` says why.

    It raises nothing while it is read: libav swallows what Python raises, or raises it for another file."""

    def __init__(self, remote: Remote, alive: Callable[[], None]) -> None:
        self.error: MediaError | None = None
        self._remote = remote
        self._alive = alive  # told whenever a range has come, or has not
        self._at = 0
        self._pieces: list[tuple[int, bytes]] = []  # where each begins; the one used last is the last
        self._file: Any = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._remote.item.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        begin, piece = self._piece()
        within = piece[self._at - begin : self._at - begin + len(buffer)]
        buffer[: len(within)] = within
        self._at += len(within)
        return len(within)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._pieces.clear()
        super().close()

    def _piece(self) -> tuple[int, bytes]:
        """The piece with the byte to be read next; an empty one at the end of the file and after an error."""
        if self.error or self._at >= self._remote.item.size:
            return self._at, b""
        length = FIRST_BYTES
        for number, (begin, piece) in enumerate(self._pieces):
            if begin <= self._at < begin + len(piece):
                self._pieces.append(self._pieces.pop(number))
                return begin, piece
            if self._at == begin + len(piece):
                length = min(2 * len(piece), PIECE_BYTES)
        try:
            piece = self._fetched(self._at, min(length, self._remote.item.size - self._at))
        except MediaError as error:
            self.error = error
            return self._at, b""
        self._pieces = [*self._pieces[1 - PIECES :], (self._at, piece)]
        return self._at, piece

    def _fetched(self, start: int, length: int) -> bytes:
        for attempt in range(1, self._remote.attempts + 1):
            try:
                return self._read(start, length)
            except TransientFetchError as error:
                log.warning("%s (try %d of %d)", error.reason, attempt, self._remote.attempts)
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
        item = self._remote.item
        file = open_file(item.uri, self._remote.s3_endpoint, self._remote.roots)
        etag = item.etag
        if item.uri.startswith("s3://"):
            etag = (file.metadata() or {}).get("ETag", b"").decode().strip('"')
        if etag != item.etag or file.seek(0, os.SEEK_END) != item.size:
            file.close()
            raise MediaError("fetch", f"{item.uri} has changed since it was listed; scan it again")
        return file
