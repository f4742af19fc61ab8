"""`raysift people groups | show | name | merge | split | reject | undo` against the fake API."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner, Result

from cluster.errors import SettingsError
from commands.people import cli
from tests.support.fakes.api import FakeApi

Raysift = Callable[..., Result]


@pytest.fixture
def raysift(monkeypatch: pytest.MonkeyPatch) -> Iterator[Raysift]:
    """The command line, and the API that it calls."""
    api = FakeApi()

    @contextmanager
    def client(settings: object, purpose: str | None = None):
        try:
            yield TestClient(api.app)
        except httpx.HTTPStatusError as error:
            raise SettingsError(error.response.json()["detail"]) from None

    monkeypatch.setattr("commands.faces.groups.api_client", client)
    monkeypatch.setenv("COLUMNS", "80")
    yield lambda *arguments: CliRunner().invoke(cli, [*arguments])
    api.catalog.close()


def listed(raysift: Raysift, *options: str) -> list[dict]:
    return json.loads(raysift("groups", "--json", *options).stdout)


def test_groups_are_listed_and_named_and_a_name_finds_them(raysift: Raysift):
    first = listed(raysift)[0]
    assert "no name: 15 faces in 8 files" in raysift("groups").stdout
    assert "15 faces named Ann Example" in raysift("name", first["face"], "Ann Example").stderr
    (named,) = listed(raysift, "--name", "ann")
    assert (named["name"], named["faces"]) == ("Ann Example", 15)
    shown = raysift("show", "Ann Example").stdout
    assert "Ann Example: 15 faces in 8 files" in shown and "clip_" in shown and " at 7.00 s" in shown


def test_faces_are_taken_out_and_groups_split_and_merged_and_the_last_correction_is_taken_back(raysift: Raysift):
    first, second = (group["face"] for group in listed(raysift)[:2])
    raysift("name", first, "Ann")
    faces = [face["id"] for face in json.loads(raysift("show", "Ann", "--json").stdout)]
    assert "2 faces are another person" in raysift("split", "Ann", *faces[:2]).stderr
    assert "1 are no faces" in raysift("reject", "Ann", faces[2], "--no-face").stderr
    assert "1 faces are not this person" in raysift("reject", "Ann", faces[3]).stderr
    assert "faces merged" in raysift("merge", "Ann", second).stderr
    assert listed(raysift, "--name", "Ann")[0]["faces"] == 26
    assert "taken back: merged" in raysift("undo").stderr
    assert listed(raysift, "--name", "Ann")[0]["faces"] == 11
    assert "1 marked as no face" in raysift("groups").stderr


def test_what_is_not_there_is_said(raysift: Raysift):
    missing = raysift("show", "Nobody")
    assert isinstance(missing.exception, SettingsError) and "no group is named 'Nobody'" in str(missing.exception)
    assert "no correction of yours" in str(raysift("undo").exception)
