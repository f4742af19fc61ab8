"""Every error response of the API is a problem (RFC 9457): those of routes, guards, FastAPI and Starlette."""

from types import SimpleNamespace

import httpx
import pytest
from starlette.testclient import TestClient

from cluster.api_types import InvalidValue, Problem, ProblemType
from cluster.errors import SettingsError
from cluster.settings import Settings
from deployments import problems
from deployments.access.authentication import Refusal
from deployments.api.app import MAX_BODY_BYTES, api
from deployments.jobs.drivers import JobsDown
from tests.support.api_server import application
from tests.support.serving.handles import Failing

NO_DETECTORS = {"detectors": SimpleNamespace(handles={}), "settings": Settings()}


class Nobody:
    """Refuses every request."""

    async def identify(self, scope):
        raise Refusal(401, "this key was revoked.")


def ask(method, path, attributes=None, base_url="http://127.0.0.1", **request) -> httpx.Response:
    with application(**attributes or {}) as app:
        client = TestClient(app, base_url=base_url, raise_server_exceptions=False)
        return client.request(method, path, **request)


def problem_of(answer: httpx.Response) -> Problem:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    problem = Problem.model_validate_json(answer.content)
    assert (problem.status, problem.instance) == (
        answer.status_code,
        answer.request.url.raw_path.decode().split("?")[0],
    )
    assert problem.title and len(problem.detail.split()) > 3, "a sentence"
    return problem


@pytest.mark.parametrize(
    ("status", "method", "path", "more"),
    [
        (400, "GET", "/v1/jobs", {"base_url": "http://evil.example"}),
        (401, "GET", "/v1/jobs", {"attributes": {"identifies": Nobody()}}),
        (403, "POST", "/v1/jobs", {"headers": {"Origin": "http://evil.example"}}),
        (404, "GET", "/v1/no%20route", {}),
        (405, "PUT", "/v1/jobs", {}),
        (413, "POST", "/v1/jobs", {"content": b" " * (MAX_BODY_BYTES + 1)}),
        (413, "POST", "/v1/jobs", {"content": iter([b" " * MAX_BODY_BYTES, b" "])}),
        (422, "POST", "/v1/jobs", {"content": b"{", "headers": {"Content-Type": "application/json"}}),
        (422, "GET", "/v1/assets?page=0", {}),
        (422, "GET", "/v1/jobs/x/logs", {"attributes": {"jobs": Failing(SettingsError("this is not a job"))}}),
        (422, "POST", "/v1/analyze", {"attributes": NO_DETECTORS, "json": {}}),
        (503, "GET", "/v1/jobs/x/logs", {"attributes": {"jobs": Failing(JobsDown("Ray does not answer"))}}),
        (500, "GET", "/v1/jobs/x/logs", {"attributes": {"jobs": Failing(ValueError("s3://evidence/secret"))}}),
    ],
)
def test_an_error_is_a_problem_whoever_raises_it(status, method, path, more):
    answer = ask(method, path, **more)
    problem = problem_of(answer)
    assert problem.status == status and "secret" not in answer.text
    assert status != 401 or answer.headers["www-authenticate"] == "Bearer"
    assert status != 405 or answer.headers["allow"]


def test_every_invalid_value_is_named_by_its_place():
    problem = problem_of(ask("GET", "/v1/assets?page=0&size=201"))
    assert problem.type == ProblemType.INVALID
    assert [error.loc for error in problem.errors] == ["query.page", "query.size"]
    assert problem.detail == f"query.page: {problem.errors[0].detail}"
    body = {"uris": ["/a", 5], "priority": "soon", "a/b~": 1}
    errors = problem_of(ask("POST", "/v1/jobs", json=body)).errors
    assert [(error.loc, error.pointer) for error in errors] == [
        ("body.uris.1", "#/uris/1"),
        ("body.priority", "#/priority"),
    ]
    extra = problem_of(ask("POST", "/v1/keys", json={"name": "x", "a/b~": 1})).errors
    assert extra == (InvalidValue(detail="extra inputs are not permitted", loc="body.a/b~", pointer="#/a~1b~0"),)


def test_a_body_with_thousands_of_invalid_values_gets_a_short_answer():
    answer = ask("POST", "/v1/jobs", json={"uris": [5] * 10_000})
    assert len(problem_of(answer).errors) == problems.MOST_ERRORS and len(answer.content) < 10_000


def test_names_in_a_body_that_are_long_or_no_unicode_do_not_break_the_answer():
    for body in (b'{"name": "x", "\\ud800/": 1}', b'{"name": "\\ud800"}', b'{"uris": ["\\ud800"], "priority": "x"}'):
        path = "/v1/jobs" if b"uris" in body else "/v1/keys"
        assert problem_of(ask("POST", path, content=body, headers={"Content-Type": "application/json"})).status == 422
    answer = ask("POST", "/v1/keys", json={"name": "x", "y" * 1_000_000: 1})
    assert problem_of(answer).errors and len(answer.content) < 2000


def test_a_name_that_is_no_utf_8_does_not_break_the_answer():
    wrong = SettingsError("file:///data/\udcff cannot be read")
    problem = problem_of(ask("GET", "/v1/jobs/x/logs", {"jobs": Failing(wrong)}))
    assert problem.detail == "file:///data/? cannot be read"


def test_the_openapi_document_declares_problems_for_every_route():
    for path, methods in api.openapi()["paths"].items():
        for method, operation in methods.items():
            for status in ("401", "403", "422", "429", "default"):
                content = operation["responses"][status]["content"]
                schema = {"$ref": "#/components/schemas/Problem"}
                assert content == {"application/problem+json": {"schema": schema}}, (method, path)
