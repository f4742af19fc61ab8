"""Containers of pictures and sound through PyAV: opened within limits, sought in, decoded packet by packet."""

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from cluster.errors import MediaError
from cluster.settings import Decoding
from pipelines.media.formats import decoding_errors, readable
from pipelines.media.sources import Source

MAX_VIDEO_PIXELS = 40_000_000  # 8K has 33 million; a decoder holds up to 17 such frames
# no playlists (HLS, DASH, concat): they name other files and servers, and ffmpeg would go and read them
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,flv,asf,ogg,wav,flac,mp3,aac,aiff"
_BACK_S = (0, 15, 60)  # how much earlier a seek begins when the one before led behind what was sought
ROUNDING_S = 1e-6  # clocks tick in fractions that no float holds


@dataclass(frozen=True, slots=True)
class Stretch:
    """What to decode, in seconds of the container's own clock."""

    from_s: float  # frames from here on: a run-up
    begin_s: float  # what is damaged from here on counts
    end_s: float  # frames before this one


WHOLE = Stretch(-math.inf, -math.inf, math.inf)


@contextmanager
def opened(source: Source) -> Iterator[Any]:
    """PyAV's container of a file. MediaError if it is none, in a format that is not read here, or cannot be fetched."""
    import av

    with readable(source) as file:
        with decoding_errors():
            container = av.open(
                f"file:{file.absolute()}" if isinstance(file, Path) else file,  # a name may hold a colon: no protocol
                container_options={"protocol_whitelist": "file", "format_whitelist": _FORMATS},
                options={"threads": "1", "max_pixels": str(MAX_VIDEO_PIXELS)},  # also while it looks for the streams
            )
        try:
            yield container
        finally:
            container.close()


def video_of(container: Any) -> Any:
    """The stream of moving pictures, None without one: the picture on a cover is one to ffmpeg, too."""
    from av.stream import Disposition

    return next((one for one in container.streams.video if not one.disposition & Disposition.attached_pic), None)


def limit(stream: Any, decoding: Decoding) -> None:
    """Decode it in one thread, and no larger frames than allowed. MediaError if it is too large or has no decoder."""
    context = stream.codec_context
    if context is None:
        raise MediaError("decode", "it is coded in a way for which there is no decoder here")
    context.thread_count = 1  # files are decoded side by side; frame threads cost memory and 10 % more CPU
    if stream.type == "video":
        allowed = min(decoding.max_pixels, MAX_VIDEO_PIXELS)
        context.options = {"max_pixels": str(allowed)}  # the size may change on the way
        if context.width * context.height > allowed:
            raise MediaError(
                "decode", f"its frames have {context.width} x {context.height} pixels, more than {allowed:,}"
            )


def refuse_long(duration_s: float | None, decoding: Decoding) -> None:
    """MediaError if a recording is longer than allowed."""
    if duration_s and duration_s > decoding.max_duration_s:
        allowed = f"decoding.max_duration_s allows {decoding.max_duration_s:,.0f}"
        raise MediaError("decode", f"it lasts {duration_s:,.0f} seconds; {allowed}")


def declared(container: Any, stream: Any) -> float:
    """The seconds that a file says its stream lasts; 0 where it does not say."""
    declared_s = float((stream.duration or 0) * stream.time_base)
    if not declared_s and container.format.name.startswith("matroska") and len(container.streams) == 1:
        declared_s = (container.duration or 0) / 1e6  # Matroska knows the whole's only
    return declared_s


def start_s(container: Any) -> float:
    """What the container's own clock shows where the file's begins."""
    return (container.start_time or 0) / 1e6


def decoded(container: Any, stream: Any, stretch: Stretch = WHOLE) -> Iterator[Any]:
    """The frames of a stream, in order. Goes on behind damaged packets, lest one flipped byte hide all that follows."""
    import av

    damaged, first, over = 0, None, False
    packets = container.demux(stream) if stretch.from_s == -math.inf else sought(container, stream, stretch.from_s)[0]
    while not over:
        try:
            with decoding_errors():
                packet = next(packets, None)
        except MediaError as error:
            raise MediaError("decode", f"it is cut short or broken: its {stream.type} ends before its end") from error
        if packet is None:
            break
        frames = []
        try:
            with decoding_errors(), suppress(av.error.EOFError):
                frames = packet.decode()
        except MediaError as error:
            if stretch.begin_s <= _time_s(packet, stretch.begin_s) < stretch.end_s:
                damaged, first = damaged + 1, first or error
        for frame in frames:
            if frame.time is not None and frame.time >= stretch.end_s - ROUNDING_S:
                over = True  # those behind it are later still
                break
            if frame.time is None or frame.time >= stretch.from_s - ROUNDING_S:
                yield frame
    if damaged:
        raise MediaError(
            "decode", f"it is damaged: {damaged} of its {stream.type} packets could not be decoded"
        ) from first


def sought(container: Any, stream: Any, time_s: float) -> tuple[Iterator[Any], bool]:
    """Packets from a key frame at or before a time of the container's clock on, and whether a seek led to it.

    Where no seek does, they are those from the file's beginning on."""
    for back_s in _BACK_S:
        with suppress(MediaError), decoding_errors():
            container.seek(round((time_s - back_s) / float(stream.time_base)), stream=stream)
            packets = container.demux(stream)
            # what lies before the first key frame cannot be decoded, and is not to be taken for damaged
            key = next((packet for packet in packets if packet.is_keyframe), None)
            if key is not None and _time_s(key, math.inf) <= time_s + ROUNDING_S:
                return chain([key], packets), True
    with decoding_errors():
        container.seek(container.start_time or 0)
    return container.demux(stream), False


def _time_s(packet: Any, unknown: float) -> float:
    ticks = packet.dts if packet.pts is None else packet.pts
    return unknown if ticks is None else float(ticks * packet.time_base)
