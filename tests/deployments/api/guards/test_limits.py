"""Requests in progress, in all and per client, and the deadlines of bodies, over sockets where it matters."""

import asyncio
import socket
import time
from contextlib import ExitStack

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException

from deployments.api.app import ANSWERING, MOST_REQUESTS, RECEIVING, api
from deployments.api.guards.limits import Places, RequestLimits
from deployments.api.ingress import Ingress
from tests.support.api_server import serving

HEAD = b"POST /v1/upload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n"


def limited(answering=(10, 8), receiving=(64, 32), silence_s=20.0, grace_s=30.0):
    """An application with a query, an upload that is read to its end, one that is not read, and a failure."""
    app = FastAPI()
    app.add_middleware(RequestLimits, answering=answering, receiving=receiving, silence_s=silence_s, grace_s=grace_s)
    app.state.free = asyncio.Event()

    @app.get("/v1/health")
    async def health():
        return {"status": "ok"}

    @app.get("/v1/question")
    async def question():
        return {}

    @app.get("/v1/hanging")
    async def hanging():
        await app.state.free.wait()

    @app.get("/v1/broken")
    async def broken():
        raise ValueError("by a mistake of ours")

    @app.post("/v1/upload")
    async def upload(request: Request):
        return {"bytes": len(await request.body())}

    @app.post("/v1/unread")
    async def unread():
        raise HTTPException(404, "there is no such place")

    return app


def sent(port, data):
    connection = socket.create_connection(("127.0.0.1", port), 10)
    connection.sendall(data)
    return connection


def read_to_end(connection):
    """Everything that the server sends until it closes the connection."""
    answer = b""
    while piece := connection.recv(65536):
        answer += piece
    return answer


def client_of(app, address="10.0.0.1"):
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(address, 5000))
    return httpx.AsyncClient(transport=transport, base_url="http://api")


def test_105_unfinished_bodies_of_one_client_block_nobody_and_are_cut_off():
    with serving(limited(silence_s=2)) as port, ExitStack() as held:
        connections = [held.enter_context(sent(port, HEAD + b"\r\nx")) for _ in range(105)]
        client = held.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False))
        assert client.get("/v1/question").status_code == 200
        answers = [read_to_end(connection) for connection in connections]  # each connection is closed
        statuses = [answer.split()[1] for answer in answers]
        assert statuses.count(b"408") == 32 and statuses.count(b"429") == 105 - 32
        assert all(b"connection: close" in answer.lower() for answer in answers)
        assert all(b"Retry-After".lower() in answer.lower() for answer in answers if answer.split()[1] == b"429")
        assert client.post("/v1/upload", content=b"x" * 100).json() == {"bytes": 100}


def test_a_body_that_arrives_too_slowly_is_cut_off_though_it_never_stops():
    with serving(limited(silence_s=5, grace_s=1)) as port, sent(port, HEAD + b"\r\n") as connection:
        began = time.monotonic()
        connection.settimeout(0.1)
        answer = b""
        while not answer:
            assert time.monotonic() - began < 10
            connection.sendall(b"x")
            try:
                answer = connection.recv(1000)
            except TimeoutError:
                continue
        assert answer.split()[1] == b"408" and time.monotonic() - began < 4


def test_a_body_that_arrives_fast_enough_may_take_longer_than_the_grace():
    """The time that its bytes take at the least rate is added to the grace."""

    def pieces():
        for _ in range(8):
            time.sleep(0.15)
            yield bytes(16 << 10)

    with serving(limited(silence_s=5, grace_s=0.5)) as port:
        answer = httpx.post(f"http://127.0.0.1:{port}/v1/upload", content=pieces(), trust_env=False)
        assert answer.json() == {"bytes": 128 << 10}


@pytest.mark.anyio
async def test_a_client_has_its_limit_and_others_are_still_answered():
    app = limited(answering=(5, 3))
    async with client_of(app) as greedy, client_of(app, "10.0.0.2") as other:
        hanging = [asyncio.create_task(greedy.get("/v1/hanging")) for _ in range(3)]
        await asyncio.sleep(0.05)
        refused = await greedy.get("/v1/question")
        assert refused.status_code == 429 and refused.headers["Retry-After"] == "5"
        assert (await other.get("/v1/question")).status_code == 200
        app.state.free.set()
        assert {answer.status_code for answer in await asyncio.gather(*hanging)} == {200}
        assert (await greedy.get("/v1/question")).status_code == 200


@pytest.mark.anyio
async def test_an_api_full_of_hanging_requests_still_answers_its_probes():
    app = limited(answering=(3, 2))
    async with client_of(app) as one, client_of(app, "10.0.0.2") as other:
        hanging = [asyncio.create_task(client.get("/v1/hanging")) for client in (one, other, one)]
        await asyncio.sleep(0.05)
        assert (await other.get("/v1/health")).json() == {"status": "ok"}
        refused = await other.get("/v1/question")
        assert refused.status_code == 503 and refused.headers["Retry-After"] == "5"
        app.state.free.set()
        await asyncio.gather(*hanging)
        assert (await other.get("/v1/question")).status_code == 200


@pytest.mark.anyio
async def test_a_complete_body_needs_a_place_among_the_requests_being_answered():
    app = limited(answering=(1, 1))
    async with client_of(app) as one, client_of(app, "10.0.0.2") as other:
        hanging = asyncio.create_task(one.get("/v1/hanging"))
        await asyncio.sleep(0.05)
        refused = await other.post("/v1/upload", content=b"x")
        assert refused.status_code == 503 and "try again" in refused.json()["detail"]
        app.state.free.set()
        await hanging
        assert (await other.post("/v1/upload", content=b"x")).status_code == 200


@pytest.mark.anyio
async def test_a_place_is_freed_however_the_request_ends():
    app = limited(answering=(1, 1), receiving=(1, 1))
    async with client_of(app) as client:
        for _ in range(3):
            assert (await client.get("/v1/broken")).status_code == 500
            assert (await client.post("/v1/unread", content=b"x")).status_code == 404
            assert (await client.post("/v1/upload", content=b"x")).status_code == 200


def test_a_client_that_disconnects_in_the_middle_of_a_body_frees_its_place():
    with serving(limited(receiving=(1, 1))) as port:
        sent(port, HEAD + b"\r\nx").close()
        deadline = time.monotonic() + 10
        while httpx.post(f"http://127.0.0.1:{port}/v1/upload", content=b"x", trust_env=False).status_code == 429:
            assert time.monotonic() < deadline


def test_a_response_before_the_end_of_the_body_ends_the_connection():
    with serving(limited()) as port, sent(port, HEAD.replace(b"upload", b"unread") + b"\r\n") as connection:
        answer = read_to_end(connection)
        assert answer.split()[1] == b"404" and b"connection: close" in answer.lower()


def test_addresses_without_requests_are_dropped():
    places = Places(2, 1)
    places.take("10.0.0.1")
    with pytest.raises(HTTPException) as refusal:
        places.take("10.0.0.1")
    assert refusal.value.status_code == 429
    places.free("10.0.0.1")
    assert not places._taken


def test_serve_passes_on_the_requests_that_the_api_itself_refuses():
    """Above max_ongoing_requests Serve lets requests wait, probes among them."""
    assert ANSWERING[0] + RECEIVING[0] < MOST_REQUESTS == Ingress.max_ongoing_requests
    assert ANSWERING[1] < ANSWERING[0] and RECEIVING[1] < RECEIVING[0]
    assert RequestLimits in {middleware.cls for middleware in api.user_middleware}
