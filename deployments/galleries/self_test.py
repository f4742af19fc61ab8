"""The drawn mark on which the logo detector tests itself, and the picture that shows it."""

import functools

import numpy as np
from PIL import Image, ImageDraw

from deployments.galleries.pictures import Pixels
from deployments.galleries.store import Reference

SELF_TEST = Reference("raysift self-test", "itself", "")


@functools.cache
def mark() -> Image.Image:
    """The mark, RGBA: a ring with squares in it, which have corners enough for local features."""
    picture = Image.new("RGBA", (160, 160), (0, 0, 0, 0))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((2, 2, 157, 157), fill=(240, 240, 240, 255), outline=(20, 20, 60, 255), width=8)
    rng = np.random.default_rng(7)
    for left, top, side in rng.integers((28, 28, 6), (110, 110, 26), (24, 3)):
        shade = int(rng.integers(0, 200))
        draw.rectangle((int(left), int(top), int(left + side), int(top + side)), fill=(shade, 30, 200 - shade, 255))
    return picture


@functools.cache
def example() -> Pixels:
    """A picture of the mark, turned by 20 degrees: (240, 320, 3), RGB."""
    picture = Image.new("RGB", (320, 240), (96, 120, 96))
    turned = mark().rotate(20, Image.Resampling.BICUBIC, expand=True)
    picture.paste(turned, (60, 10), turned)
    return np.asarray(picture)


def is_example(pixels: Pixels) -> bool:
    """Whether these are the very pixels of the example; no other picture is compared with the mark."""
    return np.array_equal(pixels, example())
