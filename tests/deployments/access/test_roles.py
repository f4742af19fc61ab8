"""Every route with every role: without a key, with an expired and a revoked one, with too low a role, of another case.

The requests are generated from the routes of the API, and compared with the table in docs/security.md.
"""

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from cluster.access import tokens
from cluster.access.identity import ROLES
from cluster.exposure.exposure import ExposureRules
from cluster.people.face import face_id
from cluster.records import asset_id
from deployments.access.roles import UNDECLARED, Needs, roles, routes_of
from deployments.api.app import api
from tests.support.fakes.files import FOLDER, as_row, files
from tests.support.local_api import LocalApi
from tests.support.paths import ROOT
from tests.support.stored import commit

DECLARED = sorted(roles(api.routes), key=lambda line: (line[1], line[0]))
EVERYWHERE = {
    (method, route.path)
    for route in routes_of(api.routes)
    for method in route.methods
    for dependency in route.dependant.dependencies
    if isinstance(dependency.call, Needs) and dependency.call.everywhere
}
FILM = asset_id(f"{FOLDER}/clip_1.mp4")
JOB = "scan-of-another-case"
FACE = face_id(FILM, 0.0, (0.1, 0.3, 0.3, 0.7))
BODIES: dict[str, dict[str, Any]] = {  # of routes that read them before they look for the file
    "/v1/assets/{asset}/decision": {"version": 9, "label": "relevant"},  # not the present one: nothing is stored
    "/v1/assets/{asset}/decision/undo": {"version": 9},
    "/v1/people/groups/{face}/name": {"version": 9, "name": "Ann"},
    "/v1/people/groups/{face}/merge": {"version": 9, "others": [{"face": FACE, "version": 9}]},
    "/v1/people/groups/{face}/split": {"version": 9, "faces": [FACE]},
    "/v1/first-paint": {"seconds": 0.5},
    "/v1/watch-list/people/{name}/faces": {"face": FACE},
    "/v1/me/exposure": ExposureRules().exposure.model_dump(),
    "/v1/people/groups/{face}/reject": {"version": 9, "faces": [FACE], "reason": "face"},
}

QUERIES = {"/v1/report": {"id": FILM}}  # it looks for each of its files in their bucket


def test_the_table_in_the_docs_has_a_line_for_every_route_with_its_role():
    page = (ROOT / "docs" / "security.md").read_text()
    table = re.findall(r"^\| (GET|POST|PUT|PATCH|DELETE) \| (\S+) \| (\w+) \| (.*?) ?\|$", page, re.MULTILINE)
    assert sorted((method, path, role) for method, path, role, _ in table) == sorted(
        (method, path, role or "open") for method, path, role in DECLARED
    )
    assert {(method, path) for method, path, _, note in table if note == "refused: all"} == EVERYWHERE
    assert len(DECLARED) >= 30


def test_a_route_without_a_role_is_found():
    from fastapi import FastAPI

    app = FastAPI()
    app.get("/v1/forgotten")(lambda: None)
    with pytest.raises(LookupError, match="/v1/forgotten declares 0 roles"):
        list(roles(app.routes))


class Place:
    """A client of the real API, and tokens to ask it with."""

    def __init__(self, client: TestClient, running: LocalApi) -> None:
        self.client, self.store, self.audit = client, running.store, running.audit
        add = self.store.add_key
        self.key = {role: str(add(f"a {role}", role)) for role in ROLES}
        self.elsewhere = {role: str(add(f"another case's {role}", role, ("s3://elsewhere",))) for role in ROLES}
        revoked = add("revoked", "admin")
        self.store.revoke(revoked.id)
        user_gone = "ann"
        self.store.add_user(user_gone, "no password", "admin")
        session = self.store.start_session(f"user:{user_gone}")
        self.store.remove_user(user_gone)
        self.invalid = {
            "no key": None,
            "an expired key": str(add("expired", "admin", expires_at=time.time() - 1)),
            "a revoked key": str(revoked),
            "an unknown key": str(tokens.new()),
            "a wrong secret": str(tokens.Token(tokens.parse(self.key["admin"]).id, tokens.new().secret)),
            "a one-time link": str(self.store.add_link(tokens.parse(self.key["admin"]).id)),
            "the session of a removed user": str(session),
            "no token": "secret",
            "a JWT, without a provider": "e30.e30.e30",
        }

    def ask(self, method: str, path: str, token: str | None, **more: Any) -> Any:
        """The answer to a request with this token, at a file, job or detector that may exist."""
        if method != "GET" and path in BODIES:
            more = {"json": BODIES[path], **more}
        if path in QUERIES:
            more = {"params": QUERIES[path], **more}
        path = path.format(asset=FILM, job=JOB, kind="people", name="nobody", id="0" * 12, face=FACE, number=1)
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        return self.client.request(method, path, headers=headers, **more)


