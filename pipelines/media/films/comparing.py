"""Comparisons of small grey pictures of a film's frames, pixel by pixel. Masks: 255 where something holds, else 0."""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

CHANGE = 24  # grey levels; noise and compression change a pixel of the small picture of a still scene by less
EDGE = 32  # grey levels between neighbours: writing has edges, a plain wall that someone uncovers has none
LEAST = 40  # changed pixels of the small picture; a word of 5 letters of 14 px at 720p has about as many
MOVED = 0.1  # pixels; phase correlation of pictures of a camera that stands still finds less
# of the pixels that differ, which a moved picture leaves unexplained: measured 0.07 at most in pans over 8 pictures
UNEXPLAINED = 16

_NEIGHBOURS = np.ones((3, 3), np.uint8)
Grey = npt.NDArray[np.uint8]  # (height, width)


def changed(one: Grey, other: Grey) -> Any:
    """Where two pictures differ."""
    return cv2.threshold(cv2.absdiff(one, other), CHANGE, 255, cv2.THRESH_BINARY)[1]


def alike(one: Grey, other: Grey) -> Any:
    """Where two pictures clearly do not differ."""
    return cv2.threshold(cv2.absdiff(one, other), CHANGE // 2, 255, cv2.THRESH_BINARY_INV)[1]


def edges(grey: Grey) -> Any:
    """Where a pixel's neighbours differ."""
    gradient = cv2.morphologyEx(grey, cv2.MORPH_GRADIENT, _NEIGHBOURS)
    return cv2.threshold(gradient, EDGE, 255, cv2.THRESH_BINARY)[1]


def count_of(mask: Any) -> int:
    """How many pixels a mask marks."""
    return int(cv2.countNonZero(mask))


def has_only_moved(grey: Grey, mask: Any, before: Grey) -> bool:
    """Whether a movement of the camera explains what is new, which `mask` marks: a pan by itself shows nothing new.

    The movement of the whole picture is found by phase correlation (Kuglin and Hines 1975). A pixel is explained if the
    picture before, moved likewise, has neighbours as bright and as dark. What enters at the margins is not counted.
    """
    height, width = grey.shape
    half = max(1, width // 2), max(1, height // 2)
    small, small_before = (
        cv2.resize(one, half, interpolation=cv2.INTER_AREA).astype(np.float32) for one in (grey, before)
    )
    (x, y), _ = cv2.phaseCorrelate(small_before, small, cv2.createHanningWindow(half, cv2.CV_32F))
    x, y = x * width / half[0], y * height / half[1]
    if max(abs(x), abs(y)) < MOVED:
        return False
    left, top = min(width // 2, round(abs(x)) + 1), min(height // 2, round(abs(y)) + 1)
    moved = cv2.warpAffine(before, np.array([[1, 0, x], [0, 1, y]]), (width, height), borderMode=cv2.BORDER_REPLICATE)
    brighter = cv2.subtract(grey, cv2.dilate(moved, _NEIGHBOURS))
    darker = cv2.subtract(cv2.erode(moved, _NEIGHBOURS), grey)
    unlike = cv2.threshold(cv2.max(brighter, darker), CHANGE, 255, cv2.THRESH_BINARY)[1]
    new = cv2.bitwise_and(mask, unlike)[top : height - top, left : width - left]
    return count_of(new) < max(LEAST, count_of(mask) // UNEXPLAINED)
