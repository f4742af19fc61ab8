"""Write media files for tests, and compare what is decoded from them."""

import base64
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cluster.errors import MediaError
from cluster.settings import Decoding
from pipelines.media import decoding
from pipelines.media.decoding import Frame
from tests.support.paths import SHARED

DECODING = Decoding()
RED, GREEN, BLUE, WHITE = (220, 20, 20), (20, 200, 20), (20, 20, 220), (255, 255, 255)
FILMS = SHARED / "media" / "video"
# a HEIC of 128 x 128 px in RED: no library here writes HEIC, and x265 fails now and then for one frame
HEIC = base64.b64decode(
    "AAAAGGZ0eXBoZWljAAAAAG1pZjFoZWljAAABKG1ldGEAAAAAAAAAIWhkbHIAAAAAAAAAAHBpY3QAAAAAAAAAAAAAAAAAAAAADnBp"
    "dG0AAAAAAAEAAAAeaWxvYwAAAABEAAABAAEAAAABAAABSAAAAHAAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAA"
    "AKxpcHJwAAAAj2lwY28AAABzaHZjQwEECAAAAJ+oAAAAAB7wAPz9+PgAAA8DIAABABdAAQwB//8ECAAAAwCfqAAAAwAAHroCQCEA"
    "AQAnQgEBBAgAAAMAn6gAAAMAAB6gECAgWW6kkyuaAgAAAwACAAADABQQIgABAAdEAcFysCJAAAAAFGlzcGUAAAAAAAAAgAAAAIAA"
    "AAAVaXBtYQAAAAAAAAABAAECgQIAAAB4bWRhdAAAABdAAQwB//8ECAAAAwCfqAAAAwAAHroCQAAAACdCAQEECAAAAwCfqAAAAwAA"
    "HqAQICBZbqSTK5oCAAADAAIAAAMAFBAAAAAHRAHBcrAiQAAAABsoAa946wIB/+tv//S46Xm1NRUYR7klu4A6AXU="
)


def solid(color: tuple[int, int, int], width: int = 160, height: int = 120) -> Image.Image:
    """An image of one colour."""
    return Image.new("RGB", (width, height), color)


def save(path: Path, image: Image.Image, **options: Any) -> Path:
    """Write an image with Pillow's options; returns the path."""
    image.save(path, **options)
    return path


def film(path: Path, pictures: Iterable[Image.Image], rate: int = 10, **options: Any) -> Path:
    """Write a video. Options: rotation in degrees, sound_hz of a tone, faststart to put the index first, gop, codec."""
    import av

    pictures = list(pictures)
    muxer = {"movflags": "faststart"} if options.get("faststart") else {}
    with av.open(str(path), "w", options=muxer) as container:
        video = container.add_stream(options.get("codec", "libx264"), rate=rate)
        video.width, video.height = pictures[0].size
        video.pix_fmt = "yuvj420p" if options.get("codec") == "mjpeg" else "yuv420p"
        if "gop" in options:
            video.gop_size = options["gop"]
        if "rotation" in options:
            video.set_display_rotation(options["rotation"])
        tone = container.add_stream("aac", rate=48_000, layout="stereo") if "sound_hz" in options else None
        for picture in pictures:
            container.mux(video.encode(av.VideoFrame.from_image(picture)))
        container.mux(video.encode(None))
        if tone:
            container.mux(encoded_tone(tone, options["sound_hz"], 48_000, len(pictures) / rate))
    return path


def subtitled(path: Path, pictures: Iterable[Image.Image], *tracks: tuple[str, list[tuple[float, float, str]]]) -> Path:
    """Write a Matroska video of 10 frames a second; each track: (language, (start, end in s, SubRip text) ...)."""
    import av

    pictures = list(pictures)
    with av.open(str(path), "w", format="matroska") as container:
        video = container.add_stream("libx264", rate=10)
        video.width, video.height = pictures[0].size
        video.pix_fmt, video.gop_size = "yuv420p", 10
        streams = [container.add_stream("subrip") for _ in tracks]
        for stream in streams:  # its encoder, which is opened though it is not used, asks for one
            stream.codec_context.subtitle_header = b"[Script Info]\n\n[Events]\n"
        packets = []
        for stream, (language, cues) in zip(streams, tracks, strict=True):
            stream.metadata["language"] = language
            for start_s, end_s, text in cues:
                packet = av.Packet(text.encode())
                packet.stream, packet.time_base = stream, Fraction(1, 1000)
                packet.pts = packet.dts = round(start_s * 1000)
                packet.duration = round((end_s - start_s) * 1000)
                packets.append(packet)
        packets += [packet for one in pictures for packet in video.encode(av.VideoFrame.from_image(one))]
        packets += video.encode(None)
        container.start_encoding()
        for packet in sorted(packets, key=lambda packet: float(packet.dts * packet.time_base)):
            container.mux(packet)
    return path


def song(path: Path, codec: str, rate: int = 44_100, seconds: float = 1.0, cover: bool = False) -> Path:
    """Write a tone of 440 Hz; `cover` adds a cover image."""
    import av
    from av.stream import Disposition

    with av.open(str(path), "w", format="mp4" if path.suffix == ".m4a" else None) as container:
        tone = container.add_stream(codec, rate=rate, layout="stereo", bit_rate=128_000)
        if cover:
            picture = container.add_stream("mjpeg", rate=1)
            picture.width = picture.height = 64
            picture.pix_fmt, picture.disposition = "yuvj420p", Disposition.attached_pic
            container.mux(picture.encode(av.VideoFrame.from_image(solid(RED, 64, 64)).reformat(format="yuvj420p")))
            container.mux(picture.encode(None))
        container.mux(encoded_tone(tone, 440.0, rate, seconds))
    return path


