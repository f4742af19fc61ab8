"""The files nearest to some vectors, of those that a search may return."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from cluster.access.identity import Prefixes
from cluster.api_queries import AssetFilter
from cluster.chroma.neighbours import MOST_FETCHED, Hit
from cluster.records import Space
from cluster.vectors import Vectors, VectorsDown

T = TypeVar("T")

STORE_DEADLINE_S = 5.0  # of a query to the vector store, while a person waits
STORE_THREADS = 8
MOST_UNANSWERED = 40  # queries in flight to the vector store; further ones are refused
MOST_NAMED = 2000  # files whose vectors are compared one by one, instead of asking the index, which knows no filters


@dataclass(frozen=True, slots=True)
class Scope:
    """The files that a search may return: those that pass the filters, under the prefixes, which include the case."""

    query: AssetFilter = field(default_factory=AssetFilter)
    within: Prefixes = None

    @property
    def is_everything(self) -> bool:
        """Whether every file may be returned."""
        filters = set(AssetFilter.model_fields) - {"case"}
        return self.within is None and not self.query.model_dump(include=filters, exclude_defaults=True)


@dataclass(frozen=True, slots=True)
class Near:
    """The nearest files, best first. `compared`: vectors that were looked at."""

    hits: list[Hit]
    compared: int
    is_cut: bool = False  # more files pass the filters, and may be as near: they were not compared

    @property
    def note(self) -> str | None:
        """What to say if the search was cut."""
        if not self.is_cut:
            return None
        return (
            f"too many files pass the filters to compare each of them: only the nearest {self.compared:,} vectors were "
            "looked at. Narrow the filters to compare every file"
        )


class NearFiles:
    """Asks the vector store, from threads of its own, so that hanging calls block nothing else, and the catalogue."""

    def __init__(self, catalog: Any, vectors: Vectors) -> None:
        """`catalog`: the handle of a Catalog."""
        self.catalog = catalog
        self.vectors = vectors
        self._threads = ThreadPoolExecutor(STORE_THREADS, "chroma")
        self._unanswered = 0  # questions that the vector store has still to answer

    async def near(
        self,
        space: Space,
        vectors: Sequence[Sequence[float]],
        limit: int,
        scope: Scope,
        least: float = 0.0,
        accepts: Callable[[Hit], bool] = lambda hit: True,
    ) -> Near:
        """The files nearest to any of these vectors, with a score of `least` and accepted, at most `limit`.

        If few files pass the filters, all of them are compared. Else more and more neighbours are fetched, until
        `limit` of them pass, none with that score is left, or MOST_FETCHED have been looked at. VectorsDown if the
        store does not answer.
        """
        if scope.is_everything:
            found = await self.ask_store(self.vectors.neighbours, space, vectors, limit, least, accepts)
            return Near(found.hits[:limit], found.compared)
        ids = await self.catalog.ids.remote(scope.query, MOST_NAMED + 1, scope.within)
        if len(ids) <= MOST_NAMED:
            compared = await self.ask_store(self.vectors.compared, space, vectors, ids, least, accepts)
            if compared is not None:
                return Near(compared.hits[:limit], compared.compared)
        asked = limit
        while True:
            found = await self.ask_store(self.vectors.neighbours, space, vectors, asked, least, accepts)
            passing = await self.catalog.passing.remote([hit.asset for hit in found.hits], scope.query, scope.within)
            hits = [hit for hit in found.hits if hit.asset in passing]
            if len(hits) >= limit or found.is_whole or asked >= MOST_FETCHED:
                return Near(hits[:limit], found.compared, len(hits) < limit and not found.is_whole)
            asked = min(MOST_FETCHED, 4 * asked)

    async def ask_store(self, question: Callable[..., T], *values: Any) -> T:
        """The answer of a method of Vectors. VectorsDown if it is late, or if too many queries are unanswered."""
        if self._unanswered >= MOST_UNANSWERED:
            raise VectorsDown(f"the vector store has {self._unanswered} questions to answer first")
        self._unanswered += 1
        try:
            answer = asyncio.wrap_future(self._threads.submit(question, *values))
            return await asyncio.wait_for(answer, STORE_DEADLINE_S)
        except TimeoutError:
            raise VectorsDown(f"the vector store does not answer within {STORE_DEADLINE_S:.0f} s") from None
        finally:
            self._unanswered -= 1
