"""The routes of watch lists: what is recorded, who may see and change what, and which faces of a group are taken."""

import io
from collections.abc import Iterator

import pytest
from PIL import Image
from starlette.testclient import TestClient

from cluster.access.rules import AccessRules
from cluster.people.api_types import Face
from cluster.people.face import face_id
from cluster.records import Vector, asset_id
from deployments.api.people.watch_list import MOST_BYTES, best
from deployments.galleries.enrolling import Seen
from tests.deployments.api.people.test_watch_list_contract import Grey, add, analyze, png
from tests.support.fakes.vectors import of_person
from tests.support.local_api import LocalApi, SpokenOf
from tests.support.stored import commit, found, row

FOLDER = "s3://watched/case 1"
BOX = (0.4, 0.4, 0.6, 0.6)


@pytest.fixture(scope="module")
def client(running: LocalApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The real API; four files of one person, in one of which Ann was found, in another the logo acme."""

    def face(n: int):
        return found("face", "face", 0.9, box=BOX, vectors=(Vector("faces", of_person(70, n)),))

    rows = [row(f"{FOLDER}/{n}.jpg", face(n), unit=n) for n in range(3)]
    hits = face(3), found("face", "Ann", 0.7, box=BOX), found("logo", "acme", 0.8, box=BOX)
    rows.append(row("s3://watched/case 2/3.jpg", *hits, unit=3))
    running.catalog.memory.add(rows)
    running.catalog.load(commit(tmp_path_factory.mktemp("results"), "watched.parquet", *rows))
    with TestClient(running.app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(autouse=True)
def galleries(running: LocalApi, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ann and two logos are looked for."""
    monkeypatch.setattr(running.ingress, "analyze", analyze)
    monkeypatch.setattr(running.ingress, "originals", Grey())
    running.ingress._gallery("people").add_contents("Ann", [(".png", png())])
    for name in ("acme + Acme Corp", "other"):
        running.ingress._gallery("logos").add_contents(name, [(".png", png())])
    yield
    running.empty_galleries()


@pytest.fixture
def olga(running: LocalApi) -> dict[str, str]:
    return {"Authorization": f"Bearer {running.store.add_key('Olga', 'operator')}"}


def listed(client: TestClient, headers: dict[str, str], kind: str) -> dict[str, int]:
    """Names with the number of files."""
    items = client.get(f"/v1/watch-list/{kind}", headers=headers).json()["items"]
    return {item["name"]: item["files"] for item in items}


def group_of(client: TestClient, headers: dict[str, str]) -> str:
    """A face of the person of the four files."""
    while True:
        page = client.get("/v1/people/groups", headers=headers | {"X-Purpose": "test"}).json()
        assets = {asset_id(f"{FOLDER}/{n}.jpg") for n in range(3)}
        for group in page["groups"]:
            if group["face"].split("-")[0] in assets:
                return group["face"]
        assert page["pending"]


def test_files_are_counted_by_label_within_what_the_caller_sees(client, running, olga):
    assert listed(client, olga, "people") == {"Ann": 1}
    assert listed(client, olga, "logos") == {"acme + Acme Corp": 1, "other": 0}
    for case, names in (("case 1", set()), ("case 2", {"Ann"})):
        key = running.store.add_key("Vera", "viewer", (f"s3://watched/{case}",))
        assert set(listed(client, {"Authorization": f"Bearer {key}"}, "people")) == names, "others are not named"


def test_who_is_limited_to_some_folders_changes_nothing(client, running):
    key = running.store.add_key("Otto", "operator", (FOLDER,))
    otto = {"Authorization": f"Bearer {key}"}
    added = client.post("/v1/watch-list/people/Bob", headers=otto, files={"file": ("a.png", png())})
    removed = client.delete("/v1/watch-list/people/Ann", headers=otto)
    assert (added.status_code, removed.status_code) == (403, 403)
    assert [reference.name for reference in running.ingress._gallery("people").references()] == ["Ann"]


def test_changes_are_recorded_with_their_purpose_where_it_is_demanded(client, running, olga, monkeypatch):
    settings = running.ingress.settings.model_copy(update={"access": AccessRules(purpose_required=True)})
    monkeypatch.setattr(running.ingress, "settings", settings)
    face = group_of(client, olga)

    def ask(headers: dict[str, str]) -> list[int]:
        file = {"file": ("a.png", png())}
        return [
            client.post("/v1/watch-list/people/Bob", headers=headers, files=file).status_code,
            client.post("/v1/watch-list/people/Carl/faces", headers=headers, json={"face": face}).status_code,
            client.delete("/v1/watch-list/people/Bob", headers=headers).status_code,
        ]

    before = len(list(running.audit.records()))
    assert ask(olga) == [403, 403, 403] and len(list(running.audit.records())) == before
    assert client.post("/v1/watch-list/logos/acme", headers=olga, files={"file": ("a.png", png())}).status_code == 200
    assert ask(olga | {"X-Purpose": "case 7"}) == [200, 200, 200]
    said = [
        (record["who"], record["what"], record["of"], record.get("purpose"))
        for record in list(running.audit.records())[before:]
        if record["what"] != "faces of an upload compared"
    ]
    assert said == [
        ("Olga", "logo added", "acme", None),
        ("Olga", "person enrolled", "Bob", "case 7"),
        ("Olga", "person enrolled", "Carl", "case 7"),
        ("Olga", "person removed", "Bob", "case 7"),
    ]


def test_what_cannot_be_recorded_is_not_stored(client, running, olga, monkeypatch):
    class Away:
        async def remote(self, *_: object, **__: object) -> None:
            raise RuntimeError("the head is away")

    monkeypatch.setattr(running.ingress.access, "record", Away(), raising=False)
    logo = client.post("/v1/watch-list/logos/new", headers=olga, files={"file": ("a.png", png())})
    removed = client.delete("/v1/watch-list/people/Ann", headers=olga)
    assert (logo.status_code, removed.status_code) == (500, 500)
    assert "new" not in listed(client, olga, "logos") and "Ann" in listed(client, olga, "people")


def test_an_upload_that_is_too_large_is_refused_before_it_is_read(client, olga):
    header = olga | {"Content-Length": str(MOST_BYTES * 2), "Content-Type": "multipart/form-data; boundary=x"}
    answer = client.post("/v1/watch-list/people/Bob", headers=header, content=b"x")
    assert answer.status_code == 413


def test_faces_of_a_group_are_cut_out_and_known_by_their_file(client, running, olga):
    path = "/v1/watch-list/people/Carl/faces"
    first = client.post(path, headers=olga, json={"face": group_of(client, olga)}).json()
    assert 3 <= first["pictures"] <= 4
    gallery = running.ingress._gallery("people")
    cut = [reference for reference in gallery.references() if reference.name == "Carl"]
    picture = Image.open(io.BytesIO(gallery.read(cut[0])))
    assert len(cut) == first["pictures"] and picture.size == (54, 54), "the box with what is around it"
    assert all(asset_id(f"{FOLDER}/0.jpg") not in reference.file for reference in cut)
    assert gallery.discard([asset_id(f"{FOLDER}/0.jpg"), asset_id("s3://elsewhere/0.jpg")]) == 1
    assert len(gallery.references()) == len(cut), "Ann's picture stays"


def test_a_group_without_a_usable_face_is_refused_with_the_reason(client, running, olga, monkeypatch):
    path, body = "/v1/watch-list/people/Carl/faces", {"face": group_of(client, olga)}

    async def blurred(*_: object) -> object:
        answer = await analyze(*_)
        answer.findings = [type(answer)(detector="face", detection=Seen("face", 0.9, "no vector: blurred"), model="m")]
        return answer

    monkeypatch.setattr(running.ingress, "analyze", blurred)
    refused = client.post(path, headers=olga, json=body)
    assert refused.status_code == 422 and "blurred" in refused.json()["detail"]
    monkeypatch.setattr(running.ingress, "originals", SpokenOf())
    gone = client.post(path, headers=olga, json=body)
    assert gone.status_code == 422 and "it is not there" in gone.json()["detail"]
    assert "Carl" not in listed(client, olga, "people")


def test_of_a_group_the_largest_face_of_each_file_comes_first():
    def face(asset: str, side: float) -> Face:
        box = (0.0, 0.0, side, side)
        id = face_id(asset * 32, None, box)
        return Face(id=id, asset=asset, uri="", name="", kind="image", time_s=None, box=box, score=1.0)

    ranked = best([face("a", 0.5), face("a", 0.9), face("b", 0.2), face("c", 0.3)])
    assert [(one.asset, one.box[2]) for one in ranked] == [("a", 0.9), ("c", 0.3), ("b", 0.2), ("a", 0.5)]


def test_nothing_of_a_picture_is_in_the_audit_log(client, running, olga):
    content = png(211)
    assert add(client, "logos", "fresh", "secret name.png", content).status_code == 401
    client.post("/v1/watch-list/people/Bob", headers=olga, files={"file": ("secret name.png", content)})
    last = [str(record) for record in running.audit.records()][-3:]
    assert not any("secret name" in record or "PNG" in record for record in last)
