"""Where the settings demand a purpose, what is recorded needs one, and the record holds it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from cluster.access.rules import AccessRules
from cluster.records import MediaItem, Result, asset_id
from cluster.settings import Settings
from deployments.access.blurring import is_explicit
from deployments.api.searches.search import Found
from tests.support.local_api import LocalApi
from tests.support.stored import commit, found, row

PLAIN, EXPLICIT, UNKNOWN, FILM = (asset_id(f"s3://purposes/{name}") for name in ("a.jpg", "b.jpg", "c.jpg", "d.mp4"))
PURPOSE = "case 7: Straße"


@pytest.fixture(scope="module")
def client(running: LocalApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    rows = [
        row("s3://purposes/a.jpg", found("nsfw", "nude", 0.02), unit=1),
        row("s3://purposes/b.jpg", found("nsfw", "nude", 0.9), unit=2),
        row("s3://purposes/c.jpg", unit=3),
        row("s3://purposes/d.mp4", found("nsfw", "nude", 0.4), kind="video", unit=4),
    ]
    running.catalog.load(commit(tmp_path_factory.mktemp("results"), "purposes.parquet", *rows))
    with TestClient(running.app, headers=running.headers) as client:
        yield client


@pytest.fixture
def demanded(running: LocalApi) -> Iterator[None]:
    before: Settings = running.ingress.settings
    running.ingress.settings = before.model_copy(update={"access": AccessRules(purpose_required=True)})
    yield
    running.ingress.settings = before


ACTS: list[tuple[str, str, dict[str, Any], str]] = [
    ("GET", f"/v1/search?like={PLAIN}&by=faces", {}, "searched by a face"),
    ("POST", "/v1/people/ann", {}, "person enrolled"),
    ("POST", "/v1/people", {"json": {"out": "s3://found"}}, "faces named"),
    ("POST", "/v1/people/ann/removed", {}, "person removed"),
    ("POST", "/v1/people/ann/rejected", {"json": {"asset": PLAIN}}, "faces rejected"),
    ("DELETE", "/v1/people/ann", {}, "person purged"),
    ("GET", "/v1/people/groups", {}, "people viewed"),
    ("GET", f"/v1/assets/{EXPLICIT}/media", {}, "original viewed"),
    ("GET", f"/v1/assets/{UNKNOWN}/media", {}, "original viewed"),
    ("GET", f"/v1/assets/{FILM}/media", {}, "original viewed"),
]


@pytest.mark.parametrize(("method", "path", "more", "what"), ACTS, ids=lambda value: str(value))
def test_an_act_without_a_purpose_is_refused_in_a_sentence_and_not_recorded(
    client, running, demanded, method, path, more, what
):
    before = list(running.audit.records())
    for header in ({}, {"X-Purpose": ""}, {"X-Purpose": "%20%0a"}):
        answer = client.request(method, path, headers=header, **more)
        assert answer.status_code == 403
        assert "needs a purpose" in answer.json()["detail"] and "X-Purpose" in answer.json()["detail"]
    assert list(running.audit.records()) == before


@pytest.mark.parametrize(("method", "path", "more", "what"), ACTS, ids=lambda value: str(value))
def test_an_act_with_a_purpose_is_recorded_with_it(client, running, demanded, method, path, more, what):
    running.ingress.viewed.__init__()  # forget what was viewed a moment ago
    before = len(list(running.audit.records()))
    answer = client.request(method, path, headers={"X-Purpose": quote(PURPOSE)}, **more)
    assert answer.status_code != 403
    recorded = list(running.audit.records())[before:]  # among others, of requests of other tests that end only now
    assert (what, PURPOSE) in [(record["what"], record.get("purpose")) for record in recorded]


def test_what_needs_no_purpose_works_without(client, running, demanded):
    assert client.get("/v1/assets").status_code == 200
    assert client.get(f"/v1/assets/{PLAIN}/media").status_code != 403
    assert "purpose" not in list(running.audit.records())[-1]
    assert client.get(f"/v1/search?like={PLAIN}&by=image").status_code != 403


class FaceSearch:
    """Search that finds no file."""

    def maker(self, by: str) -> str:
        return "face" if by == "faces" else "clip"

    def vectors_of(self, result: Result, by: str) -> tuple[tuple[float, ...], ...]:
        return ((1.0,),)

    async def by_picture(self, *_: object) -> Found:
        return Found([])


def test_an_upload_whose_faces_are_compared_needs_a_purpose(client, running, demanded, monkeypatch):
    analyzed = []

    async def analyze(path: Path, name: str, wanted: frozenset[str], *_: object) -> Result:
        analyzed.append(wanted)
        return Result(MediaItem(name, 1, ""), sha256="aa")

    monkeypatch.setattr(running.ingress, "analyze", analyze)
    monkeypatch.setattr(running.ingress, "searching", FaceSearch())
    upload = {"file": ("a.jpg", b"x")}
    refused = client.post("/v1/search?by=faces", files=upload)
    assert refused.status_code == 403 and "needs a purpose" in refused.json()["detail"] and not analyzed
    assert client.post("/v1/search?by=image", files=upload).status_code == 200
    assert client.post("/v1/search?by=faces", files=upload, headers={"X-Purpose": "case 7"}).status_code == 200
    record = list(running.audit.records())[-1]
    assert (record["what"], record["of"], record["purpose"]) == ("faces of an upload compared", "aa", "case 7")


def test_without_the_setting_a_purpose_is_recorded_if_it_is_given(client, running):
    assert client.post("/v1/people/ann").status_code == 204
    assert "purpose" not in list(running.audit.records())[-1]
    assert client.post("/v1/people/ann", headers={"X-Purpose": "case 9"}).status_code == 204
    assert list(running.audit.records())[-1]["purpose"] == "case 9"


@pytest.mark.parametrize(
    ("kind", "explicit", "answered", "expected"),
    [
        ("image", 0.3, ["nsfw"], True),
        ("image", 0.29, ["nsfw"], False),
        ("video", None, ["face"], True),
        ("video", None, ["nsfw"], False),
        ("audio", None, None, False),
        ("container", None, None, False),
    ],
)
def test_an_original_is_explicit_if_nsfw_says_so_or_has_not_answered(kind, explicit, answered, expected):
    assert is_explicit({"kind": kind, "explicit": explicit, "answered": answered}) is expected
