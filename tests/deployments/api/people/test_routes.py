"""The routes of people: corrections are recorded, conflicts are told, faces are coarse squares for viewers."""

import io
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from cluster.access.holds import Holds
from cluster.access.rules import AccessRules
from cluster.errors import MediaError
from cluster.people.face import face_id
from cluster.records import Vector, asset_id
from deployments.api.people import pictures
from deployments.api.people.pictures import FacePictures
from tests.support.fakes.vectors import of_person
from tests.support.local_api import LocalApi
from tests.support.stored import commit, found, row

FOLDER = "s3://people/case 1"
LARGE, SMALL = (0.25, 0.25, 0.75, 0.75), (0.4, 0.4, 0.5, 0.5)
FILM = f"{FOLDER}/film.mp4"


def face_of(name: str, box: tuple[float, ...] = LARGE, time_s: float | None = None) -> str:
    """The id of a face."""
    return face_id(asset_id(f"{FOLDER}/{name}"), time_s, box)


def thumbnail() -> bytes:
    """A thumbnail whose left half is black and whose right half is white."""
    pixels = np.zeros((240, 320, 3), np.uint8)
    pixels[:, 160:] = 255
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "JPEG")
    return sink.getvalue()


@pytest.fixture(scope="module")
def client(running: LocalApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    def face(n: int, box: tuple[float, ...] = LARGE, **more):
        return found("face", "face", 0.9, box=box, vectors=(Vector("faces", of_person(90, n)),), **more)

    rows = [row(f"{FOLDER}/{n}.jpg", face(n), unit=n, thumbnail=thumbnail()) for n in range(3)]
    rows.append(row(f"{FOLDER}/small.jpg", face(4, SMALL), unit=4, thumbnail=thumbnail()))
    rows.append(row(FILM, face(5, time_s=2.04), unit=5, kind="video", duration_s=9.0, thumbnail=thumbnail()))
    running.catalog.memory.add(rows)
    running.catalog.load(commit(tmp_path_factory.mktemp("results"), "people.parquet", *rows))
    with TestClient(running.app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def ann(running: LocalApi) -> dict[str, str]:
    return {"Authorization": f"Bearer {running.store.add_key('Ann', 'reviewer', (FOLDER,))}"}


@pytest.fixture(scope="module")
def vera(running: LocalApi) -> dict[str, str]:
    return {"Authorization": f"Bearer {running.store.add_key('Vera', 'viewer', (FOLDER,))}"}


@pytest.fixture(scope="module")
def eve(running: LocalApi) -> dict[str, str]:
    return {"Authorization": f"Bearer {running.store.add_key('Eve', 'reviewer', ('s3://elsewhere',))}"}


def group(client: TestClient, headers: dict[str, str]) -> dict:
    """The only group of the folder."""
    while True:
        page = client.get("/v1/people/groups", headers=headers).json()
        if not page["pending"]:
            (found,) = page["groups"]
            return found


def records(running: LocalApi, what: str) -> list[dict]:
    return [record for record in running.audit.records() if record["what"] == what]


def test_a_correction_is_the_askers_and_is_recorded_with_the_name(client, running, ann, vera):
    before = group(client, ann)
    path = f"/v1/people/groups/{before['face']}"
    named = client.post(f"{path}/name", headers=ann, json={"version": 0, "name": "Carl Example"}).json()
    assert (named["faces"], group(client, vera)["name"]) == (5, "Carl Example")
    record = records(running, "group of faces named")[-1]
    assert (record["who"], record["of"], record["name"]) == ("Ann", before["face"], "Carl Example")
    assert (record["correction"], record["faces"]) == (named["correction"], 5)
    late = client.post(f"{path}/name", headers=ann, json={"version": 0, "name": "Bob"})
    assert late.status_code == 409 and "Ann has corrected this group" in late.json()["detail"]
    undone = client.post(f"/v1/people/corrections/{named['correction']}/undo", headers=ann)
    assert undone.json() == {"faces": 5} and group(client, ann)["name"] is None
    assert records(running, "correction of faces taken back")[-1]["of"] == str(named["correction"])


def test_looking_at_people_is_recorded_once_while_it_goes_on(client, running, vera):
    running.ingress.viewed.__init__()
    before = len(records(running, "people viewed"))
    for _ in range(3):
        group(client, vera)
    assert len(records(running, "people viewed")) == before + 1


def test_names_that_could_not_be_enrolled_and_faces_of_other_groups_are_refused(client, ann):
    face = group(client, ann)["face"]
    for name in ("", "face", "_x", "#x", "a" * 61, "a/b"):
        refused = client.post(f"/v1/people/groups/{face}/name", headers=ann, json={"version": 0, "name": name})
        assert refused.status_code == 422, name
    version = group(client, ann)["version"]
    others = {"version": version, "faces": [face_of("9.jpg")], "reason": "face"}
    assert client.post(f"/v1/people/groups/{face}/reject", headers=ann, json=others).status_code == 409


def test_who_sees_another_case_has_no_way_to_its_people(client, ann, eve):
    face = group(client, ann)["face"]
    assert client.get("/v1/people/groups", headers=eve).json()["groups"] == []
    assert client.get(f"/v1/people/groups/{face}", headers=eve).status_code == 404
    assert client.get(f"/v1/people/faces/{face}/picture", headers=eve).status_code == 404
    named = client.post(f"/v1/people/groups/{face}/name", headers=eve, json={"version": 0, "name": "Eve"})
    assert named.status_code == 404


def shown(client: TestClient, headers: dict[str, str], face: str) -> np.ndarray:
    """The pixels of the picture of a face."""
    answer = client.get(f"/v1/people/faces/{face}/picture", headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg"), answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("L"), int)


def test_a_large_face_is_cut_out_of_the_thumbnail_and_is_coarse_for_a_viewer(client, ann, vera):
    sharp, coarse = (shown(client, headers, face_of("0.jpg")) for headers in (ann, vera))
    row_of_sharp, row_of_coarse = sharp[len(sharp) // 2], coarse[len(coarse) // 2]
    assert abs(np.diff(row_of_sharp)).max() > 150, "an edge"
    assert abs(np.diff(row_of_coarse)).max() < 40, "the edge is lost"


@pytest.fixture
def originals(running: LocalApi) -> Iterator[list[tuple]]:
    """What is read of original files; each frame is grey."""
    read: list[tuple] = []

    def frame(uri, parent, kind, time_s, settings):
        if "film" not in uri and "small" not in uri:
            raise MediaError("fetch", "it is not there")
        read.append((uri, kind, time_s))
        return np.full((480, 640, 3), 128, np.uint8)

    before, running.ingress.face_pictures = running.ingress.face_pictures, FacePictures(frame)
    yield read
    running.ingress.face_pictures = before


def test_small_faces_and_those_in_films_are_read_from_the_original_once(client, ann, vera, originals):
    for headers in (ann, vera):
        assert shown(client, headers, face_of("small.jpg", SMALL)).max() < 140
        assert shown(client, headers, face_of("film.mp4", time_s=2.04)).min() > 115
    assert originals == [(f"{FOLDER}/small.jpg", "image", None), (FILM, "video", 2.04)]


def test_a_small_face_whose_original_is_gone_is_cut_out_of_the_thumbnail_and_one_in_a_film_has_none(client, ann):
    assert shown(client, ann, face_of("small.jpg", SMALL)).max() > 200
    assert client.get(f"/v1/people/faces/{face_of('film.mp4', time_s=2.04)}/picture", headers=ann).status_code == 404


def test_originals_that_hang_hold_up_nobody_for_longer_than_a_deadline(client, running, ann, monkeypatch):
    monkeypatch.setattr(pictures, "WAIT_S", 0.3)
    goes_on, begun = threading.Event(), []

    def frame(*asked):
        begun.append(asked)
        goes_on.wait(20)
        return np.full((480, 640, 3), 128, np.uint8)

    monkeypatch.setattr(running.ingress, "face_pictures", FacePictures(frame))
    film = f"/v1/people/faces/{face_of('film.mp4', time_s=2.04)}/picture"
    for _ in range(pictures.AT_ONCE + 1):
        late = client.get(film, headers=ann)
        assert (late.status_code, late.headers["retry-after"]) == (503, "5")
    assert len(begun) == pictures.AT_ONCE, "what is late keeps its place, so that threads do not pile up"
    small = face_of("small.jpg", SMALL)
    assert shown(client, ann, small).max() > 200, "of the thumbnail meanwhile"
    goes_on.set()
    for _ in range(100):
        if client.get(film, headers=ann).status_code == 200:
            break
    assert shown(client, ann, face_of("film.mp4", time_s=2.04)).min() > 115
    assert shown(client, ann, small).max() < 140, "and of the original, once it can be read"


def test_what_is_no_face_is_not_cut_out(client, ann, originals):
    whole = face_of("film.mp4", (0.0, 0.0, 1.0, 1.0), 2.04)
    assert client.get(f"/v1/people/faces/{whole}/picture", headers=ann).status_code == 404
    assert originals == []


def test_a_person_whose_files_are_held_is_not_purged_and_keeps_the_decisions(client, running, ann):
    face = group(client, ann)["face"]
    name = {"version": group_version(client, ann, face), "name": "Held Example"}
    assert client.post(f"/v1/people/groups/{face}/name", headers=ann, json=name).status_code == 200
    operator = {"Authorization": f"Bearer {running.store.add_key('Olga', 'operator')}"}
    assert client.delete("/v1/people/Held Example", headers=operator).status_code == 403
    holds = Holds(running.audit.path.parent)
    hold = holds.add("Ada", "case 1 is in court", under=FOLDER)
    refused = client.delete("/v1/people/Held Example", headers=running.headers)
    assert refused.status_code == 422 and "case 1 is in court" in refused.json()["detail"]
    assert group(client, ann)["name"] == "Held Example"
    holds.remove(hold.id)
    assert client.delete("/v1/people/Held Example", headers=running.headers).status_code == 200
    assert group(client, ann)["name"] is None


def test_pictures_and_corrections_need_a_purpose_where_it_is_demanded(client, running, ann, monkeypatch):
    face = group(client, ann)["face"]
    settings = running.ingress.settings.model_copy(update={"access": AccessRules(purpose_required=True)})
    monkeypatch.setattr(running.ingress, "settings", settings)
    name = {"version": group_version(client, ann, face), "name": "Dora"}
    for method, path, more in (
        ("GET", f"/v1/people/groups/{face}", {}),
        ("GET", f"/v1/people/faces/{face}/picture", {}),
        ("POST", f"/v1/people/groups/{face}/name", {"json": name}),
        ("POST", "/v1/people/corrections/1/undo", {}),
    ):
        refused = client.request(method, path, headers=ann, **more)
        assert refused.status_code == 403 and "needs a purpose" in refused.json()["detail"], path
    done = client.post(f"/v1/people/groups/{face}/name", headers=ann | {"X-Purpose": "case 7"}, json=name)
    assert done.status_code == 200
    assert records(running, "group of faces named")[-1]["purpose"] == "case 7"


def group_version(client: TestClient, headers: dict[str, str], face: str) -> int:
    """The present version of the group of a face."""
    answer = client.get(f"/v1/people/groups/{face}", headers=headers | {"X-Purpose": "test"})
    return answer.json()["group"]["version"]
