"""Video and audio files: their streams, and the frames of a video in order, of the whole file or of a segment."""

import math
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np

from cluster.errors import MediaError
from cluster.records import Kind, Segment
from cluster.settings import Decoding
from pipelines.media.containers import (
    ROUNDING_S,
    WHOLE,
    TimeRange,
    cover_streams,
    decoded,
    limit,
    opened,
    refuse_long,
    require_declared_length,
    start_s,
    subtitle_streams,
    subtitle_texts,
    track_name,
    video_stream,
    video_streams,
)
from pipelines.media.films import captions, interlacing, tone_mapping
from pipelines.media.films.closed_captions import ClosedCaptions
from pipelines.media.films.raw_frames import GREY_PX, Picture, RawFrame
from pipelines.media.guard import decoding_errors
from pipelines.media.sources import Source

WIDEST = 8  # times as wide as high, or as high as wide, may a pixel be; other ratios are damage
_FULL_RANGE = 2  # AVCOL_RANGE_JPEG
LEAD_S = 2.0  # decoded before a segment at most: frames that only determine which of the segment's are sampled


def kind_of(source: Source) -> Kind:
    """`video` if the file has a video stream, else `audio`. MediaError if it has neither."""
    with opened(source) as container:
        if video_stream(container):
            return "video"
        if container.streams.audio:
            return "audio"
    raise MediaError("decode", "it has neither video nor sound")


def facts(source: Source, decoding: Decoding) -> tuple[int | None, int | None, float | None, bool, bool, bool]:
    """Width and height in pixels of the upright frame, duration in seconds; whether it has sound, a cover, subtitles.

    What the file does not say is None. MediaError if it is longer than decoding.max_duration_s.
    """
    with opened(source) as container:
        duration_s = container.duration / 1e6 if container.duration and container.duration > 0 else None
        refuse_long(duration_s, decoding)
        parts = bool(container.streams.audio), bool(cover_streams(container)), bool(subtitle_streams(container))
        stream = video_stream(container)
        if stream is None or stream.codec_context is None:  # no decoder: raw_frames() reports it
            return None, None, duration_s, *parts
        width, height = stream.codec_context.width, stream.codec_context.height
        first = None
        with suppress(MediaError):  # raw_frames() reports it
            limit(stream, decoding)
            first = next(decoded(container, stream), None)
        if first is not None:
            width, height = _square_size(first, pixel_ratio(stream))
            width, height = (height, width) if _matrix(first)[0] else (width, height)
        return width or None, height or None, duration_s, *parts


def video_tracks(source: Source) -> tuple[list[str], bool]:
    """The names of the video tracks of a file, and whether it has covers or subtitles that are no text."""
    with opened(source) as container:
        names = [track_name("video track", number, stream) for number, stream in enumerate(video_streams(container), 1)]
        return names, bool(cover_streams(container) or captions.streams(container) or captions.unread(container))


def covers(source: Source, decoding: Decoding) -> Iterator[Picture]:
    """The cover images of a recording as (height, width, 3) RGB, no side longer than max_side_px."""
    with opened(source) as container:
        for stream in cover_streams(container):
            limit(stream, decoding)
            frame = next(decoded(container, stream), None)
            if frame is not None:
                yield upright(frame, pixel_ratio(stream), decoding.max_side_px, {})
            with decoding_errors():
                container.seek(container.start_time or 0)


def raw_frames(
    source: Source, decoding: Decoding, segment: Segment | None = None, number: int = 0
) -> Iterator[RawFrame]:
    """Every frame of a video track, by its number from 0, in order.

    Damaged packets are skipped; MediaError reports them after the last frame.

    The frames of a segment come after up to LEAD_S of those before it, and before those up to the next tick.
    """
    with opened(source) as container:
        streams = video_streams(container)
        if number >= len(streams):
            raise MediaError("decode", "it has no video")
        stream = streams[number]
        refuse_long(container.duration and container.duration / 1e6, decoding)
        limit(stream, decoding)
        step_s = 1 / float(stream.average_rate or 25)
        begin_s = start_s(container)
        time_range = _time_range(segment, decoding, begin_s)
        reformatters: dict[int, Any] = {}  # by size: making one costs more than using it
        time_s, shift_s, closed = max(0.0, time_range.from_s - begin_s) - step_s, 0.0, ClosedCaptions()
        for frame in decoded(container, stream, time_range):
            shown_s = time_s + step_s if frame.time is None else frame.time - begin_s + shift_s
            if shown_s < time_s:  # a second recording was appended, with a clock of its own
                shift_s += time_s + step_s - shown_s
                shown_s = time_s + step_s
            time_s = max(0.0, shown_s)
            refuse_long(time_s, decoding)
            closed.look(frame)

            ratio = pixel_ratio(stream)  # now: the last frame is converted after the container is closed

            def pixels(max_side_px: int, frame: Any = frame, ratio: float = ratio) -> Picture:
                return upright(frame, ratio, max_side_px, reformatters)

            def small(frame: Any = frame) -> tuple[Picture, Picture]:
                return _small(frame, reformatters)

            yield RawFrame(time_s, pixels, small)
        if not number and time_s < (segment.begin_s if segment else 0) - ROUNDING_S:
            raise MediaError("decode", "none of its frames could be decoded")
        if segment is None or segment.end_s is None:
            require_declared_length(container, stream, time_s + step_s)
        closed.require_none()


