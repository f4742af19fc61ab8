"""The API's routes for what a file shows: thumbnail, original, copies for browsers, what it says about itself."""

# No `from __future__ import annotations` here: FastAPI could not resolve the types of a pickled class.
import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, NamedTuple

from fastapi import Header, HTTPException, Query, Request, Response

from cluster.access.identity import Identity
from cluster.api_types import Properties
from cluster.records import Kind
from cluster.settings import Settings
from cluster.storage.roots import Roots
from deployments.access import blurring
from deployments.access.client_address import address
from deployments.access.purposes import purpose
from deployments.access.roles import Reviewer, Viewer
from deployments.api import media
from deployments.api.app import api
from deployments.api.calls import TimedHandle
from deployments.jobs.job import settings_of

COPIES = 2  # that one API process makes at a time, each in a process of its own that takes a core
_Seconds = Annotated[float, Query(ge=0, le=1e6, allow_inf_nan=False)]


class Original(NamedTuple):
    """Where an original lies, and the settings with which its job may read it."""

    uri: str
    parent: str | None
    kind: Kind
    settings: Settings


class MediaRoutes:
    """The routes of media; the API that inherits them has the catalogue, the jobs, the access and the originals."""

    settings: Settings
    access: TimedHandle
    catalog: TimedHandle
    jobs: TimedHandle
    originals: media.Originals
    viewed: media.Viewed
    copying: media.Turns

    @api.get("/v1/assets/{asset}/thumbnail", response_class=Response, responses=media.JPEG)
    async def thumbnail(self, asset: str, who: Viewer) -> Response:
        """A JPEG of at most 320 px. For a viewer it is blurred where the file is explicit or shows faces."""
        found = await self.catalog.thumbnail.remote(asset, who.prefixes)
        if found is None:
            raise HTTPException(404, "it has no thumbnail")
        shown = found["jpeg"] if who.may("reviewer") else await asyncio.to_thread(blurring.for_viewer, found)
        return Response(shown, media_type="image/jpeg", headers=media.PRIVATE)

    @api.get("/v1/assets/{asset}/media", response_class=Response, responses=media.ANY_TYPE)
    async def file(
        self, asset: str, range: Annotated[str | None, Header()] = None, *, request: Request, who: Viewer
    ) -> Response:
        """The file itself, or the part of it that a Range header asks for; of a member of a container, the member.

        A viewer gets the thumbnail of a picture, blurred, and no other media.
        """
        if not who.may("reviewer") and (await self._location(asset, who))["kind"] == "image":
            return await self.thumbnail(asset, who)
        uri, parent, _, settings = await self.original(asset, request, who)
        if parent is not None:
            open_member = self.originals.open_member
            return await asyncio.to_thread(media.answer_member, uri, parent, range, open_member, settings)
        roots = Roots(settings.scanning.roots)
        return await asyncio.to_thread(media.answer, uri, range, settings.s3_endpoint, roots)

    @api.get("/v1/assets/{asset}/playable", response_class=Response, responses=media.COPY)
    async def playable(self, asset: str, from_s: _Seconds = 0.0, *, request: Request, who: Reviewer) -> Response:
        """What a browser can show in place of the original: half a minute of a recording from a second on, as MP4.

        Of a picture, a JPEG of at most 4096 px. It is made while it is sent, and is not stored. 416: it ends before.
        """
        uri, parent, kind, settings = await self.original(asset, request, who)
        if kind == "image":
            async with self.copying:
                jpeg = await media.decoded(uri, partial(self.originals.picture, uri, parent, settings))
            return Response(jpeg, media_type="image/jpeg", headers=media.PRIVATE)
        await self.copying.take()
        try:
            part = self.originals.part(uri, parent, from_s, settings)
            media_type = await media.decoded(uri, partial(next, part, None))
            if media_type is None:
                raise HTTPException(416, f"{uri} ends before {from_s:g} s")
        except BaseException:
            self.copying.release()
            raise
        return media.Streamed(part, str(media_type), self.copying)

    @api.get("/v1/assets/{asset}/frame", response_class=Response, responses=media.JPEG)
    async def frame(self, asset: str, at_s: _Seconds = 0.0, *, request: Request, who: Reviewer) -> Response:
        """The frame of a video that is shown at a second, as JPEG. It is decoded for this request and not stored."""
        uri, parent, kind, settings = await self.original(asset, request, who)
        if kind != "video":
            raise HTTPException(422, f"{uri} is no video")
        async with self.copying:
            jpeg = await media.decoded(uri, partial(self.originals.still, uri, parent, at_s, settings))
        return Response(jpeg, media_type="image/jpeg", headers=media.PRIVATE)

    @api.get("/v1/assets/{asset}/properties")
    async def properties(self, asset: str, who: Reviewer) -> Properties:
        """What a picture or recording says about itself (EXIF, tags): read from the original for this request."""
        uri, parent, kind, settings = await self._readable(await self._location(asset, who), who)
        read = partial(self.originals.properties, uri, parent, kind, settings)
        async with self.copying:
            return Properties(**await media.decoded(uri, read))

    async def _location(self, asset: str, who: Identity) -> dict[str, Any]:
        """The row of `Catalog.location`. HTTPException 404 if there is none, or it is no file that has media."""
        row: dict[str, Any] | None = await self.catalog.location.remote(asset, who.prefixes)
        if row is None:
            raise HTTPException(404, f"no file {asset!r} has been scanned")
        if row["kind"] is None:
            uri = row["uri"]
            raise HTTPException(404, f"{uri} is no picture, video or recording that Raysift can read: it has no media")
        return row

    async def original(self, asset: str, request: Request, who: Identity) -> Original:
        """An original that the caller may see, once it is recorded that it is viewed. HTTPException 403, 404."""
        row = await self._location(asset, who)
        if not who.may("reviewer"):
            raise HTTPException(403, f"the original of a {row['kind']} needs the role reviewer. Ask an admin for it.")
        where, why = address(request), purpose(request, self.settings.access, needed=blurring.is_explicit(row))
        file = row["id"]  # the caller may have written the id in another form: the log is searched for this one
        record = partial(self.access.record.remote, who, "original viewed", file, where, **why)
        await self.viewed.once(who, file, record)  # it is on disk before the first byte is sent
        return await self._readable(row, who)

    async def _readable(self, row: Mapping[str, Any], who: Identity) -> Original:
        return Original(row["uri"], row.get("parent"), row["kind"], await self.readable(row, who))

    async def readable(self, row: Mapping[str, Any], who: Identity) -> Settings:
        """The settings with which a caller may read the original of a file of `Catalog.location`."""
        job = await self.jobs.one.remote(row["job"])
        return settings_of(job, self.settings, who.prefixes)  # a link may lead from one case into another
