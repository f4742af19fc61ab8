"""PDF documents, through PDFium: pages with pictures are members, drawn as PNG; attached files are members too."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from cluster.errors import MediaError
from pipelines.archives.limits import Limits
from pipelines.archives.reader import ENCRYPTED, Entry, Text, library_errors

DPI = 200  # at which a page is drawn: text of 6 points has 12 px then
_ATTACHED = 1_000_000  # numbers of attached files begin here, those of pages at 0


class Pdf:
    """A PDF. A page is a member if it has a picture, or has no text and is not empty: then its text is in pixels."""

    sequential = False

    def __init__(self, path: Path, limits: Limits) -> None:
        import pypdfium2

        self._limits = limits
        try:
            with library_errors():
                self._pdf: Any = pypdfium2.PdfDocument(path)
        except MediaError as error:
            if "password" in error.reason.lower():
                raise MediaError("decode", ENCRYPTED) from None
            raise

    def entries(self) -> Iterator[Entry]:
        """The attached files, then the pages to be looked at. MediaError after the last page that may be."""
        with library_errors():
            attached, pages = self._pdf.count_attachments(), len(self._pdf)
        for n in range(attached):
            with library_errors():
                attachment = self._pdf.get_attachment(n)
                name, size = attachment.get_name(), len(attachment.get_data())
            yield Entry(_ATTACHED + n, f"attachments/{name}", size)
        broken: MediaError | None = None
        for n in range(min(pages, self._limits.pages)):
            try:
                with library_errors():
                    looked_at = _has_pictures(self._pdf[n])
            except MediaError as error:
                broken = MediaError("decode", f"its page {n + 1} cannot be read: {error.reason}")
                continue
            if looked_at:
                yield Entry(n, f"page-{n + 1}.png", 0, kind="image")
        if pages > self._limits.pages:
            raise MediaError(
                "decode", f"it has {pages:,} pages, of which only the first {self._limits.pages} were looked at"
            )
        if broken is not None:
            raise broken

    def open(self, entry: Entry) -> BinaryIO:
        """An attached file, or a page as PNG."""
        with library_errors():
            if entry.n >= _ATTACHED:
                return io.BytesIO(bytes(self._pdf.get_attachment(entry.n - _ATTACHED).get_data()))
            page = self._pdf[entry.n]
            scale = min(DPI / 72, self._limits.page_px / max(*page.get_size(), 1))
            file = io.BytesIO()
            page.render(scale=scale).to_pil().save(file, "PNG", compress_level=1)
            file.seek(0)
            return file

    def texts(self) -> Iterator[Text]:
        """The text layer of each page."""
        for n in range(min(len(self._pdf), self._limits.pages)):
            try:
                with library_errors():
                    text = self._pdf[n].get_textpage().get_text_bounded()
            except MediaError:  # `entries` tells of it
                continue
            if text.strip():
                yield Text(text.replace("\r\n", "\n"), "text layer", n + 1)

    def close(self) -> None:
        """Close the file."""
        self._pdf.close()


def _has_pictures(page: Any) -> bool:
    """Whether a page has a picture, or anything but text."""
    from pypdfium2.raw import FPDF_PAGEOBJ_IMAGE

    if any(True for _ in page.get_objects(filter=[FPDF_PAGEOBJ_IMAGE], max_depth=8)):
        return True
    return page.get_textpage().count_chars() == 0 and any(True for _ in page.get_objects(max_depth=1))
