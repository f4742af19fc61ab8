"""Search by words, by a picture or by a face: which vectors are compared, and what to say where there are none."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from typing import Any, TypeVar

from fastapi import HTTPException
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from cluster.api_queries import By
from cluster.records import Failure, Result, Sample
from cluster.vectors import MOST_FETCHED, Hit, Vectors, VectorsDown
from deployments.detector import DetectorConfig

Json = dict[str, Any]
Within = Sequence[str] | None  # prefixes of the files that the caller may see; None: all files
T = TypeVar("T")

log = logging.getLogger(__name__)

STORE_DEADLINE_S = 5.0  # of a query to the vector store, while a person waits
STORE_THREADS = 8
MOST_UNANSWERED = 40  # queries in flight to the vector store; further ones are refused
CATALOG_DEADLINE_S = 10.0  # of a search for exact words
MEANING_DEADLINE_S = 20.0  # of a search by meaning: clip may be busy with a scan

MAKER = {"image": "clip", "faces": "face"}  # space -> the detector that makes its vectors
MATCHED = {"ocr": "text", "whisper": "speech", "clip": "picture", "image": "image", "faces": "face"}
FRAMES = 4  # of a video, that represent it in a search by similarity
MOST_BYTES = 64 << 20  # of a picture to search by

NOT_INDEXED = "nothing is indexed yet by the model that runs here: scan first, and again after a change of model"
NO_VECTOR = {
    "image": "that file has no image vector to compare: it is not indexed yet, or it is only sound",
    "faces": "that file has no face to compare: it is not indexed yet, or no face in it is large and clear enough",
}


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found, best first, and which parts of it could not be searched, each in a sentence with the reason.

    Hits are {"asset": an id, "score", "matched", "text", "time_s"}.
    """

    hits: list[Json]
    notes: list[str] = field(default_factory=list)


