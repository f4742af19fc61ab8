"""A cache of what a network computed of recent frames, for detectors that share the network and get the same frames."""

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]  # (height, width, 3) RGB

T = TypeVar("T")


class FrameCache(Generic[T]):
    """An LRU cache of `capacity` results, by content of the picture; `compute` makes one for each unknown picture."""

    def __init__(self, capacity: int, compute: Callable[[list[Pixels]], list[T]]) -> None:
        self._capacity, self._compute = capacity, compute
        self._known: dict[bytes, T] = {}  # from the least to the most recently used

    def __call__(self, pictures: Sequence[Pixels]) -> list[T]:
        """One result for each picture, in order; equal pictures are computed once."""
        keys = [content(pixels) for pixels in pictures]
        unknown = {key: pixels for key, pixels in zip(keys, pictures, strict=True) if key not in self._known}
        known = self._known | dict(zip(unknown, self._compute(list(unknown.values())), strict=True))
        latest = [*(key for key in self._known if key not in keys), *dict.fromkeys(keys)]
        self._known = {key: known[key] for key in latest[-self._capacity :]}
        return [known[key] for key in keys]


def content(pixels: Pixels) -> bytes:
    """A 16-byte digest of a picture's pixels and shape."""
    return blake2b(np.ascontiguousarray(pixels).data, digest_size=16, salt=b"%dx%d" % pixels.shape[1::-1]).digest()
