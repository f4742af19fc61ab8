"""The command line, as far as it goes without a cluster."""

import json

import httpx
import pytest
from rich.console import Console
from typer.testing import CliRunner

import raysift
from cluster.errors import SettingsError

JOB = {
    "job": "scan-1",
    "done": 3,
    "seconds": 12.3,
    "failed": 1,
    "skipped": 2,
    "out": "s3://found/x",
    "summary": {
        "detectors": [
            {
                "detector": "ocr",
                "files": 1,
                "detections": 4,
                "top_labels": [{"label": "text", "files": 1}],
                "example": "[red]stop[/red] \x1b[2J here",
            }
        ],
        "failed": [{"uri": "s3://b/[bold].jpg", "step": "decode", "reason": "it is empty"}],
    },
}


@pytest.fixture(autouse=True)
def own_ports(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAYSIFT_DOOR__PORT", "9")  # nobody listens there


def run(*arguments):
    return CliRunner().invoke(raysift.cli, arguments)


def test_every_command_says_what_it_does():
    told = run("--help").output
    for command in ("up", "down", "status", "scan", "export", "demo", "env"):
        assert command in told
        assert run(command, "--help").exit_code == 0


def test_a_scan_without_a_cluster_says_how_to_start_one(tmp_path):
    with pytest.raises(SettingsError, match="raysift up"):
        raise run("scan", str(tmp_path)).exception


def test_stopping_nothing_is_no_error():
    assert run("down").exit_code == 0


def test_an_export_of_nothing_is_a_sentence(tmp_path):
    with pytest.raises(SettingsError, match="results"):
        raise run("export", "--from", str(tmp_path)).exception


def test_the_summary_shows_hostile_names_and_texts_as_they_are():
    console = Console(record=True, width=100, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(raysift.summary(JOB))
    told = console.export_text()
    assert "[red]stop[/red]" in told and "[bold].jpg: it is empty" in told
    assert "\x1b" not in told
    assert "3 files in 12 s, 1 failed, 2 unchanged" in told


def test_a_relative_path_is_meant_from_where_the_user_stands(tmp_path, monkeypatch):
    sent = {}

    def door(request: httpx.Request) -> httpx.Response:
        sent.update(json.loads(request.content))
        return httpx.Response(200, json={"job": "scan-1"})

    plain = httpx.Client
    monkeypatch.setattr(httpx, "Client", lambda **more: plain(**more, transport=httpx.MockTransport(door)))
    assert raysift.submit(raysift.load(), ["media"], "found", None) == "scan-1"
    assert sent["uris"] == [(tmp_path / "media").as_uri()] and sent["out"] == (tmp_path / "found").as_uri()
