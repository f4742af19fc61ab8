"""The decoded frames of films and animations, in order."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

GREY_PX = 480  # at most, and more than half of it, as far as the frame has so many
Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class RawFrame:
    """A decoded frame that is converted to RGB only when it is needed, and in the size that is needed."""

    time_s: float  # from the beginning of the file
    pixels: Callable[[int], npt.NDArray[np.uint8]]  # (longest side in px) -> (height, width, 3) RGB, upright
    # small pictures, not upright: grey, GREY_PX along the longest side at most, and RGB, half as large. None where they
    # cost as much as the pixels, and these change with the next frame
    small: Callable[[], tuple[Picture, Picture]] | None = None
