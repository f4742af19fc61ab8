"""Files that lie behind the end of another one: pictures, films, archives. Phones put them there, and so do hiders."""

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from cluster.errors import MediaError
from cluster.records import Kind
from pipelines.media import formats
from pipelines.media.ends import motion
from pipelines.media.ends.extents import end_of, extent
from pipelines.media.ends.reading import File, bytes_of, found, read
from pipelines.media.guard import byte_file
from pipelines.media.sampling import Frame
from pipelines.media.sources import Embedded, EmbeddedFile, Source

CUT = "it is cut short: bytes are missing at its end"
MOST = 100  # files behind each other, such as the pictures of a raw stream of JPEGs
# how files begin; only what random bytes do not begin with by chance
_BEGINS = re.compile(
    rb"\xff\xd8\xff[\xc0-\xfe]|\x89PNG\r\n\x1a\n|GIF8[79]a|RIFF....(?:WAVE|AVI |WEBP)|PK\x03\x04[\x0a-\x3f]\x00"
    rb"|Rar!\x1a\x07|7z\xbc\xaf\x27\x1c|BZh[1-9]1AY&SY|\xfd7zXZ\x00|%PDF-1|\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
    rb"|\x1aE\xdf\xa3|OggS\x00\x02|fLaC\x00\x00\x00\x22|FLV\x01[\x01\x04\x05]\x00|0&\xb2u\x8ef\xcf\x11"
    rb"|\x00\x00[\x00-\x03].ftyp[\x20-\x7e]{4}",
    re.DOTALL,
)
_MPF = re.compile(rb"MPF\0(?:II\*\0|MM\0\*)")  # the index of a file of several JPEGs
_MPF_COUNT, _INDEX_BYTES = 0xB001, 1 << 18


@dataclass(frozen=True, slots=True)
class Part:
    """A file behind another one."""

    source: Embedded
    kind: Kind | None  # None: its bytes begin like those of a known format only


def frames_behind(
    source: Source, failure: MediaError | None, frames: Callable[[Embedded, Kind], Iterator[Frame]]
) -> Iterator[Frame]:
    """The frames of the pictures and films behind a file. MediaError after them: for what was not looked at.

    `failure`: of the file itself, which is raised with it. `frames` decodes a part.
    """
    reasons = [failure.reason] if failure else []
    try:
        with byte_file(source) as file:
            is_cut, parts = _looked_behind(source, file)
    except OSError:  # the failure tells of it
        is_cut, parts = False, []
    for part in parts[:MOST]:
        if part.kind not in ("image", "video"):
            reasons.append(_not_looked_at(part))
            continue
        where = "picture" if part.kind == "image" else "film"
        try:
            for frame in frames(part.source, part.kind):
                yield replace(frame, note=f"in a {where} behind the end of the file", thumbnail=None)
        except MediaError as error:
            reasons.append(f"a {where} lies behind its end: {error.reason}")
    if len(parts) > MOST:
        reasons.append(f"more than {MOST} files lie behind its end, which were not looked at")
    if is_cut and not failure:
        reasons.append(CUT)
    if reasons:
        raise MediaError("decode", "; ".join(reasons[:5]))


def told(source: Source) -> str:
    """What is missing at the end of a recording, or lies behind it and was not heard, in words; empty if nothing."""
    try:
        with byte_file(source) as file:
            is_cut, parts = _looked_behind(source, file)
    except OSError:
        return ""
    return "; ".join([*([CUT] if is_cut else []), *map(_not_looked_at, parts[:3])])


def _not_looked_at(part: Part) -> str:
    what = part.kind or "of a known format"
    return f"a file ({what}, {part.source.size:,} bytes) lies behind its end, which was not looked at"


def _looked_behind(source: Source, file: File) -> tuple[bool, list[Part]]:
    """Whether a file is cut short, and the files behind it."""
    assert not isinstance(source, Embedded)
    size, head = bytes_of(file), read(file, 0, formats.HEAD_BYTES)
    end = end_of(source, file, head)
    if end is None or end >= size:
        return end is not None and end > size and not _is_picture(head), []
    parts: list[Part] = []
    known = _indexed(read(file, 0, _INDEX_BYTES)) if head.startswith(b"\xff\xd8") else 0
    film = None
    while len(parts) <= MOST and (begin := found(file, _BEGINS, end)) >= 0:
        part = read(file, begin, formats.HEAD_BYTES)
        measured = extent(EmbeddedFile(file, begin, size - begin), part)
        end = size if measured is None else min(size, begin + max(4, measured))
        kind = _kind(part)
        if kind == "image" and known:  # one that the file's own index names: it is shown as its second picture
            known -= 1
            continue
        if kind == "video" and _is_picture(head):
            film = film or motion.film(source)
            if film is not None and film.begin == begin:  # of a motion photo: it is looked at as such
                continue
        parts.append(Part(Embedded(source, begin, end - begin), kind))
    return False, parts


def _kind(head: bytes) -> Kind | None:
    try:
        return formats.kind_of(head)
    except MediaError:
        return None


def _is_picture(head: bytes) -> bool:
    return _kind(head) == "image"


def _indexed(head: bytes) -> int:
    """How many pictures the index of a JPEG names besides the first one."""
    index = _MPF.search(head)
    if index is None:
        return 0
    tables, order = head[index.start() + 4 :], "<" if head[index.start() + 4 : index.start() + 6] == b"II" else ">"
    try:
        (at,) = struct.unpack_from(f"{order}I", tables, 4)
        (count,) = struct.unpack_from(f"{order}H", tables, at)
        entries = [struct.unpack_from(f"{order}HHII", tables, at + 2 + 12 * n) for n in range(count)]
    except struct.error:
        return 0
    return next((max(0, value - 1) for tag, _, _, value in entries if tag == _MPF_COUNT), 0)
