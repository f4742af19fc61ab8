"""Additions to Serve's proxies, without Serve: in uvicorn, and with a stand-in for its list of messages."""

import asyncio
import pickle
import socket
import threading
import time
from contextlib import contextmanager

import httpx
import pytest
import uvicorn
from ray.serve._private import constants
from uvicorn.protocols.http import auto

from cluster.api_types import Problem
from cluster.processes import Processes
from cluster.settings import Settings
from deployments.api import http_proxy
from deployments.problems import PlainErrors
from tests.support.api_server import serving
from tests.support.servers.chroma import free_port

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def answer(scope, receive, send):
    """An application that reads the body and says ok."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@contextmanager
def uvicorn_with(headers_s):
    protocol = type("Quick", (http_proxy.HeaderLimits,), {"headers_s": headers_s})
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(answer, "127.0.0.1", port, http=protocol, lifespan="off", log_level="critical")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            thread.join(0.01)
        yield port
    finally:
        server.should_exit = server.force_exit = True
        thread.join(10)


@pytest.mark.parametrize("begun", [b"", b"\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n"])
def test_headers_that_do_not_end_close_the_connection(begun):
    with uvicorn_with(0.5) as port, socket.create_connection(("127.0.0.1", port), 10) as raw:
        began = time.monotonic()
        raw.sendall(begun)
        assert raw.recv(100) == b"" and time.monotonic() - began < 5


def test_headers_that_arrive_slowly_close_the_connection():
    with uvicorn_with(0.5) as port, socket.create_connection(("127.0.0.1", port), 10) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\nX: ")
        deadline = time.monotonic() + 5
        with pytest.raises(OSError):  # the connection is closed
            while True:
                assert time.monotonic() < deadline
                raw.sendall(b"x")
                time.sleep(0.05)


@pytest.mark.parametrize("before", [b"", REQUEST], ids=["a new connection", "a kept one"])
def test_headers_that_grow_without_end_close_the_connection(before):
    with uvicorn_with(20) as port, socket.create_connection(("127.0.0.1", port), 10) as raw:
        if before:
            raw.sendall(before)
            assert raw.recv(1000).startswith(b"HTTP/1.1 200")
        raw.sendall(b"GET / HTTP/1.1\r\n")
        with pytest.raises(OSError):  # the connection is closed
            for number in range(1000):
                raw.sendall(b"X-%d: " % number + b"x" * 10_000 + b"\r\n")


def test_large_headers_and_larger_bodies_are_taken():
    with uvicorn_with(20) as port:
        url, headers = f"http://127.0.0.1:{port}/", {"X-Large": "x" * 60_000}
        with httpx.Client(trust_env=False) as client:
            for _ in range(3):
                assert client.post(url, content=b"x" * 1_000_000, headers=headers).text == "ok"


def test_a_kept_connection_has_a_deadline_for_each_request_but_not_for_a_body():
    with uvicorn_with(1) as port, socket.create_connection(("127.0.0.1", port), 10) as raw:
        for _ in range(3):
            raw.sendall(REQUEST)
            assert raw.recv(1000).startswith(b"HTTP/1.1 200")
            time.sleep(0.5)
        raw.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n")
        time.sleep(1.5)
        raw.sendall(b"ab")
        assert raw.recv(1000).startswith(b"HTTP/1.1 200")
        raw.sendall(REQUEST[:10])
        assert raw.recv(1000) == b""


@pytest.mark.anyio
async def test_the_proxy_holds_no_more_of_a_body_than_the_window():
    """Like Serve: one task puts messages into an unbounded list, another takes all of them and sends them."""
    taken, queue, sent = 0, [], []

    async def body():
        nonlocal taken
        taken += 1
        return {"type": "http.request", "body": bytes(1000), "more_body": True}

    async def serve(scope, receive, send):
        async def collect():
            while True:
                queue.append(await receive())

        collecting = asyncio.create_task(collect())
        for _ in range(20):
            for _ in range(10):
                await asyncio.sleep(0)
            assert sum(len(message["body"]) for message in queue) <= 5000
            sent.extend(pickle.loads(pickle.dumps(queue)))
            queue.clear()
        collecting.cancel()

    await http_proxy.BodyWindow(serve, 5000)({"type": "http"}, body, None)
    assert len(sent) > 20  # reading continued whenever there was room
    assert type(sent[0]) is dict and sent[0] == {"type": "http.request", "body": bytes(1000), "more_body": True}


async def unanswered(scope, receive, send):
    """Serve, when the replica that had the request has died."""


async def unavailable(scope, receive, send):
    """Serve, when there is no replica."""
    headers = [(b"content-type", b"text/plain"), (b"retry-after", b"3")]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": b"Deployment api is unavailable"})


@pytest.mark.parametrize(
    ("serve", "status", "detail"),
    [(unanswered, 500, http_proxy.LOST), (unavailable, 503, "Deployment api is unavailable")],
)
def test_what_serve_itself_answers_or_leaves_unanswered_is_a_problem(monkeypatch, serve, status, detail):
    monkeypatch.setattr(auto, "AutoHTTPProtocol", auto.AutoHTTPProtocol)
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "")
    for middleware in http_proxy.middlewares():  # in the order in which Serve applies them
        serve = middleware.cls(serve)
    with serving(serve) as port:
        answered = httpx.get(f"http://127.0.0.1:{port}/v1/jobs", trust_env=False)
    problem = Problem.model_validate_json(answered.content)
    assert (answered.status_code, answered.headers["content-type"]) == (status, "application/problem+json")
    assert (problem.status, problem.detail, problem.instance) == (status, detail, "/v1/jobs")
    assert answered.headers.get("retry-after") == ("3" if status == 503 else None)


@pytest.mark.parametrize(
    ("named", "client"), [(None, "127.0.0.1"), ("10.9.9.9", "127.0.0.1"), ("127.0.0.1", "10.0.0.7")]
)
def test_x_forwarded_for_is_trusted_only_from_configured_proxies(monkeypatch, named, client):
    monkeypatch.setattr(auto, "AutoHTTPProtocol", auto.AutoHTTPProtocol)
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", named or "")
    if named is None:
        monkeypatch.delenv("FORWARDED_ALLOW_IPS")
    http_proxy.middlewares()
    seen = []

    async def application(scope, receive, send):
        seen.append(scope["client"][0])

    config = uvicorn.Config(application, lifespan="off")
    config.load()
    headers = [(b"x-forwarded-for", b"10.0.0.7")]
    scope = {"type": "http", "client": ("127.0.0.1", 1), "headers": headers, "asgi": {"version": "3.0"}}
    asyncio.run(config.loaded_app(scope, None, None))
    assert seen == [client]


def test_serve_finds_the_function_where_raysift_up_names_it(monkeypatch):
    from ray.serve._private.http_util import validate_http_proxy_callback_return
    from ray.serve._private.utils import call_function_from_import_path

    monkeypatch.setattr(auto, "AutoHTTPProtocol", auto.AutoHTTPProtocol)
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "")  # restores what the function sets when the test ends
    name = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
    path = Processes(Settings()).environment()[name]
    assert hasattr(constants, name)  # Serve's constants are named after the variables that set them
    added = validate_http_proxy_callback_return(call_function_from_import_path(path))
    ours = [http_proxy.SentBytes, http_proxy.BodyWindow, http_proxy.Unanswered, PlainErrors]
    assert [middleware.cls for middleware in added] == ours
    config = uvicorn.Config(answer)
    config.load()
    assert config.http_protocol_class is http_proxy.HeaderLimits
