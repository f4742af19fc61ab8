"""Video and sound files through PyAV: their pictures in order, their sound as 16 kHz mono."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cluster.errors import MediaError
from cluster.records import SOUND_RATE_HZ, Kind
from cluster.settings import Decoding
from pipelines.formats import decoder

PIECE_S = 1800  # of sound, held in memory at a time: 115 MB
MAX_VIDEO_PIXELS = 40_000_000  # 8K has 33 million; a decoder holds up to 17 such frames
# no playlists (HLS, DASH, concat): they name other files and servers, and ffmpeg would go and read them
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,flv,asf,ogg,wav,flac,mp3,aac,aiff"


@dataclass(frozen=True, slots=True)
class Picture:
    """One of a moving picture, not converted yet."""

    time_s: float
    pixels: Callable[[int], npt.NDArray[np.uint8]]  # (longest side in px) -> (height, width, 3) RGB, upright


def kind_of(path: Path) -> Kind:
    """video if there is a moving picture in the file, else audio. MediaError if there is neither."""
    with _opened(path) as container:
        if _video(container):
            return "video"
        if container.streams.audio:
            return "audio"
    raise MediaError("decode", "it holds neither moving pictures nor sound")


def facts(path: Path, decoding: Decoding) -> tuple[int | None, int | None, float | None, bool]:
    """Width and height of the upright picture, duration in seconds (None where unknown), and whether there is sound."""
    with _opened(path) as container:
        duration_s = container.duration / 1e6 if container.duration and container.duration > 0 else None
        _refuse_long(duration_s, decoding)
        has_sound, stream = bool(container.streams.audio), _video(container)
        if stream is None or stream.codec_context is None:  # no decoder: pictures() says so, the sound may be had
            return None, None, duration_s, has_sound
        width, height = stream.codec_context.width, stream.codec_context.height
        first = None
        with suppress(MediaError):  # whoever asks for the pictures is told
            _limit(stream, decoding)
            first = next(_decoded(container, stream), None)
        if first is not None:
            width, height = (first.height, first.width) if _turns(first) % 2 else (first.width, first.height)
        return width or None, height or None, duration_s, has_sound


def pictures(path: Path, decoding: Decoding) -> Iterator[Picture]:
    """Every picture of a video, in order. What is damaged is passed over, and MediaError says so at the end."""
    from av.video.reformatter import VideoReformatter

    with _opened(path) as container:
        stream = _video(container)
        if stream is None:
            raise MediaError("decode", "it holds no moving pictures")
        _refuse_long(container.duration and container.duration / 1e6, decoding)
        _limit(stream, decoding)
        step_s = 1 / float(stream.average_rate or 25)
        begin_s = (container.start_time or 0) / 1e6
        reformatters: dict[int, Any] = {}  # by size: making one costs more than using it
        time_s, shift_s = -step_s, 0.0
        for frame in _decoded(container, stream):
            shown_s = time_s + step_s if frame.time is None else frame.time - begin_s + shift_s
            if shown_s < time_s:  # a second recording that was appended, with a clock of its own
                shift_s += time_s + step_s - shown_s
                shown_s = time_s + step_s
            time_s = max(0.0, shown_s)
            _refuse_long(time_s, decoding)

            def pixels(max_side_px: int, frame: Any = frame) -> npt.NDArray[np.uint8]:
                scale = min(1.0, max_side_px / max(frame.width, frame.height))
                width, height = max(1, round(frame.width * scale)), max(1, round(frame.height * scale))
                with decoder():
                    reformatter = reformatters.setdefault(max_side_px, VideoReformatter())
                    rgb = reformatter.reformat(frame, width, height, "rgb24", interpolation="AREA").to_ndarray()
                return np.ascontiguousarray(np.rot90(rgb, _turns(frame)))

            yield Picture(time_s, pixels)
        if time_s < 0:
            raise MediaError("decode", "not one of its pictures could be decoded")
        _complain_if_short(container, stream, time_s + step_s)


def sound(path: Path, decoding: Decoding) -> Iterator[tuple[float, npt.NDArray[np.float32]]]:
    """The first sound track as mono at SOUND_RATE_HZ in pieces of PIECE_S, each with the second it begins at.

    What is damaged is passed over, and MediaError says so at the end."""
    with _opened(path) as container:
        if not container.streams.audio:
            return
        _refuse_long(container.duration and container.duration / 1e6, decoding)
        stream = container.streams.audio[0]
        _limit(stream, decoding)
        begin_s = max(0.0, float((stream.start_time or 0) * stream.time_base) - (container.start_time or 0) / 1e6)
        complaint, done, filled = None, 0, 0
        piece = np.empty(PIECE_S * SOUND_RATE_HZ, np.float32)  # pages that are never written to take no memory
        try:
            for samples in _resampled(_decoded(container, stream)):
                _refuse_long((done + filled + samples.size) / SOUND_RATE_HZ, decoding)
                while samples.size:
                    taken = min(samples.size, piece.size - filled)
                    piece[filled : filled + taken] = samples[:taken]
                    samples, filled = samples[taken:], filled + taken
                    if filled == piece.size:
                        yield begin_s + done / SOUND_RATE_HZ, piece
                        piece, done, filled = np.empty_like(piece), done + filled, 0
        except MediaError as error:
            complaint = error
        if filled:
            yield begin_s + done / SOUND_RATE_HZ, piece[:filled].copy()
        if complaint:
            raise complaint
        if not done + filled and _video(container) is None:
            raise MediaError("decode", "there is no sound in it")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import av

    with decoder():
        container = av.open(
            f"file:{path.absolute()}",  # a name may hold a colon, and is then no protocol
            container_options={"protocol_whitelist": "file", "format_whitelist": _FORMATS},
            options={"threads": "1", "max_pixels": str(MAX_VIDEO_PIXELS)},  # also while it looks for the streams
        )
    try:
        yield container
    finally:
        container.close()


def _video(container: Any) -> Any:
    """The stream of moving pictures: the picture on a cover is one to ffmpeg, too."""
    from av.stream import Disposition

    return next((one for one in container.streams.video if not one.disposition & Disposition.attached_pic), None)


def _limit(stream: Any, decoding: Decoding) -> None:
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


def _decoded(container: Any, stream: Any) -> Iterator[Any]:
    """Every frame of a stream. Goes on behind damaged packets, lest one flipped byte hide all that follows."""
    import av

    damaged, first = 0, None
    packets = container.demux(stream)
    while True:
        try:
            with decoder():
                packet = next(packets, None)
        except MediaError as error:
            raise MediaError("decode", f"it is cut short or broken: its {stream.type} ends before its end") from error
        if packet is None:
            break
        frames = []
        try:
            with decoder(), suppress(av.error.EOFError):
                frames = packet.decode()
        except MediaError as error:
            damaged, first = damaged + 1, first or error
        yield from frames
    if damaged:
        raise MediaError(
            "decode", f"it is damaged: {damaged} of its {stream.type} packets could not be decoded"
        ) from first


def _resampled(frames: Iterator[Any]) -> Iterator[npt.NDArray[np.float32]]:
    from av import AudioResampler

    resampler, made_for = None, None
    for frame in frames:
        if resampler is None or made_for != (frame.format.name, frame.layout.name, frame.sample_rate):
            yield from _converted(resampler, None)
            made_for = (frame.format.name, frame.layout.name, frame.sample_rate)
            with decoder():
                # without it two equal channels come out 1.4 times as loud, and clipped
                resampler = AudioResampler("flt", "mono", SOUND_RATE_HZ, options={"rematrix_maxval": "1.0"})
        yield from _converted(resampler, frame)
    yield from _converted(resampler, None)


def _converted(resampler: Any, frame: Any) -> Iterator[npt.NDArray[np.float32]]:
    """What comes out for a frame; for None, what is left inside."""
    if resampler is None:
        return
    with decoder():
        arrays = [one.to_ndarray()[0] for one in resampler.resample(frame)]
    for samples in arrays:  # files of floats may hold anything
        yield np.clip(np.nan_to_num(samples), -1, 1)


def _turns(frame: Any) -> int:
    """Quarter turns anticlockwise that put it upright."""
    return round(frame.rotation / 90) % 4


def _refuse_long(duration_s: float | None, decoding: Decoding) -> None:
    if duration_s and duration_s > decoding.max_duration_s:
        limit = f"decoding.max_duration_s allows {decoding.max_duration_s:,.0f}"
        raise MediaError("decode", f"it lasts {duration_s:,.0f} seconds; {limit}")


def _complain_if_short(container: Any, stream: Any, end_s: float) -> None:
    """ffmpeg says nothing when a file ends early."""
    declared_s = float((stream.duration or 0) * stream.time_base)
    if not declared_s and container.format.name.startswith("matroska") and len(container.streams) == 1:
        declared_s = (container.duration or 0) / 1e6  # Matroska knows the whole's only
    if declared_s - end_s > max(1.0, declared_s / 20):
        raise MediaError(
            "decode", f"it ends after {end_s:.1f} s although it declares {declared_s:.1f} s: it was cut short"
        )
