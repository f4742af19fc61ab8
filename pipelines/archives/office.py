"""The text of office documents: DOCX, XLSX, PPTX and the OpenDocument formats."""

import re
from collections.abc import Iterator
from xml.etree.ElementTree import Element, iterparse
from zipfile import ZipFile

from cluster.errors import MediaError
from pipelines.archives.reader import Text, library_errors

# parts with text by their path in the archive
_PARTS = re.compile(
    r"word/(document|header\d*|footer\d*|footnotes|endnotes|comments)\.xml|ppt/(slides|notesSlides)/[^/]+\.xml"
    r"|xl/(sharedStrings|comments\d*)\.xml|xl/worksheets/[^/]+\.xml"
    r"|(word|xl|ppt)/(charts|diagrams|drawings|comments|threadedComments)/(?!colors|style|layout|quickStyle)[^/]+\.xml"
    r"|(?:.+/)?content\.xml|(?:.+/)?styles\.xml"
)
_LINES = {"p", "h", "si", "comment", "is"}  # names of the elements that are one line each
_MORE_LINES = {  # by a part of the path: in other parts these names mean other things
    "/charts/": {"v"},  # titles and values
    "omments/": {"text"},
}
_SHEET = "xl/worksheets/"
_SHARED = "s"  # type of a cell whose text stands in xl/sharedStrings.xml
_TEXT_BYTES = 50_000_000  # of XML in one part; a larger one is not read


def is_office(archive: ZipFile) -> bool:
    """Whether an archive is a document, whose other members are its own parts and no files of someone."""
    names = set(archive.namelist())
    return "[Content_Types].xml" in names or ("mimetype" in names and "META-INF/manifest.xml" in names)


def is_encrypted(archive: ZipFile) -> bool:
    """Whether an archive is an OpenDocument file with a password: its members are named, and cannot be read."""
    if "META-INF/manifest.xml" not in archive.NameToInfo or "mimetype" not in archive.NameToInfo:
        return False
    with library_errors(), archive.open("META-INF/manifest.xml") as manifest:
        return b"encryption-data" in manifest.read(_TEXT_BYTES)


def texts(archive: ZipFile) -> Iterator[Text]:
    """The lines of each part of a document; its origin is the part's path. MediaError after them for what is unread."""
    if not is_office(archive):
        return
    unread = []
    for info in archive.infolist():
        if info.filename == "xl/workbook.bin":
            unread.append("the cells of a binary workbook (XLSB) were not read")
        if not _PARTS.fullmatch(info.filename) or info.flag_bits & 1:
            continue
        if info.file_size > _TEXT_BYTES:
            unread.append(f"{info.filename} in it has more than {_TEXT_BYTES:,} bytes: its text was not read")
            continue
        try:
            with library_errors():
                lines = list(_lines(archive, info.filename))
        except MediaError as error:
            unread.append(f"{info.filename}: {error.reason}")
            continue
        if text := "\n".join(lines):
            yield Text(text, info.filename)
    if unread:
        raise MediaError("decode", "; ".join(unread[:5]))


def _lines(archive: ZipFile, part: str) -> Iterator[str]:
    names = _LINES.union(*(more for where, more in _MORE_LINES.items() if where in part))
    with archive.open(part) as file:
        cells: list[str] = []
        for _, element in iterparse(file):
            name = element.tag.rpartition("}")[2]
            if part.startswith(_SHEET) and name in ("c", "row"):
                if name == "c":
                    cells += filter(None, [_cell(element)])
                elif cells:
                    yield "\t".join(cells)
                    cells = []
                element.clear()
            elif name in names and not (part.startswith(_SHEET) and name == "is"):
                line = " ".join("".join(element.itertext()).split())
                element.clear()  # the text of a box in a paragraph must not come again with the paragraph
                if line:
                    yield line


def _cell(element: Element) -> str:
    """What a cell of a sheet shows, unless it stands among the strings that all sheets share."""
    if element.get("t") == _SHARED:
        return ""
    shown = (one for one in element if one.tag.rpartition("}")[2] in ("v", "is"))  # not the formula
    return " ".join("".join(text for one in shown for text in one.itertext()).split())
