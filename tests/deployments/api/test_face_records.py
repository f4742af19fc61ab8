"""The audit log has each match of a face: the model, what was found, and the score."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from cluster.records import MediaItem, Result, asset_id
from deployments.api import face_records
from deployments.api.searches.search import By, Found, Shown
from tests.support.fakes.files import FOLDER, as_row, files
from tests.support.local_api import LocalApi
from tests.support.stored import commit, found

FILM, CALL = (asset_id(f"{FOLDER}/{name}") for name in ("clip_1.mp4", "call_1.wav"))


class TwoFaces:
    """Search that finds the same two files by every face."""

    found = Found([{"asset": id, "score": score, "matched": "face", "detector": "face", "text": None, "time_s": None}
                   for id, score in ((FILM, 0.871), (CALL, 0.6))])  # fmt: skip

    def maker(self, by: str) -> str:
        return "face" if by == "faces" else "clip"

    async def of_file(self, asset: str, by: By) -> Shown:
        return Shown(by, ((1.0,),), asset)

    def vectors_of(self, *_: Any) -> tuple[tuple[float, ...], ...]:
        return ((1.0,),)

    async def by_picture(self, *_: Any) -> Found:
        return self.found


@pytest.fixture
def client(running: LocalApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    rows = [as_row(file, place, "scan-before") for place, file in enumerate(files())]
    running.catalog.load(commit(tmp_path, "faces.parquet", *rows))
    monkeypatch.setattr(running.ingress, "searching", TwoFaces())
    with TestClient(running.app, headers=running.headers) as client:
        yield client


def matches(running: LocalApi) -> list[tuple[str, Any]]:
    return [(each["of"], each["matches"]) for each in running.audit.records() if each["what"] == "faces matched"]


def test_each_match_of_a_stored_face_is_recorded_as_far_as_the_caller_may_see_it(running: LocalApi, client: TestClient):
    before = len(matches(running))
    assert len(client.get(f"/v1/search?like={FILM}&by=faces").json()["hits"]) == 2
    mine = str(running.store.add_key("case 7", "viewer", (f"{FOLDER}/clip_1.mp4",)))
    limited = client.get(f"/v1/search?like={FILM}&by=faces", headers={"Authorization": f"Bearer {mine}"})
    assert len(limited.json()["hits"]) == 1
    client.get(f"/v1/search?like={FILM}&by=image")
    assert matches(running)[before:] == [(FILM, [f"{FILM} 0.87 {CALL} 0.60"]), (FILM, [f"{FILM} 0.87"])]


def test_each_match_of_an_uploaded_face_is_recorded(running: LocalApi, client: TestClient, monkeypatch):
    async def analyze(path: Path, name: str, *_: Any) -> Result:
        faces = (found("face", label, score) for label, score in (("face", 0.9), ("Ann", 0.7), ("Ann", 0.91)))
        return Result(MediaItem(name, 1, "", "image"), sha256="ab", findings=tuple(faces))

    monkeypatch.setattr(running.ingress, "analyze", analyze)
    assert client.post("/v1/search?by=faces", files={"file": ("a.png", b"x")}).status_code == 200
    compared, matched = list(running.audit.records())[-2:]
    assert (compared["what"], compared["of"], compared["matches"]) == ("faces of an upload compared", "ab", "Ann 0.91")
    assert compared["model"] and matched["of"] == "ab" and FILM in matched["matches"][0]


def test_two_hundred_matches_fit_into_one_record():
    assert 200 / face_records.FILES_A_VALUE <= 10
    assert face_records.FILES_A_VALUE * len(f"{FILM} 0.87 ") <= 1000
