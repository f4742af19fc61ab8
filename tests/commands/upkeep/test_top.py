"""`raysift top`: detectors and the jobs that are not over."""

import io

import httpx
import pytest
from rich.console import Console

from commands.upkeep import top
from tests.commands.erasure.commands import run

READY = {"ready": False, "detectors": {"ocr": {"state": "silent", "message": "it has not answered for 400 s"}}}
JOB = {"uris": ["s3://b/a"], "priority": "normal", "units": 10, "done": 3, "failed": 0, "skipped": 0, "left_out": 0}
JOBS = [
    {**JOB, "job": "scan-1", "state": "blocked", "message": "waits for ocr"},
    {**JOB, "job": "scan-2", "state": "finished", "message": ""},
]


@pytest.fixture
def api(monkeypatch):
    """A stand-in for the API: answers by path."""
    answers = {"/v1/ready": httpx.Response(503, json=READY), "/v1/jobs": httpx.Response(200, json=JOBS)}
    plain = httpx.Client
    transport = httpx.MockTransport(lambda request: answers[request.url.path])
    monkeypatch.setattr(httpx, "Client", lambda **more: plain(**more, transport=transport))
    return answers


def test_without_a_terminal_the_state_is_printed_once(api):
    output = run("top").output
    assert "silent" in output and "it has not answered for 400 s" in output
    assert "scan-1: waits for ocr" in output and "3 of 10 done" in output and "scan-2" not in output


def test_a_terminal_is_kept_up_to_date_until_it_is_interrupted(api, monkeypatch):
    seen = []

    class Screen:
        def __init__(self, first, **more):
            assert more["screen"]

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def update(self, shown, refresh):
            console = Console(width=80, record=True, file=io.StringIO())
            console.print(shown)
            seen.append(console.export_text())

    def sleep(seconds):
        assert seconds == top.EVERY_S
        if len(seen) == 2:
            raise KeyboardInterrupt
        if seen:
            api["/v1/jobs"] = httpx.Response(500, json={"detail": "a fault"})

    monkeypatch.setattr(top, "Live", Screen)
    monkeypatch.setattr(top.time, "sleep", sleep)
    monkeypatch.setattr(top, "Console", lambda: Console(force_terminal=True))
    assert run("top").exit_code == 0
    assert "scan-1" in seen[0] and "a fault" in seen[1], "an API that is away for a while ends nothing"


def test_without_jobs_this_is_said(api):
    api["/v1/jobs"] = httpx.Response(200, json=[])
    assert "no job waits or runs" in run("top").output
