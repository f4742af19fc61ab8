"""Where a file ends by its format: before the end of its bytes if others follow, behind it if it is cut short."""

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pipelines.media.ends import pictures
from pipelines.media.ends.reading import File, big, bytes_of, little, read
from pipelines.media.sources import Source

_PAGE_BYTES = 1 << 17  # of the end of a file, in which the last page or packet begins
_UNKNOWN = 0x7FFF0000  # and larger: sizes that programs write before they know better
_MATROSKA = (0x1A45DFA3, 0x18538067, 0xEC, 0xBF)  # header and segment, padding and checksums
_ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_FIRST_BOXES = (b"moov", b"mdat", b"moof", b"meta")  # after one of these, another "ftyp" begins another file

_ends: dict[tuple[Path, int, int, int], int | None] = {}  # of one file: see `end_of`


def end_of(source: Source, file: File, head: bytes) -> int | None:
    """The extent of a source with this head, which is open as `file`.

    That of the last local file is kept while the file is unchanged: a decoder needs it three times for each picture,
    and that of a JPEG is found by reading all of it.
    """
    if not isinstance(source, Path):  # reading it may fail, which is told at its end only
        return extent(file, head)
    stat = source.stat()
    key = source, stat.st_ino, stat.st_size, stat.st_mtime_ns
    if key not in _ends:
        end = extent(file, head)
        _ends.clear()
        _ends[key] = end
    return _ends[key]


def extent(file: File, head: bytes) -> int | None:
    """The offset at which a file with this head ends by its format; None where that is not known.

    Of a file that is cut short it is more than the file has.
    """
    measure = next((function for pattern, function in _MEASURES.items() if pattern.match(head)), None)
    with suppress(EOFError):
        return measure(file) if measure else None
    return bytes_of(file) + 1


def _riff(file: File) -> int | None:
    at = 0
    wanted: tuple[bytes, ...] = (b"RIFF", b"RF64", b"BW64")
    while (chunk := read(file, at, 12))[:4] in wanted:
        size = int.from_bytes(chunk[4:8], "little")
        if chunk[:4] != b"RIFF":
            size = little(file, at + 20, 8)
        elif size >= _UNKNOWN or size <= 4:
            return None
        at += 8 + size + size % 2
        # a large AVI goes on in further chunks
        wanted = (b"RIFF",) if chunk[8:12] in (b"AVI ", b"AVIX") and read(file, at + 8, 4) == b"AVIX" else ()
    return _about(at, file)


def _aiff(file: File) -> int | None:
    size = big(file, 4, 4)
    return _about(8 + size + size % 2, file)


def _about(at: int, file: File) -> int:
    """Some programs count the header in, or leave out the last byte, which only fills."""
    end = bytes_of(file)
    return end if end < at <= end + 16 else at


def _au(file: File) -> int | None:
    size = big(file, 8, 4)
    return None if size >= _UNKNOWN else big(file, 4, 4) + size


def _caf(file: File) -> int | None:
    at, end = 8, bytes_of(file)
    while at + 12 <= end and read(file, at, 4).isalnum():
        size = big(file, at + 4, 8)
        if size >= 1 << 63:  # it reaches to the end
            return None
        at += 12 + size
    return at


def _w64(file: File) -> int | None:
    return little(file, 16, 8)


def _voc(file: File) -> int | None:
    at = little(file, 20, 2)
    while kind := read(file, at, 1):
        at += 1
        if kind == b"\0":
            break
        at += 3 + little(file, at, 3)
    return at


def _matroska(file: File) -> int | None:
    at, end = 0, bytes_of(file)
    while at < end:
        first = big(file, at, 1)
        length = 9 - first.bit_length()  # the number of zero bits before the first one, and one
        name = big(file, at, length) if length <= 4 else 0
        if name not in _MATROSKA:
            break
        at += length
        first = big(file, at, 1)
        length = 9 - first.bit_length()
        if length > 8:
            break
        size = big(file, at, length) & ((1 << 7 * length) - 1)
        if size == (1 << 7 * length) - 1:  # unknown, of a live recording
            return None
        at += length + size
    return at


def _boxes(file: File) -> int | None:
    at, end, begun = 0, bytes_of(file), False
    while at + 8 <= end:
        header = read(file, at, 16)
        name, length = header[4:8], int.from_bytes(header[:4])
        if not name.replace(b" ", b"").replace(b"\xa9", b"").isalnum() or (begun and name == b"ftyp"):
            break
        begun = begun or name in _FIRST_BOXES
        length = int.from_bytes(header[8:16]) if length == 1 else length
        if length == 0:
            return end
        if length < 8:
            break
        at += length
    return at


