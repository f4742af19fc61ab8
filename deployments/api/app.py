"""The FastAPI application before it has any route: its guards, and the HTTP status of each error."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from ray.exceptions import RayTaskError

from cluster.api_types import Problem
from cluster.errors import SettingsError
from cluster.vectors import VectorsDown
from deployments.access.authentication import Authentication
from deployments.api.guards.limits import RequestLimits
from deployments.api.guards.origin import HOSTS, OwnOrigin, TrustedHosts
from deployments.jobs.drivers import JobsDown

# Limits on the requests of one API process, (in all, per client): being answered, and with a body still arriving.
# The app counts as one client, however many people use it, and so does another cluster that sends samples.
ANSWERING = (100, 80)
RECEIVING = (64, 32)
MOST_REQUESTS = ANSWERING[0] + RECEIVING[0] + 20  # the last 20 for probes, and for requests that are refused at once

MAX_BODY_BYTES = 4 << 20  # of a request that is no upload: it is read into memory

api = FastAPI(
    title="Raysift",
    version="1",
    description="Scan media; search the results by files, words and similarity.",
    max_body_size=MAX_BODY_BYTES,
    responses={
        401: {"model": Problem, "description": "without a valid key"},
        403: {"model": Problem, "description": "the role of the key is not enough"},
        422: {"model": Problem, "description": "what is wrong with the request, in a sentence"},
    },
)
# the last one added sees a request first
api.add_middleware(Authentication)
api.add_middleware(OwnOrigin)
api.add_middleware(TrustedHosts, allowed_hosts=HOSTS)  # without the argument it would allow every host from the start
api.add_middleware(RequestLimits, answering=ANSWERING, receiving=RECEIVING)


@api.exception_handler(RequestValidationError)
async def _invalid_request(_: Any, error: RequestValidationError) -> JSONResponse:
    """422 with the first validation error and the location of the value."""
    first = error.errors()[0]
    reason = first["msg"].removeprefix("Value error, ")
    where = ".".join(map(str, first["loc"]))
    return JSONResponse({"detail": f"{where}: {reason[0].lower()}{reason[1:]}"}, status_code=422)


@api.exception_handler(SettingsError)
async def _wrong_setting(_: Any, error: SettingsError) -> JSONResponse:
    """422 for a wrong setting, or a place that cannot be read."""
    return JSONResponse({"detail": str(error)}, status_code=422)


@api.exception_handler(JobsDown)
async def _no_jobs(_: Any, error: JobsDown) -> JSONResponse:
    """503: Ray's Jobs API does not answer."""
    return JSONResponse({"detail": str(error)}, status_code=503)


@api.exception_handler(VectorsDown)
async def _no_search(_: Any, error: VectorsDown) -> JSONResponse:
    """503: Chroma does not answer."""
    return JSONResponse({"detail": f"search is unavailable: {error}; browsing still works"}, status_code=503)


@api.exception_handler(RayTaskError)
async def _error_of_another_deployment(request: Request, error: RayTaskError) -> JSONResponse:
    """Answer as for the error that the jobs or the catalogue raised: Ray wraps it, with a traceback as its message."""
    cause = error.cause
    if isinstance(cause, SettingsError):
        return await _wrong_setting(request, cause)
    if isinstance(cause, JobsDown):
        return await _no_jobs(request, cause)
    raise error
