"""Commands send the purpose of --purpose or RAYSIFT_PURPOSE to the API."""

import json
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
    """Answers 204, or 403 if it refuses, and keeps the path and purpose of each request."""

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"] or 0))
        self.server.asked.append((self.path, unquote(self.headers.get("x-purpose", ""))))
        body = json.dumps({"detail": "this needs a purpose"}).encode() if self.server.refuses else b""
        self.send_response(403 if body else 204)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def api(tmp_path, monkeypatch):
    """An API that keeps what it was asked, by path and purpose."""
    monkeypatch.chdir(tmp_path)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    server.asked, server.refuses = [], False
    monkeypatch.setenv("RAYSIFT_API__PORT", str(server.server_port))
    with running(server):
        yield server


def test_a_match_is_recorded_with_its_purpose(api, tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    match = ["people", "match", "--from", str(tmp_path / "out")]
    CliRunner().invoke(raysift.cli, [*match, "--purpose", "Fall 7: Straße"])
    monkeypatch.setenv("RAYSIFT_PURPOSE", "case 9")
    CliRunner().invoke(raysift.cli, match)
    assert [one for one in api.asked if one[0] == "/v1/people"] == [
        ("/v1/people", "Fall 7: Straße"),
        ("/v1/people", "case 9"),
    ]


def test_a_purpose_is_only_sent_where_there_is_one(api):
    for purpose in (None, "  "):
        with api_client(load(), purpose) as client:
            client.post("/x")
    assert api.asked == [("/x", ""), ("/x", "")]


def test_a_match_that_the_api_refuses_does_nothing(api, tmp_path):
    api.refuses = True
    done = CliRunner().invoke(raysift.cli, ["people", "match", "--from", str(tmp_path)])
    assert isinstance(done.exception, SettingsError) and "needs a purpose" in str(done.exception)
    assert [path for path, _ in api.asked] == ["/v1/people"]


def test_a_match_that_cannot_be_recorded_does_nothing_where_a_purpose_is_demanded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAYSIFT_API__PORT", "9")  # nothing listens there
    monkeypatch.setenv("RAYSIFT_ACCESS__PURPOSE_REQUIRED", "true")
    done = CliRunner().invoke(raysift.cli, ["people", "match", "--from", str(tmp_path), "--purpose", "case 7"])
    assert isinstance(done.exception, SettingsError) and "does not answer" in str(done.exception)
