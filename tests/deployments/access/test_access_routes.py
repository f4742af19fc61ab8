"""Sessions, keys, signed addresses and what the audit log says, over HTTP with the real API."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from starlette.testclient import TestClient

from cluster.access import passwords, tokens
from cluster.access.api_types import KeyInfo, Session
from cluster.access.store import Refused
from cluster.exposure.exposure import ExposureRules
from cluster.records import asset_id
from deployments.access import service
from deployments.access.service import MOST_FAILURES
from deployments.api.media import Viewed
from tests.support.local_api import LocalApi
from tests.support.stored import commit, found, row

PASSWORD = "correct horse battery"
STRICT = {"blur": True, "colours": "sepia", "muted": True, "thumbnails": "small", "break_after_minutes": 20}


@pytest.fixture(scope="module")
def client(running: LocalApi) -> Iterator[TestClient]:
    running.store.add_user("ann", passwords.hash_password(PASSWORD), "reviewer")
    with TestClient(running.app) as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def recorded(running: LocalApi, what: str) -> list[dict[str, Any]]:
    """The records of this act."""
    assert running.audit.verify().fault is None
    return [record for record in running.audit.records() if record["what"] == what]


def test_a_user_signs_in_asks_and_signs_out(running: LocalApi, client: TestClient):
    session = Session(**client.post("/v1/session", json={"name": "ann", "password": PASSWORD}).json())
    assert (session.name, session.role, session.prefixes) == ("ann", "reviewer", None)
    assert client.get("/v1/session", headers=bearer(session.token)).json()["name"] == "ann"
    assert client.delete("/v1/session", headers=bearer(session.token)).status_code == 204
    with pytest.raises(Refused, match="revoked"):  # the API may still know it for five seconds
        running.store.identify(tokens.parse(session.token))
    assert recorded(running, "signed in")[-1]["who"] == "ann"
    assert recorded(running, "signed out")[-1]["who"] == "ann"


def test_a_key_and_a_link_begin_a_session_and_a_key_survives_its_sign_out(running: LocalApi, client: TestClient):
    key = running.store.add_key("Bob", "viewer")
    link = running.store.add_link(key.id)
    for token in (key, link):
        session = client.post("/v1/session", json={"token": str(token)}).json()
        assert (session["name"], session["role"]) == ("Bob", "viewer") and session["token"] != str(token)
    assert client.post("/v1/session", json={"token": str(link)}).status_code == 401
    assert client.delete("/v1/session", headers=bearer(str(key))).status_code == 204
    assert running.store.identify(key).name == "Bob"


def test_wrong_passwords_are_refused_recorded_and_slowed_down(running: LocalApi, client: TestClient):
    for name in ("eve", "nobody"):
        running.store.add_user("eve", passwords.hash_password(PASSWORD), "viewer")
        for _ in range(MOST_FAILURES):
            answer = client.post("/v1/session", json={"name": name, "password": "a wrong password"})
            assert (answer.status_code, answer.json()["detail"]) == (401, "name or password is wrong")
        answer = client.post("/v1/session", json={"name": name, "password": PASSWORD})
        assert answer.status_code == 401 and "too many failed attempts" in answer.json()["detail"]
    failed = recorded(running, "sign-in failed")
    assert len([record for record in failed if record["of"] == "eve"]) == MOST_FAILURES + 1
    assert PASSWORD not in running.audit.path.read_text() and "a wrong password" not in running.audit.path.read_text()


def test_invented_keys_do_not_fill_the_disk_with_records(running: LocalApi, client: TestClient):
    before = len(list(running.audit.records()))
    for _ in range(20):
        answer = client.post("/v1/session", json={"token": str(tokens.new())})
        assert (answer.status_code, answer.json()["detail"]) == (401, "this key is not known here")
    assert len(list(running.audit.records())) <= before + 1, "one a minute"
    revoked = running.store.add_key("Rob", "viewer")
    running.store.revoke(revoked.id)
    assert client.post("/v1/session", json={"token": str(revoked)}).status_code == 401
    assert recorded(running, "sign-in failed")[-1]["of"] == revoked.id


def test_passwords_tried_at_the_same_time_are_counted_before_they_are_looked_at(running: LocalApi, monkeypatch):
    running.store.add_user("mallory", passwords.hash_password(PASSWORD), "viewer")
    tried = []

    def slow(password: str, stored: str | None) -> bool:
        tried.append(password)
        time.sleep(0.05)
        return False

    monkeypatch.setattr(service.passwords, "matches", slow)
    access = service.Access(running.ingress.settings)
    with ThreadPoolExecutor(20) as pool:
        reasons = list(pool.map(lambda n: access.sign_in("mallory", f"guess {n}", "").reason, range(40)))
    assert len(tried) <= MOST_FAILURES and reasons.count(service.TOO_MANY) >= 40 - MOST_FAILURES


def test_a_session_does_not_begin_another_session(running: LocalApi, client: TestClient):
    key = running.store.add_key("Ned", "viewer")
    session = client.post("/v1/session", json={"token": str(key)}).json()["token"]
    assert client.post("/v1/session", json={"token": session}).status_code == 401
    assert recorded(running, "signed in")[-1]["of"] == f"key:{key.id}"


@pytest.mark.parametrize(
    "body", [{}, {"name": "ann"}, {"password": PASSWORD}, {"name": "ann", "password": PASSWORD, "token": "c"}]
)
def test_an_incomplete_sign_in_is_refused_without_repeating_it(client: TestClient, body: dict[str, str]):
    answer = client.post("/v1/session", json=body)
    assert answer.status_code == 422 and PASSWORD not in answer.text


def test_an_admin_makes_lists_and_revokes_keys(running: LocalApi, client: TestClient):
    wanted = {"name": "CI", "role": "operator", "prefixes": ["s3://b/case-1/"], "days": 3}
    made = client.post("/v1/keys", json=wanted, headers=running.headers).json()
    listed = {key["id"]: KeyInfo(**key) for key in client.get("/v1/keys", headers=running.headers).json()}
    key = listed[made["id"]]
    assert (key.name, key.role, key.prefixes, key.used_at) == ("CI", "operator", ("s3://b/case-1",), None)
    assert key.expires_at and 2.9 < (key.expires_at - key.made_at) / 86400 < 3.1
    assert client.get("/v1/session", headers=bearer(made["key"])).json()["role"] == "operator"
    assert client.delete(f"/v1/keys/{made['id']}", headers=running.headers).json() == {"id": made["id"]}
    assert client.delete(f"/v1/keys/{made['id']}", headers=running.headers).status_code == 404
    assert tokens.parse(made["key"]).secret not in client.get("/v1/keys", headers=running.headers).text
    assert [recorded(running, what)[-1]["of"] for what in ("key made", "key revoked")] == [made["id"]] * 2


@pytest.fixture
def picture(running: LocalApi, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A scanned file with a thumbnail; its id."""
    folder = tmp_path_factory.mktemp("media")
    (folder / "a.jpg").write_bytes(b"the original")
    uri = (folder / "a.jpg").as_uri()
    face = found("face", "face", 0.99, box=(0.2, 0.2, 0.6, 0.6))
    running.catalog.load(
        commit(folder / "found", "a.parquet", row(uri, face, answered=("nsfw",), thumbnail=jpeg(), job="scan-0"))
    )
    return asset_id(uri)


