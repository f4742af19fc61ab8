"""The API itself, before it has any route: who may ask it, and how it says no."""

from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from ray.exceptions import RayTaskError
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from cluster.errors import SettingsError
from cluster.vectors import VectorsDown
from deployments.jobs.drivers import JobsDown

api = FastAPI(
    title="Raysift", version="1", description="What is in your media: ask for files, words, look-alikes, jobs."
)
MOST_REQUESTS = 100  # of an API at a time, beside those of probes
PROBES = ("/v1/health", "/v1/ready")
HOSTS = ["127.0.0.1", "localhost", "testserver"]  # an API adds the names that its settings give it


def answer_to(names: Iterable[str]) -> None:
    """Under these host names too. An API calls this, since Serve gives it a copy of the list that is looked at."""
    HOSTS.extend(name.lower() for name in names)


class _TrustedHosts(TrustedHostMiddleware):
    """Looks at HOSTS with every request: Serve pickles the API before an API has added to them."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.allowed_hosts = HOSTS
        await super().__call__(scope, receive, send)


class RoomForProbes:
    """Refuses what is too much at once. When all detectors hang, so does whoever asks them, and the API would be full:
    a probe would wait behind them, and an API that is alive be taken for dead.
    """

    def __init__(self, app: ASGIApp, most: int = MOST_REQUESTS) -> None:
        self.app = app
        self.most = most
        self.ongoing = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self.app(scope, receive, send)
        elif self.ongoing >= self.most:
            said = {"detail": f"{self.most} requests are being answered here: try again in a few seconds"}
            await JSONResponse(said, 503, headers={"Retry-After": "5"})(scope, receive, send)
        else:
            self.ongoing += 1
            try:
                await self.app(scope, receive, send)
            finally:
                self.ongoing -= 1


api.add_middleware(RoomForProbes)
# a page on another site must not reach this API by a name that it lets point to 127.0.0.1
api.add_middleware(_TrustedHosts, allowed_hosts=HOSTS)  # without any given it would take all for good


@api.exception_handler(RequestValidationError)
async def _callers_fault(_: Any, error: RequestValidationError) -> JSONResponse:
    first = error.errors()[0]
    return JSONResponse({"detail": f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}"}, status_code=422)


@api.exception_handler(SettingsError)
async def _operators_fault(_: Any, error: SettingsError) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, status_code=422)


@api.exception_handler(JobsDown)
async def _no_jobs(_: Any, error: JobsDown) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, status_code=503)


@api.exception_handler(VectorsDown)
async def _no_search(_: Any, error: VectorsDown) -> JSONResponse:
    return JSONResponse({"detail": f"search is unavailable: {error}; browsing still works"}, status_code=503)


@api.exception_handler(RayTaskError)
async def _another_deployments_error(request: Request, error: RayTaskError) -> JSONResponse:
    """What the jobs or the catalogue raised comes wrapped, with a traceback for its words."""
    cause = error.cause
    if isinstance(cause, SettingsError):
        return await _operators_fault(request, cause)
    if isinstance(cause, JobsDown):
        return await _no_jobs(request, cause)
    raise error
