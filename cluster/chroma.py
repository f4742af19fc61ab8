"""Calls of a Chroma server over HTTP, with deadlines, and collections whose index reaches every vector it holds."""

import logging
import random
import time
from collections.abc import Callable, Sequence
from hashlib import blake2b
from json import JSONDecodeError
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from cluster.records import current_space
from cluster.results.embeddings import collection_name

log = logging.getLogger(__name__)

ATTEMPTS = 4
BACK_OFF_S = 0.2  # doubled with every attempt

# docs/decisions/0014: what Chroma starts with (16, 100, 100) leaves vectors that no search reaches
HNSW = {"max_neighbors": 32, "ef_construction": 200, "ef_search": 1000}
# How far a stored vector is moved, as a share of its length, so that no two are equal: above the rounding of a cosine
# in 32 bits, far below what a score shows (a cosine changes by 5e-7, a Euclidean distance by one in 100,000).
SHIFTS = {"cosine": 1e-3, "l2": 1e-5}

T = TypeVar("T")


class VectorsDown(Exception):
    """The vector store did not answer, in a plain sentence: search by meaning or likeness waits, all else works."""


class Chroma:
    """A client of one server. Nothing is sent before the first call.

    `timeout_s`: how long one call may take, connecting included, and how long a failed call is tried again. Every
    method raises VectorsDown when the server does not answer in that time.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        self.url = url
        self.timeout_s = timeout_s
        self._client: Any = None

    def ask(self, question: Callable[[Any], T]) -> T:
        """The answer of a function that is given chromadb's client.

        VectorsDown, and at once, where the server refuses or is no Chroma; NotFoundError of a collection is passed on.
        """
        import httpx
        from chromadb.errors import ChromaError, InternalError, NotFoundError

        begun = time.monotonic()
        for attempt in range(ATTEMPTS):
            try:
                return question(self._connected())
            except NotFoundError:
                raise
            except (httpx.TransportError, InternalError, ConnectionError) as error:
                log.info("the vector store at %s: %s, attempt %d", self.url, type(error).__name__, attempt + 1)
                why = error
                if time.monotonic() - begun >= self.timeout_s:
                    break
                if attempt + 1 < ATTEMPTS:
                    time.sleep(BACK_OFF_S * 2**attempt * random.uniform(0.5, 1))
            except (ChromaError, httpx.HTTPStatusError, JSONDecodeError) as error:
                name = type(error).__name__
                raise VectorsDown(f"what answers at {self.url} is no Chroma, or refuses ({name}: {error})") from error
        raise VectorsDown(f"the vector store at {self.url} does not answer ({type(why).__name__})") from why

    def call(self, name: str, method: str, **values: Any) -> Any:
        """The answer of a method of a collection. chromadb.errors.NotFoundError if there is none of that name."""
        return self.ask(lambda client: getattr(client.get_collection(name, embedding_function=None), method)(**values))

    def names(self) -> list[str]:
        """The names of all collections."""
        return self.ask(lambda client: [collection.name for collection in client.list_collections()])

    def indexes(self) -> dict[str, dict[str, Any]]:
        """The parameters of each collection's HNSW index, by the collection's name."""
        return self.ask(
            lambda client: {
                collection.name: dict(collection.configuration.get("hnsw") or {})
                for collection in client.list_collections()
            }
        )

    def upsert(
        self,
        name: str,
        distance: str,
        ids: list[str],
        values: Sequence[npt.NDArray[np.float32]],
        metadatas: list[dict[str, Any]] | None,
    ) -> None:
        """Write vectors, each moved by its `shifted`. A collection that is not there is made for that distance."""
        apart = [shifted(id, value, SHIFTS[distance]) for id, value in zip(ids, values, strict=True)]
        configuration = {"hnsw": {"space": distance, **HNSW}}
        # never an embedding function: it would be named to the server, and let others name theirs (CVE-2026-45829)
        self.ask(
            lambda client: client.get_or_create_collection(
                name, configuration=configuration, embedding_function=None
            ).upsert(ids=ids, embeddings=apart, metadatas=metadatas)
        )

    def _connected(self) -> Any:
        if self._client is None:
            import chromadb
            import httpx
            from chromadb.config import Settings

            # the client's own first calls wait for ever
            httpx.get(f"{self.url}/api/v2/heartbeat", timeout=self.timeout_s, trust_env=False).raise_for_status().json()
            try:
                client = chromadb.HttpClient(host=self.url, settings=Settings(anonymized_telemetry=False))
            except ValueError as error:  # what Chroma makes of a refused connection
                raise ConnectionError(str(error)) from error
            cast(Any, client)._server._session.timeout = self.timeout_s  # it has no setting for it
            _rename_former(client)
            self._client = client
        return self._client


def shifted(id: str, values: npt.NDArray[np.float32], share: float) -> npt.NDArray[np.float32]:
    """The vector (n,), moved by that share of its length in a direction that depends on its id alone.

    Vectors that are equal, as those of copies and of still frames are, link only to one another in an HNSW graph: where
    more of them meet than a node has links, none but they can be reached from them, nor they from the rest.
    """
    seed = int.from_bytes(blake2b(id.encode(), digest_size=8).digest(), "big")
    direction = np.random.default_rng(seed).standard_normal(len(values))
    step = share * np.linalg.norm(values) / (np.linalg.norm(direction) or 1.0)
    return (values + step * direction).astype(np.float32)


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
