"""The API's routes for searches: by words, by a file, by an upload, by a region of an original."""

# No `from __future__ import annotations` here: FastAPI could not resolve the types of a pickled class.
import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, NamedTuple

from fastapi import HTTPException, Query, Request
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from cluster.access.identity import Identity
from cluster.access.pictures import MOST_SEARCHED, Picture
from cluster.api_queries import LikenessQuery, SearchQuery, read_box
from cluster.api_types import Hits
from deployments.access.client_address import address
from deployments.access.purposes import purpose
from deployments.access.roles import Viewer
from deployments.api import face_records, media, uploads
from deployments.api.app import api
from deployments.api.calls import TimedHandle
from deployments.api.cases.routes import CaseRoutes
from deployments.api.media_routes import Original
from deployments.api.searches.near import Scope
from deployments.api.searches.search import Found, Search, Shown
from deployments.api.upload_routes import UploadRoutes

GONE = "that picture is not kept any more, or somebody else has sent it: choose the picture again"
MOST_BYTES = 64 << 20  # of a picture to search by
CROWD = f"of a picture with many faces, the {MOST_SEARCHED} largest are searched by"


class Sought(NamedTuple):
    """The picture of a search, and what the audit log calls it: the id of a file, or the SHA-256 of an upload."""

    shown: Shown
    named: str
    is_cut: bool = False  # it may have more faces than are searched by


# before the class: serve.ingress pickles the routes with the names that are defined by then
def _of_upload(picture: Picture) -> Sought:
    return Sought(Shown(picture.space, picture.vectors), picture.sha256, len(picture.vectors) >= MOST_SEARCHED)


class SearchRoutes(CaseRoutes, UploadRoutes):
    """The routes of searches; the API that inherits them has the catalogue, the searches and the originals."""

    access: TimedHandle
    catalog: TimedHandle
    searching: Search
    originals: media.Originals
    copying: media.Turns
    original: Callable[[str, Request, Identity], Awaitable[Original]]

    @api.get("/v1/search")
    async def search(self, query: Annotated[SearchQuery, Query()], request: Request, who: Viewer) -> Hits:
        """Files that match words (shown, written or spoken), or that resemble a picture by its image or its faces.

        The picture is a scanned file, an earlier upload, or a region of an original, which needs the role reviewer.
        """
        scope = Scope(query, await self.within(query.case, who))
        sought = await self._sought(query, request, who) if query.has_picture else None
        found = await self._found(query.q, sought, query.limit, scope)
        return await self._shown(found, who, request, query.picture, sought)

    @api.post("/v1/search", openapi_extra=uploads.FORM, max_body_size=uploads.NO_LIMIT)
    async def search_by_picture(self, request: Request, query: Annotated[LikenessQuery, Query()], who: Viewer) -> Hits:
        """Files that look like an uploaded picture, or that show a person seen in it; `q`: or that match these words.

        The upload is not kept. Its vectors are, in memory and for an hour, so that the same caller may search by them
        again (`picture`).
        """
        scope = Scope(query, await self.within(query.case, who))
        result = await self.analyzed(request, who, frozenset([self.searching.maker(query.by)]), MOST_BYTES)
        picture = Picture(query.by, self.searching.vectors_of(result, query.by), result.sha256 or "")
        sought = _of_upload(picture)
        found = await self._found(query.q, sought, query.limit, scope)
        return await self._shown(found, who, request, await self._kept(who, picture), sought)

    async def _sought(self, query: SearchQuery, request: Request, who: Identity) -> Sought:
        """The picture of a query. A search by its faces is recorded before anything is read or compared."""
        if query.asset is not None:
            return await self._of_region(query, request, who)
        if query.like is not None:
            limited_to = who.prefixes  # only then it is looked up: what is not there has no vector either
            if limited_to is not None and await self.catalog.location.remote(query.like, limited_to) is None:
                raise HTTPException(404, f"no file {query.like!r} has been scanned")
            if query.by == "faces":
                await self._record(request, who, query.like)
            return Sought(await self.searching.of_file(query.like, query.by), query.like)
        kept: Picture | None = await self.access.picture.remote(who.owner, query.picture)
        if kept is None:
            raise HTTPException(404, GONE)
        if kept.space == "faces":
            await self._record(request, who, kept.sha256)
        return _of_upload(kept)

    async def _of_region(self, query: SearchQuery, request: Request, who: Identity) -> Sought:
        """A part of an original, which the caller may see: it is read from it for this request, and not stored."""
        asset, maker = str(query.asset), self.searching.maker(query.by)
        original = await self.original(asset, request, who)
        if original.kind not in ("image", "video"):
            raise HTTPException(422, f"{original.uri} is no picture or film: no region of it can be searched by")
        if query.by == "faces":
            await self._record(request, who, asset)
        place = original.uri, original.parent, original.kind, read_box(str(query.box)), query.at_s, original.settings
        with self.quotas.analysing(who, 0), TemporaryDirectory(prefix="raysift-region-") as folder:
            async with self.copying:
                png = await media.decoded(original.uri, partial(self.originals.region, *place))
            path = Path(folder) / "region.png"
            await asyncio.to_thread(path.write_bytes, png)
            result = await self.analyze(path, path.name, frozenset([maker]), self.detectors, self.settings)
        vectors = self.searching.vectors_of(result, query.by)
        return Sought(Shown(query.by, vectors, asset), asset, len(vectors) >= MOST_SEARCHED)

    async def _found(self, words: str | None, sought: Sought | None, limit: int, scope: Scope) -> Found:
        if sought is None:
            return await self.searching.words(str(words), limit, scope)
        if words is None:
            found = await self.searching.by_picture(sought.shown, limit, scope)
        else:
            found = await self.searching.words_with(words, sought.shown, limit, scope)
        return Found(found.hits, [*found.notes, CROWD]) if sought.is_cut else found

    async def _record(self, request: Request, who: Identity, of: str) -> None:
        why = purpose(request, self.settings.access)
        await self.access.record.remote(who, "searched by a face", of, address(request), **why)

    async def _kept(self, who: Identity, picture: Picture) -> str | None:
        """The id by which the caller may search again; None while the head is away, which keeps pictures."""
        try:
            id: str = await self.access.keep_picture.remote(who.owner, picture)
        except (HTTPException, RayError, RayServeException):
            return None
        return id

    async def _shown(
        self, found: Found, who: Identity, request: Request, picture: str | None, sought: Sought | None
    ) -> Hits:
        """The hits that the caller may see. Those of a search by faces are recorded before they are known."""
        ids = [hit["asset"] for hit in found.hits]
        items = {item["id"]: item for item in await self.catalog.items.remote(ids, who.prefixes)}
        hits = [hit | {"asset": items[hit["asset"]]} for hit in found.hits if hit["asset"] in items]
        shown = Hits(hits=hits, notes=tuple(found.notes), picture=picture)
        if sought is not None and sought.shown.by == "faces":
            models, where = self.detectors.model_versions, address(request)
            await face_records.record_matches(self.access, models, who, sought.named, where, shown)
        return shown
