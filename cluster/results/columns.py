"""Columns of numbers that grow to many millions of rows."""

from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[Any]

BLOCK_ROWS = 1 << 20  # pages of a block that are not filled take no memory


class Columns:
    """NumPy columns to which rows are appended in small parts, in blocks: many small arrays would fragment the heap."""

    def __init__(self, *types: npt.DTypeLike) -> None:
        self._types = [np.dtype(kind) for kind in types]
        self._blocks: list[list[Numbers]] = [[] for _ in types]
        self._rows = 0

    def add(self, *parts: Numbers) -> None:
        """Append the same number of values to every column."""
        begin, count = 0, len(parts[0])
        while begin < count:
            at = self._rows % BLOCK_ROWS
            if at == 0:
                for blocks, kind in zip(self._blocks, self._types, strict=True):
                    blocks.append(np.empty(BLOCK_ROWS, kind))
            end = min(count, begin + BLOCK_ROWS - at)
            for blocks, part in zip(self._blocks, parts, strict=True):
                blocks[-1][at : at + end - begin] = part[begin:end]
            self._rows += end - begin
            begin = end

    def take(self) -> list[Numbers]:
        """The columns; this object is empty afterwards. Never are all of them in memory twice."""
        last = self._rows % BLOCK_ROWS or BLOCK_ROWS
        columns = []
        for n, blocks in enumerate(self._blocks):
            if blocks:
                blocks[-1] = blocks[-1][:last]
            columns.append(np.concatenate([np.empty(0, self._types[n]), *blocks]))
            blocks.clear()
        self._rows = 0
        return columns
