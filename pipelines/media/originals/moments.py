"""The frame of a file at a time, as detectors see it: of what was found there, such as a face."""

from collections.abc import Iterator

from cluster.errors import MediaError
from cluster.records import Kind, Sample, Segment
from cluster.settings import Decoding
from pipelines.media import recordings
from pipelines.media.decoding import Frame, frames
from pipelines.media.sources import Source

AT_S = 0.002  # by which a time that was rounded to milliseconds may be later than the frame that it names


def frame_at(source: Source, kind: Kind, decoding: Decoding, time_s: float | None) -> Iterator[Frame]:
    """The frame that a video or animation shows at a time in seconds of the file; of anything else its first one.

    MediaError if there is none.
    """
    moment = (time_s or 0.0) - AT_S
    if kind == "video":
        # decoded from a key frame before it on, as a segment is that begins there
        around = Segment(1, 2, 0.0, moment, None, moment, 0.0, None) if moment > 0 else None
        for raw in recordings.raw_frames(source, decoding, around):
            if raw.time_s >= moment:
                yield Frame(Sample(pixels=raw.pixels(decoding.max_side_px), time_s=raw.time_s), same_as_before=False)
                return
    else:
        for frame in frames(source, kind, decoding):
            if (frame.sample.time_s or 0.0) >= moment:
                yield frame
                return
    raise MediaError("decode", "it shows nothing at that time")
