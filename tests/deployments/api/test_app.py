"""The application before it has any route: the status of each error, and bodies that are read into memory."""

import httpx
import pytest
from ray.exceptions import RayTaskError

from cluster.errors import SettingsError
from cluster.vectors import VectorsDown
from deployments.api.app import MAX_BODY_BYTES
from deployments.jobs.drivers import JobsDown
from tests.cluster.metrics.recorded import recorded
from tests.support.api_server import application
from tests.support.serving.handles import Failing


async def ask(method, path, content=None, **attributes):
    with application(**attributes) as app:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.request(method, path, content=content, headers={"Content-Type": "application/json"})


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("error", "status"),
    [(SettingsError("wrong"), 422), (JobsDown("away"), 503), (VectorsDown("away"), 503), (ValueError("ours"), 500)],
)
async def test_an_error_has_the_same_status_from_any_deployment(error, status):
    answer = await ask("GET", "/v1/jobs/x/logs", jobs=Failing(error))
    assert answer.status_code == status
    assert status == 500 or str(error) in answer.json()["detail"]
    if not isinstance(error, VectorsDown):  # which no other deployment raises
        wrapped = RayTaskError("one", "a traceback", error)
        assert (await ask("GET", "/v1/jobs/x/logs", jobs=Failing(wrapped))).status_code == status


@pytest.mark.anyio
async def test_an_invalid_value_is_named_in_the_response():
    answer = await ask("GET", "/v1/search?q=x&limit=0")
    assert answer.status_code == 422 and answer.json()["detail"].startswith("query.limit: ")


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/results/load"])
async def test_a_body_that_is_no_upload_is_refused_above_the_memory_limit(path):
    async def undeclared():
        for _ in range(MAX_BODY_BYTES // 1000 + 1):
            yield b" " * 1000

    assert (await ask("POST", path, b" " * (MAX_BODY_BYTES + 1))).status_code == 413
    assert (await ask("POST", path, undeclared())).status_code == 413
    assert (await ask("POST", path, b" " * 1000)).status_code == 422


@pytest.mark.anyio
async def test_requests_are_measured_by_their_declared_route_and_the_class_of_their_status():
    with recorded() as values:
        await ask("GET", "/v1/jobs/secret-name/logs", jobs=Failing(ValueError("ours")))
        await ask("GET", "/v1/no-such-route/secret-name")
        await ask("BREW", "/v1/health")
        await ask("GET", "/v1/health")
    assert {name for name, _, _ in values} == {"raysift_api_request_seconds"}
    assert [(labels["method"], labels["route"], labels["code"]) for _, _, labels in values] == [
        ("GET", "/v1/jobs/{job}/logs", "5xx"),
        ("GET", "none", "4xx"),
        ("other", "/v1/health", "4xx"),
        ("GET", "/v1/health", "2xx"),
    ]
