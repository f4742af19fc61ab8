"""Captions of a film that are pictures: those of Blu-rays (PGS), DVDs and digital television (DVB)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from cluster.errors import MediaError
from pipelines.media.containers import ROUNDING_S, TimeRange, packet_subtitles, subtitle_streams, track_name

CODECS = ("pgssub", "dvdsub", "dvbsub", "xsub")  # FFmpeg's decoders
MOST = 5_000  # of a track, or of a segment of it
MARGIN_PX = 16  # around the writing
LEAST_PX = 8  # of both sides: what is smaller is no writing
MOST_PIXELS = 40_000_000
TOUCHING = 0.15  # share of the pixels of a colour beside the ground, from which it is that of an outline
LEAST_FILL = 0.3  # share of the letters within their outlines; what covers less is a detail

Picture = npt.NDArray[np.uint8]  # (height, width, 3) RGB


@dataclass(frozen=True, slots=True)
class Caption:
    """A caption as a picture, black on white."""

    pixels: Picture
    time_s: float  # at which it appears, on the container's clock
    track: str


def streams(container: Any) -> list[Any]:
    """The subtitle streams of a container that hold pictures."""
    subtitles = [stream for stream in container.streams.subtitles if stream.codec_context]
    return [stream for stream in subtitles if stream.codec_context.name in CODECS]


def unread(container: Any, with_pictures: bool = False) -> list[str]:
    """The names of subtitle streams that are neither text nor pictures that can be decoded here, such as teletext.

    `with_pictures`: also of those that are pictures.
    """
    read = [*([] if with_pictures else streams(container)), *subtitle_streams(container)]
    tracks = enumerate(container.streams.subtitles, 1)
    return [track_name("subtitle track", n, stream) for n, stream in tracks if stream not in read]


def captions(container: Any, time_range: TimeRange, most: int = MOST) -> Iterator[Caption]:
    """The captions of each track that appear in a time range, without those that equal the one before.

    Damaged packets are skipped; MediaError reports them after the last one of their track, and tracks with more than
    `most`.
    """
    for number, stream in enumerate(streams(container), 1):
        name, before, count = track_name("subtitle pictures", number, stream), b"", 0
        for packet, subtitles in packet_subtitles(container, stream, time_range):
            time_s = float((packet.pts or 0) * stream.time_base)
            if time_s >= time_range.end_s - ROUNDING_S:
                break
            if count >= most:
                raise MediaError("decode", f"of its {name} only the first {most:,} were looked at")
            shown = [bitmap for bitmap in subtitles if getattr(bitmap, "type", b"") == b"bitmap"]
            pixels = _drawn(shown) if shown and time_s >= time_range.begin_s - ROUNDING_S else None
            if pixels is None or pixels.tobytes() == before:
                continue
            before, count = pixels.tobytes(), count + 1
            yield Caption(pixels, time_s, name)


def _drawn(bitmaps: list[Any]) -> Picture | None:
    """The writing of bitmaps at their places, black on white, cut to what they cover; None if they show nothing."""
    bitmaps = [one for one in bitmaps if min(one.width, one.height) >= LEAST_PX and one.planes]
    if not bitmaps:
        return None
    left, top = min(one.x for one in bitmaps), min(one.y for one in bitmaps)
    width, height = max(one.x + one.width for one in bitmaps) - left, max(one.y + one.height for one in bitmaps) - top
    if width * height > MOST_PIXELS:
        return None
    paper = np.full((height + 2 * MARGIN_PX, width + 2 * MARGIN_PX), 255, np.uint8)
    for one in bitmaps:
        y, x = one.y - top + MARGIN_PX, one.x - left + MARGIN_PX
        indices = np.frombuffer(one.planes[0], np.uint8)[: one.width * one.height].reshape(one.height, one.width)
        paper[y : y + one.height, x : x + one.width][_ink(indices)] = 0
    return None if paper.min() else np.repeat(paper[:, :, None], 3, axis=2)


def _ink(indices: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Which pixels are letters, by colour numbers alone: PyAV does not give the palette.

    The most frequent colour is the ground. Letters are mostly drawn with an outline: colours that touch the ground are
    the outline if the others cover enough; without an outline, all that is not the ground is letters.
    """
    ground = indices == np.bincount(indices.ravel()).argmax()
    beside: Any = cv2.dilate(ground.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool) & ~ground
    touching = np.bincount(indices[beside], minlength=256) / np.maximum(1, np.bincount(indices.ravel(), minlength=256))
    inner = (touching < TOUCHING)[indices] & ~ground
    return inner if inner.sum() >= LEAST_FILL * (~ground).sum() else ~ground
