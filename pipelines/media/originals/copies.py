"""Copies of what a browser cannot show: parts of recordings as MP4 with H.264 and AAC, frames and pictures as JPEG."""

import heapq
import io
import math
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.errors import MediaError
from cluster.settings import Decoding
from deployments.galleries import pictures
from pipelines.media import audio, decoding, recordings
from pipelines.media.containers import ROUNDING_S, TimeRange, decoded, limit, opened, start_s, video_stream
from pipelines.media.guard import decoding_errors
from pipelines.media.sources import Source

if TYPE_CHECKING:
    from PIL import Image

PART_S = 30.0
SIDE_PX = 1280  # of a film; H.264 of level 4 allows squares of it
PICTURE_PX = 4096
FRAMES_PER_S = 30  # at most
SOUND_HZ = 48_000
SOUND_BITS_PER_S = 128_000
LEAD_S = 2.0  # decoded before a part, for the frame that is shown when it begins
FRAGMENT_S = 1  # after so many seconds of a part the browser can play them
AFTER_THE_END = "it ends before that time"
_FRAME, _SOUND = "avc1.4d4028", "mp4a.40.2"  # main profile, level 4; AAC-LC
_X264 = {"preset": "superfast", "profile": "main", "level": "4.0", "crf": "24", "bf": "0", "threads": "1"}
_MP4 = {"movflags": "empty_moov+default_base_moof", "frag_duration": str(FRAGMENT_S * 1_000_000)}


def part(source: Source, from_s: float, limits: Decoding) -> Iterator[str | bytes]:
    """PART_S of a recording from a time on: its media type, then pieces of a file whose own time begins at 0.

    Nothing if the recording ends before. What is damaged is left out; MediaError if nothing can be decoded.
    """
    with opened(source) as film, opened(source) as recording:
        video, sound = video_stream(film), _sound_stream(recording)
        items, errors = [], list[MediaError]()
        if video is not None:
            limit(video, limits)
            items.append(_undamaged(_ticks(film, video, from_s), errors))
        if sound is not None:
            limit(sound, limits)
            items.append(_undamaged(_samples(recording, sound, from_s), errors))
        merged = heapq.merge(*items, key=lambda item: item[0])
        first = next(merged, None)
        if first is None and errors:
            raise errors[0]
        if first is None:
            return
        # the first frame comes at time 0, before any sound: without it there are none
        yield from _encoded(chain([first], merged), video if first[1] is _FRAME else None, sound is not None)


def still(source: Source, at_s: float, limits: Decoding) -> Iterator[bytes]:
    """The frame of a film that is shown at a time, as JPEG. MediaError if there is none."""
    yield _jpeg(shown_at(source, at_s, limits))


def shown_at(source: Source, at_s: float, limits: Decoding) -> "Image.Image":
    """The frame of a film that is shown at a time, upright, no side longer than max_side_px. MediaError: none is."""
    from PIL import Image

    with opened(source) as film:
        video, shown, errors = video_stream(film), None, list[MediaError]()
        if video is None:
            raise MediaError("decode", "it has no video")
        limit(video, limits)
        begin_s = start_s(film)
        for frame in _undamaged(decoded(film, video, _range(begin_s, at_s, math.inf)), errors):
            if shown is not None and frame.time is not None and frame.time - begin_s > at_s + ROUNDING_S:
                break
            shown = frame
        if shown is None:
            raise errors[0] if errors else MediaError("decode", AFTER_THE_END)
        return Image.fromarray(recordings.upright(shown, recordings.pixel_ratio(video), limits.max_side_px, {}))


def picture(source: Source, limits: Decoding) -> Iterator[bytes]:
    """A picture as JPEG, no side longer than PICTURE_PX."""
    yield _jpeg(decoding.picture(source, limits.model_copy(update={"max_side_px": PICTURE_PX})))


def reference(path: Path, transparent: bool, limits: Decoding) -> Iterator[bytes]:
    """A picture for a gallery as PNG, no side longer than FRAME_PX, without what its file says about itself.

    `transparent`: it keeps its transparency, where it has some; else it lies on white.
    """
    image = decoding.picture(path, limits.model_copy(update={"max_side_px": pictures.FRAME_PX}))
    if transparent:
        # formats that only `decoding` reads stay on white
        with suppress(pictures.UnusablePicture):
            image = pictures.decode(path.read_bytes())
            image.thumbnail((pictures.FRAME_PX, pictures.FRAME_PX))
    yield png_of(image)


def png_of(image: "Image.Image", compress_level: int = 6) -> bytes:
    """An image as PNG, without what its file says about itself."""
    file = io.BytesIO()
    image.info.clear()  # Pillow would copy the comment of the file
    image.save(file, "PNG", compress_level=compress_level)
    return file.getvalue()


def _jpeg(image: "Image.Image") -> bytes:
    file = io.BytesIO()
    image.info.clear()  # Pillow would copy the comment of the file
    image.save(file, "JPEG", quality=90)
    return file.getvalue()


