"""The fake API of the app's tests and the real one answer alike about watch lists."""

import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from cluster.api_types import Problem
from cluster.people.watch_types import Enrolled, GroupEnrolled, Unwatched, Watched, WatchList
from tests.deployments.api.people.test_contract import groups
from tests.support.fakes.watch_lists import faces_in
from tests.support.local_api import LocalApi, SpokenOf, read


def png(shade: int = 0) -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, 40, 90)).save(sink, "PNG")
    return sink.getvalue()


class Grey(SpokenOf):
    """Originals that are grey."""

    def pixels_at(self, *_: object) -> np.ndarray:
        """A grey frame."""
        return np.full((90, 120, 3), 128, np.uint8)


async def analyze(path: Path, name: str, *_: object) -> SimpleNamespace:
    """What the fake finds in a picture of that name."""
    findings = [SimpleNamespace(detector="face", detection=seen, model="m") for seen in faces_in(name)]
    return SimpleNamespace(failures=(), findings=findings, sha256="0" * 64)


@pytest.fixture(autouse=True)
def detector(running: LocalApi, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The real API's detector finds what the fake's does; its galleries are empty at the end."""
    monkeypatch.setattr(running.ingress, "analyze", analyze)
    monkeypatch.setattr(running.ingress, "originals", Grey())
    yield
    running.empty_galleries()


@pytest.fixture
def operator(api: TestClient, running: LocalApi, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """Either of the two, asked by an operator of all files."""
    key = running.store.add_key("Olga", "operator")
    monkeypatch.setitem(api.headers, "Authorization", f"Bearer {key}")
    return api


def add(api: TestClient, kind: str, name: str, file: str, content: bytes):
    return api.post(f"/v1/watch-list/{kind}/{name}", files={"file": (file, content)})


def names(api: TestClient, kind: str) -> list[str]:
    return [item.name for item in read(WatchList, api.get(f"/v1/watch-list/{kind}")).items]


def test_a_person_is_added_listed_and_removed(operator: TestClient):
    assert read(Enrolled, add(operator, "people", "Ann Example", "a.png", png())).pictures == 1
    assert read(Enrolled, add(operator, "people", "Ann Example", "b.png", png(1))).pictures == 2
    assert read(Enrolled, add(operator, "people", "Ann Example", "b.png", png(1))).pictures == 2, "the same picture"
    (ann,) = read(WatchList, operator.get("/v1/watch-list/people")).items
    assert ann == Watched(name="Ann Example", label="Ann Example", pictures=2, files=0)
    removed = read(Unwatched, operator.delete("/v1/watch-list/people/Ann Example"))
    assert (removed.pictures, names(operator, "people")) == (2, [])
    assert operator.delete("/v1/watch-list/people/Ann Example").status_code == 404


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("nobody.png", "no face was found"),
        ("two.png", "2 faces were found"),
        ("blurred.png", "blurred"),
        ("small.png", "too small"),
        ("turned.png", "turned away"),
    ],
)
def test_a_picture_that_cannot_enrol_is_refused_with_the_reason(operator: TestClient, file: str, reason: str):
    refused = add(operator, "people", "Ann", file, png())
    assert refused.status_code == 422 and reason in read(Problem, refused).detail
    assert names(operator, "people") == []


@pytest.mark.parametrize("kind", ["people", "logos"])
@pytest.mark.parametrize("content", [b"", b"%PDF-1.4", png()[:40], b"\x89PNG\r\n\x1a\n" + b"\0" * 99])
def test_what_is_no_picture_is_refused(operator: TestClient, kind: str, content: bytes):
    refused = add(operator, kind, "Ann", "a.png", content)
    assert refused.status_code == 422 and read(Problem, refused).detail
    assert names(operator, kind) == []


@pytest.mark.parametrize("name", ["face", "Face", "_rejected", ".hidden", "a" * 81, "a:b", "%2e%2e", "a%00b", "a%0ab"])
def test_names_that_a_gallery_cannot_have_are_refused(operator: TestClient, name: str):
    assert add(operator, "people", name, "a.png", png()).status_code in (404, 422)
    assert names(operator, "people") == []


def test_a_logo_has_the_files_of_its_brand(operator: TestClient):
    assert read(Enrolled, add(operator, "logos", "acme + Acme Corp", "acme.png", png())).pictures == 1
    (acme,) = read(WatchList, operator.get("/v1/watch-list/logos")).items
    assert (acme.name, acme.label) == ("acme + Acme Corp", "acme")
    assert read(Unwatched, operator.delete("/v1/watch-list/logos/acme + Acme Corp")).pictures == 1


def test_a_group_is_put_on_the_watch_list(operator: TestClient):
    face = groups(operator).groups[0].face
    path = "/v1/watch-list/people/Ann/faces"
    assert read(GroupEnrolled, operator.post(path, json={"face": face})).pictures >= 1
    assert names(operator, "people") == ["Ann"]
    unknown = operator.post(path, json={"face": f"{'0' * 32}-s-1-1-2-2"})
    assert unknown.status_code == 404 and read(Problem, unknown).detail
    assert operator.post(path, json={"face": "no face"}).status_code == 422


def test_an_unknown_watch_list_is_refused(api: TestClient):
    assert api.get("/v1/watch-list/cars").status_code == 422
    assert api.get("/v1/watch-list/people?case=nobody").status_code == 404
