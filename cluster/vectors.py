"""Files found by the nearness of their vectors in a Chroma server. An index: the truth lies in the Parquet files."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa

from cluster.chroma import HNSW, Chroma, VectorsDown
from cluster.records import Space
from cluster.results.embeddings import Answer, Entries, collection_name, embeddings, newest_answers, newest_contents

__all__ = ["Hit", "Vectors", "VectorsDown"]

DISTANCES: dict[str, str] = {"image": "cosine", "text": "cosine", "faces": "l2"}  # by space
TIMEOUT_S = 60.0  # of a call while indexing: a batch may wait for the index to grow
BATCH_ROWS = 5000  # Chroma takes 5461
BATCH_FLOATS = 2_000_000  # and 40 MiB
ASSET_VECTORS = 16  # vectors that stand for a file, however many frames it has
MOST_FETCHED = 5000  # neighbours looked at to fill a page with different files

# which Parquet files are in: lost together with the index that it tells of; its number is that of the metadata's layout
_INDEXED = "indexed-files-2"


@dataclass(frozen=True, slots=True)
class Hit:
    """A file near to what was searched for, by the nearest of its vectors."""

    asset: str
    score: float  # 1 minus the cosine distance, for faces 1 minus the Euclidean; not below 0
    detector: str
    label: str
    text: str | None = None
    time_s: float | None = None


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is known of a vector that is there."""

    answer: Answer
    stamp: float
    content: int | None  # None: of before it was noted


