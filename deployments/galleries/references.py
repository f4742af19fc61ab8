"""Exemplars: whole pictures of a gallery, compared by their vectors with the pictures that are analysed."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from deployments.galleries import pictures
from deployments.galleries.pictures import Pixels
from deployments.galleries.store import Gallery, Reference
from deployments.galleries.watcher import GalleryWatcher

Vectors = npt.NDArray[np.float32]  # (n, length of a vector), rows of length 1


@dataclass(frozen=True, slots=True)
class Match:
    """A picture of the gallery and its cosine similarity to a picture that is analysed."""

    name: str
    file: str
    likeness: float


class Exemplars:
    """A gallery's pictures as vectors of `embed`, which takes n pictures and returns an array of n rows of length 1."""

    def __init__(
        self,
        gallery: Gallery,
        embed: Callable[[Sequence[Pixels]], Vectors],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._embed = embed
        self._watcher: GalleryWatcher[Vectors] = GalleryWatcher(gallery, self._vector, now)

    def matches(self, vectors: Vectors) -> list[list[Match]]:
        """For each vector the nearest picture of every name, the most similar first."""
        known = self._watcher.current()
        if not known:
            return [[] for _ in vectors]
        likeness = vectors @ np.stack(list(known.values())).T
        return [_nearest_by_name(list(known), row) for row in likeness]

    def _vector(self, picture: Image.Image) -> Vectors:
        (row,) = self._embed([pictures.as_frame(picture)])
        return np.asarray(row, np.float32)


def _nearest_by_name(references: list[Reference], likeness: npt.NDArray[np.float32]) -> list[Match]:
    nearest: dict[str, Match] = {}
    for n in np.argsort(-likeness, kind="stable"):
        reference = references[n]
        nearest.setdefault(reference.name, Match(reference.name, reference.file, float(likeness[n])))
    return list(nearest.values())
