"""A client of a Chroma server over HTTP, with timeouts and with an index in which every vector can be found."""

import logging
import random
import time
from collections.abc import Callable, Sequence
from hashlib import blake2b
from json import JSONDecodeError
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from cluster.metrics.declared import CHROMA_SECONDS
from cluster.metrics.recording import timed
from cluster.records import current_space
from cluster.results.embeddings import collection_name

log = logging.getLogger(__name__)

ATTEMPTS = 4
BACK_OFF_S = 0.2  # doubled after every attempt
TOKEN_ADVICE = (
    "For the Chroma of `raysift up`, Ray's token must be the same here as there (RAY_AUTH_TOKEN_PATH); for a server of "
    "your own, set chroma.token."
)

# docs/decisions/0014: Chroma's defaults (16, 100, 100) leave vectors that no search reaches
HNSW = {"max_neighbors": 32, "ef_construction": 200, "ef_search": 1000}
# The shift of a stored vector, as a share of its length, so that no two are equal: above the rounding error of a cosine
# in float32, below the precision of a score (a cosine changes by 5e-7, a Euclidean distance by one in 100,000).
SHIFTS = {"cosine": 1e-3, "l2": 1e-5}

T = TypeVar("T")


class VectorsDown(Exception):
    """The vector store did not answer. The message is a sentence for users; only search by vectors depends on it."""


class Chroma:
    """A client of one server. It connects at the first call.

    `timeout_s`: the timeout of one call in seconds, connecting included, and the time limit of its retries. Every
    method raises VectorsDown when the server does not answer in that time. `token` is sent as `Authorization: Bearer`.
    """

    def __init__(self, url: str, timeout_s: float, token: str = "") -> None:
        self.url = url
        self._headers = authorization(token)
        self.timeout_s = timeout_s
        self._client: Any = None

    def ask(self, function: Callable[[Any], T]) -> T:
        """The result of a function that takes chromadb's client. Connection errors are retried.

        VectorsDown, without retries, if the server is not Chroma or refuses the call; NotFoundError of a missing
        collection is passed on.
        """
        from chromadb.errors import NotFoundError

        with timed(CHROMA_SECONDS, outcome="failed") as measured:
            try:
                result = self._ask(function)
            except NotFoundError:
                measured["outcome"] = "answered"
                raise
            measured["outcome"] = "answered"
            return result

    def _ask(self, function: Callable[[Any], T]) -> T:
        import httpx
        from chromadb.errors import ChromaError, InternalError, NotFoundError

        started = time.monotonic()
        for attempt in range(ATTEMPTS):
            try:
                return function(self._connected())
            except NotFoundError:
                raise
            except (httpx.TransportError, InternalError, ConnectionError) as error:
                log.info("the vector store at %s: %s, attempt %d", self.url, type(error).__name__, attempt + 1)
                last = error
                if time.monotonic() - started >= self.timeout_s:
                    break
                if attempt + 1 < ATTEMPTS:
                    time.sleep(BACK_OFF_S * 2**attempt * random.uniform(0.5, 1))
            except (ChromaError, httpx.HTTPStatusError, JSONDecodeError) as error:
                name = type(error).__name__
                raise VectorsDown(f"{self.url} is not Chroma, or refuses the call ({name}: {error})") from error
        raise VectorsDown(f"the vector store at {self.url} does not answer ({type(last).__name__})") from last

    def call(self, name: str, method: str, **values: Any) -> Any:
        """The result of a collection's method. chromadb.errors.NotFoundError if the collection does not exist."""
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
        """Write vectors, each shifted by `shifted`. A missing collection is created with that distance."""
        apart = [shifted(id, value, SHIFTS[distance]) for id, value in zip(ids, values, strict=True)]
        configuration = {"hnsw": {"space": distance, **HNSW}}
        # no embedding function: its name would be sent, and servers that accept names run such code (CVE-2026-45829)
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

            # chromadb's first calls have no timeout
            options: dict[str, Any] = {"timeout": self.timeout_s, "headers": self._headers, "trust_env": False}
            answer = httpx.get(f"{self.url}/api/v2/heartbeat", **options)
            if answer.status_code == 401:
                raise VectorsDown(f"{self.url} refuses the token of this machine. {TOKEN_ADVICE}")
            answer.raise_for_status().json()
            try:
                client = chromadb.HttpClient(
                    host=self.url, headers=self._headers, settings=Settings(anonymized_telemetry=False)
                )
            except ValueError as error:  # raised by chromadb for a refused connection
                raise ConnectionError(str(error)) from error
            cast(Any, client)._server._session.timeout = self.timeout_s  # chromadb has no setting for it
            _rename_former(client)
            self._client = client
        return self._client


def shifted(id: str, values: npt.NDArray[np.float32], share: float) -> npt.NDArray[np.float32]:
    """The vector (n,), shifted by `share` of its length in a direction that depends only on its id.

    Equal vectors, as of copies and of still frames, link only to one another in an HNSW graph: if there are more of
    them than a node has links, the rest of the graph cannot be reached from them, nor they from it.
    """
    seed = int.from_bytes(blake2b(id.encode(), digest_size=8).digest(), "big")
    direction = np.random.default_rng(seed).standard_normal(len(values))
    step = share * np.linalg.norm(values) / (np.linalg.norm(direction) or 1.0)
    return (values + step * direction).astype(np.float32)


def authorization(token: str) -> dict[str, str]:
    """The headers that show a token; none without one."""
    return {"Authorization": f"Bearer {token}"} if token else {}


def stored_forms(id: str, values: npt.NDArray[np.float32], distance: str) -> list[npt.NDArray[np.float32]]:
    """The float32 vectors that Chroma's files hold of a vector (n,) written by `upsert`, to search for their bytes.

    Its log has the shifted vector. An index by cosine has that divided by its length, computed as hnswlib does.
    """
    written = shifted(id, values, SHIFTS[distance])
    one = np.float32(1)
    length = np.sqrt(np.cumsum(written * written, dtype=np.float32)[-1])  # summed up one by one, as there
    return [written, *([written * (one / length)] if distance == "cosine" and length else [])]


def _rename_former(client: Any) -> None:
    """Rename collections that have a former name of their space; their vectors are kept.

    If both names exist (an older version ran in between), the old collection is kept but no longer searched.
    """
    names = {collection.name for collection in client.list_collections()}
    for name in names:
        space, _, length = name.partition("-")
        current = collection_name(current_space(space), int(length)) if length.isdigit() else name
        if current not in names:
            client.get_collection(name, embedding_function=None).modify(name=current)
