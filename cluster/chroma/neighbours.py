"""Searches in the collections of vectors: the files nearest to some vectors, of all files or of named ones."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from cluster.chroma.client import Chroma
from cluster.records import Space
from cluster.results.embeddings import collection_name

DISTANCES: dict[str, str] = {"image": "cosine", "text": "cosine", "faces": "l2"}  # by space
MOST_FETCHED = 5000  # neighbours at most, to fill a page with different files
MOST_FLOATS = 4_000_000  # of vectors that are fetched to be compared: some 50 MB of JSON, a second
ASSETS_AT_ONCE = 500  # in one question

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Hit:
    """A file that a search has found, with its nearest vector."""

    asset: str
    score: float  # 1 minus the cosine distance, for faces 1 minus the Euclidean; not below 0
    detector: str
    label: str
    text: str | None = None
    time_s: float | None = None


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The files nearest to some vectors, each with its nearest vector, best first."""

    hits: list[Hit]
    is_whole: bool  # no other file has an accepted vector with the least score
    compared: int  # vectors that were looked at


class Index:
    """The searches of Vectors. Every method raises VectorsDown when the server does not answer."""

    _chroma: Chroma

    def search(self, space: Space, vector: Sequence[float], limit: int) -> list[Hit]:
        """The files nearest to a vector of that space, best first, at most `limit`."""
        return self.neighbours(space, [vector], limit).hits[:limit]

    def neighbours(
        self,
        space: Space,
        vectors: Sequence[Sequence[float]],
        limit: int,
        least: float = 0.0,
        accepts: Callable[[Hit], bool] = lambda hit: True,
    ) -> Neighbours:
        """The files nearest to any of these vectors: `limit` of each vector, unless there are fewer.

        Only hits that have a score of `least` and are accepted count. More vectors than `limit` are fetched, as a file
        may have many near ones, but not more than MOST_FETCHED.
        """
        name, wanted = collection_name(space, len(vectors[0])), max(50, 4 * limit)
        while True:
            near = self._near(name, vectors, wanted)
            hits = [[_hit(metadata, _score(space, distance)) for metadata, distance in each] for each in near]
            whole = [len(each) < wanted or each[-1].score < least for each in hits]
            shown = [[hit for hit in each if hit.score >= least and accepts(hit)] for each in hits]
            enough = [len({hit.asset for hit in each}) >= limit for each in shown]
            if wanted >= MOST_FETCHED or all(map(max, whole, enough)):
                return Neighbours(_best(chain.from_iterable(shown)), all(whole), sum(map(len, hits)))
            wanted = min(MOST_FETCHED, 4 * wanted)

    def compared(
        self,
        space: Space,
        vectors: Sequence[Sequence[float]],
        among: Sequence[str],
        least: float = 0.0,
        accepts: Callable[[Hit], bool] = lambda hit: True,
    ) -> Neighbours | None:
        """Like `neighbours`, of these files only, and all of them: each of their vectors is compared.

        None if they have more vectors than MOST_FLOATS allows.
        """
        from chromadb.errors import NotFoundError

        name, length, ids = collection_name(space, len(vectors[0])), len(vectors[0]), list[str]()
        try:
            for at in range(0, len(among), ASSETS_AT_ONCE):
                where = {"asset": {"$in": list(among[at : at + ASSETS_AT_ONCE])}}
                ids += self._chroma.call(name, "get", where=where, include=[])["ids"]
                if len(ids) * length > MOST_FLOATS:
                    return None
            if not ids:
                return Neighbours([], True, 0)
            records = self._chroma.call(name, "get", ids=ids, include=["embeddings", "metadatas"])
        except NotFoundError:  # no vector of this space has been indexed yet
            return Neighbours([], True, 0)
        scores = _scores(space, np.asarray(records["embeddings"], np.float32), np.asarray(vectors, np.float32))
        hits = [_hit(metadata, score) for metadata, score in zip(records["metadatas"], scores, strict=True)]
        return Neighbours(_best(hit for hit in hits if hit.score >= least and accepts(hit)), True, len(hits))

    def nearest(self, name: str, vector: Sequence[float]) -> float:
        """The distance to the nearest vector of a collection, in its own metric; infinite if it is empty."""
        (near,) = self._near(name, [vector], 1)
        return near[0][1] if near else math.inf

    def _near(
        self, name: str, vectors: Sequence[Sequence[float]], count: int
    ) -> list[list[tuple[dict[str, Any], float]]]:
        """For each vector the metadata and distances of the `count` nearest ones of a collection, nearest first."""
        from chromadb.errors import NotFoundError

        query = {"query_embeddings": [list(vector) for vector in vectors], "n_results": count}
        try:
            near = self._chroma.call(name, "query", include=["metadatas", "distances"], **query)
        except NotFoundError:  # no vector of this space has been indexed yet
            return [[] for _ in vectors]
        return [list(zip(*each, strict=True)) for each in zip(near["metadatas"], near["distances"], strict=True)]


def _score(space: Space, distance: float) -> float:
    away = distance**0.5 if DISTANCES[space] == "l2" else distance  # Chroma's l2 is squared
    return round(max(0.0, 1 - away), 4)


def _scores(space: Space, stored: Array, vectors: Array) -> list[float]:
    """The score of each stored vector (n, length) with the nearest of the vectors (m, length)."""
    if DISTANCES[space] == "l2":
        distances = np.min([((stored - vector) ** 2).sum(axis=1) for vector in vectors], axis=0)
    else:
        lengths = np.linalg.norm(stored, axis=1)[:, None] * np.linalg.norm(vectors, axis=1)
        distances = (1 - stored @ vectors.T / np.maximum(lengths, 1e-12)).min(axis=1)
    return [_score(space, float(distance)) for distance in distances]


def _hit(metadata: dict[str, Any], score: float) -> Hit:
    return Hit(
        metadata["asset"], score, metadata["detector"], metadata["label"], metadata.get("text"), metadata.get("time_s")
    )


def _best(hits: Iterable[Hit]) -> list[Hit]:
    """The best hit of each file, best first."""
    best: dict[str, Hit] = {}
    for hit in sorted(hits, key=lambda hit: -hit.score):
        best.setdefault(hit.asset, hit)
    return list(best.values())
