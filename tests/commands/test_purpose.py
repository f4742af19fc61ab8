"""Commands send the purpose of --purpose or RAYSIFT_PURPOSE to the API."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import pytest
from typer.testing import CliRunner

import raysift
from cluster.errors import SettingsError
from cluster.settings import load
from commands.terminal import api_client
from tests.support.servers.http import running


class Api(BaseHTTPRequestHandler):
    """Answers 204 and keeps the path and purpose of each request."""

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"] or 0))
        self.server.asked.append((self.path, unquote(self.headers.get("x-purpose", ""))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """What the API was asked, by path and purpose."""
    monkeypatch.chdir(tmp_path)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    server.asked = []
    monkeypatch.setenv("RAYSIFT_API__PORT", str(server.server_port))
    with running(server):
        yield server.asked


def test_a_match_is_recorded_with_its_purpose(asked, tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    match = ["people", "match", "--from", str(tmp_path / "out")]
    CliRunner().invoke(raysift.cli, [*match, "--purpose", "Fall 7: Straße"])
    monkeypatch.setenv("RAYSIFT_PURPOSE", "case 9")
    CliRunner().invoke(raysift.cli, match)
    assert [one for one in asked if one[0] == "/v1/people"] == [
        ("/v1/people", "Fall 7: Straße"),
        ("/v1/people", "case 9"),
    ]


def test_a_purpose_is_only_sent_where_there_is_one(asked):
    for purpose in (None, "  "):
        with api_client(load(), purpose) as api:
            api.post("/x")
    assert asked == [("/x", ""), ("/x", "")]


def test_a_match_that_cannot_be_recorded_does_nothing_where_a_purpose_is_demanded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAYSIFT_API__PORT", "9")  # nothing listens there
    monkeypatch.setenv("RAYSIFT_ACCESS__PURPOSE_REQUIRED", "true")
    done = CliRunner().invoke(raysift.cli, ["people", "match", "--from", str(tmp_path), "--purpose", "case 7"])
    assert isinstance(done.exception, SettingsError) and "does not answer" in str(done.exception)
