"""Routes for other clusters: samples in, one detector's answers out, in the format of deployments/serving/wire.py."""

# No `from __future__ import annotations` here: FastAPI could not resolve the types of a pickled class.
import asyncio
import hashlib
from typing import Annotated

from fastapi import HTTPException, Query, Request, Response

from deployments.access.client_address import address
from deployments.access.pending import PendingRecords
from deployments.access.roles import Reviewer
from deployments.api.app import api
from deployments.api.guards.places import Places
from deployments.detector import DetectorAway, detector_class
from deployments.serving import wire
from deployments.serving.client import ServedDetectors

# How long a request is tried here before it is a 503. In that time a sample that kills every replica has done so three
# times and becomes a failure of its own; a job waits longer than that (scanning.detector_timeout_s).
PATIENCE_S = 180.0

# Requests at a time in one API process: each may hold MAX_BYTES, and people and the jobs here need places too.
AT_ONCE = 16

_VERSION = {wire.VERSION_HEADER: str(wire.VERSION)}  # of a 422; without it, a client concludes that the versions differ
MAX_VERSION = 1 << 16  # of the wire format
# NaN must not pass: it compares equal to the floor of any detector
Floor = Annotated[float, Query(ge=0, le=1, allow_inf_nan=False)]


class SampleRoutes:
    """The routes for other clusters, in which the backend of a detector is `remote`."""

    detectors: ServedDetectors
    pending: PendingRecords
    sampling = Places()  # for requests that are being answered

    @api.post(
        "/v1/detect/{name}/samples",
        response_class=Response,
        max_body_size=wire.MAX_BYTES,
        openapi_extra={"requestBody": {"required": True, "content": {wire.SAMPLES_TYPE: {}}}},
    )
    async def detect_samples(
        self,
        name: str,
        model: str,
        floor: Floor,
        request: Request,
        who: Reviewer,
        version: Annotated[int, Query(alias="wire", ge=1, le=MAX_VERSION)] = 1,  # version 1 did not send it
    ) -> Response:
        """Run one detector over samples that another cluster has decoded. 409 if this cluster has another model or wire
        version; 503 while the detector is away or AT_ONCE requests are being answered.
        """
        if version != wire.VERSION:
            raise HTTPException(
                409,
                f"samples come here in version {wire.VERSION} of the format between clusters, and not in {version}. "
                "Run the same version of Raysift in both clusters.",
            )
        await self._check(name, model, floor)
        refusal = f"{AT_ONCE} requests with samples are here already; try again later"
        with self.sampling.take(AT_ONCE, refusal, 1):  # before the body is read; a remote detector tries again
            body = await request.body()
            answer = await self._answer(name, body)
            if name == "face":  # it may name people
                content = await asyncio.to_thread(lambda: hashlib.sha256(body).hexdigest())
                where = address(request)
                await self.pending.record(who, "faces of samples compared", content, where, model=model)
            return answer

    async def _answer(self, name: str, body: bytes) -> Response:
        try:
            samples = await asyncio.to_thread(wire.unpack_samples, body)
        except wire.TooLarge as error:
            raise HTTPException(413, f"{error}: send fewer at a time") from None
        except wire.Malformed as error:
            raise HTTPException(422, f"these are no samples: {error}", _VERSION) from None
        taken = detector_class(name).modalities
        if others := {sample.modality for sample in samples} - taken:
            raise HTTPException(
                422, f"{name} takes {', '.join(sorted(taken))}, not {', '.join(sorted(others))}", _VERSION
            )
        try:
            response = (await self._patient().ask([name], samples))[name]
        except DetectorAway:
            raise HTTPException(503, f"{name} has not answered for {PATIENCE_S:.0f} s; try again later") from None
        return Response(await asyncio.to_thread(wire.pack_response, response), media_type=wire.RESPONSE_TYPE)

    async def _check(self, name: str, model: str, floor: float) -> None:
        if name not in self.detectors.model_versions:
            there = ", ".join(sorted(self.detectors.model_versions))
            raise HTTPException(404, f"no detector {name!r} runs here; there are {there}")
        here = (await asyncio.to_thread(self.detectors.current_versions, [name]))[name]
        if here.model != model or abs((here.floor or 0) - floor) > 1e-6:
            raise HTTPException(
                409,
                f"{name} is {here.model} with floor {here.floor} here, and {model} with floor {floor} was asked for. "
                "Give it the same model, floor, settings and gallery in both clusters; in the asking one, "
                f"detectors.{name}.remote.profile says which profile this one runs.",
            )

    def _patient(self) -> ServedDetectors:
        """A client that raises DetectorAway, where the API's own client turns it into failures of the samples."""
        own = self.detectors
        return ServedDetectors(own.handles, own.model_versions, own.configs, PATIENCE_S, raise_if_away=True)
