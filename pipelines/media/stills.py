"""The pictures in a still image: its pages, what is readable of a broken one, and tiles of one that is large."""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from cluster.errors import MediaError
from cluster.records import Box
from cluster.settings import Decoding
from pipelines.media import images
from pipelines.media.guard import TOO_LARGE, decoding_errors
from pipelines.media.inner import others, transparency

if TYPE_CHECKING:
    from PIL import Image

WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
PAGED = {"TIFF": "page", "DCX": "page", "MPO": "picture", "HEIF": "picture"}  # what the format's frames are
MAX_PAGES = 100
MAX_PIXELS = 4_000_000_000  # of all pages of a file
# Times that a picture is shrunk to max_side_px before it is looked at in tiles, too. A photo of 4000 x 3000 is shrunk
# 2.5 times: lines of 60 px, heads of 60 px and logos of 130 px were found in such photos without tiles.
SHRUNK = 2.6
OVERLAP = 0.15  # of a tile's side; what is smaller lies whole in one of two neighbours
MAX_TILES = 40  # of a picture; larger tiles are shrunk so that there are no more. 48 megapixels have 30.
_FLAT = 8  # grey levels; a tile without a larger difference shows nothing
_MARK = (93, 251, 7, 201)  # of rows that were not decoded, by channel; no whole row of a picture has this colour
_LEAST_ROWS = 8  # of a picture that is cut short, else it is not looked at


@dataclass(frozen=True, slots=True)
class Still:
    """One picture of a still image: upright RGB, no side longer than max_side_px."""

    rgb: "Image.Image"
    part: Box = WHOLE  # where it lies in the picture of the file, in fractions
    is_tile: bool = False  # it repeats a part of the Still before it, in more detail
    note: str | None = None  # how a reviewer finds it in the file, such as "page 3"


Reopen = Callable[[], AbstractContextManager["Image.Image"]]


def stills(image: "Image.Image", reopen: Reopen, decoding: Decoding, with_tiles: bool) -> Iterator[Still]:
    """The pictures of a still image, of each page the whole one first. MediaError after them says what was left out.

    `reopen` opens the file leniently (images.opened). On transparency it shows what lies on white, and once more on
    black where something is light. `with_tiles`: each whole picture that is shrunk more than SHRUNK times is followed
    by tiles of it in full resolution, as far as they show anything; a picture of 12 megapixels has none.
    """
    missing: list[str] = []
    with decoding_errors():
        frames_are = PAGED.get(image.format or "", "")
        first = image.tell() if frames_are else 0
    try:
        with decoding_errors():
            count = int(getattr(image, "n_frames", 1)) if frames_are else 1
    except MediaError as error:  # the list of its pages breaks off
        count = _readable_pages(image, first)
        missing.append(f"after {frames_are} {count}: {error.reason}")
    inner = others.others(image)
    pixels = looked_at = 0
    for n in [first, *(n for n in range(count) if n != first)][:MAX_PAGES]:
        note = None if n == first else f"{frames_are} {n + 1}"
        try:
            if n != first:
                with decoding_errors():
                    image.seek(n)
            pixels += image.width * image.height
            if pixels > MAX_PIXELS:
                break
            looked_at += 1
            images.require_allowed_size(image.size, decoding)
            yield from _page(image, n, reopen, decoding, with_tiles, note)
            if n == first:
                yield from _others(image, inner, decoding)
        except MediaError as error:
            if error.step != "decode":
                raise
            missing.append(f"{note}: {error.reason}" if note else error.reason)
    if looked_at < count:
        missing.append(f"it has {count:,} {frames_are}s, of which {looked_at:,} were looked at")
    if missing:
        raise MediaError("decode", "; ".join(missing[:5]))


def _readable_pages(image: "Image.Image", first: int) -> int:
    """How many pages can be sought, one after the other; the image shows the first one again."""
    count = 1
    with suppress(MediaError):
        while count < MAX_PAGES:
            with decoding_errors():
                image.seek(count)
            count += 1
    with decoding_errors():
        image.seek(first)
    return count


def _others(image: "Image.Image", inner: list[others.Named], decoding: Decoding) -> Iterator[Still]:
    """The further pictures in the file of a loaded image that show something else than it does, and all its layers."""
    with decoding_errors():
        pictures = [(note, images.eight_bit(one)) for note, one in inner]
        shown = images.eight_bit(image) if inner else image
        different = [(note, one) for note, one in pictures if others.differ(shown, one)]
    for note, other in chain(different, others.layers(image)):
        with decoding_errors():
            images.require_allowed_size(other.size, decoding)
            small = images.shrink(images.eight_bit(other), decoding.max_side_px)
            on_each = [transparency.on_background(small, color) for color in transparency.backgrounds(small)]
        for rgb in on_each:
            yield Still(rgb, note=note)


def _page(
    image: "Image.Image", n: int, reopen: Reopen, decoding: Decoding, with_tiles: bool, note: str | None
) -> Iterator[Still]:
    side = decoding.max_side_px
    tiled = with_tiles and max(image.size) > SHRUNK * side
    draft = None if tiled else images.shrunk_size(image.size, side)
    part, failure = WHOLE, None
    try:
        with decoding_errors():
            image.draft(None, draft)  # JPEG decodes at a half, quarter or eighth; other formats ignore it
            image.load()
        loaded = image
    except MediaError as error:
        loaded, part, failure = _readable_part(n, reopen, draft, error)
    with decoding_errors():
        turn = images.orientation(image)
        full = images.eight_bit(loaded)
        if part != WHOLE:
            full = full.crop((0, round(part[1] * full.height), full.width, round(part[3] * full.height)))
        small = images.turned(images.shrink(full, side), turn)
        part = _turned(part, turn)
        backgrounds = transparency.backgrounds(small)
    for color in backgrounds:
        of_page = ", ".join(filter(None, [note, "on black" if color == "black" else None])) or None
        with decoding_errors():
            rgb = transparency.on_background(small, color)
        yield Still(rgb, part, note=of_page)
        if tiled:
            with decoding_errors():
                upright = images.turned(full, turn)
            yield from _tiles(upright, color, part, side, of_page)
    with decoding_errors():
        hidden = transparency.under_transparency(full)
        if hidden is not None:
            hidden = images.turned(images.shrink(hidden, side), turn)
    if hidden is not None:
        yield Still(hidden, part, note=", ".join(filter(None, [note, "without its transparency"])))
    if failure:
        raise failure