class Search:
    """Asks the detectors for vectors, the vector store for their neighbours, and the catalogue for exact words.

    The vector store is called from threads of its own, so that hanging calls block nothing else. Every method raises
    HTTPException with a sentence for what cannot be searched, and VectorsDown when a search by likeness gets no answer.
    """

    def __init__(self, detectors: Any, catalog: Any, vectors: Vectors, configs: Mapping[str, DetectorConfig]) -> None:
        self.detectors = detectors  # as ServedDetectors
        self.catalog = catalog  # the handle of a Catalog
        self.vectors = vectors
        self.configs = configs
        self._threads = ThreadPoolExecutor(STORE_THREADS, "chroma")
        self._unanswered = 0  # questions that the vector store has still to answer

    async def words(self, words: str, limit: int, within: Within = None) -> Found:
        """Files that contain the words, then pictures, text and speech of similar meaning.

        Both are searched at the same time. Where one of them gets no answer, the other's hits are returned with a note.
        HTTPException 503 if both fail, 404 if nothing is indexed and no file contains the words.
        """
        notes: list[str] = []
        exact = asyncio.ensure_future(self.catalog.text_search.remote(words, limit, within))
        literal, near = await asyncio.gather(
            _part("exact words", exact, CATALOG_DEADLINE_S, notes),
            _part("by meaning", self._by_meaning(words, limit, within), MEANING_DEADLINE_S, notes),
        )
        if literal is None and near is None:
            raise HTTPException(503, "; ".join(notes))
        if near is not None and not any(near):
            if not literal and not notes:
                raise HTTPException(404, NOT_INDEXED)
            notes.append(f"by meaning: {NOT_INDEXED}")
        hits = [hit | {"score": 1.0, "matched": "exact text"} for hit in literal or ()]
        hits += [_as_json(hit, MATCHED.get(hit.detector, "text")) for hit in self._near_enough(*(near or ([], [])))]
        first: dict[str, Json] = {}
        for hit in hits:
            first.setdefault(hit["asset"], hit)
        return Found(list(first.values())[:limit], notes)

    async def like(self, asset: str, by: By, limit: int, within: Within = None) -> Found:
        """Other files that look like that one, or show a person seen in it, within the watch list's distance."""
        least = self._least(by)
        own = await self._ask_store(self.vectors.of_asset, by, asset)
        if not own:
            raise HTTPException(404, NO_VECTOR[by])
        if by == "image":
            own = own[:: -(-len(own) // FRAMES)]
        hits = await self._all_near(by, own, least, limit + 1, within)
        return Found([hit for hit in hits if hit["asset"] != asset][:limit])

    def maker(self, by: By) -> str:
        """The detector that makes the vectors of a picture to search by."""
        self._config(MAKER[by], f"search by {by}")
        return MAKER[by]

    async def picture(self, result: Result, by: By, limit: int, within: Within = None) -> Found:
        """Files that look like an analysed upload, or that show a person seen in it."""
        if result.failures:
            raise HTTPException(422, result.failures[0].reason)
        if result.item.kind != "image":
            raise HTTPException(422, f"search takes a picture; that is a file of {result.item.kind}")
        vectors = [vector for finding in result.findings for vector in finding.detection.vectors]
        own = [vector.values for vector in vectors if vector.space == by]
        if own:
            return Found(await self._all_near(by, own, self._least(by), limit, within))
        if by == "image":
            raise HTTPException(422, "the detector clip, as it is set up here, gives no image vectors")
        if result.findings:
            raise HTTPException(422, "no face in that picture is large and clear enough to tell a person by")
        raise HTTPException(422, "there is no face in that picture")

    async def _by_meaning(self, words: str, limit: int, within: Within) -> tuple[list[Hit], list[Hit]]:
        """The nearest texts and pictures; and the nearest pictures alone, where they are searched separately."""
        config: Any = self._config("clip", "search by meaning")
        (answer,) = (await self.detectors.ask(["clip"], [Sample(text=words)]))["clip"].answers
        if isinstance(answer, Failure):
            raise HTTPException(503, f"the detector clip gives no answer: {answer.reason}")
        vector = next((vector for detection in answer for vector in detection.vectors), None)
        if vector is None:
            raise HTTPException(422, "the detector clip, as it is set up here, gives no text vectors")
        spaces = dict.fromkeys([vector.space, config.pictures_in])
        near = await asyncio.gather(*(self._near(space, vector.values, limit, within) for space in spaces))
        return near[0], near[1] if len(near) > 1 else []

    def _near_enough(self, near: Sequence[Hit], pictures: Sequence[Hit]) -> list[Hit]:
        """The hits above the least score. Where pictures are searched separately, they alternate with texts."""
        if not near and not pictures:
            return []
        config: Any = self.configs["clip"]
        least = {"clip": config.least_alike}
        close = [hit for hit in near if hit.score >= least.get(hit.detector, config.least_alike_text)]
        if config.pictures_in == "text":
            return close
        texts = [hit for hit in close if hit.detector != "clip"]
        shown = [hit for hit in pictures if hit.score >= config.least_alike]
        return [hit for hit in chain.from_iterable(zip_longest(shown, texts)) if hit is not None]

    def _config(self, name: str, purpose: str) -> DetectorConfig:
        if name not in self.configs:
            raise HTTPException(422, f"{purpose} needs the detector {name}; detectors.{name}.enabled switches it off")
        return self.configs[name]

    async def _near(self, space: Any, values: Sequence[float], limit: int, within: Within) -> list[Hit]:
        """The nearest files that the caller may see. More and more are fetched until there are `limit` of them."""
        asked = limit
        while True:
            hits = await self._ask_store(self.vectors.search, space, values, asked)
            if within is None:
                return hits
            visible = await self.catalog.visible.remote([hit.asset for hit in hits], within)
            seen = [hit for hit in hits if hit.asset in visible]
            if len(seen) >= limit or len(hits) < asked or asked >= MOST_FETCHED:
                return seen[:limit]
            asked = min(MOST_FETCHED, 4 * asked)

    async def _ask_store(self, question: Callable[..., T], *values: Any) -> T:
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

    def _least(self, by: By) -> float:
        """The least score of a hit: for faces that of the same person, for images 0."""
        config: Any = self._config(MAKER[by], f"search by {by}")
        return 1 - config.distance if by == "faces" else 0.0

    async def _all_near(
        self, by: By, own: Sequence[Sequence[float]], least: float, limit: int, within: Within
    ) -> list[Json]:
        """Neighbours of any of these vectors; each file once, by its best."""
        if within is None:
            near = await self._ask_store(lambda: [self.vectors.search(by, values, limit) for values in own])
        else:
            near = [await self._near(by, values, limit, within) for values in own]
        if not any(near):
            raise HTTPException(404, NOT_INDEXED)
        best: dict[str, Hit] = {}
        for hit in sorted(chain.from_iterable(near), key=lambda hit: -hit.score):
            best.setdefault(hit.asset, hit)
        return [_as_json(hit, MATCHED[by]) for hit in best.values() if hit.score >= least][:limit]


async def _part(name: str, answer: Awaitable[T], deadline_s: float, notes: list[str]) -> T | None:
    """The answer of one part of a search. None, and a note that says why, if the part fails or is late."""
    try:
        return await asyncio.wait_for(answer, deadline_s)
    except TimeoutError:
        notes.append(f"{name}: no answer within {deadline_s:.0f} s")
    except HTTPException as error:
        notes.append(f"{name}: {error.detail}")
    except VectorsDown as error:
        notes.append(f"{name}: {error}")
    except (RayError, RayServeException) as error:
        log.warning("search, %s: %s", name, error)
        notes.append(f"{name}: not available ({type(error).__name__})")
    return None


def _as_json(hit: Hit, matched: str) -> Json:
    return {
        "asset": hit.asset,
        "score": hit.score,
        "matched": matched,
        "detector": hit.detector,
        "text": hit.text,
        "time_s": hit.time_s,
    }
