"""A report as PDF: Typst sets it in parts, so that memory holds one part, and PDFium joins them."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

from cluster.storage.disks import naming_full_disk, temporary_folder
from deployments.reports.content import Entry, Head, Tail, Writer
from deployments.reports.typesetting import typeset

PART = 250  # files of which the pages are set at a time
_joining = threading.Lock()  # PDFium may be used by one thread at a time


@contextmanager
def pdf(to: BinaryIO) -> Iterator[Writer]:
    """A writer of a report as PDF. DiskFull if there is no space for its parts."""
    with temporary_folder("raysift-report-") as folder, naming_full_disk(folder):
        yield _Pdf(to, folder)


class _Pdf:
    def __init__(self, to: BinaryIO, folder: Path) -> None:
        self._to, self._folder = to, folder
        self._title = ""
        self._head: Head | None = None
        self._waiting: list[Entry] = []
        self._parts: list[Path] = []
        self._pages = 0

    def begin(self, head: Head) -> None:
        self._title, self._head = f"Case report: {head.title}, {head.made_at}", head

    def add(self, entries: Sequence[Entry]) -> None:
        self._waiting += entries
        if len(self._waiting) >= PART:
            self._set_part(None)

    def end(self, tail: Tail) -> None:
        self._set_part(tail)
        with _joining:
            self._to.write(self._parts[0].read_bytes()) if len(self._parts) == 1 else _join(self._parts, self._to)

    def _set_part(self, tail: Tail | None) -> None:
        """Write the pages of what waits, and of the head or tail, into a file of their own."""
        values = {
            "title": self._title,
            "page": self._pages + 1,
            "head": self._head and asdict(self._head),
            "entries": [asdict(entry) | {"picture": self._picture(entry)} for entry in self._waiting],
            "tail": tail and asdict(tail),
        }
        part = self._folder / f"part-{len(self._parts)}.pdf"
        typeset(values, self._folder, part)
        for picture in self._folder.glob("*.jpg"):
            picture.unlink()
        self._parts.append(part)
        self._pages += _pages(part)
        self._head, self._waiting = None, []

    def _picture(self, entry: Entry) -> str | None:
        if entry.picture is None:
            return None
        (self._folder / f"{entry.number}.jpg").write_bytes(entry.picture)
        return f"{entry.number}.jpg"


def _pages(part: Path) -> int:
    import pypdfium2

    with _joining:
        document = pypdfium2.PdfDocument(part)
        try:
            return len(document)
        finally:
            document.close()


def _join(parts: Sequence[Path], to: BinaryIO) -> None:
    import pypdfium2

    whole = pypdfium2.PdfDocument.new()
    try:
        for part in parts:
            document = pypdfium2.PdfDocument(part)
            whole.import_pages(document)
            document.close()
        whole.save(to)
    finally:
        whole.close()
