"""`raysift top`: detectors and the jobs that are not over."""

import io

import httpx
import pytest
from rich.console import Console

from cluster.metrics.exported import Exported, UsedCard, Work
from commands.upkeep import exported, top
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
    monkeypatch.setattr(exported, "look", lambda settings: None)  # as on a machine that is not the head
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


def test_on_the_head_queues_cards_and_rates_since_the_last_look_are_shown(api, monkeypatch):
    looks = [
        Exported(at, {"ocr": Work(2, 5, 3)}, {"ocr": seen}, files=seen / 2, cards=[UsedCard("L4 0", 0.5, 7.25e9)])
        for at, seen in ((100.0, 1000.0), (110.0, 1200.0))
    ]
    monkeypatch.setattr(exported, "look", lambda settings: looks.pop(0))
    monkeypatch.setattr(top, "EVERY_S", 0.0)
    seen = []

    class Screen:
        def __init__(self, first, **more):
            seen.append(text(first))

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def update(self, shown, refresh):
            seen.append(text(shown))
            raise KeyboardInterrupt

    monkeypatch.setattr(top, "Live", Screen)
    monkeypatch.setattr(top, "Console", lambda: Console(force_terminal=True))
    assert run("top").exit_code == 0
    first, second = seen
    assert "files a second" not in first and "scans: 10.0 files a second" in second
    (line,) = [line for line in second.splitlines() if "ocr" in line and "silent" in line]
    assert [cell.strip() for cell in line.split("│")[3:7]] == ["2", "5", "3", "20.0"]
    assert "L4 0" in second and "50%" in second and "7.2" in second


def text(shown):
    """What a terminal shows."""
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(shown)
    return console.export_text()