def _time_range(segment: Segment | None, decoding: Decoding, begin_s: float) -> TimeRange:
    """What to decode for a segment, on the container's clock, which shows begin_s where the file begins.

    It starts at the last but one sampling tick before the segment, and ends at the first after it, so that the same
    frames are sampled as of the whole file.
    """
    if segment is None:
        return WHOLE
    rate, end_s, to_s = decoding.frames_per_s, math.inf, math.inf
    if segment.end_s is not None:
        end_s = begin_s + segment.end_s
        to_s = begin_s + math.ceil(segment.end_s * rate - ROUNDING_S) / rate + 3 * ROUNDING_S
    if segment.before_s is None:
        return TimeRange(-math.inf, -math.inf, end_s, to_s)
    tick_s = (math.floor(segment.before_s * rate + ROUNDING_S) - 1) / rate
    return TimeRange(begin_s + max(tick_s, segment.before_s - LEAD_S), begin_s + segment.begin_s, end_s, to_s)


def _small(frame: Any, reformatters: dict[int, Any]) -> tuple[Picture, Picture]:
    """The small pictures of a RawFrame: means of the frame's own planes, at a fraction of the cost of swscale."""
    import cv2
    from av.video.reformatter import VideoReformatter

    width, height = frame.width, frame.height
    while max(width, height) > GREY_PX:
        width, height = max(2, width // 2), max(2, height // 2)
    half = max(1, width // 2), max(1, height // 2)
    with decoding_errors():
        planes = _planes(frame)
        if planes is None:
            reformatter = reformatters.setdefault(GREY_PX, VideoReformatter())
            rgb: Any = reformatter.reformat(frame, width, height, "rgb24", interpolation="AREA").to_ndarray()
            grey: Any = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
            return grey, cv2.resize(rgb, half, interpolation=cv2.INTER_AREA)
        grey = _halved(planes[0], width, height)
        channels = [_halved(grey, *half), *(_thinned(plane, *half) for plane in (planes[2], planes[1]))]
        if grey.dtype != np.uint8:
            scale = 2.0 ** (8 - frame.format.components[0].bits)
            grey, *channels = (cv2.convertScaleAbs(one, alpha=scale) for one in (grey, *channels))
        if frame.color_range != _FULL_RANGE and not frame.format.name.startswith("yuvj"):
            channels[0] = cv2.convertScaleAbs(channels[0], alpha=255 / 219, beta=-16 * 255 / 219)
        return grey, cv2.cvtColor(cv2.merge(channels), cv2.COLOR_YCrCb2RGB)


def _halved(plane: Any, width: int, height: int) -> Any:
    """A plane in that size. It is halved as often as possible: cv2 does so five times as fast as by a quarter."""
    import cv2

    while plane.shape[1] >= 2 * width and plane.shape[0] >= 2 * height:
        rows, columns = plane.shape[0] // 2, plane.shape[1] // 2
        plane = cv2.resize(plane[: 2 * rows, : 2 * columns], (columns, rows), interpolation=cv2.INTER_AREA)
    return plane if plane.shape == (height, width) else cv2.resize(plane, (width, height))


def _thinned(plane: Any, width: int, height: int) -> Any:
    """A plane in that size: single pixels of it, which do for colours and cost half of means."""
    import cv2

    every = max(1, min(plane.shape[1] // width, plane.shape[0] // height))
    plane = np.ascontiguousarray(plane[::every, ::every][:height, :width])
    return plane if plane.shape == (height, width) else cv2.resize(plane, (width, height))


def _planes(frame: Any) -> list[Any] | None:
    """The planes of a frame as arrays without a copy; None unless they are Y, U, V in bytes or little-endian words."""
    form = frame.format
    if not form.name.startswith(("yuv4", "yuvj4")) or form.is_big_endian or len(frame.planes) < 3:
        return None
    kind, arrays = np.dtype(np.uint8 if form.components[0].bits == 8 else "<u2"), []
    for plane in frame.planes[:3]:
        if plane.line_size < plane.width * kind.itemsize:
            return None
        rows = np.frombuffer(plane, np.uint8)[: plane.height * plane.line_size].reshape(plane.height, plane.line_size)
        arrays.append(rows[:, : plane.line_size // kind.itemsize * kind.itemsize].view(kind)[:, : plane.width])
    return arrays


def subtitles(
    source: Source, decoding: Decoding, segment: Segment | None = None
) -> Iterator[tuple[str, str, tuple[float, float]]]:
    """(text, name of the track, start and end in seconds) of each subtitle, track by track.

    Of a segment, those that begin in it. Damaged packets are skipped; MediaError reports them after the last one.
    """
    from_s, end_s = (segment.begin_s, segment.end_s) if segment else (0.0, None)
    with opened(source) as container:
        begin_s = start_s(container)
        for number, stream in enumerate(subtitle_streams(container), 1):
            name = track_name("subtitle track", number, stream)
            bounds = TimeRange(
                begin_s + from_s if segment and segment.n else -math.inf, begin_s + from_s, math.inf, math.inf
            )
            for packet, text in subtitle_texts(container, stream, bounds):
                shown_s = float((packet.pts or 0) * stream.time_base) - begin_s
                if end_s is not None and shown_s >= end_s - ROUNDING_S:
                    break
                refuse_long(shown_s, decoding)
                if text and (segment is None or segment.n == 0 or shown_s >= from_s - ROUNDING_S):
                    lasts_s = float((packet.duration or 0) * stream.time_base)
                    yield text, name, (max(0.0, shown_s), max(0.0, shown_s + lasts_s))


def upright(frame: Any, ratio: float, max_side_px: int, reformatters: dict[int, Any]) -> Picture:
    """A frame, whose pixels are `ratio` times as wide as high, as (height, width, 3) RGB of square pixels, upright."""
    from av.video.reformatter import VideoReformatter

    width, height = _square_size(frame, ratio)
    scale = min(1.0, max_side_px / max(width, height))
    width, height = max(1, round(width * scale)), max(1, round(height * scale))
    with decoding_errors():
        reformatter = reformatters.setdefault(max_side_px, VideoReformatter())
        coded = "rgb48le" if tone_mapping.is_hdr(frame) else "rgb24"
        if frame.interlaced_frame and coded == "rgb24":
            whole = reformatter.reformat(frame, frame.width, frame.height, coded).to_ndarray()
            rgb: Any = interlacing.resized(interlacing.without_combs(whole), width, height)
        else:
            rgb = reformatter.reformat(frame, width, height, coded, interpolation="AREA").to_ndarray()
    if tone_mapping.is_hdr(frame):
        rgb = tone_mapping.tone_mapped(rgb, frame.color_trc, frame.color_primaries)
    transposed, left_right, up_down = _matrix(frame)
    rgb = rgb.transpose(1, 0, 2) if transposed else rgb
    return np.ascontiguousarray(rgb[:: -1 if up_down else 1, :: -1 if left_right else 1])


def pixel_ratio(stream: Any) -> float:
    """How many times as wide as high the pixels of a video stream are."""
    return float(stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or 1)


def _square_size(frame: Any, ratio: float) -> tuple[int, int]:
    """Width and height of a frame once its pixels are square: the side whose pixels are longer grows."""
    if not 1 / WIDEST <= ratio <= WIDEST:
        return frame.width, frame.height
    return round(frame.width * max(1.0, ratio)), round(frame.height * max(1.0, 1 / ratio))


def _matrix(frame: Any) -> tuple[bool, bool, bool]:
    # PyAV's `rotation` leaves out that a display matrix mirrors: transposed, then left to right, and upside down
    data = next((bytes(data) for data in frame.side_data if data.type.name == "DISPLAYMATRIX"), b"")
    if len(data) < 36:
        return False, False, False
    a, b, _, c, d = struct.unpack_from("=5i", data)
    transposed = abs(b) + abs(c) > abs(a) + abs(d)
    return (True, c < 0, b < 0) if transposed else (False, a < 0, d < 0)
