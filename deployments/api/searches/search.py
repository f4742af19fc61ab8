"""Search by words, by a picture or by a face: which vectors are compared, and what to say where there are none."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, zip_longest
from typing import Any, TypeVar

from fastapi import HTTPException
from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import RayServeException

from cluster.access.pictures import MOST_SEARCHED
from cluster.api_queries import By
from cluster.chroma.neighbours import Hit
from cluster.errors import SettingsError
from cluster.records import Detection, Failure, Result, Sample
from cluster.vectors import Vectors, VectorsDown
from deployments.api.searches.fusion import fused
from deployments.api.searches.near import Near, NearFiles, Scope
from deployments.detector import DetectorConfig

Json = dict[str, Any]
Values = tuple[tuple[float, ...], ...]  # of vectors
T = TypeVar("T")

log = logging.getLogger(__name__)

CATALOG_DEADLINE_S = 10.0  # of a search for exact words
MEANING_DEADLINE_S = 20.0  # of a search by meaning: clip may be busy with a scan

MAKER = {"image": "clip", "faces": "face"}  # space -> the detector that makes its vectors
MATCHED = {"ocr": "text", "whisper": "speech", "clip": "picture", "image": "image", "faces": "face"}
SHORT = 3  # words: a text of so many is nearer to nonsense than a longer one
EXACT = "exact text"  # `matched` of a file that contains the words
RANKED = 100  # hits of words and of a picture, at least, that are ranked together, and twice as many as are shown
FRAMES = 4  # of a video, that represent it in a search by similarity
# Three letters in a row, or two signs of East Asian scripts: other texts, such as "●" or "*x K", are mostly misread
# patterns. Their vectors are near to those of any nonsense.
_WORD = re.compile(r"[^\W\d_]{3}|[\u2e80-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff]{2}")

EVERYTHING = Scope()
NOT_INDEXED = "nothing is indexed yet by the model that runs here: scan first, and again after a change of model"
NO_VECTOR = {
    "image": "that file has no image vector to compare: it is not indexed yet, or it is only sound",
    "faces": "that file has no face to compare: it is not indexed yet, or no face in it is large and clear enough",
}


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found: files with the words, then similar ones, each part best first.

    Hits are {"asset": an id, "score", "matched", "text", "time_s"}. `notes`: the parts that could not be searched, or
    not completely, each in a sentence with the reason.
    """

    hits: list[Json]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture to search by: its vectors in one space. `file`: the id of the file that it is, or is a part of."""

    by: By
    vectors: Values
    file: str | None = None


class Search:
    """Asks the detectors for vectors, the vector store for their neighbours, and the catalogue for exact words.

    Every method raises HTTPException with a sentence for what cannot be searched, and VectorsDown when a search by
    likeness gets no answer.
    """

    def __init__(self, detectors: Any, catalog: Any, vectors: Vectors, configs: Mapping[str, DetectorConfig]) -> None:
        self.detectors = detectors  # as ServedDetectors
        self.catalog = catalog  # the handle of a Catalog
        self.files = NearFiles(catalog, vectors)
        self.configs = configs

    async def words(self, words: str, limit: int, scope: Scope = EVERYTHING) -> Found:
        """`limit` files that contain the words, then `limit` others of which a picture, text or speech is similar.

        Both are searched at the same time. Where one of them gets no answer, the other's hits are returned with a note.
        HTTPException 503 if both fail, 404 if nothing is indexed and no file contains the words.
        """
        notes: list[str] = []
        exact = asyncio.ensure_future(self.catalog.text_search.remote(words, limit, scope.query, scope.within))
        parts: list[Any] = [_part("exact words", exact, CATALOG_DEADLINE_S, notes)]
        if _WORD.search(words):  # anything is similar to what is no word
            parts.append(_part("by meaning", self._by_meaning(words, limit, scope), MEANING_DEADLINE_S, notes))
        literal, near = (*await asyncio.gather(*parts), None)[:2]
        if literal is None and near is None:
            raise HTTPException(503, "; ".join(notes))
        if near is not None and scope.is_everything and not any(part.compared for part in near):
            if not literal and not notes:
                raise HTTPException(404, NOT_INDEXED)
            notes.append(f"by meaning: {NOT_INDEXED}")
        notes += [f"by meaning: {part.note}" for part in near or () if part.note]
        hits = {hit["asset"]: hit | {"score": 1.0, "matched": EXACT} for hit in literal or ()}
        for hit in _alternating(near or ()):
            if len(hits) < limit + len(literal or ()):
                hits.setdefault(hit.asset, _as_json(hit, MATCHED.get(hit.detector, "text")))
        return Found(list(hits.values()), notes)

    async def words_with(self, words: str, shown: Shown, limit: int, scope: Scope = EVERYTHING) -> Found:
        """`limit` files that contain the words, then `limit` others that are similar to them, to the picture, or both.

        Those are ranked by `fused`. If the picture cannot be compared, the hits of the words are returned with a note.
        """
        notes: list[str] = []
        # of each more than are shown: a file may be far down in one ranking, and have a good place in both together
        most = max(RANKED, 2 * limit)
        alike = _part("by the picture", self.by_picture(shown, most, scope), MEANING_DEADLINE_S, notes)
        of_words, of_picture = await asyncio.gather(self.words(words, most, scope), alike)
        exact = [hit for hit in of_words.hits if hit["matched"] == EXACT]
        known = {hit["asset"] for hit in exact}
        rankings = [
            [hit for hit in hits if hit["asset"] not in known and hit["asset"] != shown.file]
            for hits in (of_picture.hits if of_picture else [], of_words.hits)
        ]
        notes += [*of_words.notes, *(of_picture.notes if of_picture else ())]
        return Found([*exact[:limit], *fused(rankings)[:limit]], notes)

    async def of_file(self, asset: str, by: By) -> Shown:
        """What a scanned file shows, by its vectors in the vector store. HTTPException 404 if it has none there."""
        self.maker(by)
        own = await self.files.ask_store(self.files.vectors.of_asset, by, asset)
        if not own:
            raise HTTPException(404, NO_VECTOR[by])
        if by == "image":
            own = own[:: -(-len(own) // FRAMES)]
        return Shown(by, tuple(own), asset)

    def maker(self, by: By) -> str:
        """The detector that makes the vectors of a picture to search by."""
        self._config(MAKER[by], f"search by {by}")
        return MAKER[by]

    def vectors_of(self, result: Result, by: By) -> Values:
        """The vectors of an analysed upload by which its like is searched, those of the largest faces first.

        At most MOST_SEARCHED: each is a question to the vector store. HTTPException 422 if there is none.
        """
        if result.failures:
            raise HTTPException(422, result.failures[0].reason)
        if result.item.kind != "image":
            raise HTTPException(422, f"search takes a picture; that is a file of {result.item.kind}")
        largest = sorted((finding.detection for finding in result.findings), key=_size, reverse=True)
        own = tuple(vector.values for found in largest for vector in found.vectors if vector.space == by)
        if own:
            return own[:MOST_SEARCHED]
        if by == "image":
            raise HTTPException(422, "the detector clip, as it is set up here, gives no image vectors")
        if result.findings:
            raise HTTPException(422, "no face in that picture is large and clear enough to tell a person by")
        raise HTTPException(422, "there is no face in that picture")

    async def by_picture(self, shown: Shown, limit: int, scope: Scope = EVERYTHING) -> Found:
        """Files that are near to any of its vectors: within the watch list's distance of a face, or above the floor
        of image vectors. The file that it is of is not found.
        """
        by = shown.by
        config: Any = self._config(MAKER[by], f"search by {by}")
        least = 1 - config.distance if by == "faces" else config.least_alike_image
        near = await self.files.near(by, shown.vectors, limit + (shown.file is not None), scope, least)
        if not near.compared and scope.is_everything:
            raise HTTPException(404, NOT_INDEXED)
        hits = [_as_json(hit, MATCHED[by]) for hit in near.hits if hit.asset != shown.file]
        return Found(hits[:limit], [near.note] if near.note else [])

    async def _by_meaning(self, words: str, limit: int, scope: Scope) -> list[Near]:
        """The nearest pictures and texts; pictures apart from texts where they are searched separately."""
        config: Any = self._config("clip", "search by meaning")
        (answer,) = (await self.detectors.ask(["clip"], [Sample(text=words)]))["clip"].answers
        if isinstance(answer, Failure):
            raise HTTPException(503, f"the detector clip gives no answer: {answer.reason}")
        vector = next((vector for detection in answer for vector in detection.vectors), None)
        if vector is None:
            raise HTTPException(422, "the detector clip, as it is set up here, gives no text vectors")
        # twice as many, so that enough are left beside those that contain the words
        search = partial(self.files.near, vectors=[vector.values], limit=2 * limit, scope=scope)
        least_of_text = min(config.least_alike_text, config.least_alike_word)
        if config.pictures_in == "text":
            least = min(config.least_alike, least_of_text)
            accepts = lambda hit: hit.score >= config.least_alike if hit.detector == "clip" else _is_text(hit, config)  # noqa: E731
            return [await search(vector.space, least=least, accepts=accepts)]
        is_text = lambda hit: hit.detector != "clip" and _is_text(hit, config)  # noqa: E731
        pictures = search(config.pictures_in, least=config.least_alike)
        return list(await asyncio.gather(pictures, search(vector.space, least=least_of_text, accepts=is_text)))

    def _config(self, name: str, purpose: str) -> DetectorConfig:
        if name not in self.configs:
            raise HTTPException(422, f"{purpose} needs the detector {name}; detectors.{name}.enabled switches it off")
        return self.configs[name]


def _size(found: Detection) -> float:
    """The share of the picture that a detection takes; 0 for one without a place."""
    return 0.0 if found.box is None else (found.box[2] - found.box[0]) * (found.box[3] - found.box[1])


def _is_text(hit: Hit, config: Any) -> bool:
    text = hit.text or ""
    least = config.least_alike_text if len(text.split()) > SHORT else config.least_alike_word
    return hit.score >= least and _WORD.search(text) is not None


def _alternating(parts: Sequence[Near]) -> list[Hit]:
    """The hits of all parts, the best of each first."""
    return [hit for hit in chain.from_iterable(zip_longest(*(part.hits for part in parts))) if hit is not None]


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
        if isinstance(error, RayTaskError) and isinstance(error.cause, SettingsError):
            raise  # the filters are wrong, not the part
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
