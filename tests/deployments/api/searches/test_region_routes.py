"""Searches by a region of an original over HTTP: who may, what is recorded, what is read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from cluster.access.identity import Identity
from cluster.access.rules import AccessRules
from cluster.errors import MediaError
from cluster.records import MediaItem, Result
from cluster.settings import Scanning, Settings
from deployments.api import media
from deployments.api.searches.search import Found, Shown
from tests.support.api_server import Everybody, Recorder, application

pytestmark = pytest.mark.anyio
ASSET, OTHER = "0" * 32, "1" * 32
REGION = {"asset": ASSET, "box": "0.1,0.2,0.5,1", "at_s": "2.5"}
ITEM = {
    "id": OTHER,
    "uri": "file:///case/b.jpg",
    "name": "b.jpg",
    "kind": "image",
    "width": 10,
    "height": 10,
    "duration_s": None,
    "analyzed_at": "2025-01-01T00:00:00Z",
    "has_thumbnail": False,
    "score": None,
    "labels": [],
    "boxes": [],
    "errors": [],
}


class Searching:
    """Finds one file by any picture."""

    def __init__(self) -> None:
        self.asked: list[tuple[str | None, Shown]] = []

    def maker(self, by: str) -> str:
        return {"image": "clip", "faces": "face"}[by]

    def vectors_of(self, result: Result, by: str) -> tuple[tuple[float, ...], ...]:
        return ((1.0, 0.0),)

    async def by_picture(self, shown: Shown, limit: int, scope: object) -> Found:
        return await self.words_with(None, shown, limit, scope)

    async def words_with(self, words: str | None, shown: Shown, limit: int, scope: object) -> Found:
        self.asked.append((words, shown))
        hit = {"asset": OTHER, "score": 0.9, "matched": "image", "detector": "clip", "text": None, "time_s": None}
        return Found([hit])


class Read:
    """What was read of originals, and what was analysed."""

    def __init__(self, error: MediaError | None = None) -> None:
        self.error = error
        self.regions: list[Any] = []
        self.analysed: list[Any] = []

    def region(self, uri: str, parent: str | None, kind: str, box: Any, at_s: float, settings: Settings) -> bytes:
        self.regions.append((uri, kind, box, at_s, settings.scanning.roots))
        if self.error:
            raise self.error
        return b"a png"

    async def analyze(self, path: Path, name: str, wanted: frozenset[str], *_: object) -> Result:
        self.analysed.append((path.read_bytes(), wanted))
        self.path = path
        return Result(MediaItem(name, 1, "", "image"), sha256="ab")


@contextmanager
def client(
    read: Read, kind: str = "video", purpose_required: bool = False, **more: Any
) -> Iterator[tuple[httpx.AsyncClient, Searching]]:
    """A client of an API with one original, which is explicit and lies in /case."""

    async def location(asset: str, within: Any) -> dict[str, Any] | None:
        where = {"id": ASSET, "uri": "file:///case/a.avi", "parent": None, "job": "scan-1"}
        is_seen = asset == ASSET and (within is None or "file:///case" in within)
        return {**where, "kind": kind, "answered": ["nsfw"], "explicit": 0.9} if is_seen else None

    async def items(ids: Any, within: Any) -> list[dict[str, Any]]:
        return [ITEM]

    async def no_job(job: str) -> None:
        return None

    searching = Searching()
    answers = {"location": location, "items": items}
    attributes = {
        "catalog": SimpleNamespace(**{name: SimpleNamespace(remote=answer) for name, answer in answers.items()}),
        "jobs": SimpleNamespace(one=SimpleNamespace(remote=no_job)),
        "settings": Settings(
            scanning=Scanning(roots=("/case",)), access=AccessRules(purpose_required=purpose_required)
        ),
        "originals": read,
        "analyze": read.analyze,
        "searching": searching,
        "detectors": SimpleNamespace(model_versions={}),
    }
    with application(**attributes, **more) as app:
        yield httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1/v1"), searching


async def test_the_region_is_cut_from_the_original_analysed_by_one_detector_and_not_kept():
    read, recorder = Read(), Recorder()
    with client(read, access=recorder) as (api, searching):
        found = await api.get("/search", params=REGION)
        with_words = await api.get("/search", params={**REGION, "q": "a dog"})
    assert [hit["asset"]["id"] for hit in found.json()["hits"]] == [OTHER] and with_words.status_code == 200
    assert read.regions == [("file:///case/a.avi", "video", (0.1, 0.2, 0.5, 1.0), 2.5, ("file:///case",))] * 2
    assert read.analysed == [(b"a png", {"clip"})] * 2 and not read.path.exists()
    shown = Shown("image", ((1.0, 0.0),), ASSET)  # the file is not found by a part of itself
    assert searching.asked == [(None, shown), ("a dog", shown)]
    assert recorder.records == [("the tests", "original viewed", ASSET)]


async def test_a_search_by_a_face_of_a_region_is_recorded_before_it_is_read():
    read, recorder = Read(MediaError("decode", "it is broken")), Recorder()
    with client(read, access=recorder) as (api, searching):
        refused = await api.get("/search", params={**REGION, "by": "faces"})
        read.error = None
        found = await api.get("/search", params={**REGION, "by": "faces"})
    assert (refused.status_code, refused.json()["detail"], found.status_code) == (422, "it is broken", 200)
    assert read.analysed == [(b"a png", {"face"})] and len(searching.asked) == 1
    assert [record[1:] for record in recorder.records] == [
        ("original viewed", ASSET),
        ("searched by a face", ASSET),
        ("searched by a face", ASSET),
        ("faces matched", ASSET),
    ]


@pytest.mark.parametrize(
    ("who", "status"),
    [
        (Identity("a viewer", "viewer"), 403),
        (Identity("another case's", "reviewer", prefixes=("file:///other",)), 404),
        (Identity("another case's viewer", "viewer", prefixes=("file:///other",)), 404),
        (Identity("the case's", "reviewer", prefixes=("file:///case",)), 200),
    ],
)
@pytest.mark.parametrize("kind", ["image", "video"])
async def test_who_may_not_see_the_original_may_not_search_by_a_region_of_it(who: Identity, status: int, kind: str):
    read, recorder = Read(), Recorder()
    with client(read, kind, identifies=Everybody(who), access=recorder) as (api, searching):
        answers = [await api.get("/search", params={**REGION, "by": by}) for by in ("image", "faces")]
    assert [answer.status_code for answer in answers] == [status] * 2
    if status != 200:  # nothing was read, compared or recorded: the answer does not depend on what the region shows
        assert (read.regions, read.analysed, searching.asked, recorder.records) == ([], [], [], [])


async def test_a_purpose_is_needed_for_faces_and_for_explicit_originals():
    read = Read()
    with client(read, purpose_required=True) as (api, _):
        for by in ("image", "faces"):
            assert (await api.get("/search", params={**REGION, "by": by})).status_code == 403
        assert not read.regions
        allowed = await api.get("/search", params={**REGION, "by": "faces"}, headers={"X-Purpose": "case 7"})
        assert allowed.status_code == 200


async def test_sound_has_no_region_and_too_many_regions_at_a_time_wait(monkeypatch: pytest.MonkeyPatch):
    with client(Read(), "audio") as (api, _):
        assert (await api.get("/search", params=REGION)).status_code == 422
    monkeypatch.setattr(media, "TURN_S", 0.01)
    turns = media.Turns(1)
    await turns.take()
    with client(Read(), copying=turns) as (api, _):
        refused = await api.get("/search", params=REGION)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
