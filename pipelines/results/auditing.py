"""Compares the vector store with the results, and rebuilds it from them."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cluster.results import embeddings
from cluster.results import files as results_files
from cluster.results.newest import OLDEST, key, newest_answers, newest_contents, newest_rows
from cluster.vectors import Vectors

SAMPLE = 200
ITSELF = 1e-5  # largest distance of a vector to its stored copy (chroma.SHIFTS), by either measure, in 32 bits

Sampled = tuple[str, npt.NDArray[np.float32]]  # the collection and the vector


@dataclass(frozen=True, slots=True)
class SelfSearch:
    """Vectors of one space that were used as queries for themselves."""

    tried: int
    found: int  # of these, whose nearest neighbour is their own vector, or one of an equal content


@dataclass(frozen=True, slots=True)
class Audit:
    """The vector store compared with the results; numbers of vectors."""

    expected: int
    missing: int  # of these, whose id is not in the store
    self_search: dict[str, SelfSearch]  # by space: a sample of the vectors that are in the store
    outdated: tuple[str, ...] = ()  # collections whose index has other parameters than a rebuild would give it

    @property
    def whole(self) -> bool:
        """Whether every expected vector is there, and every sampled one finds itself."""
        return not self.missing and all(space.found == space.tried for space in self.self_search.values())


def audit(
    out: str, vectors: Vectors, s3_endpoint: str | None = None, job: str | None = None, sample: int = SAMPLE
) -> Audit:
    """Compare the vector store with the answers that count, of all rows or of one job's; a file of results at a time.

    `sample`: the number of vectors of each space that are searched for, drawn uniformly.

    VectorsDown if the store does not answer; SettingsError names a file that holds no results.
    """
    expected, missing = 0, 0
    kept: dict[str, _Reservoir] = {}  # by space
    for rows in newest_rows(out, embeddings.COLUMNS, s3_endpoint, job=job):
        answers = newest_answers(rows, newest_contents(rows))
        for name, entries in embeddings.embeddings(rows, answers).items():
            there = vectors.there(name, entries.ids)
            absent = [of for id, of in zip(entries.ids, entries.metadatas, strict=True) if id not in there]
            superseded = _superseded(absent, vectors)
            expected += len(entries.ids) - superseded
            missing += len(absent) - superseded
            reservoir = kept.setdefault(name.partition("-")[0], _Reservoir(sample))
            for id, values in zip(entries.ids, entries.values, strict=True):
                if id in there:
                    reservoir.offer((name, values))
    self_search = {space: _self_search(vectors, reservoir.held) for space, reservoir in sorted(kept.items())}
    return Audit(expected, missing, self_search, tuple(vectors.outdated()))


def _self_search(vectors: Vectors, sample: list[Sampled]) -> SelfSearch:
    found = sum(vectors.nearest(name, values.tolist()) <= ITSELF for name, values in sample)
    return SelfSearch(len(sample), found)


def _superseded(absent: list[dict[str, str | float]], vectors: Vectors) -> int:
    """How many of these are missing because a later scan, into another folder, has answered for their files."""
    if not absent:
        return 0
    there = vectors.keys(str(metadata["asset"]) for metadata in absent)
    answers = ((str(of["asset"]), of.get("segment"), str(of["detector"]), key(of)) for of in absent)
    return sum(
        there.get((asset, None if segment is None else int(segment), detector), OLDEST) > own
        for asset, segment, detector, own in answers
    )


def rebuild(
    outs: Sequence[str],
    vectors: Vectors,
    s3_endpoint: str | None = None,
    tell: Callable[[float], None] = lambda share: None,
) -> int:
    """Empty the vector store and insert the current vectors of these folders of results; returns their number.

    `tell` gets the share of files done. If it is interrupted, the next scan into a folder inserts that folder's.
    VectorsDown if the store does not answer; SettingsError names a file that holds no results.
    """
    files = {out: results_files.committed(out, s3_endpoint) for out in outs}
    total = sum(map(len, files.values()))
    vectors.drop()
    count = done = 0
    for out in outs:
        for table in newest_rows(out, embeddings.COLUMNS, s3_endpoint):
            count, done = count + vectors.upsert(table), done + 1
            tell(done / max(done, total))
        vectors.mark(files[out])
    return count


class _Reservoir:
    """A uniform sample of a stream of unknown length (Vitter 1985), the same for the same stream."""

    def __init__(self, most: int) -> None:
        self.held: list[Sampled] = []
        self._most, self._seen, self._random = most, 0, random.Random(0)

    def offer(self, sampled: Sampled) -> None:
        self._seen += 1
        if len(self.held) < self._most:
            self.held.append(sampled)
        elif (at := self._random.randrange(self._seen)) < self._most:
            self.held[at] = sampled
