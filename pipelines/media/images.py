"""Still and animated images through Pillow: opened within limits, their frames decoded upright on white."""

import io
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cluster.errors import MediaError
from cluster.settings import Decoding
from pipelines.media import formats
from pipelines.media.films.raw_frames import RawFrame
from pipelines.media.guard import decoding_errors, readable
from pipelines.media.inner import deep, transparency
from pipelines.media.sources import Source

if TYPE_CHECKING:
    from PIL import Image, ImageFile

ANIMATION_PIXELS = 4_000_000_000  # decoded of one animated image: 2,000 frames of full HD
ANIMATED = ("GIF", "PNG", "WEBP", "AVIF")  # Pillow's names of formats whose frames follow each other in time
MAX_NOTES_BYTES = 1 << 29  # of all notes in a PNG, of which Pillow unpacks 1 MB each at most
DIM = 0x2000  # of 0xFFFF: a picture of 16 bits without larger values has those of a sensor with 10 to 13 bits
_ORIENTATION = 0x0112  # EXIF and TIFF tags
_MAKER, _SUBFILE_TYPE, _SUB_IFDS, _DNG_VERSION, _PHOTOMETRIC, _MOSAIC = 271, 254, 330, 50706, 262, 32803


@contextmanager
def opened(source: Source, name: str, decoding: Decoding, lenient: bool = False) -> Iterator["Image.Image"]:
    """Yield Pillow's image of a file in the format that `formats.image_format` calls `name`.

    Only its header has been read, unless it is raw: that is developed. `lenient`: the block may load what is readable
    of a broken file, see `leniently`. MediaError if it is broken, cannot be fetched, or declares more than
    decoding.max_pixels.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")  # what is wrong with a file goes into its row, not to the log
    with ExitStack() as stack:
        file = stack.enter_context(readable(source))
        if lenient:
            stack.enter_context(leniently())
        if name == formats.RAW:
            yield _developed(file, decoding)
            return
        try:
            with decoding_errors():
                image: Any = stack.enter_context(_opened(file, name))
            require_allowed_size(image.size, decoding)
        except MediaError:
            if name != "TIFF" or not (developed := _developed_or_none(file, decoding)):
                raise
            image = developed
        else:
            if name == "TIFF" and _is_raw(image):  # Pillow's picture of it is often a small one
                image = _developed_or_none(file, decoding) or image
            elif deep.has_deep_colours(image):  # Pillow takes the upper 8 of their 16 bits
                with decoding_errors():
                    if (bright := deep.brightened(file, DIM)) is not None:
                        image = turned(bright, deep.orientation(image, _ORIENTATION))
        yield image


@contextmanager
def header(source: Source, name: str) -> Iterator["Image.Image"]:
    """Yield Pillow's image of a file as of `opened`, of which only the header is read: what is raw is not developed.

    MediaError if it is broken, or raw that is no TIFF.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")
    with readable(source) as file:
        with decoding_errors():
            image = _opened(file, "TIFF" if name == formats.RAW else name)
        with image:
            yield image


def _opened(file: Path | io.RawIOBase, name: str) -> "ImageFile.ImageFile":
    from PIL import Image

    Image.init()
    if name == "HEIF" and name not in Image.OPEN:
        from pi_heif import register_heif_opener

        register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)
    if name == "JXL" and name not in Image.OPEN:
        from pylibjxl.pillow_plugin import JxlImageFile

        Image.register_open(name, JxlImageFile)
    # not Image.open: its own limit of pixels is one global for the process
    factory: Any = Image.OPEN[name][0]
    try:
        return factory(str(file) if isinstance(file, Path) else file, str(file))
    except (ValueError, SyntaxError, OSError, zlib.error):
        if name != "PNG":
            raise
        with leniently():  # notes that are broken, or larger than Pillow reads, are not the picture
            if not isinstance(file, Path):
                file.seek(0)
            return factory(str(file) if isinstance(file, Path) else file, str(file))


def _is_raw(image: "Image.Image") -> bool:
    """Whether a TIFF is the raw picture of a camera: a DNG, or the format of a maker that has its own."""
    tags: Any = getattr(image, "tag_v2", {})
    maker = str(tags.get(_MAKER, "")).upper()
    is_thumbnail = bool(tags.get(_SUBFILE_TYPE, 0) & 1)
    return (
        _DNG_VERSION in tags or tags.get(_PHOTOMETRIC) == _MOSAIC or bool(maker and (_SUB_IFDS in tags or is_thumbnail))
    )


def _developed_or_none(file: Path | io.RawIOBase, decoding: Decoding) -> "Image.Image | None":
    with suppress(MediaError):
        return _developed(file, decoding)
    return None