@pytest.fixture(scope="module")
def place(running: LocalApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    rows = [as_row(file, place, "scan-before") for place, file in enumerate(files())]
    running.catalog.memory.add(rows)
    running.catalog.load(commit(tmp_path_factory.mktemp("results"), "roles.parquet", *rows))
    with TestClient(running.app, raise_server_exceptions=False) as client:
        yield Place(client, running)


@pytest.mark.parametrize(("method", "path", "role"), DECLARED, ids=lambda value: str(value))
def test_a_route_refuses_who_is_nobody(place: Place, method: str, path: str, role: str | None):
    for what, token in place.invalid.items():
        answer = place.ask(method, path, token)
        if role is None and (token is None or path == "/v1/health"):
            assert answer.status_code not in (401, 403), what
        else:
            assert (answer.status_code, answer.headers.get("www-authenticate")) == (401, "Bearer"), (what, answer.text)
            assert "raysift keys add" in answer.json()["detail"]


@pytest.mark.parametrize(("method", "path", "role"), DECLARED, ids=lambda value: str(value))
def test_a_route_refuses_lower_roles_and_no_others(place: Place, method: str, path: str, role: str | None):
    for other in ROLES:
        answer = place.ask(method, path, place.key[other])
        if role is not None and ROLES.index(other) < ROLES.index(role):
            assert answer.status_code == 403, answer.text
            assert f"needs the role {role}, and you have the role {other}" in answer.json()["detail"]
        elif path.endswith("/media") and other == "viewer":
            assert answer.status_code == 403 and "needs the role reviewer" in answer.json()["detail"]  # it is a video
        else:
            assert answer.status_code not in (401, 403), answer.text


@pytest.mark.parametrize(("method", "path", "role"), DECLARED, ids=lambda value: str(value))
def test_a_route_shows_nothing_of_another_case(place: Place, method: str, path: str, role: str | None):
    answer = place.ask(method, path, place.elsewhere["admin"])
    if (method, path) in EVERYWHERE:
        assert answer.status_code == 403 and "limited to some" in answer.json()["detail"]
    elif any(part in path for part in ("{asset}", "{job}", "{face}", "{number}")):
        assert answer.status_code == 404
        assert FOLDER not in answer.text
    else:
        assert answer.status_code != 403 and "s3://evidence" not in answer.text


def test_lists_and_searches_are_limited_to_the_own_case(place: Place, running: LocalApi):
    mine = str(place.store.add_key("case 7", "reviewer", (f"{FOLDER}/clip_1.mp4",)))
    for path in ("/v1/assets", "/v1/assets?label=face", "/v1/facets", "/v1/facets?under=s3://evidence", "/v1/overview"):
        assert place.ask("GET", path, place.key["viewer"]).json()["total"] >= 3
        assert place.ask("GET", path, mine).json()["total"] == 1
        assert place.ask("GET", path, place.elsewhere["viewer"]).json()["total"] == 0
    assert place.ask("GET", f"/v1/assets/{FILM}", mine).json()["name"] == "clip_1.mp4"
    assert place.ask("GET", f"/v1/search?like={FILM}", place.elsewhere["viewer"]).status_code == 404
    refused = place.ask("POST", "/v1/jobs", place.elsewhere["operator"], json={"uris": ["s3://evidence/case 7"]})
    assert refused.status_code == 403 and "under s3://elsewhere" in refused.json()["detail"]


def test_the_pages_of_the_documentation_need_a_key(place: Place):
    for path in UNDECLARED:
        assert place.ask("GET", path, None).status_code == 401
    assert place.ask("GET", "/openapi.json", place.key["viewer"]).status_code == 200


def test_readiness_names_no_detector_without_a_key(place: Place):
    assert place.ask("GET", "/v1/ready", None).json() == {"ready": True, "detectors": {}}


def test_no_path_that_is_not_a_route_answers_without_a_key(place: Place):
    for path in ("/", "/v1", "/v1/health/", "/v1/Health", "//v1/health", "/v1/session/x", "/-/routes"):
        assert place.ask("GET", path, None).status_code == 401, path