def _tiles(image: "Image.Image", color: str, part: Box, side: int, note: str | None) -> Iterator[Still]:
    """The tiles of a loaded, upright image that lies at `part` of its picture."""
    width, height = image.size
    for left, top, right, bottom in grid(width, height, side):
        with decoding_errors():
            tile = images.shrink(transparency.on_background(image.crop((left, top, right, bottom)), color), side)
            is_flat = _is_flat(tile)
        if not is_flat:
            box = (left / width, top / height, right / width, bottom / height)
            yield Still(tile, placed(box, part), True, note)


def grid(width: int, height: int, side: int) -> list[tuple[int, int, int, int]]:
    """Tiles of a picture as left, top, right, bottom in pixels, row by row: MAX_TILES at most, evenly overlapping.

    Their sides are `side` at most, or more where there would be too many.
    """
    while len(begins := [(x, y) for y in _begins(height, side) for x in _begins(width, side)]) > MAX_TILES:
        side = math.ceil(side * 1.05)
    return [(x, y, min(width, x + side), min(height, y + side)) for x, y in begins]


def _begins(length: int, side: int) -> list[int]:
    count = max(1, math.ceil((length - OVERLAP * side) / ((1 - OVERLAP) * side)))
    return [round(n * (length - side) / (count - 1)) for n in range(count)] if count > 1 else [0]


def placed(box: Box, part: Box) -> Box:
    """A box in fractions of a part of a picture, in fractions of the picture."""
    width, height = part[2] - part[0], part[3] - part[1]
    return (
        part[0] + box[0] * width,
        part[1] + box[1] * height,
        part[0] + box[2] * width,
        part[1] + box[3] * height,
    )


def _readable_part(
    n: int, reopen: Reopen, draft: tuple[int, int] | None, error: MediaError
) -> tuple["Image.Image", Box, MediaError | None]:
    """What can be decoded of page n although `error` was raised: the image, the part with pixels, what to report.

    Raises `error` if that is next to nothing.
    """
    from PIL import Image

    if error.step != "decode" or error.reason == TOO_LARGE:
        raise error
    with reopen() as image:
        with decoding_errors():
            if image.format in PAGED:
                image.seek(n)
            image.draft(None, draft)
            whole_at_once = bool(image.info.get("progressive") or image.info.get("interlace")) or image.format == "GIF"
            if not whole_at_once:  # rows are decoded one after the other into marked ones
                bands = len(image.getbands())
                image.im = Image.new(image.mode, image.size, _MARK[0] if bands == 1 else _MARK[:bands]).im
                image._ended = True  # type: ignore[attr-defined]  # or Pillow has the rest of a JPEG filled with grey
        with suppress(MediaError), decoding_errors():
            image.load()
        with decoding_errors():
            if image._im is None:
                raise error
            loaded = image._new(image.im)  # the image itself would be loaded again
    cut = "truncated" in error.reason
    if whole_at_once:
        with decoding_errors():
            if _is_flat(loaded):
                raise error
        return loaded, WHOLE, MediaError("decode", f"{_what(cut)}: what could be read of it was looked at")
    top, bottom = _decoded_rows(loaded)
    if bottom - top < min(_LEAST_ROWS, loaded.height):
        raise error
    if bottom - top == loaded.height:
        # the notes after the pixels of a PNG are broken, or larger than Pillow reads
        return loaded, WHOLE, None if image.format == "PNG" and not cut else error
    share = (bottom - top) / loaded.height
    reason = f"{_what(cut)}: {max(1, min(99, round(100 * share)))} % of it could be read"
    return loaded, (0.0, top / loaded.height, 1.0, bottom / loaded.height), MediaError("decode", reason)


def _what(cut: bool) -> str:
    return "it is cut short" if cut else "it is damaged"


def _decoded_rows(image: "Image.Image") -> tuple[int, int]:
    """The first row that is not marked, and the row after the last one; (0, 0) if all are marked."""
    mark = np.array(_MARK[: len(image.getbands())])
    decoded = []
    for top in range(0, image.height, 256):
        rows = np.asarray(image.crop((0, top, image.width, min(image.height, top + 256))))
        rows = rows.reshape(*rows.shape[:2], -1)
        decoded += (rows != mark).any(axis=(1, 2)).tolist()
    return (decoded.index(True), image.height - decoded[::-1].index(True)) if any(decoded) else (0, 0)


def _turned(part: Box, orientation: int) -> Box:
    """Where a part of a picture, of whole rows, lies once the picture is turned as its EXIF orientation says."""
    first, last = part[1], part[3]
    if orientation in (3, 4, 6, 7):  # the first rows come to the bottom or to the right
        first, last = 1 - last, 1 - first
    return (0.0, first, 1.0, last) if orientation <= 4 else (first, 0.0, last, 1.0)


def _is_flat(image: "Image.Image") -> bool:
    return int(np.ptp(np.asarray(image.convert("L")))) <= _FLAT
