"""The span of each request of the API."""

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from cluster.traces import spans
from deployments import correlation
from deployments.api.guards.measured import Measured
from tests.cluster.traces.kept import kept_spans


async def asset(request):
    if request.query_params["q"] == "broken":
        raise ValueError("/data/case-7/a.jpg")
    with spans.span("call"):
        return PlainTextResponse("there")


@pytest.fixture
def client():
    routes = [Route(path, asset) for path in ("/v1/assets/{asset}", "/v1/health")]
    return TestClient(Starlette(routes=routes, middleware=[Middleware(Measured)]), raise_server_exceptions=False)


def test_a_request_is_recorded_by_its_route_without_its_path_and_query(client):
    with kept_spans() as kept:
        client.get("/v1/assets/0a1b2c", params={"q": "words"})
    assert kept.paths() == {"GET /v1/assets/{asset}", "GET /v1/assets/{asset}/call"}
    request = kept.named("GET /v1/assets/{asset}")
    assert request.attributes["http.response.status_code"] == 200
    assert "0a1b2c" not in request.to_json() and "words" not in request.to_json()


def test_a_request_that_fails_is_recorded_as_such_without_the_reason(client):
    with kept_spans() as kept:
        assert client.get("/v1/assets/0a1b2c", params={"q": "broken"}).status_code == 500
    request = kept.named("GET /v1/assets/{asset}")
    assert request.status.description == "5xx" and "case-7" not in request.to_json()


def test_a_request_is_in_the_trace_of_its_caller(client):
    caller = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    with kept_spans() as kept:
        client.get("/v1/assets/0a1b2c", params={"q": ""}, headers={correlation.TRACE_HEADER: caller})
    assert f"{kept.named('call').context.trace_id:032x}" in caller


def test_probes_are_not_recorded(client):
    with kept_spans() as kept:
        assert client.get("/v1/health", params={"q": "broken"}).status_code == 500
    assert not kept.spans


def test_fastapi_records_nothing_of_its_own_even_if_its_variables_are_set(monkeypatch):
    from deployments.api.app import api

    assert not any(api._telemetry[signal] for signal in ("auto_configure", "tracing", "metrics", "logs"))
