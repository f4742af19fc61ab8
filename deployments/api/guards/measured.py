"""Measures the API's requests, by route, and records the span of each."""

import time
from contextlib import AbstractContextManager, nullcontext

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cluster.metrics.declared import API_SECONDS
from cluster.metrics.recording import record
from cluster.traces import spans
from cluster.traces.spans import Span
from deployments import correlation
from deployments.api.guards.limits import PROBES

METHODS = ("GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS")


class Measured:
    """ASGI middleware that observes the time to the end of each answer. An exception that leaves it counts as a 500."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.monotonic(), 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with _span(scope) as span:
            try:
                await self.app(scope, receive, noted)
            finally:
                method = scope["method"] if scope["method"] in METHODS else "other"  # anybody may send any word
                route, code = _route(scope), f"{status // 100}xx"
                record(API_SECONDS, time.monotonic() - began, method=method, route=route, code=code)
                span.name, span.error = f"{method} {route}", code if code == "5xx" else None
                span.attributes |= {
                    "http.request.method": method,
                    "http.route": route,
                    "http.response.status_code": status,
                }


def _span(scope: Scope) -> AbstractContextManager[Span]:
    """The span of a request, in the trace of a caller that has one. Probes have none: they come every few seconds."""
    if not spans.recorded() or scope["path"] in PROBES:
        return nullcontext(Span(""))
    own = correlation.id()
    return spans.span("request", Headers(scope=scope).get(correlation.TRACE_HEADER), own, **{"raysift.id": own})


def _route(scope: Scope) -> str:
    """The route as it is declared, such as /v1/jobs/{job}; "none": refused before there was one, or no such route."""
    return getattr(scope.get("route"), "path", "none")
