"""The FastAPI application before it has any route: its guards, and the HTTP status of each error."""

from typing import Any

from fastapi import FastAPI, Request, Response
from ray.exceptions import RayTaskError
from starlette.types import ASGIApp

from cluster.api_types import Problem, ProblemType
from cluster.errors import DiskFull, SettingsError
from cluster.vectors import VectorsDown
from deployments import problems
from deployments.access.authentication import Authentication
from deployments.api.guards.answer_window import AnswerWindow
from deployments.api.guards.limits import RequestLimits
from deployments.api.guards.measured import Measured
from deployments.api.guards.origin import HOSTS, OwnOrigin, TrustedHosts
from deployments.api.guards.quotas import RequestRate
from deployments.jobs.callers import TooManyJobs
from deployments.jobs.drivers import JobsDown

# Limits on the requests of one API process, (in all, per client): being answered, and with a body still arriving.
# The app counts as one client, however many people use it, and so does another cluster that sends samples.
ANSWERING = (100, 80)
RECEIVING = (64, 32)
MOST_REQUESTS = ANSWERING[0] + RECEIVING[0] + 20  # the last 20 for probes, and for requests that are refused at once

RETRY_JOB_S = 60  # of a caller who has its share of jobs: they take minutes
PROBLEMS = [{"$ref": f"#/components/schemas/{name}"} for name in ("Problem", "DecisionChanged")]
MAX_BODY_BYTES = 4 << 20  # of a request that is no upload: it is read into memory


class Api(FastAPI):
    """FastAPI whose every error response is a problem, also in the OpenAPI document."""

    def build_middleware_stack(self) -> ASGIApp:
        """All middlewares. FastAPI puts two that answer in plain text around those that are added."""
        return problems.PlainErrors(super().build_middleware_stack())

    def openapi(self) -> dict[str, Any]:
        """The document. FastAPI itself describes errors in the media type of the route's other answers."""
        if self.openapi_schema is None:
            for methods in super().openapi()["paths"].values():
                for responses in (operation["responses"] for operation in methods.values()):
                    for content in (response.get("content", {}) for response in responses.values()):
                        for kind, body in [*content.items()]:
                            if body.get("schema") in PROBLEMS:
                                content[problems.MEDIA_TYPE] = content.pop(kind)
        return super().openapi()


api = Api(
    title="Raysift",
    version="1",
    description="Scan media; search the results by files, words and similarity.",
    max_body_size=MAX_BODY_BYTES,
    # FastAPI's own telemetry, for which OTEL_ variables suffice, sends queries: what people search for
    telemetry={"auto_configure": False, "tracing": False, "metrics": False, "logs": False},
    responses={
        401: {"model": Problem, "description": "without a valid key"},
        403: {"model": Problem, "description": "the role of the key is not enough"},
        422: {"model": Problem, "description": "what is wrong with the request"},
        429: {"model": Problem, "description": "too many requests: Retry-After says when to try again"},
        "default": {"model": Problem, "description": "any other error"},
    },
)
# the last one added sees a request first
api.add_middleware(RequestRate)
api.add_middleware(Authentication)
api.add_middleware(OwnOrigin)
api.add_middleware(TrustedHosts, allowed_hosts=HOSTS)  # without the argument it would allow every host from the start
api.add_middleware(RequestLimits, answering=ANSWERING, receiving=RECEIVING)
api.add_middleware(Measured)
api.add_middleware(AnswerWindow)


problems.handle(api)


@api.exception_handler(SettingsError)
async def _wrong_setting(request: Request, error: SettingsError) -> Response:
    """422 for a wrong setting, or a place that cannot be read."""
    return problems.answer(request.scope, 422, str(error))


@api.exception_handler(DiskFull)
async def _no_space(request: Request, error: DiskFull) -> Response:
    """503: a file of a container, or a report, does not fit on this node's disk."""
    return problems.answer(request.scope, 503, "a disk of the cluster is full: see `raysift doctor`, then try again")


@api.exception_handler(JobsDown)
async def _no_jobs(request: Request, error: JobsDown) -> Response:
    """503: Ray's Jobs API does not answer."""
    return problems.answer(request.scope, 503, str(error))


@api.exception_handler(TooManyJobs)
async def _too_many_jobs(request: Request, error: TooManyJobs) -> Response:
    """429: the caller has its share of jobs."""
    wait = {"Retry-After": str(RETRY_JOB_S)}
    return problems.answer(request.scope, 429, str(error), wait, ProblemType.QUOTA)


@api.exception_handler(VectorsDown)
async def _no_search(request: Request, error: VectorsDown) -> Response:
    """503: Chroma does not answer."""
    return problems.answer(request.scope, 503, f"search is unavailable: {error}; browsing still works")


@api.exception_handler(RayTaskError)
async def _error_of_another_deployment(request: Request, error: RayTaskError) -> Response:
    """Answer as for the error that the jobs or the catalogue raised: Ray wraps it, with a traceback as its message."""
    cause = error.cause
    if isinstance(cause, SettingsError):
        return await _wrong_setting(request, cause)
    if isinstance(cause, JobsDown):
        return await _no_jobs(request, cause)
    if isinstance(cause, TooManyJobs):
        return await _too_many_jobs(request, cause)
    if isinstance(cause, VectorsDown):
        return await _no_search(request, cause)
    raise error
