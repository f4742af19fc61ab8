"""The sound of video and audio files as 16 kHz mono, of the whole file or of a segment."""

import math
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from cluster.errors import MediaError
from cluster.records import SOUND_RATE_HZ, Segment
from cluster.settings import Decoding
from pipelines.media.containers import TimeRange, decoded, limit, opened, refuse_long, start_s, video_stream
from pipelines.media.guard import decoding_errors
from pipelines.media.sources import Source

PIECE_S = 1800  # held in memory at a time: 115 MB
LEAD_S = 2.0  # decoded before a segment: by then the decoder's output equals that for the whole file


def sound(
    source: Source, decoding: Decoding, segment: Segment | None = None
) -> Iterator[tuple[float, npt.NDArray[np.float32]]]:
    """The first audio stream in pieces of at most PIECE_S: (start in seconds, (n,) mono samples at SOUND_RATE_HZ).

    Damaged packets are skipped; MediaError reports them after the last piece.
    """
    with opened(source) as container:
        if not container.streams.audio:
            return
        refuse_long(container.duration and container.duration / 1e6, decoding)
        stream = container.streams.audio[0]
        limit(stream, decoding)
        begin_s = max(0.0, float((stream.start_time or 0) * stream.time_base) - start_s(container))
        samples = _resampled(decoded(container, stream))
        if segment:
            first = max(0, round((segment.sound_begin_s - begin_s) * SOUND_RATE_HZ))
            end_s = segment.sound_end_s
            last = None if end_s is None else max(first, round((end_s - begin_s) * SOUND_RATE_HZ))
            samples = _excerpt(container, stream, first, last)
            begin_s += first / SOUND_RATE_HZ
        done = 0
        for time_s, piece in _pieces(samples, begin_s, decoding):
            done += piece.size
            yield time_s, piece
        if not done and segment is None and video_stream(container) is None:
            raise MediaError("decode", "there is no sound in it")


def _pieces(
    arrays: Iterator[npt.NDArray[np.float32]], begin_s: float, decoding: Decoding
) -> Iterator[tuple[float, npt.NDArray[np.float32]]]:
    """Pieces of PIECE_S, each with the second it begins at. An error of `arrays` is raised after the last piece."""
    failure, done, filled = None, 0, 0
    piece = np.empty(PIECE_S * SOUND_RATE_HZ, np.float32)  # pages that are never written to take no memory
    try:
        for samples in arrays:
            refuse_long(begin_s + (done + filled + samples.size) / SOUND_RATE_HZ, decoding)
            while samples.size:
                taken = min(samples.size, piece.size - filled)
                piece[filled : filled + taken] = samples[:taken]
                samples, filled = samples[taken:], filled + taken
                if filled == piece.size:
                    yield begin_s + done / SOUND_RATE_HZ, piece
                    piece, done, filled = np.empty_like(piece), done + filled, 0
    except MediaError as error:
        failure = error
    if filled:
        yield begin_s + done / SOUND_RATE_HZ, piece[:filled].copy()
    if failure:
        raise failure


def _excerpt(container: Any, stream: Any, first: int, last: int | None) -> Iterator[npt.NDArray[np.float32]]:
    """Samples `first` up to `last` of the resampled stream, equal to the same slice of the whole file."""
    zero_s, opening = float((stream.start_time or 0) * stream.time_base), None
    if first:
        opening = next(decoded(container, stream), None)
        if opening is None or opening.time is None:
            raise MediaError("decode", "its sound has no timestamps by which to find a segment of it")
        zero_s = opening.time
    begin_s = zero_s + first / SOUND_RATE_HZ
    end_s = math.inf if last is None else zero_s + last / SOUND_RATE_HZ
    from_s = max(zero_s, begin_s - LEAD_S) if first else -math.inf
    frames = decoded(container, stream, TimeRange(from_s, begin_s, end_s + 0.1, end_s + 0.1))
    head = next(frames, None)
    if head is None:
        return
    rate = head.sample_rate
    at = _position(head, opening, stream) if opening else 0
    common = math.gcd(rate, SOUND_RATE_HZ)
    skipped = -at % (rate // common)  # up to where a sample of this rate and one of SOUND_RATE_HZ coincide
    index = (at + skipped) * SOUND_RATE_HZ // rate
    for samples in _resampled(_without(skipped, chain([head], frames))):
        wanted = samples[max(0, first - index) : None if last is None else max(0, last - index)]
        index += samples.size
        if wanted.size:
            yield wanted


def _position(frame: Any, opening: Any, stream: Any) -> int:
    """How many samples of the stream come before a frame, by its time and that of the stream's first frame."""
    if frame.time is None:
        raise MediaError("decode", "its sound has no timestamps by which to find a segment of it")
    rate = frame.sample_rate
    by_time = (frame.time - opening.time) * rate
    # Matroska counts milliseconds; where all frames have one length, their number is exact
    by_frames = opening.samples + frame.samples * round((by_time - opening.samples) / frame.samples)
    tick = float(stream.time_base) * rate
    return by_frames if tick > 1 and abs(by_frames - by_time) <= 1.5 * tick else round(by_time)


def _without(count: int, frames: Iterator[Any]) -> Iterator[Any]:
    """The audio frames without their first `count` samples."""
    from av import AudioFrame

    for frame in frames:
        if count >= frame.samples:
            count -= frame.samples
            continue
        if count:
            channels = 1 if frame.format.is_planar else frame.layout.nb_channels
            with decoding_errors():
                rest = np.ascontiguousarray(frame.to_ndarray()[:, count * channels :])
                kept = AudioFrame.from_ndarray(rest, frame.format.name, frame.layout.name)
            kept.sample_rate, kept.time_base = frame.sample_rate, frame.time_base
            frame, count = kept, 0
        yield frame


def _resampled(frames: Iterator[Any]) -> Iterator[npt.NDArray[np.float32]]:
    """The samples of audio frames as mono at SOUND_RATE_HZ, -1 to 1; the input format may change within a stream."""
    from av import AudioResampler

    resampler, made_for = None, None
    for frame in frames:
        if resampler is None or made_for != (frame.format.name, frame.layout.name, frame.sample_rate):
            yield from _converted(resampler, None)
            made_for = (frame.format.name, frame.layout.name, frame.sample_rate)
            with decoding_errors():
                # without it two equal channels come out 1.4 times as loud, and clipped
                resampler = AudioResampler("flt", "mono", SOUND_RATE_HZ, options={"rematrix_maxval": "1.0"})
        yield from _converted(resampler, frame)
    yield from _converted(resampler, None)


def _converted(resampler: Any, frame: Any) -> Iterator[npt.NDArray[np.float32]]:
    """The resampled samples of a frame; with None, those that the resampler still holds."""
    if resampler is None:
        return
    with decoding_errors():
        arrays = [resampled.to_ndarray()[0] for resampled in resampler.resample(frame)]
    for samples in arrays:  # files of floats may hold NaN and values of any size
        yield np.clip(np.nan_to_num(samples), -1, 1)
