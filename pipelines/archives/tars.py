"""TAR archives, compressed or not, and single compressed files."""

import bz2
import gzip
import io
import lzma
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from cluster.errors import MediaError
from pipelines.archives import names
from pipelines.archives.formats import HEAD_BYTES, is_tar
from pipelines.archives.limits import Limits
from pipelines.archives.reader import Alive, Entry, Text, bomb, library_errors

COMPRESSIONS = ("tar", "gz", "bz2", "xz", "zst")  # "tar": none


class Tar:
    """A TAR archive. A compressed file that is none is an archive of one file."""

    def __init__(self, path: Path, compression: str, limits: Limits, alive: Alive) -> None:
        self.sequential = compression != "tar"
        self._tar: Any = None
        self._info: tarfile.TarInfo | None = None
        self._file: BinaryIO = path.open("rb")
        self._single = "content"
        if self.sequential:
            with library_errors():
                unpacked = _decompressed(self._file, compression)
            most = limits.most_bytes(path.stat().st_size)
            stream = io.BufferedReader(_Counted(unpacked, most, alive), 1 << 20)
            self._stream: Any = stream
            with library_errors():
                self._is_tar = is_tar(stream.peek(HEAD_BYTES))
            if compression == "gz" and not self._is_tar:
                self._single = _gzip_name(path) or self._single
        else:
            self._stream, self._is_tar = self._file, True

    def entries(self) -> Iterator[Entry]:
        """The files in it, also of types that only other programs know: links and folders have no content."""
        if not self._is_tar:
            yield Entry(0, self._single, 0)
            return
        with library_errors():
            mode = "r|" if self.sequential else "r:"
            # zeros that end an archive are passed over, since another archive may follow them
            options: dict[str, Any] = {"tarinfo": _Info, "errors": "surrogateescape", "encoding": "utf-8"}
            options["ignore_zeros"] = True
            self._tar = tarfile.TarFile.open(fileobj=self._stream, mode=mode, **options)  # type: ignore[call-overload]
        n = 0
        while True:
            with library_errors():
                info = self._tar.next()
            if info is None:
                return
            if info.isfile() or info.type not in tarfile.SUPPORTED_TYPES:
                self._info = info
                yield Entry(n, _name(info.name), info.size, None, f"{info.chksum:x}")
            n += 1
            self._tar.members.clear()  # a list of all members, of which nothing is asked here

    def open(self, entry: Entry) -> BinaryIO:
        """The content of the entry that `entries` has just yielded."""
        if not self._is_tar:
            return cast(BinaryIO, io.BufferedReader(_Unclosed(self._stream)))
        with library_errors():
            return cast(BinaryIO, self._tar.extractfile(self._info))

    def texts(self) -> Iterator[Text]:
        """None."""
        return iter(())

    def close(self) -> None:
        """Close the file."""
        if self._tar is not None:
            self._tar.close()
        self._file.close()


class _Info(tarfile.TarInfo):
    """A header. tarfile takes a broken one in the middle for the end of the archive; here it is an error."""

    @classmethod
    def fromtarfile(cls, tarfile_: Any) -> "_Info":
        """The next header. MediaError if it is damaged, and neither the first nor behind the end of an archive."""
        at: int = getattr(tarfile_, "offset", 0)
        try:
            header = super().fromtarfile(tarfile_)
        except tarfile.HeaderError as error:
            tarfile_.has_ended = getattr(tarfile_, "has_ended", False) or type(error).__name__ == "EOFHeaderError"
            if tarfile_.has_ended or not at:  # after a block of zeros, as it should end
                raise
            raise MediaError("decode", f"it is cut short or damaged after some of its members ({error})") from None
        tarfile_.has_ended = False
        return header


class _Counted(io.RawIOBase):
    """What a decompressor gives, at most so many bytes."""

    def __init__(self, source: Any, most: int, alive: Alive) -> None:
        self._source, self._most, self._alive, self._taken = source, most, alive, 0

    def readable(self) -> bool:
        """True; io checks it before it reads."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read some bytes, in single steps: all before the end of a cut file is given. MediaError after too many."""
        try:
            piece = self._source.read1(len(buffer))
        except gzip.BadGzipFile:
            if not self._taken:
                raise
            piece = b""  # other bytes follow what was compressed
        self._alive()
        self._taken += len(piece)
        if self._taken > self._most:
            raise MediaError("decode", bomb(self._most))
        buffer[: len(piece)] = piece
        return len(piece)


class _Unclosed(io.RawIOBase):
    """A stream whose end the caller may not close."""

    def __init__(self, source: Any) -> None:
        self._source = source

    def readable(self) -> bool:
        """True; io checks it before it reads."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read some bytes."""
        return int(self._source.readinto(buffer))


def _decompressed(file: BinaryIO, compression: str) -> Any:
    if compression == "gz":
        return gzip.GzipFile(fileobj=file)
    if compression == "bz2":
        return bz2.BZ2File(file)
    if compression == "xz":
        return lzma.LZMAFile(file)
    from backports import zstd

    return zstd.ZstdFile(file)


def _name(name: str) -> str:
    raw = os.fsencode(name)
    return raw.decode(names.code_page([raw], "cp1252"), "replace")


def _gzip_name(path: Path) -> str | None:
    """The name of the file before it was compressed, where the header of gzip has it."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    flags, begin = head[3], 10
    if flags & 0x4:  # extra fields come first
        begin += 2 + int.from_bytes(head[10:12], "little")
    return head[begin:].split(b"\0", 1)[0].decode("latin-1") or None if flags & 0x8 else None
