"""Keeps what a detector computes from the pictures of a gallery up to date while the files change."""

import logging
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from PIL import Image

from deployments import events
from deployments.galleries import pictures
from deployments.galleries.pictures import UnusablePicture
from deployments.galleries.store import Gallery, Reference

log = logging.getLogger(__name__)

T = TypeVar("T")

REFRESH_S = 5.0  # at least, between two listings of a gallery
SKIPPED = "gallery picture skipped"  # the event that is counted for every file that cannot be used

_expired = 0  # how often the listings of this process were declared to be out of date


def expire() -> None:
    """Have every watcher of this process list its gallery at the next call of `current`, however old its listing is."""
    global _expired
    _expired += 1


class GalleryWatcher(Generic[T]):
    """Calls `prepare` once for each picture (upright, RGBA) of a gallery and keeps what it returns.

    A picture that cannot be used, because it is damaged or because `prepare` raises UnusablePicture, is skipped with
    one line in the log and one event; it is tried again when the file changes. One that cannot be read is tried again
    at each listing. Without a gallery there is nothing to watch.

    Construction lists and prepares everything, and raises OSError if the gallery cannot be listed: a detector that
    began without its references would store wrong answers. Later such an error leaves everything as it was.
    """

    def __init__(
        self,
        gallery: Gallery | None,
        prepare: Callable[[Image.Image], T],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gallery, self._prepare, self._now = gallery, prepare, now
        self._prepared: dict[Reference, T] = {}
        self._skipped: dict[Reference, str] = {}  # unusable, with the reason
        self._unread = set[Reference]()  # could not be read yet
        self._listed_at, self._listed_after = now(), _expired
        if gallery is not None:
            self._refresh(gallery)

    def current(self) -> dict[Reference, T]:
        """What was prepared, by picture; the same object as long as nothing has changed.

        It is as the gallery was at most REFRESH_S ago, and not before the last `expire`.
        """
        is_old = self._listed_after != _expired or self._now() - self._listed_at >= REFRESH_S
        if self._gallery is not None and is_old:
            self._listed_at, self._listed_after = self._now(), _expired
            try:
                self._refresh(self._gallery)
            except OSError as error:
                log.warning("the gallery %s stays as it was: %s", self._gallery.uri, error)
        return self._prepared

    def _refresh(self, gallery: Gallery) -> None:
        references = gallery.references()
        prepared: dict[Reference, T] = {}
        for reference in references:
            if reference in self._prepared:
                prepared[reference] = self._prepared[reference]
            elif reference not in self._skipped and (content := self._read(gallery, reference)) is not None:
                try:
                    prepared[reference] = self._prepare(pictures.decode(content))
                except UnusablePicture as error:
                    self._skip(gallery, reference, f"{error}; remove or replace it")
                    self._skipped[reference] = str(error)
        self._skipped = {reference: self._skipped[reference] for reference in references if reference in self._skipped}
        self._unread.intersection_update(references)
        if prepared.keys() != self._prepared.keys():
            self._prepared = prepared
            log.info("the gallery %s has %d pictures in use", gallery.uri, len(prepared))

    def _read(self, gallery: Gallery, reference: Reference) -> bytes | None:
        """The bytes of a file; None if it cannot be read now."""
        try:
            content = gallery.read(reference)
        except FileNotFoundError:
            return None  # removed since it was listed
        except UnusablePicture as error:
            self._skip(gallery, reference, f"{error}; remove or replace it")
            self._skipped[reference] = str(error)
            return None
        except OSError as error:
            if reference not in self._unread:
                self._skip(gallery, reference, f"cannot be read ({error}); it is tried again")
            self._unread.add(reference)
            return None
        self._unread.discard(reference)
        return content

    def _skip(self, gallery: Gallery, reference: Reference, reason: str) -> None:
        events.count(SKIPPED)
        log.warning("%s/%s of the gallery %s is not used: it %s", reference.name, reference.file, gallery.uri, reason)
