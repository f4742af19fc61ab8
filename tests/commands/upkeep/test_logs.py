"""`raysift logs`: which lines of a node are about a job or request."""

import pytest

from commands.upkeep import logs
from commands.upkeep.logs import lines_about
from tests.commands.erasure.commands import run

SERVE = """INFO 2026-11-22 12:00:00 raysift_api 0a1b REQ-7 -- POST /v1/jobs 200 8.1ms
ERROR 2026-11-22 12:00:01 raysift_ocr 0a1b REQ-7 -- it failed
Traceback (most recent call last):
ValueError: odd
INFO 2026-11-22 12:00:02 raysift_api 0a1b REQ-77 -- GET /v1/health 200
{"levelname": "INFO", "request_id": "REQ-7", "message": "as JSON"}
"""
DRIVER = """2026-11-22 12:00:03,000 INFO scan-1 pipelines.driver: scan-1 has 3 units to analyse
2026-11-22 12:00:04,000 INFO scan-10 pipelines.driver: of another job
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "serve").mkdir()
    (tmp_path / "serve" / "replica_raysift_ocr_x.log").write_text(SERVE)
    (tmp_path / "job-driver-scan-1.log").write_text(DRIVER)
    (tmp_path / "raylet.out").write_text("REQ-7 scan-1")
    return tmp_path


def test_the_lines_of_one_request_are_found_with_their_tracebacks_and_no_others(folder):
    found = lines_about(folder, "REQ-7")
    assert {file for file, _ in found} == {"serve/replica_raysift_ocr_x.log"}
    assert [line for _, line in found] == [line for line in SERVE.splitlines() if "REQ-77" not in line]


def test_the_lines_of_one_job_are_found_in_the_log_of_its_driver(folder):
    assert lines_about(folder, "scan-1") == [("job-driver-scan-1.log", DRIVER.splitlines()[0])]


def test_files_that_ray_has_rotated_are_read_first(folder):
    for name, line in (("x.log", "third"), ("x.log.1", "second"), ("x.log.10", "first")):
        (folder / "serve" / name).write_text(f"INFO scan-7 {line}\n")
    assert [line.split()[-1] for _, line in lines_about(folder, "scan-7")] == ["first", "second", "third"]


def test_a_node_sends_a_limited_number_of_lines(folder):
    assert len(lines_about(folder, "REQ-7", most=2)) == 2


def test_lines_are_printed_by_node_and_file_and_a_node_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setattr(logs, "gather", lambda id: {"a": [("f", "one"), ("f", "two"), ("g", id)], "b": "TimeoutError"})
    done = run("logs", "--job", "scan-1")
    assert done.exit_code == 0
    assert [line for line in done.output.splitlines() if not line.startswith("==>")] == ["one", "two", "scan-1"]
    for heading in ("==> a f", "==> a g", "==> b: its logs cannot be read: TimeoutError"):
        assert done.output.count(heading) == 1


@pytest.mark.parametrize("options", [(), ("--job", "a", "--request", "b")])
def test_a_job_or_a_request_has_to_be_named(options):
    assert "one of --job and --request" in str(run("logs", *options).exception)


def test_an_id_without_lines_is_reported(monkeypatch):
    monkeypatch.setattr(logs, "gather", lambda id: {"a": []})
    assert "nothing is logged about scan-9" in str(run("logs", "--job", "scan-9").exception)
