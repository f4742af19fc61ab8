"""Test the app's pages without a browser: serve a fake API, and read what a page has drawn."""

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
    """Serve the fake API on 127.0.0.1 until the end of the block; yields the port. Port 0 takes a free one."""
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
    """The app's client, connected to the fake API without a network."""
    test_client = TestClient(api.app)

    def answer(request: httpx.Request) -> httpx.Response:
        response = test_client.request(
            request.method, str(request.url), content=request.read(), headers=dict(request.headers)
        )
        return httpx.Response(response.status_code, content=response.content)

    return ApiClient("http://api", transport=httpx.MockTransport(answer))


def drawn(at: AppTest, name: str) -> dict[str, Any]:
    """The data of the only component of this name on the page."""
    (element,) = (
        element.proto for element in at.get("bidi_component") if element.proto.component_name == f"raysift_{name}"
    )
    return json.loads(element.json)


def words(at: AppTest) -> str:
    """The text of Streamlit's own elements on the page, such as markdown, captions and warnings."""
    kinds = (at.markdown, at.caption, at.info, at.warning, at.error, at.success)
    return "\n".join(element.value for elements in kinds for element in elements)
