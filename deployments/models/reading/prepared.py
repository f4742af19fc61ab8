"""Pictures as the engines of OCR take them."""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from cluster.records import Box

Pixels = npt.NDArray[np.uint8]  # (height, width, 3) RGB
Size = tuple[int, int]  # width, height in pixels

LEAST_SHARE = 0.25  # strips are padded to this ratio of sides: the engines enlarge or refuse narrower ones


def around(corners: Any, size: Size) -> Box:
    """The box around corners in pixels of a picture of that size, in fractions of it."""
    points = np.asarray(corners, float) / size
    (left, top), (right, bottom) = points.min(axis=0).clip(0, 1), points.max(axis=0).clip(0, 1)
    return float(left), float(top), float(right), float(bottom)


def prepared(pixels: Any, side_px: int) -> tuple[Pixels, Size]:
    """The picture with a longer side of side_px at least, padded if it is a strip; and its size without padding."""
    picture = Image.fromarray(pixels)
    scale = max(1.0, side_px / max(picture.size))
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    if scale > 1:
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    least = round(max(size) * LEAST_SHARE)
    picture = ImageOps.expand(picture, (0, 0, max(0, least - size[0]), max(0, least - size[1])))
    return np.asarray(picture), size
