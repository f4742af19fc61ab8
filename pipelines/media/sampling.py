"""Which frames of a video or animation are analysed, and which of these look like the one before."""

import io
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from cluster.errors import MediaError
from cluster.records import Box, Sample
from cluster.settings import Decoding
from pipelines.media.containers import ROUNDING_S
from pipelines.media.films.choosing import Choice, View
from pipelines.media.films.raw_frames import GREY_PX, RawFrame
from pipelines.media.images import shrunk_size
from pipelines.media.stills import WHOLE

if TYPE_CHECKING:
    from PIL import Image

THUMBNAIL_PX = 320
CELLS = 96  # along the longest side; frames are compared cell by cell, see Decoding.same_below


@dataclass(frozen=True, slots=True)
class Frame:
    """A sampled frame, and whether it looks like the last one before it that was marked as different."""

    sample: Sample
    same_as_before: bool
    thumbnail: bytes | None = None  # JPEG; of the first frame, where it was asked for
    part: Box = WHOLE  # of the picture in the file that it shows, in fractions
    is_tile: bool = False  # it repeats a part of the frame before it in more detail, and counts as no frame of the file
    note: str | None = None  # where in the file it is found, such as "page 3"; None: nothing need be said
    is_caption: bool = False  # it is no frame of the file but writing over one: only what wants detail looks at it


def sampled(
    raw_frames: Iterable[RawFrame],
    decoding: Decoding,
    with_thumbnail: bool,
    begin_s: float = 0.0,
    end_s: float | None = None,
) -> Iterator[Frame]:
    """The frames from begin_s up to end_s that are to be analysed. Those around only determine which ones these are."""
    cv2.setNumThreads(1)  # for pictures as small as those that are compared here, threads cost more than they save
    reference: npt.NDArray[np.float32] | None = None  # cells of the last frame that differed
    for raw in _chosen(raw_frames, decoding, end_s is None):
        if raw.time_s < begin_s - ROUNDING_S or (end_s is not None and raw.time_s >= end_s - ROUNDING_S):
            continue
        pixels = raw.pixels(decoding.max_side_px)
        cells = _cells(pixels)
        same = _similar(reference, cells, decoding.same_below)
        if not same:  # compared with the last that differed, not with its neighbour, so that a slow drift is noticed
            reference = cells
        jpeg = jpeg_of(pixels) if with_thumbnail else None
        yield Frame(Sample(pixels=pixels, time_s=raw.time_s), same, jpeg)
        with_thumbnail = False


def thumbnail(image: "Image.Image") -> bytes:
    """A JPEG of an RGB image, its longest side THUMBNAIL_PX at most."""
    from PIL import Image

    size = shrunk_size(image.size, THUMBNAIL_PX)
    # means of whole pixels as far as they go, then Lanczos: a third of the time, measured as sharp
    small = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=1.0)
    small.info.clear()  # Pillow would copy the comment of the file
    file = io.BytesIO()
    small.save(file, "JPEG", quality=80)
    return file.getvalue()


def jpeg_of(pixels: npt.NDArray[np.uint8]) -> bytes:
    """The thumbnail of (height, width, 3) RGB pixels."""
    from PIL import Image

    return thumbnail(Image.fromarray(pixels))


def _chosen(raw_frames: Iterable[RawFrame], decoding: Decoding, to_end: bool) -> Iterator[RawFrame]:
    """The frame shown at each tick, the first of every shot, the last, and what comes and goes between two ticks.

    A frame is compared with those before it in a thread, while the next one is decoded: both leave Python for most of
    the time. An error of raw_frames is raised after the last of them.
    """
    choice, failure = Choice(decoding.frames_per_s), None

    def chosen(raw: RawFrame) -> list[RawFrame]:
        return list(choice.add(_view(raw, decoding.max_side_px)))

    compared: Future[list[RawFrame]] | None = None
    with ThreadPoolExecutor(1) as aside:
        try:
            for raw in raw_frames:
                before, compared = compared, aside.submit(chosen, raw)
                if raw.small is None:  # its pixels change with the next frame
                    wait([compared])
                if before:
                    yield from before.result()
        except MediaError as error:
            failure = error
        try:
            yield from compared.result() if compared else ()
        except MediaError as error:
            failure = failure or error
    yield from choice.end(to_end)
    if failure:
        raise failure


def _view(raw: RawFrame, max_side_px: int) -> View:
    """A frame with its small pictures. One that cannot be kept is decoded now, in the size of a sample."""
    if raw.small is not None:
        return View(raw, *raw.small())
    pixels = raw.pixels(max_side_px)
    size = shrunk_size((pixels.shape[1], pixels.shape[0]), GREY_PX)
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    half: Any = cv2.resize(small, (max(1, size[0] // 2), max(1, size[1] // 2)), interpolation=cv2.INTER_AREA)
    grey: Any = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    return View(RawFrame(raw.time_s, lambda _: pixels), grey, half)


def _cells(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Mean grey of square cells, CELLS along the longest side: 13 px at 720p, less than the height of a text line."""
    height, width = pixels.shape[:2]
    scale = CELLS / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.float32)


def _similar(reference: npt.NDArray[np.float32] | None, cells: npt.NDArray[np.float32], same_below: float) -> bool:
    """Whether no cell differs by same_below (0 to 255) or more from the reference, which may be none yet."""
    if reference is None or reference.shape != cells.shape:
        return False
    return bool(np.abs(reference - cells).max() < same_below)
