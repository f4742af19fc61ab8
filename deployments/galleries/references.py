"""What an operator has put into a gallery, prepared for comparison and kept up to date."""

import io
import logging
import math
import os
import time
from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from deployments.galleries.store import Gallery, Reference

log = logging.getLogger(__name__)

T = TypeVar("T")

LOOK_S = 5.0  # between looks at the gallery


class Shown(Generic[T]):
    """What `prepare` makes of each picture, upright and RGBA: listed again at most every LOOK_S, only new ones made.

    None is for a picture that cannot be used; it is logged once and left out. An empty uri is an empty gallery.
    """

    def __init__(
        self, uri: str, prepare: Callable[[Image.Image], T | None], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._gallery = opened(uri) if uri else None
        self._prepare, self._now = prepare, now
        self._known: dict[Reference, T | None] = {}
        self._usable: dict[Reference, T] = {}
        self._looked = -math.inf
        if self._gallery is not None:
            self._look(self._gallery)

    def current(self) -> dict[Reference, T]:
        """By picture; the same object for as long as the gallery stays as it is, or cannot be reached."""
        if self._gallery is not None and self._now() - self._looked >= LOOK_S:
            try:
                self._look(self._gallery)
            except OSError as error:
                log.warning("the gallery %s stays as it was: %s", self._gallery.uri, error)
        return self._usable

    def _look(self, gallery: Gallery) -> None:
        self._looked = self._now()
        references = gallery.references()
        if references == list(self._known):
            return
        old = self._known
        self._known = {one: old[one] if one in old else self._made(gallery, one) for one in references}
        self._usable = {one: made for one, made in self._known.items() if made is not None}
        log.info("the gallery %s has %d pictures", gallery.uri, len(self._usable))

    def _made(self, gallery: Gallery, reference: Reference) -> T | None:
        where = f"{reference.name}/{reference.file} of the gallery {gallery.uri}"
        try:
            with Image.open(io.BytesIO(gallery.read(reference))) as picture:
                made = self._prepare(ImageOps.exif_transpose(picture).convert("RGBA"))
        except (UnidentifiedImageError, Image.DecompressionBombError, SyntaxError, ValueError) as error:
            log.warning("%s is no picture (%s); remove it", where, type(error).__name__)
            return None
        if made is None:
            log.warning("%s shows too little to be found again; add a larger or clearer picture", where)
        return made


def trimmed(picture: Image.Image) -> Image.Image:
    """An RGBA picture without its transparent border."""
    return picture.crop(picture.getchannel("A").getbbox())


def flattened(picture: Image.Image, pad_px: int = 0) -> list[Image.Image]:
    """An RGBA picture as RGB, with a margin: on a light and on a dark ground, where parts of it are transparent.

    The margin of an opaque one is its own edge, drawn out: another colour would be a frame that is seen nowhere.
    """
    if picture.getchannel("A").getextrema() == (255, 255):
        margins = ((pad_px, pad_px), (pad_px, pad_px), (0, 0))
        return [Image.fromarray(np.pad(np.asarray(picture.convert("RGB")), margins, mode="edge"))]
    return [_on(picture, ground, pad_px) for ground in (255, 20)]


def _on(picture: Image.Image, ground: int, pad_px: int) -> Image.Image:
    size = (picture.width + 2 * pad_px, picture.height + 2 * pad_px)
    flat = Image.new("RGB", size, (ground, ground, ground))
    flat.paste(picture, (pad_px, pad_px), picture)
    return flat


def opened(uri: str) -> Gallery:
    """The gallery there, with the S3 server of this process."""
    return Gallery(uri, os.environ.get("AWS_ENDPOINT_URL"))
