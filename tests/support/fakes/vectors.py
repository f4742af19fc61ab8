"""A vector store of faces in memory, for the catalogues of tests: a FaceVectors."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from cluster.results.codec import SCHEMA
from cluster.results.embeddings import embeddings
from cluster.results.newest import key, newest_answers, newest_contents
from deployments.catalog.people.faces import FaceVector

LENGTH = 128  # of a vector


class MemoryVectors:
    """Has the vectors of the rows that were added; of a face in several of them, those of the latest."""

    def __init__(self) -> None:
        self._records: dict[str, tuple[Any, FaceVector]] = {}

    def add(self, rows: Sequence[dict[str, Any]]) -> None:
        """Take the vectors of these rows of results, as an indexed file's."""
        table = pa.Table.from_pylist(list(rows), schema=SCHEMA)
        for entries in embeddings(table, newest_answers(table, newest_contents(table))).values():
            for id, values, metadata in zip(entries.ids, entries.values, entries.metadatas, strict=True):
                self._records[id] = key(metadata), values

    def __call__(self, ids: Sequence[str]) -> Mapping[str, tuple[Any, FaceVector]]:
        """Those of these vectors that there are."""
        return {id: self._records[id] for id in ids if id in self._records}


def of_person(person: int, number: int = 0) -> tuple[float, ...]:
    """A vector of a face of this person: the faces of one are 0.03 apart or less, those of two more than 1."""
    vector = np.zeros(LENGTH)
    vector[person % LENGTH] = 1.0
    vector[(person + 1) % LENGTH] = number % 4 / 100
    return tuple(vector.tolist())
