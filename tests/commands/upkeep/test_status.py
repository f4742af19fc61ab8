"""`raysift status`: parts, detectors, queues and jobs, for people and for programs; and what the nodes export."""

import json

import httpx
import pytest
from typer.testing import CliRunner

import raysift
from cluster.processes import Processes
from cluster.settings import Settings
from commands.upkeep import exported, overview
from tests.commands.erasure.commands import run, words

EXPORTED = """
# TYPE ray_serve_deployment_replica_healthy gauge
ray_serve_deployment_replica_healthy{application="raysift",deployment="barcode+clip",replica="a"} 1.0
ray_serve_deployment_replica_healthy{application="raysift",deployment="ocr",replica="b"} 1.0
ray_serve_deployment_replica_healthy{application="raysift",deployment="ocr",replica="c"} 1.0
# TYPE ray_serve_deployment_queued_queries gauge
ray_serve_deployment_queued_queries{deployment="ocr",handle="d"} 4.0
ray_serve_deployment_queued_queries{deployment="ocr",handle="e"} 1.0
# TYPE ray_serve_replica_processing_queries gauge
ray_serve_replica_processing_queries{deployment="ocr",replica="b"} 2.0
# TYPE ray_raysift_detector_samples_total counter
ray_raysift_detector_samples_total{detector="ocr"} 120.0
# TYPE ray_raysift_units_total counter
ray_raysift_units_total{kind="image",outcome="done"} 30.0
ray_raysift_units_total{kind="image",outcome="failed"} 1.0
# TYPE ray_node_gpus_utilization gauge
ray_node_gpus_utilization{GpuDeviceName="L4",GpuIndex="1"} 25.0
# TYPE ray_node_gram_used gauge
ray_node_gram_used{GpuDeviceName="L4",GpuIndex="1"} 2000.0
"""
READY = {"ready": True, "detectors": {"ocr": {"state": "ok", "message": ""}}}
JOB = {"uris": ["s3://b/a"], "priority": "normal", "units": 10, "done": 3, "failed": 0, "skipped": 0, "left_out": 0}
JOBS = [{**JOB, "job": "scan-1", "state": state, "message": ""} for state in ("finished", "running")]


@pytest.fixture
def running(tmp_path, monkeypatch):
    """A head on which all parts run, and of whose two nodes one answers; yields the answers of the API."""
    monkeypatch.chdir(tmp_path)
    folder = Processes(Settings()).ray_temp
    folder.mkdir()
    targets = [{"targets": ["10.0.0.1:8080", "10.0.0.2:8080"], "labels": {}}]
    (folder / exported.TARGETS).write_text(json.dumps(targets))
    answers = {"/v1/ready": (200, READY), "/v1/jobs": (200, JOBS)}

    def answer(request):
        if request.url.host == "10.0.0.1":
            return httpx.Response(200, text=EXPORTED)
        if request.url.path not in answers:
            raise httpx.ConnectError("nothing listens there")
        status, body = answers[request.url.path]
        return httpx.Response(status, json=body)

    plain, transport = httpx.Client, httpx.MockTransport(answer)
    monkeypatch.setattr(httpx, "Client", lambda **more: plain(**more, transport=transport))
    monkeypatch.setattr(httpx, "get", lambda url, **more: httpx.Client().get(url))
    monkeypatch.setattr(overview, "port_open", lambda listener: True)
    monkeypatch.setattr("commands.up.dashboard_answers", lambda settings: True)
    yield answers
    (folder / exported.TARGETS).unlink()
    folder.rmdir()


def test_programs_get_parts_detectors_with_their_queues_cards_and_jobs(running):
    done = run("status", "--json")
    status = json.loads(done.output)
    assert done.exit_code == 0 and status["ready"] and all(part["runs"] for part in status["parts"].values())
    assert status["detectors"] == {"ocr": {"state": "ok", "message": "", "replicas": 2, "waiting": 5, "working": 2}}
    assert status["cards"] == [{"name": "L4 1", "use": 0.25, "memory_gb": pytest.approx(2.1, abs=0.01)}]
    assert [job["state"] for job in status["jobs"]] == ["running"]


def test_people_get_them_as_tables(running):
    output = words(run("status"))
    assert "runs" in output and "ocr" in output and "L4 1" in output and "3 of 10 done" in output


def test_a_detector_that_does_not_answer_is_the_exit_code(running):
    running["/v1/ready"] = (503, READY | {"ready": False})
    assert run("status").exit_code == 1


def test_a_viewer_sees_the_detectors_without_the_jobs(running):
    running["/v1/jobs"] = (403, {"detail": "it is for operators"})
    assert run("status").exit_code == 0 and json.loads(run("status", "--json").output)["jobs"] == []


def test_what_is_off_is_said_with_how_to_start_it(running, monkeypatch):
    monkeypatch.setattr("commands.up.dashboard_answers", lambda settings: False)
    done = run("status")
    assert done.exit_code == 1 and "start it with `raysift up`" in words(done)
    status = json.loads(run("status", "--json").output)
    assert not status["ready"] and status["detectors"] == {} and status["cards"] is None


def test_a_silent_detector_and_a_part_that_is_off_are_said_within_80_columns(running, monkeypatch):
    monkeypatch.setattr(overview, "port_open", lambda listener: False)
    silent = {"restraint": {"state": "silent", "message": "it has not answered for 806 s"}}
    running["/v1/ready"] = (503, {"ready": False, "detectors": silent})
    done = CliRunner().invoke(raysift.cli, ["status"], env={"COLUMNS": "80"})
    assert done.exit_code == 1 and max(map(len, done.output.splitlines())) <= 80
    text = words(done).replace("│ ", "")
    assert "restraint silent" in text and "it has not answered for 806 s" in text and "chroma off" in text
