"""`raysift cases` and `raysift scan --case` against the fake API."""

import json
from contextlib import contextmanager

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner, Result

import raysift
from tests.support.fakes.api import FakeApi
from tests.support.fakes.files import FOLDER

CLIP = f"{FOLDER}/clip_1.mp4"


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    """The API that the commands call."""
    api = FakeApi()

    @contextmanager
    def client(settings: object):
        yield TestClient(api.app)

    monkeypatch.setattr("commands.cases.cases.api_client", client)
    monkeypatch.setattr("commands.scans.api_client", client)
    monkeypatch.setenv("COLUMNS", "120")
    return api


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(raysift.cli, [*arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def test_a_case_is_made_listed_and_closed(api: FakeApi):
    assert "films: 1 folders, 1 scanned files" in run("cases", "add", "films", f"{CLIP}/", "--title", "Films").stderr
    run("cases", "close", "films")
    listed = run("cases", "list").stdout
    assert all(word in listed for word in ("films", "Films", "clip_1.mp4", "closed"))


def test_adding_to_a_case_keeps_its_folders_and_title(api: FakeApi):
    run("cases", "add", "films", CLIP, "--title", "Films")
    run("cases", "close", "films")
    run("cases", "add", "films", "s3://other")
    run("cases", "open", "films")
    case = api.cases.store.get("films")
    assert case is not None and (case.title, case.folders, case.closed_at) == ("Films", (CLIP, "s3://other"), None)


def test_a_folder_of_this_machine_is_kept_as_a_whole_path(api: FakeApi, tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    run("cases", "add", "films", "media")
    assert api.cases.list_cases()[0].folders == ((tmp_path / "media").as_uri(),)


def test_a_scan_names_its_case(api: FakeApi):
    run("cases", "add", "films")
    printed = run("scan", "s3://evidence/case 8", "--case", "films", "--no-follow", "--json").stdout
    assert json.loads(printed.splitlines()[-1])["job"] == "job-001"
    assert api.cases.list_cases()[0].folders == ("s3://evidence/case 8",)


def test_an_unknown_case_is_an_error_with_its_name(api: FakeApi):
    with pytest.raises(Exception, match="404"):
        run("cases", "close", "nobody")
