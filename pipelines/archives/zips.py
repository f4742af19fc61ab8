"""ZIP archives, and the documents that are ZIP archives: DOCX, XLSX, PPTX, ODF, EPUB."""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast
from zipfile import ZipFile, ZipInfo

from cluster.errors import MediaError
from pipelines.archives import names
from pipelines.archives.office import is_encrypted, texts
from pipelines.archives.reader import ENCRYPTED, Entry, Text, library_errors

_ENCRYPTED, _UTF8 = 0x1, 0x800  # flags
_UNICODE_PATH = b"\x75\x70"  # id of the extra field of Info-ZIP
_LOCAL, _LOCAL_BYTES = b"PK\x03\x04", 30  # how a member begins, and its header without name and extra field
_END, _END_BYTES, _MOST_END = b"PK\x05\x06", 22, (1 << 16) + 22  # of the index, with a comment
_BLOCK_BYTES = 1 << 20


class Zip:
    """A ZIP archive. Names without the UTF-8 flag are of a code page that is guessed from all of them."""

    sequential = False

    def __init__(self, path: Path) -> None:
        with library_errors():
            self._zip = ZipFile(path)
        if is_encrypted(self._zip):
            raise MediaError("decode", ENCRYPTED)
        self._path = path
        # a name that ends with "/" is that of a folder, unless it has bytes
        self._infos = [info for info in self._zip.infolist() if info.file_size or not info.is_dir()]

    def entries(self) -> Iterator[Entry]:
        """The files in it. MediaError after them if further files lie in it that its index does not name."""
        page = names.code_page(raw for info in self._infos if (raw := _raw(info)) is not None)
        for n, info in enumerate(self._infos):
            raw = _raw(info)
            name = _unicode_path(info, raw) or (info.filename if raw is None else raw.decode(page, "replace"))
            problem = ENCRYPTED if info.flag_bits & _ENCRYPTED else None
            yield Entry(n, name, info.file_size, info.compress_size, f"{info.CRC:08x}", problem)
        with library_errors(), self._path.open("rb") as file:
            hidden = [size for begin, size in self._gaps(file) if _holds_members(file, begin, size)]
        if hidden:
            reason = f"files lie in {sum(hidden):,} bytes of it that its index does not name, such as deleted ones"
            raise MediaError("decode", f"{reason}: they were not looked at")

    def open(self, entry: Entry) -> BinaryIO:
        """The content of an entry."""
        with library_errors():
            return cast(BinaryIO, self._zip.open(self._infos[entry.n]))

    def _gaps(self, file: BinaryIO) -> Iterator[tuple[int, int]]:
        """Offset and size of the stretches of the file that belong neither to a member nor to the index."""
        at = 0
        for info in sorted(self._zip.infolist(), key=lambda info: info.header_offset):
            if info.header_offset > at:
                yield at, info.header_offset - at
            file.seek(info.header_offset)
            header = file.read(_LOCAL_BYTES)
            lengths = sum(int.from_bytes(header[begin : begin + 2], "little") for begin in (26, 28))
            at = max(at, info.header_offset + _LOCAL_BYTES + lengths + info.compress_size)
        if (index := self._zip.start_dir) > at:
            yield at, index - at
        end = self._path.stat().st_size
        file.seek(max(index, end - _MOST_END))
        last = file.tell() + file.read().rfind(_END) + _END_BYTES + len(self._zip.comment)
        if end > last:
            yield last, end - last

    def texts(self) -> Iterator[Text]:
        """The text of an office document; none of another archive."""
        return texts(self._zip)

    def close(self) -> None:
        """Close the file."""
        self._zip.close()


def _holds_members(file: BinaryIO, begin: int, size: int) -> bool:
    """Whether a member begins in a part of a file. Small stretches between members are sizes and padding."""
    file.seek(begin)
    kept = b""
    while size > 0 and (block := file.read(min(_BLOCK_BYTES, size))):
        if _LOCAL in kept + block:
            return True
        kept, size = block[-len(_LOCAL) :], size - len(block)
    return False


def _raw(info: ZipInfo) -> bytes | None:
    """The bytes of a name that zipfile has read as cp437; None if it was UTF-8."""
    return None if info.flag_bits & _UTF8 else info.filename.encode("cp437")


def _unicode_path(info: ZipInfo, raw: bytes | None) -> str | None:
    """The name in the extra field of Info-ZIP, where it belongs to this name."""
    extra = info.extra
    while raw is not None and len(extra) >= 4:
        size = int.from_bytes(extra[2:4], "little")
        field = extra[4 : 4 + size]
        if extra[:2] == _UNICODE_PATH and field[:1] == b"\1" and field[1:5] == zlib.crc32(raw).to_bytes(4, "little"):
            return field[5:].decode("utf-8", "replace")
        extra = extra[4 + size :]
    return None
