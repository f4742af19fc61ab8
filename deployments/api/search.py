"""Files found by words, by a picture or by a face: which vectors are compared, and what to say where there are none."""

import asyncio
from collections.abc import Mapping, Sequence
from itertools import chain, zip_longest
from typing import Annotated, Any, Literal

from fastapi import HTTPException
from pydantic import BeforeValidator

from cluster.records import Failure, Result, Sample, Vector, current_space
from cluster.vectors import Hit, Vectors
from deployments.detector import DetectorConfig

# The vector space that is compared; addresses kept from before 0.2 say "looks" for "image".
By = Annotated[Literal["image", "faces"], BeforeValidator(current_space)]
Json = dict[str, Any]

MAKER = {"image": "clip", "faces": "face"}  # of the vectors of a space
MATCHED = {"ocr": "text", "whisper": "speech", "clip": "picture", "image": "image", "faces": "face"}
FRAMES = 4  # frames of a video that stand for it when others are to look like it
MOST_BYTES = 64 << 20  # of a picture to search by

NOT_INDEXED = "nothing is indexed yet by the model that runs here: scan first, and again after a change of model"
NO_VECTOR = {
    "image": "that file has no image vector to compare: it is not indexed yet, or it is only sound",
    "faces": "that file has no face to compare: it is not indexed yet, or no face in it is large and clear enough",
}


class Search:
    """Asks the detectors for vectors, the vector store for their neighbours, and the catalogue for exact words.

    Hits are {"asset": an id, "score", "matched", "text", "time_s"}, best first. Every method raises HTTPException with
    a sentence for what cannot be searched, and VectorsDown.
    """

    def __init__(self, detectors: Any, catalog: Any, vectors: Vectors, configs: Mapping[str, DetectorConfig]) -> None:
        self.detectors = detectors  # as ServedDetectors
        self.catalog = catalog  # the handle of a Catalog
        self.vectors = vectors
        self.configs = configs

    async def words(self, words: str, limit: int) -> list[Json]:
        """Exact words first; then pictures, text and speech that are about them.

        Where a model's texts lie nearer to one another than to pictures, the two are asked for apart and take turns.
        """
        config: Any = self._config("clip", "search by words")
        literal = await self.catalog.text_search.remote(words, limit)
        vector = await self._worded(words)
        near = await self._near(vector.space, vector.values, limit)
        pictures = near
        if config.pictures_in != vector.space:
            pictures = await self._near(config.pictures_in, vector.values, limit)
        if not (literal or near or pictures):
            raise HTTPException(404, NOT_INDEXED)
        exact = [hit | {"score": 1.0, "matched": "exact text"} for hit in literal]
        least = {"clip": config.least_alike}
        alike = [hit for hit in near if hit.score >= least.get(hit.detector, config.least_alike_text)]
        if pictures is not near:
            said = [hit for hit in alike if hit.detector != "clip"]
            shown = [hit for hit in pictures if hit.score >= config.least_alike]
            alike = [hit for hit in chain.from_iterable(zip_longest(shown, said)) if hit is not None]
        found = {hit["asset"]: hit for hit in exact}
        for hit in alike:
            found.setdefault(hit.asset, _told(hit, MATCHED.get(hit.detector, "text")))
        return list(found.values())[:limit]

    async def like(self, asset: str, by: By, limit: int) -> list[Json]:
        """Other files that look like that one, or in which a person of its is seen, as near as the watch list asks."""
        least = self._least(by)
        own = await asyncio.to_thread(self.vectors.of_asset, by, asset)
        if not own:
            raise HTTPException(404, NO_VECTOR[by])
        if by == "image":
            own = own[:: -(-len(own) // FRAMES)]
        return [hit for hit in await self._all_near(by, own, least, limit + 1) if hit["asset"] != asset][:limit]

    def maker(self, by: By) -> str:
        """The detector that can tell the vectors of a picture to search by."""
        self._config(MAKER[by], f"search by {by}")
        return MAKER[by]

    async def picture(self, result: Result, by: By, limit: int) -> list[Json]:
        """Files that look like an analysed upload, or in which a person of its is seen."""
        if result.failures:
            raise HTTPException(422, result.failures[0].reason)
        if result.item.kind != "image":
            raise HTTPException(422, f"search takes a picture; that is a file of {result.item.kind}")
        found = [vector for finding in result.findings for vector in finding.detection.vectors]
        own = [vector.values for vector in found if vector.space == by]
        if own:
            return await self._all_near(by, own, self._least(by), limit)
        if by == "image":
            raise HTTPException(422, "the detector clip, as it is set up here, gives no image vectors")
        if result.findings:
            raise HTTPException(422, "no face in that picture is large and clear enough to tell a person by")
        raise HTTPException(422, "there is no face in that picture")

    def _config(self, name: str, purpose: str) -> DetectorConfig:
        if name not in self.configs:
            raise HTTPException(422, f"{purpose} needs the detector {name}; detectors.{name}.enabled switches it off")
        return self.configs[name]

    async def _worded(self, words: str) -> Vector:
        (answer,) = (await self.detectors.ask(["clip"], [Sample(text=words)]))["clip"].answers
        if isinstance(answer, Failure):
            raise HTTPException(503, f"search by words needs the detector clip: {answer.reason}")
        return next(vector for detection in answer for vector in detection.vectors)

    async def _near(self, space: Any, values: Sequence[float], limit: int) -> list[Hit]:
        return await asyncio.to_thread(self.vectors.search, space, values, limit)

    def _least(self, by: By) -> float:
        """The score of a hit at least: another person's face is none; looks are alike by degrees."""
        config: Any = self._config(MAKER[by], f"search by {by}")
        return 1 - config.distance if by == "faces" else 0.0

    async def _all_near(self, by: By, own: Sequence[Sequence[float]], least: float, limit: int) -> list[Json]:
        """Neighbours of any of these vectors, each file by its best."""
        near = await asyncio.to_thread(lambda: [self.vectors.search(by, values, limit) for values in own])
        if not any(near):
            raise HTTPException(404, NOT_INDEXED)
        best: dict[str, Hit] = {}
        for hit in sorted(chain.from_iterable(near), key=lambda hit: -hit.score):
            best.setdefault(hit.asset, hit)
        return [_told(hit, MATCHED[by]) for hit in best.values() if hit.score >= least][:limit]


def _told(hit: Hit, matched: str) -> Json:
    return {"asset": hit.asset, "score": hit.score, "matched": matched, "text": hit.text, "time_s": hit.time_s}
