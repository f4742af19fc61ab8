"""Faces in pictures that are turned by a quarter, which face detectors do not find; faces on their heads they do."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from cluster.records import Box
from deployments.models.faces import Find, Pixels, Seen

RETRY_PX = 256  # longer side of the turned pictures in which faces are looked for first
QUARTERS = (1, 3)  # counter-clockwise


@dataclass(frozen=True, slots=True)
class View:
    """A picture turned counter-clockwise by `quarters`, and the faces in its pixels."""

    pixels: Pixels
    seen: list[Seen]
    quarters: int = 0


def turned(pixels: Pixels, find: Find, face_px: int, score: float) -> View:
    """The turn in which the picture shows faces of that score at least; the upright picture without a face if none.

    The first look at each turn is at RETRY_PX, so that pictures without faces cost little: faces of less than a
    tenth of the longer side are not found then. The faces of the best turn are those of the whole picture.
    """
    small = Image.fromarray(pixels)
    small.thumbnail((RETRY_PX, RETRY_PX))
    best, quarters = score, 0
    for n in QUARTERS if min(small.size) >= face_px else ():
        scores = [face.score for face in find(np.ascontiguousarray(np.rot90(np.asarray(small), n)))]
        if max(scores, default=0.0) >= best:
            best, quarters = max(scores), n
    if not quarters:
        return View(pixels, [])
    whole = np.ascontiguousarray(np.rot90(pixels, quarters))
    return View(whole, [face for face in find(whole) if face.score >= score], quarters)


def turned_back(box: Box, quarters: int) -> Box:
    """A box in fractions of a picture turned counter-clockwise by `quarters`, in fractions of the picture itself."""
    left, top, right, bottom = box
    for _ in range(quarters):
        left, top, right, bottom = 1 - bottom, left, 1 - top, right
    return left, top, right, bottom
