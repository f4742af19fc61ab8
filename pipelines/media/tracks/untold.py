"""What a recording holds besides pictures, sound and subtitles, in words: it is not looked at."""

from typing import Any

from cluster.errors import MediaError
from pipelines.media import formats
from pipelines.media.containers import opened, video_stream
from pipelines.media.films import captions
from pipelines.media.sources import Source


def untold(source: Source, kind: str) -> str:
    """Attached files of a recording (Matroska) that are media or hold files; empty if there are none.

    `kind`: for "sound" only of a recording without pictures, and then also its subtitles that are not read: those that
    are pictures, and those without a decoder.
    """
    with opened(source) as container:
        if kind == "sound" and video_stream(container):
            return ""
        parts = [part for stream in container.streams.attachments if (part := _attached(stream))]
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
