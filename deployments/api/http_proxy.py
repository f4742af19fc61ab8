"""What Serve's HTTP proxies do beside Serve's own: headers have a deadline, and a body waits until it is taken.

Serve calls `middlewares` in each proxy, where RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH names it. By itself a proxy
reads a body as fast as a client sends it, into a list without end: 600 MB took 540 MB of memory there,
and 630 MB in the API. And uvicorn waits for ever for headers that do not end.
"""

import asyncio
import os
import weakref
from typing import Any

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http import auto
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADERS_S = 20.0  # from a connection, or the first byte of a request on it, to the end of the headers
WINDOW_BYTES = 4 << 20  # of a request's body that may lie in the proxy


class HeaderDeadline(HttpToolsProtocol):
    """uvicorn's HTTP protocol, which closes a connection whose request's headers do not end in HEADERS_S."""

    headers_s = HEADERS_S
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A new connection owes a request."""
        super().connection_made(transport)
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is owed any more."""
        self._disarm()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """The first byte of a request, which may be a later one of a connection that is kept."""
        super().on_message_begin()
        if self._deadline is None:
            self._arm()

    def on_headers_complete(self) -> None:
        """The headers have come; the body's deadlines are the API's."""
        self._disarm()
        super().on_headers_complete()

    def _arm(self) -> None:
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
    """ASGI middleware that reads on in a body only while less than WINDOW_BYTES of it lie in this process.

    Serve drops a message once it has sent it to the replica: then its bytes are counted off. It keeps the last one
    until the next has come, so the window must be larger than a chunk, which has 320 KiB at most. uvicorn stops reading
    from the connection while nobody asks it for more, so that the client waits.
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


def middlewares() -> list[Middleware]:
    """Set uvicorn's protocol in this process, a proxy of Serve's that does not listen yet; the middlewares to add.

    Also have uvicorn believe nobody's X-Forwarded-For whom FORWARDED_ALLOW_IPS does not name. By itself it believes
    127.0.0.1, where everybody comes from who uses one machine's API: each could be as many clients as they like, and
    the API's limits are by client.
    """
    os.environ.setdefault("FORWARDED_ALLOW_IPS", "")
    auto.AutoHTTPProtocol = HeaderDeadline
    return [Middleware(BodyWindow)]
