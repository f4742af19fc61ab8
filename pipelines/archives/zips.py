"""ZIP archives, and the documents that are ZIP archives: DOCX, XLSX, PPTX, ODF, EPUB."""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast
from zipfile import ZipFile, ZipInfo

from pipelines.archives import names
from pipelines.archives.office import texts
from pipelines.archives.reader import ENCRYPTED, Entry, Text, library_errors

_ENCRYPTED, _UTF8 = 0x1, 0x800  # flags
_UNICODE_PATH = b"\x75\x70"  # id of the extra field of Info-ZIP


class Zip:
    """A ZIP archive. Names without the UTF-8 flag are of a code page that is guessed from all of them."""

    sequential = False

    def __init__(self, path: Path) -> None:
        with library_errors():
            self._zip = ZipFile(path)
        self._infos = [info for info in self._zip.infolist() if not info.is_dir()]

    def entries(self) -> Iterator[Entry]:
        """The files in it."""
        page = names.code_page(raw for info in self._infos if (raw := _raw(info)) is not None)
        for n, info in enumerate(self._infos):
            raw = _raw(info)
            name = _unicode_path(info, raw) or (info.filename if raw is None else raw.decode(page, "replace"))
            problem = ENCRYPTED if info.flag_bits & _ENCRYPTED else None
            yield Entry(n, name, info.file_size, info.compress_size, f"{info.CRC:08x}", problem)

    def open(self, entry: Entry) -> BinaryIO:
        """The content of an entry."""
        with library_errors():
            return cast(BinaryIO, self._zip.open(self._infos[entry.n]))

    def texts(self) -> Iterator[Text]:
        """The text of an office document; none of another archive."""
        return texts(self._zip)

    def close(self) -> None:
        """Close the file."""
        self._zip.close()


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
