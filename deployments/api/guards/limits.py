"""Limits of one API process: requests in progress, in all and per client, and how slowly a body may arrive.

They are in the API and not only in nginx, because `raysift up` starts no nginx. Serve's proxy passes a body on chunk by
chunk, so the API sees one that stalls. It does not see a request whose headers are incomplete.
"""

import asyncio
import time
from collections import Counter

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments import problems

PROBES = ("/v1/health", "/v1/ready")  # never refused: an API that is full is alive
RETRY_AFTER_S = 5

# A body is cut off after SILENCE_S without a byte, or once it has kept the API waiting for longer than GRACE_S plus the
# time that its bytes take at LEAST_BYTES_PER_S.
SILENCE_S = 20.0
GRACE_S = 30.0
LEAST_BYTES_PER_S = 16 << 10


class Places:
    """Counts the requests in one stage, with a limit in all and a limit per client."""

    def __init__(self, most: int, most_of_client: int) -> None:
        self.most = most
        self.most_of_client = most_of_client
        self._taken: Counter[str] = Counter()  # by the client's address; an address without requests has no entry

    def take(self, client: str) -> None:
        """Count a request of this client. HTTPException 429 if the client has its share, 503 if all are taken."""
        headers = {"Retry-After": str(RETRY_AFTER_S)}
        if self._taken[client] >= self.most_of_client:
            raise HTTPException(
                429,
                f"{self._taken[client]} requests of yours are in work here: try again when some have ended",
                headers,
            )
        if self._taken.total() >= self.most:
            raise HTTPException(503, f"{self.most} requests are in work here: try again in a few seconds", headers)
        self._taken[client] += 1

    def free(self, client: str) -> None:
        """Subtract a request that `take` has counted."""
        self._taken[client] -= 1
        if not self._taken[client]:
            del self._taken[client]


class RequestLimits:
    """ASGI middleware that gives every request a place, and its body a deadline.

    A request whose body is still arriving has a place among the receiving ones, and moves to the answering ones with
    its last byte. Unfinished bodies therefore do not block requests without one. A client is an address: the one
    that uvicorn takes from X-Forwarded-For if the connection comes from a proxy that FORWARDED_ALLOW_IPS names.

    An API without such limits, whose detectors hang, fills up until its probes wait in Serve's queue, and is taken for
    dead though it is alive.
    """

    def __init__(
        self,
        app: ASGIApp,
        answering: tuple[int, int],
        receiving: tuple[int, int],
        silence_s: float = SILENCE_S,
        grace_s: float = GRACE_S,
    ) -> None:
        """`answering` and `receiving` are each the most requests in all, and the most of one client."""
        self.app = app
        self.answering = Places(*answering)
        self.receiving = Places(*receiving)
        self.silence_s = silence_s
        self.grace_s = grace_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it with 429 or 503."""
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self.app(scope, receive, send)
            return
        request = _Request(self, scope, receive, send)
        try:
            request.enter(self.receiving if request.incomplete else self.answering)
        except HTTPException as error:
            await problems.refusal(scope, error)(scope, receive, request.send)
            return
        try:
            await self.app(scope, request.receive, request.send)
        finally:
            request.leave()


class _Request:
    """One request on its way through the stages."""

    def __init__(self, limits: RequestLimits, scope: Scope, receive: Receive, send: Send) -> None:
        self._limits = limits
        self._receive = receive
        self._send = send
        self._client = scope["client"][0] if scope.get("client") else ""
        self._places: Places | None = None
        self._received = 0  # bytes of the body
        self._waited_s = 0.0  # for them
        self.incomplete = _has_body(scope)

    def enter(self, places: Places) -> None:
        """Take a place there, and give back the one that the request had. HTTPException if there is none."""
        self.leave()
        places.take(self._client)
        self._places = places

    def leave(self) -> None:
        """Give the request's place back, if it has one."""
        if self._places is not None:
            self._places.free(self._client)
            self._places = None

    async def receive(self) -> Message:
        """The next message. HTTPException 408 for a body that is too slow, 429 or 503 if it cannot be answered now."""
        if not self.incomplete:
            return await self._receive()
        began = time.monotonic()
        left_s = self._limits.grace_s + self._received / LEAST_BYTES_PER_S - self._waited_s
        try:
            async with asyncio.timeout(min(self._limits.silence_s, left_s)):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(
                408, f"the body came too slowly: {self._received:,} bytes of it had arrived. Send it again."
            ) from None
        self._waited_s += time.monotonic() - began
        self._received += len(message.get("body", b""))
        if not message.get("more_body", False):  # the last of it, or the client has gone
            self.incomplete = False
            self.enter(self._limits.answering)
        return message

    async def send(self, message: Message) -> None:
        """Pass a part of the answer on. One that goes out before the whole body has come ends the connection."""
        if message["type"] == "http.response.start" and self.incomplete:
            message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
        await self._send(message)


def _has_body(scope: Scope) -> bool:
    """Whether the headers of a request announce a body (RFC 9112, 6.3)."""
    headers = dict(scope["headers"])
    return b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"
