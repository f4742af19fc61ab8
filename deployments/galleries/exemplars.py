"""Whole pictures that an operator has shown, and how much another looks like each: near-copies and recurring scenes."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from deployments.galleries.store import Gallery, Reference
from deployments.galleries.watchlist import opened

log = logging.getLogger(__name__)

LOOK_S = 5.0  # between looks at the gallery

Looks = npt.NDArray[np.float32]  # (n, d), rows of length 1


@dataclass(frozen=True, slots=True)
class Match:
    """A picture of the gallery and its cosine with the picture that was asked about."""

    name: str
    file: str
    likeness: float


class Exemplars:
    """A gallery as it is now: looked at again at most every LOOK_S, only new pictures computed."""

    def __init__(
        self,
        gallery: Gallery,
        looks: Callable[[Sequence[npt.NDArray[np.uint8]]], Looks],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gallery, self._looks, self._now = gallery, looks, now
        self._known: dict[Reference, Looks | None] = {}  # None: it cannot be read as a picture
        self._look()
        self._looked = now()

    def matches(self, looks: Looks) -> list[list[Match]]:
        """For each row the nearest picture of every name, the likest first."""
        self._refresh()
        shown = [(reference, row) for reference, row in self._known.items() if row is not None]
        if not shown:
            return [[] for _ in looks]
        likeness = looks @ np.stack([row for _, row in shown]).T
        return [self._ordered([reference for reference, _ in shown], row) for row in likeness]

    def _ordered(self, references: list[Reference], likeness: npt.NDArray[np.float32]) -> list[Match]:
        nearest: dict[str, Match] = {}
        for n in np.argsort(-likeness, kind="stable"):
            reference = references[n]
            nearest.setdefault(reference.name, Match(reference.name, reference.file, float(likeness[n])))
        return list(nearest.values())

    def _refresh(self) -> None:
        if self._now() - self._looked < LOOK_S:
            return
        self._looked = self._now()
        try:
            self._look()
        except OSError as error:
            log.warning("the gallery %s stays as it was: %s", self._gallery.uri, error)

    def _look(self) -> None:
        references = self._gallery.references()
        self._known = {one: self._known[one] if one in self._known else self._row(one) for one in references}

    def _row(self, reference: Reference) -> Looks | None:
        try:
            picture = opened(self._gallery.read(reference))
        except (UnidentifiedImageError, Image.DecompressionBombError):
            log.warning("%s of the gallery %s is no picture", reference.file, self._gallery.uri)
            return None
        (row,) = self._looks([picture])
        return np.asarray(row, np.float32)
