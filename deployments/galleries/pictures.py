"""Decoding of gallery files: a picture as upright RGBA, anything else as a reason for the operator."""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

MAX_BYTES = 100_000_000
MAX_PIXELS = 100_000_000  # 400 MB as RGBA; a small file can claim far more
FRAME_PX = 1600  # longer side to which media decoding scales frames by default

Pixels = npt.NDArray[np.uint8]  # (height, width, 3), RGB


class UnusablePicture(Exception):
    """A gallery file that cannot be used. The message is a reason that follows the file's name."""


def decode(content: bytes) -> Image.Image:
    """The picture, upright, in mode RGBA. Raises UnusablePicture if it is damaged, too large or no picture.

    Modes of more than 8 bits are scaled to 8 as media decoding does it; Pillow itself would clip them at 255.
    """
    if not content:
        raise UnusablePicture("is empty")
    try:
        with Image.open(io.BytesIO(content)) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise UnusablePicture(_too_large(picture.width, picture.height))
            picture.load()
            return _eight_bits(ImageOps.exif_transpose(picture)).convert("RGBA")
    except UnusablePicture:
        raise
    except UnidentifiedImageError:
        raise UnusablePicture("is not a picture in a format that Raysift reads") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnusablePicture(f"has too many pixels; {MAX_PIXELS:,} are allowed") from None
    except Exception as error:  # Pillow's readers leak OSError, SyntaxError, struct.error, zlib.error, IndexError ...
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise UnusablePicture(f"is damaged ({reason})") from error


def _too_large(width: int, height: int) -> str:
    return f"has {width} x {height} pixels; {MAX_PIXELS:,} are allowed"


def _eight_bits(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.mode in ("I", "F"):
        values = np.nan_to_num(np.asarray(picture, np.float32))
        values -= values.min()
        return Image.fromarray((values * (255 / max(float(values.max()), 1e-9))).astype(np.uint8))
    return picture


def as_frame(picture: Image.Image) -> Pixels:
    """The picture as detectors get frames of media: RGB, its longer side at most FRAME_PX."""
    frame = picture.convert("RGB")
    frame.thumbnail((FRAME_PX, FRAME_PX))
    return np.asarray(frame)


def trimmed(picture: Image.Image) -> Image.Image:
    """An RGBA picture without its transparent border."""
    return picture.crop(picture.getchannel("A").getbbox())


def flattened(picture: Image.Image, pad_px: int = 0) -> list[Image.Image]:
    """An RGBA picture as RGB with a margin of `pad_px`: one if it is opaque, else one on light and one on dark ground.

    The margin of an opaque picture repeats its edge pixels: a margin of any other colour would add a frame, and
    features of that frame, which no media show.
    """
    if picture.getchannel("A").getextrema() == (255, 255):
        margins = ((pad_px, pad_px), (pad_px, pad_px), (0, 0))
        return [Image.fromarray(np.pad(np.asarray(picture.convert("RGB")), margins, mode="edge"))]
    return [_on_ground(picture, grey, pad_px) for grey in (255, 20)]


def _on_ground(picture: Image.Image, grey: int, pad_px: int) -> Image.Image:
    size = (picture.width + 2 * pad_px, picture.height + 2 * pad_px)
    flat = Image.new("RGB", size, (grey, grey, grey))
    flat.paste(picture, (pad_px, pad_px), picture)
    return flat
