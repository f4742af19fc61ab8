"""PDF documents, through PDFium: pages with pictures are members, drawn as PNG; attached files are members too."""

import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from cluster.errors import MediaError
from pipelines.archives.limits import Limits
from pipelines.archives.reader import ENCRYPTED, Entry, Text, library_errors

DPI = 200  # at which a page is drawn: text of 6 points has 12 px then
LEAST_DPI = 100  # of a page that is longer than a sheet of paper, such as a screenshot; DPI would be too many pixels
MOST_PIXELS = 40_000_000  # of a page; one that is as large as a wall is drawn with less than LEAST_DPI
DRAWN = 30  # segments in one path, or curves of a page, from which on it is drawn: letters as outlines, handwriting
_ATTACHED = 1_000_000  # numbers of attached files begin here, those of pages at 0
_ON_PAGES = 2_000_000  # and here those of files that are attached to a place on a page


class Pdf:
    """A PDF. A page is a member if it shows more than text and straight lines, or has no text and is not empty."""

    sequential = False

    def __init__(self, path: Path, limits: Limits) -> None:
        import pypdfium2

        self._limits = limits
        self._on_pages: list[Any] = []  # files attached to places on pages
        try:
            with library_errors():
                self._pdf: Any = pypdfium2.PdfDocument(path)
                self._pdf.init_forms()  # else what was filled in is not drawn
        except MediaError as error:
            if "password" in error.reason.lower():
                raise MediaError("decode", ENCRYPTED) from None
            raise

    def entries(self) -> Iterator[Entry]:
        """The attached files, and the pages to be looked at with files on them. MediaError says what is left out."""
        with library_errors():
            attached, pages = self._pdf.count_attachments(), len(self._pdf)
        for n in range(attached):
            with library_errors():
                attachment = self._pdf.get_attachment(n)
            yield _attached(attachment, _ATTACHED + n)
        left_out, playing = [], []
        for n in range(min(pages, self._limits.pages)):
            try:
                with library_errors():
                    page = self._pdf[n]
                    notes = list(_annotations(page))
                    drawn = bool({note.subtype for note in notes} - _UNSEEN) or _has_drawings(page)
            except MediaError as error:
                left_out.append(f"its page {n + 1} cannot be read: {error.reason}")
                continue
            if drawn:
                yield Entry(n, f"page-{n + 1}.png", 0, kind="image")
            for note in notes:
                if note.file is not None:
                    self._on_pages.append(note.file)
                    yield _attached(note.file, _ON_PAGES + len(self._on_pages) - 1)
            playing += [str(n + 1)] if {note.subtype for note in notes} & _PLAYED else []
        if playing:
            left_out.append(f"films, sounds or models on page {', '.join(playing[:5])} were not looked at")
        if pages > self._limits.pages:
            left_out.insert(0, f"it has {pages:,} pages, of which only the first {self._limits.pages} were looked at")
        if left_out:
            raise MediaError("decode", "; ".join(left_out[:5]))

    def open(self, entry: Entry) -> BinaryIO:
        """An attached file, or a page as PNG."""
        with library_errors():
            if entry.n >= _ON_PAGES:
                return io.BytesIO(bytes(self._on_pages[entry.n - _ON_PAGES].get_data()))
            if entry.n >= _ATTACHED:
                return io.BytesIO(bytes(self._pdf.get_attachment(entry.n - _ATTACHED).get_data()))
            page = self._pdf[entry.n]
            width, height = page.get_size()
            most = min(LEAST_DPI / 72, math.sqrt(MOST_PIXELS / max(width * height, 1)))
            scale = min(DPI / 72, max(most, self._limits.page_px / max(width, height, 1)))
            file = io.BytesIO()
            page.render(scale=scale).to_pil().save(file, "PNG", compress_level=1)
            file.seek(0)
            return file

    def texts(self) -> Iterator[Text]:
        """The text layer of each page, what was filled into its forms, and the notes on it."""
        for n in range(min(len(self._pdf), self._limits.pages)):
            try:
                with library_errors():
                    page = self._pdf[n]
                    text = page.get_textpage().get_text_range()
                    notes = list(_annotations(page))
            except MediaError:  # `entries` tells of it
                continue
            if text.strip():
                yield Text(text.replace("\r\n", "\n"), "text layer", n + 1)
            for origin, found in (("form", [one.value for one in notes]), ("note", [one.contents for one in notes])):
                if lines := "\n".join(filter(None, found)):
                    yield Text(lines, origin, n + 1)

    def close(self) -> None:
        """Close the file."""
        self._on_pages.clear()
        self._pdf.close()


