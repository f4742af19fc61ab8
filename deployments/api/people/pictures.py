"""The picture of a face: a square part of its file's picture, as coarse squares for a viewer."""

import asyncio
import io
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from fastapi import HTTPException

from cluster.errors import MediaError, SettingsError
from cluster.people.face import place_of
from cluster.records import Kind
from cluster.settings import Settings
from deployments.access.blurring import FACE_SQUARES

if TYPE_CHECKING:
    from PIL import Image

SIDE_PX = 192  # of a picture, at most
LEAST_PX = 64  # sides of a face in a thumbnail; of one that is smaller there, the original is read
AROUND = 1.5  # times the longer side of the face's box: hair and chin
QUALITY = 80
KEPT = 2000  # pictures in memory, of some 8 kB each
AT_ONCE = 2  # originals that are being read
WAIT_S = 20.0  # for an original to be read, with the time until its turn: the app gives up after 30 s
BUSY = "this machine reads as many originals for pictures of faces as it may at a time: try again in a moment"

# (URI, URI of the file of the bucket that contains it or None, kind, time in seconds or None, settings) -> the frame,
# (height, width, 3) RGB; MediaError or SettingsError if there is none. The pipeline's function, passed in by the
# builder of the application: deployments may not import pipelines.
ReadFrame = Callable[[str, str | None, Kind, float | None, Settings], npt.NDArray[np.uint8]]


class FacePictures:
    """Makes pictures of faces: from the thumbnail if the face is large in it, else from the original."""

    def __init__(self, read_frame: ReadFrame) -> None:
        self._read_frame = read_frame
        self._kept: OrderedDict[tuple[str, str], bytes] = OrderedDict()  # by face and job, not coarse
        self._places = asyncio.Semaphore(AT_ONCE)

    async def of(
        self, face: str, source: Mapping[str, Any], coarse: bool, readable: Callable[[], Awaitable[Settings]]
    ) -> bytes | None:
        """The JPEG of a face of this file (of Catalog.face_source); None if no picture of it can be had.

        `readable`: the settings with which the caller may read the original. HTTPException 503 if that takes longer
        than WAIT_S, and no thumbnail shows the face.
        """
        key = face, str(source["job"])
        jpeg = self._kept.get(key)
        if jpeg is None:
            jpeg, is_best = await self._made(face, source, readable)
            if jpeg is None:
                return None
            if is_best:
                self._kept[key] = jpeg
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(key)
        return await asyncio.to_thread(coarsened, jpeg) if coarse else jpeg

    def forget(self) -> None:
        """Drop the pictures in memory."""
        self._kept.clear()

    async def _made(
        self, face: str, source: Mapping[str, Any], readable: Callable[[], Awaitable[Settings]]
    ) -> tuple[bytes | None, bool]:
        """The picture, and whether it stays the best: from a thumbnail it is not, where the original was late."""
        place = place_of(face)
        assert place is not None  # the route has checked it
        small = None
        if source["jpeg"] and source["kind"] == "image" and place.time_ms is None:
            small, side = await asyncio.to_thread(_of_thumbnail, source["jpeg"], place.fractions)
            if side >= LEAST_PX:
                return small, True
        settings = await readable()
        time_s = None if place.time_ms is None else place.time_ms / 1000
        try:
            return await self._in_time(partial(self._of_original, source, time_s, place.fractions, settings)), True
        except (MediaError, SettingsError, OSError) as error:
            if not isinstance(error, TimeoutError):
                return small, True
        if small is None:
            raise HTTPException(503, BUSY, {"Retry-After": "5"})
        return small, False

    async def _in_time(self, read: Callable[[], bytes]) -> bytes:
        """The result of a call in a thread, AT_ONCE at a time. TimeoutError after WAIT_S."""
        loop = asyncio.get_running_loop()
        until = loop.time() + WAIT_S
        async with asyncio.timeout_at(until):
            await self._places.acquire()
        reading = loop.run_in_executor(None, read)
        # a thread cannot be stopped: one that is late has its place until it ends, so that there are not more and more
        reading.add_done_callback(self._end_reading)
        done, _ = await asyncio.wait({reading}, timeout=until - loop.time())
        if not done:
            raise TimeoutError
        return reading.result()

    def _end_reading(self, ended: "asyncio.Future[bytes]") -> None:
        self._places.release()
        if not ended.cancelled():
            ended.exception()  # it is nobody's any more if it came late

    def _of_original(
        self, source: Mapping[str, Any], time_s: float | None, box: Sequence[float], settings: Settings
    ) -> bytes:
        from PIL import Image

        pixels = self._read_frame(source["uri"], source["parent"], source["kind"], time_s, settings)
        return _jpeg(part(Image.fromarray(pixels), box))


def part(picture: "Image.Image", box: Sequence[float]) -> "Image.Image":
    """The square around a box, of at most SIDE_PX."""
    cut = square(picture, box, AROUND)
    cut.thumbnail((SIDE_PX, SIDE_PX))
    return cut


def square(picture: "Image.Image", box: Sequence[float], around: float) -> "Image.Image":
    """The square around a box (fractions: left, top, right, bottom), as far as it lies in the picture.

    `around`: its side, in longer sides of the box.
    """
    width, height = picture.size
    left, top, right, bottom = box[0] * width, box[1] * height, box[2] * width, box[3] * height
    half = max(right - left, bottom - top, 2.0) * around / 2
    middle_x, middle_y = (left + right) / 2, (top + bottom) / 2
    corners = (
        max(0, int(middle_x - half)),
        max(0, int(middle_y - half)),
        min(width, int(middle_x + half) + 1),
        min(height, int(middle_y + half) + 1),
    )
    return picture.crop(corners).convert("RGB")


def coarsened(jpeg: bytes) -> bytes:
    """The picture as FACE_SQUARES squares a side. Pixels are averaged before they are enlarged again."""
    from PIL import Image

    cut = Image.open(io.BytesIO(jpeg))
    squares = cut.resize((FACE_SQUARES, FACE_SQUARES), Image.Resampling.BOX)
    return _jpeg(squares.resize(cut.size, Image.Resampling.BICUBIC))


def _of_thumbnail(jpeg: bytes, box: Sequence[float]) -> tuple[bytes, float]:
    """The picture of a face in a thumbnail, and the longer side of its box there in pixels."""
    from PIL import Image

    picture = Image.open(io.BytesIO(jpeg))
    side = max((box[2] - box[0]) * picture.width, (box[3] - box[1]) * picture.height)
    return _jpeg(part(picture, box)), side


def _jpeg(picture: "Image.Image") -> bytes:
    sink = io.BytesIO()
    picture.save(sink, "JPEG", quality=QUALITY)
    return sink.getvalue()
