"""Additions to Serve's HTTP proxies: limits of headers, back-pressure in both directions, errors as problem details.

Serve calls `middlewares` in each proxy, where RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH names it. By itself a proxy
reads a body as fast as a client sends it, into an unbounded list: 600 MB took 540 MB of memory there,
and 630 MB in the API. And uvicorn waits for ever for headers that do not end, and keeps them all.
"""

import asyncio
import os
import weakref
from typing import Any

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http import auto
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from deployments import problems
from deployments.api.guards.answer_window import EXTENSION, REPORT_BYTES

HEADERS_S = 20.0  # from a connection, or the first byte of a request on it, to the end of the headers
MOST_HEADERS = 128 << 10  # bytes of a request before its body
WINDOW_BYTES = 4 << 20  # of a request's body that the proxy may hold
LOST = "the process of the API that had this request has ended: send it again, if it may be sent twice"


class HeaderLimits(HttpToolsProtocol):
    """uvicorn's HTTP protocol, which closes a connection whose headers do not end in HEADERS_S or MOST_HEADERS."""

    headers_s = HEADERS_S
    _deadline: asyncio.TimerHandle | None = None
    _received = 0  # bytes since the deadline was started

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the deadline of the connection's first request."""
        super().connection_made(transport)
        self._arm()

    def data_received(self, data: bytes) -> None:
        """Close the connection if what has come of the headers is too large. uvicorn itself has no limit."""
        self._received += len(data)
        super().data_received(data)
        if self._deadline is not None and self._received > MOST_HEADERS:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the deadline."""
        self._disarm()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Start the deadline at the first byte of a request, also of later ones on a kept connection."""
        super().on_message_begin()
        if self._deadline is None:
            self._arm()

    def on_headers_complete(self) -> None:
        """Stop the deadline: the headers are complete. The API has deadlines for the body."""
        self._disarm()
        super().on_headers_complete()

    def _arm(self) -> None:
        self._received = 0
        self._deadline = self.loop.call_later(self.headers_s, self.transport.close)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class _Chunk(dict[str, Any]):
    """An ASGI message whose end can be observed: a plain dict has no weak references. It is pickled as a plain dict."""

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (list(self.items()),)


class BodyWindow:
    """ASGI middleware that reads a body only while this process holds less than WINDOW_BYTES of it.

    Serve drops a message once it has sent it to the replica: then its bytes are subtracted. It keeps the last one
    until the next has come, so the window must be larger than a chunk, which has 320 KiB at most. uvicorn stops reading
    from the connection while the application does not ask for more, so that the client waits.
    """

    def __init__(self, app: ASGIApp, window_bytes: int = WINDOW_BYTES) -> None:
        self.app = app
        self.window_bytes = window_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, with a receive that waits."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        held, room = 0, asyncio.Event()

        def count_off(size: int) -> None:
            nonlocal held
            held -= size
            room.set()

        async def receive_in_window() -> Message:
            nonlocal held
            while held >= self.window_bytes:
                room.clear()
                await room.wait()
            message = _Chunk(await receive())
            if size := len(message.get("body", b"")):
                held += size
                weakref.finalize(message, count_off, size).atexit = False
            return message

        await self.app(scope, receive_in_window, send)


class SentBytes:
    """ASGI middleware that reports to the replica how much of its answer has gone out to the client.

    uvicorn's `send` waits while the client does not read. The replica waits for these reports: AnswerWindow.
    """

    def __init__(self, app: ASGIApp, every_bytes: int = REPORT_BYTES) -> None:
        self.app = app
        self.every_bytes = every_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, with reports among the messages that are received."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        sent = reported = 0
        due = asyncio.Event()
        coming: asyncio.Future[Message] | None = None  # the client's next message

        async def receive_or_report() -> Message:
            nonlocal coming, reported
            coming = coming or asyncio.ensure_future(receive())
            report = asyncio.ensure_future(due.wait())
            either: set[asyncio.Future[Any]] = {coming, report}
            try:
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            finally:
                report.cancel()
            if coming.done():
                message, coming = coming.result(), None
                return message
            due.clear()
            reported = sent
            return {"type": EXTENSION, "bytes": sent}

        async def send_and_count(message: Message) -> None:
            nonlocal sent
            await send(message)
            sent += len(message.get("body", b""))
            if sent - reported >= self.every_bytes:
                due.set()

        scope = {**scope, "extensions": {**scope.get("extensions", {}), EXTENSION: {}}}
        try:
            await self.app(scope, receive_or_report, send_and_count)
        finally:
            if coming is not None:
                coming.cancel()


class Unanswered:
    """ASGI middleware that answers with 500 what Serve leaves without an answer, because a replica has died.

    Without it uvicorn does, in plain text. nginx sends a GET once more after a 500.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        begun = False

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        await self.app(scope, receive, noted)
        if scope["type"] == "http" and not begun:
            await problems.answer(scope, 500, LOST)(scope, receive, send)


def middlewares() -> list[Middleware]:
    """Set uvicorn's protocol in this process, a Serve proxy that does not listen yet; return the middlewares to add.

    Also make uvicorn trust X-Forwarded-For only from the addresses in FORWARDED_ALLOW_IPS. By default it trusts
    127.0.0.1, the address of every local user: each could pretend to be many clients, and evade the API's limits
    per client.
    """
    os.environ.setdefault("FORWARDED_ALLOW_IPS", "")
    auto.AutoHTTPProtocol = HeaderLimits
    added = (SentBytes, BodyWindow, Unanswered, problems.PlainErrors)
    return [Middleware(one) for one in added]