def jpeg() -> bytes:
    import io

    import numpy as np
    from PIL import Image

    sink = io.BytesIO()
    noise = np.random.default_rng(1).integers(0, 255, (240, 320, 3), np.uint8)
    Image.fromarray(noise).save(sink, "JPEG")
    return sink.getvalue()


def test_a_viewer_gets_blurred_bytes_and_a_reviewer_the_original_which_is_recorded(
    running: LocalApi, client: TestClient, picture: str
):
    running.ingress.viewed = Viewed()
    viewer, reviewer = (bearer(str(running.store.add_key(f"{role} 9", role))) for role in ("viewer", "reviewer"))
    thumbnail = f"/v1/assets/{picture}/thumbnail"
    original = client.get(thumbnail, headers=reviewer)
    blurred = client.get(thumbnail, headers=viewer)
    assert original.content == jpeg() and blurred.content != original.content
    assert blurred.headers["content-type"] == "image/jpeg" and blurred.headers["vary"] == "Authorization"
    assert client.get(f"/v1/assets/{picture}/media", headers=viewer).content == blurred.content
    views = lambda: [record for record in recorded(running, "original viewed") if record["of"] == picture]  # noqa: E731
    assert views() == []
    for _ in range(3):  # a player asks several times: it is one view
        media = client.get(f"/v1/assets/{picture}/media", headers=reviewer)
        assert media.content == b"the original"
    assert {answer.headers["cache-control"] for answer in (original, blurred, media)} == {"private, no-store"}
    (view,) = views()
    assert (view["who"], view["role"], view["from"]) == ("reviewer 9", "reviewer", "testclient")
    running.ingress.viewed = Viewed()
    for form in (picture.upper(), f"{picture[:8]}-{picture[8:]}"):  # the same file: the log must not say another id
        assert client.get(f"/v1/assets/{form}/media", headers=reviewer).content == b"the original"
    assert len(views()) == 2, "and its later views go on"


