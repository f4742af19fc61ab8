"""Text in pictures that are turned by a quarter or a half: which turns to try, and which reading is the best.

Text detectors find turned lines, but their order is then wrong, and lines upside down are misread: of a scanned page
RapidOCR read half of the letters.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cluster.records import Box
from deployments.models.reading.reading_order import Line
from deployments.models.reading.text_lines import letters

TURNED = "any turn"  # in the version of answers
LONG = 3.0  # length over height of a line that is asked; the box of a shorter one does not tell how it runs
MOST = 12  # lines that are asked, the longest
WEAK = 0.5  # mean score of lines, by letters, below which a picture is tried turned where nothing tells its turn
MOSTLY, PARTLY = 0.9, 1.1  # what must be read in a turned picture, as a share of what is read in the upright one
LEAST_VOTES = 0.2  # share of all lines, by length, for which the picture is tried turned

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Reading:
    """The lines of a picture that was turned counter-clockwise by `quarters`; their boxes are those of the turned one.

    `unread`: regions that look like lines of a script that the recogniser does not know, without a text.
    """

    lines: Sequence[Line]
    quarters: int = 0
    unread: Sequence[Line] = ()


def turns(
    pixels: Pixels, boxes: Iterable[Box], are_upside_down: Callable[[list[Pixels]], list[bool | None]]
) -> dict[int, float]:
    """The quarters, counter-clockwise, after which text in a picture may be upright; empty if it most likely is so.

    Each with the share of what is read in the upright picture that must be read in the turned one: less than 1 if most
    text runs that way, since then the order of lines counts, and more if only some does.

    `boxes`: of its lines, which vote by their length. `are_upside_down` answers for pictures of lines that run to the
    right or, upside down, to the left; None where it is not sure. It is often wrong about lines that are misread.
    """
    height, width = pixels.shape[:2]
    sides = [(round(a * width), round(b * height), round(c * width), round(d * height)) for a, b, c, d in boxes]
    lines = [box for box in sides if max(_shape(box)) >= LONG * min(_shape(box)) > 0]
    lines = sorted(lines, key=lambda box: -max(_shape(box)))[:MOST]
    crops = [pixels[top:bottom, left:right] for left, top, right, bottom in lines]
    tall = [crop.shape[0] > crop.shape[1] for crop in crops]
    crops = [np.ascontiguousarray(np.rot90(crop) if down else crop) for crop, down in zip(crops, tall, strict=True)]
    votes = [0, 0, 0, 0]
    for box, is_tall, is_upside_down in zip(lines, tall, are_upside_down(crops) if crops else [], strict=True):
        votes[is_tall + 2 * bool(is_upside_down)] += max(_shape(box))
    if 2 * (votes[1] + votes[3]) > sum(votes):
        return {1: MOSTLY, 3: MOSTLY}
    if 2 * votes[2] > sum(votes):
        return {2: MOSTLY}
    return {n: PARTLY for n in (1, 2, 3) if votes[n] > LEAST_VOTES * sum(votes)}


def is_weak(lines: Sequence[Line]) -> bool:
    """Whether something was read, but badly."""
    return bool(lines) and _worth(lines) < WEAK * sum(len(letters(line.text)) or 1 for line in lines)


def better(upright: Reading, turned: Iterable[tuple[Reading, float]]) -> Reading:
    """The reading of a turned picture that has most letters, weighted by score; else the upright one.

    Each comes with the share of the upright one's letters that it must have.
    """
    least = _worth(upright.lines)
    enough = [reading for reading, share in turned if _worth(reading.lines) > share * least]
    return max(enough, key=lambda reading: _worth(reading.lines), default=upright)


def _worth(lines: Iterable[Line]) -> float:
    return sum(line.score * len(letters(line.text)) for line in lines)


def _shape(box: tuple[int, int, int, int]) -> tuple[int, int]:
    return box[2] - box[0], box[3] - box[1]
