"""Write films whose captions are pictures, as on a Blu-ray (PGS), and films that an edit list trims."""

import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIZE = (640, 360)  # of the film


def captioned(path: Path, *cues: tuple[float, float, str], seconds: int = 4) -> Path:
    """Write a grey Matroska film of 10 frames a second; each cue: (start, end in s, text)."""
    import av

    stream_of_captions = path.with_suffix(".sup")
    stream_of_captions.write_bytes(b"".join(part for cue in cues for part in _display_sets(*cue)))
    with av.open(str(path), "w") as out, av.open(str(stream_of_captions)) as sup:
        video = out.add_stream("libx264", rate=10)
        video.width, video.height = SIZE
        video.pix_fmt, video.gop_size = "yuv420p", 10
        written = out.add_stream_from_template(sup.streams[0])
        written.metadata["language"] = "eng"
        packets = [packet for packet in sup.demux() if packet.size]
        for packet in packets:
            packet.stream = written
        grey = av.VideoFrame.from_image(Image.new("RGB", SIZE, "grey"))
        for n in range(10 * seconds):
            grey.pts, grey.time_base = n, Fraction(1, 10)
            packets += video.encode(grey)
        packets += video.encode(None)
        for packet in sorted(packets, key=lambda packet: float(packet.dts * packet.time_base)):
            out.mux(packet)
    return path


def _display_sets(begin_s: float, end_s: float, text: str) -> Iterator[bytes]:
    """A caption that appears and goes, in white (colour 1) on nothing (0)."""
    drawn = Image.new("L", (500, 60))
    ImageDraw.Draw(drawn).text((10, 5), text, 255, ImageFont.load_default(size=40))
    at, size = (60, 280), drawn.size
    pixels = b"".join(map(_run_lengths, (np.asarray(drawn) > 128).astype(np.uint8)))
    window = b"\1\0" + struct.pack(">HHHH", *at, *size)
    shown = struct.pack(">HHBHBBBB", *SIZE, 0x10, 0, 0x80, 0, 0, 1) + struct.pack(">HBBHH", 0, 0, 0, *at)
    yield _part(begin_s, 0x16, shown)
    yield _part(begin_s, 0x17, window)
    yield _part(begin_s, 0x14, b"\0\0" + bytes([0, 16, 128, 128, 0, 1, 235, 128, 128, 255]))
    head = struct.pack(">HBB", 0, 0, 0xC0) + (len(pixels) + 4).to_bytes(3, "big") + struct.pack(">HH", *size)
    yield _part(begin_s, 0x15, head + pixels)
    yield _part(begin_s, 0x80, b"")
    yield _part(end_s, 0x16, struct.pack(">HHBHBBBB", *SIZE, 0x10, 0, 0, 0, 0, 0))
    yield _part(end_s, 0x17, window)
    yield _part(end_s, 0x80, b"")


def _part(time_s: float, kind: int, body: bytes) -> bytes:
    return b"PG" + struct.pack(">IIBH", round(time_s * 90_000), 0, kind, len(body)) + body


def _run_lengths(row: np.ndarray) -> bytes:
    coded, at = b"", 0
    while at < len(row):
        end = at + 1
        while end < len(row) and row[end] == row[at]:
            end += 1
        count, colour = end - at, int(row[at])
        flags = (0x80 if colour else 0) | (0x40 if count > 63 else 0)
        coded += bytes([0, flags | count >> 8, count & 255] if count > 63 else [0, flags | count])
        coded += bytes([colour]) if colour else b""
        at = end
    return coded + b"\0\0"


def trimmed(path: Path, whole: Path, from_s: float) -> Path:
    """Copy an MP4 film without its first seconds: they stay in the file, and an edit list hides them."""
    content = whole.read_bytes()
    edit = content.index(b"elst")
    while edit >= 0:  # version 0: a count of entries, then duration, first unit, rate of each
        timescale = int.from_bytes(content[content.index(b"mdhd", edit) + 16 :][:4])
        first = edit + 16
        begin = int.from_bytes(content[first : first + 4], signed=True) + round(from_s * timescale)
        content = content[:first] + begin.to_bytes(4, "big", signed=True) + content[first + 4 :]
        edit = content.find(b"elst", first)
    path.write_bytes(content)
    return path
