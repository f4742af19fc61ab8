"""Frames whose even and odd rows were taken one after the other: what moves has combs, and cannot be read."""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

COMB = 20  # grey levels between a row and both of its neighbours
_LONG = np.ones((3, 1), np.uint8)  # rows with combs that follow each other; a thin line has one
_WIDE = np.ones((1, 5), np.uint8)


def without_combs(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """(height, width, 3) RGB, where odd rows with combs are replaced by what lies between their neighbours."""
    if rgb.shape[0] < 8:
        return rgb
    rows = (rgb.shape[0] - 1) // 2
    above, odd, below = rgb[0 : 2 * rows : 2], rgb[1 : 2 * rows + 1 : 2], rgb[2 : 2 * rows + 2 : 2]
    up, down = (odd[..., 1].astype(np.int16) - each[..., 1] for each in (above, below))
    combs: Any = ((np.minimum(np.abs(up), np.abs(down)) > COMB) & ((up > 0) == (down > 0))).astype(np.uint8)
    combs = cv2.morphologyEx(combs, cv2.MORPH_OPEN, _LONG)
    if not combs.any():
        return rgb
    combs = cv2.dilate(combs, _WIDE).astype(bool)
    whole = rgb.copy()
    between: Any = cv2.addWeighted(above, 0.5, below, 0.5, 0)
    whole[1 : 2 * rows + 1 : 2][combs] = between[combs]
    return whole


def resized(rgb: npt.NDArray[np.uint8], width: int, height: int) -> npt.NDArray[np.uint8]:
    """RGB in that size."""
    if rgb.shape[:2] == (height, width):
        return rgb
    return np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