class Vectors:
    """One collection for every space and length of vector, so that a new model's do not collide with the old one's.

    Nothing is asked before the first call. Every method raises VectorsDown when the server stays away.
    """

    def __init__(self, url: str, timeout_s: float = TIMEOUT_S) -> None:
        self.url = url
        self._chroma = Chroma(url, timeout_s)

    def upsert(self, rows: pa.Table) -> int:
        """Bring in the vectors of committed rows (columns embeddings.COLUMNS); how many. Again, it changes nothing.

        What a detector said of a file or segment earlier goes, and all that was said of another content or cut of the
        file than its newest; what was said later than these rows stays.
        """
        contents = newest_contents(rows)
        kept = self._kept(sorted(contents))
        there = [of for old in kept.values() for of in old.values()]
        for of in there:
            if of.content is not None:
                contents[of.answer[0]] = max(contents[of.answer[0]], (of.stamp, of.content))
        newest = newest_answers(rows, contents)
        for of in there:
            if of.content in (None, contents[of.answer[0]][1]) and newest.get(of.answer, (of.stamp, 0))[0] < of.stamp:
                del newest[of.answer]
        entries = embeddings(rows, newest)
        for name, new in entries.items():
            self._upsert(name, new, kept.get(name, {}))
        for name, old in kept.items():
            fresh = set(entries[name].ids) if name in entries else set()
            history = {id for id, of in old.items() if of.content not in (None, contents[of.answer[0]][1])}
            superseded = {id for id, of in old.items() if of.answer in newest}
            for ids in _chunks(sorted((history | superseded) - fresh), BATCH_ROWS):
                self._chroma.call(name, "delete", ids=ids)
        return sum(len(new.ids) for new in entries.values())

    def search(self, space: Space, vector: Sequence[float], limit: int) -> list[Hit]:
        """The nearest files, best first. More vectors than `limit` are fetched: a file may have many near ones."""
        name, wanted = collection_name(space, len(vector)), max(50, 4 * limit)
        while True:
            found = self._near(name, vector, wanted)
            best: dict[str, Hit] = {}
            for metadata, distance in found:
                away = distance**0.5 if DISTANCES[space] == "l2" else distance  # Chroma's l2 is squared
                hit = _hit(metadata, round(max(0.0, 1 - away), 4))
                best.setdefault(hit.asset, hit)
            if len(best) >= limit or len(found) < wanted or wanted >= MOST_FETCHED:
                return list(best.values())[:limit]
            wanted = min(MOST_FETCHED, 4 * wanted)

    def of_asset(self, space: Space, asset: str) -> list[tuple[float, ...]]:
        """Up to ASSET_VECTORS of a file's vectors, spread evenly over it; none if it is not indexed."""
        for name in self._chroma.names():
            if not name.startswith(f"{space}-"):
                continue
            ids = self._chroma.call(name, "get", where={"asset": asset}, include=[])["ids"]
            if not ids:
                continue
            ids = sorted(ids, key=lambda id: [int(n) for n in id.split(":")[2:]])
            spread = [ids[at * len(ids) // min(ASSET_VECTORS, len(ids))] for at in range(min(ASSET_VECTORS, len(ids)))]
            found = self._chroma.call(name, "get", ids=spread, include=["embeddings"])
            values = dict(zip(found["ids"], found["embeddings"], strict=True))
            return [tuple(float(x) for x in values[id]) for id in spread if id in values]
        return []

    def indexed(self, files: Sequence[str]) -> set[str]:
        """Those of the Parquet files that were marked."""
        return self.there(_INDEXED, files)

    def mark(self, files: Sequence[str]) -> None:
        """Note that all vectors of these Parquet files are in."""
        for ids in _chunks(files, BATCH_ROWS):
            # every record of Chroma's needs a vector; many equal ones would make the graph slow
            spread = [np.frombuffer(blake2b(id.encode(), digest_size=2).digest(), np.uint8) / 255 for id in ids]
            points = [np.asarray(point, np.float32) for point in spread]
            self._chroma.upsert(_INDEXED, "l2", ids, points, None)

    def count(self, space: Space) -> int:
        """How many vectors there are of a space."""
        names = [name for name in self._chroma.names() if name.startswith(f"{space}-")]
        return sum(self._chroma.call(name, "count") for name in names)

    def there(self, name: str, ids: Iterable[str]) -> set[str]:
        """Those of the ids that this collection holds."""
        if name not in self._chroma.names():
            return set()
        return {
            id
            for some in _chunks(ids, BATCH_ROWS)
            for id in self._chroma.call(name, "get", ids=some, include=[])["ids"]
        }

    def stamps(self, assets: Iterable[str]) -> dict[tuple[str, int | None, str], float]:
        """When what there is of these files was said, by file, segment and detector: seconds since 1970."""
        found: dict[tuple[str, int | None, str], float] = {}
        for kept in self._kept(sorted(set(assets))).values():
            for of in kept.values():
                found[of.answer] = max(of.stamp, found.get(of.answer, 0.0))
        return found

    def nearest(self, name: str, vector: Sequence[float]) -> float:
        """How far the nearest vector of this collection is, as the collection measures; infinite if it holds none."""
        return min((distance for _, distance in self._near(name, vector, 1)), default=math.inf)

    def outdated(self) -> list[str]:
        """The collections whose index was made with other parameters than a rebuild would give it."""
        indexes = self._chroma.indexes()
        return sorted(name for name, index in indexes.items() if any(index.get(key) != HNSW[key] for key in HNSW))

    def drop(self) -> None:
        """Forget everything: all vectors, and which files were in."""
        self._chroma.ask(lambda client: [client.delete_collection(one.name) for one in client.list_collections()])

    def _upsert(self, name: str, new: Entries, there: Mapping[str, _Kept]) -> None:
        """Write the entries that are not in the collection as they are.

        What is there by the same id is deleted first: Chroma would change the vector in place, and an HNSW graph that
        is changed in place loses vectors (nmslib/hnswlib#522, chroma-core/chroma#7758).
        """
        known = [(m["analyzed_at"], m["content"]) for m in new.metadatas]
        fresh = [
            n for n, id in enumerate(new.ids) if id not in there or (there[id].stamp, there[id].content) != known[n]
        ]
        for ids in _chunks([new.ids[n] for n in fresh if new.ids[n] in there], BATCH_ROWS):
            self._chroma.call(name, "delete", ids=ids)
        step = min(BATCH_ROWS, max(1, BATCH_FLOATS // len(new.values[0])))
        for at in range(0, len(fresh), step):
            part = fresh[at : at + step]
            ids, values = [new.ids[n] for n in part], [new.values[n] for n in part]
            distance = DISTANCES[name.partition("-")[0]]
            self._chroma.upsert(name, distance, ids, values, [new.metadatas[n] for n in part])

    def _kept(self, assets: list[str]) -> dict[str, dict[str, _Kept]]:
        """What there is of these files, by collection and id."""
        kept: dict[str, dict[str, _Kept]] = {}
        for name in self._chroma.names():
            if name.startswith("indexed-"):
                continue
            kept[name] = {}
            for some in _chunks(assets, 500):
                found = self._chroma.call(name, "get", where={"asset": {"$in": some}}, include=["metadatas"])
                for id, of in zip(found["ids"], found["metadatas"], strict=True):
                    answer = (of["asset"], of.get("segment"), of["detector"])
                    kept[name][id] = _Kept(answer, of["analyzed_at"], of.get("content"))
        return kept

    def _near(self, name: str, vector: Sequence[float], count: int) -> list[tuple[dict[str, Any], float]]:
        from chromadb.errors import NotFoundError

        asked = {"query_embeddings": [list(vector)], "n_results": count, "include": ["metadatas", "distances"]}
        try:
            found = self._chroma.call(name, "query", **asked)
        except NotFoundError:  # nothing of this kind has been indexed yet
            return []
        return list(zip(found["metadatas"][0], found["distances"][0], strict=True))


def _hit(metadata: dict[str, Any], score: float) -> Hit:
    return Hit(
        metadata["asset"], score, metadata["detector"], metadata["label"], metadata.get("text"), metadata.get("time_s")
    )


def _chunks(values: Iterable[str], size: int) -> Iterator[list[str]]:
    rest = iter(values)
    while chunk := list(islice(rest, size)):
        yield chunk