@dataclass(frozen=True, slots=True)
class _Annotation:
    subtype: int
    contents: str  # of a note or comment
    value: str  # of a field of a form
    file: Any  # attached to this place, or None


# annotations that show nothing of their own but text: links, popups, notes, marks of text, signs of attached files
_UNSEEN = {1, 2, 9, 10, 11, 12, 16, 17}
_PLAYED = {18, 19, 21, 25, 26}  # sounds, films, screens, 3D models, rich media
_FILE, _FIELD = 17, 20


def _annotations(page: Any) -> Iterator[_Annotation]:
    from pypdfium2 import PdfAttachment, raw

    forms = page.formenv
    for n in range(raw.FPDFPage_GetAnnotCount(page)):
        note = raw.FPDFPage_GetAnnot(page, n)
        if not note:
            continue
        try:
            subtype = raw.FPDFAnnot_GetSubtype(note)
            contents = _string(raw.FPDFAnnot_GetStringValue, note, b"Contents")
            is_field = subtype == _FIELD and forms
            value = _string(raw.FPDFAnnot_GetFormFieldValue, forms, note) if is_field else ""
            file = raw.FPDFAnnot_GetFileAttachment(note) if subtype == _FILE else None
            yield _Annotation(subtype, contents, value, PdfAttachment(file, page.pdf) if file else None)
        finally:
            raw.FPDFPage_CloseAnnot(note)


def _string(function: Callable[..., int], *arguments: Any) -> str:
    """A string that a function of PDFium writes as UTF-16 into a buffer; its length in bytes is asked for first."""
    from pypdfium2 import raw

    size = function(*arguments, None, 0)
    if size <= 2:  # its end
        return ""
    buffer = (raw.FPDF_WCHAR * (size // 2))()
    function(*arguments, buffer, size)
    return bytes(buffer)[: size - 2].decode("utf-16-le", "replace")


def _attached(attachment: Any, n: int) -> Entry:
    name = f"attachment-{n % _ATTACHED + 1}"
    try:
        with library_errors():
            name = attachment.get_name() or name
            return Entry(n, f"attachments/{name}", len(attachment.get_data()))
    except MediaError as error:
        return Entry(n, f"attachments/{name}", 0, problem=error.reason)


def _has_drawings(page: Any) -> bool:
    """Whether a page has pictures, shades or many curves; or, if it has no text, anything at all."""
    from pypdfium2 import raw

    if any(True for _ in page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE, raw.FPDF_PAGEOBJ_SHADING], max_depth=8)):
        return True
    if page.get_textpage().count_chars() == 0 and any(True for _ in page.get_objects(max_depth=1)):
        return True
    curves = 0
    for path in page.get_objects(filter=[raw.FPDF_PAGEOBJ_PATH], max_depth=8):
        count = raw.FPDFPath_CountSegments(path)
        if count > DRAWN:
            return True
        segments = (raw.FPDFPath_GetPathSegment(path, n) for n in range(count))
        curves += sum(raw.FPDFPathSegment_GetType(segment) == raw.FPDF_SEGMENT_BEZIERTO for segment in segments)
        if curves > DRAWN:
            return True
    return False
