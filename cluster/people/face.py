"""The id of a face: the file, the time and the box at which it is, so that it is found again after a new analysis.

3f0c...-12040-1000-2000-3000-4000: the file's id, milliseconds (`s` in a still image), and the box, left, top, right and
bottom, in ten-thousandths of the frame.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

PATTERN = r"^[0-9a-f]{32}-(?:\d{1,10}|s)(?:-\d{1,5}){4}$"
SAME_OVERLAP = 0.5  # intersection over union, from which two boxes in one frame are of one face
_PARTS = 10_000  # of a side of the frame


@dataclass(frozen=True, slots=True)
class Place:
    """Where a face is. `box` is in ten-thousandths of the frame: left, top, right, bottom."""

    asset: str
    time_ms: int | None  # None: in a still image
    box: tuple[int, ...]

    @property
    def frame(self) -> tuple[str, int | None]:
        """The frame in which it is."""
        return self.asset, self.time_ms

    @property
    def fractions(self) -> tuple[float, ...]:
        """The box as fractions of the frame."""
        return tuple(side / _PARTS for side in self.box)

    def overlap(self, other: "Place") -> float:
        """Intersection over union of the two boxes."""
        left, top, right, bottom = self.box
        others_left, others_top, others_right, others_bottom = other.box
        width = min(right, others_right) - max(left, others_left)
        height = min(bottom, others_bottom) - max(top, others_top)
        if width <= 0 or height <= 0:
            return 0.0
        common = width * height
        others_area = (others_right - others_left) * (others_bottom - others_top)
        return common / ((right - left) * (bottom - top) + others_area - common)


def face_id(asset: str, time_s: float | None, box: Sequence[float]) -> str:
    """The id of the face in this file, at this time in seconds, in this box (fractions of the frame)."""
    time = "s" if time_s is None else str(max(0, round(time_s * 1000)))
    sides = (str(min(_PARTS, max(0, round(side * _PARTS)))) for side in box)
    return "-".join((asset, time, *sides))


def place_of(id: str) -> Place | None:
    """Where the face with this id is; None if it is no id of a face."""
    if not re.fullmatch(PATTERN, id):
        return None
    asset, time, *box = id.split("-")
    return Place(asset, None if time == "s" else int(time), tuple(map(int, box)))
