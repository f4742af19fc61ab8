"""What a recording holds besides pictures, sound and subtitles, in words: it is not looked at."""

from typing import Any

from cluster.errors import MediaError
from cluster.settings import Decoding
from pipelines.media import formats
from pipelines.media.containers import opened, video_stream, video_streams
from pipelines.media.films import captions
from pipelines.media.sources import Source
from pipelines.media.stills import SHRUNK


def untold(source: Source, kind: str, decoding: Decoding) -> str:
    """What is not looked at of a recording; empty if that is nothing.

    Attached files (Matroska) that are media or hold files. Details of frames that are much larger than
    decoding.max_side_px: only those of still pictures are looked at in tiles, since a film has too many.

    `kind`: for "sound" only of a recording without pictures, and then also its subtitles that are not read: those that
    are pictures, and those without a decoder.
    """
    with opened(source) as container:
        if kind == "sound" and video_stream(container):
            return ""
        parts = [part for stream in container.streams.attachments if (part := _attached(stream))]
        for stream in video_streams(container) if kind == "video" else ():
            if stream.codec_context is None:  # no decoder, which is told where it is decoded
                continue
            width, height = stream.codec_context.width, stream.codec_context.height
            if max(width, height) > SHRUNK * decoding.max_side_px:
                reduced = f"its frames of {width} x {height} px were reduced to {decoding.max_side_px} px"
                parts.append(f"{reduced}: small writing and faces in them were not seen")
        if kind == "sound":
            names = captions.unread(container, with_pictures=True)
            parts += [f"its {', '.join(names)}: nothing in it was read"] if names else []
    return "; ".join(parts)


def _attached(stream: Any) -> str:
    content = bytes(stream.data or b"")
    try:
        what = formats.kind_of(content[: formats.HEAD_BYTES])
    except MediaError as error:
        return f"the attached file {stream.name}: {error.reason}"
    return f"the attached file {stream.name} ({what}, {len(content):,} bytes) was not looked at" if what else ""
