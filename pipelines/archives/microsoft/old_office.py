"""DOC, XLS and PPT of Office 97 to 2003: pictures and embedded files are members, the text is a finding."""

import io
import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from cluster.errors import MediaError
from pipelines.archives.microsoft.pictures import pictures
from pipelines.archives.reader import ENCRYPTED, Entry, Text, library_errors

MOST_BYTES = 500_000_000  # of a document, whose streams are read into memory
DRAWING = "it is a drawing of Windows (EMF, WMF) or QuickDraw, which is not read here"
_WORD, _SLIDES, _BOOKS = "WordDocument", "PowerPoint Document", ("Workbook", "Book")
_PICTURES = (_WORD, "Data", "Pictures", *_BOOKS)  # streams with pictures
_NATIVE, _PACKAGES = "\x01Ole10Native", ("Package", "CONTENTS")  # streams that are embedded files
_DRAWING_GROUP, _CONTINUE, _PASSWORD = 0xEB, 0x3C, 0x2F  # records of a workbook
_WIDE_TEXT, _TEXT = 0x0FA0, 0x0FA8  # records of slides: UTF-16, and bytes of Latin-1
_WORD_97 = 0x6A  # version of a document, from which on its text is found by a table of pieces
_FIELD = re.compile(r"\x13[^\x13\x14\x15]*\x14?|\x15")  # what a field is computed from; its result is text
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f]+")


class OldOffice:
    """A document as olefile reads it."""

    sequential = False

    def __init__(self, path: Path) -> None:
        import olefile

        if path.stat().st_size > MOST_BYTES:
            raise MediaError("decode", f"it is a document of more than {MOST_BYTES:,} bytes, which is not read")
        with library_errors():
            self._ole: Any = olefile.OleFileIO(str(path))
        self._path = path
        try:
            self._streams = ["/".join(names) for names in self._ole.listdir(streams=True, storages=False)]
            with _structure():
                if self._is_encrypted():
                    raise MediaError("decode", ENCRYPTED)
                self._members = list(self._found())
        except MediaError:
            self.close()
            raise

    def entries(self) -> Iterator[Entry]:
        """The pictures and the embedded files, in the order of the streams."""
        for n, (name, content) in enumerate(self._members):
            size = len(content or b"")
            yield Entry(n, name, size, size, problem=None if content is not None else DRAWING)

    def open(self, entry: Entry) -> BinaryIO:
        """The content of an entry."""
        return io.BytesIO(self._members[entry.n][1] or b"")

    def texts(self) -> Iterator[Text]:
        """The text of the document, slide by slide or sheet by sheet where it has these."""
        for stream in self._streams:
            name = stream.rpartition("/")[2]
            if name == _WORD:
                with _structure():
                    text = self._document_text(stream)
                yield from _of(text, "document")
            elif name == _SLIDES:
                with _structure():
                    text = "\n".join(_slide_texts(self._bytes(stream)))
                yield from _of(text, "slides")
        if any(name in self._streams for name in _BOOKS):
            yield from _sheets(self._path)

    def close(self) -> None:
        """Close the file."""
        self._ole.close()

    def _bytes(self, stream: str) -> bytes:
        with library_errors(), self._ole.openstream(stream) as file:
            return bytes(file.read())

    def _is_encrypted(self) -> bool:
        if "EncryptedSummary" in self._streams:  # of slides
            return True
        if _WORD in self._streams:
            return bool(_flags(self._bytes(_WORD)) & 0x0100)
        book = next((name for name in _BOOKS if name in self._streams), None)
        return book is not None and any(kind == _PASSWORD for kind, _ in _records(self._bytes(book)))

    def _found(self) -> Iterator[tuple[str, bytes | None]]:
        count = 0
        for stream in self._streams:
            name = stream.rpartition("/")[2]
            if name in _PICTURES:
                content = self._bytes(stream)
                for picture in pictures(_drawings(content) if name in _BOOKS else content):
                    count += 1
                    yield f"picture-{count}.{picture.suffix}", picture.content
            elif name in _PACKAGES:
                count += 1
                yield f"object-{count}", self._bytes(stream)
            elif name == _NATIVE:
                count += 1
                label, content = _native(self._bytes(stream))
                yield label or f"object-{count}", content

    def _document_text(self, stream: str) -> str:
        content = self._bytes(stream)
        if len(content) < 0x1AA:
            return ""
        version, begin, end = struct.unpack_from("<H", content, 2)[0], *struct.unpack_from("<II", content, 0x18)
        if version < _WORD_97:
            return _plain(content[begin:end].decode("cp1252", "replace"))
        folder = stream.removesuffix(_WORD)
        table = self._bytes(f"{folder}{'1Table' if _flags(content) & 0x0200 else '0Table'}")
        at, size = struct.unpack_from("<II", content, 0x1A2)
        return _plain("".join(_pieces(content, table[at : at + size])))


