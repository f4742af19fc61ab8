"""Where a long video may be cut: its pictures at key frames, its sound where it is quiet."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cluster.errors import MediaError
from cluster.records import SOUND_RATE_HZ, Segment
from cluster.settings import Decoding
from pipelines.media.audio import sound
from pipelines.media.containers import ROUNDING_S, declared, limit, opened, sought, start_s, video_of
from pipelines.media.formats import decoding_errors

LONG = 1.5  # as long as a segment should be: what is shorter is not cut
REACH_S = 5.0  # around a picture's border, where the quietest moment is looked for
QUIET_S = 0.3
_STEP_S = 0.02  # sounds are compared in steps of this
_SILENCE = 1e-8  # mean square; below it all is as quiet
_BACK_S = 2.0  # by which pictures may come before those that are shown before them
_GAP_S = 0.1  # by which the clock of a sound may be off

Seconds = npt.NDArray[np.float64]


def segments(path: Path, decoding: Decoding) -> tuple[Segment, ...]:
    """Its stretches of about segment_s; none if it is to be left whole: it is short, or its clock cannot be trusted."""
    with opened(path) as container:
        stream = video_of(container)
        if stream is None or (container.duration or 0) / 1e6 <= LONG * decoding.segment_s:
            return ()
        limit(stream, decoding)
        times = _times(container, stream, decoding)
        if times is None:
            return ()
        shown, keys, end_s = times
        begins = _borders(keys, end_s, decoding.segment_s)
        befores = [float(shown[np.searchsorted(shown, begin_s - ROUNDING_S) - 1]) for begin_s in begins]
        if not all(_leads(container, stream, *border, shown) for border in zip(befores, begins, strict=True)):
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
    """When pictures are shown, which are key frames, and when the last ends; None where that is not certain."""
    shown: list[float] = []
    keys: list[float] = []
    decoded, latest_s, heard = -np.inf, -np.inf, None
    for packet in _packets(container, [stream, *container.streams.audio[:1]]):
        if packet.pts is None:
            return None
        time_s = float(packet.pts * packet.time_base) - start_s(container)
        if packet.stream is stream:
            late = packet.dts is not None and packet.dts <= decoded  # Matroska does not store it
            if late or time_s < latest_s - _BACK_S:  # recordings that were appended
                return None
            decoded, latest_s = decoded if packet.dts is None else packet.dts, max(latest_s, time_s)
            shown.append(max(0.0, time_s))
            if packet.is_keyframe:
                keys.append(shown[-1])
        else:
            # by its time a segment's sound is found: it must be that of the samples before it
            if heard is not None and abs(time_s - heard) > _GAP_S:
                return None
            heard = time_s + float((packet.duration or 0) * packet.time_base)
    if not shown:
        return None
    end_s = max(shown) + 1 / float(stream.average_rate or 25)
    short_s = declared(container, stream) - end_s
    if end_s > decoding.max_duration_s or short_s > max(1.0, end_s / 20):
        return None
    first = min(shown)  # before which there is nothing to cut off
    return np.sort(shown), np.sort([key for key in keys if key > first]), end_s


def _leads(container: Any, stream: Any, before_s: float, begin_s: float, shown: Seconds) -> bool:
    """Whether a seek leads to before a border, and times are the same behind it: MPEG's do not stand at every picture.

    If it led behind, every segment would decode the file from its beginning."""
    packets, led = sought(container, stream, before_s + start_s(container))
    while led and (packet := _next(packets)) is not None:
        time_s = max(0.0, float((packet.pts or 0) * packet.time_base) - start_s(container))
        if np.abs(shown[max(0, np.searchsorted(shown, time_s) - 1) :][:2] - time_s).min() > ROUNDING_S:
            return False
        if packet.is_keyframe and time_s >= begin_s - ROUNDING_S:
            return abs(time_s - begin_s) <= ROUNDING_S
    return False


def _packets(container: Any, streams: list[Any]) -> Iterator[Any]:
    packets = container.demux(streams)
    while (packet := _next(packets)) is not None:
        yield packet


def _next(packets: Iterator[Any]) -> Any:
    with decoding_errors():
        return next((packet for packet in packets if packet.size), None)  # the last ones only flush


def _borders(keys: Seconds, end_s: float, segment_s: float) -> list[float]:
    """The first key frame at or after each multiple of segment_s, but none that leaves less than half of one."""
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
    """The middle of the quietest moment near a border; of several, of the nearest. The border if there is no sound."""
    around = Segment(0, 1, decoding.segment_s, 0.0, None, None, border_s - reach_s, border_s + reach_s)
    try:
        pieces = list(sound(path, decoding, around))
    except MediaError:  # the segments' analysis will tell
        return border_s
    step = round(_STEP_S * SOUND_RATE_HZ)
    samples = np.concatenate([piece for _, piece in pieces]) if pieces else np.empty(0, np.float32)
    energies = np.square(samples[: samples.size // step * step].reshape(-1, step)).mean(1)
    width = round(QUIET_S / _STEP_S)
    if energies.size < width:
        return border_s
    levels = np.convolve(np.maximum(energies, _SILENCE), np.ones(width) / width, "valid")
    middles = pieces[0][0] + (np.arange(levels.size) + width / 2) * _STEP_S
    quietest = middles[levels <= levels.min() * 1.01]
    return float(quietest[np.abs(quietest - border_s).argmin()])
