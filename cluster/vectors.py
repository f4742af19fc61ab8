"""Search for files by vectors, in a Chroma server. It is only an index: the Parquet files hold the results."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster.chroma.client import HNSW, Chroma, VectorsDown
from cluster.chroma.neighbours import DISTANCES, Index
from cluster.chroma_guard.credential import chroma_token
from cluster.records import Space
from cluster.results.attempts import without_number
from cluster.results.embeddings import Entries, embeddings
from cluster.results.newest import OLDEST, Answer, Key, key, newest_answers, newest_contents
from cluster.settings import Settings

__all__ = ["Vectors", "VectorsDown"]

TIMEOUT_S = 60.0  # of one call: while indexing, a batch may wait for the index to grow
BATCH_ROWS = 5000  # Chroma's limit is 5461
BATCH_FLOATS = 2_000_000  # Chroma's limit is 40 MiB
ASSET_VECTORS = 16  # vectors that represent a file, however many frames it has

# the collection of indexed Parquet files, lost together with the index; its number is the version of the metadata
_INDEXED = "indexed-files-2"


@dataclass(frozen=True, slots=True)
class _Kept:
    """A stored vector: the answer that it belongs to."""

    answer: Answer
    key: Key  # which of two answers is the newer one
    content: int | None  # of the file; None: written by a version that did not store it


class Vectors(Index):
    """The collections of a Chroma server, one for each space and length of vector: models do not share one.

    It connects at the first call. Every method raises VectorsDown when the server does not answer; `timeout_s` is the
    timeout of one call in seconds, and the time limit of its retries.
    """

    def __init__(self, url: str, timeout_s: float = TIMEOUT_S, token: str = "") -> None:
        self.url = url
        self._chroma = Chroma(url, timeout_s, token)

    @classmethod
    def configured(cls, settings: Settings, timeout_s: float = TIMEOUT_S) -> "Vectors":
        """The vectors of the server that the settings name, with its token."""
        return cls(settings.chroma.url, timeout_s, chroma_token(settings))

    def upsert(self, rows: pa.Table) -> int:
        """Write those vectors of committed rows (columns embeddings.COLUMNS) that are not stored. Returns their total.

        Vectors of earlier answers of a detector for the same file or segment are deleted, and so are all of an earlier
        content or cut of the file. Vectors of later answers than these rows are kept.
        """
        contents = newest_contents(rows)
        kept = self._kept(sorted(contents))
        stored = [record for records in kept.values() for record in records.values()]
        for record in stored:
            if record.content is not None:
                asset = record.answer[0]
                contents[asset] = max(contents[asset], (record.key, record.content))
        newest = newest_answers(rows, contents)
        for record in stored:
            current = record.content in (None, contents[record.answer[0]][1])
            if current and newest.get(record.answer, (record.key, 0))[0] < record.key:
                del newest[record.answer]
        entries = embeddings(rows, newest)
        for name, new in entries.items():
            self._upsert(name, new, kept.get(name, {}))
        for name, old in kept.items():
            fresh = set(entries[name].ids) if name in entries else set()
            history = {id for id, record in old.items() if record.content not in (None, contents[record.answer[0]][1])}
            superseded = {id for id, record in old.items() if record.answer in newest}
            for ids in _chunks(sorted((history | superseded) - fresh), BATCH_ROWS):
                self._chroma.call(name, "delete", ids=ids)
        return sum(len(new.ids) for new in entries.values())

    def of_asset(self, space: Space, asset: str) -> list[tuple[float, ...]]:
        """Up to ASSET_VECTORS of a file's vectors in a space, spread evenly over it; none if it is not indexed."""
        for name in self._chroma.names():
            if not name.startswith(f"{space}-"):
                continue
            ids = self._chroma.call(name, "get", where={"asset": asset}, include=[])["ids"]
            if not ids:
                continue
            ids = sorted(ids, key=lambda id: [int(n) for n in id.split(":")[2:]])
            spread = [ids[at * len(ids) // min(ASSET_VECTORS, len(ids))] for at in range(min(ASSET_VECTORS, len(ids)))]
            records = self._chroma.call(name, "get", ids=spread, include=["embeddings"])
            values = dict(zip(records["ids"], records["embeddings"], strict=True))
            return [tuple(float(x) for x in values[id]) for id in spread if id in values]
        return []

    def indexed(self, files: Sequence[str]) -> set[str]:
        """The Parquet files (URIs) among these that `mark` has recorded."""
        return self.there(_INDEXED, files)

    def mark(self, files: Sequence[str]) -> None:
        """Record that all vectors of these Parquet files (URIs) are in the store."""
        for ids in _chunks(files, BATCH_ROWS):
            # every record of Chroma needs a vector; many equal ones would make the graph slow
            spread = [np.frombuffer(blake2b(id.encode(), digest_size=2).digest(), np.uint8) / 255 for id in ids]
            points = [np.asarray(point, np.float32) for point in spread]
            self._chroma.upsert(_INDEXED, "l2", ids, points, None)

    def count(self, space: Space) -> int:
        """How many vectors of a space are stored."""
        names = [name for name in self._chroma.names() if name.startswith(f"{space}-")]
        return sum(self._chroma.call(name, "count") for name in names)

    def there(self, name: str, ids: Iterable[str]) -> set[str]:
        """The ids among these that a collection holds; none if the collection does not exist."""
        if name not in self._chroma.names():
            return set()
        return {
            id
            for some in _chunks(ids, BATCH_ROWS)
            for id in self._chroma.call(name, "get", ids=some, include=[])["ids"]
        }

    def records(self, space: Space, ids: Sequence[str]) -> dict[str, tuple[Key, npt.NDArray[np.float32]]]:
        """Those of these vectors (ids as of embeddings) that are stored in a space: id -> key of its answer, values."""
        found: dict[str, tuple[Key, npt.NDArray[np.float32]]] = {}
        for name in self._chroma.names() if ids else ():
            if not name.startswith(f"{space}-"):
                continue
            for some in _chunks(ids, BATCH_ROWS):
                records = self._chroma.call(name, "get", ids=some, include=["embeddings", "metadatas"])
                for id, values, metadata in zip(
                    records["ids"], records["embeddings"], records["metadatas"], strict=True
                ):
                    found[id] = _key(metadata), np.asarray(values, np.float32)
        return found

    def keys(self, assets: Iterable[str]) -> dict[Answer, Key]:
        """Answer -> its key (newest.key), for the stored vectors of these files."""
        keys: dict[Answer, Key] = {}
        for kept in self._kept(sorted(set(assets))).values():
            for record in kept.values():
                keys[record.answer] = max(record.key, keys.get(record.answer, OLDEST))
        return keys

    def outdated(self) -> list[str]:
        """The collections whose index has other parameters than a rebuild would set."""
        indexes = self._chroma.indexes()
        return sorted(name for name, index in indexes.items() if any(index.get(key) != HNSW[key] for key in HNSW))

    def drop(self) -> None:
        """Delete all vectors, and the record of the indexed files."""
        self._chroma.ask(lambda client: [client.delete_collection(c.name) for c in client.list_collections()])

    def _upsert(self, name: str, new: Entries, there: Mapping[str, _Kept]) -> None:
        """Write the entries that the collection lacks or holds with other values.

        An entry with the same id is deleted first: Chroma would change the vector in place, and an HNSW graph that is
        changed in place loses vectors (nmslib/hnswlib#522, chroma-core/chroma#7758).
        """
        known = [(key(metadata), metadata["content"]) for metadata in new.metadatas]
        fresh = [n for n, id in enumerate(new.ids) if id not in there or (there[id].key, there[id].content) != known[n]]
        for ids in _chunks([new.ids[n] for n in fresh if new.ids[n] in there], BATCH_ROWS):
            self._chroma.call(name, "delete", ids=ids)
        step = min(BATCH_ROWS, max(1, BATCH_FLOATS // len(new.values[0])))
        for at in range(0, len(fresh), step):
            part = fresh[at : at + step]
            ids, values = [new.ids[n] for n in part], [new.values[n] for n in part]
            distance = DISTANCES[name.partition("-")[0]]
            self._chroma.upsert(name, distance, ids, values, [new.metadatas[n] for n in part])

    def _kept(self, assets: list[str]) -> dict[str, dict[str, _Kept]]:
        """Collection -> id -> record, for the stored vectors of these files."""
        kept: dict[str, dict[str, _Kept]] = {}
        for name in self._chroma.names():
            if name.startswith("indexed-"):
                continue
            kept[name] = {}
            for some in _chunks(assets, 500):
                records = self._chroma.call(name, "get", where={"asset": {"$in": some}}, include=["metadatas"])
                for id, metadata in zip(records["ids"], records["metadatas"], strict=True):
                    answer = (metadata["asset"], metadata.get("segment"), metadata["detector"])
                    kept[name][id] = _Kept(answer, _key(metadata), metadata.get("content"))
        return kept


def _key(metadata: Mapping[str, Any]) -> Key:
    """The key of a vector's answer. Version 0.1 stored only the time of the answer."""
    return key(metadata) if "sequence" in metadata else (without_number(metadata["analyzed_at"]), "", -1)


def _chunks(values: Iterable[str], size: int) -> Iterator[list[str]]:
    rest = iter(values)
    while chunk := list(islice(rest, size)):
        yield chunk
