"""The sound of video and audio files as 16 kHz mono, of the whole file or of a segment."""

import math
from collections.abc import Iterator
from hashlib import blake2b
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from cluster.errors import MediaError
from cluster.records import SOUND_RATE_HZ, Segment
from cluster.settings import Decoding
from pipelines.media.containers import TimeRange, decoded, limit, opened, refuse_long, start_s, track_name, video_stream
from pipelines.media.guard import decoding_errors
from pipelines.media.sources import Source

PIECE_S = 1800  # held in memory at a time: 115 MB
MIX_S = 0.5  # over which the channels are compared
SILENT = 1e-8  # mean square: below it their difference says nothing
LEAD_S = 2.0  # decoded before a segment: by then the decoder's output equals that for the whole file


def sound(
    source: Source, decoding: Decoding, segment: Segment | None = None
) -> Iterator[tuple[float, npt.NDArray[np.float32], str | None]]:
    """Every audio stream, one after the other, in pieces of at most PIECE_S.

    Each is (start in seconds, (n,) mono samples at SOUND_RATE_HZ, name of the track), without a name in files with one
    track. A piece that equals one of an earlier track is left out. Damaged packets are skipped; MediaError reports them
    after the last piece.
    """
    with opened(source) as container:
        count, silent = len(container.streams.audio), video_stream(container) is None
    done, failure = 0, None
    known: set[tuple[float, bytes]] = set()
    for number in range(count):
        try:
            for begin_s, samples, name in track(source, decoding, segment, number):
                done += samples.size
                key = begin_s, blake2b(samples.data, digest_size=16).digest() if count > 1 else b""
                if key not in known:
                    yield begin_s, samples, name if count > 1 else None
                known.add(key)
        except MediaError as error:  # the other tracks may be whole
            failure = failure or error
    if failure:
        raise failure
    if count and not done and segment is None and silent:
        raise MediaError("decode", "there is no sound in it")


def track(
    source: Source, decoding: Decoding, segment: Segment | None, number: int
) -> Iterator[tuple[float, npt.NDArray[np.float32], str]]:
    """The pieces of one audio stream, by its number from 0, with its name, as of `sound`. None if there is no such."""
    with opened(source) as container:
        if len(container.streams.audio) <= number:
            return
        refuse_long(container.duration and container.duration / 1e6, decoding)
        stream = container.streams.audio[number]
        limit(stream, decoding)
        begin_s = max(0.0, float((stream.start_time or 0) * stream.time_base) - start_s(container))
        samples = _resampled(decoded(container, stream))
        if segment:
            first = max(0, round((segment.sound_begin_s - begin_s) * SOUND_RATE_HZ))
            end_s = segment.sound_end_s
            last = None if end_s is None else max(first, round((end_s - begin_s) * SOUND_RATE_HZ))
            samples = _excerpt(container, stream, first, last)
            begin_s += first / SOUND_RATE_HZ
        for time_s, piece in _pieces(samples, begin_s, decoding):
            yield time_s, piece, track_name("sound track", number + 1, stream)


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
    for samples in _resampled(without(skipped, chain([head], frames))):
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


def without(count: int, frames: Iterator[Any]) -> Iterator[Any]:
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

    resamplers: list[Any] = []
    made_for, mix = None, _Mix()
    for frame in frames:
        count = frame.layout.nb_channels
        if made_for != (frame.format.name, count, frame.sample_rate):
            yield from _converted(resamplers, None, mix)
            made_for = (frame.format.name, count, frame.sample_rate)
            # without the option two equal channels come out 1.4 times as loud, and clipped
            options = {"rematrix_maxval": "1.0"}
            with decoding_errors():
                if count > 2:
                    resamplers = [AudioResampler("fltp", "mono", SOUND_RATE_HZ) for _ in range(count)]
                else:
                    layout = "mono" if count == 1 else "stereo"
                    resamplers = [AudioResampler("fltp", layout, SOUND_RATE_HZ, options=options)]
        yield from _converted(resamplers, frame, mix)
    yield from _converted(resamplers, None, mix)


def _converted(resamplers: list[Any], frame: Any, mix: "_Mix") -> Iterator[npt.NDArray[np.float32]]:
    """The resampled samples of a frame; with None, those that the resamplers still hold.

    Of more channels than two each has a resampler: FFmpeg's mix of them leaves out some, such as that of deep tones,
    and those without a known place.
    """
    if not resamplers:
        return
    with decoding_errors():
        parts = [frame] if frame is None or len(resamplers) == 1 else _channels(frame)
        parts *= len(resamplers) // len(parts)
        arrays = [
            [piece.to_ndarray() for piece in resampler.resample(part)]
            for resampler, part in zip(resamplers, parts, strict=True)
        ]
    for pieces in zip(*arrays, strict=True):
        channels = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
        # files of floats may hold NaN and values of any size
        channels = np.clip(np.nan_to_num(channels), -1, 1)
        yield channels[0] if len(channels) == 1 else mix.mono(channels)


def _channels(frame: Any) -> list[Any]:
    """Each channel of a frame as a frame."""
    from av import AudioFrame

    values = frame.to_ndarray()
    if not frame.format.is_planar:
        values = values.reshape(-1, frame.layout.nb_channels).T
    channels = []
    for row in values:
        channel = AudioFrame.from_ndarray(np.ascontiguousarray(row[None]), frame.format.planar.name, "mono")
        channel.sample_rate, channel.time_base, channel.pts = frame.sample_rate, frame.time_base, frame.pts
        channels.append(channel)
    return channels


class _Mix:
    """The mean of two channels; the louder one where the other is silent, or where they cancel each other out.

    Of more channels, the mean of those that are not silent; one that would cancel out the others is turned around.
    """

    def __init__(self) -> None:
        self._powers = np.zeros(3)  # of left, right and their mean, as of about the last MIX_S seconds
        self._louder: int | None = None
        self._products = np.zeros((0, 0))  # of each channel with each, of more than two, as of the same time
        self._weights = np.zeros(0, np.float32)

    def mono(self, channels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """(channels, n) samples, which follow those of the last call, as (n,)."""
        if len(channels) > 2:
            return self._of_many(channels)
        mean = channels.mean(0, dtype=np.float32)
        kept = math.exp(-mean.size / (MIX_S * SOUND_RATE_HZ))
        powers = [float(np.dot(samples, samples)) for samples in (*channels, mean)]
        self._powers = kept * self._powers + powers
        left, right, both = self._powers
        loud, low = max(left, right), min(left, right)
        if loud > SILENT * MIX_S * SOUND_RATE_HZ:
            lost = low < loud / 1000 or both < loud / 10
            self._louder = int(right > left) if lost else None
        return mean if self._louder is None else channels[self._louder]

    def _of_many(self, channels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        count = len(channels)
        if len(self._products) != count:
            self._products, self._weights = np.zeros((count, count)), np.full(count, 1 / count, np.float32)
        kept = math.exp(-channels.shape[1] / (MIX_S * SOUND_RATE_HZ))
        self._products = kept * self._products + channels @ channels.T
        powers = self._products.diagonal()
        if powers.max() > SILENT * MIX_S * SOUND_RATE_HZ:
            signs = np.zeros(count)
            for channel in np.argsort(-powers):
                if powers[channel] >= powers.max() / 1000:
                    so_far = float(signs @ self._products @ signs) * powers[channel]
                    is_opposite = signs @ self._products[channel] < -0.5 * math.sqrt(max(0.0, so_far))
                    signs[channel] = -1 if is_opposite else 1
            self._weights = (signs / np.abs(signs).sum()).astype(np.float32)
        return self._weights @ channels
