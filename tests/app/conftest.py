"""The app's pages with a fake API."""

import functools
from collections.abc import Iterator

import pytest
import streamlit as st
from fastapi import Request, Response
from starlette.middleware.base import RequestResponseEndpoint
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

from tests.support.fakes.api import FakeApi
from tests.support.fakes.sessions import TOKEN
from tests.support.pages import Visit, served
from tests.support.paths import ROOT

UNCHANGED = ("/v1/analyze", "/v1/review/next", "/v1/review/progress")  # asked by POST


@pytest.fixture(scope="session", autouse=True)
def component_manifests() -> Iterator[None]:
    """Read the metadata of all installed packages once, not for each AppTest, which takes a second of CPU time."""
    with pytest.MonkeyPatch.context() as patch:
        scan = manifest_scanner.scan_component_manifests
        patch.setattr(manifest_scanner, scan.__name__, functools.cache(scan))
        yield


@pytest.fixture(scope="session")
def port() -> Iterator[int]:
    """The port of a fake API that all tests share: it refuses to be changed."""
    shared = FakeApi()

    @shared.app.middleware("http")
    async def refuse_changes(request: Request, answer: RequestResponseEndpoint) -> Response:
        if request.method == "GET" or request.url.path in UNCHANGED:
            return await answer(request)
        return Response(f"{request.method} {request.url.path} changes what other tests see: use `api`", 500)

    with served(shared) as port:
        yield port


@pytest.fixture
def api() -> Iterator[FakeApi]:
    """A fake API that the test changes; `port` is added to it."""
    api = FakeApi()
    with served(api) as port:
        api.port = port  # type: ignore[attr-defined]
        yield api
    api.catalog.close()


@pytest.fixture
def visit(monkeypatch: pytest.MonkeyPatch, port: int) -> Visit:
    """Open a page with URL parameters, with the shared fake API or the API at another port."""

    def visit(view: str = "browse", /, port: int = port, session: str = TOKEN, **params: str | list[str]) -> AppTest:
        monkeypatch.setenv("RAYSIFT_API__PORT", str(port))
        monkeypatch.setattr("app.page.session", lambda: session)  # AppTest has no cookies
        st.cache_data.clear()
        at = AppTest.from_file(str(ROOT / "app" / "main.py"), default_timeout=30)
        if view != "browse":
            at.run()
            at.switch_page(f"views/{view}.py")
        for name, value in params.items():
            at.query_params[name] = value
        at.run()
        assert not at.exception
        return at

    return visit
