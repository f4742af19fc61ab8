"""What a viewer may see of a thumbnail: explicit pictures without detail, faces as a few coarse squares.

It works on the stored thumbnail, which a scan has made in a decoder process: no file of somebody else is decoded here.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from cluster.access.rules import EXPLICIT

NEEDED = frozenset(("nsfw", "face"))  # without an answer of both, nobody knows what a picture shows
SQUARES = 12  # across a whole picture
FACE_SQUARES = 4  # across a face
MARGIN = 0.25  # of a face's box, on each side: hair and chin
QUALITY = 70


def for_viewer(thumbnail: Mapping[str, Any]) -> bytes:
    """The JPEG that a viewer gets of a row of `Catalog.thumbnail`: blurred where it is explicit or shows faces."""
    boxes = thumbnail["faces"] or []
    explicit = (thumbnail["explicit"] or 0.0) >= EXPLICIT
    # boxes belong to a frame of a video, which need not be the thumbnail's
    placed = thumbnail["kind"] == "image" and all(box is not None for box in boxes)
    known = set(thumbnail["answered"] or ()) >= NEEDED
    if known and not explicit and not boxes:
        return bytes(thumbnail["jpeg"])
    return blurred(thumbnail["jpeg"], boxes if known and not explicit and placed else None)


def is_explicit(file: Mapping[str, Any]) -> bool:
    """Whether a file of `Catalog.location` shows explicit content, or nobody knows, as nsfw has not answered for it."""
    seen = file["kind"] in ("image", "video")
    return seen and ((file.get("explicit") or 0.0) >= EXPLICIT or "nsfw" not in (file.get("answered") or ()))


def blurred(jpeg: bytes, boxes: Sequence[Sequence[float]] | None) -> bytes:
    """The picture with coarse squares in these boxes (fractions: left, top, right, bottom); with None, in all of it.

    Pixels are averaged before they are enlarged again: what is lost cannot be computed back.
    """
    from PIL import Image

    picture = Image.open(io.BytesIO(jpeg)).convert("RGB")
    width, height = picture.size
    for box in [(0.0, 0.0, 1.0, 1.0)] if boxes is None else boxes:
        more_x, more_y = MARGIN * (box[2] - box[0]), MARGIN * (box[3] - box[1])
        left, top = max(0, int((box[0] - more_x) * width)), max(0, int((box[1] - more_y) * height))
        right, bottom = min(width, int((box[2] + more_x) * width) + 1), min(height, int((box[3] + more_y) * height) + 1)
        if right <= left or bottom <= top:
            continue
        part = picture.crop((left, top, right, bottom))
        squares = SQUARES if boxes is None else FACE_SQUARES
        coarse = part.resize((squares, max(1, round(squares * part.height / part.width))), Image.Resampling.BOX)
        picture.paste(coarse.resize(part.size, Image.Resampling.BICUBIC), (left, top))
    sink = io.BytesIO()
    picture.save(sink, "JPEG", quality=QUALITY)  # without the EXIF of the thumbnail
    return sink.getvalue()
