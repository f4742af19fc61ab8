"""Bytes to what detectors look at: the frames and the sound of a file, or a MediaError in a plain sentence."""

import io
import math
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cluster.errors import MediaError
from cluster.records import Kind, Sample, Segment
from cluster.settings import Decoding
from pipelines.media import audio, recordings
from pipelines.media.containers import ROUNDING_S
from pipelines.media.formats import decoding_errors, picture_format, readable, sniff
from pipelines.media.recordings import Picture
from pipelines.media.sources import Source

if TYPE_CHECKING:
    from PIL import Image, ImageFile

__all__ = ["Frame", "Media", "frames", "probe", "sniff", "sound", "thumbnail"]

THUMBNAIL_PX = 320
SHOT_PX = 256  # longest side of what the shot detector sees
SHOT_THRESHOLD = 15.0  # measured on 4 films: cuts 17 to 37, people walking and talking 0 to 12
SHOT_S = 0.25  # shots that follow each other faster are one: a strobe must not make every frame a shot
CELLS = 96  # of the longest side: what frames are compared by; see Decoding.same_below
MOVING_PIXELS = 4_000_000_000  # decoded of one animated picture: 2,000 frames of full HD
_ORIENTATION = 0x0112  # the EXIF tag


@dataclass(frozen=True, slots=True)
class Media:
    """What a file is, before it is decoded. Sizes are those of the upright picture."""

    kind: Kind
    width: int | None = None
    height: int | None = None
    duration_s: float | None = None
    has_sound: bool = False


@dataclass(frozen=True, slots=True)
class Frame:
    """A sample of a file, and whether it looks like the last one before it that did not."""

    sample: Sample
    same_as_before: bool


def probe(source: Source, kind: Kind | None, decoding: Decoding) -> Media:
    """Look into a file of that kind, or of any (None). MediaError says why it cannot be analysed."""
    found = sniff(source)
    if kind is not None and found != kind:
        raise MediaError("decode", f"it is no {kind} but {found}, whatever its name says")
    if found == "image":
        with _opened(source, decoding) as picture:
            width, height = picture.size
            # Pillow itself turns TIFF
            if picture.format != "TIFF" and _orientation(picture) >= 5:
                width, height = height, width
        return Media("image", width, height)
    return Media(found, *recordings.facts(source, decoding))


def frames(source: Source, kind: Kind, decoding: Decoding, segment: Segment | None = None) -> Iterator[Frame]:
    """The frames of a file, or of a segment of a video: one of an image, without a time; none of a sound.

    Of videos and animated pictures one each 1 / frames_per_s and the first of every shot. Frames are upright, on white
    where they were transparent, and no side is longer than max_side_px. When a file is damaged, MediaError comes after
    the frames that could be read."""
    if kind == "image":
        yield from _images(source, decoding)
    elif kind == "video":
        begin_s = segment.begin_s if segment else 0.0
        yield from _sampled(recordings.pictures(source, decoding, segment), decoding, begin_s)


def sound(source: Source, decoding: Decoding, segment: Segment | None = None) -> Iterator[Sample]:
    """Its sound in pieces of half an hour at most; none if there is none. MediaError comes after what could be read."""
    for begin_s, samples in audio.sound(source, decoding, segment):
        yield Sample(sound=samples, time_s=begin_s)


def thumbnail(pixels: npt.NDArray[np.uint8]) -> bytes:
    """A JPEG of (height, width, 3) RGB, its longest side THUMBNAIL_PX at most."""
    from PIL import Image

    small = Image.fromarray(pixels)
    small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=80)
    return file.getvalue()


def _sampled(pictures: Iterator[Picture], decoding: Decoding, begin_s: float = 0.0) -> Iterator[Frame]:
    """Those to look at from begin_s on; what comes before it is only to tell which they are.

    The shots: by PySceneDetect's content detector (change of hue, saturation, lightness)."""
    from scenedetect import FrameTimecode
    from scenedetect.detectors import ContentDetector

    detector, shape = ContentDetector(SHOT_THRESHOLD, min_scene_len=0), None
    next_tick, kept_s, cut = 0, -SHOT_S, False
    kept: npt.NDArray[np.float32] | None = None
    for picture in pictures:
        small = picture.pixels(SHOT_PX)
        if small.shape != shape:  # the detector compares neighbours of one size only
            detector, shape, cut = ContentDetector(SHOT_THRESHOLD, min_scene_len=0), small.shape, True
        cut = bool(detector.process_frame(FrameTimecode(picture.time_s, fps=1000.0), small)) or cut
        tick = math.floor(picture.time_s * decoding.frames_per_s + 1e-6)  # 1.0 s may come as 0.9999999
        if tick < next_tick and not (cut and picture.time_s - kept_s >= SHOT_S):
            continue
        next_tick = tick + 1
        cut, kept_s = False, picture.time_s
        if picture.time_s < begin_s - ROUNDING_S:
            continue
        pixels = picture.pixels(decoding.max_side_px)
        cells = _cells(pixels)
        same = kept is not None and kept.shape == cells.shape and np.abs(kept - cells).max() < decoding.same_below
        if not same:  # compared with the last that differed, not with the neighbour: slow drifts do not creep by
            kept = cells
        yield Frame(Sample(pixels=pixels, time_s=picture.time_s), bool(same))


