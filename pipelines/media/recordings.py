"""Video and sound files: what is in them, and their pictures in order, whole or those of a segment."""

import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cluster.errors import MediaError
from cluster.records import Kind, Segment
from cluster.settings import Decoding
from pipelines.media.containers import (
    ROUNDING_S,
    WHOLE,
    Stretch,
    declared,
    decoded,
    limit,
    opened,
    refuse_long,
    start_s,
    video_of,
)
from pipelines.media.formats import decoding_errors
from pipelines.media.sources import Source

LEAD_S = 2.0  # of pictures before a segment, at most, are looked at


@dataclass(frozen=True, slots=True)
class Picture:
    """One of a moving picture, not converted yet."""

    time_s: float
    pixels: Callable[[int], npt.NDArray[np.uint8]]  # (longest side in px) -> (height, width, 3) RGB, upright


def kind_of(source: Source) -> Kind:
    """video if there is a moving picture in the file, else audio. MediaError if there is neither."""
    with opened(source) as container:
        if video_of(container):
            return "video"
        if container.streams.audio:
            return "audio"
    raise MediaError("decode", "it holds neither moving pictures nor sound")


def facts(source: Source, decoding: Decoding) -> tuple[int | None, int | None, float | None, bool]:
    """Width and height of the upright picture, duration in seconds (None where unknown), and whether there is sound."""
    with opened(source) as container:
        duration_s = container.duration / 1e6 if container.duration and container.duration > 0 else None
        refuse_long(duration_s, decoding)
        has_sound, stream = bool(container.streams.audio), video_of(container)
        if stream is None or stream.codec_context is None:  # no decoder: pictures() says so, the sound may be had
            return None, None, duration_s, has_sound
        width, height = stream.codec_context.width, stream.codec_context.height
        first = None
        with suppress(MediaError):  # whoever asks for the pictures is told
            limit(stream, decoding)
            first = next(decoded(container, stream), None)
        if first is not None:
            width, height = (first.height, first.width) if _turns(first) % 2 else (first.width, first.height)
        return width or None, height or None, duration_s, has_sound


def pictures(source: Source, decoding: Decoding, segment: Segment | None = None) -> Iterator[Picture]:
    """Every picture of a video, in order. What is damaged is passed over, and MediaError says so at the end.

    A segment's come after a short run-up of those before it."""
    from av.video.reformatter import VideoReformatter

    with opened(source) as container:
        stream = video_of(container)
        if stream is None:
            raise MediaError("decode", "it holds no moving pictures")
        refuse_long(container.duration and container.duration / 1e6, decoding)
        limit(stream, decoding)
        step_s = 1 / float(stream.average_rate or 25)
        begin_s = start_s(container)
        stretch = _stretch(segment, decoding, begin_s)
        reformatters: dict[int, Any] = {}  # by size: making one costs more than using it
        time_s, shift_s = max(0.0, stretch.from_s - begin_s) - step_s, 0.0
        for frame in decoded(container, stream, stretch):
            shown_s = time_s + step_s if frame.time is None else frame.time - begin_s + shift_s
            if shown_s < time_s:  # a second recording that was appended, with a clock of its own
                shift_s += time_s + step_s - shown_s
                shown_s = time_s + step_s
            time_s = max(0.0, shown_s)
            refuse_long(time_s, decoding)

            def pixels(max_side_px: int, frame: Any = frame) -> npt.NDArray[np.uint8]:
                scale = min(1.0, max_side_px / max(frame.width, frame.height))
                width, height = max(1, round(frame.width * scale)), max(1, round(frame.height * scale))
                with decoding_errors():
                    reformatter = reformatters.setdefault(max_side_px, VideoReformatter())
                    rgb = reformatter.reformat(frame, width, height, "rgb24", interpolation="AREA").to_ndarray()
                return np.ascontiguousarray(np.rot90(rgb, _turns(frame)))

            yield Picture(time_s, pixels)
        if time_s < (segment.begin_s if segment else 0) - ROUNDING_S:
            raise MediaError("decode", "not one of its pictures could be decoded")
        if segment is None or segment.end_s is None:
            _complain_if_short(container, stream, time_s + step_s)


def _stretch(segment: Segment | None, decoding: Decoding, begin_s: float) -> Stretch:
    """Of a segment's pictures, with a run-up from the last tick of sampling on: from there all is as in the whole."""
    if segment is None:
        return WHOLE
    end_s = math.inf if segment.end_s is None else begin_s + segment.end_s
    if segment.before_s is None:
        return Stretch(-math.inf, -math.inf, end_s)
    tick_s = math.floor(segment.before_s * decoding.frames_per_s + ROUNDING_S) / decoding.frames_per_s
    return Stretch(begin_s + max(tick_s, segment.before_s - LEAD_S), begin_s + segment.begin_s, end_s)


def _turns(frame: Any) -> int:
    """Quarter turns anticlockwise that put it upright."""
    return round(frame.rotation / 90) % 4


def _complain_if_short(container: Any, stream: Any, end_s: float) -> None:
    """ffmpeg says nothing when a file ends early."""
    declared_s = declared(container, stream)
    if declared_s - end_s > max(1.0, declared_s / 20):
        raise MediaError(
            "decode", f"it ends after {end_s:.1f} s although it declares {declared_s:.1f} s: it was cut short"
        )
