"""The routes of searches: who may search by an uploaded picture again, and what of it is recorded."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from cluster.access.pictures import MOST_SEARCHED
from cluster.records import MediaItem, Result, asset_id
from deployments.api.searches.routes import CROWD
from deployments.api.searches.search import Found, Shown
from tests.support.local_api import LocalApi
from tests.support.stored import commit, found, row

NEAR = asset_id("s3://searches/near.jpg")
UPLOAD = {"file": ("a.jpg", b"x")}


class ByVectors:
    """A search that finds one file by any vectors."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []

    def maker(self, by: str) -> str:
        return "clip"

    def vectors_of(self, result: Result, by: str) -> tuple[tuple[float, ...], ...]:
        return ((1.0, 0.0),)

    async def by_picture(self, shown: Shown, limit: int, scope: object) -> Found:
        self.asked.append((shown.vectors, shown.by))
        hit = {"asset": NEAR, "score": 0.9, "matched": shown.by, "detector": "clip", "text": None, "time_s": None}
        return Found([hit])


@pytest.fixture
def client(running: LocalApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    async def analyze(path: Path, name: str, *_: object) -> Result:
        return Result(MediaItem(name, 1, "", "image"), sha256="ab")

    running.catalog.load(commit(tmp_path, "a.parquet", row("s3://searches/near.jpg", found("clip", "cat", 0.9))))
    monkeypatch.setattr(running.ingress, "analyze", analyze)
    monkeypatch.setattr(running.ingress, "searching", ByVectors())
    with TestClient(running.app, headers=running.headers) as client:
        yield client


def test_who_has_sent_a_picture_may_search_by_it_again_and_nobody_else(client: TestClient, running: LocalApi):
    sent = client.post("/v1/search?by=faces", files=UPLOAD).json()
    again = client.get("/v1/search", params={"picture": sent["picture"], "by": "faces"})
    assert [hit["asset"]["id"] for hit in again.json()["hits"]] == [NEAR]
    assert again.json()["picture"] == sent["picture"]
    assert running.ingress.searching.asked == [(((1.0, 0.0),), "faces")] * 2
    records = [(record["what"], record.get("of")) for record in running.audit.records()][-2:]
    assert records == [("searched by a face", "ab"), ("faces matched", "ab")]
    other = {"Authorization": f"Bearer {running.store.add_key('Bob', 'admin')}"}
    refused = client.get("/v1/search", params={"picture": sent["picture"]}, headers=other)
    assert refused.status_code == 404 and "choose the picture again" in refused.json()["detail"]
    assert client.get("/v1/search", params={"picture": "0" * 32}).status_code == 404


def test_an_upload_is_searched_by_while_nothing_can_be_kept(client: TestClient, running: LocalApi, monkeypatch):
    class Away:
        async def remote(self, *_: object) -> str:
            raise RayServeException("the head is away")

    from ray.serve.exceptions import RayServeException

    monkeypatch.setattr(running.ingress.access, "keep_picture", Away(), raising=False)
    sent = client.post("/v1/search", files=UPLOAD).json()
    assert len(sent["hits"]) == 1 and sent["picture"] is None


def test_a_purge_of_a_person_drops_the_faces_that_were_searched_by(client: TestClient):
    faces, scene = (client.post("/v1/search", params={"by": by}, files=UPLOAD).json() for by in ("faces", "image"))
    assert client.delete("/v1/people/Nobody").status_code == 200
    for sent, status in ((faces, 404), (scene, 200)):
        assert client.get("/v1/search", params={"picture": sent["picture"]}).status_code == status


def test_who_searches_by_a_crowd_hears_that_only_the_largest_faces_count(client: TestClient, running: LocalApi):
    running.ingress.searching.vectors_of = lambda result, by: ((1.0, 0.0),) * MOST_SEARCHED
    sent = client.post("/v1/search?by=faces", files=UPLOAD).json()
    again = client.get("/v1/search", params={"picture": sent["picture"]}).json()
    assert sent["notes"] == again["notes"] == [CROWD]