def _developed(file: Path | io.RawIOBase, decoding: Decoding) -> "Image.Image":
    """The upright picture of a raw file: the preview that the camera stored, if it has half the sides, else developed.

    It is developed at half the resolution, one pixel of each cell of the mosaic. MediaError as of `opened`.
    """
    import rawpy
    from PIL import Image, ImageOps

    with decoding_errors():
        if not isinstance(file, Path):
            file.seek(0)
        readable_by_it: Any = str(file) if isinstance(file, Path) else file
        raw = rawpy.imread(readable_by_it)
    with raw:
        size = raw.sizes.width, raw.sizes.height
        require_allowed_size(max(size, (raw.sizes.raw_width, raw.sizes.raw_height)), decoding)
        with suppress(MediaError), decoding_errors():
            preview = raw.extract_thumb()
            if preview.format == rawpy.ThumbFormat.JPEG:
                image = Image.OPEN["JPEG"][0](io.BytesIO(bytes(preview.data)), "")
                require_allowed_size(image.size, decoding)
                if max(image.size) >= max(size) / 2:
                    image.load()
                    if orientation(image) > 1:
                        return ImageOps.exif_transpose(image)
                    return turned(image, {3: 3, 5: 8, 6: 6}.get(raw.sizes.flip, 1))
        with decoding_errors():
            return Image.fromarray(raw.postprocess(half_size=True, use_camera_wb=True))


@contextmanager
def leniently() -> Iterator[None]:
    """Within the block Pillow skips broken metadata and keeps what it could decode of pixels that are cut short.

    Pillow's switches are globals, so no other thread of the process may decode meanwhile: a decoder process has one.
    """
    from PIL import ImageFile, PngImagePlugin

    before = ImageFile.LOAD_TRUNCATED_IMAGES, PngImagePlugin.MAX_TEXT_MEMORY
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    PngImagePlugin.MAX_TEXT_MEMORY = MAX_NOTES_BYTES
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES, PngImagePlugin.MAX_TEXT_MEMORY = before


def require_allowed_size(size: tuple[int, int], decoding: Decoding) -> None:
    """MediaError if that are more than decoding.max_pixels. `size`: width and height as the file declares them."""
    width, height = size
    if width * height > decoding.max_pixels:
        allowed = f"decoding.max_pixels allows {decoding.max_pixels:,}"
        raise MediaError("decode", f"it declares {width:,} x {height:,} pixels; {allowed}")


def upright_size(image: "Image.Image") -> tuple[int, int]:
    """Width and height in pixels once the image is turned as its EXIF orientation says."""
    width, height = image.size
    if orientation(image) >= 5:
        width, height = height, width
    return width, height


def animation(image: "Image.Image") -> Iterator[RawFrame]:
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
        yield RawFrame(time_s, lambda max_side_px: pixels(image, max_side_px, transparency.best_background))
        # like browsers: a duration of 10 ms or less is a mistake of the encoder
        time_s += shown_ms / 1000 if shown_ms > 10 else 0.1
        decoded += image.width * image.height
        if decoded > ANIMATION_PIXELS:
            raise MediaError("decode", f"it has too many frames; those after {time_s:,.0f} s were not analysed")


def pixels(
    image: "Image.Image", max_side_px: int, background: Callable[["Image.Image"], str] | None = None
) -> npt.NDArray[np.uint8]:
    """The current frame as (height, width, 3) RGB, as of `upright_rgb`."""
    return np.asarray(upright_rgb(image, max_side_px, background))


def upright_rgb(
    image: "Image.Image", max_side_px: int, background: Callable[["Image.Image"], str] | None = None
) -> "Image.Image":
    """The current frame as an RGB image: upright, no side longer than max_side_px. MediaError if broken.

    On white, or on the colour that `background` chooses for it.
    """
    with decoding_errors():
        image.draft(None, shrunk_size(image.size, max_side_px))  # JPEG decodes at a half, quarter or eighth
        image.load()
        shrunk = shrink(eight_bit(image), max_side_px)
        color = background(shrunk) if background else "white"
        return turned(transparency.on_background(shrunk, color), orientation(image))


def shrunk_size(size: tuple[int, int], max_side_px: int) -> tuple[int, int]:
    """Width and height so that no side is longer than max_side_px."""
    scale = min(1.0, max_side_px / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def shrink(image: "Image.Image", max_side_px: int) -> "Image.Image":
    """The image with no side longer than max_side_px: itself if it is not larger."""
    from PIL import Image

    size = shrunk_size(image.size, max_side_px)
    return image if size == image.size else image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)


def eight_bit(image: "Image.Image") -> "Image.Image":
    """The loaded image with 8 bits a channel, as L, RGB or RGBA."""
    from PIL import Image

    if image.mode.startswith("I;16"):
        values = np.asarray(image)
        low, high = deep.bounds(values)
        if high >= DIM or high == low:
            return Image.fromarray((values >> 8).astype(np.uint8))  # Pillow would cut off at 255
        return Image.fromarray(deep.stretched(values, low, high))
    if image.mode in ("I", "F"):
        return Image.fromarray(deep.of_any_range(np.asarray(image, np.float32)))
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def orientation(image: "Image.Image") -> int:
    """The EXIF orientation, 1 (upright) to 8; 1 where there is none, or the library has turned the picture."""
    if image.format in ("TIFF", "JXL"):
        return 1
    try:
        with decoding_errors():
            return int(image.getexif().get(_ORIENTATION, 1))
    except MediaError:  # the metadata are broken, not the pixels
        return 1


def turned(image: "Image.Image", orientation: int) -> "Image.Image":
    """The image turned and mirrored as an EXIF orientation, 1 to 8, says."""
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
