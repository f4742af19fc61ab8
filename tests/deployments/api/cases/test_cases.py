"""Cases over HTTP: who sees and changes which, and what a case limits."""

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.support.fakes.files import FOLDER, as_row, files
from tests.support.local_api import LocalApi
from tests.support.stored import commit

ONE, TWO = f"{FOLDER}/clip_1.mp4", f"{FOLDER}/clip_2.mp4"


class Caller:
    """Asks the API with a key of its own."""

    def __init__(self, client: TestClient, running: LocalApi, role: str, prefixes: tuple[str, ...] | None) -> None:
        self._client = client
        self._headers = {"Authorization": f"Bearer {running.store.add_key(role, role, prefixes)}"}

    def ask(self, method: str, path: str, **more: Any) -> Any:
        return self._client.request(method, f"/v1/{path}", headers=self._headers, **more)


@pytest.fixture(scope="module")
def client(running: LocalApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    rows = [as_row(file, place, "scan-before") for place, file in enumerate(files())]
    running.catalog.load(commit(tmp_path_factory.mktemp("results"), "cases.parquet", *rows))
    with TestClient(running.app) as client:
        yield client


@pytest.fixture
def admin(client: TestClient, running: LocalApi) -> Iterator[Caller]:
    admin = Caller(client, running, "admin", None)
    yield admin
    for case in admin.ask("GET", "cases").json():
        admin.ask("DELETE", f"cases/{case['name']}")


def made(admin: Caller, **more: Any) -> None:
    assert admin.ask("POST", "cases", json={"name": "films"} | more).status_code == 200


def test_a_limited_caller_sees_its_part_of_a_case_and_no_other_cases(client, running, admin):
    made(admin, folders=[ONE, TWO])
    made(admin, name="elsewhere", folders=["s3://elsewhere"])
    made(admin, name="empty")
    mine = Caller(client, running, "viewer", (ONE,))
    (case,) = mine.ask("GET", "cases").json()
    assert (case["name"], case["folders"], case["files"]) == ("films", [ONE], 1)
    assert [file["uri"] for file in mine.ask("GET", "assets?case=films").json()["items"]] == [ONE]
    for path in ("assets", "facets", "overview", "overview/jobs", "export", "search?q=x"):
        sign = "&" if "?" in path else "?"
        assert mine.ask("GET", f"{path}{sign}case=elsewhere").status_code == 404, path
        assert mine.ask("GET", f"{path}{sign}case=nobody").status_code == 404, path


def test_a_limited_operator_changes_only_own_folders_of_a_case(client, running, admin):
    made(admin, folders=[ONE, TWO])
    mine = Caller(client, running, "operator", (ONE,))
    for change in ({"title": "x"}, {"closed": True}, {"add": [TWO]}, {"remove": [TWO]}):
        assert mine.ask("PATCH", "cases/films", json=change).status_code == 403, change
    assert mine.ask("DELETE", "cases/films").status_code == 403
    assert mine.ask("POST", "cases", json={"name": "x", "folders": [TWO]}).status_code == 403
    assert mine.ask("POST", "cases", json={"name": "x"}).status_code == 422
    assert mine.ask("PATCH", "cases/films", json={"add": [f"{ONE}/"]}).json()["folders"] == [ONE]


def test_names_that_do_not_fit_a_url_are_refused(admin):
    for name in ("", "Case 7", "../x", "a" * 64, "-x", "é"):
        assert admin.ask("POST", "cases", json={"name": name}).status_code == 422, name


def test_every_change_of_a_case_is_in_the_audit_log(running, admin):
    made(admin, folders=[ONE])
    admin.ask("PATCH", "cases/films", json={"closed": True})
    admin.ask("PATCH", "cases/films", json={"closed": False})
    admin.ask("DELETE", "cases/films")
    records = [record for record in running.audit.records() if record.get("of") == "films"][-4:]
    assert [record["what"] for record in records] == ["case made", "case changed", "case changed", "case removed"]
    assert [record.get("closed") for record in records] == [None, "True", "False", None]


def test_a_job_adds_its_folders_to_its_case_and_none_to_a_closed_one(admin, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    scan = {"uris": [str(tmp_path)], "case": "films"}
    assert admin.ask("POST", "jobs", json=scan).status_code == 404
    made(admin, folders=[ONE])
    job = admin.ask("POST", "jobs", json=scan).json()["job"]
    assert admin.ask("GET", "cases").json()[0]["folders"] == [ONE, tmp_path.as_uri()]
    assert [each["job"] for each in admin.ask("GET", "jobs?case=films").json()] == [job]
    assert [each["job"] for each in admin.ask("GET", "overview/jobs?case=films").json()["running"]] == [job]
    admin.ask("PATCH", "cases/films", json={"closed": True})
    refused = admin.ask("POST", "jobs", json=scan)
    assert refused.status_code == 422 and "closed" in refused.json()["detail"]
    admin.ask("POST", f"jobs/{job}/cancel")


def test_an_export_of_a_case_has_only_its_files(admin):
    made(admin, folders=[ONE])
    lines = admin.ask("GET", "export?format=jsonl&case=films").text.splitlines()
    assert len(lines) == 1 and ONE in lines[0]
