"""Host and Origin: which host names the API answers to, and which pages may change something through it."""

import httpx
import pytest

from cluster.settings import Settings
from deployments.api.app import api
from deployments.api.guards import origin
from tests.support.api_server import application

OWN = "127.0.0.1:8000"
CHANGING = sorted(
    (method.upper(), path)
    for path, methods in api.openapi()["paths"].items()
    for method in methods
    if method in ("post", "put", "patch", "delete")
)


@pytest.fixture(autouse=True)
def names(monkeypatch):
    """Of an API with a name of its own, behind a proxy."""
    monkeypatch.setattr(origin, "HOSTS", ["127.0.0.1", "localhost"])
    monkeypatch.setattr(origin, "ORIGINS", set())
    origin.answer_to(
        Settings(
            api={"names": ["raysift.example.com"]},
            app={"names": ["view.example.com"], "host": "10.0.0.5", "port": 8501},
        )
    )


async def status(method, path, host=OWN, **headers):
    with application() as app:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
            return (await client.request(method, path, headers=headers)).status_code


def test_some_routes_change_something():
    assert ("POST", "/v1/jobs/{job}/cancel") in CHANGING and ("DELETE", "/v1/people/{name}") in CHANGING
    assert len(CHANGING) >= 9


@pytest.mark.anyio
@pytest.mark.parametrize(("method", "path"), CHANGING)
async def test_a_page_of_another_site_changes_nothing(method, path):
    assert await status(method, path, origin="http://evil.example") == 403


@pytest.mark.anyio
@pytest.mark.parametrize(
    "value",
    [
        "null",
        "",
        "http://evil.example:8000",
        "http://127.0.0.1.evil.example",
        "http://127.0.0.1:9999",  # another server of this machine
        "http://127.0.0.1",
        "http://user@127.0.0.1:8000",
        "http://evil.example/127.0.0.1:8000",
        "file://127.0.0.1:8000",
        "http://evil.example http://127.0.0.1:8000",
    ],
)
async def test_an_unknown_origin_is_refused(value):
    assert await status("POST", "/v1/jobs/none/cancel", origin=value) == 403


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("host", "value"),
    [
        (OWN, "http://127.0.0.1:8000"),  # /docs
        ("localhost:9000", "http://localhost:9000"),  # whatever local port a tunnel uses
        (OWN, "http://localhost:8501"),  # the app
        (OWN, "http://10.0.0.5:8501"),
        (OWN, "https://raysift.example.com"),  # a proxy that forwards to the API's address
        ("raysift.example.com", "https://RAYSIFT.example.com"),
        (OWN, "https://view.example.com:8443"),
    ],
)
async def test_a_page_of_the_api_or_the_app_is_accepted(host, value):
    assert await status("POST", "/v1/jobs", host, origin=value) == 422  # from the route: there is no body


@pytest.mark.anyio
async def test_a_browser_that_sends_no_origin_is_recognised_by_sec_fetch_site():
    for site in ("cross-site", "same-site"):
        assert await status("POST", "/v1/jobs", **{"sec-fetch-site": site}) == 403
    for site in ("same-origin", "none"):
        assert await status("POST", "/v1/jobs", **{"sec-fetch-site": site}) == 422


@pytest.mark.anyio
async def test_requests_without_origin_and_reading_from_any_origin_are_accepted():
    assert await status("POST", "/v1/jobs") == 422
    assert await status("GET", "/openapi.json", origin="http://evil.example") == 200


@pytest.mark.anyio
async def test_the_api_answers_only_to_its_own_names():
    for host in (OWN, "raysift.example.com"):
        assert await status("GET", "/openapi.json", host) == 200
    for host in ("evil.example", "raysift.example.com.evil.example", "view.example.com"):
        assert await status("GET", "/openapi.json", host) == 400
