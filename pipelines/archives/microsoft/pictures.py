"""Pictures in the streams of DOC, XLS and PPT: the records of drawings that all three have in common (MS-ODRAW)."""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

# of a record: version and instance, type, length. Types are those of EMF, WMF, PICT, JPEG, PNG, DIB, TIFF, JPEG
_BLIP = re.compile(rb"[\s\S]{2}([\x1a-\x1f\x29\x2a])\xf0[\s\S]{4}")
_SUFFIXES = {0x1A: "emf", 0x1B: "wmf", 0x1C: "pict", 0x1D: "jpg", 0x1E: "png", 0x1F: "bmp", 0x29: "tif", 0x2A: "jpg"}
_BEGINS = {"jpg": (b"\xff\xd8\xff",), "png": (b"\x89PNG\r\n",), "tif": (b"II*\0", b"MM\0*")}
_DRAWINGS = ("emf", "wmf", "pict")
_HEADER = 8
_IDS = 34  # bytes at most before the picture: one or two identifiers of 16 bytes, and one byte


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture in a stream; `content` is None if it is a drawing that is not read here."""

    suffix: str
    content: bytes | None


def pictures(stream: bytes) -> Iterator[Picture]:
    """The pictures in a stream, in order. Records are searched: what lies around them differs by program."""
    at = 0
    while found := _BLIP.search(stream, at):
        at = found.start() + 1
        suffix, (length,) = _SUFFIXES[found[1][0]], struct.unpack_from("<I", stream, found.start() + 4)
        body = stream[found.end() : found.end() + length]
        if len(body) < length or length <= _IDS:
            continue
        if suffix in _DRAWINGS:
            if not _is_drawing(body, struct.unpack_from("<H", stream, found.start())[0] >> 4):
                continue
            picture = Picture(suffix, None)
        elif suffix == "bmp":
            content = _with_file_header(body)
            if content is None:
                continue
            picture = Picture(suffix, content)
        else:
            begins = [begin for magic in _BEGINS[suffix] if 0 <= (begin := body.find(magic, 0, _IDS + 8)) <= _IDS]
            if not begins:
                continue
            picture = Picture(suffix, body[min(begins) :])
        yield picture
        at = found.end() + length


def _is_drawing(body: bytes, instance: int) -> bool:
    """Whether the body of a record is a drawing: its header declares as many bytes as it has."""
    ids = 32 if instance & 1 else 16
    return len(body) > ids + 34 and struct.unpack_from("<I", body, ids + 28)[0] == len(body) - ids - 34


def _with_file_header(body: bytes) -> bytes | None:
    """A bitmap without the header of a BMP file, with one."""
    for ids in (17, 33):
        size, width, height, planes, bits = (
            struct.unpack_from("<IiiHH", body, ids) if len(body) > ids + 40 else (0,) * 5
        )
        if size == 40 and planes == 1 and bits in (1, 4, 8, 16, 24, 32) and width > 0 and height:
            colours = struct.unpack_from("<I", body, ids + 32)[0] or (1 << bits if bits <= 8 else 0)
            dib = body[ids:]
            return struct.pack("<2sIHHI", b"BM", 14 + len(dib), 0, 0, 14 + 40 + 4 * colours) + dib
    return None
