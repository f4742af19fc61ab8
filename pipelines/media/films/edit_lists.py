"""What the edit lists of an MP4 or QuickTime file hide: phones trim a film by them, and keep all of it in the file."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import RawIOBase
from typing import BinaryIO, Literal

LEAST_S = 0.5  # encoders hide less than this at both ends: their delay, and the filling of the last frame
MOST_BYTES = 200_000_000  # of the index of a file; that of a day is smaller
_WITHIN = (b"moov", b"trak", b"edts", b"mdia", b"minf", b"stbl")  # boxes that hold boxes
_KINDS = {b"vide": "video", b"soun": "sound"}


@dataclass(slots=True)
class _Track:
    kind: str = ""
    timescale: int = 0
    duration: int = 0  # in units of its timescale
    last: int = 0  # duration of its last frame
    begin: int = 0  # when its first frame is shown: later than 0 where frames are stored in another order
    edits: tuple[tuple[int, int], ...] = ()  # duration in units of the film's timescale, first unit of the track or -1


def hidden(file: BinaryIO | RawIOBase, kind: Literal["video", "sound"]) -> list[str]:
    """What the tracks of that kind have that is not shown, in words; empty for other files, and for broken ones."""
    with suppress(ValueError, IndexError, OSError, OverflowError):
        index = _index(file)
        timescale = 0
        tracks: list[_Track] = []
        for name, body in _boxes(index):
            if name == b"mvhd":
                timescale = _numbers(body, 12, 20)[0]
            elif name == b"trak":
                tracks.append(_Track())
            elif tracks:
                _read(tracks[-1], name, body)
        return [words for track in tracks if track.kind == kind and timescale and (words := _words(track, timescale))]
    return []


def _index(file: BinaryIO | RawIOBase) -> bytes:
    """The body of the box `moov`; empty if the file has none."""
    size = file.seek(0, 2)
    at = 0
    while at + 8 <= size:
        file.seek(at)
        header = file.read(16) or b""
        length, begin = int.from_bytes(header[:4]), 8
        if length == 1:
            length, begin = int.from_bytes(header[8:16]), 16
        length = length or size - at
        if length < begin or (at == 0 and not header[4:8].isalpha()):
            return b""
        if header[4:8] == b"moov":
            if length > MOST_BYTES:
                return b""
            file.seek(at + begin)
            return _exactly(file, length - begin)
        at += length
    return b""


def _exactly(file: BinaryIO | RawIOBase, size: int) -> bytes:
    content = b""
    while len(content) < size and (piece := file.read(size - len(content))):
        content += piece
    return content


def _boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(name, body) of the boxes in a box, each before those that it holds."""
    at = 0
    while at + 8 <= len(content):
        length, name = int.from_bytes(content[at : at + 4]), content[at + 4 : at + 8]
        if length < 8:
            return
        body = content[at + 8 : at + length]
        yield name, body
        if name in _WITHIN:
            yield from _boxes(body)
        at += length


def _numbers(body: bytes, short: int, long: int) -> tuple[int, int]:
    """The timescale and duration in a header, at these offsets by its version."""
    at, size = (long, 8) if body[0] == 1 else (short, 4)
    return int.from_bytes(body[at : at + 4]), int.from_bytes(body[at + 4 : at + 4 + size])


def _read(track: _Track, name: bytes, body: bytes) -> None:
    if name == b"mdhd":
        track.timescale, track.duration = _numbers(body, 12, 20)
    elif name == b"hdlr" and not track.kind:
        track.kind = _KINDS.get(body[8:12], "")
    elif name == b"stts" and len(body) >= 16:
        track.last = int.from_bytes(body[-4:])
    elif name == b"ctts" and len(body) >= 16:
        track.begin = int.from_bytes(body[12:16], signed=True)
    elif name == b"elst":
        size = 8 if body[0] == 1 else 4
        entries = [body[at : at + 2 * size + 4] for at in range(8, len(body) - 2 * size - 3, 2 * size + 4)]
        track.edits = tuple(
            (int.from_bytes(entry[:size]), int.from_bytes(entry[size : 2 * size], signed=True)) for entry in entries
        )


def _words(track: _Track, timescale: int) -> str:
    if not track.kind or not track.timescale or not track.edits:
        return ""
    first_s = track.begin / track.timescale
    whole_s = first_s + (track.duration - track.last) / track.timescale  # a frame that begins later does not exist
    shown = sorted(
        (begin / track.timescale, begin / track.timescale + duration / timescale if duration else whole_s)
        for duration, begin in track.edits
        if begin >= 0
    )
    hidden_s, at_s = [], first_s
    for begin_s, end_s in [*shown, (whole_s, whole_s)]:
        if begin_s - at_s >= LEAST_S:
            hidden_s.append((at_s, begin_s))
        at_s = max(at_s, end_s)
    parts = ", ".join(f"{begin_s - first_s:.1f} to {end_s - first_s:.1f} s" for begin_s, end_s in hidden_s[:5])
    return f"{parts} of its {track.kind}" if parts else ""
