"""Back-pressure for answers: a file is read no faster than its client takes it.

By itself a replica of Serve hands an answer to the proxy as fast as it makes it, into unbounded lists and the object
store: a client that asks for a film and does not read would have all of it there. So the proxy, in our middleware
(http_proxy.SentBytes), reports how many bytes have gone out to the client, as messages among those that the replica
receives from it, and the replica waits while more than WINDOW_BYTES are on the way. A client that takes too little
for STALLED_S is cut off, as nginx does it too: its request has a place that others need, and a player that is paused
asks again for what is left.
"""

import asyncio

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

EXTENSION = "raysift.sent"  # of the scope of a request whose proxy reports; and the type of these messages
WINDOW_BYTES = 8 << 20  # of one answer, on the way to the client
STALLED_S = 60.0  # how long a client may take for one part of an answer
REPORT_BYTES = 1 << 20  # the proxy reports when so many more have gone out


class AnswerWindow:
    """ASGI middleware of the replica: `send` waits for the client. Without reports of the proxy it never does."""

    def __init__(self, app: ASGIApp, window_bytes: int = WINDOW_BYTES, stalled_s: float = STALLED_S) -> None:
        self.app = app
        self.window_bytes, self.stalled_s = window_bytes, stalled_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http" or EXTENSION not in scope.get("extensions", {}):
            await self.app(scope, receive, send)
            return
        window = _Window(receive, send, self.window_bytes, self.stalled_s)
        await self.app(scope, window.receive, window.send)


class _Window:
    """One request: its messages, and how much of the answer is on the way."""

    def __init__(self, receive: Receive, send: Send, window_bytes: int, stalled_s: float) -> None:
        self._receive, self._send = receive, send
        self._window_bytes, self._stalled_s = window_bytes, stalled_s
        self._made = self._gone_out = 0  # bytes of the answer's body
        self._is_over = False  # the client has gone: nothing is reported any more
        self._kept: list[Message] = []  # for the application, which was not waiting for them
        self._reading = asyncio.Lock()
        self._news = asyncio.Event()

    async def receive(self) -> Message:
        """The next message for the application."""
        while True:
            async with self._reading:
                if self._kept:
                    return self._kept.pop(0)
                message = await self._read()
            if message["type"] != EXTENSION:
                return message

    async def send(self, message: Message) -> None:
        """Pass a part of the answer on, once there is room for it. ClientDisconnect if there is none in STALLED_S."""
        try:
            async with asyncio.timeout(self._stalled_s):
                while not self._is_over and self._made - self._gone_out >= self._window_bytes:
                    await self._wait()
        except TimeoutError:
            raise ClientDisconnect from None
        if self._is_over:
            await asyncio.sleep(0)  # Serve cancels the request now; nothing else here gives it the opportunity
        self._made += len(message.get("body", b""))
        await self._send(message)

    async def _wait(self) -> None:
        """Wait for a message: while the application waits for one, until it has it; else it is read here."""
        if self._reading.locked():
            self._news.clear()
            await self._news.wait()
            return
        async with self._reading:
            message = await self._read()
            if message["type"] != EXTENSION:
                self._kept.append(message)

    async def _read(self) -> Message:
        try:
            message = await self._receive()
            if message["type"] == EXTENSION:
                self._gone_out = message["bytes"]
            self._is_over = self._is_over or message["type"] == "http.disconnect"
            return message
        finally:  # also if the application does not wait any more
            self._news.set()
