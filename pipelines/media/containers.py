"""Containers of video and audio streams through PyAV: opened within limits, sought in, decoded packet by packet."""

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from cluster.errors import MediaError
from cluster.settings import Decoding
from pipelines.media.guard import decoding_errors, readable
from pipelines.media.sources import Source

MAX_VIDEO_PIXELS = 40_000_000  # 8K has 33 million; a decoder holds up to 17 such frames
# no playlists (HLS, DASH, concat): they name other files and servers, which ffmpeg would read
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,flv,asf,ogg,wav,flac,mp3,aac,aiff,"
    "au,caf,amr,amrnb,amrwb,w64,wv,ape,tta,voc,mxf,dv,rm,ivf,dhav,"
    "h264,hevc,m4v,yuv4mpegpipe,nut,gxf,wtv,obu,ac3,eac3,dts,dsf,dss,qcp"
)
_TEXT = ("ass", "ssa", "srt", "subrip", "mov_text", "webvtt", "text", "subviewer", "microdvd", "sami", "realtext")
_MARKUP = re.compile(r"\\[Nnh]|\{\\[^}]*\}|</?[A-Za-z][^<>]*>")  # of ASS and SubRip: line breaks, overrides, tags
_BACK_S = (0, 15, 60)  # how much earlier each further seek aims if the one before landed after its target
ROUNDING_S = 1e-6  # time bases are fractions that floats do not represent exactly


@dataclass(frozen=True, slots=True)
class TimeRange:
    """The part of a stream to decode, in seconds of the container's own clock."""

    from_s: float  # frames from here on are yielded, those before begin_s as a lead
    begin_s: float  # damaged packets are counted from here on
    end_s: float  # and up to here
    to_s: float  # frames from here on are not yielded


WHOLE = TimeRange(-math.inf, -math.inf, math.inf, math.inf)


@contextmanager
def opened(source: Source) -> Iterator[Any]:
    """Yield PyAV's container of a file. MediaError if its format is not supported, or it cannot be fetched."""
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


def video_streams(container: Any) -> list[Any]:
    """The video streams of a container, without cover images, which are streams too."""
    covers = cover_streams(container)
    return [video for video in container.streams.video if video not in covers]


def video_stream(container: Any) -> Any:
    """The first video stream of a container; None without one."""
    return next(iter(video_streams(container)), None)


def cover_streams(container: Any) -> list[Any]:
    """The streams of one picture each that belong to a recording as a whole."""
    from av.stream import Disposition

    return [video for video in container.streams.video if video.disposition & Disposition.attached_pic]


def subtitle_streams(container: Any) -> list[Any]:
    """The subtitle streams of a container that hold text; those that hold pictures of text are left out."""
    subtitles = [stream for stream in container.streams.subtitles if stream.codec_context]
    return [stream for stream in subtitles if stream.codec_context.name in _TEXT]


def track_name(what: str, number: int, stream: Any) -> str:
    """How findings name a track: `sound track 2 (spa)`. The number counts from 1 among the tracks of its kind."""
    language = stream.language or ""
    return f"{what} {number} ({language})" if language not in ("", "und") else f"{what} {number}"


def limit(stream: Any, decoding: Decoding) -> None:
    """Set a stream to one thread and the pixels allowed. MediaError if its frames have more, or it has no decoder."""
    context = stream.codec_context
    if context is None:
        raise MediaError("decode", "there is no decoder for its codec")
    context.thread_count = 1  # files are decoded side by side; frame threads cost memory and 10 % more CPU
    if stream.type == "video":
        allowed = min(decoding.max_pixels, MAX_VIDEO_PIXELS)
        context.options = {"max_pixels": str(allowed)}  # the size may change within a stream
        if context.width * context.height > allowed:
            raise MediaError(
                "decode", f"its frames have {context.width} x {context.height} pixels, more than {allowed:,}"
            )


def refuse_long(duration_s: float | None, decoding: Decoding) -> None:
    """MediaError if a recording is longer than decoding.max_duration_s. None: its duration is not known."""
    if duration_s and duration_s > decoding.max_duration_s:
        allowed = f"decoding.max_duration_s allows {decoding.max_duration_s:,.0f}"
        raise MediaError("decode", f"it lasts {duration_s:,.0f} seconds; {allowed}")


def stream_duration_s(container: Any, stream: Any) -> float:
    """The duration of a stream in seconds as its file declares it; 0 where it does not."""
    declared_s = float((stream.duration or 0) * stream.time_base)
    if not declared_s and container.format.name.startswith("matroska") and len(container.streams) == 1:
        declared_s = (container.duration or 0) / 1e6  # Matroska declares it for the whole file only
    return declared_s


