"""Back-pressure for answers: uvicorn, the proxy's middleware, a stand-in for Serve, and the replica's middleware."""

import asyncio
import pickle
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from deployments.api.guards.answer_window import WINDOW_BYTES, AnswerWindow
from deployments.api.http_proxy import SentBytes
from tests.support.api_server import serving

PIECE, PIECES = 1 << 20, 150
UNDERWAY = 16 << 20  # what the kernel's and uvicorn's buffers may hold besides


class Film:
    """An application whose answer is large. `made`: bytes of it that were read from its file."""

    def __init__(self, spec_version: str) -> None:
        self.made, self.ended = 0, 0
        self._spec_version = spec_version

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/small":
            return await PlainTextResponse("ok")(scope, receive, send)
        scope = {**scope, "asgi": {"version": "3.0", "spec_version": self._spec_version}}
        try:
            await StreamingResponse(self._pieces())(scope, receive, send)
        finally:
            self.ended += 1

    async def _pieces(self) -> AsyncIterator[bytes]:
        for _ in range(PIECES):
            self.made += PIECE
            yield bytes(PIECE)


class Serve:
    """Between a proxy and a replica as Serve does it: messages are pickled, and lie in unbounded lists."""

    def __init__(self, replica: Any) -> None:
        self._replica = replica

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        coming: asyncio.Queue[Message] = asyncio.Queue()
        going: asyncio.Queue[Message | BaseException | None] = asyncio.Queue()

        async def fetch() -> None:
            message: Message = {}
            while message.get("type") != "http.disconnect":
                message = pickle.loads(pickle.dumps(await receive()))
                coming.put_nowait(message)
            tasks[1].cancel()

        async def run() -> None:
            try:
                await self._replica(pickle.loads(pickle.dumps(_plain(scope))), coming.get, going.put)
                going.put_nowait(None)
            except BaseException as error:
                going.put_nowait(error)

        tasks = [asyncio.create_task(fetch()), asyncio.create_task(run())]
        try:
            while (message := await going.get()) is not None:
                if isinstance(message, BaseException):
                    raise message
                await send(message)
        finally:
            for task in tasks:
                task.cancel()


def _plain(scope: Scope) -> Scope:
    return {key: value for key, value in scope.items() if key not in ("app", "state")}


@contextmanager
def served(film: Film, **more: float) -> Iterator[int]:
    """The port of a server that answers so."""
    with serving(SentBytes(Serve(AnswerWindow(film, **more)))) as port:
        yield port


@pytest.fixture(params=["2.3", "2.4"])
def film(request: pytest.FixtureRequest) -> Film:
    """Of the first version, Starlette waits for the client's going while it sends; of the second it does not."""
    return Film(request.param)


def until(condition: Any) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_no_more_of_a_file_is_read_than_its_client_takes(film: Film):
    with served(film) as port, socket.create_connection(("127.0.0.1", port), 10) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        until(lambda: film.made > WINDOW_BYTES)
        before = -1
        while film.made != before:  # until it stands still
            before = film.made
            time.sleep(0.3)
        assert film.made <= WINDOW_BYTES + UNDERWAY
        received = 0
        while piece := raw.recv(1 << 20):
            received += len(piece)
        assert film.made == PIECE * PIECES < received, "and all of it arrives"


def test_a_client_that_goes_away_ends_the_answer(film: Film):
    with served(film) as port:
        raw = socket.create_connection(("127.0.0.1", port), 10)
        raw.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        until(lambda: film.made > WINDOW_BYTES)
        raw.close()
        until(lambda: film.ended == 1)
        assert film.made < PIECE * PIECES


def test_a_client_that_takes_nothing_for_long_is_cut_off(film: Film):
    with served(film, stalled_s=0.5) as port, socket.create_connection(("127.0.0.1", port), 10) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        until(lambda: film.ended == 1)
        received = 0
        while piece := raw.recv(1 << 20):
            received += len(piece)
        assert film.made < PIECE * PIECES and received < PIECE * PIECES


def test_many_answers_on_one_connection_and_without_a_proxy_are_complete(film: Film):
    with served(film) as port, httpx.Client(trust_env=False) as client:
        for _ in range(3):
            assert client.get(f"http://127.0.0.1:{port}/small").text == "ok"
            assert len(client.get(f"http://127.0.0.1:{port}/").content) == PIECE * PIECES
    with serving(AnswerWindow(film)) as port, httpx.Client(trust_env=False) as client:
        assert len(client.get(f"http://127.0.0.1:{port}/").content) == PIECE * PIECES
