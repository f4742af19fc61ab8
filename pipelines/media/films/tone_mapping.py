"""Frames of high dynamic range (PQ, HLG) as a screen of standard range shows them: not pale and grey."""

from functools import cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

PQ, HLG = 16, 18  # AVCOL_TRC_SMPTE2084, AVCOL_TRC_ARIB_STD_B67
_WIDE = 9  # AVCOL_PRI_BT2020
WHITE_NITS = 203.0  # of a white page in both, by ITU-R BT.2408; it becomes almost the brightest white of a screen
PEAK_NITS = 1000.0  # nominal, of HLG
KNEE = 0.6  # of the brightest white: what is darker keeps its light, what is brighter is compressed
_STEPS = 4096  # of the tables

# BT.2020 to BT.709, by ITU-R BT.2087
_TO_709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32)


def is_hdr(frame: Any) -> bool:
    """Whether PyAV's frame has a transfer function of high dynamic range."""
    return frame.color_trc in (PQ, HLG)


def tone_mapped(rgb: npt.NDArray[np.uint16], transfer: int, primaries: int) -> npt.NDArray[np.uint8]:
    """(height, width, 3) RGB of 16 bits, as the file codes it, to RGB of 8 bits for a screen (sRGB)."""
    light: Any = _light(transfer)[rgb >> 4]
    if primaries == _WIDE:
        light = cv2.transform(light, _TO_709)
    np.maximum(light, 0, out=light)
    brightest = light.max(axis=2)
    above = brightest > KNEE
    over = (brightest[above] - KNEE) / (1 - KNEE)
    light[above] *= ((KNEE + (1 - KNEE) * (1 - np.exp(-over))) / brightest[above])[:, None]
    return _screen()[(light * (_STEPS - 1)).astype(np.uint16).clip(0, _STEPS - 1)]


@cache
def _light(transfer: int) -> npt.NDArray[np.float32]:
    """Code (12 bits) -> light, 1 for WHITE_NITS."""
    code = np.linspace(0, 1, _STEPS)
    if transfer == PQ:  # SMPTE ST 2084
        power = code ** (1 / 78.84375)
        nits = 10_000 * (np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)) ** (1 / 0.1593017578125)
    else:  # ITU-R BT.2100; its gamma of 1.2 is applied to each channel
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        scene = np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)
        nits = PEAK_NITS * scene**1.2
    return (nits / WHITE_NITS).astype(np.float32)


@cache
def _screen() -> npt.NDArray[np.uint8]:
    """Light (12 bits) -> value of sRGB."""
    light = np.linspace(0, 1, _STEPS)
    coded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return (255 * coded).round().astype(np.uint8)
