"""The app's pages without a browser: a fake API behind a port, and what a page drew and wrote."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import uvicorn
from starlette.testclient import TestClient
from streamlit.testing.v1 import AppTest

from app.client import ApiClient
from tests.support.fakes.api import FakeApi

Visit = Callable[..., AppTest]  # the fixture `visit`


@contextmanager
def served(api: FakeApi, port: int = 0) -> Iterator[int]:
    """Serve the fake API at a port of this machine, 0: any that is free; gives the port."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        server = uvicorn.Server(uvicorn.Config(api.app, log_level="critical", lifespan="off"))
        listener.listen()
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join(10)


def client_of(api: FakeApi) -> ApiClient:
    """The app's client, whose requests go to the fake API without a network."""
    inside = TestClient(api.app)

    def answer(request: httpx.Request) -> httpx.Response:
        response = inside.request(
            request.method, str(request.url), content=request.read(), headers=dict(request.headers)
        )
        return httpx.Response(response.status_code, content=response.content)

    return ApiClient("http://api", httpx.MockTransport(answer))


def drawn(at: AppTest, name: str) -> dict[str, Any]:
    """What a component was given to draw."""
    (element,) = (
        element.proto for element in at.get("bidi_component") if element.proto.component_name == f"raysift_{name}"
    )
    return json.loads(element.json)


def words(at: AppTest) -> str:
    """All that Streamlit itself wrote on the page."""
    kinds = (at.markdown, at.caption, at.info, at.warning, at.error, at.success)
    return "\n".join(element.value for elements in kinds for element in elements)
