"""Measures the API's requests, by route."""

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cluster.metrics.declared import API_SECONDS
from cluster.metrics.recording import record

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

        try:
            await self.app(scope, receive, noted)
        finally:
            method = scope["method"] if scope["method"] in METHODS else "other"  # anybody may send any word
            record(API_SECONDS, time.monotonic() - began, method=method, route=_route(scope), code=f"{status // 100}xx")


def _route(scope: Scope) -> str:
    """The route as it is declared, such as /v1/jobs/{job}; "none": refused before there was one, or no such route."""
    return getattr(scope.get("route"), "path", "none")
