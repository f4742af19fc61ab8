"""The API's routes for searches: by words, by a file, by an upload."""

# No `from __future__ import annotations` here: FastAPI could not resolve the types of a pickled class.
from typing import Annotated

from fastapi import HTTPException, Query, Request
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from cluster.access.identity import Identity
from cluster.access.pictures import MOST_SEARCHED, Picture
from cluster.api_queries import LikenessQuery, SearchQuery
from cluster.api_types import Hits
from deployments.access.client_address import address
from deployments.access.purposes import purpose
from deployments.access.roles import Viewer
from deployments.api import face_records, uploads
from deployments.api.app import api
from deployments.api.calls import TimedHandle
from deployments.api.cases.routes import CaseRoutes
from deployments.api.searches.near import Scope
from deployments.api.searches.search import Found, Search
from deployments.api.upload_routes import UploadRoutes

GONE = "that picture is not kept any more, or somebody else has sent it: choose the picture again"
MOST_BYTES = 64 << 20  # of a picture to search by
CROWD = f"of a picture with many faces, the {MOST_SEARCHED} largest are searched by"


class SearchRoutes(CaseRoutes, UploadRoutes):
    """The routes of searches; the API that inherits them has the catalogue and the searches."""

    access: TimedHandle
    catalog: TimedHandle
    searching: Search

    @api.get("/v1/search")
    async def search(self, query: Annotated[SearchQuery, Query()], request: Request, who: Viewer) -> Hits:
        """Files that match words (shown, written or spoken), or that resemble a file by its image or its faces."""
        scope = Scope(query, await self.within(query.case, who))
        face_of: str | None = None
        if query.like is not None:
            limited_to = who.prefixes  # only then it is looked up: what is not there has no vector either
            if limited_to is not None and await self.catalog.location.remote(query.like, limited_to) is None:
                raise HTTPException(404, f"no file {query.like!r} has been scanned")
            if query.by == "faces":
                face_of = query.like
                await self._record(request, who, face_of)
            found = await self.searching.like(query.like, query.by, query.limit, scope)
        elif query.picture is not None:
            kept: Picture | None = await self.access.picture.remote(who.owner, query.picture)
            if kept is None:
                raise HTTPException(404, GONE)
            if kept.space == "faces":
                face_of = kept.sha256
                await self._record(request, who, face_of)
            found = await self._by_picture(kept, query.limit, scope)
        else:
            found = await self.searching.words(str(query.q), query.limit, scope)
        return await self._shown(found, who, request, query.picture, face_of)

    @api.post("/v1/search", openapi_extra=uploads.FORM, max_body_size=uploads.NO_LIMIT)
    async def search_by_picture(self, request: Request, query: Annotated[LikenessQuery, Query()], who: Viewer) -> Hits:
        """Files that look like an uploaded picture, or that show a person seen in it.

        The upload is not kept. Its vectors are, in memory and for an hour, so that the same caller may search by them
        again (`picture`).
        """
        scope = Scope(query, await self.within(query.case, who))
        result = await self.analyzed(request, who, frozenset([self.searching.maker(query.by)]), MOST_BYTES)
        picture = Picture(query.by, self.searching.vectors_of(result, query.by), result.sha256 or "")
        found = await self._by_picture(picture, query.limit, scope)
        face_of = picture.sha256 if query.by == "faces" else None
        return await self._shown(found, who, request, await self._kept(who, picture), face_of)

    async def _by_picture(self, picture: Picture, limit: int, scope: Scope) -> Found:
        found = await self.searching.by_vectors(picture.vectors, picture.space, limit, scope)
        notes = [CROWD] if len(picture.vectors) >= MOST_SEARCHED else []
        return Found(found.hits, [*found.notes, *notes])

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
        self, found: Found, who: Identity, request: Request, picture: str | None, face_of: str | None
    ) -> Hits:
        """The hits that the caller may see. Those of the faces of `face_of` are recorded before they are known."""
        ids = [hit["asset"] for hit in found.hits]
        items = {item["id"]: item for item in await self.catalog.items.remote(ids, who.prefixes)}
        hits = [hit | {"asset": items[hit["asset"]]} for hit in found.hits if hit["asset"] in items]
        shown = Hits(hits=hits, notes=tuple(found.notes), picture=picture)
        if face_of is not None:
            models, where = self.detectors.model_versions, address(request)
            await face_records.record_matches(self.access, models, who, face_of, where, shown)
        return shown
