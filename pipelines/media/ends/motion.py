"""The films of motion photos."""

from pipelines.media import formats
from pipelines.media.ends.extents import end_of, extent
from pipelines.media.ends.reading import bytes_of, found, read
from pipelines.media.guard import byte_file
from pipelines.media.sources import Embedded, EmbeddedFile, Source

WITH_FILM = ("JPEG", "HEIF", "AVIF", "PNG", "WEBP")  # what phones write; others are not searched for a film
_FILM_BEHIND = ("JPEG", "PNG", "WEBP")  # the film lies behind the picture's end; in the others, it is a box


def film(source: Source) -> Embedded | None:
    """The film in a motion photo, an MP4 or QuickTime file behind the picture or in a box of it; None without one.

    Searches what lies behind the picture's end, or the whole file if that is not known.
    """
    if isinstance(source, Embedded):
        return None
    with byte_file(source) as file:
        size, head = bytes_of(file), read(file, 0, formats.HEAD_BYTES)
        name = formats.image_format(head)
        if name not in WITH_FILM:
            return None
        end = end_of(source, file, head) if name in _FILM_BEHIND else None
        if end == size:
            return None
        # a HEIC begins like a film; the end of a picture that is cut short is no place to search from
        begin = found(file, formats.FILM, 1 if end is None or end > size else end)
        if begin < 0:
            return None
        behind = EmbeddedFile(file, begin, size - begin)
        length = extent(behind, read(behind, 0, formats.HEAD_BYTES))  # makers append their own bytes
        return Embedded(source, begin, min(length or size, size - begin))