def _flash(file: File) -> int | None:
    at, end = big(file, 5, 4) + 4, bytes_of(file)
    while at + 11 <= end:
        tag = read(file, at, 4)
        if tag[0] & 0x1F not in (8, 9, 18):
            return at
        at += 11 + int.from_bytes(tag[1:]) + 4
    return at if at >= end else end + 1


def _asf(file: File) -> int | None:
    header = read(file, 0, 1 << 16)
    at = header.find(_ASF_FILE)
    if at < 0 or len(header) < at + 92 or header[at + 88] & 1:  # it was sent while it was recorded
        return None
    return int.from_bytes(header[at + 40 : at + 48], "little") or None


def _ogg(file: File) -> int | None:
    end = bytes_of(file)
    tail = read(file, max(0, end - _PAGE_BYTES), _PAGE_BYTES)
    at = tail.rfind(b"OggS\0")
    if at < 0:
        return None
    page = tail[at:]
    lengths = page[27 : 27 + page[26]] if len(page) > 27 else b""
    last = 27 + len(lengths) + sum(lengths)
    is_last = len(page) >= last and bool(page[5] & 4)  # its stream ends with it
    return end - len(page) + last if is_last else end + 1


def _mpeg_audio(file: File) -> int | None:
    begin = 0
    head = read(file, 0, 10)
    if head.startswith(b"ID3"):
        begin = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    frame = read(file, begin, 200)
    at = max(frame.find(b"Xing", 0, 44), frame.find(b"Info", 0, 44))
    flags = int.from_bytes(frame[at + 4 : at + 8])
    if at < 0 or not flags & 2:
        return None
    at += 8 + 4 * (flags & 1)
    return begin + int.from_bytes(frame[at : at + 4])


def _transport(packet: int) -> Callable[[File], int | None]:
    def measure(file: File) -> int | None:
        end = bytes_of(file)
        return end + (-end) % packet

    return measure


def _program(file: File) -> int | None:
    """Packs and packets of the last part of an MPEG program stream."""
    end = bytes_of(file)
    begin = max(0, end - _PAGE_BYTES)
    tail = read(file, begin, _PAGE_BYTES)
    at = tail.find(b"\0\0\1\xba")
    while 0 <= at < len(tail) and tail[at : at + 3] == b"\0\0\1":
        kind = tail[at + 3 : at + 4]
        if kind == b"\xb9":
            at += 4
        elif kind == b"\xba":
            is_2 = tail[at + 4 : at + 5] >= b"\x40"
            at += 14 + (tail[at + 13] & 7 if len(tail) > at + 13 else 0) if is_2 else 12
        else:
            at += 6 + int.from_bytes(tail[at + 4 : at + 6])
    return begin + at if at > len(tail) else None


_MEASURES: dict["re.Pattern[bytes]", Callable[[File], int | None]] = {
    re.compile(rb"(?:RIFF|RF64|BW64)....(?:WAVE|AVI |WEBP|QLCM)", re.DOTALL): _riff,
    re.compile(rb"FORM....AIF[FC]", re.DOTALL): _aiff,
    re.compile(rb"\.snd"): _au,
    re.compile(rb"caff"): _caf,
    re.compile(rb"riff\x2e\x91"): _w64,
    re.compile(rb"Creative Voice File"): _voc,
    re.compile(rb"\x1aE\xdf\xa3"): _matroska,
    re.compile(rb"....(?:ftyp|moov|mdat|free|skip|wide)", re.DOTALL): _boxes,
    re.compile(rb"FLV\x01"): _flash,
    re.compile(rb"0&\xb2u\x8ef\xcf\x11"): _asf,
    re.compile(rb"OggS"): _ogg,
    re.compile(rb"ID3|\xff[\xe2-\xff]"): _mpeg_audio,
    re.compile(rb"G.{187}G", re.DOTALL): _transport(188),
    re.compile(rb".{4}G.{191}G", re.DOTALL): _transport(192),
    re.compile(rb"\x00\x00\x01\xba"): _program,
    re.compile(rb"\x89PNG"): pictures.png,
    re.compile(rb"\xff\xd8\xff"): pictures.jpeg,
    re.compile(rb"GIF8"): pictures.gif,
    re.compile(rb"BM"): pictures.bmp,
}