def require_declared_length(container: Any, stream: Any, end_s: float) -> None:
    """MediaError if frames end well before the declared duration: ffmpeg reports no error when a file was cut short."""
    declared_s = stream_duration_s(container, stream)
    if declared_s - end_s > max(1.0, declared_s / 20):
        raise MediaError(
            "decode", f"it ends after {end_s:.1f} s although it declares {declared_s:.1f} s: it was cut short"
        )


def start_s(container: Any) -> float:
    """The time in seconds on the container's own clock at which the file begins."""
    return (container.start_time or 0) / 1e6


def decoded(container: Any, stream: Any, time_range: TimeRange = WHOLE) -> Iterator[Any]:
    """PyAV's frames of a stream within a time range, in order.

    Decoding continues behind damaged packets, so that one flipped byte does not hide the rest. MediaError reports them
    after the last frame.
    """
    import av

    damaged, first_error, over = 0, None, False
    packets = (
        container.demux(stream) if time_range.from_s == -math.inf else sought(container, stream, time_range.from_s)[0]
    )
    for packet in _demuxed(packets, stream):
        frames = []
        try:
            with decoding_errors(), suppress(av.error.EOFError):
                frames = packet.decode()
        except MediaError as error:
            if time_range.begin_s <= _time_s(packet, time_range.begin_s) < time_range.end_s:
                damaged, first_error = damaged + 1, first_error or error
        for frame in frames:
            if frame.time is not None and frame.time >= time_range.to_s - ROUNDING_S:
                over = True  # later packets hold later frames
                break
            if frame.time is None or frame.time >= time_range.from_s - ROUNDING_S:
                yield frame
        if over:
            break
    if damaged:
        raise MediaError(
            "decode", f"it is damaged: {damaged} of its {stream.type} packets could not be decoded"
        ) from first_error


def subtitle_texts(container: Any, stream: Any, time_range: TimeRange) -> Iterator[tuple[Any, str]]:
    """(packet, its text without markup) of a subtitle stream from a time on, in order. MediaError as of `decoded`."""
    for packet, subtitles in packet_subtitles(container, stream, time_range):
        with decoding_errors():
            text = b" ".join(subtitle.dialogue for subtitle in subtitles).decode(errors="replace")
        yield packet, " ".join(_MARKUP.sub(" ", text).split())


def packet_subtitles(container: Any, stream: Any, time_range: TimeRange) -> Iterator[tuple[Any, list[Any]]]:
    """(packet, PyAV's subtitles in it) of a subtitle stream from a time on, in order. MediaError as of `decoded`."""
    damaged, first_error = 0, None
    with decoding_errors():
        at_s = time_range.from_s
        container.seek(round(max(0.0, at_s) * 1e6) if at_s > 0 else container.start_time or 0)
        packets = container.demux(stream)
    for packet in _demuxed(packets, stream):
        try:
            with decoding_errors():
                subtitles = list(packet.decode()) if packet.size else []
        except MediaError as error:
            damaged, first_error = damaged + 1, first_error or error
            continue
        yield packet, subtitles
    if damaged:
        raise MediaError("decode", f"it is damaged: {damaged} of its subtitles could not be decoded") from first_error


def _demuxed(packets: Iterator[Any], stream: Any) -> Iterator[Any]:
    """The packets of a stream. MediaError where its container breaks off."""
    while True:
        try:
            with decoding_errors():
                packet = next(packets, None)
        except MediaError as error:
            raise MediaError("decode", f"it is cut short or broken: its {stream.type} ends before its end") from error
        if packet is None:
            return
        yield packet


def sought(container: Any, stream: Any, time_s: float) -> tuple[Iterator[Any], bool]:
    """Packets from a key frame at or before time_s of the container's clock on, and True.

    Where no seek leads there: packets from the beginning of the file on, and False.
    """
    for back_s in _BACK_S:
        with suppress(MediaError), decoding_errors():
            container.seek(round((time_s - back_s) / float(stream.time_base)), stream=stream)
            packets = container.demux(stream)
            # packets before the first key frame cannot be decoded, which is no damage
            key = next((packet for packet in packets if packet.is_keyframe), None)
            if key is not None and _time_s(key, math.inf) <= time_s + ROUNDING_S:
                return chain([key], packets), True
    with decoding_errors():
        container.seek(container.start_time or 0)
    return container.demux(stream), False


def _time_s(packet: Any, unknown: float) -> float:
    """The presentation time of a packet in seconds, else its decoding time, else `unknown`."""
    ticks = packet.dts if packet.pts is None else packet.pts
    return unknown if ticks is None else float(ticks * packet.time_base)
