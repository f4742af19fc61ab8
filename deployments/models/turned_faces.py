"""Faces in pictures that are turned by a quarter or a half: most face detectors find upright ones only."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from deployments.models.faces import Find, Pixels, Seen

RETRY_PX = 256  # longer side of the turned pictures in which faces are looked for first
QUARTERS = (1, 2, 3)  # counter-clockwise
# Of seven portraits MTCNN gave upright faces 0.999 and more; of those turned it found a third, with 0.996 at most
SURE = 0.998


@dataclass(frozen=True, slots=True)
class View:
    """A picture turned counter-clockwise by `quarters`, and the faces in its pixels."""

    pixels: Pixels
    seen: list[Seen]
    quarters: int = 0


def turned(pixels: Pixels, upright: list[Seen], find: Find, face_px: int, score: float) -> View:
    """The turn in which the picture shows faces of that score at least; the picture as it is, with `upright`, if none.

    `upright`: faces of a lower score that were found in it. The first look at each turn is at RETRY_PX, so that
    pictures without faces cost little: faces of less than a tenth of the longer side are not found then. The faces of
    the best turn are those of the whole picture.
    """
    small = Image.fromarray(pixels)
    small.thumbnail((RETRY_PX, RETRY_PX))
    best, quarters = score, 0
    for n in QUARTERS if min(small.size) >= face_px else ():
        scores = [face.score for face in find(np.ascontiguousarray(np.rot90(np.asarray(small), n)))]
        if max(scores, default=0.0) >= best:
            best, quarters = max(scores), n
    if not quarters:
        return View(pixels, upright)
    whole = np.ascontiguousarray(np.rot90(pixels, quarters))
    seen = [face for face in find(whole) if face.score >= score]
    return View(whole, seen, quarters) if seen else View(pixels, upright)
