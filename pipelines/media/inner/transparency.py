"""Pictures with transparency: on which colour something is seen of them, and what they hide."""

import math
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from PIL import Image

_SEEN = 8  # of 255: with less of it, a pixel is not seen
_WITHIN = np.ones((17, 17), np.uint8)  # hidden pixels with hidden ones around: codecs smear what is seen by a block
_LEAST = 40  # steps between two hidden pixels: a word has more


def on_background(image: "Image.Image", color: str) -> "Image.Image":
    """An image of `eight_bit` as RGB, on a background of one colour if it has transparency."""
    from PIL import Image

    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, color), image)
    return image if image.mode == "RGB" else image.convert("RGB")  # to convert to the same mode is to copy


def best_background(image: "Image.Image") -> str:
    """The colour on which something is seen of all that an image of `eight_bit` shows."""
    if image.mode != "RGBA" or not vanishes(image, "white", "black"):
        return "white"
    return "grey" if vanishes(image, "black", "white") else "black"


def backgrounds(image: "Image.Image") -> tuple[str, ...]:
    """White; and black, if that shows content of an image of `eight_bit` which white does not."""
    return ("white", "black") if vanishes(image, "white", "black") else ("white",)


def vanishes(image: "Image.Image", color: str, other: str) -> bool:
    """Whether an image of `eight_bit` has content that is seen on the other colour and not on this one."""
    if image.mode != "RGBA":
        return False
    here, there = (np.asarray(on_background(image, each).convert("L"), np.int16) for each in (color, other))
    lost = 0
    for axis in (0, 1):
        steps = np.abs(np.diff(here, axis=axis)), np.abs(np.diff(there, axis=axis))
        lost += int(((steps[0] < 32) & (steps[1] > 96)).sum())
    return lost > 2 * math.sqrt(here.size) / 10


def under_transparency(image: "Image.Image") -> "Image.Image | None":
    """What an image of `eight_bit` has where it is not seen at all, as RGB; None if that is nothing of interest."""
    if image.mode != "RGBA":
        return None
    least: Any = image.getchannel("A").getextrema()[0]
    if least >= _SEEN:
        return None
    values = np.asarray(image)
    hidden: Any = cv2.erode((values[..., 3] < _SEEN).astype(np.uint8), _WITHIN).astype(bool)
    grey = values[..., :3].mean(2, dtype=np.float32)
    steps = 0
    for axis in (0, 1):
        both = hidden[1:] & hidden[:-1] if axis == 0 else hidden[:, 1:] & hidden[:, :-1]
        steps += int(((np.abs(np.diff(grey, axis=axis)) > 48) & both).sum())
    return image.convert("RGB") if steps > max(_LEAST, 2 * math.sqrt(grey.size) / 10) else None
