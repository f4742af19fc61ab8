"""The API's route for exports: a stream of the catalogue's lines, which are read part by part."""

# No `from __future__ import annotations` here: FastAPI could not resolve the types of a pickled class.
import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from cluster.access.identity import Prefixes
from cluster.api_queries import ExportQuery
from deployments.access.client_address import address
from deployments.access.roles import Viewer
from deployments.api.app import api
from deployments.api.calls import TimedHandle
from deployments.api.cases.routes import CaseRoutes
from deployments.api.guards.answer_window import STALLED_S
from deployments.api.guards.places import Places
from deployments.api.guards.quotas import Quotas
from deployments.api.media import content_of
from deployments.catalog.exports.formats import FORMATS, Format

MOST = 4  # exports of one API process at a time: each keeps the catalogue busy
DOWNLOAD = content_of(format.media_type for format in FORMATS.values())
HEADERS = {"Cache-Control": "private, no-store", "X-Content-Type-Options": "nosniff"}


class ExportRoutes(CaseRoutes):
    """The route of exports; the API that inherits it has the catalogue and the deployment of the keys."""

    access: TimedHandle
    catalog: TimedHandle
    quotas: Quotas
    exporting = Places()  # for exports that are being prepared or sent

    @api.get("/v1/export", response_class=Response, responses=DOWNLOAD)
    async def export(self, query: Annotated[ExportQuery, Query()], request: Request, who: Viewer) -> StreamingResponse:
        """The files that pass the filters, each with all its detections, as a file to download.

        429 if the caller has its share of them, 503 if MOST are being sent. If an export cannot be continued, or a part
        of it is not read within STALLED_S, the connection is closed before its end.
        """
        with ExitStack() as place:
            place.enter_context(self.quotas.exporting(who))
            place.enter_context(self.exporting.take(MOST, f"{MOST} exports are being sent: try again in a minute", 60))
            within = await self.within(query.case, who)
            filters = query.model_dump(mode="json", exclude_defaults=True, exclude={"format"})
            recorded = {"filters": urlencode(filters, doseq=True)}
            await self.access.record.remote(who, "exported", query.format, address(request), **recorded)
            # before the answer begins: a catalogue that does not answer is an error, and no short export
            first = await self._part(0, query, within)
            format = FORMATS[query.format]
            parts = self._exported(first, format, query, within)
            ended = place.pop_all().close
            return Download(parts, f"raysift.{format.suffix}", format.media_type, ended)

    async def _part(self, after: int, query: ExportQuery, within: Prefixes) -> Any:
        return await self.catalog.some_lines.remote(after, query, within)

    async def _exported(self, part: Any, format: Format, query: ExportQuery, within: Prefixes) -> AsyncIterator[bytes]:
        encoder = format.encoder()
        while part is not None:
            lines, after = part
            yield await asyncio.to_thread(encoder.add, lines)  # a film has thousands of detections
            part = await self._part(after, query, within)
        for piece in encoder.end():
            yield piece


class Download(StreamingResponse):
    """A file to download, of `size` bytes if that is known. `ended` is called once when it is sent, or cannot be."""

    def __init__(
        self,
        stream: AsyncIterator[bytes],
        name: str,
        media_type: str,
        ended: Callable[[], None],
        size: int | None = None,
    ) -> None:
        headers = HEADERS | {"Content-Disposition": f'attachment; filename="{name}"'}
        headers |= {} if size is None else {"Content-Length": str(size)}
        super().__init__(stream, headers=headers, media_type=media_type)
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file. TimeoutError or ClientDisconnect if the client takes STALLED_S for one part of it."""

        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(STALLED_S):
                await send(message)

        try:
            await super().__call__(scope, receive, send_in_time)
        finally:  # not in the stream: one that is never begun does not end
            self._ended()
