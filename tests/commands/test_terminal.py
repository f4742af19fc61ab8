"""The progress of long commands without a terminal: lines on stderr, not a bar."""

import io
import time

import pytest
from rich.console import Console

from commands import scans, terminal
from commands.terminal import progress, waiting


@pytest.fixture
def pipe(monkeypatch):
    """A console that is not a terminal, with a line every 20 ms."""
    monkeypatch.setattr(terminal, "LINE_EVERY_S", 0.02)
    return Console(file=io.StringIO(), width=40)


def wait_for(console, text):
    deadline = time.monotonic() + 10
    while text not in console.file.getvalue():
        assert time.monotonic() < deadline, console.file.getvalue()
        time.sleep(0.005)


def test_a_pipe_gets_a_line_regularly_with_the_newest_text(pipe):
    with waiting("starting Chroma and Ray, which takes a while on a small machine", pipe) as update:
        assert pipe.file.getvalue() == "", "a short command writes nothing"
        wait_for(pipe, "starting Chroma and Ray, which takes a while on a small machine (0 s)\n")
        update("loading the detectors")
        wait_for(pipe, "\nloading the detectors (0 s)\n")
    lines = pipe.file.getvalue()
    time.sleep(0.1)
    assert pipe.file.getvalue() == lines, "nothing is written after the end"


def test_a_pipe_gets_the_share_done(pipe):
    with progress("indexing vectors", pipe) as update:
        update(0.25)
        wait_for(pipe, "indexing vectors: 25% (0 s)\n")


def test_a_terminal_gets_no_lines():
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with waiting("starting", console) as update:
        update("loading")
    assert "(0 s)" not in console.file.getvalue()


def test_a_scan_that_is_followed_into_a_pipe_shows_its_progress(pipe, monkeypatch):
    states = [
        {"state": "listing", "units": None, "done": 0, "failed": 0, "seconds": 0.0, "message": ""},
        {"state": "running", "units": 5000, "done": 1200, "failed": 3, "seconds": 100.0, "message": "ocr is away"},
        {"state": "finished", "units": 5000, "done": 5000, "failed": 3, "seconds": 400.0, "message": ""},
    ]
    lines = [
        "following scan-1: a line of progress every 10 s\n",
        "scan-1 listing: files not listed yet (",
        "scan-1 running: 1,200 of 5,000 files, 3 failed, 12.0 files/s (",
    ]

    def state(api, job, wait_s):
        wait_for(pipe, lines.pop(0))  # of the state before
        return states.pop(0)

    monkeypatch.setattr(scans, "_state", state)
    assert scans.follow(scans.Settings(), "scan-1", pipe)["state"] == "finished"
    assert not lines and "ocr is away\n" in pipe.file.getvalue()
