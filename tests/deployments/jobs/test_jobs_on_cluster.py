"""Jobs on a real cluster: killed, cancelled, resumed, retried, verified."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from PIL import Image, ImageDraw, ImageFont

from tests.support.cluster import BAD, Cluster

pytestmark = [pytest.mark.ray, pytest.mark.timeout(500)]

FILES = 16


@pytest.fixture
def pages(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """Pictures of text that no other test has analysed: enough work to act on a job while it runs."""
    folder = tmp_path / "pages"
    folder.mkdir()
    for n in range(FILES):
        page = Image.new("RGB", (640, 360), "white")
        for line in range(2):
            font = ImageFont.load_default(36)
            ImageDraw.Draw(page).text((20, 20 + 65 * line), f"PAGE {n} LINE {line}", "black", font)
        ImageDraw.Draw(page).text((20, 335), request.node.name, "black")
        page.save(folder / f"{n}.png")
    return str(folder)


def begun(cluster: Cluster, pages: str, out: Path) -> str:
    """A job that has committed some units, but not all."""
    queued = cluster.raysift("scan", pages, "--out", str(out), "--detectors", "ocr", "--no-follow", "--json")
    job = str(json.loads(queued.stdout)["job"])
    until(cluster, job, lambda told: told["done"] > 0)
    return job


def until(cluster: Cluster, job: str, true: Any, seconds: float = 240) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    with cluster.api() as api:
        while True:
            told = dict(api.get(f"/v1/jobs/{job}").json())
            if true(told):
                return told
            assert time.monotonic() < deadline, told
            time.sleep(0.2)


def verified(cluster: Cluster, job: str) -> dict[str, int]:
    done = cluster.raysift("jobs", "verify", job, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(done.stdout))


def driver(cluster: Cluster, job: str) -> psutil.Process:
    """The process of the job's driver: one that was started for it, or the one that waited for jobs."""
    named = [process for process in psutil.process_iter(["cmdline"]) if "pipelines" in (process.info["cmdline"] or [])]
    state = cluster.environment["RAYSIFT_STATE_DIR"]
    ours = [process for process in named if process.environ().get("RAYSIFT_STATE_DIR") == state]
    return next(process for word in (job, "--standby") for process in ours if word in process.info["cmdline"])


@pytest.mark.chaos
def test_a_job_whose_driver_is_killed_continues_without_losing_a_file(cluster, pages, tmp_path):
    job = begun(cluster, pages, tmp_path / "out")
    os.kill(driver(cluster, job).pid, signal.SIGKILL)
    told = until(cluster, job, lambda told: told["state"] in ("finished", "failed"))
    assert (told["state"], told["done"], len(told["attempts"])) == ("finished", FILES, 2)
    counts = verified(cluster, job)
    units = {"units": FILES, "done": FILES, "failed": 0, "lost": 0, "double": 0, "vectors_missing": 0}
    assert counts == {**units, "listed": FILES, "unchanged": 0, "left_out": 0, "unaccounted": 0}


def test_a_cancelled_job_is_resumed_without_analysing_finished_files_again(cluster, pages, tmp_path):
    job = begun(cluster, pages, tmp_path / "out")
    cancelled = json.loads(cluster.raysift("jobs", "cancel", job, "--json").stdout)
    assert cancelled["state"] == "cancelled" and cancelled["done"] < FILES
    with cluster.api() as api:  # it cannot be resumed until its driver has stopped
        deadline = time.monotonic() + 60
        while (answer := api.post(f"/v1/jobs/{job}/resume")).status_code == 422:
            assert "still stopping" in answer.json()["detail"] and time.monotonic() < deadline
            time.sleep(0.2)
    assert until(cluster, job, lambda told: told["state"] == "finished")["done"] == FILES
    assert verified(cluster, job)["double"] == 0
    assert f"==> {job}-2" in cluster.raysift("jobs", "logs", job).stdout


def test_a_finished_job_has_a_report_and_its_failed_files_are_retried(cluster, scanned, media):
    job = scanned[1]["job"]
    report = json.loads(cluster.raysift("jobs", "show", job, "--json").stdout)["report"]
    assert sum(one["units"] for one in report["failures"]) == len(BAD)
    assert {one["detector"] for one in report["detectors"]} >= {"nsfw", "ocr", "whisper"}
    again = cluster.raysift("jobs", "retry-failed", job, "--json")
    told = json.loads(again.stdout.splitlines()[-1])
    assert (again.returncode, told["units"], told["failed"]) == (3, len(BAD), len(BAD))
    assert verified(cluster, job)["failed"] == verified(cluster, told["job"])["failed"] == len(BAD)


def test_jobs_are_listed_quickly_with_the_newest_first(cluster, scanned):
    jobs = json.loads(cluster.raysift("jobs", "list", "--json").stdout)
    assert {"job", "state", "units", "done", "failed"} <= jobs[0].keys()
    assert [job["submitted_at"] for job in jobs] == sorted((job["submitted_at"] for job in jobs), reverse=True)
    assert cluster.raysift("jobs", "show", "nothing").returncode == 1


def test_refusals_of_the_api_are_sentences(cluster, scanned):
    job = scanned[1]["job"]
    with cluster.api() as api:

        def refused(method: str, path: str, **more: Any) -> tuple[int, str]:
            answer: httpx.Response = api.request(method, f"/v1/jobs{path}", **more)
            return answer.status_code, answer.json()["detail"]

        assert refused("POST", f"/{job}/cancel") == (422, f"{job} is finished: there is nothing to cancel.")
        assert "retry-failed" in refused("POST", f"/{job}/resume")[1]
        assert refused("GET", "/nothing")[0] == refused("GET", "/nothing/verify")[0] == 404
        asked = {"uris": ["/tmp"], "priority": "soon"}
        assert refused("POST", "", json=asked)[0] == 422
