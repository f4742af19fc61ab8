"""The text of office documents: DOCX, XLSX, PPTX and the OpenDocument formats."""

import re
from collections.abc import Iterator
from xml.etree.ElementTree import iterparse
from zipfile import ZipFile

from pipelines.archives.reader import Text, library_errors

# parts with text by their path in the archive, and the names of the elements that are one line each
_PARTS = re.compile(
    r"word/(document|header\d*|footer\d*|footnotes|endnotes|comments)\.xml|ppt/(slides|notesSlides)/[^/]+\.xml"
    r"|xl/(sharedStrings|comments\d*)\.xml|content\.xml|styles\.xml"
)
_LINES = {"p", "h", "si", "comment"}
_TEXT_BYTES = 50_000_000  # of XML in one part; a larger one is not read


def is_office(archive: ZipFile) -> bool:
    """Whether an archive is a document, whose other members are its own parts and no files of someone."""
    names = set(archive.namelist())
    return "[Content_Types].xml" in names or ("mimetype" in names and "META-INF/manifest.xml" in names)


def texts(archive: ZipFile) -> Iterator[Text]:
    """The lines of each part of a document; its origin is the part's path."""
    if not is_office(archive):
        return
    for info in archive.infolist():
        if _PARTS.fullmatch(info.filename) and not info.flag_bits & 1 and info.file_size <= _TEXT_BYTES:
            with library_errors():
                lines = list(_lines(archive, info.filename))
            if text := "\n".join(lines):
                yield Text(text, info.filename)


def _lines(archive: ZipFile, part: str) -> Iterator[str]:
    with archive.open(part) as file:
        for _, element in iterparse(file):
            if element.tag.rpartition("}")[2] in _LINES:
                line = " ".join("".join(element.itertext()).split())
                element.clear()  # the text of a box in a paragraph must not come again with the paragraph
                if line:
                    yield line
