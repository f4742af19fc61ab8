"""The sampled frames of films: of all their video tracks, their covers, and captions that are pictures."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from cluster.errors import MediaError
from cluster.records import Sample, Segment
from cluster.settings import Decoding
from pipelines.media import recordings, sampling
from pipelines.media.containers import WHOLE, TimeRange, opened, refuse_long, start_s
from pipelines.media.films import captions, edit_lists
from pipelines.media.guard import byte_file
from pipelines.media.sampling import Frame
from pipelines.media.sources import Source
from pipelines.media.tracks.untold import untold


def video_frames(source: Source, decoding: Decoding, segment: Segment | None, with_thumbnail: bool) -> Iterator[Frame]:
    """The sampled frames of one video track after the other; each sample names its track if there are several.

    After them covers, and captions that are pictures. MediaError, after all, also tells what an edit list hides.
    """
    begin_s, end_s = (segment.begin_s, segment.end_s) if segment else (0.0, None)
    tracks, has_more = recordings.video_tracks(source)
    reasons = []
    for number, track in enumerate(tracks or [""]):
        raw_frames = recordings.raw_frames(source, decoding, segment, number)
        try:
            for frame in sampling.sampled(raw_frames, decoding, with_thumbnail and not number, begin_s, end_s):
                yield frame if len(tracks) < 2 else replace(frame, sample=replace(frame.sample, track=track))
        except MediaError as error:  # the other tracks may be whole
            reasons.append(_reason(error))
    try:
        if has_more and (segment is None or segment.n == 0):
            for pixels in recordings.covers(source, decoding):
                yield Frame(Sample(pixels=pixels), same_as_before=False, note="on the cover")
        if has_more:
            yield from _captions(source, decoding, segment)
    except MediaError as error:
        reasons.append(_reason(error))
    if segment is None or segment.n == 0:
        reasons += filter(None, [hidden(source, "video"), untold(source, "video", decoding)])
    if reasons:
        raise MediaError("decode", "; ".join(dict.fromkeys(reasons)))


def _reason(error: MediaError) -> str:
    """Why a part of a film could not be decoded. Raises an error of another step: the file could not be fetched."""
    if error.step != "decode":
        raise error
    return error.reason


def _captions(source: Source, decoding: Decoding, segment: Segment | None) -> Iterator[Frame]:
    """The captions that are pictures; of a segment, those that appear in it."""
    with opened(source) as container:
        begin_s = start_s(container)
        time_range = WHOLE
        if segment is not None:
            first_s = begin_s + segment.begin_s if segment.n else -math.inf
            end_s = math.inf if segment.end_s is None else begin_s + segment.end_s
            time_range = TimeRange(first_s, first_s, end_s, math.inf)
        for caption in captions.captions(container, time_range):
            refuse_long(caption.time_s - begin_s, decoding)
            sample = Sample(caption.pixels, time_s=max(0.0, caption.time_s - begin_s), track=caption.track)
            yield Frame(sample, same_as_before=False, is_caption=True)
        if unread := captions.unread(container):
            raise MediaError("decode", f"there is no decoder for its {', '.join(unread)}: nothing in it was read")


def hidden(source: Source, kind: Literal["video", "sound"]) -> str:
    """What an edit list hides of a recording, as a reason; empty if that is nothing."""
    with byte_file(source) as file:
        parts = edit_lists.hidden(file, kind)
    return f"its edit list hides {', '.join(parts)}: that was not analysed" if parts else ""