def is_old_office(streams: list[str]) -> bool:
    """Whether an OLE file with these streams is read by OldOffice: a document, or a file that was dropped into one."""
    return any(name in streams for name in (_WORD, _SLIDES, *_BOOKS, _NATIVE, *_PACKAGES))


@contextmanager
def _structure() -> Iterator[None]:
    """Offsets and lengths that lead out of a stream are the file's fault."""
    try:
        yield
    except (struct.error, ValueError, IndexError):
        raise MediaError("decode", "it is damaged: its parts do not fit together") from None


def _of(text: str, origin: str) -> Iterator[Text]:
    if text.strip():
        yield Text(text, origin)


def _flags(document: bytes) -> int:
    return int.from_bytes(document[0x0A:0x0C], "little")


def _pieces(document: bytes, table: bytes) -> Iterator[str]:
    """The pieces of a document's text (MS-DOC, 2.4.1): the table has their first letters, then where each lies."""
    at = 0
    while at + 5 <= len(table) and table[at] == 1:  # properties, which come first
        at += 3 + int.from_bytes(table[at + 1 : at + 3], "little")
    if at + 5 > len(table) or table[at] != 2:
        return
    size = int.from_bytes(table[at + 1 : at + 5], "little")
    table = table[at + 5 : at + 5 + size]
    count = (len(table) - 4) // 12
    begins = struct.unpack_from(f"<{count + 1}I", table)
    for n in range(count):
        place = int.from_bytes(table[4 * (count + 1) + 8 * n + 2 :][:4], "little")
        letters, begin = begins[n + 1] - begins[n], place & 0x3FFFFFFF
        if place & 0x40000000:
            yield document[begin // 2 : begin // 2 + letters].decode("cp1252", "replace")
        else:
            yield document[begin : begin + 2 * letters].decode("utf-16-le", "replace")


def _plain(text: str) -> str:
    text = text.replace("\x07", "\t").replace("\r", "\n").replace("\x0b", "\n").replace("\x0c", "\n")
    while (shorter := _FIELD.sub("", text)) != text:
        text = shorter
    return _CONTROL.sub("", text)


def _slide_texts(content: bytes) -> Iterator[str]:
    """The texts in the records of a presentation; a container's body is a list of records, too."""
    at = 0
    while at + 8 <= len(content):
        version, kind, size = struct.unpack_from("<HHI", content, at)
        body = content[at + 8 : at + 8 + size]
        if kind in (_WIDE_TEXT, _TEXT):
            text = body.decode("utf-16-le" if kind == _WIDE_TEXT else "latin-1", "replace")
            yield _plain(text)
        at += 8 if version & 0xF == 0xF else 8 + size


def _records(book: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, body) of the records of a workbook."""
    at = 0
    while at + 4 <= len(book):
        kind, size = struct.unpack_from("<HH", book, at)
        yield kind, book[at + 4 : at + 4 + size]
        at += 4 + size


def _drawings(book: bytes) -> bytes:
    """The drawings of a workbook, which are cut into records of 8 KB."""
    parts, within = [], False
    for kind, body in _records(book):
        within = kind == _DRAWING_GROUP or (within and kind == _CONTINUE)
        if within:
            parts.append(body)
    return b"".join(parts)


def _native(stream: bytes) -> tuple[str, bytes]:
    """The name and content of a file that was dropped into a document (MS-OLEDS, 2.3.6)."""
    label, path, rest = stream[6:].split(b"\0", 2)
    at = 4 + 4 + int.from_bytes(rest[4:8], "little")  # a mark, and the path of a temporary copy with its length
    size = int.from_bytes(rest[at : at + 4], "little")
    return (label or path).decode("cp1252", "replace"), rest[at + 4 : at + 4 + size]


def _sheets(path: Path) -> Iterator[Text]:
    import xlrd

    with open(os.devnull, "w") as nowhere:
        with library_errors():
            book = xlrd.open_workbook(str(path), logfile=nowhere, on_demand=True)
        for n in range(book.nsheets):
            with library_errors():
                sheet = book.sheet_by_index(n)
                rows = (
                    "\t".join(_cell(value) for value in sheet.row_values(row)).strip() for row in range(sheet.nrows)
                )
                text = "\n".join(filter(None, rows))
                book.unload_sheet(n)
            yield from _of(text, f"sheet {sheet.name}")


def _cell(value: Any) -> str:
    return f"{value:.15g}" if isinstance(value, float) else str(value)