def _cells(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Mean grey of square cells, CELLS along the longest side: 13 px at 720p, less than a line of text is high."""
    from PIL import Image

    height, width = pixels.shape[:2]
    scale = CELLS / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(pixels).convert("L").resize(size, Image.Resampling.BOX), np.float32)


@contextmanager
def _opened(source: Source, decoding: Decoding) -> Iterator["ImageFile.ImageFile"]:
    from PIL import Image

    name = picture_format(source)
    if name is None:
        raise MediaError("decode", "its bytes are those of no picture that is read here")
    warnings.filterwarnings("ignore", module=r"PIL\.")  # what is wrong with files is our answer, not the log's
    with ExitStack() as stack:
        file = stack.enter_context(readable(source))
        with decoding_errors():
            Image.init()
            # not Image.open: it refuses above a limit of its own that is one global for the process
            factory: Any = Image.OPEN[name][0]
            picture = stack.enter_context(factory(str(file) if isinstance(file, Path) else file, str(file)))
        width, height = picture.size
        if width * height > decoding.max_pixels:
            allowed = f"decoding.max_pixels allows {decoding.max_pixels:,}"
            raise MediaError("decode", f"it declares {width:,} x {height:,} pixels; {allowed}")
        yield picture


def _images(source: Source, decoding: Decoding) -> Iterator[Frame]:
    with _opened(source, decoding) as picture:
        with decoding_errors():
            count = int(getattr(picture, "n_frames", 1))
        if count > 1 and picture.format in ("GIF", "PNG", "WEBP", "AVIF"):
            yield from _sampled(_moving(picture), decoding)
            return
        yield Frame(Sample(pixels=_pixels(picture, decoding.max_side_px)), same_as_before=False)
        if count > 1 and picture.format == "TIFF":
            raise MediaError("decode", f"it has {count:,} pages, of which only the first was looked at")


def _moving(picture: "ImageFile.ImageFile") -> Iterator[Picture]:
    from PIL import ImageSequence

    time_s, decoded = 0.0, 0
    sequence = iter(ImageSequence.Iterator(picture))
    while True:
        with decoding_errors():
            if next(sequence, None) is None:
                return
            picture.load()  # WebP knows only then
            shown_ms = float(picture.info.get("duration") or 0)
        yield Picture(time_s, lambda max_side_px: _pixels(picture, max_side_px))
        # as browsers do: nobody means 10 ms or less
        time_s += shown_ms / 1000 if shown_ms > 10 else 0.1
        decoded += picture.width * picture.height
        if decoded > MOVING_PIXELS:
            raise MediaError("decode", f"it moves on and on; what comes after {time_s:,.0f} s was not looked at")


def _orientation(picture: "Image.Image") -> int:
    try:
        with decoding_errors():
            return int(picture.getexif().get(_ORIENTATION, 1))
    except MediaError:  # the notes are broken, not the picture
        return 1


def _pixels(picture: "ImageFile.ImageFile", max_side_px: int) -> npt.NDArray[np.uint8]:
    """The current frame, decoded, scaled, upright, on white. A picture that is cut short is an error, never grey."""
    from PIL import Image

    scale = min(1.0, max_side_px / max(picture.size))
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    turn = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    with decoding_errors():
        picture.draft(None, size)  # JPEG: decodes at a half, quarter or eighth; nothing for other formats
        picture.load()
        image: Image.Image = picture
        if image.mode.startswith("I;16"):  # Pillow would cut off at 255
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        elif image.mode in ("I", "F"):
            values = np.nan_to_num(np.asarray(image, np.float32))
            values -= values.min()
            image = Image.fromarray((values * (255 / max(float(values.max()), 1e-9))).astype(np.uint8))
        elif image.has_transparency_data:
            image = image.convert("RGBA")
        elif image.mode not in ("L", "RGB"):
            image = image.convert("RGB")
        if image.size != size:
            image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
        if image.mode == "RGBA":
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = image.convert("RGB")
    if _orientation(picture) in turn:
        image = image.transpose(turn[_orientation(picture)])
    return np.array(image)
