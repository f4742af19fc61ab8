"""Copies, frames and properties of originals over HTTP: who gets them, what is recorded, how many at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from cluster.access.identity import Identity
from cluster.access.rules import AccessRules
from cluster.errors import MediaError
from cluster.settings import Scanning, Settings
from deployments.api import media
from tests.support.api_server import Everybody, Recorder, application

pytestmark = pytest.mark.anyio
URI, ASSET = "file:///case/a.avi", "0" * 32
TYPE = 'video/mp4; codecs="avc1.4d4028"'


class Originals:
    """A stub: what it was asked for, and whether a part was closed."""

    def __init__(self, error: MediaError | None = None) -> None:
        self.asked: list[Any] = []
        self.closed = 0
        self._error = error

    def part(self, uri: str, parent: str | None, from_s: float, settings: Settings) -> Iterator[str | bytes]:
        self.asked.append((uri, parent, from_s, settings.scanning.roots))
        try:
            if self._error:
                raise self._error
            yield from [TYPE, b"ab", b"cd"] if from_s < 100 else []
        finally:
            self.closed += 1

    def still(self, uri: str, parent: str | None, at_s: float, settings: Settings) -> bytes:
        self.asked.append(at_s)
        return b"a frame"

    def picture(self, uri: str, parent: str | None, settings: Settings) -> bytes:
        return b"a picture"

    def properties(self, uri: str, parent: str | None, kind: str, settings: Settings) -> dict[str, Any]:
        return {"camera": kind, "others": {}}


@contextmanager
def client(
    originals: Originals, kind: str | None = "video", purpose_required: bool = False, **more: Any
) -> Iterator[httpx.AsyncClient]:
    """A client of an API with one file, which is explicit."""

    async def location(asset: str, within: object) -> dict[str, Any]:
        where = {"id": ASSET, "uri": URI, "parent": None, "job": "scan-1"}
        return {**where, "kind": kind, "answered": ["nsfw"], "explicit": 0.9}

    async def no_job(job: str) -> None:
        return None

    catalog = SimpleNamespace(location=SimpleNamespace(remote=location))
    jobs = SimpleNamespace(one=SimpleNamespace(remote=no_job))
    settings = Settings(scanning=Scanning(roots=("/case",)), access=AccessRules(purpose_required=purpose_required))
    with application(catalog=catalog, jobs=jobs, settings=settings, originals=originals, **more) as app:
        yield httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://127.0.0.1/v1/assets/{ASSET}")


async def test_a_part_is_streamed_recorded_as_a_view_and_not_stored():
    originals, recorder = Originals(), Recorder()
    with client(originals, access=recorder, copying=media.Turns(1)) as api:
        for _ in range(3):  # each gives its turn back
            answer = await api.get("/playable", params={"from_s": 30})
    assert (answer.content, answer.headers["content-type"]) == (b"abcd", TYPE)
    assert answer.headers["cache-control"] == "private, no-store"
    assert originals.asked == [(URI, None, 30.0, ("file:///case",))] * 3 and originals.closed == 3
    assert recorder.records == [("the tests", "original viewed", ASSET)]


@pytest.mark.parametrize(
    ("error", "status"), [(MediaError("decode", "it has no decoder"), 422), (MediaError("fetch", "it is gone"), 404)]
)
async def test_what_cannot_be_copied_says_why_and_takes_no_turn(error: MediaError, status: int):
    with client(Originals(error), copying=media.Turns(1)) as api:
        for _ in range(2):
            refused = await api.get("/playable")
    assert (refused.status_code, refused.json()["detail"]) == (status, error.reason)


async def test_behind_the_end_there_is_no_part():
    with client(Originals(), copying=media.Turns(1)) as api:
        assert [(await api.get("/playable?from_s=100")).status_code for _ in range(2)] == [416, 416]


async def test_who_comes_while_too_many_copies_are_made_is_told_to_wait(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(media, "TURN_S", 0.01)
    turns = media.Turns(1)
    await turns.take()
    with client(Originals(), copying=turns) as api:
        for path in ("/playable", "/frame"):
            refused = await api.get(path)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        turns.release()
        assert (await api.get("/playable")).status_code == 200


async def test_frames_pictures_and_properties():
    with client(Originals()) as api:
        frame, said = await api.get("/frame?at_s=2.5"), await api.get("/properties")
    with client(Originals(), kind="image") as api:
        picture, no_frame = await api.get("/playable"), await api.get("/frame")
    with client(Originals(), kind=None) as api:
        nothing = await api.get("/properties")
    assert (frame.content, frame.headers["content-type"]) == (b"a frame", "image/jpeg")
    assert (picture.content, picture.headers["cache-control"]) == (b"a picture", "private, no-store")
    assert said.json()["camera"] == "video"
    assert (no_frame.status_code, nothing.status_code) == (422, 404)


@pytest.mark.parametrize("path", ["/playable", "/frame", "/properties"])
async def test_a_viewer_gets_no_copy_of_what_he_may_not_see(path: str):
    viewer, recorder, originals = Identity("a viewer", "viewer"), Recorder(), Originals()
    with client(originals, identifies=Everybody(viewer), access=recorder) as api:
        assert (await api.get(path)).status_code == 403
    assert (recorder.records, originals.asked) == ([], [])


@pytest.mark.parametrize("path", ["/playable", "/frame"])
async def test_a_copy_of_an_explicit_film_needs_a_purpose_where_the_original_does(path: str):
    originals = Originals()
    with client(originals, purpose_required=True) as api:
        assert (await api.get(path)).status_code == 403
        assert not originals.asked
        assert (await api.get(path, headers={"X-Purpose": "case 7"})).status_code == 200