def test_a_signed_address_shows_what_its_viewer_may_see_and_nothing_else(
    running: LocalApi, client: TestClient, picture: str
):
    reviewer = running.store.add_key("signer", "reviewer")
    links = client.post(f"/v1/assets/{picture}/links", headers=bearer(str(reviewer))).json()
    assert client.get(links["media"]).content == b"the original"
    assert client.get(links["media"], headers={"Range": "bytes=0-2"}).content == b"the"
    path, query = links["media"].split("?")
    other = running.store.add_key("other", "admin")
    for changed in (
        links["media"].replace(picture, "0" * 32),
        links["media"].replace("/media?", "/thumbnail?"),
        f"/v1/assets?{query}",
        f"/v1/assets/{picture}?{query}",
        links["media"].replace(f"id={reviewer.id}", f"id={other.id}"),
        links["media"].replace("expires=", "expires=9"),
        links["media"][:-1] + ("0" if links["media"][-1] != "0" else "1"),
        path,
    ):
        assert client.get(changed).status_code == 401, changed
    assert client.post(links["media"]).status_code == 401


def test_face_searches_jobs_and_purges_are_recorded(running: LocalApi, client: TestClient, picture: str, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    submitted = client.post("/v1/jobs", json={"uris": [tmp_path.as_uri()]}, headers=running.headers).json()["job"]
    assert recorded(running, "job submitted")[-1]["of"] == submitted
    assert recorded(running, "job submitted")[-1]["uris"] == [tmp_path.as_uri()]
    client.post(f"/v1/jobs/{submitted}/cancel", headers=running.headers)
    assert recorded(running, "job cancelled")[-1]["of"] == submitted
    client.get("/v1/search", params={"like": picture, "by": "faces"}, headers=running.headers)
    assert recorded(running, "searched by a face")[-1]["of"] == picture
    client.post("/v1/people/Ann%20B", headers=running.headers)
    client.delete("/v1/people/Ann%20B", headers=running.headers)
    assert [recorded(running, f"person {what}")[-1]["of"] for what in ("enrolled", "purged")] == ["Ann B"] * 2


def test_what_somebody_chose_to_see_holds_in_each_of_their_sessions_and_for_nobody_else(
    running: LocalApi, client: TestClient
):
    running.store.add_user("cleo", passwords.hash_password(PASSWORD), "viewer")
    key = str(running.store.add_key("Dan", "viewer"))
    sign_in = lambda: client.post("/v1/session", json={"name": "cleo", "password": PASSWORD}).json()["token"]  # noqa: E731
    chosen = STRICT | {"blur": False, "thumbnails": "large"}
    assert client.put("/v1/me/exposure", json=chosen, headers=bearer(sign_in())).status_code == 200
    assert client.get("/v1/me/exposure", headers=bearer(sign_in())).json() == {"chosen": chosen, "floor": None}
    assert client.get("/v1/me/exposure", headers=bearer(key)).json()["chosen"]["blur"]


def test_nobody_sees_more_than_the_organisations_floor(
    running: LocalApi, client: TestClient, monkeypatch: pytest.MonkeyPatch
):
    key = bearer(str(running.store.add_key("Eve", "admin")))
    weak = {"blur": False, "colours": "colour", "muted": False, "thumbnails": "large", "break_after_minutes": None}
    assert client.put("/v1/me/exposure", json=weak, headers=key).status_code == 200
    floor = ExposureRules(break_after_minutes=45, floor=True)
    settings = running.ingress.settings.model_copy(update={"exposure": floor})
    monkeypatch.setattr(running.ingress, "settings", settings)
    expected = floor.exposure.model_dump()
    assert client.get("/v1/me/exposure", headers=key).json() == {"chosen": expected, "floor": expected}
    for name, value in weak.items():
        refused = client.put("/v1/me/exposure", json=STRICT | {name: value}, headers=key)
        assert refused.status_code == 422 and f": {name}." in refused.json()["detail"]
    assert client.get("/v1/me/exposure", headers=key).json()["chosen"] == expected
    assert client.put("/v1/me/exposure", json=STRICT, headers=key).json()["chosen"] == STRICT