def _sound_stream(container: Any) -> Any:
    """The first sound stream that has a decoder; None without one."""
    return next((stream for stream in container.streams.audio if stream.codec_context is not None), None)


def _rate(video: Any) -> int:
    """Frames a second of the copy."""
    return max(1, min(FRAMES_PER_S, round(float(video.average_rate or 25))))


def _range(begin_s: float, from_s: float, to_s: float) -> TimeRange:
    """What to decode for a part of a file that begins at begin_s on its container's clock, with a lead."""
    lead_s = -math.inf if from_s <= LEAD_S else begin_s + from_s - LEAD_S
    return TimeRange(lead_s, begin_s + from_s, math.inf, begin_s + to_s)


def _undamaged(frames: Iterator[Any], errors: list[MediaError]) -> Iterator[Any]:
    """Frames up to the error that reports what is damaged, or that the file breaks off; it is added to `errors`."""
    try:
        yield from frames
    except MediaError as error:
        if error.step == "fetch":
            raise
        errors.append(error)


def _ticks(film: Any, video: Any, from_s: float) -> Iterator[tuple[float, str, Any]]:
    """(time in the part, _FRAME, frame) at an even rate: at each tick the frame that is shown then."""
    begin_s, rate, shown, tick = start_s(film), _rate(video), None, 0
    at_s = from_s
    for frame in decoded(film, video, _range(begin_s, from_s, from_s + PART_S + 1)):
        at_s = at_s if frame.time is None else frame.time - begin_s
        while tick < PART_S * rate and from_s + tick / rate < at_s - ROUNDING_S:
            yield tick / rate, _FRAME, frame if shown is None else shown
            tick += 1
        shown = frame
    while shown is not None and tick < PART_S * rate and from_s + tick / rate <= at_s + ROUNDING_S:
        yield tick / rate, _FRAME, shown
        tick += 1


def _samples(recording: Any, stream: Any, from_s: float) -> Iterator[tuple[float, str, Any]]:
    """(time in the part, _SOUND, frame of sound), the first one cut to begin at the part's beginning."""
    begin_s, next_s = start_s(recording), 0.0
    for frame in decoded(recording, stream, _range(begin_s, from_s, from_s + PART_S)):
        at_s = next_s if frame.time is None else frame.time - begin_s
        next_s = at_s + frame.samples / frame.sample_rate
        for kept in audio.without(max(0, round((from_s - at_s) * frame.sample_rate)), iter([frame])):
            kept.pts = max(0, round((at_s - from_s) * frame.sample_rate))
            kept.time_base = Fraction(1, frame.sample_rate)
            yield max(0.0, at_s - from_s), _SOUND, kept


def _encoded(items: Iterator[tuple[float, str, Any]], video: Any, has_sound: bool) -> Iterator[str | bytes]:
    """The media type of a fragmented MP4 with these frames of a video stream and sound, then its pieces."""
    import av

    sink, reformatters = _Sink(), dict[int, Any]()
    last: Any = None
    rgb: Any = None
    with av.open(sink, "w", format="mp4", options=_MP4) as copy:
        frames: Any = copy.add_stream("libx264", rate=_rate(video), options=_X264) if video is not None else None
        sound: Any = copy.add_stream("aac", rate=SOUND_HZ, layout="stereo") if has_sound else None
        if sound is not None:
            sound.bit_rate = SOUND_BITS_PER_S
        codecs = [_FRAME] * (frames is not None) + [_SOUND] * has_sound
        yield f'{"audio" if frames is None else "video"}/mp4; codecs="{",".join(codecs)}"'
        for time_s, what, frame in items:
            with decoding_errors():
                if what is _SOUND:
                    copy.mux(sound.encode(frame))
                    continue
                is_first = last is None
                if frame is not last:
                    last, rgb = frame, recordings.upright(frame, recordings.pixel_ratio(video), SIDE_PX, reformatters)
                    rgb = rgb[: len(rgb) // 2 * 2, : rgb.shape[1] // 2 * 2]  # as H.264 wants it
                if is_first:
                    frames.width, frames.height, frames.pix_fmt = rgb.shape[1], len(rgb), "yuv420p"
                    frames.gop_size = frames.average_rate
                picture = av.VideoFrame.from_ndarray(rgb)
                picture.pts, picture.time_base = round(time_s * frames.average_rate), 1 / frames.average_rate
                copy.mux(frames.encode(picture))
            yield from sink.taken()
        for stream in (frames, sound):
            if stream is not None:
                copy.mux(stream.encode(None))
    yield from sink.taken()


class _Sink:
    """Where libav writes a file in order; what has been written is taken away piece by piece."""

    def __init__(self) -> None:
        self._written: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._written.append(bytes(data))
        return len(data)

    def taken(self) -> Iterator[bytes]:
        """What was written since the last call; nothing if that is nothing."""
        data, self._written = b"".join(self._written), []
        if data:
            yield data
