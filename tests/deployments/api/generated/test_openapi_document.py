"""The OpenAPI document of the real API: shapes, media types and bounds of every route."""

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.support.local_api import LocalApi


@pytest.fixture(scope="module")
def real(running: LocalApi) -> Iterator[TestClient]:
    """The real API, asked by an admin."""
    with TestClient(running.app, headers=running.headers) as client:
        yield client


def operations(api: TestClient) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Path, method and description of each route, as /openapi.json has them."""
    for path, methods in api.get("/openapi.json").json()["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


@pytest.mark.parametrize(
    ("path", "kind"),
    [("jobs/{job}/logs", "text/plain"), ("assets/{asset}/thumbnail", "image/jpeg"), ("assets/{asset}/media", "*/*")],
)
def test_answers_that_are_not_json_have_their_type_in_the_document_and_errors_are_problems(
    real: TestClient, path: str, kind: str
):
    answers = real.get("/openapi.json").json()["paths"][f"/v1/{path}"]["get"]["responses"]
    assert (list(answers["200"]["content"]), list(answers["403"]["content"])) == ([kind], ["application/problem+json"])


def test_the_documentation_shows_the_shape_of_every_response(real: TestClient):
    without_a_model = {
        path
        for path, _, operation in operations(real)
        if "204" not in operation["responses"]  # no body
        and not operation["responses"]["200"].get("content", {}).get("application/json", {}).get("schema")
    }
    of_files = {f"/v1/assets/{{asset}}/{what}" for what in ("thumbnail", "media", "playable", "frame")}
    bytes_or_text = of_files | {"/v1/jobs/{job}/logs", "/v1/export", "/v1/report", "/v1/people/faces/{face}/picture"}
    assert without_a_model == bytes_or_text | {"/v1/detect/{name}/samples"}
    schemas = real.get("/openapi.json").json()["components"]["schemas"]
    shown = {"AssetPage", "DetectorInfo", "ErasedCaches", "Facets", "File", "Hits", "JobDetails", "Ready", "Upload"}
    assert shown <= set(schemas)
    for _, _, operation in operations(real):
        refusal = operation["responses"]["422"]["content"]["application/problem+json"]["schema"]
        assert refusal == {"$ref": "#/components/schemas/Problem"}


def test_every_number_parameter_of_a_route_has_bounds(real: TestClient):
    seen, named = 0, dict.fromkeys(("asset", "job", "name", "face", "number"), "x")
    for path, method, operation in operations(real):
        for parameter in operation.get("parameters", []):
            options = parameter["schema"].get("anyOf", [parameter["schema"]])
            for number in (option for option in options if option.get("type") in ("integer", "number")):
                seen += 1
                assert "minimum" in number and "maximum" in number, (path, parameter["name"])
                for value in ("9223372036854775807", "-9223372036854775809", "nan", "inf", "-inf", "1e400"):
                    params = {"q": "x", "model": "m", parameter["name"]: value}
                    response = real.request(method, path.format_map(named), params=params)
                    assert response.status_code == 422, (path, parameter["name"], value)
    assert seen >= 9
