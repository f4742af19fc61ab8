"""Embeddings, found by nearness: a Chroma server, asked over HTTP. An index; the truth lies in the Parquet files."""

import logging
import math
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster.records import Space, current_space
from cluster.results.embeddings import Answer, collection_name, embeddings, newest_answers, newest_contents

log = logging.getLogger(__name__)

DISTANCES: dict[Space, str] = {"image": "cosine", "text": "cosine", "faces": "l2"}
ATTEMPTS = 4
BACK_OFF_S = 0.2  # doubled every time
TIMEOUT_S = 60.0
BATCH_ROWS = 5000  # Chroma takes 5461
BATCH_FLOATS = 2_000_000  # and 40 MiB
OF_ASSET = 16  # vectors that stand for a file, however many frames it has
MOST_FETCHED = 5000  # neighbours looked at to fill a page with different files

# which Parquet files are in: lost together with the index that it tells of; its number is that of the metadata's layout
_INDEXED = "indexed-files-2"

T = TypeVar("T")


class VectorsDown(Exception):
    """The vector store did not answer, in a plain sentence: nothing can be searched, all else works."""


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

    def __init__(self, url: str) -> None:
        self.url = url
        self._client: Any = None

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
            step = min(BATCH_ROWS, max(1, BATCH_FLOATS // len(new.values[0])))
            for at in range(0, len(new.ids), step):
                part = slice(at, at + step)
                self._upsert(name, new.ids[part], new.values[part], new.metadatas[part])
        for name, old in kept.items():
            fresh = set(entries[name].ids) if name in entries else set()
            history = {id for id, of in old.items() if of.content not in (None, contents[of.answer[0]][1])}
            superseded = {id for id, of in old.items() if of.answer in newest}
            for ids in _chunks(sorted((history | superseded) - fresh), BATCH_ROWS):
                self._of(name, "delete", ids=ids)
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
        """Up to OF_ASSET of a file's vectors, spread evenly over it; none if it is not indexed."""
        for name in self._names():
            if not name.startswith(f"{space}-"):
                continue
            ids = self._of(name, "get", where={"asset": asset}, include=[])["ids"]
            if not ids:
                continue
            ids = sorted(ids, key=lambda id: [int(n) for n in id.split(":")[2:]])
            spread = [ids[at * len(ids) // min(OF_ASSET, len(ids))] for at in range(min(OF_ASSET, len(ids)))]
            found = self._of(name, "get", ids=spread, include=["embeddings"])
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
            self._upsert(_INDEXED, ids, [np.asarray(point, np.float32) for point in spread], None)

    def count(self, space: Space) -> int:
        """How many vectors there are of a space."""
        names = [name for name in self._names() if name.startswith(f"{space}-")]
        return sum(self._of(name, "count") for name in names)

    def there(self, name: str, ids: Iterable[str]) -> set[str]:
        """Those of the ids that this collection holds."""
        if name not in self._names():
            return set()
        return {id for some in _chunks(ids, BATCH_ROWS) for id in self._of(name, "get", ids=some, include=[])["ids"]}

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

    def drop(self) -> None:
        """Forget everything: all vectors, and which files were in."""
        self._ask(lambda client: [client.delete_collection(one.name) for one in client.list_collections()])

    def _names(self) -> list[str]:
        return self._ask(lambda client: [collection.name for collection in client.list_collections()])

    def _upsert(
        self, name: str, ids: list[str], values: list[npt.NDArray[np.float32]], metadatas: list[dict[str, Any]] | None
    ) -> None:
        space = cast(Space, name.partition("-")[0])
        configuration = {"hnsw": {"space": DISTANCES.get(space, "l2")}}
        # never an embedding function: it would be named to the server, and let others name theirs (CVE-2026-45829)
        self._ask(
            lambda client: client.get_or_create_collection(
                name, configuration=configuration, embedding_function=None
            ).upsert(ids=ids, embeddings=values, metadatas=metadatas)
        )

    def _kept(self, assets: list[str]) -> dict[str, dict[str, _Kept]]:
        """What there is of these files, by collection and id."""
        kept: dict[str, dict[str, _Kept]] = {}
        for name in self._names():
            if name.startswith("indexed-"):
                continue
            kept[name] = {}
            for some in _chunks(assets, 500):
                found = self._of(name, "get", where={"asset": {"$in": some}}, include=["metadatas"])
                for id, of in zip(found["ids"], found["metadatas"], strict=True):
                    answer = (of["asset"], of.get("segment"), of["detector"])
                    kept[name][id] = _Kept(answer, of["analyzed_at"], of.get("content"))
        return kept

    def _near(self, name: str, vector: Sequence[float], count: int) -> list[tuple[dict[str, Any], float]]:
        from chromadb.errors import NotFoundError

        asked = {"query_embeddings": [list(vector)], "n_results": count, "include": ["metadatas", "distances"]}
        try:
            found = self._of(name, "query", **asked)
        except NotFoundError:  # nothing of this kind has been indexed yet
            return []
        return list(zip(found["metadatas"][0], found["distances"][0], strict=True))

    def _of(self, name: str, method: str, **values: Any) -> Any:
        return self._ask(lambda client: getattr(client.get_collection(name, embedding_function=None), method)(**values))

    def _ask(self, question: Callable[[Any], T]) -> T:
        import httpx
        from chromadb.errors import InternalError

        for attempt in range(ATTEMPTS):
            try:
                return question(self._connected())
            except (httpx.TransportError, InternalError, ConnectionError) as error:
                log.info("the vector store at %s: %s, attempt %d", self.url, type(error).__name__, attempt + 1)
                why = error
                if attempt + 1 < ATTEMPTS:
                    time.sleep(BACK_OFF_S * 2**attempt * random.uniform(0.5, 1))
        raise VectorsDown(f"the vector store at {self.url} does not answer ({type(why).__name__})") from why

    def _connected(self) -> Any:
        if self._client is None:
            import chromadb
            import httpx
            from chromadb.config import Settings

            httpx.get(f"{self.url}/api/v2/heartbeat", timeout=TIMEOUT_S, trust_env=False)  # the client's own is endless
            try:
                client = chromadb.HttpClient(host=self.url, settings=Settings(anonymized_telemetry=False))
            except ValueError as error:  # what Chroma makes of a refused connection
                raise ConnectionError(str(error)) from error
            # it waits for ever otherwise, and has no setting for it
            cast(Any, client)._server._session.timeout = TIMEOUT_S
            _rename_former(client)
            self._client = client
        return self._client


def _rename_former(client: Any) -> None:
    """Give collections made under a former name of their space the current name, with all they hold.

    Where both names exist (an older version ran in between), the old collection is left alone and no longer searched.
    """
    names = {collection.name for collection in client.list_collections()}
    for name in names:
        space, _, length = name.partition("-")
        current = collection_name(current_space(space), int(length)) if length.isdigit() else name
        if current not in names:
            client.get_collection(name, embedding_function=None).modify(name=current)


def _hit(metadata: dict[str, Any], score: float) -> Hit:
    return Hit(
        metadata["asset"], score, metadata["detector"], metadata["label"], metadata.get("text"), metadata.get("time_s")
    )


def _chunks(values: Iterable[str], size: int) -> Iterator[list[str]]:
    rest = iter(values)
    while chunk := list(islice(rest, size)):
        yield chunk