def encoded_tone(stream: Any, hz: float, rate: int, seconds: float, layout: str = "stereo") -> list[Any]:
    """The packets of a tone for an audio stream."""
    import av

    wave = 0.5 * np.sin(2 * np.pi * hz * np.arange(int(rate * seconds)) / rate)
    frame = av.AudioFrame.from_ndarray(np.stack([wave, wave]).astype(np.float32), format="fltp", layout="stereo")
    frame.sample_rate, frame.pts = rate, 0
    resampler = av.AudioResampler(stream.format, layout, rate, frame_size=stream.codec_context.frame_size or None)
    pieces = [*resampler.resample(frame), *resampler.resample(None)]
    return [packet for piece in [*pieces, None] for packet in stream.encode(piece)]


def psd(picture: Image.Image) -> bytes:
    """A Photoshop file of an RGB picture without layers."""
    planes = np.asarray(picture).transpose(2, 0, 1)
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, picture.height, picture.width, 8, 3)
    return head + struct.pack(">IIIH", 0, 0, 0, 0) + planes.tobytes()


def dng(mosaic: np.ndarray) -> bytes:
    """A DNG of 16-bit values under a mosaic of red, green, green, blue."""
    height, width = mosaic.shape
    shorts, longs = {259: 1, 262: 32803, 274: 1, 277: 1, 258: 16}, {254: 0, 256: width, 257: height}
    matrix = struct.pack("<" + "ii" * 9, *[n for value in np.eye(3, dtype=int).ravel() for n in (int(value), 1)])
    values: dict[int, tuple[int, int, bytes]] = {tag: (3, 1, struct.pack("<H", n)) for tag, n in shorts.items()}
    values |= {tag: (4, 1, struct.pack("<I", n)) for tag, n in longs.items()}
    values |= {271: (2, 5, b"Test\0"), 272: (2, 5, b"Test\0"), 50708: (2, 5, b"Test\0")}
    values |= {33421: (3, 2, struct.pack("<HH", 2, 2)), 33422: (1, 4, bytes([0, 1, 1, 2])), 50706: (1, 4, b"\1\4\0\0")}
    values |= {50721: (10, 9, matrix), 50778: (3, 1, struct.pack("<H", 21)), 50717: (4, 1, struct.pack("<I", 65535))}
    values |= {278: (4, 1, struct.pack("<I", height)), 279: (4, 1, struct.pack("<I", mosaic.nbytes))}
    end = 8 + 2 + 12 * (len(values) + 1) + 4
    extra = b""
    values[273] = (4, 1, struct.pack("<I", end + sum(len(body) for *_, body in values.values() if len(body) > 4)))
    entries = b""
    for tag, (kind, count, body) in sorted(values.items()):
        if len(body) > 4:
            entries += struct.pack("<HHII", tag, kind, count, end + len(extra))
            extra += body
        else:
            entries += struct.pack("<HHI", tag, kind, count) + body.ljust(4, b"\0")
    return (
        b"II*\0\x08\0\0\0"
        + struct.pack("<H", len(values))
        + entries
        + bytes(4)
        + extra
        + mosaic.astype("<u2").tobytes()
    )


def times(sampled: Iterable[Frame]) -> list[float | None]:
    """The timestamps of frames in seconds, rounded to 0.01 s."""
    return [None if frame.sample.time_s is None else round(frame.sample.time_s, 2) for frame in sampled]


def image_of(path: Path, limits: Decoding = DECODING) -> np.ndarray:
    """The one frame of a still image as (height, width, 3) RGB."""
    (frame,) = decoding.frames(path, "image", limits)
    assert frame.sample.time_s is None and not frame.same_as_before
    assert frame.sample.pixels is not None and frame.sample.pixels.dtype == np.uint8
    return frame.sample.pixels


def near(pixel: Any, color: tuple[int, int, int], by: int = 12) -> bool:
    """Whether no channel differs by more than `by` of 255."""
    return bool(np.abs(np.asarray(pixel, int) - color).max() <= by)


def reason(call: Callable[[], Any]) -> str:
    """The reason of the MediaError (step `decode`) that the call must raise."""
    with pytest.raises(MediaError) as caught:
        call()
    assert caught.value.step == "decode"
    return caught.value.reason


def until_it_breaks(stream: Iterator[Any]) -> tuple[list[Any], str]:
    """The items of a stream, and the reason of the MediaError that ends it; an empty reason without an error."""
    items = []
    try:
        for item in stream:
            items.append(item)
    except MediaError as error:
        return items, error.reason
    return items, ""


def png(width: int, height: int, data: bytes) -> bytes:
    """A greyscale PNG file with `data`, valid or not, as its compressed pixels."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def wav(samples: np.ndarray, rate: int) -> bytes:
    """A mono WAV file of 16-bit samples."""
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + samples.nbytes, b"WAVE", b"fmt ", 16, 1, 1, rate, 2 * rate,
                       2, 16, b"data", samples.nbytes)  # fmt: skip
    return head + samples.tobytes()
