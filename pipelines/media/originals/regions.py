"""A part of a picture, or of a frame of a film, cut from the original with all its pixels."""

import math
from collections.abc import Iterator

from cluster.errors import MediaError
from cluster.records import Box, Kind
from cluster.settings import Decoding
from pipelines.media import decoding
from pipelines.media.originals import copies
from pipelines.media.sources import Source

UNSCALED_PX = 1 << 20  # longer than a side of any picture that decoding.max_pixels allows to be of use
ROUNDING = 1e-3  # of a pixel: a fraction of a side is rounded in an address
LEAST_PX = 8  # a side of a region: what is smaller shows nothing


def region(source: Source, kind: Kind, box: Box, at_s: float, limits: Decoding) -> Iterator[bytes]:
    """The part of a picture, or of the frame that a film shows at a second, as PNG.

    It is cut out before it is scaled to max_side_px, which detectors get. MediaError if it is too small, or if there is
    no such frame.
    """
    unscaled = limits.model_copy(update={"max_side_px": UNSCALED_PX})
    image = copies.shown_at(source, at_s, unscaled) if kind == "video" else decoding.picture(source, unscaled)
    width, height = image.size
    left, top, right, bottom = box
    cut = (
        math.floor(left * width + ROUNDING),
        math.floor(top * height + ROUNDING),
        math.ceil(right * width - ROUNDING),
        math.ceil(bottom * height - ROUNDING),
    )
    part = image.crop(cut).convert("RGB")
    if min(part.size) < LEAST_PX:
        raise MediaError(
            "decode", f"that region has {part.width} x {part.height} pixels: a side needs {LEAST_PX} or more"
        )
    part.thumbnail((limits.max_side_px, limits.max_side_px))
    yield copies.png_of(part, compress_level=1)
