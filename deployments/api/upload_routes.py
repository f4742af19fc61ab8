"""The API's routes for uploads that are analysed and not stored."""

# No `from __future__ import annotations` here: FastAPI could not resolve the types of a pickled class.
import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import HTTPException, Request

from cluster.access.identity import Identity
from cluster.api_types import DetectorAnswer, Upload
from cluster.records import Result
from cluster.settings import Settings
from deployments.access.client_address import address
from deployments.access.pending import PendingRecords
from deployments.access.purposes import purpose
from deployments.access.roles import Reviewer
from deployments.api import face_records, uploads
from deployments.api.app import api
from deployments.api.guards.quotas import Quotas
from deployments.catalog.shapes import as_upload
from deployments.serving.client import ServedDetectors

# (path, file name, names of detectors, detectors, settings) -> result. The pipeline's function, passed in by the
# builder of the application, since deployments may not import pipelines.
Analyze = Callable[[Path, str, frozenset[str], ServedDetectors, Settings], Awaitable[Result]]


# before the class: serve.ingress pickles the routes with the names that are defined by then
async def _answer(result: Result) -> Upload:
    """The answer to an upload. It is made in a thread: a film has thousands of detections."""
    return Upload(**await asyncio.to_thread(as_upload, result))


class UploadRoutes:
    """The routes for uploads; the API that inherits them has the detectors and the function that analyses files."""

    settings: Settings
    detectors: ServedDetectors
    pending: PendingRecords
    quotas: Quotas
    analyze: Analyze

    @api.post("/v1/detect/{name}", openapi_extra=uploads.FORM, max_body_size=uploads.NO_LIMIT)
    async def detect(self, name: str, request: Request, who: Reviewer) -> DetectorAnswer:
        """What one detector finds in an uploaded file."""
        if name not in self.detectors.handles:
            there = ", ".join(sorted(self.detectors.handles))
            raise HTTPException(404, f"no detector {name!r}; there are {there}")
        upload = await _answer(await self.analyzed(request, who, frozenset([name])))
        if upload.errors:
            raise HTTPException(422, upload.errors[0].reason)
        model = self.detectors.model_versions[name].model
        return DetectorAnswer(detector=name, model=model, detections=upload.detections)

    @api.post("/v1/analyze", openapi_extra=uploads.FORM, max_body_size=uploads.NO_LIMIT)
    async def analyze_upload(self, request: Request, who: Reviewer) -> Upload:
        """What every detector finds in an uploaded file: the same steps as a scan's, nothing is stored."""
        return await _answer(await self.analyzed(request, who, frozenset(self.detectors.handles)))

    async def analyzed(
        self, request: Request, who: Identity, wanted: frozenset[str], most_bytes: int | None = None
    ) -> Result:
        """What these detectors find in the file of a form. HTTPException as of `uploads` and `Quotas`.

        A search for faces, which may name people, is recorded before its result is known to anybody; while the head is
        away, as soon as it is back.
        """
        purpose(request, self.settings.access, needed="face" in wanted)  # before the file is received
        most_bytes = most_bytes or self.settings.decoding.max_bytes
        with self.quotas.analysing(who, uploads.declared_bytes(request, most_bytes)) as count:
            async with uploads.received(request, most_bytes, count) as upload:
                return await self.analyzed_file(upload.path, upload.name, request, who, wanted)

    async def analyzed_file(
        self, path: Path, name: str, request: Request, who: Identity, wanted: frozenset[str]
    ) -> Result:
        """What these detectors find in a file of this machine, recorded as of `analyzed`."""
        why = purpose(request, self.settings.access, needed="face" in wanted)
        result = await self.analyze(path, name, wanted, self.detectors, self.settings)
        if "face" in wanted:
            more = why | face_records.of_upload(result)
            await self.pending.record(who, "faces of an upload compared", result.sha256 or "", address(request), **more)
        return result
