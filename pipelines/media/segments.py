"""Where a long video may be cut: its frames at key frames, its sound where it is quiet."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cluster.errors import MediaError
from cluster.records import SOUND_RATE_HZ, Segment
from cluster.settings import Decoding
from pipelines.media.audio import track
from pipelines.media.containers import ROUNDING_S, limit, opened, sought, start_s, stream_duration_s, video_stream
from pipelines.media.guard import decoding_errors

LONG = 1.5  # times segment_s: shorter videos are not cut
REACH_S = 5.0  # around a border between frames, within which the quietest moment is searched
QUIET_S = 0.3  # length of that moment
_STEP_S = 0.02  # sound levels are computed for steps of this
_SILENCE = 1e-8  # mean square; levels below it count as equal
_BACK_S = 2.0  # by which the stored order of frames may differ from the order of display
_GAP_S = 0.1  # by which the timestamps of the sound may be off

Seconds = npt.NDArray[np.float64]


def segments(path: Path, decoding: Decoding) -> tuple[Segment, ...]:
    """The segments of about decoding.segment_s of a video; none if it is short, or its timestamps cannot be trusted."""
    with opened(path) as container:
        stream = video_stream(container)
        if stream is None or (container.duration or 0) / 1e6 <= LONG * decoding.segment_s:
            return ()
        limit(stream, decoding)
        times = _times(container, stream, decoding)
        if times is None:
            return ()
        shown, keys, end_s = times
        begins = _borders(keys, end_s, decoding.segment_s)
        befores = [float(shown[np.searchsorted(shown, begin_s - ROUNDING_S) - 1]) for begin_s in begins]
        if not all(_seekable(container, stream, *border, shown) for border in zip(befores, begins, strict=True)):
            return ()
    if not begins:
        return ()
    reach_s = min(REACH_S, decoding.segment_s / 8)
    quiet = [_quiet(path, decoding, begin_s, reach_s) for begin_s in begins]
    pictures = zip([0.0, *begins], [*begins, None], [None, *befores], strict=True)
    sounds = zip([0.0, *quiet], [*quiet, None], strict=True)
    return tuple(
        Segment(n, len(begins) + 1, decoding.segment_s, *picture, *sound)
        for n, (picture, sound) in enumerate(zip(pictures, sounds, strict=True))
    )


def _times(container: Any, stream: Any, decoding: Decoding) -> tuple[Seconds, Seconds, float] | None:
    """Sorted times in seconds of all frames and of the key frames, and the end of the last; None where uncertain."""
    shown: list[float] = []
    keys: list[float] = []
    decoded, latest_s = -np.inf, -np.inf
    sound_ends_s: dict[int, float] = {}  # stream -> the end of its last packet
    for packet in _packets(container, [stream, *container.streams.audio]):
        if packet.pts is None:
            return None
        time_s = float(packet.pts * packet.time_base) - start_s(container)
        if packet.stream is stream:
            late = packet.dts is not None and packet.dts <= decoded  # Matroska does not store it
            if late or time_s < latest_s - _BACK_S:  # several recordings in one file
                return None
            decoded, latest_s = decoded if packet.dts is None else packet.dts, max(latest_s, time_s)
            shown.append(max(0.0, time_s))
            if packet.is_keyframe:
                keys.append(shown[-1])
        else:
            # the sound of a segment is found by time, so each packet must begin where the one before ended
            if abs(time_s - sound_ends_s.get(packet.stream.index, time_s)) > _GAP_S:
                return None
            sound_ends_s[packet.stream.index] = time_s + float((packet.duration or 0) * packet.time_base)
    if not shown:
        return None
    end_s = max(shown) + 1 / float(stream.average_rate or 25)
    short_s = stream_duration_s(container, stream) - end_s
    if end_s > decoding.max_duration_s or short_s > max(1.0, end_s / 20):
        return None
    first = min(shown)  # a border there would leave nothing before it
    return np.sort(shown), np.sort([key for key in keys if key > first]), end_s


def _seekable(container: Any, stream: Any, before_s: float, begin_s: float, shown: Seconds) -> bool:
    """Whether a seek reaches the frame before a border, and the packets from there on have the times seen before.

    Otherwise each segment would be decoded from the beginning of the file. MPEG does not store the time of each frame.
    """
    packets, reached = sought(container, stream, before_s + start_s(container))
    while reached and (packet := _next(packets)) is not None:
        time_s = max(0.0, float((packet.pts or 0) * packet.time_base) - start_s(container))
        if np.abs(shown[max(0, np.searchsorted(shown, time_s) - 1) :][:2] - time_s).min() > ROUNDING_S:
            return False
        if packet.is_keyframe and time_s >= begin_s - ROUNDING_S:
            return abs(time_s - begin_s) <= ROUNDING_S
    return False


def _packets(container: Any, streams: list[Any]) -> Iterator[Any]:
    """The packets of these streams that hold data, in the order of the file."""
    packets = container.demux(streams)
    while (packet := _next(packets)) is not None:
        yield packet


def _next(packets: Iterator[Any]) -> Any:
    """The next packet that holds data, None at the end."""
    with decoding_errors():
        return next(
            (packet for packet in packets if packet.size), None
        )  # empty packets at the end only flush the decoder


def _borders(keys: Seconds, end_s: float, segment_s: float) -> list[float]:
    """The first key frame at or after each multiple of segment_s, unless a segment would be shorter than half of it."""
    begins: list[float] = []
    if end_s <= LONG * segment_s:
        return begins
    for target_s in np.arange(segment_s, end_s, segment_s):
        at = int(np.searchsorted(keys, target_s - ROUNDING_S))
        if at == len(keys) or end_s - keys[at] < segment_s / 2:
            break
        if keys[at] - (begins[-1] if begins else 0.0) >= segment_s / 2:
            begins.append(float(keys[at]))
    return begins


def _quiet(path: Path, decoding: Decoding, border_s: float, reach_s: float) -> float:
    """The middle of the quietest QUIET_S within reach_s of a border, the nearest of several; the border if silent."""
    around = Segment(0, 1, decoding.segment_s, 0.0, None, None, border_s - reach_s, border_s + reach_s)
    try:
        pieces = list(track(path, decoding, around, 0))
    except MediaError:  # reported when the segments are analysed
        return border_s
    step = round(_STEP_S * SOUND_RATE_HZ)
    samples = np.concatenate([piece for _, piece, _ in pieces]) if pieces else np.empty(0, np.float32)
    energies = np.square(samples[: samples.size // step * step].reshape(-1, step)).mean(1)
    width = round(QUIET_S / _STEP_S)
    if energies.size < width:
        return border_s
    levels = np.convolve(np.maximum(energies, _SILENCE), np.ones(width) / width, "valid")
    middles = pieces[0][0] + (np.arange(levels.size) + width / 2) * _STEP_S
    quietest = middles[levels <= levels.min() * 1.01]
    return float(quietest[np.abs(quietest - border_s).argmin()])
