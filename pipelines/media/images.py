"""Still and animated images through Pillow: opened within limits, their frames decoded upright on white."""

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cluster.errors import MediaError
from cluster.settings import Decoding
from pipelines.media.guard import decoding_errors, readable
from pipelines.media.recordings import RawFrame
from pipelines.media.sources import Source

if TYPE_CHECKING:
    from PIL import Image, ImageFile

ANIMATION_PIXELS = 4_000_000_000  # decoded of one animated image: 2,000 frames of full HD
ANIMATED = ("GIF", "PNG", "WEBP", "AVIF")  # Pillow's names of formats whose frames follow each other in time
_ORIENTATION = 0x0112  # the EXIF tag


@contextmanager
def opened(source: Source, name: str, decoding: Decoding) -> Iterator["ImageFile.ImageFile"]:
    """Yield Pillow's image of a file in the format that Pillow calls `name`; only its header has been read.

    MediaError if it is broken, cannot be fetched, or declares more than decoding.max_pixels.
    """
    from PIL import Image

    warnings.filterwarnings("ignore", module=r"PIL\.")  # what is wrong with a file goes into its row, not to the log
    with ExitStack() as stack:
        file = stack.enter_context(readable(source))
        with decoding_errors():
            Image.init()
            # not Image.open: its own limit of pixels is one global for the process
            factory: Any = Image.OPEN[name][0]
            image = stack.enter_context(factory(str(file) if isinstance(file, Path) else file, str(file)))
        width, height = image.size
        if width * height > decoding.max_pixels:
            allowed = f"decoding.max_pixels allows {decoding.max_pixels:,}"
            raise MediaError("decode", f"it declares {width:,} x {height:,} pixels; {allowed}")
        yield image


def upright_size(image: "ImageFile.ImageFile") -> tuple[int, int]:
    """Width and height in pixels once the image is turned as its EXIF orientation says."""
    width, height = image.size
    # Pillow itself turns TIFF
    if image.format != "TIFF" and _orientation(image) >= 5:
        width, height = height, width
    return width, height


def animation(image: "ImageFile.ImageFile") -> Iterator[RawFrame]:
    """The frames of an animated image, in order. MediaError after ANIMATION_PIXELS of them."""
    from PIL import ImageSequence

    time_s, decoded = 0.0, 0
    sequence = iter(ImageSequence.Iterator(image))
    while True:
        with decoding_errors():
            if next(sequence, None) is None:
                return
            image.load()  # only then does Pillow know the duration of a WebP frame
            shown_ms = float(image.info.get("duration") or 0)
        yield RawFrame(time_s, lambda max_side_px: pixels(image, max_side_px))
        # like browsers: a duration of 10 ms or less is a mistake of the encoder
        time_s += shown_ms / 1000 if shown_ms > 10 else 0.1
        decoded += image.width * image.height
        if decoded > ANIMATION_PIXELS:
            raise MediaError("decode", f"it has too many frames; those after {time_s:,.0f} s were not analysed")


def pixels(image: "ImageFile.ImageFile", max_side_px: int) -> npt.NDArray[np.uint8]:
    """The current frame as (height, width, 3) RGB, as of `upright_rgb`."""
    return np.array(upright_rgb(image, max_side_px))


def upright_rgb(image: "ImageFile.ImageFile", max_side_px: int) -> "Image.Image":
    """The current frame as an RGB image: upright, on white, no side longer than max_side_px.

    MediaError if the file is cut short: Pillow could fill the rest with grey, which detectors would take for content.
    """
    from PIL import Image

    scale = min(1.0, max_side_px / max(image.size))
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    with decoding_errors():
        image.draft(None, size)  # JPEG decodes at a half, quarter or eighth; other formats ignore it
        image.load()
        converted = _eight_bit(image)
        if converted.size != size:
            converted = converted.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
        if converted.mode == "RGBA":
            converted = Image.alpha_composite(Image.new("RGBA", converted.size, "white"), converted)
        if converted.mode != "RGB":  # to convert to the same mode is to copy
            converted = converted.convert("RGB")
    return _upright(converted, _orientation(image))


def _eight_bit(image: "Image.Image") -> "Image.Image":
    """The image with 8 bits a channel, as L, RGB or RGBA."""
    from PIL import Image

    if image.mode.startswith("I;16"):  # Pillow would cut off at 255
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        values = np.nan_to_num(np.asarray(image, np.float32))
        values -= values.min()
        return Image.fromarray((values * (255 / max(float(values.max()), 1e-9))).astype(np.uint8))
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def _orientation(image: "Image.Image") -> int:
    """The EXIF orientation, 1 (upright) to 8; 1 where there is none."""
    try:
        with decoding_errors():
            return int(image.getexif().get(_ORIENTATION, 1))
    except MediaError:  # the metadata are broken, not the pixels
        return 1


def _upright(image: "Image.Image", orientation: int) -> "Image.Image":
    from PIL import Image

    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    return image.transpose(turns[orientation]) if orientation in turns else image
